//! `GET /api/errors`: the failed attempts, newest first, page by page.

use hyper::Request;
use hyper::body::Incoming;

use super::personal::mask_attempt;
use super::query::Query;
use super::response::{self, Problem};
use super::{Front, Reply};
use crate::api::{ErrorPage, FailedAttempt};
use crate::limits::ERRORS_PAGE_LEN_MAX;
use crate::loan::{Category, LoanId};
use crate::store::reading::{ErrorFilter, Place};

/// The parameters.
pub(super) const PARAMETERS: &[&str] = &["loanId", "errorType", "from", "to", "limit", "cursor"];
/// Failures on a page unless the client says how many.
pub(super) const PAGE_LEN: u32 = 50;
/// The last millisecond of the year 9999.
pub(super) const INSTANT_MS_MAX: i64 = 253_402_300_799_999;

pub(super) async fn list(
    front: &Front,
    request: Request<Incoming>,
    sees_personal: bool,
) -> Result<Reply, Problem> {
    let query = Query::parse(request.uri().query(), PARAMETERS)?;
    let filter = ErrorFilter {
        loan_id: query.get("loanId", |text| {
            LoanId::new(text).ok_or("1 to 64 characters of A-Z a-z 0-9 . _ : -")
        })?,
        category: query.get("errorType", |text| {
            Category::of(text)
                .ok_or("missing_field, wrong_type, out_of_range, invalid_format, poison, conflict, refused or unreadable")
        })?,
        from: query.get("from", instant)?,
        to: query.get("to", instant)?,
        before: query.get("cursor", |text| {
            from_cursor(text).ok_or("a `nextCursor` of an earlier answer")
        })?,
    };
    let limit = query.get("limit", |text| {
        let limit = plain_number(text).and_then(|number| u32::try_from(number).ok());
        let limit = limit.filter(|limit| (1..=ERRORS_PAGE_LEN_MAX).contains(limit));
        limit.ok_or("a whole number from 1 to 200")
    })?;
    let limit = limit.unwrap_or(PAGE_LEN);
    let mut found = front
        .store
        .errors(&filter, limit + 1)
        .await
        .map_err(|error| {
            tracing::warn!(%error, "the error log cannot be read");
            Problem::StoreUnavailable
        })?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| has_more).map(|last| {
        to_cursor(&Place {
            failed_at: last.failed_at,
            id: last.id.clone(),
        })
    });
    let mut errors: Vec<_> = found.into_iter().map(FailedAttempt::from).collect();
    if !sees_personal {
        errors.iter_mut().for_each(mask_attempt);
    }
    Ok(response::json(&ErrorPage {
        errors,
        next_cursor,
    }))
}

/// RFC 3339, or milliseconds since the Unix epoch.
fn instant(text: &str) -> Result<bson::DateTime, &'static str> {
    let rule = "RFC 3339, such as 2026-01-31T12:00:00Z, or milliseconds since 1970";
    if let Some(at_ms) = plain_number(text) {
        return (at_ms <= INSTANT_MS_MAX)
            .then(|| bson::DateTime::from_millis(at_ms))
            .ok_or(rule);
    }
    bson::DateTime::parse_rfc3339_str(text).map_err(|_| rule)
}

/// A number of digits alone: no sign, no space.
pub(super) fn plain_number(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// A place in the log, in characters that an address may hold: milliseconds, attempt, loan.
fn to_cursor(place: &Place) -> String {
    let (loan_id, attempt) = place.id.rsplit_once('#').unwrap_or((&place.id, "0"));
    format!("{}~{attempt}~{loan_id}", place.failed_at.timestamp_millis())
}

fn from_cursor(text: &str) -> Option<Place> {
    let mut parts = text.splitn(3, '~');
    let failed_ms = plain_number(parts.next()?).filter(|at_ms| *at_ms <= INSTANT_MS_MAX)?;
    let attempt = u32::try_from(plain_number(parts.next()?)?).ok()?;
    let loan_id = LoanId::new(parts.next()?)?;
    Some(Place {
        failed_at: bson::DateTime::from_millis(failed_ms),
        id: format!("{loan_id}#{attempt}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let place = Place {
            failed_at: bson::DateTime::from_millis(1_700_000_000_123),
            id: "GC:1.2_3-4#17".to_owned(),
        };
        let cursor = to_cursor(&place);
        assert_eq!(cursor, "1700000000123~17~GC:1.2_3-4");
        assert_eq!(from_cursor(&cursor), Some(place));
        for wrong in [
            "", "1", "1~1", "1~1~", "x~1~A", "1~x~A", "1~1~A~B", "-1~1~A", "+1~1~A",
        ] {
            assert_eq!(from_cursor(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn instants_are_read_strictly() {
        let at = bson::DateTime::from_millis(1_700_000_000_000);
        for good in [
            "1700000000000",
            "2023-11-14T22:13:20Z",
            "2023-11-14T23:13:20+01:00",
        ] {
            assert_eq!(instant(good), Ok(at), "{good}");
        }
        for wrong in [
            "",
            "-1",
            "1.5",
            "99999999999999999999",
            "253402300800000",
            "yesterday",
            "2023-11-14",
        ] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }
}
