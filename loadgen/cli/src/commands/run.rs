//! One load run from its start to its report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drive::crowd::Crowd;
use drive::error::DriveError;
use drive::handover::Shared;
use drive::load::{Goose, Order, drive, joined};
use drive::stop::Stop;
use judge::account::{Account, account, hopeless};
use judge::audit::Audited;
use observe::address;
use observe::drain::{drain, settle_counters, settle_memory};
use observe::follow::{self, Follower, SnapshotError};
use observe::markers::{self, Markers};
use observe::provenance;
use observe::stack::{Target, private_stack, service_arguments};
use observe::stores::{RedisFacts, StoreError, Stores};
use plan::payload::Payloads;
use plan::scenario::Scenario;
use plan::schedule::Schedule;
use plan::shard::Part;
use record::clock::RunClock;
use record::folder::{Unwritable, make_folder, rfc3339, run_tag, shared_tag};
use record::followed::Followed;
use record::interval;
use record::latencies::hgrm;
use record::part::{self, MergeError, Surroundings};
use record::recorder::Recorder;
use record::result::run::{CrowdReport, Provenance, Report};
use report::ReportError;
use snapshot::{Counters, Snapshot};
use testbed::{Deployment, TestbedError};
use time::OffsetDateTime;

use crate::COMMIT;
use crate::audit::{self, Question};
use crate::progress::Progress;

/// The drain of a run that was stopped.
const DRAIN_ABORTED: Duration = Duration::from_secs(5);

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
    stack: Option<Deployment>,
    stores: Stores,
    snapshot_before: Snapshot,
    redis_memory_start_bytes: Option<u64>,
    provenance: Provenance,
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
    let mut provenance = provenance::gather(COMMIT);
    let (target, stack, token) = if let Some(target) = &options.target {
        (target.clone(), None, markers::token_of_environment())
    } else {
        progress.doing("starting Redis, mongod and the service");
        provenance.service_arguments = service_arguments(scenario);
        let (target, stack, token) =
            private_stack(scenario, options.service_binary.clone()).await?;
        (target, Some(stack), token)
    };
    let stores = connect(&target).await?;
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
    provenance.self_test = provenance::self_test(&options.reports, &provenance.loadgen_sha256);
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
) -> Result<(Report, Option<Deployment>), RunError> {
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
    let gathered = part::gather(
        &options.merge,
        &options.scenario,
        &provenance::sha256(options.scenario.source.as_bytes()),
        schedule,
    )?;
    let ready = Ready {
        target: target.clone(),
        token: None,
        stack: None,
        stores: connect(target).await?,
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
    let order = Order {
        scenario,
        schedule,
        payloads: &payloads,
        url: &ready.target.url,
        other_urls: &ready.target.other_urls,
        log: Some(&log),
        part: None,
    };
    let crowd = match &scenario.crowd {
        Some(crowd) => {
            let nowhere = || RunError::Crowd(std::io::ErrorKind::NotFound.into());
            let address = address::resolve(order.url).await.ok_or_else(nowhere)?;
            Some(Crowd::start(address, crowd.get_ref()).map_err(RunError::Crowd)?)
        }
        None => None,
    };
    let load = drive(&order, &stop, |now, recorder| {
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
        log.finish().map_err(|source| Unwritable {
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
        loadgen_rss_bytes_peak: provenance::rss_bytes_peak(),
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
    let order = Order {
        scenario,
        schedule: &schedule,
        payloads: &payloads,
        url: &ready.target.url,
        other_urls: &ready.target.other_urls,
        log: Some(&log),
        part: Some(&part),
    };
    let mut load = drive(&order, &stop, |now, recorder| {
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
        log.finish().map_err(|source| Unwritable {
            path: folder.join(interval::FILE),
            source,
        })?;
    }
    ready.provenance.generator_priority = load.priority();
    let followed = follower.followed().clone();
    let around = Surroundings {
        clock: load.clock,
        held_back: load.shared.held_back.load(Ordering::Relaxed),
        requests,
        ended_early: load.ended_early,
        followed,
        snapshot_before: ready.snapshot_before,
        redis_memory_start_bytes: ready.redis_memory_start_bytes,
        provenance: ready.provenance,
        stopped: stop.reason(),
    };
    part::keep(&folder, &part, scenario, &load.recorder, around)?;
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

fn write_histograms(folder: &Path, recorder: &Recorder) -> Result<(), RunError> {
    for (name, histogram) in [
        ("response", &recorder.total.response),
        ("service", &recorder.total.service),
        ("send-lag", &recorder.total.send_lag),
        ("end-to-end", &recorder.total.end_to_end),
    ] {
        let path = folder.join(format!("{name}.hgrm"));
        std::fs::write(&path, hgrm(histogram)).map_err(|source| Unwritable { path, source })?;
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
}
