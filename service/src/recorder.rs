//! The recorder: results from Redis into MongoDB, in batches, then out of Redis.

use std::sync::Arc;
use std::time::Duration;

use bson::oid::ObjectId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::clock::now_us;
use crate::error::ServiceError;
use crate::failpoint::{Guard, failpoint};
use crate::limits::RECORD_BATCH_LEN_MAX;
use crate::metrics::Metrics;
use crate::queue::Link;
use crate::queue::record::{Kind, Unrecorded};
use crate::store::Store;
use crate::worker::stopped;

/// Records one partition's results.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) consumer: String,
    pub(crate) link: Link,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    /// How long results gather before they are written.
    pub(crate) interval: Duration,
    pub(crate) claim_timeout: Duration,
}

impl Recorder {
    /// Records until `stop` is true, and then whatever is left once more.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        let mut has_leftovers = true;
        let mut is_prepared = false;
        let mut next_take_over = Instant::now();
        loop {
            let is_last = *stop.borrow();
            let round = async {
                if !is_prepared {
                    self.store.prepare().await?;
                    is_prepared = true;
                }
                // Failures first: whoever finds a loan recorded finds its failed attempts too.
                for kind in [Kind::Failures, Kind::Loans] {
                    if has_leftovers {
                        while self.step(kind, true).await? == RECORD_BATCH_LEN_MAX {}
                    }
                    if Instant::now() >= next_take_over {
                        self.take_over(kind).await?;
                    }
                    while self.step(kind, false).await? == RECORD_BATCH_LEN_MAX {}
                }
                Ok::<_, ServiceError>(())
            };
            match round.await {
                Ok(()) => {
                    backoff.reset();
                    has_leftovers = false;
                    if Instant::now() >= next_take_over {
                        next_take_over = Instant::now() + self.claim_timeout / 4;
                    }
                    if is_last {
                        return;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(self.interval) => {}
                        () = stopped(&mut stop) => {}
                    }
                }
                Err(error) => {
                    // Whether the batch was written is unknown. It is still this consumer's, and
                    // writing it again is safe.
                    has_leftovers = true;
                    tracing::warn!(%error, consumer = self.consumer, "recording waits");
                    if is_last {
                        return;
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    /// Takes and records one batch; answers how many results were taken.
    async fn step(&mut self, kind: Kind, mine: bool) -> Result<usize, ServiceError> {
        let results = self
            .link
            .take_unrecorded(kind, &self.consumer, mine, RECORD_BATCH_LEN_MAX)
            .await?;
        let len = results.len();
        let held = self.record(kind, results).await?;
        // What MongoDB refuses would be given out again at once: leave it to a later take-over.
        Ok(if held == 0 { 0 } else { len })
    }

    async fn take_over(&mut self, kind: Kind) -> Result<(), ServiceError> {
        let results = self
            .link
            .take_over_unrecorded(
                kind,
                &self.consumer,
                self.claim_timeout,
                RECORD_BATCH_LEN_MAX,
            )
            .await?;
        self.record(kind, results).await.map(drop)
    }

    /// Writes a batch, waits until it is durable, and frees it from Redis. Answers how many of
    /// them MongoDB holds.
    async fn record(
        &mut self,
        kind: Kind,
        results: Vec<Unrecorded>,
    ) -> Result<usize, ServiceError> {
        if results.is_empty() {
            return Ok(0);
        }
        failpoint!("record-before");
        if Guard::RecordConfirmed.is_off() {
            self.link.recorded(kind, &results, 0).await?;
        }
        let batch = ObjectId::new();
        let started = Instant::now();
        let confirmation = self.store.record(kind, &results, batch).await?;
        let confirmed_us = now_us();
        failpoint!("record-after");
        self.metrics.record.add_duration(started.elapsed());
        let held: Vec<_> = results
            .into_iter()
            .zip(&confirmation.is_held)
            .filter_map(|(result, is_held)| is_held.then_some(result))
            .collect();
        self.metrics.end_to_end.add_all(
            held.iter()
                .filter(|result| result.received_us > 0)
                .map(|result| confirmed_us.saturating_sub(result.received_us)),
        );
        let (loans, failures) = match kind {
            Kind::Loans => (held.len(), 0),
            Kind::Failures => (0, held.len()),
        };
        let freed = self.link.recorded(kind, &held, confirmation.duplicates);
        let noted =
            self.store
                .note_confirmation(batch, confirmed_us, loans, failures, &confirmation);
        let (freed, noted) = tokio::join!(freed, noted);
        failpoint!("acknowledge-after");
        if let Err(error) = noted {
            tracing::warn!(%error, "the instant of a confirmation is lost");
        }
        freed?;
        Ok(held.len())
    }
}
