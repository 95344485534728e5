//! What an administrator does: session, pause and resume, retry, load runs' markers.

use hyper::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::access::Caller;
use super::response::{self, Problem};
use super::tasks::checked_ids;
use super::{Front, Reply, body};
use crate::activity::Entry;
use crate::api::{Control, FailureFilter, RunMarker, rfc3339_ms};
use crate::error::ServiceError;
use crate::filter::Filter;
use crate::limits::{ADMIN_BODY_LEN_MAX, MARKER_TEXT_LEN_MAX, RETRY_LEN_MAX};
use crate::loan::{Category, LoanId};
use crate::parse;
use crate::retry::{Retry, Selection};
use crate::snapshot::EventKind;

/// `GET /api/control`.
pub(super) async fn show(front: &Front) -> Result<Reply, Problem> {
    let control = read(front).await.map_err(unavailable)?;
    Ok(response::json(&control))
}

/// `POST /api/control/pause` and `/resume`.
pub(super) async fn set(front: &Front, is_paused: bool, caller: &Caller) -> Result<Reply, Problem> {
    let has_changed = front
        .queue
        .set_paused(is_paused)
        .await
        .map_err(unavailable)?;
    if has_changed {
        let by = Some(caller.name().to_owned());
        front.metrics.tell(if is_paused {
            EventKind::Pause { by }
        } else {
            EventKind::Resume { by }
        });
    }
    let action = if is_paused { "pause" } else { "resume" };
    let effect = match (is_paused, has_changed) {
        (true, true) => "ingestion is paused",
        (true, false) => "ingestion was paused already",
        (false, true) => "ingestion goes on",
        (false, false) => "ingestion was not paused",
    };
    note(front, caller, action, effect.to_owned(), None);
    show(front).await
}

/// Notes a change in the record of activity.
pub(super) fn note(
    front: &Front,
    caller: &Caller,
    action: &str,
    effect: String,
    reason: Option<String>,
) {
    front.activity.note(Entry {
        id: bson::oid::ObjectId::new(),
        at: bson::DateTime::now(),
        name: caller.name().to_owned(),
        address: caller.client.to_string(),
        action: action.to_owned(),
        effect,
        reason,
        request_id: caller.request_id.clone(),
    });
}

async fn read(front: &Front) -> Result<Control, ServiceError> {
    let since_ms = front.queue.paused_ms().await?;
    Ok(Control {
        paused: since_ms.is_some(),
        paused_at: since_ms.map(rfc3339_ms),
    })
}

/// As [`crate::api::RetryRequest`], with the correction as it came: its bytes become the loan.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RetryBody<'a> {
    error_type: Option<Category>,
    loan_ids: Option<Vec<String>>,
    #[serde(borrow)]
    correction: Option<&'a RawValue>,
    limit: Option<u64>,
}

/// `PATCH /api/loans/retry`.
pub(super) async fn retry_loans(
    front: &Front,
    request: Request<Incoming>,
    caller: &Caller,
) -> Result<Reply, Problem> {
    let len_max = front.body_max + ADMIN_BODY_LEN_MAX;
    let body = body::read_json(request, len_max, &front.gathered).await?;
    let asked: RetryBody<'_> = from_json(&body)?;
    let limit = asked.limit.unwrap_or(RETRY_LEN_MAX);
    if !(1..=RETRY_LEN_MAX).contains(&limit) {
        return Err(invalid(format!("`limit` must be 1 to {RETRY_LEN_MAX}")));
    }
    let selection = select(&asked, front.body_max)?;
    let (action, of) = match &selection {
        Selection::Corrected(loan_id, ..) => ("correction", format!("loan {loan_id}")),
        Selection::Ids(ids) => ("retry", format!("{} loans by id", ids.len())),
        Selection::Categories(_) => (
            "retry",
            match asked.error_type {
                Some(error_type) => format!("loans that failed as {error_type}"),
                None => "all failed loans".to_owned(),
            },
        ),
    };
    let retry = Retry {
        queue: &front.queue,
        store: &front.store,
        backlog_max: front.backlog_max,
    };
    let retried = retry.run(selection, limit).await.map_err(unavailable)?;
    let effect = format!(
        "{of}: {} queued again, {} skipped, {} left",
        retried.requeued, retried.skipped, retried.remaining
    );
    note(front, caller, action, effect, None);
    if retried.requeued > 0 {
        front.metrics.tell(EventKind::Retry {
            requeued: retried.requeued,
            by: Some(caller.name().to_owned()),
        });
    }
    Ok(response::json(&retried))
}

fn select(asked: &RetryBody<'_>, body_max: usize) -> Result<Selection, Problem> {
    let Some(names) = &asked.loan_ids else {
        if asked.correction.is_some() {
            return Err(invalid("a correction needs its loan in `loanIds`"));
        }
        return Ok(Selection::Categories(match asked.error_type {
            Some(error_type) => vec![error_type],
            None => Category::ALL.to_vec(),
        }));
    };
    if asked.error_type.is_some() {
        return Err(invalid("give `errorType` or `loanIds`, not both"));
    }
    let loan_ids = checked_ids(names)?;
    let loan_ids = loan_ids.iter().filter_map(|id| LoanId::new(id));
    let mut loan_ids: Vec<_> = loan_ids.collect();
    let Some(correction) = asked.correction else {
        return Ok(Selection::Ids(loan_ids));
    };
    let (Some(loan_id), true) = (loan_ids.pop(), loan_ids.is_empty()) else {
        return Err(invalid("a correction is for one loan"));
    };
    // The same checks as for a request.
    let body = correction.get().as_bytes();
    if body.len() > body_max {
        return Err(Problem::TooLarge(body_max));
    }
    let envelope = parse::envelope(body).map_err(Problem::Unreadable)?;
    if envelope.loan_id != loan_id {
        return Err(invalid(
            "the correction's `loanId` must be the one in `loanIds`",
        ));
    }
    let body = bytes::Bytes::copy_from_slice(body);
    Ok(Selection::Corrected(loan_id, envelope.fingerprint, body))
}

/// `POST /api/runs`: every dashboard hears of it.
pub(super) async fn mark_run(front: &Front, request: Request<Incoming>) -> Result<Reply, Problem> {
    let body = body::read_json(request, ADMIN_BODY_LEN_MAX, &front.gathered).await?;
    let marker: RunMarker = from_json(&body)?;
    let needed = [("runId", &marker.run_id), ("scenario", &marker.scenario)];
    if let Some((field, _)) = needed.iter().find(|(_, text)| text.is_empty()) {
        return Err(invalid(format!("`{field}` is empty")));
    }
    let texts = [Some(&marker.run_id), Some(&marker.scenario)]
        .into_iter()
        .chain([marker.name.as_ref(), marker.verdict.as_ref()])
        .flatten();
    if texts
        .into_iter()
        .any(|text| text.chars().count() > MARKER_TEXT_LEN_MAX)
    {
        return Err(invalid(format!(
            "a text is longer than {MARKER_TEXT_LEN_MAX} characters"
        )));
    }
    front.metrics.tell(EventKind::Run {
        run_id: marker.run_id,
        scenario: marker.scenario,
        marker: marker.kind,
        name: marker.name,
        verdict: marker.verdict,
        response_us: marker.response_us,
    });
    Ok(response::accepted())
}

pub(super) fn from_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))
}

/// The filter that a body holds.
pub(super) fn checked_filter(asked: &FailureFilter) -> Result<Filter, Problem> {
    Filter::of(asked).map_err(|wrong| invalid(format!("`filter.{}`: {}", wrong.name, wrong.rule)))
}

pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::InvalidBody(detail.into())
}

/// Which of the two stores was the reason, of a call that is no loan's.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
pub(super) fn unavailable(error: ServiceError) -> Problem {
    if matches!(error, ServiceError::UnreadableRecord(_)) {
        tracing::error!(%error, "a call failed");
        return Problem::UnreadableRecord;
    }
    tracing::debug!(%error, "a call failed");
    if error.is_of_mongodb() {
        Problem::StoreUnavailable
    } else if error.has_not_run() {
        Problem::NotDone
    } else {
        Problem::MaybeDone
    }
}
