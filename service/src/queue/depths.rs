//! How full each partition is, as this process last saw it, and the wake-up of who waits for loans.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Loans that wait in each partition.
#[derive(Debug)]
pub struct Depths {
    waiting: Box<[AtomicU64]>,
    wake: Notify,
}

impl Depths {
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            waiting: (0..partitions).map(|_| AtomicU64::default()).collect(),
            wake: Notify::new(),
        }
    }

    /// Notes how many loans wait in a partition.
    pub fn note(&self, partition: usize, waiting: u64) {
        self.waiting[partition].store(waiting, Ordering::Relaxed);
    }

    /// The partitions, the fullest first.
    pub fn fullest_first(&self) -> Vec<usize> {
        let mut partitions: Vec<_> = self
            .waiting
            .iter()
            .map(|waiting| waiting.load(Ordering::Relaxed))
            .enumerate()
            .collect();
        partitions.sort_by_key(|&(_, waiting)| std::cmp::Reverse(waiting));
        partitions.into_iter().map(|(number, _)| number).collect()
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
