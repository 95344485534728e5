//! Makes the filters of recorded ids whole again, and the count of failures that wait, from MongoDB: for a new Redis beside a
//! full MongoDB, or an older one.
//!
//! A Redis that has lost ids has lost retries too: their failures wait again.
//!
//! Until a partition's filter is complete, MongoDB is asked for every id; so nothing is wrong meanwhile, only slower.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::error::ServiceError;
use crate::failpoint::failpoint;
use crate::limits::FILTER_FILL_LEN;
use crate::metrics::Metrics;
use crate::queue::bundle::IdHash;
use crate::queue::filter::{Ids, Rebuilding};
use crate::queue::{Partition, Queue};
use crate::store::{Store, is_answer};

/// How often it looks whether there is something to do.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A partition has this long to say whether there is something to do in it.
const ANSWER_AWAITED: Duration = Duration::from_secs(2);
/// Looks at the filters between two at the count of failures that wait.
const COUNT_EVERY: u32 = 4;

/// Retried failures that are looked at together.
const RETRIED_LEN: usize = 1_000;

/// Watches the filters, as long as the process lives.
pub(crate) async fn watch(queue: Queue, store: Store, metrics: Arc<Metrics>) {
    let mut partitions: Vec<_> = (0..queue.partitions())
        .map(|number| queue.partition(number))
        .collect();
    let mut rounds: u32 = 0;
    loop {
        failpoint!("rebuild-before");
        if let Err(error) = rebuild(&queue, &store, &metrics, &mut partitions).await {
            tracing::debug!(%error, "a filter is not rebuilt yet");
        }
        if rounds.is_multiple_of(COUNT_EVERY)
            && let Err(error) = count_waiting(&queue, &store, &mut partitions).await
        {
            tracing::debug!(%error, "the failures that wait are not counted yet");
        }
        rounds = rounds.wrapping_add(1);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Counts the failures that wait, for the partitions that may have lost the count.
async fn count_waiting(
    queue: &Queue,
    store: &Store,
    partitions: &mut [Partition],
) -> Result<(), ServiceError> {
    let asked = join_all(
        partitions
            .iter_mut()
            .map(|partition| timeout(ANSWER_AWAITED, partition.must_count_waiting())),
    );
    let uncounted: Vec<_> = asked
        .await
        .into_iter()
        .map(|asked| asked.ok()?.ok().flatten())
        .collect();
    if uncounted.iter().all(Option::is_none) {
        return Ok(());
    }
    let mut waiting = vec![0; partitions.len()];
    let mut ids = store.waiting_loan_ids().await?;
    while let Some(loan_id) = ids.try_next().await? {
        waiting[queue.partition_of_hash(IdHash::of(&loan_id))] += 1;
    }
    for ((partition, uncounted), waiting) in partitions.iter_mut().zip(uncounted).zip(waiting) {
        if let Some(uncounted) = uncounted {
            partition.count_waiting(&uncounted, waiting).await?;
        }
    }
    Ok(())
}

/// A filter that is being rebuilt.
struct Filling<'a> {
    partition: &'a mut Partition,
    rebuilding: Rebuilding,
    ids: Ids,
}

impl Filling<'_> {
    /// Puts in what has gathered. Answers whether this rebuilding still counts: where Redis does not answer it is given up, and
    /// begins anew at the next turn.
    async fn fill(&mut self, are_last: bool) -> bool {
        let ids = std::mem::take(&mut self.ids);
        let filled = self
            .partition
            .fill_filter(&self.rebuilding, &ids, are_last)
            .await;
        filled.unwrap_or_else(|error| {
            let partition = self.partition.number();
            tracing::debug!(%error, partition, "a filter is not filled now");
            false
        })
    }
}

/// Rebuilds the filters that are not complete and that no other instance is at.
async fn rebuild(
    queue: &Queue,
    store: &Store,
    metrics: &Metrics,
    partitions: &mut [Partition],
) -> Result<(), ServiceError> {
    let started = join_all(partitions.iter_mut().map(async |partition| {
        // One that stands still keeps the others from nothing: its turn comes again.
        let started = timeout(ANSWER_AWAITED, partition.start_rebuilding()).await;
        started.ok()?.ok()?.map(|rebuilding| Filling {
            partition,
            rebuilding,
            ids: Ids::default(),
        })
    }));
    let mut fillings: Vec<Option<Filling<'_>>> = started.await;
    if fillings.iter().all(Option::is_none) {
        return Ok(());
    }
    let mut count: u64 = 0;
    let mut ids = store.all_loan_ids().await?;
    while let Some(loan_id) = ids.try_next().await? {
        let hash = IdHash::of(&loan_id);
        let slot = &mut fillings[queue.partition_of_hash(hash)];
        let Some(filling) = slot else {
            continue;
        };
        filling.ids.push(hash);
        count += 1;
        if filling.ids.len() >= FILTER_FILL_LEN {
            metrics.note_rebuilding(count);
            if !filling.fill(false).await {
                *slot = None;
            }
        }
    }
    match wait_again(queue, store, &mut fillings).await {
        Ok(()) => {}
        // A right that is lacking keeps retries lost, and the filter from nobody.
        Err(error) if is_answer(&error) => {
            tracing::warn!(%error, "MongoDB does not let it be seen which retries Redis has lost");
        }
        Err(error) => return Err(error),
    }
    for filling in fillings.iter_mut().flatten() {
        if filling.fill(true).await && count > 0 {
            tracing::info!(
                partition = filling.partition.number(),
                ids = count,
                "the filter of recorded loans is complete again"
            );
        }
    }
    metrics.note_rebuilding(0);
    Ok(())
}

/// Failures wait again whose next attempts Redis has lost: only it knew of them, and MongoDB still has what was sent.
async fn wait_again(
    queue: &Queue,
    store: &Store,
    fillings: &mut [Option<Filling<'_>>],
) -> Result<(), ServiceError> {
    let mut retried = store.retried().await?.try_chunks(RETRIED_LEN);
    while let Some(failures) = retried.try_next().await.map_err(|error| error.1)? {
        let mut by_partition: Vec<Vec<_>> = fillings.iter().map(|_| Vec::new()).collect();
        for failure in failures {
            let number = queue.partition_of_hash(IdHash::of(&failure.loan_id));
            by_partition[number].push(failure);
        }
        for (slot, failures) in fillings.iter_mut().zip(by_partition) {
            let Some(filling) = slot.as_mut().filter(|_| !failures.is_empty()) else {
                continue;
            };
            // Redis is asked first: what leaves it afterwards MongoDB holds by then.
            let ids: Vec<_> = failures.iter().map(|failure| &*failure.loan_id).collect();
            let Ok(attempts) = filling.partition.attempts_on_their_way(&ids).await else {
                *slot = None;
                continue;
            };
            let lost: Vec<_> = failures
                .into_iter()
                .zip(attempts)
                .filter(|(failure, attempt)| {
                    attempt.is_none_or(|attempt| u32::from(attempt) <= failure.attempt)
                })
                .map(|(failure, _)| failure)
                .collect();
            let are_last = store.still_last(&lost).await?;
            let lost = lost.iter().zip(are_last).filter(|(_, is_last)| *is_last);
            let ids: Vec<_> = lost.map(|(failure, _)| &*failure.id).collect();
            store.waiting_again(&ids).await?;
            if !ids.is_empty() {
                tracing::warn!(
                    partition = filling.partition.number(),
                    loans = ids.len(),
                    "Redis has lost retries: these failures wait again"
                );
            }
        }
    }
    Ok(())
}
