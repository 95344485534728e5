//! Retry: failed loans go back into the queue, in bounded steps, each loan by one atomic move.

use std::collections::BTreeMap;

use crate::api::Retried;
use crate::error::ServiceError;
use crate::limits::RETRY_STEP_LEN_MAX;
use crate::loan::{Category, Fingerprint, LoanId};
use crate::queue::Queue;
use crate::queue::retry::Correction;

/// Which failed loans.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Those that failed for one of these.
    Categories(Vec<Category>),
    /// Those of these ids, each named once.
    Ids(Vec<LoanId>),
    /// One, with other content.
    Corrected(LoanId, Fingerprint, bytes::Bytes),
}

/// Queues failed loans again, `len_max` at most. A loan that fails again meanwhile is not taken a
/// second time.
///
/// # Errors
/// Redis out of reach, out of memory or silent; what was queued by then stays so.
pub async fn retry(
    queue: &Queue,
    selection: Selection,
    len_max: u64,
) -> Result<Retried, ServiceError> {
    match selection {
        Selection::Categories(categories) => by_category(queue, &categories, len_max).await,
        Selection::Ids(loan_ids) => by_id(queue, loan_ids, len_max).await,
        Selection::Corrected(loan_id, fingerprint, body) => {
            let mut link = queue.link(queue.partition_of(&loan_id));
            let correction = Correction {
                fingerprint: &fingerprint,
                body: &body,
            };
            let step = link.requeue_ids(&[loan_id], Some(correction)).await?;
            Ok(Retried {
                requeued: step.moved,
                skipped: step.skipped,
                remaining: 0,
            })
        }
    }
}

async fn by_category(
    queue: &Queue,
    categories: &[Category],
    len_max: u64,
) -> Result<Retried, ServiceError> {
    let mut links: Vec<_> = (0..queue.partitions())
        .map(|partition| queue.link(partition))
        .collect();
    // What waits now is what was asked for; a loan that fails again comes behind it.
    let mut waiting = Vec::new();
    for (partition, link) in links.iter_mut().enumerate() {
        for &category in categories {
            if let Some(found) = link.waiting(category).await? {
                waiting.push((partition, category, found));
            }
        }
    }
    let mut sum = Retried {
        remaining: waiting.iter().map(|(_, _, found)| found.len).sum(),
        ..Retried::default()
    };
    for (partition, category, found) in waiting {
        let mut after: Option<String> = None;
        loop {
            let room = len_max.saturating_sub(sum.requeued);
            if room == 0 {
                return Ok(sum);
            }
            let step = links[partition]
                .requeue(
                    category,
                    after.as_deref(),
                    &found.newest,
                    RETRY_STEP_LEN_MAX.min(room as usize),
                )
                .await?;
            sum.requeued += step.moved;
            sum.skipped += step.skipped;
            sum.remaining = sum.remaining.saturating_sub(step.moved + step.skipped);
            match step.last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
    }
    // What another retry took meanwhile does not remain.
    sum.remaining = 0;
    Ok(sum)
}

async fn by_id(
    queue: &Queue,
    loan_ids: Vec<LoanId>,
    len_max: u64,
) -> Result<Retried, ServiceError> {
    let mut by_partition: BTreeMap<usize, Vec<LoanId>> = BTreeMap::new();
    let mut sum = Retried {
        remaining: loan_ids.len() as u64,
        ..Retried::default()
    };
    for loan_id in loan_ids {
        by_partition
            .entry(queue.partition_of(&loan_id))
            .or_default()
            .push(loan_id);
    }
    for (partition, loan_ids) in by_partition {
        let mut link = queue.link(partition);
        let mut rest = &loan_ids[..];
        while !rest.is_empty() {
            let room = len_max.saturating_sub(sum.requeued);
            if room == 0 {
                return Ok(sum);
            }
            let (step, later) =
                rest.split_at(RETRY_STEP_LEN_MAX.min(rest.len()).min(room as usize));
            let done = link.requeue_ids(step, None).await?;
            sum.requeued += done.moved;
            sum.skipped += done.skipped;
            sum.remaining -= step.len() as u64;
            rest = later;
        }
    }
    Ok(sum)
}
