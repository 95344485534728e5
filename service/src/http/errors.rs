//! `GET /api/errors`: the failed attempts, newest first, page by page.

use super::personal::mask_attempt;
use super::query::Query;
use super::response::{self, Problem};
use super::{Front, Reply};
use crate::api::{ErrorPage, FailedAttempt, FailureFilter};
use crate::filter::{Filter, INSTANT_MS_MAX, plain_number};
use crate::limits::ERRORS_PAGE_LEN_MAX;
use crate::loan::LoanId;
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
        Problem::StoreUnavailable
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
}
