//! How full each partition is, whether it can be used, and the wake-up of who waits for loans.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// What this process last saw of each partition.
#[derive(Debug)]
pub struct Depths {
    partitions: Box<[Seen]>,
    wake: Notify,
}

#[derive(Debug)]
struct Seen {
    /// Loans that wait.
    waiting: AtomicU64,
    /// Whether it does not answer.
    is_shut: watch::Sender<bool>,
    /// Whether its Redis is so full that only what drains may go on.
    is_filling: AtomicBool,
}

impl Depths {
    pub(super) fn new(partitions: usize) -> Self {
        let seen = || Seen {
            waiting: AtomicU64::default(),
            is_shut: watch::Sender::new(false),
            is_filling: AtomicBool::default(),
        };
        Self {
            partitions: (0..partitions).map(|_| seen()).collect(),
            wake: Notify::new(),
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

    /// Notes whether the Redis of a partition is filling up. Answers whether that is new.
    pub fn note_filling(&self, partition: usize, is_filling: bool) -> bool {
        let seen = &self.partitions[partition];
        seen.is_filling.swap(is_filling, Ordering::Relaxed) != is_filling
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

    /// Wakes one who waits.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}
