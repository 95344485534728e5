//! What Redis counts of failed loans that an operator has finished. They are not in Redis any more; only their number is.

use super::{Partition, value};
use crate::error::ServiceError;

impl Partition {
    /// Counts that a step of a task has finished `done` loans of this partition so far, and takes back the markers of
    /// these loans. Safe to repeat.
    ///
    /// # Errors
    /// Redis out of reach or silent: it may be counted.
    pub(crate) async fn count_discarded(
        &mut self,
        task: &str,
        step: u64,
        done: u64,
        loan_ids: &[&str],
    ) -> Result<(), ServiceError> {
        let mut call = self.function("discarded");
        call.arg(task).arg(step).arg(done);
        for loan_id in loan_ids {
            call.arg(*loan_id);
        }
        value::count(&self.call(&call).await?).map(drop)
    }

    /// Forgets what was noted of a task's steps.
    ///
    /// # Errors
    /// Redis out of reach or silent. Then one number stays.
    pub(crate) async fn discard_over(&mut self, task: &str) -> Result<(), ServiceError> {
        let mut call = self.function("discard_over");
        call.arg(task);
        self.call(&call).await.map(drop)
    }
}
