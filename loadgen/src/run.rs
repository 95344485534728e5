//! One load run from its start to its report.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use service::snapshot::{Counters, Snapshot};
use testbed::{ServiceOptions, Stack, StackOptions, TestbedError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::account::{Account, account, hopeless};
use crate::audit::{self, Audited, Question};
use crate::crowd::Crowd;
use crate::follow::{self, Followed, Follower, SnapshotError};
use crate::histogram::{Recorder, hgrm};
use crate::interval::{self, IntervalLog};
use crate::markers::{self, Markers};
use crate::pace::{self, WAITING_MAX};
use crate::payload::{Kind, Payloads};
use crate::progress::Progress;
use crate::provenance;
use crate::report::{self, CrowdReport, Drain, Provenance, Report, ReportError};
use crate::sample::RunClock;
use crate::scenario::Scenario;
use crate::schedule::{Schedule, Slot};
use crate::shard::{self, MergeError, Part, Surroundings};
use crate::stores::{RedisFacts, StoreError, Stores};
use crate::users::{self, Asking, Shared};

/// From the moment that all users are ready to the start of the load.
const LEAD: Duration = Duration::from_millis(200);
/// How long goose may take to start its users.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the load is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often Redis is asked whether it is empty.
const DRAIN_TICK: Duration = Duration::from_millis(50);
/// The drain of a run that was stopped.
const DRAIN_ABORTED: Duration = Duration::from_secs(5);
/// How long Redis may take to give memory back after the drain.
const MEMORY_SETTLE: Duration = Duration::from_secs(5);
/// How long the live counters may take to catch up after the drain.
const COUNTERS_SETTLE: Duration = Duration::from_secs(5);
/// Memory at the end that is close enough to the start to stop waiting.
const MEMORY_SETTLED_RATIO: f64 = 1.02;

/// A service that runs already.
#[derive(Clone, Debug)]
pub struct Target {
    /// `http://host:port`.
    pub url: String,
    /// Its Redis.
    pub redis_url: String,
    /// Its MongoDB.
    pub mongodb_uri: String,
    /// The database in it.
    pub mongodb_database: String,
    /// Whether the database holds nothing but this run, so that every record in it is judged.
    pub private: bool,
}

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
    #[error("cannot write reports to {}: {source}; name another folder with --reports", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
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
    /// Goose refused to start.
    #[error("goose cannot start: {0}")]
    Goose(String),
    /// The crowd beside the load could not come.
    #[error("the crowd cannot come: {0}")]
    Crowd(std::io::Error),
    /// A crowd belongs to no shard.
    #[error(
        "a scenario with a [crowd] cannot be split into shards; run it whole, or take the [crowd] out"
    )]
    CrowdInShards,
    /// The shards of a run could not be joined.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The common start of the shards is over.
    #[error("the common start {0} has passed; give all shards a later --start-at")]
    Late(OffsetDateTime),
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl From<goose::GooseError> for RunError {
    fn from(error: goose::GooseError) -> Self {
        // Goose's own text does not say which setting it refuses.
        Self::Goose(match &error {
            goose::GooseError::InvalidOption {
                option,
                value,
                detail,
            } => format!("{option} = {value}: {detail}"),
            _ => error.to_string(),
        })
    }
}

/// A run that was made.
pub struct Finished {
    /// Its report.
    pub report: Report,
    /// The folder that holds it.
    pub folder: PathBuf,
    /// The private stack, still running.
    pub stack: Option<Stack>,
}

/// Runs a scenario and writes its report.
///
/// # Errors
/// When the run could not be made at all; a run that was made has a verdict, also when it was stopped.
pub async fn run(options: Options) -> Result<Finished, RunError> {
    let scenario = &options.scenario;
    let started = OffsetDateTime::now_utc();
    let folder = make_folder(&options.reports, scenario.name.get_ref(), started)?;
    let mut progress = Show(if options.quiet {
        None
    } else {
        Some(Progress::new())
    });
    let result = measure(&options, started, &folder, &mut progress).await;
    progress.end();
    if result.is_err() {
        // Nothing was written into it; a folder that is not empty stays.
        let _ = std::fs::remove_dir(&folder);
    }
    let (report, stack) = result?;
    report::write(&report, &folder)?;
    report::point_latest(&options.reports, &folder)?;
    report::write_index(&options.reports)?;
    Ok(Finished {
        report,
        folder,
        stack,
    })
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
    stack: Option<Stack>,
    stores: Stores,
    snapshot_before: Snapshot,
    redis_memory_start_bytes: Option<u64>,
    provenance: Provenance,
}

async fn connect(target: &Target, scenario: &Scenario) -> Result<Stores, StoreError> {
    Stores::connect(
        &target.redis_url,
        &target.mongodb_uri,
        &target.mongodb_database,
        scenario.target.partitions,
    )
    .await
}

/// Starts a private stack or takes the target, and refuses what would mislead.
async fn make_ready(options: &Options, progress: &mut Show) -> Result<Ready, RunError> {
    let scenario = &options.scenario;
    let mut provenance = provenance::gather();
    let (target, stack, token) = if let Some(target) = &options.target {
        (target.clone(), None, markers::token_of_environment())
    } else {
        progress.doing("starting Redis, mongod and the service");
        provenance.service_arguments = service_arguments(scenario);
        private_stack(options).await?
    };
    let stores = connect(&target, scenario).await?;
    let snapshot_before =
        follow::snapshot(&target.url)
            .await
            .map_err(|source| RunError::Service {
                url: target.url.clone(),
                source,
            })?;
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
    provenance.scenario_sha256 = provenance::sha256(scenario.source.as_bytes());
    provenance.self_test = crate::selftest::stamp(&options.reports, &provenance.loadgen_sha256);
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
    progress.say(&format!(
        "scenario {}; watch it at {}",
        scenario.name.get_ref(),
        markers::dashboard_link(&target.url, token.as_deref())
    ));
    // Goose tells on standard output that its users are there.
    progress.end();
    Ok(Ready {
        target,
        token,
        stack,
        stores,
        snapshot_before,
        redis_memory_start_bytes,
        provenance,
    })
}

/// The load of a run that was sent, by this process or by its shards.
struct Sent {
    run_tag: String,
    clock: RunClock,
    recorder: Recorder,
    requests: Requests,
    held_back: u64,
    ended_early: Option<String>,
    aborted: Option<String>,
    following: Following,
    crowd: Option<CrowdReport>,
    markers: Option<Markers>,
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

/// The live metrics.
enum Following {
    Live(Follower),
    Kept(Box<Followed>),
}

impl Following {
    fn followed(&self) -> Followed {
        match self {
            Self::Live(follower) => follower.followed().clone(),
            Self::Kept(followed) => (**followed).clone(),
        }
    }
}

async fn measure(
    options: &Options,
    started: OffsetDateTime,
    folder: &Path,
    progress: &mut Show,
) -> Result<(Report, Option<Stack>), RunError> {
    let scenario = &options.scenario;
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let (mut ready, sent) = if let (Some(target), [_, ..]) = (&options.target, &options.merge[..]) {
        joined_shards(options, target, &schedule).await?
    } else {
        let mut ready = make_ready(options, progress).await?;
        let sent = send(options, &mut ready, &schedule, started, folder, progress).await?;
        (ready, sent)
    };
    let stack = ready.stack.take();
    let report = conclude(options, ready, sent, &schedule, started, folder, progress).await?;
    Ok((report, stack))
}

/// What the shards of a run have sent to `target`.
async fn joined_shards(
    options: &Options,
    target: &Target,
    schedule: &Schedule,
) -> Result<(Ready, Sent), RunError> {
    let gathered = shard::gather(&options.merge, &options.scenario, schedule)?;
    let ready = Ready {
        target: target.clone(),
        token: None,
        stack: None,
        stores: connect(target, &options.scenario).await?,
        snapshot_before: gathered.snapshot_before,
        redis_memory_start_bytes: gathered.redis_memory_start_bytes,
        provenance: gathered.provenance,
    };
    let (goose, ours) = gathered.requests;
    let sent = Sent {
        run_tag: shared_tag(&gathered.run_id),
        clock: gathered.clock,
        recorder: gathered.recorder,
        requests: Requests::Known(goose, ours),
        held_back: gathered.held_back,
        ended_early: gathered.ended_early,
        aborted: gathered.stopped,
        following: Following::Kept(Box::new(gathered.followed)),
        crowd: None,
        markers: None,
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
    let follower = Follower::start(&ready.target.url);
    let run_tag = run_tag(started);
    let payloads = Payloads::new(scenario.seed, &run_tag, &scenario.mix);
    let stop = Stop::watch();
    let run_id = folder.file_name().unwrap_or_default().to_string_lossy();
    let token = ready.token.take();
    let phases = schedule
        .phases()
        .iter()
        .zip(&scenario.phases)
        .map(|(planned, phase)| (planned.start, phase.name.get_ref().clone()))
        .collect();
    let name = scenario.name.get_ref();
    let mut markers = Markers::start(&ready.target.url, token, &run_id, name, phases);
    let log = folder.join(interval::FILE);
    let plan = Plan {
        scenario,
        schedule,
        payloads: &payloads,
        url: &ready.target.url,
        log: Some(&log),
        part: None,
    };
    let crowd = match &scenario.crowd {
        Some(crowd) => Some(
            Crowd::start(plan.url, crowd.get_ref())
                .await
                .map_err(RunError::Crowd)?,
        ),
        None => None,
    };
    let load = drive(&plan, &stop, |now, recorder| {
        if let Some(progress) = &mut progress.0 {
            progress.load(now, scenario, schedule, recorder, &follower.followed());
        }
        markers.look(now, recorder);
        hopeless(scenario, schedule, recorder, &follower.followed())
    })
    .await?;
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
        ended_early: load.ended_early,
        aborted: stop.reason().map(str::to_owned),
        following: Following::Live(follower),
        markers: Some(markers),
    })
}

/// Waits until everything is recorded, audits, and judges.
async fn conclude(
    options: &Options,
    ready: Ready,
    sent: Sent,
    schedule: &Schedule,
    started: OffsetDateTime,
    folder: &Path,
    progress: &mut Show,
) -> Result<Report, RunError> {
    let scenario = &options.scenario;
    let Ready {
        target,
        stores,
        snapshot_before,
        redis_memory_start_bytes,
        provenance,
        ..
    } = ready;
    let mut recorder = sent.recorder;
    let payloads = Payloads::new(scenario.seed, &sent.run_tag, &scenario.mix);
    let drain_timeout = if sent.aborted.is_some() || sent.ended_early.is_some() {
        DRAIN_ABORTED
    } else {
        scenario.drain_timeout
    };
    progress.doing("waiting until everything is recorded");
    let mut drain = drain(
        &stores,
        sent.clock,
        recorder.last_sent,
        drain_timeout,
        |now, left| progress.draining(now, left),
    )
    .await;
    if !options.merge.is_empty() {
        // It may have been empty long before the shards were joined.
        drain.seconds_to_empty = None;
    }
    let requests = sent.requests.counted().await?;

    progress.doing("auditing every loan");
    let redis_memory_end_bytes = settle_memory(&stores, redis_memory_start_bytes).await;
    let snapshot_after = settle_counters(&target.url).await;
    recorder.finish();
    let requests_unknown = recorder.resent + recorder.total.failed;
    let ledger = std::mem::take(&mut recorder.ledger);
    let counters: Option<(&Counters, &Counters)> = snapshot_after
        .as_ref()
        .map(|after| (&snapshot_before.counters, &after.counters));
    let audited = audit::audit(&Question {
        stores: &stores,
        payloads: &payloads,
        ledger: &ledger,
        clock: sent.clock,
        schedule,
        counters,
        requests_unknown,
        private: target.private,
    })
    .await;
    let audited = match audited {
        Ok(audited) => audited,
        Err(error) => {
            progress.say(&format!("the audit could not be made: {error}"));
            Audited::none(schedule.phases().len())
        }
    };

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
    if let Some(mut log) = recorder.log.take() {
        for (phase, end_to_end) in audited.end_to_end.iter().enumerate() {
            log.end_to_end(phase as u16, end_to_end, schedule.duration());
        }
        log.finish().map_err(|source| RunError::Unwritable {
            path: folder.join(interval::FILE),
            source,
        })?;
    }
    let followed = sent.following.followed();
    drain.backlog_peak = followed.backlog_peak;
    write_histograms(folder, &recorder)?;
    let finished = OffsetDateTime::now_utc();
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
        drain,
        provenance,
        started_at: rfc3339(started),
        finished_at: rfc3339(finished),
        duration: Duration::try_from(finished - started).unwrap_or_default(),
        redis_memory_start_bytes,
        redis_memory_end_bytes,
        service_cpu: snapshot_after
            .as_ref()
            .map(|after| after.process.cpu_seconds - snapshot_before.process.cpu_seconds),
        aborted: sent.aborted.as_deref(),
        ended_early: sent.ended_early.as_deref(),
        held_back: sent.held_back,
        snapshots: snapshot_after
            .as_ref()
            .map(|after| (&snapshot_before, after)),
        requests,
        crowd: sent.crowd,
        external: options.target.is_some(),
    });
    if let Some(markers) = sent.markers {
        markers.end(report.verdict.name()).await;
    }
    Ok(report)
}

/// Sends one shard of a run to a service that runs already, and keeps what was seen. Answers the folder.
///
/// # Errors
/// When the service is not ready for it, or the common start has passed.
pub async fn run_shard(options: Options, part: Part) -> Result<PathBuf, RunError> {
    let scenario = &options.scenario;
    if scenario.crowd.is_some() {
        return Err(RunError::CrowdInShards);
    }
    let name = format!("{}-shard-{}", scenario.name.get_ref(), part.shard.index);
    let folder = make_folder(&options.reports, &name, OffsetDateTime::now_utc())?;
    let mut progress = Show(if options.quiet {
        None
    } else {
        Some(Progress::new())
    });
    let mut ready = make_ready(&options, &mut progress).await?;
    let follower = Follower::start(&ready.target.url);
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let payloads = Payloads::new(scenario.seed, &shared_tag(&part.run_id), &scenario.mix);
    let stop = Stop::watch();
    let log = folder.join(interval::FILE);
    let plan = Plan {
        scenario,
        schedule: &schedule,
        payloads: &payloads,
        url: &ready.target.url,
        log: Some(&log),
        part: Some(&part),
    };
    let mut load = drive(&plan, &stop, |now, recorder| {
        if let Some(progress) = &mut progress.0 {
            progress.load(now, scenario, &schedule, recorder, &follower.followed());
        }
        hopeless(scenario, &schedule, recorder, &follower.followed())
    })
    .await?;
    progress.end();
    let goose = std::mem::replace(&mut load.goose, tokio::spawn(async { Ok(0) }));
    let counted = joined(goose).await?;
    let requests = (counted, load.shared.requests.load(Ordering::Relaxed));
    load.recorder.finish();
    if let Some(log) = load.recorder.log.take() {
        log.finish().map_err(|source| RunError::Unwritable {
            path: folder.join(interval::FILE),
            source,
        })?;
    }
    ready.provenance.generator_priority = load.priority();
    let followed = follower.followed().clone();
    let around = Surroundings {
        followed,
        snapshot_before: ready.snapshot_before,
        redis_memory_start_bytes: ready.redis_memory_start_bytes,
        provenance: ready.provenance,
        stopped: stop.reason(),
    };
    shard::keep(&folder, &part, scenario, &load, requests, around)?;
    Ok(folder)
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

/// Arguments of the service on a private stack, as the scenario sets them.
fn service_arguments(scenario: &Scenario) -> Vec<String> {
    let settings = &scenario.target;
    let mut arguments = vec![format!("--partitions={}", settings.partitions)];
    if let Some(workers_max) = settings.workers_max {
        arguments.push(format!("--workers-max={workers_max}"));
    }
    if let Some(loans_per_worker) = settings.loans_per_worker {
        arguments.push(format!("--loans-per-worker={loans_per_worker}"));
    }
    arguments.extend(settings.service_arguments.iter().cloned());
    arguments
}

/// The stack, where it is, and the token of its administrator.
async fn private_stack(
    options: &Options,
) -> Result<(Target, Option<Stack>, Option<String>), RunError> {
    let token = markers::random_token();
    let service = ServiceOptions {
        binary: options.service_binary.clone(),
        arguments: service_arguments(&options.scenario),
        environment: token
            .iter()
            .map(|token| (markers::TOKEN_VARIABLE.to_owned(), token.clone()))
            .collect(),
        ..ServiceOptions::default()
    };
    let mongodb_database = service.mongodb_database.clone();
    let stack = Stack::start(StackOptions {
        service,
        ..StackOptions::default()
    })
    .await?;
    let target = Target {
        url: stack.service.url(),
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        mongodb_database,
        private: true,
    };
    Ok((target, Some(stack), token))
}

/// The load, sent and answered; goose may still be winding down.
pub(crate) struct Driven {
    pub(crate) recorder: Recorder,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: RunClock,
    goose: Goose,
    /// Why `look` ended the load.
    pub(crate) ended_early: Option<String>,
}

impl Driven {
    /// How the sending thread was scheduled, in words.
    fn priority(&self) -> String {
        let priority = self.shared.priority.get().copied();
        priority.unwrap_or_default().to_string()
    }
}

/// Goose's count of requests, once it has ended.
type Goose = tokio::task::JoinHandle<Result<u64, RunError>>;

/// What is sent where.
struct Plan<'a> {
    scenario: &'a Scenario,
    schedule: &'a Schedule,
    payloads: &'a Payloads,
    url: &'a str,
    /// Where the latencies are kept by second, if anywhere.
    log: Option<&'a Path>,
    /// The share of this generator, when there are several.
    part: Option<&'a Part>,
}

/// Sends the load of a scenario to the service at `url` and returns what was counted, with goose's count of requests
/// and ours. No stores, no audit.
///
/// # Errors
/// When goose cannot start.
pub async fn load_only(scenario: &Scenario, url: &str) -> Result<Loaded, RunError> {
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let payloads = Payloads::new(
        scenario.seed,
        &run_tag(OffsetDateTime::now_utc()),
        &scenario.mix,
    );
    let plan = Plan {
        scenario,
        schedule: &schedule,
        payloads: &payloads,
        url,
        log: None,
        part: None,
    };
    let load = drive(&plan, &Stop::watch(), |_, _| None).await?;
    let goose = joined(load.goose).await?;
    let mut recorder = load.recorder;
    recorder.finish();
    Ok(Loaded {
        recorder,
        requests: (goose, load.shared.requests.load(Ordering::Relaxed)),
    })
}

/// What [`load_only`] counted.
#[derive(Debug)]
pub struct Loaded {
    /// Latencies and counts.
    pub recorder: Recorder,
    /// Requests by goose's count and by ours.
    pub requests: (u64, u64),
}

async fn joined(goose: Goose) -> Result<u64, RunError> {
    goose
        .await
        .map_err(|error| RunError::Goose(error.to_string()))?
}

/// Sends the whole schedule. `look` sees the time since the start and the counts so far, now and then; the load ends
/// when it gives a reason for that.
async fn drive(
    plan: &Plan<'_>,
    stop: &Stop,
    mut look: impl FnMut(Duration, &Recorder) -> Option<String>,
) -> Result<Driven, RunError> {
    let Plan {
        scenario,
        schedule,
        payloads,
        url,
        log,
        part,
    } = *plan;
    let shard = part.map(|part| part.shard);
    let no_thread = |error| RunError::Goose(format!("no thread to send from: {error}"));
    let users_count = scenario.users_count();
    let (due, arrivals) = flume::bounded(WAITING_MAX);
    let shared = Arc::new(Shared::new(
        Asking {
            request_timeout: scenario.target.request_timeout,
            resends: scenario.target.resends,
            users: users_count,
        },
        arrivals,
        Arc::clone(&stop.flag),
    ));
    let prepared = pace::prepare(schedule.clone(), payloads.clone(), shard).map_err(no_thread)?;
    let (start, clock) = tokio::sync::oneshot::channel();
    let told = users::start(url.to_owned(), Arc::clone(&shared), prepared, due, clock)
        .map_err(no_thread)?;
    let goose: Goose = tokio::spawn(async move {
        let counted = told
            .await
            .map_err(|_| RunError::Goose("its thread ended".to_owned()))?;
        Ok(counted?)
    });
    let ready = tokio::time::timeout(READY_TIMEOUT, async {
        while shared.ready.load(Ordering::Acquire) < users_count && !goose.is_finished() {
            tokio::time::sleep(TICK / 10).await;
        }
    });
    if ready.await.is_err() {
        return Err(RunError::Goose(format!(
            "its {users_count} users were not ready within {READY_TIMEOUT:?}"
        )));
    }
    if goose.is_finished() {
        return Err(match joined(goose).await {
            Err(error) => error,
            Ok(_) => RunError::Goose("it ended before the load".to_owned()),
        });
    }

    let mut recorder = Recorder::new(scenario.phases.len(), schedule.arrivals());
    let ours = |slot: &Slot| shard.is_none_or(|shard| shard.holds(slot.number));
    for slot in schedule.slots().filter(ours) {
        recorder.planned(slot.offset);
    }
    for check in &scenario.checks {
        if let (Some(phase), Some(kind)) = (&check.phase, &check.kind)
            && let Some(phase) = scenario.phase(phase.get_ref())
            && let Some(kind) = Kind::parse(kind.get_ref())
        {
            recorder.keep(phase as u16, kind);
        }
    }
    let ahead = match part {
        None => LEAD,
        Some(part) => Duration::try_from(part.start_at - OffsetDateTime::now_utc())
            .map_err(|_| RunError::Late(part.start_at))?,
    };
    let clock = RunClock::starting_in(ahead);
    if let Some(path) = log {
        let names: Vec<&str> = scenario
            .phases
            .iter()
            .map(|phase| phase.name.get_ref().as_str())
            .collect();
        let created = IntervalLog::create(path, clock.wall_us(Duration::ZERO), &names);
        recorder.log = Some(created.map_err(|source| RunError::Unwritable {
            path: path.to_path_buf(),
            source,
        })?);
    }
    shared
        .clock
        .set(clock)
        .expect("the clock is set once, here");
    // When nobody takes it, the sending thread has ended, and the loop below sees that.
    let _ = start.send(clock);
    let mut ended_early = None;
    // The users end by themselves: the pacing ends, and each request has its timeout.
    loop {
        tokio::time::sleep(TICK).await;
        // In this order: what is not open any more has left its note.
        let over = goose.is_finished() || (shared.paced() && shared.open() == 0);
        shared.move_notes_to(&mut recorder);
        if over {
            break;
        }
        if let Some(reason) = look(clock.now(), &recorder) {
            stop.flag.store(true, Ordering::Relaxed);
            ended_early.get_or_insert(reason);
        }
    }
    Ok(Driven {
        recorder,
        shared,
        clock,
        goose,
        ended_early,
    })
}

/// Waits until nothing is left in Redis; tells how many are left.
async fn drain(
    stores: &Stores,
    clock: RunClock,
    last_sent: Duration,
    timeout: Duration,
    mut tell: impl FnMut(Duration, u64),
) -> Drain {
    let deadline = clock.now() + timeout;
    loop {
        // While Redis is away nobody can say that it is empty.
        let left = stores.backlog().await.ok();
        let now = clock.now();
        if left == Some(0) {
            return Drain {
                backlog_peak: None,
                seconds_to_empty: Some(now.saturating_sub(last_sent).as_secs_f64()),
                left_over: Some(0),
            };
        }
        if now >= deadline {
            return Drain {
                backlog_peak: None,
                seconds_to_empty: None,
                left_over: left,
            };
        }
        if let Some(left) = left {
            tell(now, left);
        }
        tokio::time::sleep(DRAIN_TICK).await;
    }
}

/// Redis's memory once it has settled: freed buffers are given back a little later.
async fn settle_memory(stores: &Stores, start_bytes: Option<u64>) -> Option<u64> {
    let start_bytes = start_bytes?;
    let mut lowest: Option<u64> = None;
    let deadline = tokio::time::Instant::now() + MEMORY_SETTLE;
    while tokio::time::Instant::now() < deadline {
        if let Ok(Some(bytes)) = stores.redis_memory_bytes().await {
            lowest = Some(lowest.map_or(bytes, |lowest| lowest.min(bytes)));
            if bytes as f64 <= start_bytes as f64 * MEMORY_SETTLED_RATIO {
                break;
            }
        }
        tokio::time::sleep(TICK).await;
    }
    lowest
}

/// The live metrics once they no longer change.
async fn settle_counters(url: &str) -> Option<Snapshot> {
    let deadline = tokio::time::Instant::now() + COUNTERS_SETTLE;
    let mut last = follow::snapshot(url).await.ok();
    while tokio::time::Instant::now() < deadline {
        // Longer than the service takes between two readings of Redis.
        tokio::time::sleep(TICK * 10).await;
        let next = follow::snapshot(url).await.ok();
        let same = match (&last, &next) {
            (Some(last), Some(next)) => last.counters == next.counters,
            _ => false,
        };
        last = next;
        if same {
            break;
        }
    }
    last
}

/// A stop that was asked for, by Ctrl-C (which goose catches) or by SIGTERM.
struct Stop {
    flag: Arc<AtomicBool>,
    reason: Arc<Mutex<Option<&'static str>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Stop {
    fn watch() -> Self {
        let flag = Arc::new(AtomicBool::new(false));
        let reason = Arc::new(Mutex::new(None));
        let (task_flag, task_reason) = (Arc::clone(&flag), Arc::clone(&reason));
        let task = tokio::spawn(async move {
            let terminate = async {
                match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                    Ok(mut signal) => {
                        signal.recv().await;
                    }
                    Err(_) => std::future::pending().await,
                }
            };
            let why = tokio::select! {
                () = terminate => "SIGTERM",
                () = interrupted() => "Ctrl-C",
            };
            *task_reason
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(why);
            task_flag.store(true, Ordering::Relaxed);
        });
        Self { flag, reason, task }
    }

    fn reason(&self) -> Option<&'static str> {
        *self
            .reason
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for Ctrl-C. Goose catches it, so its switch is what tells.
pub async fn interrupted() {
    while !goose::is_killswitch_triggered() {
        tokio::time::sleep(TICK).await;
    }
}

fn write_histograms(folder: &Path, recorder: &Recorder) -> Result<(), RunError> {
    for (name, histogram) in [
        ("response", &recorder.total.response),
        ("service", &recorder.total.service),
        ("send-lag", &recorder.total.send_lag),
        ("end-to-end", &recorder.total.end_to_end),
    ] {
        let path = folder.join(format!("{name}.hgrm"));
        std::fs::write(&path, hgrm(histogram))
            .map_err(|source| RunError::Unwritable { path, source })?;
    }
    Ok(())
}

/// Makes the run's own folder, which shows early that it can be written.
pub(crate) fn make_folder(
    reports: &Path,
    name: &str,
    started: OffsetDateTime,
) -> Result<PathBuf, RunError> {
    let runs = reports.join("runs");
    let unwritable = |source| RunError::Unwritable {
        path: runs.clone(),
        source,
    };
    std::fs::create_dir_all(&runs).map_err(unwritable)?;
    let time = started
        .format(format_description!(
            "[year][month][day]T[hour][minute][second]Z"
        ))
        .expect("the format has only fields that every date has");
    let mut folder = runs.join(format!("{time}-{name}"));
    for again in 2..100 {
        match std::fs::create_dir(&folder) {
            Ok(()) => break,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                folder = runs.join(format!("{time}-{name}-{again}"));
            }
            Err(error) => return Err(unwritable(error)),
        }
    }
    Ok(folder)
}

pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339)
        .expect("a date of this century has an RFC 3339 form")
}

/// Starts the ids of a run of several generators.
fn shared_tag(run_id: &str) -> String {
    format!("GC-{run_id}")
}

/// Starts the ids of a run: its start in microseconds, so that two runs never share an id.
pub(crate) fn run_tag(started: OffsetDateTime) -> String {
    format!("GC-{:x}", started.unix_timestamp_nanos() / 1000)
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
}
