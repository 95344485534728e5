//! Discard: failed loans are finished by hand, in bounded steps. They stay in the record; their ids stay taken.
//!
//! As for a retry, a look-up's marker in Redis is taken first: while it stands, no retry takes the loan. It bears the step's
//! name, so who does the step again after a crash has it already. Then MongoDB notes
//! the discard, then Redis counts it, once for each step, however often the step is done again after a crash.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::ServiceError;
use crate::failpoint::failpoint;
use crate::loan::{Fingerprint, LoanId};
use crate::queue::admission::{Admission, Arrival, Entry, Known, Marker};
use crate::queue::bundle::IdHash;
use crate::queue::{Partition, Queue};
use crate::store::Store;
use crate::store::discards::DiscardStep;
use crate::store::failures::WaitingFailure;

/// Marks ids without admitting anything: the bound of admission does not count.
const NO_BOUND: u64 = 1 << 52;

/// Finishes failed loans.
#[derive(Debug)]
pub(crate) struct Discard<'a> {
    pub(crate) queue: &'a Queue,
    pub(crate) store: &'a Store,
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Discarded {
    /// Loans that this step has finished, also before a crash.
    pub(crate) done: u64,
    /// Whether a retry is at some of them: the step has to be done again.
    pub(crate) is_busy: bool,
}

/// On whose behalf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) task: &'a str,
    pub(crate) step: i64,
    pub(crate) by: &'a str,
    pub(crate) reason: &'a str,
}

impl Discard<'_> {
    /// Finishes these failures' loans.
    ///
    /// # Errors
    /// Redis or MongoDB out of reach or silent. The same step again goes on.
    pub(crate) async fn step(
        &self,
        failures: Vec<WaitingFailure>,
        order: &Order<'_>,
    ) -> Result<Discarded, ServiceError> {
        let mut by_partition: BTreeMap<usize, Vec<WaitingFailure>> = BTreeMap::new();
        // Each one, since a step that is done again may find nothing more in one of them and has still to be counted.
        for number in 0..self.queue.partitions() {
            by_partition.insert(number, Vec::new());
        }
        for failure in failures {
            let number = self.queue.partition_of_hash(IdHash::of(&failure.loan_id));
            by_partition.entry(number).or_default().push(failure);
        }
        let mut sum = Discarded::default();
        for (number, failures) in by_partition {
            let step = DiscardStep {
                task: order.task,
                step: order.step,
                partition: number,
                by: order.by,
                reason: order.reason,
            };
            let part = self.step_in(number, failures, &step).await?;
            sum.done += part.done;
            sum.is_busy |= part.is_busy;
        }
        Ok(sum)
    }

    async fn step_in(
        &self,
        number: usize,
        failures: Vec<WaitingFailure>,
        step: &DiscardStep<'_>,
    ) -> Result<Discarded, ServiceError> {
        let mut partition = self.queue.partition(number);
        let marker = Marker::of(step.task, step.step);
        let (marked, gone, is_busy) = self.mark(&mut partition, failures, marker).await?;
        failpoint!("discard-marked");
        let is_last = self.store.still_last(&marked).await?;
        let (mut last, mut over) = (Vec::new(), Vec::new());
        for (failure, is_last) in marked.iter().zip(is_last) {
            if is_last {
                last.push(&*failure.id);
            } else {
                over.push(&*failure.id);
            }
        }
        if !last.is_empty() {
            self.store.discard(step, &last).await?;
        }
        failpoint!("discard-noted");
        over.extend(gone.iter().map(|failure| &*failure.id));
        self.store.no_longer_waiting(&over).await?;
        let done = self.store.count_discarded(step).await?;
        let loans: Vec<_> = marked.iter().map(|failure| &*failure.loan_id).collect();
        if done > 0 || !loans.is_empty() {
            partition
                .count_discarded(step.task, step.step as u64, done, &loans)
                .await?;
        }
        failpoint!("discard-counted");
        Ok(Discarded { done, is_busy })
    }

    /// Takes the marker of each loan that is not in the queue. Answers those that have one now, those that are in the
    /// queue again, and whether another is at some.
    async fn mark(
        &self,
        partition: &mut Partition,
        failures: Vec<WaitingFailure>,
        marker: Marker,
    ) -> Result<(Vec<WaitingFailure>, Vec<WaitingFailure>, bool), ServiceError> {
        let (mut marked, mut gone, mut is_busy) = (Vec::new(), Vec::new(), false);
        if failures.is_empty() {
            return Ok((marked, gone, is_busy));
        }
        let (failures, arrivals): (Vec<_>, Vec<_>) = failures
            .into_iter()
            .filter_map(|failure| {
                let arrival = arrival(&failure)?;
                Some((failure, (arrival, Known::NotRecordedFor(marker))))
            })
            .unzip();
        let admitted = partition
            .admit(Entry::Retry, &arrivals, NO_BOUND, self.queue.timeout())
            .await?;
        for (failure, outcome) in failures.into_iter().zip(admitted.outcomes) {
            match outcome {
                Admission::LookUp(_) => marked.push(failure),
                Admission::Busy => is_busy = true,
                _ => gone.push(failure),
            }
        }
        Ok((marked, gone, is_busy))
    }
}

/// Stands for a failed loan where only its id counts.
fn arrival(failure: &WaitingFailure) -> Option<Arrival> {
    Some(Arrival {
        loan_id: LoanId::new(&failure.loan_id)?,
        hash: IdHash::of(&failure.loan_id),
        fingerprint: Fingerprint::from_hex(&failure.fingerprint)
            .or_else(|| Fingerprint::from_bytes(&[0; 16]))?,
        received_us: 0,
        attempt: failure.attempt + 1,
        trace: None,
        body: Bytes::new(),
    })
}
