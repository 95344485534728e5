//! How full each partition is, whether it can be used, and the wake-up of who waits for loans.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::limits::{CLAIM_LEN_MAX, claim_gather, claim_poll};

/// What this process last saw of each partition.
#[derive(Debug)]
pub struct Depths {
    partitions: Box<[Seen]>,
    wake: Notify,
    started: Instant,
}

#[derive(Debug)]
struct Seen {
    /// Loans that wait, as far as is known here: as last looked at, with what was admitted and claimed here since.
    waiting: AtomicU64,
    /// When this process last claimed of it, in microseconds after the start.
    claimed_us: AtomicU64,
    /// Whether it does not answer.
    is_shut: watch::Sender<bool>,
    /// Whether its Redis is so full that only what drains may go on.
    is_filling: AtomicBool,
}

impl Depths {
    pub(super) fn new(partitions: usize) -> Self {
        let seen = || Seen {
            waiting: AtomicU64::default(),
            claimed_us: AtomicU64::default(),
            is_shut: watch::Sender::new(false),
            is_filling: AtomicBool::default(),
        };
        Self {
            partitions: (0..partitions).map(|_| seen()).collect(),
            wake: Notify::new(),
            started: Instant::now(),
        }
    }

    /// Notes how many loans wait in a partition, or that it does not answer.
    pub fn note(&self, partition: usize, waiting: Option<u64>) {
        let seen = &self.partitions[partition];
        if let Some(waiting) = waiting {
            seen.waiting.store(waiting, Ordering::Relaxed);
        }
        seen.is_shut.send_if_modified(|is_shut| {
            let was_shut = std::mem::replace(is_shut, waiting.is_none());
            was_shut != *is_shut
        });
    }

    /// Notes whether the Redis of a partition is filling up.
    pub fn note_filling(&self, partition: usize, is_filling: bool) {
        let seen = &self.partitions[partition];
        seen.is_filling.store(is_filling, Ordering::Relaxed);
    }

    /// Whether the Redis of a partition is so full that only what drains may go on.
    pub fn is_filling(&self, partition: usize) -> bool {
        self.partitions[partition]
            .is_filling
            .load(Ordering::Relaxed)
    }

    /// All loans that wait. A partition that does not answer counts as it was last seen.
    pub fn sum(&self) -> u64 {
        let waiting = self.partitions.iter().map(|seen| &seen.waiting);
        waiting.map(|waiting| waiting.load(Ordering::Relaxed)).sum()
    }

    /// The partitions that answer, the fullest first.
    pub fn fullest_first(&self) -> Vec<usize> {
        let mut open: Vec<_> = self
            .open()
            .map(|number| {
                (
                    number,
                    self.partitions[number].waiting.load(Ordering::Relaxed),
                )
            })
            .collect();
        open.sort_by_key(|&(_, waiting)| std::cmp::Reverse(waiting));
        open.into_iter().map(|(number, _)| number).collect()
    }

    /// The partitions that answer.
    pub fn open(&self) -> impl Iterator<Item = usize> + use<'_> {
        let partitions = self.partitions.iter().enumerate();
        partitions
            .filter(|(_, seen)| !*seen.is_shut.borrow())
            .map(|(number, _)| number)
    }

    /// Whether a partition does not answer.
    pub fn is_shut(&self, partition: usize) -> bool {
        *self.partitions[partition].is_shut.borrow()
    }

    /// Returns when a partition does not answer.
    pub async fn shut(&self, partition: usize) {
        let mut is_shut = self.partitions[partition].is_shut.subscribe();
        // The sender lives as long as `self`.
        let _ = is_shut.wait_for(|is_shut| *is_shut).await;
    }

    /// Returns when this process has admitted something.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Notes what this process has admitted, and wakes one who waits.
    pub(super) fn admitted(&self, partition: usize, loans: usize) {
        let waiting = &self.partitions[partition].waiting;
        waiting.fetch_add(loans as u64, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Whether a partition is worth a claim of this process now. If so the claim begins: nobody else here makes another
    /// at the same time, unless there is enough for several.
    pub fn begin_claim(&self, partition: usize) -> bool {
        let now_us = self.started.elapsed().as_micros() as u64;
        self.begin_claim_at(partition, now_us)
    }

    fn begin_claim_at(&self, partition: usize, now_us: u64) -> bool {
        let seen = &self.partitions[partition];
        let before_us = seen.claimed_us.load(Ordering::Relaxed);
        let since = Duration::from_micros(now_us.saturating_sub(before_us));
        let waiting = seen.waiting.load(Ordering::Relaxed);
        if waiting >= CLAIM_LEN_MAX as u64 {
            seen.claimed_us.store(now_us, Ordering::Relaxed);
            return true;
        }
        let partitions = self.partitions.len();
        let pause = if waiting > 0 {
            claim_gather(partitions)
        } else {
            claim_poll(partitions)
        };
        since >= pause
            && seen
                .claimed_us
                .compare_exchange(before_us, now_us, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Notes how many loans a claim has brought.
    pub fn claimed(&self, partition: usize, loans: usize) {
        let waiting = &self.partitions[partition].waiting;
        // An empty claim says that nothing waits, whatever was counted.
        let taken = if loans == 0 { u64::MAX } else { loans as u64 };
        let _ = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            Some(waiting.saturating_sub(taken))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    #[test]
    fn what_waits_is_claimed_once_it_has_gathered() {
        let depths = Depths::new(1);
        depths.admitted(0, 3);
        assert!(depths.begin_claim_at(0, SECOND_US));
        assert!(!depths.begin_claim_at(0, SECOND_US), "it is under way");
        let gather_us = claim_gather(1).as_micros() as u64;
        assert!(!depths.begin_claim_at(0, SECOND_US + gather_us - 1));
        assert!(depths.begin_claim_at(0, SECOND_US + gather_us));
    }

    #[test]
    fn enough_for_several_is_claimed_by_several() {
        let depths = Depths::new(1);
        depths.admitted(0, 2 * CLAIM_LEN_MAX);
        assert!(depths.begin_claim_at(0, SECOND_US));
        depths.claimed(0, CLAIM_LEN_MAX);
        assert!(depths.begin_claim_at(0, SECOND_US));
        depths.claimed(0, CLAIM_LEN_MAX);
        assert!(!depths.begin_claim_at(0, SECOND_US));
    }

    #[test]
    fn what_nobody_told_of_is_asked_for_seldom() {
        let depths = Depths::new(16);
        let poll_us = claim_poll(16).as_micros() as u64;
        assert!(!depths.begin_claim_at(3, poll_us - 1));
        assert!(depths.begin_claim_at(3, poll_us));
        // It was counted, and another process has claimed it.
        depths.admitted(3, 5);
        depths.claimed(3, 0);
        let gather_us = claim_gather(16).as_micros() as u64;
        assert!(!depths.begin_claim_at(3, poll_us + gather_us));
        assert!(depths.begin_claim_at(3, 2 * poll_us));
    }
}
