//! One shard of a run, by itself or conducted from elsewhere.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conduct::link::{Address, Link, LinkError};
use conduct::message::{Assignment, Start};
use drive::error::DriveError;
use drive::load::{Driven, Order, drive, drive_when, joined};
use drive::stop::{self, Stop};
use judge::account::{hopeless, quoted_path};
use observe::drain::drain;
use observe::follow::{self, Follower};
use observe::markers;
use observe::provenance;
use observe::stack::Target;
use plan::payload::Payloads;
use plan::scenario::{Overrides, Scenario};
use plan::schedule::Schedule;
use plan::shard::{Part, Shard};
use record::clock::{RunClock, hold_to, set_ahead_us, steady_us};
use record::folder::{Unwritable, shared_tag, write_whole};
use record::followed::Followed;
use record::interval;
use record::part::{self, Surroundings};
use record::result::run::Provenance;
use time::OffsetDateTime;

use super::conclude::end_samples;
use super::ready::{Ready, make_ready};
use super::watch::Watch;
use super::{Options, RunError, Show, unless_stopped};
use crate::COMMIT;
use crate::commands::begin;
use crate::progress::Progress;

/// The scenario, in the folder of the shard: what `merge` needs beside the parts.
const SCENARIO_FILE: &str = "scenario.toml";
/// How often the conductor's word and the live figures are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How far the live figures may be behind the last loans.
const BEHIND_MS: u64 = 400;

/// Who conducts, and what this shard does with what it sees.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// Where the conductor is.
    pub conductor: Address,
    /// The number that it wants, and how many it believes that there are.
    pub wanted: (Option<u32>, Option<u32>),
    /// How long the conductor may take to be there.
    pub join_within: Duration,
    /// Where reports go: the shard's own folder is made in `runs` below it.
    pub reports: PathBuf,
    /// Whether nothing is shown while it runs.
    pub quiet: bool,
    /// Where every sample is written, if anywhere.
    pub samples: Option<PathBuf>,
}

/// A shard that has sent its part.
#[derive(Debug)]
pub struct Conducted {
    /// Its share.
    pub shard: Shard,
    /// The folder of its part.
    pub folder: PathBuf,
    /// Why the conductor did not take the part, if it did not.
    pub loss: Option<LinkError>,
    /// The command that joins the parts by hand, but for the folders.
    pub merge: String,
    /// What could not be written beside the part, one line each.
    pub warnings: Vec<String>,
}

/// Takes a shard from a conductor, sends it when all are ready, keeps what was seen, and hands it over.
///
/// # Errors
/// When nothing was sent.
pub async fn run_conducted(options: ShardOptions) -> Result<Conducted, RunError> {
    let joining = Link::join(
        options.conductor.clone(),
        options.wanted,
        COMMIT,
        options.join_within,
    );
    let link = stop::unless_asked(joining).await;
    let link = link.ok_or(RunError::Stopped)??;
    let sent = tokio::select! {
        sent = send(&options, &link) => sent,
        never = obey(&link) => match never {},
    };
    if let Err(error) = &sent
        && link.end().is_none()
        && link.loss().is_none()
    {
        tell_of_signal(&link);
        link.failed(&error.to_string()).await;
    }
    sent
}

/// Stops when the conductor says so.
async fn obey(link: &Link) -> Infallible {
    loop {
        if link.end().is_some_and(|end| end.is_stop) {
            stop::ask("the conductor");
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Tells the conductor of a signal that came here.
fn tell_of_signal(link: &Link) {
    if let (Some(who), None) = (stop::asked(), link.end()) {
        link.stopped(who);
    }
}

async fn send(options: &ShardOptions, link: &Link) -> Result<Conducted, RunError> {
    let assignment = link.assignment();
    let shard = assignment.shard;
    let scenario = scenario_of(assignment)?;
    let name = format!("{}-shard-{}", scenario.name.get_ref(), shard.index);
    let folder = begin(&options.reports, &name, OffsetDateTime::now_utc())?;
    let path = folder.join(SCENARIO_FILE);
    write_whole(&path, assignment.scenario.as_bytes()).map_err(|error| Unwritable {
        path: path.clone(),
        error,
    })?;
    let run = Options {
        scenario,
        scenario_path: path.clone(),
        target: Some(target_of(assignment)),
        service_binary: None,
        reports: options.reports.clone(),
        quiet: options.quiet,
        allow: Vec::new(),
        // The conductor looks at them.
        no_stores: true,
        samples: options.samples.clone(),
        otlp: None,
        merge: Vec::new(),
    };
    let merge = merge_command(assignment, &path);
    let part = Part {
        shard,
        run_id: assignment.run_id.clone(),
        start_at: None,
    };
    let mut progress = Show(if options.quiet {
        None
    } else {
        Some(Progress::new())
    });
    progress.say(&format!("shard {shard} of run {}", part.run_id));
    let kept = send_part(&run, link, &part, &folder, &mut progress).await;
    progress.end();
    let warnings = kept?;
    let delivered = unless_stopped(link.deliver(&folder)).await;
    let loss = match delivered {
        Some(Ok(())) => None,
        Some(Err(loss)) => Some(loss),
        None => Some(LinkError::Lost("there was no time left".to_owned())),
    };
    Ok(Conducted {
        shard,
        folder: folder.to_path_buf(),
        loss,
        merge,
        warnings,
    })
}

/// Sends the part and keeps what was seen of it.
async fn send_part(
    run: &Options,
    link: &Link,
    part: &Part,
    folder: &Path,
    progress: &mut Show,
) -> Result<Vec<String>, RunError> {
    let scenario = &run.scenario;
    let ready = unless_stopped(make_ready(run, progress)).await;
    let mut ready = ready.ok_or(RunError::Stopped)??;
    let url = ready.target.url.clone();
    let mut reading = None;
    if !link.assignment().clients_only {
        let known = markers::token_of_environment();
        reading = follow::token_to_read(&ready.target, known.as_deref()).await;
        let snapshot = follow::snapshot(&url, reading.as_deref()).await;
        snapshot.map_err(|source| RunError::Service {
            url: ready.target.shown_url(),
            source,
        })?;
    }
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let payloads = Payloads::new(scenario.seed, &shared_tag(&part.run_id), &scenario.mix);
    let stop = Stop::watch();
    let log = folder.join(interval::FILE);
    let order = Order {
        scenario,
        schedule: &schedule,
        payloads: &payloads,
        url: &url,
        other_urls: &ready.target.other_urls,
        log: Some(&log),
        raw: run.samples.as_deref(),
        part: Some(part),
    };
    let (refused, begun) = (OnceLock::new(), OnceLock::new());
    let start_in = async {
        let told = stop::unless_asked(link.ready()).await;
        let start_in = told.ok_or(DriveError::Stopped)?.and_then(|start| {
            // From here on all instants are by the conductor's clock.
            hold_to(link.clock_ahead_us());
            let ahead_us = u64::try_from(start.at_us.saturating_sub(steady_us()));
            let ahead = ahead_us.map_err(|_| LinkError::Late)?;
            let _ = begun.set((start, Follower::start(&url, reading.as_deref())));
            Ok(Duration::from_micros(ahead))
        });
        start_in.map_err(|error| {
            let _ = refused.set(error);
            DriveError::Stopped
        })
    };
    let nothing = Followed::default();
    let load = drive_when(&order, &stop, start_in, |now, recorder| {
        let followed = begun.get().map(|(_, follower)| follower.followed());
        let followed = followed.as_deref().unwrap_or(&nothing);
        if let Some(progress) = &mut progress.0 {
            progress.load(now, scenario, &schedule, recorder, followed);
        }
        link.tell(now, recorder);
        tell_of_signal(link);
        match link.end() {
            Some(end) => (!end.is_stop).then_some(end.why),
            None => {
                hopeless(scenario, &schedule, recorder, followed).inspect(|why| link.hopeless(why))
            }
        }
    })
    .await;
    let load = match (load, refused.into_inner()) {
        (Err(_), Some(refused)) => return Err(refused.into()),
        (load, _) => load?,
    };
    tell_of_signal(link);
    link.sent();
    let Some((start, follower)) = begun.into_inner() else {
        return Err(RunError::Stopped);
    };
    progress.doing("waiting until everything is recorded");
    let empty_at = if load.ended_early.is_none() && stop::asked().is_none() {
        let watching = empty_at(&follower, load.clock, scenario.drain_timeout);
        unless_stopped(watching).await.flatten()
    } else {
        None
    };
    take_over(&mut ready, start);
    let followed = follower.followed().clone();
    keep_part(folder, (scenario, part), load, ready, followed, empty_at).await
}

/// The scenario that the conductor hands out.
fn scenario_of(assignment: &Assignment) -> Result<Scenario, RunError> {
    let foreign = |what: String| RunError::Foreign(what);
    if provenance::sha256(assignment.scenario.as_bytes()) != assignment.scenario_sha256 {
        return Err(foreign("it is not what the conductor has".to_owned()));
    }
    let overrides = Overrides {
        seed: assignment.seed,
        duration: assignment.duration,
        held: None,
    };
    let path = Path::new(&assignment.scenario_path);
    let mut scenario = Scenario::parse_with(&assignment.scenario, path, overrides)
        .map_err(|error| foreign(error.to_string()))?;
    if assignment.clients_only {
        scenario.keep_checks_of_clients();
    }
    Ok(scenario)
}

fn target_of(assignment: &Assignment) -> Target {
    let mut urls = assignment.urls.iter().cloned();
    Target {
        url: urls.next().unwrap_or_default(),
        other_urls: urls.collect(),
        redis_url: String::new(),
        mongodb_uri: String::new(),
        mongodb_database: String::new(),
        private: false,
    }
}

/// What joins the parts by hand, but for the folders.
fn merge_command(assignment: &Assignment, scenario: &Path) -> String {
    let overrides = Overrides {
        seed: assignment.seed,
        duration: assignment.duration,
        held: None,
    };
    let scenario = quoted_path(scenario);
    let mut words = vec![format!("loadgen merge {scenario}")];
    words.extend(overrides.seed.map(|seed| format!("--seed {seed}")));
    words.extend(overrides.flags());
    words.push("--target ... --redis ... --mongodb ... --shards".to_owned());
    words.join(" ")
}

/// What the conductor knows of the service stands in the part, as if this shard had looked at the stores itself.
fn take_over(ready: &mut Ready, start: Start) {
    let theirs = *start.provenance;
    let ours = std::mem::take(&mut ready.provenance);
    ready.snapshot_before = start.snapshot_before;
    ready.redis_memory_start_bytes = start.redis_memory_start_bytes;
    ready.provenance = Provenance {
        git_commit: ours.git_commit,
        dirty: ours.dirty,
        loadgen_sha256: ours.loadgen_sha256,
        loadgen_version: ours.loadgen_version,
        cpu: ours.cpu,
        cores: ours.cores,
        cpu_governor: ours.cpu_governor,
        memory_bytes: ours.memory_bytes,
        kernel: ours.kernel,
        load_average_before: ours.load_average_before,
        self_test: ours.self_test,
        ..theirs
    };
}

/// When the service's live figures first said that nothing is left, after the start of the load. Nothing when they did not
/// within `within`, or are not there.
async fn empty_at(follower: &Follower, clock: RunClock, within: Duration) -> Option<Duration> {
    let sent_at = clock.now();
    let last = |followed: &Followed| followed.latest.as_ref().map(|snapshot| snapshot.at_ms);
    let before = last(&follower.followed())?;
    while clock.now() < sent_at + within {
        tokio::time::sleep(TICK).await;
        let followed = follower.followed();
        let Some(latest) = &followed.latest else {
            continue;
        };
        let gauges = &latest.gauges;
        // One that was on its way already does not know the last loans.
        if latest.at_ms > before + BEHIND_MS
            && gauges.queue_depth + gauges.in_flight + gauges.unrecorded == 0
        {
            return Some(clock.now());
        }
    }
    None
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
    if let Some(stores) = &ready.stores
        && stores.has_records_of(&payloads.prefix()).await?
    {
        return Err(RunError::UsedBefore(part.run_id.clone()));
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
