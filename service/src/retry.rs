//! Retry: failed loans go back into the queue, in bounded steps, each loan by one atomic move.
//!
//! MongoDB holds what failed; Redis decides. A look-up's marker in Redis is taken first, then MongoDB is asked whether the
//! failure is still its loan's last word, then the loan is admitted with that look-up. So of two retries at once one
//! finds the marker gone, and nothing that another retry has brought to its end is queued a second time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bson::DateTime;
use bytes::Bytes;

use crate::api::Retried;
use crate::error::ServiceError;
use crate::limits::{RETRY_STEP_LEN_MAX, RETRY_WAIT_MAX};
use crate::loan::{Category, Fingerprint, LoanId};
use crate::queue::admission::{Admission, Arrival, Entry, Known};
use crate::queue::bundle::IdHash;
use crate::queue::results::Decision;
use crate::queue::state::Whereabouts;
use crate::queue::{Partition, Queue};
use crate::store::Store;
use crate::store::failures::{Bodies, Place, WaitingFailure, Which};

/// Which failed loans.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Those that failed for one of these.
    Categories(Vec<Category>),
    /// Those of these ids, each named once.
    Ids(Vec<LoanId>),
    /// One, with other content.
    Corrected(LoanId, Fingerprint, Bytes),
}

/// Queues failed loans again.
#[derive(Debug)]
pub struct Retry<'a> {
    /// Where they go.
    pub queue: &'a Queue,
    /// Where they are.
    pub store: &'a Store,
    /// The most loans in Redis that are not recorded.
    pub backlog_max: u64,
}

/// The content that takes the place of a failed loan's.
type Correction<'a> = (&'a Fingerprint, &'a Bytes);

/// What one step has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Step {
    /// Loans that are queued again.
    pub(crate) requeued: u64,
    /// Loans that are not, and need not be tried again.
    pub(crate) skipped: u64,
    /// Whether there was no room for more.
    pub(crate) is_full: bool,
}

impl Retry<'_> {
    /// Queues failed loans again, `len_max` at most. A loan that fails again meanwhile is not taken a second time.
    ///
    /// # Errors
    /// Redis or MongoDB out of reach or silent; what was queued by then stays so.
    pub async fn run(&self, selection: Selection, len_max: u64) -> Result<Retried, ServiceError> {
        match selection {
            Selection::Categories(categories) => self.by_category(&categories, len_max).await,
            Selection::Ids(loan_ids) => self.by_id(&loan_ids, None, len_max).await,
            Selection::Corrected(loan_id, fingerprint, body) => {
                self.by_id(&[loan_id], Some((&fingerprint, &body)), len_max)
                    .await
            }
        }
    }

    async fn by_category(
        &self,
        categories: &[Category],
        len_max: u64,
    ) -> Result<Retried, ServiceError> {
        // What waits now is what was asked for; a loan that fails again fails later.
        let which = Which::Of(categories, DateTime::now());
        let mut sum = Retried {
            remaining: self.store.count_waiting(&which).await?,
            ..Retried::default()
        };
        let mut after: Option<Place> = None;
        loop {
            let room = len_max.saturating_sub(sum.requeued);
            if room == 0 {
                return Ok(sum);
            }
            let len = RETRY_STEP_LEN_MAX.min(room as usize);
            let waiting = self
                .store
                .waiting(&which, after.as_ref(), len, Bodies::Read)
                .await?;
            let Some(last) = waiting.last else {
                // What another retry took meanwhile does not remain.
                sum.remaining = 0;
                return Ok(sum);
            };
            after = Some(last);
            let step = self.step(waiting.failures, None).await?;
            let skipped = step.skipped + waiting.unreadable;
            sum.requeued += step.requeued;
            sum.skipped += skipped;
            sum.remaining = sum.remaining.saturating_sub(step.requeued + skipped);
            if step.is_full {
                return Ok(sum);
            }
        }
    }

    async fn by_id(
        &self,
        loan_ids: &[LoanId],
        correction: Option<Correction<'_>>,
        len_max: u64,
    ) -> Result<Retried, ServiceError> {
        let mut sum = Retried {
            remaining: loan_ids.len() as u64,
            ..Retried::default()
        };
        let mut rest = loan_ids;
        while !rest.is_empty() {
            let room = len_max.saturating_sub(sum.requeued);
            if room == 0 {
                return Ok(sum);
            }
            let (ids, later) = rest.split_at(RETRY_STEP_LEN_MAX.min(rest.len()).min(room as usize));
            until_recorded(self.queue, ids).await?;
            let waiting = self
                .store
                .waiting(&Which::Loans(ids), None, ids.len(), Bodies::Read)
                .await?;
            let step = self.step(waiting.failures, correction).await?;
            sum.requeued += step.requeued;
            if step.is_full {
                return Ok(sum);
            }
            sum.skipped += ids.len() as u64 - step.requeued;
            sum.remaining -= ids.len() as u64;
            rest = later;
        }
        Ok(sum)
    }

    /// Queues these failures' loans again, as their next attempts.
    pub(crate) async fn step(
        &self,
        failures: Vec<WaitingFailure>,
        correction: Option<Correction<'_>>,
    ) -> Result<Step, ServiceError> {
        let mut by_partition: BTreeMap<usize, Vec<WaitingFailure>> = BTreeMap::new();
        let mut sum = Step::default();
        for failure in failures {
            let number = self.queue.partition_of_hash(IdHash::of(&failure.loan_id));
            by_partition.entry(number).or_default().push(failure);
        }
        for (number, failures) in by_partition {
            let mut partition = self.queue.partition(number);
            let step = self.step_in(&mut partition, failures, correction).await?;
            sum.requeued += step.requeued;
            sum.skipped += step.skipped;
            sum.is_full |= step.is_full;
        }
        Ok(sum)
    }

    async fn step_in(
        &self,
        partition: &mut Partition,
        failures: Vec<WaitingFailure>,
        correction: Option<Correction<'_>>,
    ) -> Result<Step, ServiceError> {
        let mut sum = Step::default();
        let mut gone: Vec<String> = Vec::new();
        let mut open: Vec<(WaitingFailure, Arrival)> = Vec::new();
        for failure in failures {
            match arrival(&failure, correction) {
                Some(arrival) => open.push((failure, arrival)),
                // An earlier version has recorded it without its body.
                None => sum.skipped += 1,
            }
        }
        // First each loan's marker; who holds none any more, because another took the id up, is asked about again.
        let mut known = vec![Known::NotRecorded; open.len()];
        // Those for whom there is no room: their markers go, or they would keep the next try away.
        let mut full: Vec<LoanId> = Vec::new();
        for _ in 0..5 {
            if open.is_empty() {
                break;
            }
            let arrivals: Vec<_> = open
                .iter()
                .zip(known)
                .map(|((_, arrival), known)| (arrival.clone(), known))
                .collect();
            let admitted = partition
                .admit(
                    Entry::Retry,
                    &arrivals,
                    self.backlog_max,
                    self.queue.timeout(),
                )
                .await?;
            let mut again = Vec::new();
            known = Vec::new();
            for ((failure, arrival), outcome) in open.into_iter().zip(admitted.outcomes) {
                match outcome {
                    Admission::Admitted => {
                        sum.requeued += 1;
                        gone.push(failure.id);
                    }
                    Admission::LookUp(look_up) => {
                        again.push((failure, arrival));
                        known.push(Known::LookedUp(look_up));
                    }
                    Admission::Full | Admission::Paused => {
                        sum.is_full = true;
                        full.push(arrival.loan_id);
                    }
                    Admission::Busy => sum.skipped += 1,
                    // It is in the queue already.
                    _ => {
                        sum.skipped += 1;
                        gone.push(failure.id);
                    }
                }
            }
            let failures: Vec<_> = again.iter().map(|(failure, _)| failure.clone()).collect();
            let is_last = self.store.still_last(&failures).await?;
            open = Vec::new();
            let mut still_known = Vec::new();
            let mut over = Vec::new();
            for (((failure, arrival), known), is_last) in again.into_iter().zip(known).zip(is_last)
            {
                if is_last {
                    open.push((failure, arrival));
                    still_known.push(known);
                } else {
                    sum.skipped += 1;
                    over.push(arrival.loan_id);
                    gone.push(failure.id);
                }
            }
            known = still_known;
            if !over.is_empty() {
                let over: Vec<_> = over.iter().collect();
                partition.answered(0, &over, self.queue.timeout()).await?;
            }
        }
        if !full.is_empty() {
            let full: Vec<_> = full.iter().collect();
            partition.answered(0, &full, self.queue.timeout()).await?;
        }
        sum.skipped += open.len() as u64;
        let gone: Vec<_> = gone.iter().map(String::as_str).collect();
        if let Err(error) = self.store.no_longer_waiting(&gone).await {
            tracing::debug!(%error, "retried failures are still noted as waiting");
        }
        Ok(sum)
    }
}

/// A failure is told as it is decided, and MongoDB knows it a moment later: waits for those of these loans, not long.
///
/// # Errors
/// Redis out of reach or silent, or MongoDB does not take them.
pub(crate) async fn until_recorded(queue: &Queue, loan_ids: &[LoanId]) -> Result<(), ServiceError> {
    let until = Instant::now() + RETRY_WAIT_MAX;
    for loan_id in loan_ids {
        let mut partition = queue.reader(queue.partition_of(loan_id));
        while let Whereabouts::Decided {
            decision: Decision::Failed(_),
            ..
        } = partition.find(loan_id).await?
        {
            if Instant::now() >= until {
                return Err(ServiceError::MongoTimeout(RETRY_WAIT_MAX));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// The next attempt of a failed loan; `None` if MongoDB does not hold its body.
fn arrival(failure: &WaitingFailure, correction: Option<Correction<'_>>) -> Option<Arrival> {
    let (fingerprint, body) = match correction {
        Some((fingerprint, body)) => (*fingerprint, body.clone()),
        None => (
            Fingerprint::from_hex(&failure.fingerprint)?,
            Bytes::from(failure.body.clone()?),
        ),
    };
    Some(Arrival {
        loan_id: LoanId::new(&failure.loan_id)?,
        hash: IdHash::of(&failure.loan_id),
        fingerprint,
        received_us: failure.received_at.timestamp_millis().max(0) as u64 * 1000,
        attempt: failure.attempt + 1,
        trace: None,
        body,
    })
}
