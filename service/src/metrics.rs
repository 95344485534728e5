//! What this process counts and measures. Cluster-wide counters live in Redis, see
//! [`crate::queue::state`]; [`crate::monitor`] joins both into the snapshot.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{broadcast, mpsc};

use crate::clock::now_ms;
use crate::error::ServiceError;
use crate::failpoint::Guard;
use crate::snapshot::{Event, EventKind, Latencies, Percentiles};
use crate::telemetry::Traces;

/// Latencies above this count as this: one hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Events that a slow listener may be behind before it misses the oldest.
const EVENTS_KEPT: usize = 1_024;

/// So long after the last one it is told that Redis refuses admissions.
const REFUSAL_KEPT: Duration = Duration::from_secs(10);
/// While one of these succeeded within so long, others go on.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);
/// Upper bounds of the buckets that Prometheus reads, in microseconds.
const BUCKETS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 60_000_000,
];

/// A latency in buckets.
#[derive(Clone, Debug)]
pub struct Buckets {
    /// The sum of all, in seconds.
    pub sum_seconds: f64,
    /// How many.
    pub count: u64,
    /// For each bucket, its upper bound in seconds and how many are in it alone.
    pub counts: Vec<(f64, u64)>,
}

/// A latency, in microseconds: since the start with 3 digits, and since it was last taken with 2.
#[derive(Debug)]
pub struct Latency(Mutex<Histograms>);

#[derive(Debug)]
struct Histograms {
    all: Histogram<u64>,
    recent: Histogram<u64>,
}

impl Histograms {
    fn add(&mut self, latency_us: u64) {
        self.all.saturating_record(latency_us);
        self.recent.saturating_record(latency_us);
    }
}

impl Default for Latency {
    fn default() -> Self {
        let histogram =
            |digits| Histogram::new_with_max(LATENCY_US_MAX, digits).expect("the bounds are valid");
        Self(Mutex::new(Histograms {
            all: histogram(3),
            recent: histogram(2),
        }))
    }
}

impl Latency {
    /// Adds a value in microseconds.
    pub fn add(&self, latency_us: u64) {
        self.lock().add(latency_us);
    }

    /// Adds many values with one lock.
    pub fn add_all(&self, latencies_us: impl Iterator<Item = u64>) {
        let mut histograms = self.lock();
        latencies_us.for_each(|latency_us| histograms.add(latency_us));
    }

    /// Adds a duration.
    pub fn add_duration(&self, duration: Duration) {
        self.add(duration.as_micros() as u64);
    }

    fn percentiles(&self) -> Percentiles {
        percentiles(&self.lock().all)
    }

    fn buckets(&self) -> Buckets {
        let histogram = &self.lock().all;
        let bounds_us = BUCKETS_US.iter().copied().chain([u64::MAX]);
        let mut counts: Vec<(f64, u64)> = bounds_us
            .clone()
            .map(|bound_us| match bound_us {
                u64::MAX => (f64::MAX, 0),
                bound_us => (bound_us as f64 / 1e6, 0),
            })
            .collect();
        // Each recorded step of the histogram goes to one bucket alone, the first whose bound is not below it.
        let mut bounds_us = bounds_us.enumerate().peekable();
        for step in histogram.iter_recorded() {
            let value_us = histogram.lowest_equivalent(step.value_iterated_to());
            while bounds_us
                .next_if(|(_, bound_us)| *bound_us < value_us)
                .is_some()
            {}
            if let Some((index, _)) = bounds_us.peek() {
                counts[*index].1 += step.count_at_value();
            }
        }
        Buckets {
            sum_seconds: histogram.mean() * histogram.len() as f64 / 1e6,
            count: histogram.len(),
            counts,
        }
    }

    /// The percentiles of what was added since the last call.
    pub fn take_recent(&self) -> Percentiles {
        let recent = &mut self.lock().recent;
        let taken = percentiles(recent);
        if taken.count > 0 {
            recent.reset();
        }
        taken
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Histograms> {
        // A histogram is whole after every call, so a poisoned lock holds a good one.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let at = |quantile| histogram.value_at_quantile(quantile);
    Percentiles {
        count: histogram.len(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max(),
    }
}

/// One process's figures.
#[derive(Debug)]
pub struct Metrics {
    /// Loan requests with a whole head.
    pub received: AtomicU64,
    /// Refusals by error type, in the order of first appearance.
    rejected: Mutex<BTreeMap<&'static str, u64>>,
    /// Workers that run.
    pub workers: AtomicU64,
    /// What each of them does, by its number.
    work: Mutex<BTreeMap<u64, Work>>,
    /// Open HTTP connections.
    pub connections: AtomicU64,
    /// WebSocket clients.
    pub web_socket_clients: AtomicU64,
    /// Whole body to Redis's confirmation.
    pub admit: Latency,
    /// Whole body to claim.
    pub queue_wait: Latency,
    /// One batch's validation and enrichment.
    pub process: Latency,
    /// One batch's commit.
    pub commit: Latency,
    /// One batch's write to MongoDB.
    pub record: Latency,
    /// Whole body to MongoDB's confirmation.
    pub end_to_end: Latency,
    events: broadcast::Sender<Event>,
    /// Events on their way to the other instances.
    outbox: mpsc::Sender<Event>,
    outgoing: Mutex<Option<mpsc::Receiver<Event>>>,
    /// Confirmed admissions that Redis does not know any more.
    pub rolled_back: AtomicU64,
    /// Loans and failures that MongoDB had confirmed, and does not know any more.
    unrecorded: AtomicU64,
    /// Ids that went into the filters so far, while these are rebuilt.
    rebuilding: AtomicU64,
    /// Recorders whose last try failed.
    recorders_waiting: AtomicU64,
    /// Workers whose last try failed.
    workers_waiting: AtomicU64,
    /// Whether MongoDB refuses indexes of the record.
    indexes_refused: AtomicBool,
    /// Whether it refuses questions.
    questions_refused: AtomicBool,
    /// When an admission last succeeded, and when Redis last answered one with an error, in ms of this process; 0: never.
    admitted_ms: AtomicU64,
    refused_ms: AtomicU64,
    begun: Instant,
    /// Where spans of traced loans go.
    pub traces: Traces,
}

impl Default for Metrics {
    fn default() -> Self {
        let (outbox, outgoing) = mpsc::channel(EVENTS_KEPT);
        Self {
            received: AtomicU64::default(),
            rejected: Mutex::default(),
            workers: AtomicU64::default(),
            work: Mutex::default(),
            connections: AtomicU64::default(),
            web_socket_clients: AtomicU64::default(),
            admit: Latency::default(),
            queue_wait: Latency::default(),
            process: Latency::default(),
            commit: Latency::default(),
            record: Latency::default(),
            end_to_end: Latency::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            outbox,
            outgoing: Mutex::new(Some(outgoing)),
            rolled_back: AtomicU64::default(),
            unrecorded: AtomicU64::default(),
            rebuilding: AtomicU64::default(),
            recorders_waiting: AtomicU64::default(),
            workers_waiting: AtomicU64::default(),
            indexes_refused: AtomicBool::default(),
            questions_refused: AtomicBool::default(),
            admitted_ms: AtomicU64::default(),
            refused_ms: AtomicU64::default(),
            begun: Instant::now(),
            traces: Traces::default(),
        }
    }
}

impl Metrics {
    /// Metrics with spans, which go to `traces`.
    pub fn traced(traces: Traces) -> Self {
        Self {
            traces,
            ..Self::default()
        }
    }

    /// Counts a refusal.
    pub fn reject(&self, error_type: &'static str) {
        *lock(&self.rejected).entry(error_type).or_default() += 1;
    }

    /// Redis does not know `admissions` any more that it had confirmed.
    pub fn roll_back(&self, partition: usize, admissions: u64) {
        if Guard::RollbackTold.is_off() {
            return;
        }
        self.rolled_back.fetch_add(admissions, Ordering::Relaxed);
        tracing::error!(
            partition,
            admissions,
            "Redis went back in time: it has lost admissions that it had confirmed"
        );
        self.tell(EventKind::RolledBack {
            partition: partition as u64,
            admissions,
        });
    }

    /// MongoDB does not know `records` of a partition any more that it had confirmed.
    pub(crate) fn record_went_back(&self, partition: usize, records: u64) {
        self.unrecorded.fetch_add(records, Ordering::Relaxed);
        tracing::error!(
            partition,
            records,
            "MongoDB went back in time: it has lost loans or failures that it had confirmed"
        );
    }

    /// Whether it has lost any.
    pub(crate) fn has_record_gone_back(&self) -> bool {
        self.unrecorded.load(Ordering::Relaxed) > 0
    }

    /// Notes how many ids went into the filters so far; 0 when they are complete.
    pub(crate) fn note_rebuilding(&self, ids: u64) {
        self.rebuilding.store(ids, Ordering::Relaxed);
    }

    /// One more recorder waits, for this reason. Told of the first.
    pub(crate) fn recording_waits(&self, error: &ServiceError) {
        if self.recorders_waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "recording waits");
        }
    }

    /// One recorder that waited goes on. Told of the last.
    pub(crate) fn recording_goes_on(&self) {
        if self.recorders_waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("recording goes on");
        }
    }

    /// Whether a recorder of this process waits.
    pub(crate) fn is_recording_waiting(&self) -> bool {
        self.recorders_waiting.load(Ordering::Relaxed) > 0
    }

    /// One more worker waits, for this reason. Told of the first.
    pub(crate) fn processing_waits(&self, error: &ServiceError) {
        if self.workers_waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "processing waits");
        }
    }

    /// One worker that waited goes on, or ends. Told of the last.
    pub(crate) fn processing_goes_on(&self) {
        if self.workers_waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("processing goes on");
        }
    }

    /// Whether a worker of this process waits.
    pub(crate) fn is_processing_waiting(&self) -> bool {
        self.workers_waiting.load(Ordering::Relaxed) > 0
    }

    /// Notes whether MongoDB makes the record's indexes, or why not.
    pub(crate) fn note_indexes(&self, refusal: Option<&ServiceError>) {
        let was_refused = self
            .indexes_refused
            .swap(refusal.is_some(), Ordering::Relaxed);
        if let Some(error) = refusal
            && !was_refused
        {
            tracing::warn!(%error, "MongoDB refuses an index of the record");
        }
    }

    /// Whether it refuses one.
    pub(crate) fn are_indexes_refused(&self) -> bool {
        self.indexes_refused.load(Ordering::Relaxed)
    }

    /// Notes whether MongoDB answers questions, or why not.
    pub(crate) fn note_questions(&self, refusal: Option<&ServiceError>) {
        let was_refused = self
            .questions_refused
            .swap(refusal.is_some(), Ordering::Relaxed);
        match refusal {
            Some(error) if !was_refused => tracing::warn!(%error, "MongoDB refuses questions"),
            None if was_refused => tracing::info!("MongoDB answers questions again"),
            _ => {}
        }
    }

    /// Whether it refuses them.
    pub(crate) fn are_questions_refused(&self) -> bool {
        self.questions_refused.load(Ordering::Relaxed)
    }

    /// Notes what became of a call of admission. What broke off or took too long says nothing of Redis's mind.
    pub(crate) fn note_admission<T>(&self, outcome: &Result<T, ServiceError>) {
        let noted = match outcome {
            Ok(_) => &self.admitted_ms,
            Err(error) if error.is_refusal_of_redis() => &self.refused_ms,
            Err(_) => return,
        };
        noted.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Whether Redis answers, and refused the last admissions of this process. Nobody may ask any more: after a while it is
    /// forgotten, and whoever asks then finds out.
    pub(crate) fn is_admission_refused(&self) -> bool {
        let (admitted, refused) = (&self.admitted_ms, &self.refused_ms);
        let (admitted, refused) = (
            admitted.load(Ordering::Relaxed),
            refused.load(Ordering::Relaxed),
        );
        let since = |at_ms: u64| Duration::from_millis(self.now_ms().saturating_sub(at_ms));
        // Where there are several partitions, some may go on.
        refused > admitted
            && since(refused) < REFUSAL_KEPT
            && (admitted == 0 || since(admitted) >= REFUSAL_PATIENCE)
    }

    /// Never 0.
    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64 + 1
    }

    /// Tells every listener of every instance.
    pub fn tell(&self, kind: EventKind) {
        let event = Event {
            at_ms: now_ms(),
            kind,
        };
        // Events are a view, not the record: in a flood the other instances miss some.
        let _ = self.outbox.try_send(event.clone());
        self.hear(event);
    }

    /// Tells every listener of this instance.
    pub(crate) fn hear(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// The events for the other instances. The first caller gets them.
    pub(crate) fn outgoing(&self) -> Option<mpsc::Receiver<Event>> {
        lock(&self.outgoing).take()
    }

    /// Listens to events from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Refusals by error type.
    pub fn rejected(&self) -> BTreeMap<String, u64> {
        lock(&self.rejected)
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    /// All latencies.
    pub fn latencies(&self) -> Latencies {
        Latencies {
            admit: self.admit.percentiles(),
            queue_wait: self.queue_wait.percentiles(),
            process: self.process.percentiles(),
            commit: self.commit.percentiles(),
            record: self.record.percentiles(),
            end_to_end: self.end_to_end.percentiles(),
        }
    }

    /// All latencies in buckets, by step.
    pub fn buckets(&self) -> Vec<(&'static str, Buckets)> {
        [
            ("admit", &self.admit),
            ("queue_wait", &self.queue_wait),
            ("process", &self.process),
            ("commit", &self.commit),
            ("record", &self.record),
            ("end_to_end", &self.end_to_end),
        ]
        .map(|(step, latency)| (step, latency.buckets()))
        .to_vec()
    }

    /// A gauge held up while the guard lives.
    pub fn hold(gauge: &AtomicU64) -> Held<'_> {
        gauge.fetch_add(1, Ordering::Relaxed);
        Held(gauge)
    }
}

/// What a worker does, since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Loans that it holds, and of which partition; `None` while it waits.
    pub loans: Option<(u64, usize)>,
    /// Since when.
    pub since: Instant,
}

/// A worker that runs; dropped when it ends.
#[derive(Debug)]
pub struct Running<'a> {
    metrics: &'a Metrics,
    worker: u64,
}

impl Metrics {
    /// A worker begins.
    pub fn begin_worker(&self, worker: u64) -> Running<'_> {
        self.workers.fetch_add(1, Ordering::Relaxed);
        self.note_work(worker, None);
        Running {
            metrics: self,
            worker,
        }
    }

    /// A worker holds so many loans of a partition; `None`: it waits.
    pub fn note_work(&self, worker: u64, loans: Option<(u64, usize)>) {
        let since = Instant::now();
        lock(&self.work).insert(worker, Work { loans, since });
    }

    /// What each worker here does, by its number.
    pub fn work(&self) -> Vec<(u64, Work)> {
        let work = lock(&self.work);
        work.iter().map(|(worker, work)| (*worker, *work)).collect()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.workers.fetch_sub(1, Ordering::Relaxed);
        lock(&self.metrics.work).remove(&self.worker);
    }
}

/// Lowers its gauge when dropped.
#[derive(Debug)]
pub struct Held<'a>(&'a AtomicU64);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each critical section leaves the map whole.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The buckets hold each value once: their sum is the count, also where steps of the histogram are wider than a
    /// microsecond and straddle a bound.
    #[test]
    fn buckets_are_disjoint() {
        let latency = Latency::default();
        let mut value_us = 1_u64;
        for _ in 0..20_000 {
            value_us = value_us * 48_271 % 2_147_483_647;
            latency.add(value_us % 90_000_000);
        }
        for bound_us in BUCKETS_US {
            latency.add_all([bound_us - 1, *bound_us, bound_us + 1].into_iter());
        }
        let buckets = latency.buckets();
        assert_eq!(buckets.count, 20_000 + 3 * BUCKETS_US.len() as u64);
        let sum: u64 = buckets.counts.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, buckets.count);
        assert!(
            buckets.counts.iter().all(|(_, count)| *count > 0),
            "{buckets:?}"
        );
    }

    #[test]
    fn a_value_counts_up_to_its_bound() {
        let latency = Latency::default();
        latency.add_all([100, 101, 5_000].into_iter());
        let filled: Vec<_> = latency
            .buckets()
            .counts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(filled, [(0.0001, 1), (0.00025, 1), (0.005, 1)]);
    }
}
