//! The monitor: joins Redis's state with this process's figures into the snapshot, five times a
//! second, and keeps thirty minutes of history.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::api::{InstanceList, PartitionView, WorkerView};
use crate::clock::now_ms;
use crate::config::Role;
use crate::error::ServiceError;
use crate::health::{Faults, Work};
use crate::instances::{self, Facts};
use crate::limits::{INSTANCE_KEPT, SILENT_AFTER};
use crate::metrics::Metrics;
use crate::queue::bundle::Instance;
use crate::queue::control::{Alive, Mended};
use crate::queue::state::{QueueState, SlowState};
use crate::queue::{Partition, Queue};
use crate::rounds::{Look, Rounds};
use crate::snapshot::{
    ApplicantCount, Counters, Event, EventKind, Gauges, History, MongoState, Point, ProcessState,
    Rates, RecentLatencies, RedisState, Snapshot,
};
use crate::store::{Store, is_answer};
use crate::task;

mod nodes;
mod shards;

use nodes::Nodes;

/// Time between two snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(200);
/// Snapshots between two looks at what changes slowly.
const SLOW_EVERY: u64 = 5;
/// Snapshots between two looks for functions that nobody uses any more: an hour.
const TIDY_EVERY: u64 = 5 * 60 * 60;
/// A beat waits this long for what MongoDB has noted.
const NOTE_PATIENCE: Duration = Duration::from_millis(500);
/// A snapshot waits this long for partitions that are slow to answer.
const LOOK_PATIENCE: Duration = Duration::from_millis(150);
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
    instances: watch::Receiver<Arc<InstanceList>>,
    past: Arc<Mutex<Past>>,
}

/// Points and events, each bounded, oldest first.
#[derive(Debug, Default)]
struct Past {
    points: VecDeque<Point>,
    events: VecDeque<Event>,
    /// Events that were ever added.
    events_seen: u64,
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
        self.events_seen += 1;
    }

    /// What is not older than `from_ms`.
    fn since(&self, from_ms: u64) -> History {
        // Both lie in the order of their time.
        let points = self.points.partition_point(|point| point.at_ms < from_ms);
        let events = self.events.partition_point(|event| event.at_ms < from_ms);
        History {
            step_seconds: 1,
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
    pub(crate) instance: Instance,
    pub(crate) roles: Vec<Role>,
    /// Where this instance runs.
    pub(crate) host: String,
    pub(crate) workers_max: u64,
}

impl Monitor {
    /// Starts watching, until `Monitor` and all its clones are gone.
    pub(crate) fn start(watched: Watched) -> Self {
        let (sender, latest) = watch::channel(Arc::new(Snapshot::default()));
        let (teller, instances) = watch::channel(Arc::default());
        let past = Arc::new(Mutex::new(Past::default()));
        task::spawn(
            "events",
            keep_events(Arc::clone(&watched.metrics), Arc::clone(&past)),
        );
        let tell = Tell { sender, teller };
        task::spawn("monitor", watch(watched, tell, Arc::clone(&past)));
        Self {
            latest,
            instances,
            past,
        }
    }

    /// The latest snapshot.
    pub fn latest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.latest.borrow())
    }

    /// The instances that are alive and the partitions, as of the last second.
    pub fn instances(&self) -> Arc<InstanceList> {
        Arc::clone(&self.instances.borrow())
    }

    /// Follows the snapshots: always the newest, never a backlog.
    pub fn follow(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.latest.clone()
    }

    /// The past that is not older than `reach`, at most [`HISTORY_MAX`].
    pub fn history(&self, reach: Duration) -> History {
        lock(&self.past).since(now_ms().saturating_sub(reach.as_millis() as u64))
    }

    /// How many events the past was ever told of: it holds more as soon as this has grown.
    pub fn events_seen(&self) -> u64 {
        lock(&self.past).events_seen
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

/// One partition as the monitor sees it.
#[derive(Clone, Default)]
struct Seen {
    state: QueueState,
    slow: SlowState,
    /// The node that it is at, as far as is known.
    node: Option<String>,
    /// Why it cannot be used, if it cannot.
    trouble: Option<String>,
    /// Why it takes no writes, as of its last beat.
    refusal: Option<String>,
    alive: Vec<Alive>,
    /// Loans and failures that had left Redis when that was last read, or that MongoDB has noted.
    recorded: Option<u64>,
    /// Entries of no bundle that had been set aside when that was last read.
    entries_aside: Option<u64>,
}

impl Seen {
    /// Why it takes no loans.
    fn trouble(&self) -> Option<&String> {
        self.trouble.as_ref().or(self.refusal.as_ref())
    }
}

/// Looks at one partition.
struct Looker {
    me: Arc<Me>,
    queue: Queue,
    store: Store,
    metrics: Arc<Metrics>,
}

impl Look for Looker {
    type Seen = Seen;

    /// While the partition is out of reach what was last known of it stands.
    async fn look(&mut self, round: u64, partition: &mut Partition, seen: &mut Seen) {
        let known = self.queue.admissions_known(partition.number());
        match partition.state().await {
            Ok(state) => {
                let admissions = state.counters.get("admissions").copied();
                let lost = self.queue.admissions_lost(
                    partition.number(),
                    known,
                    admissions.unwrap_or_default(),
                );
                if lost > 0 {
                    self.metrics.roll_back(partition.number(), lost);
                    if let Err(error) = partition.doubt_filter().await {
                        tracing::debug!(%error, "the filter is still believed");
                    }
                }
                self.queue.note_pause(state.pause_decided_ms, state.paused);
                seen.state = state;
                seen.trouble = None;
            }
            Err(error) => seen.trouble = Some(error.to_string()),
        }
        if let Some(node) = partition.node() {
            seen.node = Some(node.to_string());
        }
        let queued = seen.trouble.is_none().then_some(seen.state.queued);
        self.queue.depths().note(partition.number(), queued);
        if (round - 1).is_multiple_of(SLOW_EVERY) {
            self.look_closely(partition, seen).await;
        }
        if (round - 1).is_multiple_of(TIDY_EVERY)
            && let Err(error) = partition.tidy_libraries().await
        {
            tracing::debug!(%error, "old functions stay for now");
        }
    }
}

impl Looker {
    /// Says that this instance is alive, and reads what changes slowly.
    async fn look_closely(&self, partition: &mut Partition, seen: &mut Seen) {
        tell_entries_aside(partition.number(), seen);
        let me = &self.me;
        let metrics = &self.metrics;
        let workers = metrics.workers.load(Ordering::Relaxed);
        let mut facts = me.facts.with(doing(metrics));
        facts.up_ms = me.started.elapsed().as_millis() as u64;
        facts.connections = metrics.connections.load(Ordering::Relaxed);
        facts.rss_bytes = process_state().rss_bytes;
        let facts = facts.text();
        let beat = partition.beat(me.instance, workers, me.workers_max, &facts, INSTANCE_KEPT);
        match beat.await {
            Ok((alive, mended)) => {
                seen.alive = alive;
                seen.refusal = None;
                tell_mended(partition.number(), &mended);
            }
            Err(error) => seen.refusal = Some(error.to_string()),
        }
        match partition.slow_state(APPLICANTS_SHOWN).await {
            Ok(slow) => seen.slow = slow,
            Err(error) => tracing::debug!(%error, "Redis gives no state"),
        }
        if let Err(error) = self.notice_rollback(partition, seen).await {
            tracing::debug!(%error, "whether Redis went back in time is not known");
        }
    }

    /// A Redis in which fewer loans were recorded than before went back in time: its filter lacks some of them.
    async fn notice_rollback(
        &self,
        partition: &mut Partition,
        seen: &mut Seen,
    ) -> Result<(), ServiceError> {
        if seen.trouble.is_some() {
            return Ok(());
        }
        let before = if let Some(before) = seen.recorded {
            before
        } else {
            let noted = self.store.noted_recorded(partition.number());
            // The next beat must not wait for MongoDB.
            match tokio::time::timeout(NOTE_PATIENCE, noted).await {
                Ok(noted) => noted?,
                Err(_) => return Ok(()),
            }
        };
        let recorded_of = |state: &QueueState| {
            let sum = |name: &str| state.counters.get(name).copied().unwrap_or_default();
            sum("recorded_loans") + sum("recorded_failures")
        };
        let mut recorded = recorded_of(&seen.state);
        if recorded < before {
            // What MongoDB has noted may be newer than what was read of Redis before.
            seen.state = partition.state().await?;
            recorded = recorded_of(&seen.state);
        }
        if recorded < before {
            // Told also where it is incomplete already, as that of a new Redis is.
            partition.doubt_filter().await?;
            tracing::error!(
                partition = partition.number(),
                loans = before - recorded,
                "Redis went back in time: it does not know loans that were recorded; MongoDB is asked for every id until its filter is complete"
            );
            // While this process runs, its admissions find it out. What happened before it was there nobody else would tell.
            if seen.recorded.is_none() {
                self.metrics
                    .roll_back(partition.number(), before - recorded);
            }
        }
        seen.recorded = Some(recorded);
        Ok(())
    }
}

/// Says that entries of no bundle were found in a line since it was last looked at.
fn tell_entries_aside(partition: usize, seen: &mut Seen) {
    let counters = &seen.state.counters;
    let aside = counters
        .get("set_aside_places")
        .copied()
        .unwrap_or_default();
    let before = seen.entries_aside.replace(aside).unwrap_or(aside);
    if aside > before {
        tracing::error!(
            partition,
            entries = aside - before,
            "entries that are no bundle's stood in the queue: they are set aside"
        );
    }
}

/// Says what was mended of a partition.
fn tell_mended(partition: usize, mended: &Mended) {
    if mended.bundles > 0 {
        tracing::error!(
            partition,
            bundles = mended.bundles,
            "bundles stood in no line, as when Redis loses a key: they are in line again"
        );
    }
    if !mended.counts.is_empty() {
        tracing::error!(
            partition,
            counts = mended.counts.join(" "),
            "counts in Redis were no numbers: they begin anew"
        );
    }
}

/// What this instance says of itself.
struct Me {
    instance: Instance,
    workers_max: u64,
    started: Instant,
    facts: Facts,
}

/// Whom the monitor tells.
struct Tell {
    sender: watch::Sender<Arc<Snapshot>>,
    teller: watch::Sender<Arc<InstanceList>>,
}

async fn watch(watched: Watched, tell: Tell, past: Arc<Mutex<Past>>) {
    let Tell { sender, teller } = tell;
    let Watched {
        queue,
        store,
        metrics,
        instance,
        roles,
        host,
        workers_max,
    } = watched;
    let started = Instant::now();
    let queue = queue.with_timeout(SILENT_AFTER);
    let me = Arc::new(Me {
        instance,
        workers_max,
        started,
        facts: Facts {
            instance: instance.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: crate::GIT_COMMIT.to_owned(),
            roles: roles.iter().map(|role| role.name().to_owned()).collect(),
            host,
            ..Facts::default()
        },
    });
    let mut rounds = Rounds::start(&queue, || Looker {
        me: Arc::clone(&me),
        queue: queue.clone(),
        store: store.clone(),
        metrics: Arc::clone(&metrics),
    });
    let nodes = Nodes::watch(&queue);
    let (mongodb_sender, mongodb) = watch::channel(MongoState::default());
    let watching = watch_mongodb(store.clone(), Arc::clone(&metrics), mongodb_sender);
    task::spawn("watch", watching);
    let mut counted: VecDeque<(Instant, Counters)> = VecDeque::new();
    let mut recent = RecentLatencies::default();
    let mut redis = RedisState::default();
    let mut faults = Faults::default();
    let mut ticks: u32 = 0;
    let mut tick = interval(SNAPSHOT_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !sender.is_closed() {
        tick.tick().await;
        let is_slow = ticks.is_multiple_of(SLOW_EVERY as u32);
        ticks = ticks.wrapping_add(1);
        let partitions = if redis.shards.is_empty() {
            // Nothing is known yet: what is only slow must not look like what is down.
            let (partitions, ()) =
                tokio::join!(rounds.next(SILENT_AFTER), nodes.settle(SILENT_AFTER));
            partitions
        } else {
            rounds.next(LOOK_PATIENCE).await
        };
        let previous = std::mem::take(&mut redis);
        redis = shards::join(&partitions, &nodes.latest(), &queue);
        shards::tell_changes(&previous, &redis);
        catch_up_on_pause(&queue, &partitions);

        let mut state = partitions[0].state.clone();
        for seen in &partitions[1..] {
            state.add(seen.state.clone());
        }
        let now = Instant::now();
        let mut counters = counters(&state, &metrics);
        counters.failed_by_applicant = most(&partitions);
        let rates = rates(&mut counted, now, &counters);
        if is_slow {
            recent = RecentLatencies {
                admit: metrics.admit.take_recent(),
                end_to_end: metrics.end_to_end.take_recent(),
            };
        }
        let alive = alive(&partitions);
        let mut snapshot = Snapshot {
            at_ms: now_ms(),
            instance: instance.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: crate::GIT_COMMIT.to_owned(),
            uptime_seconds: started.elapsed().as_secs_f64(),
            gauges: Gauges {
                queue_depth: state.queued,
                in_flight: state.claimed,
                unrecorded: state.decided,
                failed_waiting: state.failed_waiting,
                oldest_waiting_ms: partitions
                    .iter()
                    .map(|seen| seen.slow.oldest_waiting_ms)
                    .max()
                    .unwrap_or_default(),
                workers: alive.iter().map(|instance| instance.workers).sum(),
                workers_max: alive.iter().map(|instance| instance.workers_max).sum(),
                workers_here: metrics.workers.load(Ordering::Relaxed),
                instances: alive.len() as u64,
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
            degraded: Vec::new(),
        };
        let is_aside_full = partitions.iter().any(|seen| seen.slow.is_aside_full);
        let are_filters_incomplete = partitions.iter().all(|seen| !seen.state.is_filter_complete);
        let work = Work {
            aside_full: is_aside_full,
            filters_incomplete: are_filters_incomplete,
            ..Work::of(&metrics)
        };
        faults.note(&mut snapshot, work, now);
        if is_slow {
            lock(&past).add_point(point(&snapshot));
            teller.send_replace(Arc::new(InstanceList {
                instances: instances::list(alive, now_ms()),
                partitions: partitions
                    .iter()
                    .enumerate()
                    .map(|(number, seen)| partition_view(number, seen))
                    .collect(),
            }));
        }
        sender.send_replace(Arc::new(snapshot));
    }
}

/// The instances that are alive, by the word of the partition that was heard last.
fn alive(partitions: &[Arc<Seen>]) -> &[Alive] {
    // A partition that does not answer tells the past.
    let answering = partitions.iter().find(|seen| seen.trouble().is_none());
    answering
        .or(partitions.first())
        .map_or(&[], |seen| &seen.alive)
}

/// A partition that was out of reach when ingestion was paused or resumed is told so once it is back; one that has forgotten it,
/// too.
fn catch_up_on_pause(queue: &Queue, partitions: &[Arc<Seen>]) {
    let (decided_ms, paused) = queue.last_decision();
    for (number, seen) in partitions.iter().enumerate() {
        let is_behind = seen.state.paused != paused && seen.state.pause_decided_ms < decided_ms;
        if is_behind && seen.trouble().is_none() {
            let mut partition = queue.reader(number);
            task::spawn("pause", async move {
                match partition.set_paused(paused, decided_ms).await {
                    Ok(_) => {
                        tracing::info!(partition = number, paused, "a partition has caught up");
                    }
                    Err(error) => tracing::debug!(%error, "a partition has not caught up"),
                }
            });
        }
    }
}

/// What the workers of this instance do.
fn doing(metrics: &Metrics) -> Vec<WorkerView> {
    let work = metrics.work().into_iter().map(|(worker, work)| {
        let state = if work.loans.is_some() {
            "processing"
        } else {
            "waiting"
        };
        WorkerView {
            worker,
            state: state.to_owned(),
            loans: work.loans.map_or(0, |(loans, _)| loans),
            for_ms: work.since.elapsed().as_millis() as u64,
            partition: work.loans.map(|(_, partition)| partition as u64),
        }
    });
    work.collect()
}

fn partition_view(number: usize, seen: &Seen) -> PartitionView {
    PartitionView {
        partition: number as u64,
        queue_depth: seen.state.queued,
        in_flight: seen.state.claimed,
        oldest_waiting_ms: seen.slow.oldest_waiting_ms,
        failed_waiting: seen.state.failed_waiting,
        unrecorded: seen.state.decided,
        redis_up: seen.trouble().is_none(),
    }
}

/// The applicants with the most failures, most first.
fn most(partitions: &[Arc<Seen>]) -> Vec<ApplicantCount> {
    let mut applicants: BTreeMap<&str, u64> = BTreeMap::new();
    for (applicant, count) in partitions.iter().flat_map(|seen| &seen.slow.applicants) {
        *applicants.entry(applicant).or_default() += count;
    }
    let mut counts: Vec<_> = applicants
        .into_iter()
        .map(|(applicant, count)| ApplicantCount {
            applicant: applicant.to_owned(),
            count,
        })
        .collect();
    // By name where counts are equal, since the map is ordered and the sort stable.
    counts.sort_by_key(|applicant| std::cmp::Reverse(applicant.count));
    counts.truncate(APPLICANTS_SHOWN);
    counts
}

/// Asks MongoDB once a second, apart from the snapshots: they must not wait for it.
async fn watch_mongodb(store: Store, metrics: Arc<Metrics>, sender: watch::Sender<MongoState>) {
    while !sender.is_closed() {
        match store.version().await {
            Ok(version) => {
                sender.send_replace(MongoState { up: true, version });
                // It may tell its version to who may not read.
                match store.recorded(&[]).await {
                    Ok(_) => metrics.note_questions(None),
                    Err(error) if is_answer(&error) => metrics.note_questions(Some(&error)),
                    Err(error) => tracing::debug!(%error, "MongoDB does not answer a question"),
                }
            }
            Err(error) => {
                tracing::debug!(%error, "MongoDB does not answer");
                sender.send_modify(|state| state.up = false);
            }
        }
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
    // What MongoDB refused for good is a failure in the end.
    let accepted = sum("accepted").saturating_sub(sum("unrecordable"));
    Counters {
        received: metrics.received.load(Ordering::Relaxed),
        admitted: sum("admitted"),
        replayed: sum("replayed"),
        rejected: metrics.rejected(),
        processed: accepted + failed.values().sum::<u64>(),
        accepted,
        failed,
        failed_by_applicant: Vec::new(),
        retried: sum("retried"),
        discarded: sum("discarded"),
        recorded_loans: sum("recorded_loans"),
        recorded_failures: sum("recorded_failures"),
        redelivered: sum("redelivered"),
        lost_commit_races: sum("lost_commit_races"),
        duplicate_keys: sum("duplicate_keys"),
        set_aside: sum("set_aside"),
        rolled_back: metrics.rolled_back.load(Ordering::Relaxed),
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
        open_files: open_files(),
    }
}

/// How many files are open. From Linux 6.2 on the size of the folder is their number. Before, they have to be read one by
/// one: with ten thousand connections that takes milliseconds, in which the kernel holds the table of files.
fn open_files() -> u64 {
    let files = Path::new("/proc/self/fd");
    match files.metadata() {
        Ok(metadata) if metadata.len() > 0 => metadata.len(),
        _ => files.read_dir().map_or(0, |files| files.count() as u64),
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
        let nothing = past.since(3_001);
        assert!(nothing.points.is_empty() && nothing.events.is_empty());
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
        assert_eq!(past.since(0).events, []);
    }
}
