//! Work on many failed loans, as MongoDB keeps it: so that it survives the instance that does it, and has one holder.

use std::time::Duration;

use bson::{Bson, DateTime, Document, doc};
use mongodb::IndexModel;
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{IndexOptions, ReturnDocument};
use serde::{Deserialize, Serialize};

use super::failures::Place;
use super::{READ_TIMEOUT, Store, readable, within};
use crate::api::{FailureFilter, TaskKind, TaskPhase};
use crate::error::ServiceError;

/// Ended tasks are kept this long.
const TASKS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Tasks that are told at once.
const TASKS_TOLD_MAX: usize = 50;
/// MongoDB's code for a second document with the same key.
const DUPLICATE_KEY: i32 = 11_000;

/// A document of `tasks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDocument {
    /// Names it.
    #[serde(rename = "_id")]
    pub id: String,
    /// What is done.
    pub kind: TaskKind,
    /// How far it is.
    pub phase: TaskPhase,
    /// Whether somebody does it, or has to: of each kind one at a time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_active: bool,
    /// On which failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FailureFilter>,
    /// Or on which loans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loan_ids: Option<Vec<String>>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whose it is.
    pub by: String,
    /// From where it was asked for.
    pub address: String,
    /// The call that asked for it.
    pub request_id: String,
    /// When it was asked for. What fails later is not taken.
    pub started_at: DateTime,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime>,
    /// Loans that the operator confirmed.
    pub expected: i64,
    /// Loans that it was done with.
    pub done: i64,
    /// Loans that it was not done with, and that will not be tried again.
    pub skipped: i64,
    /// Steps that were begun and are over.
    pub step: i64,
    /// The place behind which the next step begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PlaceDocument>,
    /// Which run of which instance does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Grows while somebody does it.
    pub beat: i64,
    /// Why it does not go on now, or has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A place in the log of failures, in a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceDocument {
    failed_at: Bson,
    id: Bson,
}

impl From<Place> for PlaceDocument {
    fn from(Place { failed_at, id }: Place) -> Self {
        Self { failed_at, id }
    }
}

impl From<PlaceDocument> for Place {
    fn from(PlaceDocument { failed_at, id }: PlaceDocument) -> Self {
        Self { failed_at, id }
    }
}

/// Whether a task was taken up.
#[derive(Debug)]
pub enum Begun {
    /// It is.
    Yes,
    /// Another of its kind is being done.
    AnotherRuns,
}

impl Store {
    /// Makes the indexes of tasks. Safe to repeat.
    async fn prepare_tasks(&self) -> Result<(), Error> {
        let one_of_a_kind = IndexOptions::builder()
            .unique(true)
            .partial_filter_expression(doc! { "isActive": true })
            .build();
        let kept = IndexOptions::builder().expire_after(TASKS_KEPT).build();
        self.tasks
            .create_indexes([
                IndexModel::builder()
                    .keys(doc! { "kind": 1 })
                    .options(one_of_a_kind)
                    .build(),
                IndexModel::builder()
                    .keys(doc! { "endedAt": 1 })
                    .options(kept)
                    .build(),
                IndexModel::builder().keys(newest_first()).build(),
            ])
            .await
            .map(drop)
    }

    /// Takes up a task.
    ///
    /// # Errors
    /// MongoDB out of reach or silent: it may be taken up.
    pub async fn begin_task(&self, task: &TaskDocument) -> Result<Begun, ServiceError> {
        let begin = async {
            self.prepare_tasks().await?;
            match self.tasks.insert_one(task).await {
                Ok(_) => Ok(Begun::Yes),
                Err(error) if is_duplicate(&error) => Ok(Begun::AnotherRuns),
                Err(error) => Err(error),
            }
        };
        within(READ_TIMEOUT, begin).await
    }

    /// The newest tasks of the last day, without the ids of their loans.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn tasks(&self) -> Result<Vec<TaskDocument>, ServiceError> {
        let day = Duration::from_secs(24 * 60 * 60);
        let since =
            DateTime::from_millis(DateTime::now().timestamp_millis() - day.as_millis() as i64);
        let find = async {
            let found = self
                .tasks
                .find(doc! { "$or": [{ "startedAt": { "$gte": since } }, { "isActive": true }] })
                .projection(doc! { "after": 0, "loanIds": 0 })
                .sort(newest_first())
                .batch_size(TASKS_TOLD_MAX as u32)
                .await?;
            readable(found, TASKS_TOLD_MAX).await
        };
        within(READ_TIMEOUT, find).await
    }

    /// A task.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn task(&self, id: &str) -> Result<Option<TaskDocument>, ServiceError> {
        let find = self.tasks.find_one(doc! { "_id": id });
        within(READ_TIMEOUT, find.into_future()).await
    }

    /// The task of this kind that is to be done.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn active_task(&self, kind: TaskKind) -> Result<Option<TaskDocument>, ServiceError> {
        let find = self
            .tasks
            .find_one(doc! { "kind": name_of(kind), "isActive": true });
        within(READ_TIMEOUT, find.into_future()).await
    }

    /// Has a task end after the step that it is in. `None` if it has ended.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn stop_task(&self, id: &str) -> Result<Option<TaskDocument>, ServiceError> {
        let stopping = doc! { "$set": { "phase": "stopping" } };
        let update = self
            .tasks
            .find_one_and_update(doc! { "_id": id, "isActive": true }, stopping)
            .return_document(ReturnDocument::After);
        within(READ_TIMEOUT, update.into_future()).await
    }

    /// Makes `holder` the one who does a task, as it was seen. `None` if it has moved meanwhile.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn hold_task(
        &self,
        seen: &TaskDocument,
        holder: &str,
    ) -> Result<Option<TaskDocument>, ServiceError> {
        let update = self
            .tasks
            .find_one_and_update(
                doc! { "_id": &seen.id, "isActive": true, "beat": seen.beat },
                doc! { "$set": { "holder": holder }, "$inc": { "beat": 1_i64 } },
            )
            .return_document(ReturnDocument::After);
        within(READ_TIMEOUT, update.into_future()).await
    }

    /// Notes how far a task is, whose holder and step are still those of `before`. `None` if they are not.
    ///
    /// # Errors
    /// MongoDB out of reach or silent: it may be noted. The same again then finds that it is.
    pub async fn note_task(
        &self,
        before: &TaskDocument,
        now: &TaskDocument,
    ) -> Result<Option<TaskDocument>, ServiceError> {
        let mut set = doc! { "done": now.done, "skipped": now.skipped, "step": now.step };
        let mut unset = Document::new();
        if let Some(after) = &now.after {
            set.insert(
                "after",
                doc! { "failedAt": &after.failed_at, "id": &after.id },
            );
        }
        match &now.fault {
            Some(fault) => drop(set.insert("fault", fault)),
            None => drop(unset.insert("fault", "")),
        }
        if now.is_active {
            // Whoever stops it meanwhile is not overruled.
            match &now.holder {
                Some(holder) => drop(set.insert("holder", holder)),
                None => drop(unset.insert("holder", "")),
            }
        } else {
            set.insert("phase", phase_name(now.phase));
            set.insert("endedAt", now.ended_at.unwrap_or_else(DateTime::now));
            unset.insert("isActive", "");
            unset.insert("holder", "");
        }
        let mut update = doc! { "$set": set, "$inc": { "beat": 1_i64 } };
        if !unset.is_empty() {
            update.insert("$unset", unset);
        }
        let holder = before.holder.as_deref();
        let update = self
            .tasks
            .find_one_and_update(
                doc! { "_id": &before.id, "holder": holder, "step": before.step, "isActive": true },
                update,
            )
            .return_document(ReturnDocument::After);
        within(READ_TIMEOUT, update.into_future()).await
    }
}

fn newest_first() -> Document {
    doc! { "startedAt": -1, "_id": -1 }
}

fn name_of(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Retry => "retry",
        TaskKind::Discard => "discard",
    }
}

fn phase_name(phase: TaskPhase) -> &'static str {
    match phase {
        TaskPhase::Running => "running",
        TaskPhase::Stopping => "stopping",
        TaskPhase::Stopped => "stopped",
        TaskPhase::Done => "done",
        TaskPhase::Failed => "failed",
    }
}

fn is_duplicate(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY)
}
