//! What this process counts and measures. Cluster-wide counters live in Redis, see
//! [`crate::queue::state`]; [`crate::monitor`] joins both into the snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::broadcast;

use crate::clock::now_ms;
use crate::limits::APPLICANTS_COUNTED_MAX;
use crate::snapshot::{ApplicantCount, Event, EventKind, Latencies, Percentiles};

/// Latencies above this count as this: one hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Events that a slow listener may be behind before it misses the oldest.
const EVENTS_KEPT: usize = 1_024;

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
    /// Failures by applicant.
    applicants: Mutex<HashMap<String, u64>>,
    /// Workers that run.
    pub workers: AtomicU64,
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
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            received: AtomicU64::default(),
            rejected: Mutex::default(),
            applicants: Mutex::default(),
            workers: AtomicU64::default(),
            connections: AtomicU64::default(),
            web_socket_clients: AtomicU64::default(),
            admit: Latency::default(),
            queue_wait: Latency::default(),
            process: Latency::default(),
            commit: Latency::default(),
            record: Latency::default(),
            end_to_end: Latency::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
        }
    }
}

impl Metrics {
    /// Counts a refusal.
    pub fn reject(&self, error_type: &'static str) {
        *lock(&self.rejected).entry(error_type).or_default() += 1;
    }

    /// Counts a failure of an applicant. Beyond a bound, new applicants are counted together.
    pub fn count_applicant(&self, applicant: &str) {
        let mut applicants = lock(&self.applicants);
        let is_full = applicants.len() >= APPLICANTS_COUNTED_MAX;
        let name = if is_full && !applicants.contains_key(applicant) {
            "(others)"
        } else {
            applicant
        };
        *applicants.entry(name.to_owned()).or_default() += 1;
    }

    /// Tells every listener.
    pub fn tell(&self, kind: EventKind) {
        // Nobody may be listening.
        let _ = self.events.send(Event {
            at_ms: now_ms(),
            kind,
        });
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

    /// The 20 applicants with the most failures, most first.
    pub fn top_applicants(&self) -> Vec<ApplicantCount> {
        let mut counts: Vec<_> = lock(&self.applicants)
            .iter()
            .map(|(applicant, count)| ApplicantCount {
                applicant: applicant.clone(),
                count: *count,
            })
            .collect();
        counts.sort_by(|a, b| b.count.cmp(&a.count).then(a.applicant.cmp(&b.applicant)));
        counts.truncate(20);
        counts
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

    /// A gauge held up while the guard lives.
    pub fn hold(gauge: &AtomicU64) -> Held<'_> {
        gauge.fetch_add(1, Ordering::Relaxed);
        Held(gauge)
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
