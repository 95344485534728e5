//! Work on many failed loans: in bounded steps, with progress that everybody sees, and stoppable.
//!
//! MongoDB keeps each task and how far it is, so it survives the instance that does it: another goes on from there. Who
//! does it is told by its beat, which grows. A beat that has stood still for a while, by the clock that nobody sets, is of
//! an instance that is gone. Whoever has lost a task notices at its next step, since a step counts only for the holder.

use std::sync::Arc;
use std::time::Duration;

use bson::DateTime;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::activity::{Activity, Entry};
use crate::api::{FailureFilter, Task, TaskKind, TaskPhase, rfc3339};
use crate::backoff::Backoff;
use crate::discard::{Discard, Order};
use crate::error::ServiceError;
use crate::filter::Filter;
use crate::limits::{RETRY_AHEAD_MAX, RETRY_STEP_LEN_MAX};
use crate::loan::LoanId;
use crate::metrics::Metrics;
use crate::monitor::Monitor;
use crate::queue::Queue;
use crate::retry::{Retry, until_recorded};
use crate::shutdown::stopped;
use crate::snapshot::EventKind;
use crate::store::Store;
use crate::store::failures::{Bodies, Place, Waiting, WaitingFailure, Which};
use crate::store::tasks::TaskDocument;
use crate::task;

/// Failed loans that one step of a discard finishes.
const DISCARD_STEP_LEN_MAX: usize = 500;
/// How often an instance looks for tasks that nobody does.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Who has not beaten for so long is gone.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// While there is no room for more, a task waits so long.
const ROOM_INTERVAL: Duration = Duration::from_millis(250);

/// Takes tasks up, and wakes those that do them.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(Arc<Notify>);

/// What doing tasks takes.
#[derive(Clone, Debug)]
pub(crate) struct Works {
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) monitor: Monitor,
    pub(crate) activity: Activity,
    /// The most loans in Redis that are not recorded, of one partition.
    pub(crate) backlog_max: u64,
    pub(crate) instance: String,
}

impl Tasks {
    /// Does tasks until `stop` is true; what is not done then is left to another.
    pub(crate) fn start(works: &Works, stop: &watch::Receiver<bool>) -> Self {
        let wake = Arc::new(Notify::new());
        for kind in [TaskKind::Retry, TaskKind::Discard] {
            let works = works.clone();
            task::spawn("tasks", works.run(kind, Arc::clone(&wake), stop.clone()));
        }
        Self(wake)
    }

    /// A task is there.
    pub(crate) fn wake(&self) {
        self.0.notify_waiters();
    }
}

/// A task as it was seen, and since when it has looked so.
struct Seen {
    id: String,
    beat: i64,
    since: Instant,
}

/// What a step has come to.
#[derive(Debug, Default)]
struct Step {
    done: u64,
    skipped: u64,
    /// Where the next one begins; `None`: where this one did.
    next: Option<Next>,
}

#[derive(Debug)]
enum Next {
    After(Box<Place>),
    /// Of loans by their ids, the next ones.
    Further,
    /// There is nothing more.
    End,
}

impl Works {
    async fn run(self, kind: TaskKind, wake: Arc<Notify>, mut stop: watch::Receiver<bool>) {
        let mut seen: Option<Seen> = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = wake.notified() => {}
                () = stopped(&mut stop) => return,
            }
            match self.find(kind, &mut seen).await {
                Ok(Some(task)) => self.work(task, &mut stop).await,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "nobody knows whether there are tasks"),
            }
        }
    }

    /// A task that nobody does, held from now on.
    async fn find(
        &self,
        kind: TaskKind,
        seen: &mut Option<Seen>,
    ) -> Result<Option<TaskDocument>, ServiceError> {
        let Some(task) = self.store.active_task(kind).await? else {
            *seen = None;
            return Ok(None);
        };
        let is_as_before = seen
            .as_ref()
            .is_some_and(|seen| seen.id == task.id && seen.beat == task.beat);
        if !is_as_before {
            *seen = Some(Seen {
                id: task.id.clone(),
                beat: task.beat,
                since: Instant::now(),
            });
        }
        let is_silent = seen
            .as_ref()
            .is_some_and(|seen| seen.since.elapsed() >= SILENT_MAX);
        let is_held = task
            .holder
            .as_deref()
            .is_some_and(|holder| holder != self.instance && self.may_be_alive(holder));
        if is_held && !is_silent {
            return Ok(None);
        }
        self.store.hold_task(&task, &self.instance).await
    }

    /// Whether an instance is, or may be: nobody counts as gone by a list on which this instance is not.
    fn may_be_alive(&self, instance: &str) -> bool {
        let list = self.monitor.instances();
        let has = |name: &str| list.instances.iter().any(|other| other.instance == name);
        has(instance) || !has(&self.instance)
    }

    /// Does a task step by step, to its end, until it is stopped, or until another has it.
    async fn work(&self, mut task: TaskDocument, stop: &mut watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        tracing::info!(task = task.id, kind = ?task.kind, done = task.done, "a task is taken up");
        loop {
            let mut now = task.clone();
            now.fault = None;
            let mut is_waiting = false;
            if *stop.borrow() {
                now.holder = None;
            } else if task.phase == TaskPhase::Stopping {
                end(&mut now, TaskPhase::Stopped);
            } else {
                match self.step(&task).await {
                    Ok(step) => {
                        backoff.reset();
                        now.done += step.done as i64;
                        now.skipped += step.skipped as i64;
                        now.step += i64::from(step.next.is_some());
                        is_waiting = step.next.is_none();
                        match step.next {
                            Some(Next::After(place)) => now.after = Some((*place).into()),
                            Some(Next::End) => {
                                // What the operator confirmed and nobody finds any more was taken by others.
                                now.skipped = now.skipped.max(now.expected - now.done);
                                end(&mut now, TaskPhase::Done);
                            }
                            Some(Next::Further) | None => {}
                        }
                    }
                    Err(StepError::Wrong(fault)) => {
                        now.fault = Some(fault);
                        end(&mut now, TaskPhase::Failed);
                    }
                    Err(StepError::Service(error)) => {
                        now.fault = Some(error.to_string());
                        tracing::debug!(%error, task = task.id, "a task waits");
                        backoff.wait().await;
                    }
                }
            }
            match self.store.note_task(&task, &now).await {
                Ok(Some(noted)) => {
                    if !noted.is_active {
                        self.tell(&noted).await;
                        return;
                    }
                    if noted.holder.is_none() {
                        return;
                    }
                    task = noted;
                }
                Ok(None) => return,
                Err(error) => {
                    // It may be noted: then the step's number is another, and the task is found anew.
                    tracing::debug!(%error, "how far a task is was not noted");
                    backoff.wait().await;
                    return;
                }
            }
            if is_waiting {
                tokio::select! {
                    () = tokio::time::sleep(ROOM_INTERVAL) => {}
                    () = stopped(stop) => {}
                }
            }
        }
    }

    async fn step(&self, task: &TaskDocument) -> Result<Step, StepError> {
        let len = match task.kind {
            TaskKind::Retry => RETRY_STEP_LEN_MAX,
            TaskKind::Discard => DISCARD_STEP_LEN_MAX,
        };
        if task.kind == TaskKind::Retry
            && self.monitor.latest().gauges.queue_depth >= RETRY_AHEAD_MAX
        {
            // New loans do not wait behind a million old ones.
            return Ok(Step::default());
        }
        let bodies = match task.kind {
            TaskKind::Retry => Bodies::Read,
            TaskKind::Discard => Bodies::Left,
        };
        let (asked, failures, next) = if let Some(names) = &task.loan_ids {
            let from = (task.step as usize).saturating_mul(len).min(names.len());
            let to = (from + len).min(names.len());
            let ids: Vec<_> = names[from..to]
                .iter()
                .filter_map(|id| LoanId::new(id))
                .collect();
            until_recorded(&self.queue, &ids).await?;
            let which = Which::Loans(&ids);
            let waiting = self
                .store
                .waiting(&which, None, ids.len().max(1), bodies)
                .await?;
            let next = if to == names.len() {
                Next::End
            } else {
                Next::Further
            };
            (to - from, waiting.failures, next)
        } else {
            let filter = task.filter.clone().unwrap_or_default();
            let filter = Filter::of(&filter).map_err(|wrong| {
                StepError::Wrong(format!("`filter.{}`: {}", wrong.name, wrong.rule))
            })?;
            let which = Which::Found(&filter, task.started_at);
            let after = task.after.clone().map(Place::from);
            let waiting = match len.min(self.unused(task).await?) {
                0 => Waiting::default(),
                len => {
                    self.store
                        .waiting(&which, after.as_ref(), len, bodies)
                        .await?
                }
            };
            let asked = waiting.failures.len() + waiting.unreadable as usize;
            let next = waiting
                .last
                .map_or(Next::End, |last| Next::After(Box::new(last)));
            (asked, waiting.failures, next)
        };
        let (done, is_whole) = self.apply(task, failures).await?;
        Ok(if is_whole {
            Step {
                done,
                skipped: (asked as u64).saturating_sub(done),
                next: Some(next),
            }
        } else {
            Step {
                // What a discard has done of a step is counted when the step is over.
                done: if task.kind == TaskKind::Retry {
                    done
                } else {
                    0
                },
                ..Step::default()
            }
        })
    }

    /// How many loans a task may still take: no more than were confirmed, also where a filter finds more. What failed at the
    /// very instant at which it was counted may be recorded later.
    async fn unused(&self, task: &TaskDocument) -> Result<usize, ServiceError> {
        // What a discard has done of a step is not counted before the step is over. It cannot be undone.
        let uncounted = match task.kind {
            TaskKind::Retry => 0,
            TaskKind::Discard => {
                let done = self.store.count_discarded_by(&task.id, task.step).await?;
                done as i64
            }
        };
        let used = task.done + task.skipped + uncounted;
        Ok((task.expected - used).max(0) as usize)
    }

    /// Does one step's work. Answers how many loans it was done with, and whether all of them were tried.
    async fn apply(
        &self,
        task: &TaskDocument,
        failures: Vec<WaitingFailure>,
    ) -> Result<(u64, bool), ServiceError> {
        match task.kind {
            TaskKind::Retry => {
                let retry = Retry {
                    queue: &self.queue,
                    store: &self.store,
                    backlog_max: self.backlog_max,
                };
                let step = retry.step(failures, None).await?;
                Ok((step.requeued, !step.is_full))
            }
            TaskKind::Discard => {
                let discard = Discard {
                    queue: &self.queue,
                    store: &self.store,
                };
                let order = Order {
                    task: &task.id,
                    step: task.step,
                    by: &task.by,
                    reason: task.reason.as_deref().unwrap_or_default(),
                };
                let step = discard.step(failures, &order).await?;
                Ok((step.done, !step.is_busy))
            }
        }
    }

    /// Tells that a task has ended: in the record of activity, and to whoever follows.
    async fn tell(&self, task: &TaskDocument) {
        if task.kind == TaskKind::Discard {
            for number in 0..self.queue.partitions() {
                let over = self.queue.reader(number).discard_over(&task.id).await;
                if let Err(error) = over {
                    tracing::debug!(%error, "a number of a task stays in Redis");
                }
            }
        }
        let done = task.done.max(0) as u64;
        let (action, what) = match task.kind {
            TaskKind::Retry => ("retry", "queued again"),
            TaskKind::Discard => ("discard", "discarded"),
        };
        let ended = match task.phase {
            TaskPhase::Stopped => "; stopped",
            TaskPhase::Failed => "; failed",
            _ => "",
        };
        self.activity.note(Entry {
            id: bson::oid::ObjectId::new(),
            at: DateTime::now(),
            name: task.by.clone(),
            address: task.address.clone(),
            action: action.to_owned(),
            effect: format!(
                "{}: {done} {what}, {} skipped{ended}",
                describe(task),
                task.skipped,
            ),
            reason: task.reason.clone(),
            request_id: task.request_id.clone(),
        });
        if done > 0 {
            let by = Some(task.by.clone());
            self.metrics.tell(match task.kind {
                TaskKind::Retry => EventKind::Retry { requeued: done, by },
                TaskKind::Discard => EventKind::Discard {
                    discarded: done,
                    by,
                },
            });
        }
    }
}

/// Why a step was not done.
enum StepError {
    /// It cannot be done.
    Wrong(String),
    /// It can be done later.
    Service(ServiceError),
}

impl From<ServiceError> for StepError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

fn end(task: &mut TaskDocument, phase: TaskPhase) {
    task.phase = phase;
    task.is_active = false;
    task.ended_at = Some(DateTime::now());
}

/// What a task is about, without personal data.
pub(crate) fn describe(task: &TaskDocument) -> String {
    match (&task.loan_ids, &task.filter) {
        (Some(ids), _) if ids.len() == 1 => format!("loan {}", ids[0]),
        (Some(ids), _) => format!("{} loans by id", ids.len()),
        (None, Some(filter)) => describe_filter(filter),
        (None, None) => describe_filter(&FailureFilter::default()),
    }
}

/// A filter in words, without personal data.
pub(crate) fn describe_filter(filter: &FailureFilter) -> String {
    let mut words = Vec::new();
    for (name, text) in [
        ("loanId", &filter.loan_id),
        ("errorType", &filter.error_type),
        ("field", &filter.field),
        ("rule", &filter.rule),
        ("from", &filter.from),
        ("to", &filter.to),
    ] {
        words.extend(text.as_ref().map(|text| format!("{name} {text}")));
    }
    if filter.applicant.is_some() {
        words.push("of an applicant".to_owned());
    }
    if words.is_empty() {
        "all failed loans".to_owned()
    } else {
        format!("failed loans with {}", words.join(", "))
    }
}

impl From<TaskDocument> for Task {
    fn from(task: TaskDocument) -> Self {
        let count = |count: i64| count.max(0) as u64;
        let over = task.done + task.skipped;
        Self {
            task_id: task.id,
            kind: task.kind.into(),
            phase: task.phase,
            // Without a filter loans were named, each confirmed.
            named: task.filter.is_none().then(|| count(task.expected)),
            filter: task.filter,
            reason: task.reason,
            by: task.by,
            started_at: rfc3339(task.started_at),
            ended_at: task.ended_at.map(rfc3339),
            expected: count(task.expected),
            done: count(task.done),
            skipped: count(task.skipped),
            remaining: count(task.expected - over),
            fault: task.fault,
        }
    }
}
