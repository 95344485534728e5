//! `GET /api/errors`: the failed attempts, newest first, page by page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bson::{Bson, Document, doc};

use super::control::unavailable;
use super::personal::mask_attempt;
use super::query::Query;
use super::response::{self, Problem};
use super::{Front, Reply};
use crate::api::{ErrorPage, FailedAttempt, FailureFilter};
use crate::filter::{Filter, plain_number};
use crate::limits::ERRORS_PAGE_LEN_MAX;
use crate::store::failures::Place;

/// The parameters of a filter.
pub(super) const FILTER: [&str; 8] = [
    "loanId",
    "applicant",
    "errorType",
    "field",
    "rule",
    "from",
    "to",
    "waiting",
];
/// The longest cursor. In so few bytes no more documents can lie in one another than MongoDB takes; the stack would hold far more.
const CURSOR_LEN_MAX: usize = 640;
/// Failures on a page unless the client says how many.
pub(super) const PAGE_LEN: u32 = 50;

pub(super) async fn list(
    front: &Front,
    query: Option<&str>,
    sees_personal: bool,
) -> Result<Reply, Problem> {
    let query = Query::parse(query, &[&FILTER[..], &["limit", "cursor"]].concat())?;
    let filter = filter(&query)?;
    let before = query.get("cursor", |text| {
        from_cursor(text).ok_or("a `nextCursor` of an earlier answer")
    })?;
    let limit = query.get("limit", |text| {
        let limit = plain_number(text).and_then(|number| u32::try_from(number).ok());
        let limit = limit.filter(|limit| (1..=ERRORS_PAGE_LEN_MAX).contains(limit));
        limit.ok_or("a whole number from 1 to 200")
    })?;
    let limit = limit.unwrap_or(PAGE_LEN);
    may_look_for(&filter, sees_personal)?;
    let mut found = front
        .store
        .errors(&filter, before.as_ref(), limit + 1)
        .await
        .map_err(|error| {
            tracing::warn!(%error, "the error log cannot be read");
            unavailable(error)
        })?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| has_more);
    let next_cursor = last.map(|(place, _)| to_cursor(place));
    let failures = found.into_iter().map(|(_, failure)| failure);
    let mut errors: Vec<_> = failures.map(FailedAttempt::from).collect();
    if !sees_personal {
        errors.iter_mut().for_each(mask_attempt);
    }
    Ok(response::json(&ErrorPage {
        errors,
        next_cursor,
    }))
}

/// `GET /api/errors/count`: how many a filter finds.
pub(super) async fn count(
    front: &Front,
    query: Option<&str>,
    sees_personal: bool,
) -> Result<Reply, Problem> {
    let filter = filter(&Query::parse(query, &FILTER)?)?;
    may_look_for(&filter, sees_personal)?;
    let count = front.store.count_errors(&filter).await.map_err(|error| {
        tracing::warn!(%error, "failures cannot be counted");
        unavailable(error)
    })?;
    Ok(response::json(&count))
}

/// Whoever may not see an address may not find out one by trying either.
fn may_look_for(filter: &Filter, sees_personal: bool) -> Result<(), Problem> {
    if filter.applicant.is_some() && !sees_personal {
        return Err(Problem::Unauthorized);
    }
    Ok(())
}

/// The filter that a query names, as it was sent.
pub(super) fn asked(query: &Query<'_>) -> Result<FailureFilter, Problem> {
    let text = |name| query.get(name, |text| Ok(text.to_owned()));
    Ok(FailureFilter {
        loan_id: text("loanId")?,
        applicant: text("applicant")?,
        error_type: text("errorType")?,
        field: text("field")?,
        rule: text("rule")?,
        from: text("from")?,
        to: text("to")?,
        waiting: query.get("waiting", |text| {
            text.parse().map_err(|_| "`true` or `false`")
        })?,
    })
}

/// The filter that a query names.
pub(super) fn filter(query: &Query<'_>) -> Result<Filter, Problem> {
    Filter::of(&asked(query)?).map_err(|wrong| Problem::InvalidParameter {
        name: wrong.name.to_owned(),
        detail: wrong.rule.to_owned(),
    })
}

/// A place in the log, in characters that an address may hold: its two values as BSON, in base64.
fn to_cursor(place: &Place) -> String {
    let place = doc! { "failedAt": &place.failed_at, "_id": &place.id };
    // Both were read from BSON.
    URL_SAFE_NO_PAD.encode(place.to_vec().unwrap_or_default())
}

fn from_cursor(text: &str) -> Option<Place> {
    if text.len() > CURSOR_LEN_MAX {
        return None;
    }
    let place = URL_SAFE_NO_PAD.decode(text).ok()?;
    let mut place = Document::from_reader(&*place).ok()?;
    let (failed_at, id) = (place.remove("failedAt")?, place.remove("_id")?);
    // MongoDB compares nothing with a pattern.
    let is_pattern = |value: &Bson| matches!(value, Bson::RegularExpression(_) | Bson::Undefined);
    (place.is_empty() && !is_pattern(&failed_at) && !is_pattern(&id))
        .then_some(Place { failed_at, id })
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::{DateTime, Regex};

    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let failed_at = Bson::from(DateTime::from_millis(1_700_000_000_123));
        // Somebody may have written one by hand.
        for (failed_at, id) in [
            (failed_at.clone(), "GC:1.2_3-4#17".into()),
            (failed_at.clone(), "".into()),
            (failed_at.clone(), "ü#~/?&%".into()),
            (failed_at.clone(), ObjectId::new().into()),
            (failed_at, Bson::Int32(7)),
            (Bson::Null, "by hand".into()),
            (Bson::Null, doc! { "by": "hand" }.into()),
        ] {
            let place = Place { failed_at, id };
            let cursor = to_cursor(&place);
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            assert!(cursor.chars().all(fits), "{cursor}");
            assert_eq!(from_cursor(&cursor), Some(place));
        }
        for wrong in ["", "1", "1~1", "AAAA", "BQAAAAA", "nonsense", "%"] {
            assert_eq!(from_cursor(wrong), None, "{wrong}");
        }
        let pattern = Regex {
            pattern: "x".try_into().unwrap(),
            options: "".try_into().unwrap(),
        };
        let place = Place {
            failed_at: Bson::Null,
            id: Bson::RegularExpression(pattern),
        };
        assert_eq!(from_cursor(&to_cursor(&place)), None);
    }

    /// MongoDB takes a hundred documents in one another; reading ten thousand would overflow the stack.
    #[test]
    fn a_cursor_of_documents_in_one_another_is_none() {
        let nested = |depth: usize| {
            // A document in one another under the name "": its length, its kind, the name's end.
            let mut bytes = vec![5, 0, 0, 0, 0];
            for _ in 0..depth {
                let mut outer = (bytes.len() as u32 + 7).to_le_bytes().to_vec();
                outer.extend([3, 0]);
                outer.extend(&bytes);
                outer.push(0);
                bytes = outer;
            }
            let mut place = vec![0; 4];
            place.extend(b"\x0afailedAt\0\x03_id\0");
            place.extend(&bytes);
            place.push(0);
            let length = (place.len() as u32).to_le_bytes();
            place[..4].copy_from_slice(&length);
            URL_SAFE_NO_PAD.encode(place)
        };
        assert!(from_cursor(&nested(50)).is_some());
        for depth in [100, 1_000, 10_000] {
            assert_eq!(from_cursor(&nested(depth)), None, "{depth}");
        }
    }
}
