//! One load run from its start to its report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use call::address_of;
use conduct::link::LinkError;
use drive::crowd::Crowd;
use drive::error::DriveError;
use drive::files;
use drive::handover::Shared;
use drive::load::{Driven, Goose, Order, drive, joined};
use drive::stop::{self, Stop};
use judge::account::{Account, Generators, PRIVATE, account, hopeless};
use judge::audit::Audited;
use observe::drain::{drain, settle_counters, settle_memory};
use observe::follow::{self, SnapshotError};
use observe::markers;
use observe::proof::{ProofError, belong_together};
use observe::provenance;
use observe::stack::{Target, private_stack, service_arguments};
use observe::stores::{FAILURES, LOANS, RedisFacts, StoreError, Stores};
use plan::payload::Payloads;
use plan::scenario::{Scenario, StackShape};
use plan::schedule::Schedule;
use plan::shard::Part;
use record::clock::{RunClock, set_ahead_us, steady_us};
use record::folder::{Unwritable, in_words, rfc3339, run_tag, shared_tag, write_whole};
use record::followed::{Followed, ServiceClock};
use record::interval;
use record::latencies::hgrm;
use record::part::{self, MergeError, Surroundings};
use record::recorder::Recorder;
use record::result::run::{CrowdReport, Drain, Provenance, Report, Verdict};
use report::ReportError;
use snapshot::{Counters, Snapshot};
use testbed::{Deployment, RedisLayout, TestbedError};
use time::OffsetDateTime;
use url::Url;

use crate::COMMIT;
use crate::audit::{self, Question};
use crate::commands::begin;
use crate::progress::Progress;

pub mod conductor;
pub mod shard;
mod watch;

use watch::Watch;

/// The drain of a run that ended early or was stopped.
const DRAIN_ABORTED: Duration = Duration::from_secs(5);
/// How much longer the stages of a run may take, all together, once a stop was asked for.
const STOPPED_WITHIN: Duration = Duration::from_secs(6);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The scenario.
    pub scenario: Scenario,
    /// Its file, for the command that repeats the run.
    pub scenario_path: PathBuf,
    /// A service that runs already; a private stack when `None`.
    pub target: Option<Target>,
    /// The service's binary for a private stack; the one beside the running binary when `None`.
    pub service_binary: Option<PathBuf>,
    /// Where reports go: the run's own folder is made in `runs` below it.
    pub reports: PathBuf,
    /// Whether nothing is shown while it runs.
    pub quiet: bool,
    /// What is not refused.
    pub allow: Vec<Allowed>,
    /// Whether only the clients' half is judged, without a look at the stores.
    pub no_stores: bool,
    /// Where every sample is written, if anywhere.
    pub samples: Option<PathBuf>,
    /// Where live figures are pushed to, if anywhere: an OTLP collector.
    pub otlp: Option<String>,
    /// Folders of the shards of a run that was sent already: nothing is sent, they are joined and judged.
    pub merge: Vec<PathBuf>,
}

/// What a run refuses because its figures would mislead, unless it is allowed. The report then says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Allowed {
    /// A service that was built from another commit than the generator.
    OtherCommit,
    /// Loans that wait or are not recorded from before.
    BusyQueue,
    /// A Redis that may lose what it has confirmed.
    WeakDurability,
}

impl Allowed {
    /// Its name on the command line.
    const fn name(self) -> &'static str {
        match self {
            Self::OtherCommit => "other-commit",
            Self::BusyQueue => "busy-queue",
            Self::WeakDurability => "weak-durability",
        }
    }
}

/// Why a run could not be made. Each is told in one line.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder for the report cannot be written.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// The private stack did not start.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// A store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service does not tell its metrics.
    #[error("the service at {url} does not tell its metrics: {source}")]
    Service {
        /// Its address.
        url: String,
        /// Why not.
        source: SnapshotError,
    },
    /// The figures would mislead.
    #[error("{what}; {advice}, or allow it with --allow {}", allowed.name())]
    Refused {
        /// What is wrong.
        what: String,
        /// What to do.
        advice: &'static str,
        /// What would allow it.
        allowed: Allowed,
    },
    /// A stop was asked for before the load began.
    #[error("stopped before the load began")]
    Stopped,
    /// The stores are not those of the service.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The name of the service's host is not known.
    #[error("{0} leads nowhere: no host of that name is known here")]
    Nowhere(String),
    /// A store of the service is away.
    #[error("the service at {url} is not ready: {what}")]
    NotReady {
        /// The service.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// The service takes nothing at the moment.
    #[error(
        "ingestion is paused on the service at {0}: resume it first, on its dashboard or with POST /api/control/resume"
    )]
    Paused(String),
    /// The loans of a run of this name are there already.
    #[error("loans of the run {0} are recorded already, and would be known: give another --run-id")]
    UsedBefore(String),
    /// The load could not be sent.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The crowd beside the load could not come.
    #[error("the crowd cannot come: {0}")]
    Crowd(std::io::Error),
    /// A crowd belongs to no shard.
    #[error(
        "a scenario with a [crowd] cannot be split into shards; run it whole, or take the [crowd] out"
    )]
    CrowdInShards,
    /// The conductor cannot be reached, or was lost, or ends the run before its start.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The shards did not come; nothing was sent.
    #[error("{}", .0.join(" "))]
    CalledOff(Vec<String>),
    /// The shards cannot be listened to.
    #[error("the shards cannot be listened to: {0}")]
    Door(std::io::Error),
    /// The conductor says something that this generator does not understand.
    #[error("the conductor's scenario cannot be sent: {0}")]
    Foreign(String),
    /// The shards of a run could not be joined.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// A run that was made.
pub struct Finished {
    /// Its report.
    pub report: Report,
    /// The folder that holds it.
    pub folder: PathBuf,
    /// The private stack, still running.
    pub stack: Option<Deployment>,
    /// What could not be written, one line each. The verdict stands all the same.
    pub warnings: Vec<String>,
}

/// Runs a scenario and writes its report.
///
/// # Errors
/// When the run could not be made at all; a run that was made has a verdict, also when it was stopped.
pub async fn run(options: Options) -> Result<Finished, RunError> {
    run_and_tell(options, None, None).await
}

/// As [`run`]; the load is sent by other generators, if they are to be conducted, and by this process if not. `ended` is told
/// the report before anything is written that might fail.
///
/// # Errors
/// As [`run`].
pub async fn run_and_tell(
    options: Options,
    conducting: Option<&conductor::Conducting>,
    ended: Option<&(dyn Fn(&Report) + Sync)>,
) -> Result<Finished, RunError> {
    let scenario = &options.scenario;
    let started = OffsetDateTime::now_utc();
    let folder = begin(&options.reports, scenario.name.get_ref(), started)?;
    let mut progress = Show(if options.quiet {
        None
    } else {
        Some(Progress::new())
    });
    let begun = (started, Instant::now());
    let result = measure(&options, conducting, begun, &folder, &mut progress).await;
    progress.end();
    let result = match result {
        Err(error) if error.is_stop() => {
            let report = unsent_report(&options, conducting, started);
            Ok((report, None, Vec::new()))
        }
        Err(RunError::CalledOff(why)) => {
            let report = Report {
                verdict: Verdict::Discarded,
                why,
                ..unsent_report(&options, conducting, started)
            };
            Ok((report, None, Vec::new()))
        }
        other => other,
    };
    let (report, stack, mut warnings) = result?;
    if let Some(ended) = ended {
        ended(&report);
    }
    let written = [
        report::write_data(&report, &folder),
        report::write_pages(&report, &folder),
        report::point_latest(&options.reports, &folder),
        report::write_index(&options.reports),
    ];
    warnings.extend(
        written
            .into_iter()
            .filter_map(Result::err)
            .map(|error| error.to_string()),
    );
    Ok(Finished {
        report,
        folder: folder.to_path_buf(),
        stack,
        warnings,
    })
}

impl RunError {
    /// Whether it only says that a stop was asked for.
    pub fn is_stop(&self) -> bool {
        matches!(
            self,
            Self::Stopped | Self::Drive(DriveError::Stopped) | Self::Link(LinkError::Stopped(_))
        )
    }
}

/// The report of a run that was stopped before its load began: what it was to be, and that nothing of it was sent.
fn unsent_report(
    options: &Options,
    conducting: Option<&conductor::Conducting>,
    started: OffsetDateTime,
) -> Report {
    let scenario = &options.scenario;
    let finished = OffsetDateTime::now_utc();
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let recorder = Recorder::new(scenario.phases.len(), schedule.arrivals());
    let mut provenance = planned(options);
    if let Some(conducting) = conducting {
        provenance.generators = conducting.shards;
    }
    let stopped = stop::asked().unwrap_or("a stop was asked for");
    let report = account(&Account {
        scenario,
        scenario_path: &options.scenario_path,
        schedule: &schedule,
        payloads: &Payloads::new(scenario.seed, &run_tag(started), &scenario.mix),
        recorder: &recorder,
        heard: &recorder.ledger.heard,
        followed: &Followed::default(),
        clock: RunClock::starting_in(Duration::ZERO),
        audited: Audited::none(schedule.phases().len()),
        audit_failed: None,
        changed: &[],
        drain: Drain::default(),
        provenance,
        started_at: rfc3339(started),
        finished_at: rfc3339(finished),
        duration: (finished - started).try_into().unwrap_or_default(),
        redis_memory_start_bytes: None,
        redis_memory_end_bytes: None,
        loadgen_rss_bytes_peak: provenance::rss_bytes_peak(),
        aborted: Some(stopped),
        ended_early: None,
        held_back: 0,
        users: 0,
        reached: Some(Duration::ZERO),
        set_ahead_us: 0,
        foreign_records: 0,
        is_private: options.target.is_none(),
        instances: 1,
        stores: !options.no_stores,
        snapshots: None,
        requests: (0, 0),
        crowd: None,
        generators: Generators::default(),
    });
    Report {
        why: vec![format!(
            "The run was stopped before its load began: {stopped}."
        )],
        ..report
    }
}

/// What is known of a run before anything is looked at.
fn planned(options: &Options) -> Provenance {
    let scenario = &options.scenario;
    let mut provenance = provenance::gather(COMMIT);
    provenance.target = if let Some(target) = &options.target {
        provenance
            .mongodb_database
            .clone_from(&target.mongodb_database);
        target.shown_urls()
    } else {
        provenance.service_arguments = service_arguments(scenario);
        PRIVATE.to_owned()
    };
    provenance.scenario_sha256 = provenance::sha256(scenario.source.as_bytes());
    provenance.self_test = provenance::self_test(&options.reports, &provenance.loadgen_sha256);
    provenance.generators = options.merge.len().max(1) as u32;
    provenance.set_by_flags = scenario.overrides.flags();
    provenance.set_by_flags.extend(
        options
            .allow
            .iter()
            .map(|allowed| format!("--allow {}", allowed.name())),
    );
    provenance
}

/// The display, if anything is to be shown.
struct Show(Option<Progress>);

impl Show {
    fn say(&self, line: &str) {
        if let Some(progress) = &self.0 {
            progress.say(line);
        }
    }

    fn doing(&mut self, what: &str) {
        if let Some(progress) = &mut self.0 {
            progress.doing(what);
        }
    }

    fn draining(&mut self, now: Duration, left: u64) {
        if let Some(progress) = &mut self.0 {
            progress.draining(now, left);
        }
    }

    fn end(&mut self) {
        if let Some(progress) = &mut self.0 {
            progress.end();
        }
    }
}

/// A service with its stores, and what was known of them before the load.
struct Ready {
    target: Target,
    /// Its administrator's, where it is known.
    token: Option<String>,
    stack: Option<Deployment>,
    /// Where they are to be looked at.
    stores: Option<Stores>,
    snapshot_before: Snapshot,
    /// When it came, by this machine's clock.
    snapshot_before_ms: u64,
    redis_memory_start_bytes: Option<u64>,
    /// Records in the stores, about.
    records_before: Option<u64>,
    provenance: Provenance,
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    (steady_us() / 1000) as u64
}

async fn connect(target: &Target) -> Result<Stores, StoreError> {
    Stores::connect(
        &target.redis_url,
        &target.mongodb_uri,
        &target.mongodb_database,
    )
    .await
}

/// Starts a private stack or takes the target, and refuses what would mislead.
async fn make_ready(options: &Options, progress: &mut Show) -> Result<Ready, RunError> {
    let scenario = &options.scenario;
    let mut provenance = planned(options);
    let (target, stack, token) = if let Some(target) = &options.target {
        (target.clone(), None, markers::token_of_environment())
    } else {
        progress.doing("starting Redis, mongod and the service");
        let (target, stack, token) =
            private_stack(scenario, options.service_binary.clone()).await?;
        (target, Some(stack), token)
    };
    if options.no_stores {
        for target in std::iter::once(target.clone()).chain(target.each_other()) {
            let found = match Url::parse(&target.url) {
                Ok(host) => address_of(&host).await,
                Err(_) => None,
            };
            if found.is_none() {
                return Err(RunError::Nowhere(target.shown_url()));
            }
        }
        // Whether it is there will show; what it says of itself is told as far as it does.
        let snapshot_before = follow::snapshot(&target.url).await.unwrap_or_default();
        if snapshot_before.gauges.paused {
            return Err(RunError::Paused(target.shown_url()));
        }
        provenance
            .service_version
            .clone_from(&snapshot_before.version);
        (provenance.service_commit, provenance.service_dirty) =
            provenance::commit_of(&snapshot_before.git_commit);
        progress.say(&format!(
            "scenario {}; to {}",
            scenario.name.get_ref(),
            target.shown_url()
        ));
        progress.end();
        return Ok(Ready {
            target,
            token: None,
            stack,
            stores: None,
            snapshot_before,
            snapshot_before_ms: now_ms(),
            redis_memory_start_bytes: None,
            records_before: None,
            provenance,
        });
    }
    provenance
        .mongodb_database
        .clone_from(&target.mongodb_database);
    let stores = connect(&target).await?;
    let snapshot_before =
        follow::snapshot(&target.url)
            .await
            .map_err(|source| RunError::Service {
                url: target.shown_url(),
                source,
            })?;
    let snapshot_before_ms = now_ms();
    if snapshot_before.gauges.paused {
        return Err(RunError::Paused(target.shown_url()));
    }
    if !target.private {
        if let Some(what) = not_ready(&snapshot_before, scenario) {
            return Err(RunError::NotReady {
                url: target.shown_url(),
                what,
            });
        }
        belong_together(&target, &snapshot_before, &stores).await?;
        for other in target.each_other() {
            let snapshot =
                follow::snapshot(&other.url)
                    .await
                    .map_err(|source| RunError::Service {
                        url: other.shown_url(),
                        source,
                    })?;
            belong_together(&other, &snapshot, &stores).await?;
        }
    }
    let RedisFacts {
        version,
        appendfsync,
    } = stores.redis_facts().await?;
    provenance.redis = version;
    provenance.appendfsync = appendfsync;
    provenance.mongodb = stores.mongodb_version().await?;
    provenance
        .service_version
        .clone_from(&snapshot_before.version);
    (provenance.service_commit, provenance.service_dirty) =
        provenance::commit_of(&snapshot_before.git_commit);
    provenance.overrides = preconditions(&provenance, stores.backlog().await?)
        .into_iter()
        .map(|(what, advice, allowed)| {
            if options.allow.contains(&allowed) {
                Ok(format!("{what}."))
            } else {
                Err(RunError::Refused {
                    what,
                    advice,
                    allowed,
                })
            }
        })
        .collect::<Result<_, _>>()?;
    let redis_memory_start_bytes = stores.redis_memory_bytes().await?;
    let records_before = stores.records_estimated().await.ok();
    // A token that the user brought is the user's secret.
    let shown_token = token.as_deref().filter(|_| options.target.is_none());
    progress.say(&format!(
        "scenario {}; watch it at {}",
        scenario.name.get_ref(),
        markers::dashboard_link(&target.shown_url(), shown_token)
    ));
    // Goose tells on standard output that its users are there.
    progress.end();
    Ok(Ready {
        target,
        token,
        stack,
        stores: Some(stores),
        snapshot_before,
        snapshot_before_ms,
        redis_memory_start_bytes,
        records_before,
        provenance,
    })
}

/// Why the service cannot take this scenario's load now, if it cannot. Pure.
fn not_ready(snapshot: &Snapshot, scenario: &Scenario) -> Option<String> {
    // A stand-in does not say how its stores are.
    if snapshot.instance.is_empty() {
        return None;
    }
    if !snapshot.redis.up {
        let trouble = snapshot.redis.trouble.as_deref();
        return Some(trouble.map_or_else(
            || "Redis is out of its reach".to_owned(),
            |trouble| format!("Redis takes no loans: {trouble}"),
        ));
    }
    if !snapshot.mongodb.up {
        return Some("MongoDB is out of its reach".to_owned());
    }
    if let Some(what) = other_stack(snapshot, &scenario.stack) {
        return Some(what);
    }
    let workers_max = snapshot.gauges.workers_max;
    match scenario.target.workers_max {
        Some(wanted) if u64::from(wanted) != workers_max => Some(format!(
            "the scenario wants at most {wanted} workers, and it runs up to {workers_max}: start it with --workers-max {wanted}"
        )),
        _ => None,
    }
}

/// How the service stands on another stack than the scenario names, as far as it says that. One that names none takes any. Pure.
fn other_stack(snapshot: &Snapshot, wanted: &StackShape) -> Option<String> {
    let plain = StackShape::default();
    let masters = match wanted.redis.parse() {
        Ok(RedisLayout::Cluster { masters, .. }) => masters,
        _ => 1,
    };
    let partitions: usize = snapshot
        .redis
        .shards
        .iter()
        .map(|shard| shard.partitions.len())
        .sum();
    let differs = [
        (
            wanted.redis != plain.redis && masters != snapshot.redis.shards.len(),
            "masters of Redis",
            masters,
            snapshot.redis.shards.len(),
        ),
        (
            wanted.instances > snapshot.gauges.instances as usize,
            "instances",
            wanted.instances,
            snapshot.gauges.instances as usize,
        ),
        (
            wanted.partitions != plain.partitions && wanted.partitions as usize != partitions,
            "partitions",
            wanted.partitions as usize,
            partitions,
        ),
    ];
    let (_, what, wanted, found) = differs.into_iter().find(|(differs, ..)| *differs)?;
    Some(format!(
        "the [stack] of the scenario has {wanted} {what}, and it runs with {found}: take [stack] out to send to it all the same"
    ))
}

/// The load of a run that was sent, by this process or by its shards.
struct Sent {
    run_tag: String,
    clock: RunClock,
    recorder: Recorder,
    requests: Requests,
    held_back: u64,
    users: usize,
    reached: Option<Duration>,
    set_ahead_us: i64,
    /// When the shards saw that nothing was left in Redis.
    empty_at: Option<Duration>,
    loadgen_rss_bytes_peak: Option<u64>,
    ended_early: Option<String>,
    aborted: Option<String>,
    watched: Watched,
    crowd: Option<CrowdReport>,
    /// How everything was recorded, where that was looked at already.
    drained: Option<Drain>,
    generators: Generators,
    /// What could not be written, one line each.
    warnings: Vec<String>,
}

/// Requests by goose's count and by ours.
enum Requests {
    /// Goose is still winding down.
    Open(Goose, Arc<Shared>),
    Known(u64, u64),
}

impl Requests {
    async fn counted(self) -> Result<(u64, u64), RunError> {
        match self {
            Self::Open(goose, shared) => {
                let counted = joined(goose).await?;
                Ok((counted, shared.requests.load(Ordering::Relaxed)))
            }
            Self::Known(goose, ours) => Ok((goose, ours)),
        }
    }
}

/// Who looked on.
enum Watched {
    /// They still do.
    Live(Box<Watch>),
    /// They did; this is what the service's live figures were.
    Kept(Box<Followed>),
}

impl Watched {
    fn followed(&self) -> Followed {
        match self {
            Self::Live(watch) => watch.followed().clone(),
            Self::Kept(followed) => (**followed).clone(),
        }
    }

    async fn end(self, verdict: Verdict) -> Vec<String> {
        match self {
            Self::Live(watch) => watch.end(Some(verdict)).await,
            Self::Kept(_) => Vec::new(),
        }
    }
}

async fn measure(
    options: &Options,
    conducting: Option<&conductor::Conducting>,
    started: (OffsetDateTime, Instant),
    folder: &Path,
    progress: &mut Show,
) -> Result<(Report, Option<Deployment>, Vec<String>), RunError> {
    let scenario = &options.scenario;
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let (mut ready, sent) = if let (Some(target), [_, ..]) = (&options.target, &options.merge[..]) {
        let joined = unless_stopped(joined_shards(options, target, &schedule, folder)).await;
        joined.ok_or(RunError::Stopped)??
    } else {
        let mut ready = tokio::select! {
            ready = make_ready(options, progress) => ready?,
            () = stop::wait() => return Err(RunError::Stopped),
        };
        let sent = match conducting {
            None => send(options, &mut ready, &schedule, started.0, folder, progress).await?,
            Some(conducting) => {
                let run = (options, &schedule, folder);
                conductor::conduct(conducting, run, started.0, &mut ready, progress).await?
            }
        };
        (ready, sent)
    };
    let stack = ready.stack.take();
    let (report, warnings) =
        conclude(options, ready, sent, &schedule, started, folder, progress).await?;
    Ok((report, stack, warnings))
}

/// What the shards of a run have sent to `target`.
async fn joined_shards(
    options: &Options,
    target: &Target,
    schedule: &Schedule,
    folder: &Path,
) -> Result<(Ready, Sent), RunError> {
    let mut gathered = part::gather(
        &options.merge,
        &options.scenario,
        &provenance::sha256(options.scenario.source.as_bytes()),
        schedule,
    )?;
    let stores = connect(target).await?;
    if !target.private {
        for instance in std::iter::once(target.clone()).chain(target.each_other()) {
            // One that is gone by now proves nothing; its loans are looked for all the same.
            let snapshot = follow::snapshot(&instance.url).await;
            belong_together(&instance, &snapshot.unwrap_or_default(), &stores).await?;
        }
    }
    let log = folder.join(interval::FILE);
    // The logs of all are open at once.
    files::allow();
    let warning = gathered.join_latencies(&options.merge, &log, &options.scenario, schedule);
    let ready = Ready {
        target: target.clone(),
        token: None,
        stack: None,
        stores: Some(stores),
        snapshot_before: gathered.snapshot_before,
        snapshot_before_ms: 0,
        redis_memory_start_bytes: gathered.redis_memory_start_bytes,
        // The shards began at different instants: others' records cannot be told by their number.
        records_before: None,
        provenance: Provenance {
            generators: options.merge.len() as u32,
            ..gathered.provenance
        },
    };
    let (goose, ours) = gathered.requests;
    let sent = Sent {
        run_tag: shared_tag(&gathered.run_id),
        clock: gathered.clock,
        recorder: gathered.recorder,
        requests: Requests::Known(goose, ours),
        held_back: gathered.held_back,
        users: gathered.users,
        reached: None,
        set_ahead_us: gathered.set_ahead_us,
        empty_at: gathered.empty_at,
        loadgen_rss_bytes_peak: gathered.loadgen_rss_bytes_peak,
        ended_early: gathered.ended_early,
        aborted: gathered.stopped,
        watched: Watched::Kept(Box::new(gathered.followed)),
        crowd: None,
        drained: None,
        generators: Generators {
            doubts: gathered.doubts,
            notes: Vec::new(),
        },
        warnings: warning.into_iter().collect(),
    };
    Ok((ready, sent))
}

/// Sends the whole load.
async fn send(
    options: &Options,
    ready: &mut Ready,
    schedule: &Schedule,
    started: OffsetDateTime,
    folder: &Path,
    progress: &mut Show,
) -> Result<Sent, RunError> {
    let scenario = &options.scenario;
    let run_tag = run_tag(started);
    let payloads = Payloads::new(scenario.seed, &run_tag, &scenario.mix);
    let stop = Stop::watch();
    let mut watch = Watch::of_run(options, ready, schedule, folder);
    let log = folder.join(interval::FILE);
    let order = Order {
        scenario,
        schedule,
        payloads: &payloads,
        url: &ready.target.url,
        other_urls: &ready.target.other_urls,
        log: Some(&log),
        raw: options.samples.as_deref(),
        part: None,
    };
    let crowd = match &scenario.crowd {
        Some(crowd) => {
            let nowhere = || RunError::Crowd(std::io::ErrorKind::NotFound.into());
            let url = Url::parse(order.url).map_err(|_| nowhere())?;
            let address = address_of(&url).await.ok_or_else(nowhere)?;
            Some(Crowd::start(address, crowd.get_ref()).map_err(RunError::Crowd)?)
        }
        None => None,
    };
    let load = drive(&order, &stop, |now, recorder| {
        if let Some(progress) = &mut progress.0 {
            progress.load(now, scenario, schedule, recorder, &watch.followed());
        }
        watch.look(now, recorder);
        hopeless(scenario, schedule, recorder, &watch.followed())
    })
    .await?;
    watch.last(load.clock.now(), &load.recorder);
    if let Some(reason) = &load.ended_early {
        progress.say(&format!("the run ends early: {reason}"));
    }
    ready.provenance.generator_priority = load.priority();
    let crowd = crowd.map(Crowd::end);
    Ok(Sent {
        crowd,
        run_tag,
        clock: load.clock,
        recorder: load.recorder,
        held_back: load.shared.held_back.load(Ordering::Relaxed),
        requests: Requests::Open(load.goose, load.shared),
        users: load.users,
        reached: load.reached,
        set_ahead_us: set_ahead_us(),
        empty_at: None,
        loadgen_rss_bytes_peak: None,
        ended_early: load.ended_early,
        aborted: stop::asked().map(str::to_owned),
        watched: Watched::Live(Box::new(watch)),
        drained: None,
        generators: Generators::default(),
        warnings: Vec::new(),
    })
}

/// Waits until everything is recorded, audits, and judges.
async fn conclude(
    options: &Options,
    ready: Ready,
    sent: Sent,
    schedule: &Schedule,
    started: (OffsetDateTime, Instant),
    folder: &Path,
    progress: &mut Show,
) -> Result<(Report, Vec<String>), RunError> {
    let scenario = &options.scenario;
    let Ready {
        target,
        stores,
        snapshot_before,
        snapshot_before_ms,
        redis_memory_start_bytes,
        records_before,
        mut provenance,
        ..
    } = ready;
    provenance.run_id.clone_from(&sent.run_tag);
    let mut recorder = sent.recorder;
    let payloads = Payloads::new(scenario.seed, &sent.run_tag, &scenario.mix);
    let mut warnings = sent.warnings;
    let prefix = payloads.prefix();
    let mut drain = match (&stores, sent.drained) {
        (None, _) => Drain::default(),
        (Some(_), Some(drained)) => drained,
        (Some(stores), None) => {
            let timeout = if sent.aborted.is_some() || sent.ended_early.is_some() {
                DRAIN_ABORTED
            } else {
                scenario.drain_timeout
            };
            progress.doing("waiting until everything is recorded");
            let ours = (!target.private).then_some(prefix.as_str());
            let last_sent = recorder.last_sent;
            let draining = drain(stores, ours, sent.clock, last_sent, timeout, |now, left| {
                progress.draining(now, left);
            });
            unless_stopped(draining).await.unwrap_or_default()
        }
    };
    if !options.merge.is_empty() {
        // It may have been empty long before the shards were joined; they looked at it.
        drain.seconds_to_empty = sent
            .empty_at
            .map(|at| at.saturating_sub(recorder.last_sent).as_secs_f64())
            .filter(|_| drain.left_over == Some(0));
    }
    let requests = match unless_stopped(sent.requests.counted()).await {
        Some(counted) => counted?,
        None => (0, 0),
    };

    let mut redis_memory_end_bytes = None;
    let mut snapshot_after = None;
    if let Some(stores) = &stores {
        progress.doing("auditing every loan");
        let settling = settle_memory(stores, redis_memory_start_bytes);
        redis_memory_end_bytes = unless_stopped(settling).await.flatten();
        let settling = settle_counters(&target.url);
        snapshot_after = unless_stopped(settling).await.flatten();
    }
    let mut followed = sent.watched.followed();
    followed.clock.finish();
    if let (true, 1.., Some(after)) = (
        followed.points.is_empty(),
        snapshot_before_ms,
        &snapshot_after,
    ) {
        followed.clock = ServiceClock::of_two(
            (snapshot_before.at_ms, snapshot_before_ms),
            (after.at_ms, now_ms()),
        );
    }
    let mut changed = Vec::new();
    if let Some(stores) = &stores {
        let after = if options.merge.is_empty() {
            asked_again(&provenance, stores, snapshot_after.as_ref()).await
        } else {
            // The run may have ended long ago.
            provenance.clone()
        };
        // What was not durable before the load is told already.
        let weak_at_ms = followed
            .weak_at_ms
            .filter(|_| snapshot_before.redis.durable);
        let weak_at_seconds = weak_at_ms.map(|at_ms| sent.clock.offset_seconds(at_ms).max(0.0));
        for (what, allowed) in weakened(&provenance, &after, weak_at_seconds) {
            if options.allow.contains(&allowed) {
                provenance.overrides.push(what);
            } else {
                changed.push(what);
            }
        }
        if after.appendfsync != provenance.appendfsync {
            provenance.appendfsync =
                format!("{}, then {}", provenance.appendfsync, after.appendfsync);
        }
    }
    let clocks_agree = followed.clock.apart_ms().is_none() && followed.clock.step_ms.is_none();
    recorder.finish();
    let requests_unknown = recorder.resent + recorder.total.failed;
    let ledger = std::mem::take(&mut recorder.ledger);
    let mut audited = Audited::none(schedule.phases().len());
    let mut audit_failed = None;
    let mut foreign_records = 0;
    if let Some(stores) = &stores {
        let counters: Option<(&Counters, &Counters)> = snapshot_after
            .as_ref()
            .map(|after| (&snapshot_before.counters, &after.counters));
        let question = Question {
            stores,
            payloads: &payloads,
            ledger: &ledger,
            clock: sent.clock,
            schedule,
            counters,
            requests_unknown,
            pauses: &recorder.pauses,
            clocks_agree,
            private: target.private,
        };
        match unless_stopped(audit::audit(&question)).await {
            Some(Ok(done)) => audited = done,
            Some(Err(error)) => {
                progress.say(&format!("the audit could not be made: {error}"));
                audit_failed = Some(error.to_string());
            }
            None => {}
        }
        // In a database of its own every record is judged one by one.
        if let (false, true, Some(before)) =
            (target.private, audited.audit.complete, records_before)
            && let Some(Ok(after)) = unless_stopped(stores.records_estimated()).await
        {
            foreign_records = after.saturating_sub(before + audited.records);
        }
    }
    let mut generators = sent.generators;
    if !options.merge.is_empty() && snapshot_after.is_none() {
        // It may have ended long ago, and in order.
        audited.counters.clear();
        generators.notes.push(
            "The service does not tell its live counters any more, so they are not compared with the audit.".to_owned(),
        );
    }
    let aborted = sent.aborted.or_else(|| stop::asked().map(str::to_owned));

    for (latencies, end_to_end) in recorder.phases.iter_mut().zip(&audited.end_to_end) {
        latencies.end_to_end.clone_from(end_to_end);
    }
    for end_to_end in &audited.end_to_end {
        recorder
            .total
            .end_to_end
            .add(end_to_end)
            .expect("both histograms have the same bounds");
    }
    warnings.extend(end_samples(&mut recorder));
    if let Some(mut log) = recorder.log.take() {
        for (phase, end_to_end) in audited.end_to_end.iter().enumerate() {
            log.end_to_end(phase as u16, end_to_end, schedule.duration());
        }
        if let Err(error) = log.finish() {
            let path = folder.join(interval::FILE);
            // Half a log would be taken for a whole one.
            let _ = std::fs::remove_file(&path);
            warnings.push(Unwritable { path, error }.to_string());
        }
    }
    drain.backlog_peak = followed.backlog_peak;
    let finished = OffsetDateTime::now_utc();
    let (started_at, duration) = if options.merge.is_empty() {
        (started.0, started.1.elapsed())
    } else {
        // The run itself was over long before its shards were joined.
        let began = started.0 - sent.clock.now();
        let sending = if aborted.is_none() && sent.ended_early.is_none() {
            recorder.last_sent.max(schedule.duration())
        } else {
            recorder.last_sent
        };
        let emptied = Duration::from_secs_f64(drain.seconds_to_empty.unwrap_or_default());
        (began, sending + emptied)
    };
    let report = account(&Account {
        scenario,
        scenario_path: &options.scenario_path,
        schedule,
        payloads: &payloads,
        recorder: &recorder,
        heard: &ledger.heard,
        followed: &followed,
        clock: sent.clock,
        audited,
        audit_failed: audit_failed.as_deref(),
        changed: &changed,
        drain,
        provenance,
        started_at: rfc3339(started_at),
        finished_at: rfc3339(finished),
        duration,
        redis_memory_start_bytes,
        redis_memory_end_bytes,
        loadgen_rss_bytes_peak: sent
            .loadgen_rss_bytes_peak
            .max(provenance::rss_bytes_peak()),
        aborted: aborted.as_deref(),
        ended_early: sent.ended_early.as_deref(),
        held_back: sent.held_back,
        users: sent.users,
        reached: sent.reached,
        set_ahead_us: sent.set_ahead_us,
        foreign_records,
        is_private: target.private,
        instances: 1 + target.other_urls.len(),
        stores: stores.is_some(),
        snapshots: snapshot_after
            .as_ref()
            .map(|after| (&snapshot_before, after)),
        requests,
        crowd: sent.crowd,
        generators,
    });
    if let Err(error) = write_histograms(folder, &recorder) {
        warnings.push(error.to_string());
    }
    warnings.extend(sent.watched.end(report.verdict).await);
    Ok((report, warnings))
}

/// Ends the file of all samples, if there is one; a warning when it is not whole.
fn end_samples(recorder: &mut Recorder) -> Option<String> {
    let (raw, _) = recorder.raw.take()?;
    let path = raw.path().to_path_buf();
    let source = raw.finish().err()?;
    Some(format!(
        "the samples cannot be written to {}, so they are not kept: {}",
        path.display(),
        in_words(&source)
    ))
}

/// What comes of a stage; nothing when a stop was asked for and it still takes long.
async fn unless_stopped<T>(stage: impl Future<Output = T>) -> Option<T> {
    let patience = async {
        stop::wait().await;
        let left = STOPPED_WITHIN.saturating_sub(stop::asked_for().unwrap_or_default());
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = stop::hurried() => {}
        }
    };
    tokio::select! {
        done = stage => Some(done),
        () = patience => None,
    }
}

/// Sends one shard of a run to a service that runs already, and keeps what was seen. Answers the folder, and what could not be
/// written beside it.
///
/// # Errors
/// When the service is not ready for it, or the common start has passed.
pub async fn run_shard(options: Options, part: Part) -> Result<(PathBuf, Vec<String>), RunError> {
    let scenario = &options.scenario;
    if scenario.crowd.is_some() {
        return Err(RunError::CrowdInShards);
    }
    let name = format!("{}-shard-{}", scenario.name.get_ref(), part.shard.index);
    let folder = begin(&options.reports, &name, OffsetDateTime::now_utc())?;
    let warnings = send_shard(&options, &part, &folder).await?;
    Ok((folder.to_path_buf(), warnings))
}

async fn send_shard(
    options: &Options,
    part: &Part,
    folder: &Path,
) -> Result<Vec<String>, RunError> {
    let scenario = &options.scenario;
    let mut progress = Show(if options.quiet {
        None
    } else {
        Some(Progress::new())
    });
    let ready = unless_stopped(make_ready(options, &mut progress)).await;
    let ready = ready.ok_or(RunError::Stopped)??;
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let payloads = Payloads::new(scenario.seed, &shared_tag(&part.run_id), &scenario.mix);
    // No shard sends before the common start, so what is there is of an earlier run.
    if let Some(stores) = &ready.stores {
        for collection in [LOANS, FAILURES] {
            let prefix = payloads.prefix();
            let mut records = stores.records(collection, Some(&prefix)).await?;
            if records.next().await?.is_some() {
                return Err(RunError::UsedBefore(part.run_id.clone()));
            }
        }
    }
    let stop = Stop::watch();
    let log = folder.join(interval::FILE);
    let order = Order {
        scenario,
        schedule: &schedule,
        payloads: &payloads,
        url: &ready.target.url,
        other_urls: &ready.target.other_urls,
        log: Some(&log),
        raw: options.samples.as_deref(),
        part: Some(part),
    };
    let mut watch = Watch::of_part(options, &ready, folder);
    let load = drive(&order, &stop, |now, recorder| {
        if let Some(progress) = &mut progress.0 {
            progress.load(now, scenario, &schedule, recorder, &watch.followed());
        }
        watch.look(now, recorder);
        hopeless(scenario, &schedule, recorder, &watch.followed())
    })
    .await?;
    watch.last(load.clock.now(), &load.recorder);
    progress.doing("waiting until everything is recorded");
    let prefix = payloads.prefix();
    let mut empty_at = None;
    if let Some(stores) = &ready.stores {
        let (clock, timeout) = (load.clock, scenario.drain_timeout);
        let draining = drain(
            stores,
            Some(&prefix),
            clock,
            Duration::ZERO,
            timeout,
            |_, _| {},
        );
        let drained = unless_stopped(draining).await.unwrap_or_default();
        empty_at = drained.seconds_to_empty.map(Duration::from_secs_f64);
    }
    progress.end();
    let followed = watch.followed().clone();
    let mut warnings = keep_part(folder, (scenario, part), load, ready, followed, empty_at).await?;
    // The verdict is that of all shards together.
    warnings.extend(watch.end(None).await);
    Ok(warnings)
}

/// Keeps in `folder` what this generator saw. Answers what could not be written beside it.
async fn keep_part(
    folder: &Path,
    (scenario, part): (&Scenario, &Part),
    mut load: Driven,
    ready: Ready,
    mut followed: Followed,
    empty_at: Option<Duration>,
) -> Result<Vec<String>, RunError> {
    let mut provenance = ready.provenance;
    provenance.generator_priority = load.priority();
    let goose = unless_stopped(joined(load.goose)).await.unwrap_or(Ok(0))?;
    let ours = load.shared.requests.load(Ordering::Relaxed);
    load.recorder.finish();
    let warnings = end_samples(&mut load.recorder).into_iter().collect();
    if let Some(log) = load.recorder.log.take() {
        log.finish().map_err(|error| {
            let path = folder.join(interval::FILE);
            // Half a log would be taken for a whole one.
            let _ = std::fs::remove_file(&path);
            Unwritable { path, error }
        })?;
    }
    followed.clock.finish();
    let around = Surroundings {
        clock: load.clock,
        held_back: load.shared.held_back.load(Ordering::Relaxed),
        requests: (goose, ours),
        ended_early: load.ended_early,
        followed,
        snapshot_before: ready.snapshot_before,
        redis_memory_start_bytes: ready.redis_memory_start_bytes,
        provenance,
        stopped: stop::asked(),
        set_ahead_us: set_ahead_us(),
        users: load.users,
        empty_at,
        loadgen_rss_bytes_peak: provenance::rss_bytes_peak(),
    };
    part::keep(folder, part, scenario, &load.recorder, around)?;
    Ok(warnings)
}

/// What would make the figures mislead: what it is, what to do, and what allows it. Pure.
fn preconditions(provenance: &Provenance, backlog: u64) -> Vec<(String, &'static str, Allowed)> {
    let mut faults = Vec::new();
    // A generator that does not know its own commit cannot compare.
    let (ours, theirs) = (&provenance.git_commit, &provenance.service_commit);
    if !ours.is_empty() && ours != theirs {
        let theirs = if theirs.is_empty() {
            "the service does not say which commit it was built from".to_owned()
        } else {
            format!("the service was built from commit {theirs}")
        };
        faults.push((
            format!("{theirs}, and the load generator from {ours}"),
            "build both from one checkout (make build)",
            Allowed::OtherCommit,
        ));
    }
    if backlog > 0 {
        faults.push((
            format!("the queue is not empty: {backlog} loans wait or are not recorded"),
            "let the service finish them first",
            Allowed::BusyQueue,
        ));
    }
    if provenance.appendfsync != "always" {
        faults.push((
            format!(
                "Redis may lose what it has confirmed: appendfsync is {}",
                provenance.appendfsync
            ),
            "set appendonly yes and appendfsync always",
            Allowed::WeakDurability,
        ));
    }
    faults
}

/// What is known of the service and its stores, with what they say of themselves when the load has ended.
async fn asked_again(
    before: &Provenance,
    stores: &Stores,
    snapshot_after: Option<&Snapshot>,
) -> Provenance {
    let mut after = before.clone();
    if let Some(Ok(facts)) = unless_stopped(stores.redis_facts()).await {
        after.appendfsync = facts.appendfsync;
    }
    if let Some(snapshot) = snapshot_after {
        (after.service_commit, after.service_dirty) = provenance::commit_of(&snapshot.git_commit);
    }
    after
}

/// What the service and its stores have become since the load began that no run may begin with: a sentence each, and what allows it.
/// `weak_at_seconds` is when the service first said that Redis may lose what it has confirmed. Pure.
fn weakened(
    before: &Provenance,
    after: &Provenance,
    weak_at_seconds: Option<f64>,
) -> Vec<(String, Allowed)> {
    let of_before = preconditions(before, 0);
    let is_new = |allowed: Allowed| of_before.iter().all(|(.., of)| *of != allowed);
    let mut found: Vec<(String, Allowed)> = preconditions(after, 0)
        .into_iter()
        .map(|(what, _, allowed)| (format!("Other than before the load, {what}."), allowed))
        .collect();
    // It may have been set back since.
    if let Some(at) = weak_at_seconds
        && found
            .iter()
            .all(|(_, allowed)| *allowed != Allowed::WeakDurability)
    {
        let what = format!(
            "While the load was sent Redis could lose what it had confirmed: the service said so at {at:.2} s."
        );
        found.push((what, Allowed::WeakDurability));
    }
    found.retain(|(_, allowed)| is_new(*allowed));
    found
}

fn write_histograms(folder: &Path, recorder: &Recorder) -> Result<(), RunError> {
    for (name, histogram) in [
        ("response", &recorder.total.response),
        ("service", &recorder.total.service),
        ("send-lag", &recorder.total.send_lag),
        ("end-to-end", &recorder.total.end_to_end),
    ] {
        let path = folder.join(format!("{name}.hgrm"));
        write_whole(&path, hgrm(histogram).as_bytes())
            .map_err(|error| Unwritable { path, error })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mislead_is_refused_by_name() {
        let good = Provenance {
            git_commit: "ab".to_owned(),
            service_commit: "ab".to_owned(),
            appendfsync: "always".to_owned(),
            ..Provenance::default()
        };
        let refused = |provenance: &Provenance, backlog| {
            preconditions(provenance, backlog)
                .into_iter()
                .map(|(.., allowed)| allowed)
                .collect::<Vec<_>>()
        };
        assert_eq!(refused(&good, 0), []);
        assert_eq!(refused(&good, 3), [Allowed::BusyQueue]);
        for theirs in ["cd", ""] {
            let other = Provenance {
                service_commit: theirs.to_owned(),
                ..good.clone()
            };
            assert_eq!(refused(&other, 0), [Allowed::OtherCommit]);
        }
        for sync in ["everysec", "no", "off", ""] {
            let weak = Provenance {
                appendfsync: sync.to_owned(),
                ..good.clone()
            };
            assert_eq!(refused(&weak, 0), [Allowed::WeakDurability]);
        }
        // A generator of no known commit cannot tell.
        let unknown = Provenance {
            git_commit: String::new(),
            ..good
        };
        assert_eq!(refused(&unknown, 0), []);
    }

    #[test]
    fn what_is_no_longer_as_it_was_before_the_load_is_named() {
        let before = Provenance {
            git_commit: "ab".to_owned(),
            service_commit: "ab".to_owned(),
            appendfsync: "always".to_owned(),
            ..Provenance::default()
        };
        let weak = Provenance {
            appendfsync: "always, no".to_owned(),
            ..before.clone()
        };
        let other = Provenance {
            service_commit: "cd".to_owned(),
            ..before.clone()
        };
        assert_eq!(weakened(&before, &before, None), []);
        assert_eq!(
            weakened(&before, &weak, Some(3.0)),
            [(
                "Other than before the load, Redis may lose what it has confirmed: appendfsync is always, no.".to_owned(),
                Allowed::WeakDurability
            )]
        );
        // Set, and set back.
        let (told, allowed) = weakened(&before, &before, Some(3.0)).remove(0);
        assert!(told.contains("said so at 3.00 s"), "{told}");
        assert_eq!(allowed, Allowed::WeakDurability);
        let (told, allowed) = weakened(&before, &other, None).remove(0);
        assert!(told.contains("built from commit cd"), "{told}");
        assert_eq!(allowed, Allowed::OtherCommit);
        // What was so before was allowed, or the run would not have begun.
        assert_eq!(weakened(&weak, &weak, Some(3.0)), []);
    }

    #[test]
    fn a_stack_that_the_scenario_does_not_name_is_refused() {
        let of = |masters: usize, partitions: u64, instances: u64| {
            let mut snapshot = Snapshot::default();
            snapshot.gauges.instances = instances;
            snapshot.redis.shards = (0..masters).map(|_| snapshot::Shard::default()).collect();
            if let Some(first) = snapshot.redis.shards.first_mut() {
                first.partitions = (0..partitions).collect();
            }
            snapshot
        };
        let wanted = StackShape {
            redis: "cluster:3+3".to_owned(),
            mongodb: "replica-set:3".to_owned(),
            instances: 2,
            partitions: 16,
        };
        assert_eq!(other_stack(&of(3, 16, 2), &wanted), None);
        for (snapshot, part) in [
            (of(1, 16, 2), "3 masters of Redis, and it runs with 1"),
            (of(3, 16, 1), "2 instances, and it runs with 1"),
            (of(3, 4, 2), "16 partitions, and it runs with 4"),
        ] {
            let told = other_stack(&snapshot, &wanted).unwrap_or_default();
            assert!(told.contains(part), "{told}");
        }
        // Whoever names none takes any.
        assert_eq!(other_stack(&of(3, 16, 2), &StackShape::default()), None);
        assert_eq!(other_stack(&of(1, 1, 1), &StackShape::default()), None);
    }
}
