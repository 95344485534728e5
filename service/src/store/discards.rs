//! Failed loans that an operator has finished: they stay in the record, and say who, when and why.

use bson::{DateTime, Document, doc};
use mongodb::options::ReadConcern;

use super::{READ_TIMEOUT, Store, within};
use crate::error::ServiceError;

/// One step of a task that discards, in one partition of the queue.
#[derive(Clone, Copy, Debug)]
pub struct DiscardStep<'a> {
    /// The task.
    pub task: &'a str,
    /// Its number in the task.
    pub step: i64,
    /// The partition.
    pub partition: usize,
    /// Whose task it is.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
}

pub(super) fn by_step() -> Document {
    doc! { "discarded.task": 1, "discarded.step": 1, "discarded.partition": 1 }
}

impl Store {
    /// Notes that these failures are finished, those of them that wait. Safe to repeat.
    ///
    /// # Errors
    /// MongoDB out of reach or silent: any of them may be noted.
    pub async fn discard(&self, step: &DiscardStep<'_>, ids: &[&str]) -> Result<(), ServiceError> {
        let now = DateTime::now();
        let update = self.failures.update_many(
            doc! { "_id": { "$in": ids }, "waiting": true },
            doc! {
                "$unset": { "waiting": "" },
                "$set": {
                    "endedAt": now,
                    "discarded": {
                        "by": step.by, "at": now, "reason": step.reason,
                        "task": step.task, "step": step.step, "partition": step.partition as i64,
                    },
                },
            },
        );
        within(READ_TIMEOUT, update.into_future()).await.map(drop)
    }

    /// How many failures a step of a task has finished so far, in all partitions.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn count_discarded_by(&self, task: &str, step: i64) -> Result<u64, ServiceError> {
        let count = self
            .failures
            .count_documents(doc! { "discarded.task": task, "discarded.step": step })
            .read_concern(ReadConcern::majority());
        within(READ_TIMEOUT, count.into_future()).await
    }

    /// How many failures a step has finished so far, also before a crash.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn count_discarded(&self, step: &DiscardStep<'_>) -> Result<u64, ServiceError> {
        let count = self
            .failures
            .count_documents(doc! {
                "discarded.task": step.task,
                "discarded.step": step.step,
                "discarded.partition": step.partition as i64,
            })
            .read_concern(ReadConcern::majority());
        within(READ_TIMEOUT, count.into_future()).await
    }
}
