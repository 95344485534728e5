//! The monitor: joins Redis's state with this process's figures into the snapshot, five times a
//! second, and keeps thirty minutes of history.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::now_ms;
use crate::limits::{INSTANCE_KEPT, REDIS_MEMORY_PERCENT_MAX};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::queue::control::Instances;
use crate::queue::state::QueueState;
use crate::snapshot::{
    ApplicantCount, Counters, Event, EventKind, Gauges, History, MongoState, Point, ProcessState,
    Rates, RecentLatencies, RedisState, Snapshot,
};
use crate::store::Store;
use crate::task;

/// Time between two snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(200);
/// Snapshots between two looks at what changes slowly.
const SLOW_EVERY: u32 = 5;
/// Applicants in a snapshot.
const APPLICANTS_SHOWN: usize = 20;
/// The oldest that the history reaches back.
pub const HISTORY_MAX: Duration = Duration::from_secs(30 * 60);
/// Points of history, a second each.
const POINTS_LEN_MAX: usize = HISTORY_MAX.as_secs() as usize;
/// Events of history: a load run tells its latency once a second, and little else happens as often.
const EVENTS_LEN_MAX: usize = 2 * POINTS_LEN_MAX;

/// The latest snapshot and the history, shared with whoever shows them.
#[derive(Clone, Debug)]
pub struct Monitor {
    latest: watch::Receiver<Arc<Snapshot>>,
    past: Arc<Mutex<Past>>,
}

/// Points and events, each bounded, oldest first.
#[derive(Debug, Default)]
struct Past {
    points: VecDeque<Point>,
    events: VecDeque<Event>,
}

impl Past {
    fn add_point(&mut self, point: Point) {
        if self.points.len() == POINTS_LEN_MAX {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// Failures are not kept: there may be thousands a second, and MongoDB holds them.
    fn add_event(&mut self, event: Event) {
        if matches!(event.kind, EventKind::Failure { .. }) {
            return;
        }
        if self.events.len() == EVENTS_LEN_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// What is not older than `from_ms`.
    fn since(&self, from_ms: u64) -> History {
        // Both lie in the order of their time.
        let points = self.points.partition_point(|point| point.at_ms < from_ms);
        let events = self.events.partition_point(|event| event.at_ms < from_ms);
        History {
            points: self.points.range(points..).cloned().collect(),
            events: self.events.range(events..).cloned().collect(),
        }
    }
}

/// What the monitor watches.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) instance: String,
    pub(crate) workers_max: u64,
}

impl Monitor {
    /// Starts watching, until `Monitor` and all its clones are gone.
    pub(crate) fn start(watched: Watched) -> Self {
        let (sender, latest) = watch::channel(Arc::new(Snapshot::default()));
        let past = Arc::new(Mutex::new(Past::default()));
        task::spawn(
            "events",
            keep_events(Arc::clone(&watched.metrics), Arc::clone(&past)),
        );
        task::spawn("monitor", watch(watched, sender, Arc::clone(&past)));
        Self { latest, past }
    }

    /// The latest snapshot.
    pub fn latest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.latest.borrow())
    }

    /// Follows the snapshots: always the newest, never a backlog.
    pub fn follow(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.latest.clone()
    }

    /// The past that is not older than `reach`, at most [`HISTORY_MAX`].
    pub fn history(&self, reach: Duration) -> History {
        lock(&self.past).since(now_ms().saturating_sub(reach.as_millis() as u64))
    }
}

fn lock(past: &Mutex<Past>) -> MutexGuard<'_, Past> {
    // Each critical section leaves the past whole.
    past.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Keeps what happens, as long as the process lives.
async fn keep_events(metrics: Arc<Metrics>, past: Arc<Mutex<Past>>) {
    let mut events = metrics.listen();
    drop(metrics);
    loop {
        match events.recv().await {
            Ok(event) => lock(&past).add_event(event),
            Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "events not kept"),
            Err(RecvError::Closed) => break,
        }
    }
}

async fn watch(watched: Watched, sender: watch::Sender<Arc<Snapshot>>, past: Arc<Mutex<Past>>) {
    let Watched {
        queue,
        store,
        metrics,
        instance,
        workers_max,
    } = watched;
    let started = Instant::now();
    let mut links: Vec<_> = (0..queue.partitions())
        .map(|partition| queue.link(partition))
        .collect();
    let (mongodb_sender, mongodb) = watch::channel(MongoState::default());
    task::spawn("watch", watch_mongodb(store, mongodb_sender));
    let mut counted: VecDeque<(Instant, Counters)> = VecDeque::new();
    let mut recent = RecentLatencies::default();
    let mut redis = RedisState::default();
    let mut state = QueueState::default();
    let mut ticks: u32 = 0;
    let mut tick = interval(SNAPSHOT_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut was_durable = true;
    let mut instances = Instances::default();
    let mut oldest_waiting_ms = 0;
    let mut failed_by_applicant = Vec::new();
    while !sender.is_closed() {
        tick.tick().await;
        let is_slow = ticks.is_multiple_of(SLOW_EVERY);
        ticks = ticks.wrapping_add(1);

        let mut sum = QueueState::default();
        redis.up = true;
        for link in &mut links {
            match link.state().await {
                Ok(part) => sum.add(part),
                Err(error) => {
                    tracing::debug!(%error, "Redis gives no state");
                    redis.up = false;
                }
            }
        }
        if is_slow && redis.up {
            let workers = metrics.workers.load(Ordering::Relaxed);
            let beat = links[0].beat(&instance, workers, workers_max, INSTANCE_KEPT);
            match beat.await {
                Ok(found) => instances = found,
                Err(error) => tracing::debug!(%error, "other instances cannot be seen"),
            }
            let mut oldest_ms = 0;
            let mut applicants: BTreeMap<String, u64> = BTreeMap::new();
            for link in &mut links {
                match link.slow_state(APPLICANTS_SHOWN).await {
                    Ok(slow) => {
                        oldest_ms = oldest_ms.max(slow.oldest_waiting_ms);
                        for (applicant, count) in slow.applicants {
                            *applicants.entry(applicant).or_default() += count;
                        }
                    }
                    Err(error) => tracing::debug!(%error, "Redis gives no state"),
                }
            }
            oldest_waiting_ms = oldest_ms;
            failed_by_applicant = most(applicants);
        }
        // A full Redis is told in time, also between two slow looks.
        if !is_slow
            && redis.up
            && redis.max_memory_bytes > 0
            && let Ok(used) = links[0].used_memory().await
        {
            redis.used_memory_bytes = used;
            note_filling(&redis, &metrics);
        }
        // While Redis is out of reach the last known state stands, marked by `redis.up`.
        if redis.up {
            state = sum;
        }
        if is_slow
            && redis.up
            && let Ok(server) = links[0].server().await
        {
            let is_durable = server.appendfsync == "always";
            if was_durable && !is_durable {
                tracing::warn!(
                    appendfsync = server.appendfsync,
                    "Redis may lose loans that were answered 202: set appendonly yes and appendfsync always"
                );
            }
            was_durable = is_durable;
            redis.durable = is_durable;
            redis.version = server.version;
            redis.appendfsync = server.appendfsync;
            redis.used_memory_bytes = server.used_memory_bytes;
            redis.max_memory_bytes = server.max_memory_bytes;
            note_filling(&redis, &metrics);
        }

        let now = Instant::now();
        let mut counters = counters(&state, &metrics);
        counters
            .failed_by_applicant
            .clone_from(&failed_by_applicant);
        let rates = rates(&mut counted, now, &counters);
        if is_slow {
            recent = RecentLatencies {
                admit: metrics.admit.take_recent(),
                end_to_end: metrics.end_to_end.take_recent(),
            };
        }
        let snapshot = Snapshot {
            at_ms: now_ms(),
            instance: instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: crate::GIT_COMMIT.to_owned(),
            uptime_seconds: started.elapsed().as_secs_f64(),
            gauges: Gauges {
                queue_depth: state.queued,
                in_flight: state.in_flight,
                unrecorded: state.unrecorded,
                failed_waiting: state.failed_waiting,
                oldest_waiting_ms,
                workers: instances.workers,
                workers_max: instances.workers_max,
                workers_here: metrics.workers.load(Ordering::Relaxed),
                instances: instances.count,
                connections: metrics.connections.load(Ordering::Relaxed),
                web_socket_clients: metrics.web_socket_clients.load(Ordering::Relaxed),
                paused: state.paused,
            },
            rates,
            latency_us: metrics.latencies(),
            recent_latency_us: recent,
            redis: redis.clone(),
            mongodb: mongodb.borrow().clone(),
            process: process_state(),
            counters,
        };
        if is_slow {
            lock(&past).add_point(point(&snapshot));
        }
        sender.send_replace(Arc::new(snapshot));
    }
}

/// Has new loans refused while Redis is filling up, so that what was admitted can go its way.
fn note_filling(redis: &RedisState, metrics: &Metrics) {
    let bound = redis.max_memory_bytes / 100 * REDIS_MEMORY_PERCENT_MAX;
    let is_filling = redis.max_memory_bytes > 0 && redis.used_memory_bytes >= bound;
    if is_filling != metrics.is_redis_filling.swap(is_filling, Ordering::Relaxed) {
        tracing::warn!(
            used_memory_bytes = redis.used_memory_bytes,
            max_memory_bytes = redis.max_memory_bytes,
            refusing = is_filling,
            "Redis is filling up"
        );
    }
}

/// The applicants with the most failures, most first.
fn most(applicants: BTreeMap<String, u64>) -> Vec<ApplicantCount> {
    let mut counts: Vec<_> = applicants
        .into_iter()
        .map(|(applicant, count)| ApplicantCount { applicant, count })
        .collect();
    // By name where counts are equal, since the map is ordered and the sort stable.
    counts.sort_by_key(|applicant| std::cmp::Reverse(applicant.count));
    counts.truncate(APPLICANTS_SHOWN);
    counts
}

/// Asks MongoDB once a second, apart from the snapshots: they must not wait for it.
async fn watch_mongodb(store: Store, sender: watch::Sender<MongoState>) {
    while !sender.is_closed() {
        match store.version().await {
            Ok(version) => sender.send_replace(MongoState { up: true, version }),
            Err(error) => {
                tracing::debug!(%error, "MongoDB does not answer");
                sender.send_modify(|state| state.up = false);
                MongoState::default()
            }
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn counters(state: &QueueState, metrics: &Metrics) -> Counters {
    let sum = |name: &str| state.counters.get(name).copied().unwrap_or_default();
    let failed: BTreeMap<_, _> = state
        .counters
        .iter()
        .filter_map(|(name, count)| Some((name.strip_prefix("failed:")?.to_owned(), *count)))
        .collect();
    Counters {
        received: metrics.received.load(Ordering::Relaxed),
        admitted: sum("admitted"),
        replayed: sum("replayed"),
        rejected: metrics.rejected(),
        processed: sum("accepted") + failed.values().sum::<u64>(),
        accepted: sum("accepted"),
        failed,
        failed_by_applicant: Vec::new(),
        retried: sum("retried"),
        recorded_loans: sum("recorded_loans"),
        recorded_failures: sum("recorded_failures"),
        redelivered: sum("redelivered"),
        lost_commit_races: sum("lost_commit_races"),
        duplicate_keys: sum("duplicate_keys"),
    }
}

/// Changes per second against a second ago.
fn rates(past: &mut VecDeque<(Instant, Counters)>, now: Instant, counters: &Counters) -> Rates {
    while past.len() > 1 && now - past[1].0 >= Duration::from_secs(1) {
        past.pop_front();
    }
    let rates = past.front().map_or_else(Rates::default, |(then, before)| {
        let seconds = (now - *then).as_secs_f64().max(f64::EPSILON);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Rates {
            received: rate(counters.received, before.received),
            admitted: rate(counters.admitted, before.admitted),
            processed: rate(counters.processed, before.processed),
            recorded: rate(
                counters.recorded_loans + counters.recorded_failures,
                before.recorded_loans + before.recorded_failures,
            ),
        }
    });
    past.push_back((now, counters.clone()));
    rates
}

fn point(snapshot: &Snapshot) -> Point {
    Point {
        at_ms: snapshot.at_ms,
        received: snapshot.counters.received,
        admitted: snapshot.counters.admitted,
        processed: snapshot.counters.processed,
        recorded: snapshot.counters.recorded_loans + snapshot.counters.recorded_failures,
        failed: snapshot.counters.failed.values().sum(),
        queue_depth: snapshot.gauges.queue_depth,
        in_flight: snapshot.gauges.in_flight,
        unrecorded: snapshot.gauges.unrecorded,
        workers: snapshot.gauges.workers,
        admit_p50_us: snapshot.recent_latency_us.admit.p50,
        admit_p99_us: snapshot.recent_latency_us.admit.p99,
        end_to_end_p50_us: snapshot.recent_latency_us.end_to_end.p50,
        end_to_end_p99_us: snapshot.recent_latency_us.end_to_end.p99,
    }
}

/// From `/proc/self`; zeros where there is none.
fn process_state() -> ProcessState {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rss_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse().ok())
        .unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the parenthesised name: utime and stime are the 12th and 13th, in ticks of 1/100 s.
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ProcessState {
        rss_bytes: rss_kib * 1024,
        cpu_seconds: ticks as f64 / 100.0,
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at_ms: u64) -> Point {
        Point {
            at_ms,
            ..Point::default()
        }
    }

    fn event(at_ms: u64, kind: EventKind) -> Event {
        Event { at_ms, kind }
    }

    fn scale(at_ms: u64) -> Event {
        event(
            at_ms,
            EventKind::Scale {
                instance: "a".to_owned(),
                from: 1,
                to: 2,
                reason: "more loans".to_owned(),
            },
        )
    }

    #[test]
    fn the_past_is_bounded_and_keeps_the_newest() {
        let mut past = Past::default();
        for at_ms in 0..10_000 {
            past.add_point(point(at_ms));
            past.add_event(scale(at_ms));
        }
        assert_eq!(past.points.len(), POINTS_LEN_MAX);
        assert_eq!(past.events.len(), EVENTS_LEN_MAX);
        assert_eq!(past.points.back().map(|point| point.at_ms), Some(9_999));
        assert_eq!(past.events.back(), Some(&scale(9_999)));
    }

    #[test]
    fn the_past_is_told_from_an_instant_on() {
        let mut past = Past::default();
        for at_ms in [1_000, 2_000, 3_000] {
            past.add_point(point(at_ms));
            past.add_event(scale(at_ms));
        }
        let told = past.since(2_000);
        assert_eq!(told.points, [point(2_000), point(3_000)]);
        assert_eq!(told.events, [scale(2_000), scale(3_000)]);
        assert_eq!(past.since(3_001), History::default());
    }

    #[test]
    fn failures_are_not_kept() {
        let mut past = Past::default();
        past.add_event(event(
            1,
            EventKind::Failure {
                loan_id: "A".to_owned(),
                error_type: "out_of_range".to_owned(),
                attempt: 1,
                applicant: None,
            },
        ));
        assert_eq!(past.since(0), History::default());
    }
}
