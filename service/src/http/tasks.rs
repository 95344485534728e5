//! Work on many failed loans: asked for, followed, stopped.

use std::collections::BTreeSet;

use hyper::Request;
use hyper::body::Incoming;

use super::access::Caller;
use super::control::{checked_filter, from_json, invalid, note, unavailable};
use super::personal::mask_task;
use super::response::{self, Problem};
use super::{Front, Reply, body};
use crate::api::{Task, TaskKind, TaskList, TaskPhase, TaskRequest};
use crate::limits::{ADMIN_BODY_LEN_MAX, RETRY_IDS_MAX};
use crate::loan::LoanId;
use crate::store::failures::Which;
use crate::store::tasks::{Begun, TaskDocument};
use crate::tasks::describe;

/// Characters of a reason.
const REASON_LEN_MAX: usize = 500;
/// The most that can be confirmed.
const EXPECTED_MAX: u64 = 1_000_000_000_000;

/// `POST /api/tasks`.
pub(super) async fn begin(
    front: &Front,
    request: Request<Incoming>,
    caller: &Caller,
) -> Result<Reply, Problem> {
    let body = body::read_json(request, ADMIN_BODY_LEN_MAX, &front.gathered).await?;
    let task = task(from_json(&body)?, caller)?;
    confirm(front, &task).await?;
    match front.store.begin_task(&task).await.map_err(unavailable)? {
        Begun::Yes => {}
        Begun::AnotherRuns => return Err(Problem::TaskRunning),
    }
    let action = match task.kind {
        TaskKind::Retry => "retry",
        TaskKind::Discard => "discard",
    };
    let effect = format!("{}: begun, {} expected", describe(&task), task.expected);
    note(front, caller, action, effect, task.reason.clone());
    front.tasks.wake();
    front.feed.look_for_tasks();
    Ok(response::accepted_with(&Task::from(task)))
}

/// Refuses a task whose filter finds more loans than were confirmed.
async fn confirm(front: &Front, task: &TaskDocument) -> Result<(), Problem> {
    let Some(filter) = &task.filter else {
        return Ok(());
    };
    let filter = checked_filter(filter)?;
    let which = Which::Found(&filter, task.started_at);
    let found = front.store.count_waiting(&which).await;
    is_confirmed(found.map_err(unavailable)?, task.expected as u64)
}

fn is_confirmed(found: u64, expected: u64) -> Result<(), Problem> {
    if found > expected {
        return Err(Problem::MoreThanConfirmed { expected, found });
    }
    Ok(())
}

/// The task that is asked for.
fn task(asked: TaskRequest, caller: &Caller) -> Result<TaskDocument, Problem> {
    let loan_ids = match (&asked.filter, asked.loan_ids) {
        (Some(_), Some(_)) | (None, None) => {
            return Err(invalid(
                "give `filter` or `loanIds`; `\"filter\": {}` means all",
            ));
        }
        (Some(filter), None) => {
            checked_filter(filter)?;
            None
        }
        (None, Some(names)) => Some(checked_ids(&names)?),
    };
    let reason = asked
        .reason
        .map(|reason| reason.trim().replace("\r\n", "\n"));
    let is_good = |reason: &String| {
        (1..=REASON_LEN_MAX).contains(&reason.chars().count())
            && !reason.chars().any(|c| c.is_control() && c != '\n')
    };
    match (&reason, asked.kind) {
        (None, TaskKind::Discard) => return Err(invalid("a discard needs a `reason`")),
        (Some(reason), _) if !is_good(reason) => {
            return Err(invalid(format!(
                "`reason` must have 1 to {REASON_LEN_MAX} characters, none of them a control character"
            )));
        }
        _ => {}
    }
    if asked.expected > Some(EXPECTED_MAX) {
        return Err(invalid(format!(
            "`expected` must not exceed {EXPECTED_MAX}"
        )));
    }
    let expected = match (asked.expected, &loan_ids) {
        (expected, Some(ids)) => {
            let named = ids.len() as u64;
            // Whoever names loans may leave their number out.
            is_confirmed(named, expected.unwrap_or(named))?;
            named
        }
        (Some(expected), None) => expected,
        (None, None) => {
            return Err(invalid(
                "a `filter` needs `expected`, the number of loans that was confirmed: `waiting` of GET /api/errors/count",
            ));
        }
    };
    Ok(TaskDocument {
        id: uuid::Uuid::new_v4().simple().to_string(),
        kind: asked.kind,
        phase: TaskPhase::Running,
        is_active: true,
        filter: asked.filter,
        expected: expected as i64,
        loan_ids,
        reason,
        by: caller.name().to_owned(),
        address: caller.client.to_string(),
        request_id: caller.request_id.clone(),
        started_at: bson::DateTime::now(),
        ended_at: None,
        done: 0,
        skipped: 0,
        step: 0,
        after: None,
        holder: None,
        beat: 0,
        fault: None,
    })
}

/// The ids, each once.
pub(super) fn checked_ids(names: &[String]) -> Result<Vec<String>, Problem> {
    if names.is_empty() || names.len() > RETRY_IDS_MAX {
        return Err(invalid(format!(
            "`loanIds` must name 1 to {RETRY_IDS_MAX} loans"
        )));
    }
    let ids = names.iter().map(|name| LoanId::new(name));
    let ids = ids.collect::<Option<BTreeSet<_>>>();
    let ids = ids.ok_or_else(|| invalid("`loanIds` holds what no loan can be called"))?;
    Ok(ids.iter().map(|id| id.as_str().to_owned()).collect())
}

/// `GET /api/tasks`.
pub(super) async fn list(front: &Front, caller: &Caller) -> Result<Reply, Problem> {
    let tasks = front.store.tasks().await.map_err(unavailable)?;
    let tasks = tasks.into_iter().map(|task| shown(task, caller)).collect();
    Ok(response::json(&TaskList { tasks }))
}

/// `GET /api/tasks/{taskId}`.
pub(super) async fn show(front: &Front, id: &str, caller: &Caller) -> Result<Reply, Problem> {
    let task = front.store.task(id).await.map_err(unavailable)?;
    let task = task.ok_or(Problem::NotFound("no task has this id"))?;
    Ok(response::json(&shown(task, caller)))
}

/// `POST /api/tasks/{taskId}/stop`.
pub(super) async fn stop(front: &Front, id: &str, caller: &Caller) -> Result<Reply, Problem> {
    let Some(task) = front.store.stop_task(id).await.map_err(unavailable)? else {
        let task = front.store.task(id).await.map_err(unavailable)?;
        return Err(match task {
            Some(_) => Problem::TaskOver,
            None => Problem::NotFound("no task has this id"),
        });
    };
    note(
        front,
        caller,
        "stop",
        format!("{}: asked to stop", describe(&task)),
        None,
    );
    front.tasks.wake();
    front.feed.look_for_tasks();
    Ok(response::json(&Task::from(task)))
}

fn shown(task: TaskDocument, caller: &Caller) -> Task {
    let mut task = Task::from(task);
    if !caller.sees_personal() {
        mask_task(&mut task);
    }
    task
}
