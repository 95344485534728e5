//! The monitor: joins Redis's state with this process's figures into the snapshot, five times a
//! second, and keeps five minutes of history.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::now_ms;
use crate::limits::{INSTANCE_KEPT, REDIS_MEMORY_PERCENT_MAX};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::queue::control::Instances;
use crate::queue::state::QueueState;
use crate::snapshot::{
    ApplicantCount, Counters, Gauges, MongoState, Point, ProcessState, Rates, RedisState, Snapshot,
};
use crate::store::Store;

/// Time between two snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(200);
/// Snapshots between two looks at what changes slowly.
const SLOW_EVERY: u32 = 5;
/// Applicants in a snapshot.
const APPLICANTS_SHOWN: usize = 20;
/// Points of history, a second each: five minutes.
const HISTORY_LEN_MAX: usize = 300;

/// The latest snapshot and the history, shared with whoever shows them.
#[derive(Clone, Debug)]
pub struct Monitor {
    latest: watch::Receiver<Arc<Snapshot>>,
    history: Arc<Mutex<VecDeque<Point>>>,
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
        let history = Arc::new(Mutex::new(VecDeque::with_capacity(HISTORY_LEN_MAX)));
        tokio::spawn(watch(watched, sender, Arc::clone(&history)));
        Self { latest, history }
    }

    /// The latest snapshot.
    pub fn latest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.latest.borrow())
    }

    /// Follows the snapshots: always the newest, never a backlog.
    pub fn follow(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.latest.clone()
    }

    /// The last five minutes, a point a second, oldest first.
    pub fn history(&self) -> Vec<Point> {
        let history = self
            .history
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        history.iter().cloned().collect()
    }
}

async fn watch(
    watched: Watched,
    sender: watch::Sender<Arc<Snapshot>>,
    history: Arc<Mutex<VecDeque<Point>>>,
) {
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
    tokio::spawn(watch_mongodb(store, mongodb_sender));
    let mut past: VecDeque<(Instant, Counters)> = VecDeque::new();
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
        let rates = rates(&mut past, now, &counters);
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
            redis: redis.clone(),
            mongodb: mongodb.borrow().clone(),
            process: process_state(),
            counters,
        };
        if is_slow {
            let mut history = history
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if history.len() == HISTORY_LEN_MAX {
                history.pop_front();
            }
            history.push_back(point(&snapshot));
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
        admit_p99_us: snapshot.latency_us.admit.p99,
        end_to_end_p99_us: snapshot.latency_us.end_to_end.p99,
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
