//! What an answer to a loan says.

use record::sample::{Answer, Unknown};
use serde::Deserialize;
use serde_json::Value;

/// What a service calls the error of an id that is known with another content.
const CONFLICT: &str = "loan_id_conflict";
/// What a service calls a loan that it has taken.
const QUEUED: &str = "queued";

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    loan_id: Option<String>,
    /// Of a loan that was taken a word, of a refusal the HTTP status.
    status: Option<Value>,
    replayed: Option<bool>,
    error_type: Option<String>,
}

/// What an answer to the request for `loan_id` says, and what it calls its error. Whatever is neither the documented 202 nor a
/// refusal of this content leaves the outcome open: it may come from somebody on the way.
pub(crate) fn read(status: u16, bytes: &[u8], loan_id: &str) -> (Answer, Option<String>) {
    let body: Body = serde_json::from_slice(bytes).unwrap_or_default();
    // One for another loan says nothing of this one.
    let is_of_it = body.loan_id.as_ref().is_none_or(|told| told == loan_id);
    let is_queued = body.status.as_ref().is_some_and(|state| state == QUEUED);
    let is_conflict = body.error_type.as_deref() == Some(CONFLICT);
    let answer = match (status, body.replayed.filter(|_| is_of_it && is_queued)) {
        (202, Some(false)) => Answer::Queued,
        (202, Some(true)) => Answer::Replayed,
        (400, _) => Answer::Refused(status),
        (422, _) if is_conflict => Answer::Refused(status),
        // Somebody else's, on the way there, says nothing of another content.
        (..400 | 422, _) => Answer::Unknown(Unknown::Strange(status)),
        _ => Answer::Unknown(Unknown::Status(status)),
    };
    (answer, body.error_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let strange = |status| Answer::Unknown(Unknown::Strange(status));
        let status = |status| Answer::Unknown(Unknown::Status(status));
        for (code, body, expected) in [
            (
                202,
                r#"{"loanId":"a","status":"queued","replayed":false}"#,
                Answer::Queued,
            ),
            (
                202,
                r#"{"status":"queued","replayed":true}"#,
                Answer::Replayed,
            ),
            (
                202,
                r#"{"loanId":"a","status":"rejected","replayed":false}"#,
                strange(202),
            ),
            (202, r#"{"loanId":"a","replayed":false}"#, strange(202)),
            (
                202,
                r#"{"loanId":"b","status":"queued","replayed":false}"#,
                strange(202),
            ),
            (202, "nonsense", strange(202)),
            (200, "{}", strange(200)),
            (302, "", strange(302)),
            (400, "{}", Answer::Refused(400)),
            (
                422,
                r#"{"status":422,"errorType":"loan_id_conflict"}"#,
                Answer::Refused(422),
            ),
            (422, "nonsense", strange(422)),
            (422, r#"{"errorType":"unprocessable"}"#, strange(422)),
            // Of somebody on the way, who has not passed it on, or has.
            (401, "", status(401)),
            (429, r#"{"errorType":"slow_down"}"#, status(429)),
            (503, "", status(503)),
        ] {
            assert_eq!(
                read(code, body.as_bytes(), "a").0,
                expected,
                "{code} {body}"
            );
        }
        let (_, error_type) = read(503, br#"{"errorType":"overloaded"}"#, "a");
        assert_eq!(error_type.as_deref(), Some("overloaded"));
    }
}
