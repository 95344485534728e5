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
use drive::load::{Goose, Order, drive, joined};
use drive::stop::{self, Stop};
use judge::account::{Account, Generators, PRIVATE, account, hopeless};
use judge::audit::Audited;
use observe::follow::{self, SnapshotError};
use observe::markers;
use observe::proof::{ProofError, belong_together, taken_back};
use observe::provenance;
use observe::stack::{Target, service_arguments};
use observe::stores::StoreError;
use plan::payload::Payloads;
use plan::scenario::Scenario;
use plan::schedule::Schedule;
use record::clock::{RunClock, set_ahead_us};
use record::folder::{Unwritable, rfc3339, run_tag, shared_tag};
use record::followed::Followed;
use record::interval;
use record::part::{self, MergeError};
use record::recorder::Recorder;
use record::result::run::{CrowdReport, Drain, Provenance, Report, Verdict};
use record::sample::Answer;
use report::ReportError;
use testbed::service::SERVICE_VARIABLE;
use testbed::{Deployment, TestbedError};
use time::OffsetDateTime;
use url::Url;

use crate::COMMIT;
use crate::commands::begin;
use crate::progress::Progress;

mod conclude;
pub mod conductor;
mod ready;
pub mod shard;
mod watch;

use conclude::conclude;
use ready::{Ready, connect, make_ready};
use watch::Watch;

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
    /// The shards of a run sent to a service of another database.
    #[error(
        "the shards sent to a service of the database {theirs}, not of {given}: give --mongodb-database {theirs}"
    )]
    OtherDatabase {
        /// Theirs.
        theirs: String,
        /// The one that is named now.
        given: String,
    },
    /// No service proves that the stores are those of the run, and they hold nothing of it.
    #[error(
        "nothing of the run {run_id} is in these stores, though {acknowledged} of its arrivals were acknowledged, and no service proves that they are the run's: check --redis, --mongodb and --mongodb-database"
    )]
    NothingOfIt {
        /// The run.
        run_id: String,
        /// Arrivals whose answer promised the loan.
        acknowledged: u64,
    },
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
        provenance.service_binary = std::env::var(SERVICE_VARIABLE).unwrap_or_default();
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
            () = stop::wait() => {
                taken_back().await;
                return Err(RunError::Stopped);
            }
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
    let theirs = &gathered.provenance.mongodb_database;
    if !theirs.is_empty() && *theirs != target.mongodb_database {
        return Err(RunError::OtherDatabase {
            theirs: theirs.clone(),
            given: target.mongodb_database.clone(),
        });
    }
    let stores = connect(target).await?;
    let known = markers::token_of_environment();
    let reading = follow::token_to_read(target, known.as_deref()).await;
    let mut is_proven = target.private;
    if !target.private {
        for instance in target.each() {
            let snapshot = match follow::snapshot(&instance.url, reading.as_deref()).await {
                Err(source @ SnapshotError::Token) => {
                    let url = instance.shown_url();
                    return Err(RunError::Service { url, source });
                }
                // One that is gone by now proves nothing; its loans are looked for all the same.
                asked => asked.unwrap_or_default(),
            };
            let token = reading.as_deref();
            is_proven |= belong_together(&instance, token, &snapshot, &stores).await?;
        }
    }
    let acknowledged = acknowledged(&gathered.recorder);
    if !is_proven && acknowledged > 0 {
        let prefix = shared_tag(&gathered.run_id) + "-";
        if !stores.has_records_of(&prefix).await? && stores.backlog_of(&prefix).await? == 0 {
            return Err(RunError::NothingOfIt {
                run_id: gathered.run_id,
                acknowledged,
            });
        }
    }
    let log = folder.join(interval::FILE);
    // The logs of all are open at once.
    files::allow();
    let warning = gathered.join_latencies(&options.merge, &log, &options.scenario, schedule);
    let ready = Ready {
        target: target.clone(),
        token: None,
        reading,
        stack: None,
        stores: Some(stores),
        snapshot_before: gathered.snapshot_before,
        snapshot_before_ms: 0,
        builds: Vec::new(),
        redis_memory_start_bytes: gathered.redis_memory_start_bytes,
        // The shards began at different instants: others' records cannot be told by their number.
        records_before: None,
        provenance: Provenance {
            generators: options.merge.len() as u32,
            mongodb_database: target.mongodb_database.clone(),
            ..gathered.provenance
        },
    };
    let (goose, ours) = gathered.requests;
    // Those of a run that ended before its time came as far as they sent.
    let last_sent = gathered.recorder.total.last_sent;
    let is_cut = gathered.stopped.is_some() || gathered.ended_early.is_some();
    let reached = (is_cut && last_sent < schedule.duration()).then_some(last_sent);
    let sent = Sent {
        run_tag: shared_tag(&gathered.run_id),
        clock: gathered.clock,
        recorder: gathered.recorder,
        requests: Requests::Known(goose, ours),
        held_back: gathered.held_back,
        users: gathered.users,
        reached,
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

/// Arrivals whose answer promised the loan.
fn acknowledged(recorder: &Recorder) -> u64 {
    let promised = |answer: &Answer| matches!(answer, Answer::Queued | Answer::Replayed);
    recorder
        .answers
        .values()
        .flatten()
        .filter_map(|(answer, count)| promised(answer).then_some(*count))
        .sum()
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
        () = patience => {
            // It may have been the proof, with a marker out.
            taken_back().await;
            None
        }
    }
}
