//! The load of a run, sent by several generators that are conducted from here.
//!
//! Shards come and get their numbers; when all are ready the service is looked at once more and the start is set; their sum is
//! shown while they send; what they saw is taken and joined. From there on it is a run like any other.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use conduct::conductor::{Conductor, LEAD, News, Terms};
use conduct::live::Live;
use conduct::message::{Assignment, Start};
use conduct::server::{Desk, Server};
use drive::{files, stop};
use judge::account::{Generators, hopeless};
use observe::drain::drain;
use observe::follow;
use observe::provenance;
use plan::scenario::Scenario;
use plan::schedule::Schedule;
use plan::shard::Shard;
use record::clock::RunClock;
use record::folder::{run_tag, shared_tag};
use record::interval;
use record::number::{counted, seconds};
use record::part::{self, Gathered, MergeError};
use record::result::run::{Drain, Provenance};
use time::OffsetDateTime;

use super::ready::{Ready, now_ms};
use super::watch::Watch;
use super::{Allowed, Options, Requests, RunError, Sent, Show, Watched, unless_stopped};
use crate::COMMIT;

/// How often the shards are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How far the sum that is shown is behind the shards.
const BEHIND: Duration = Duration::from_secs(1);
/// How long the shards may take to hear that nothing will be sent.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// How long the parts may take to come, once a stop was asked for here.
const STOPPED_WITHIN: Duration = Duration::from_secs(8);
/// How long a shard may take to hand over its part, beyond the waits that the scenario names.
const DELIVER_WITHIN: Duration = Duration::from_secs(60);

/// Who sends, and where they find the conductor.
#[derive(Debug)]
pub struct Conducting {
    /// How many generators.
    pub shards: u32,
    /// Where they find the conductor.
    pub door: TcpListener,
    /// What they must bring.
    pub token: Option<String>,
    /// How long they may take until all are ready.
    pub join_within: Duration,
}

/// Has the load of a run sent by its shards, and joins what they saw.
///
/// # Errors
/// When nothing was sent, or nothing of it is left.
pub(super) async fn conduct(
    conducting: &Conducting,
    (options, schedule, folder): (&Options, &Schedule, &Path),
    started: OffsetDateTime,
    ready: &mut Ready,
    progress: &mut Show,
) -> Result<Sent, RunError> {
    let scenario = &options.scenario;
    if scenario.crowd.is_some() {
        return Err(RunError::CrowdInShards);
    }
    // Each shard has two connections, and its log is open while all are joined.
    files::allow();
    let run_tag = run_tag(started);
    let run_id = run_tag
        .strip_prefix(&shared_tag(""))
        .unwrap_or(&run_tag)
        .to_owned();
    let server = open(conducting, options, ready, schedule, (folder, &run_id))?;
    progress.say(&format!(
        "waiting for {}: loadgen run --conductor http://{}",
        counted(conducting.shards.into(), "shard"),
        reached_at(server.address())
    ));
    wait_until_ready(&server, progress).await?;
    let begun = begin(options, &server, ready).await;
    let clock = match begun {
        Ok(clock) => clock,
        Err(error) => {
            call_off(&server, &error.to_string()).await;
            return Err(error);
        }
    };
    progress.say(&format!(
        "all are ready; the load starts in {}",
        seconds(LEAD.as_secs_f64())
    ));

    let mut watch = Watch::of_run(options, ready, schedule, folder);
    let mut summed = Duration::ZERO;
    loop {
        tokio::time::sleep(TICK).await;
        let at = clock.now();
        let mut desk = server.desk();
        let desk = &mut *desk;
        look_after(desk, progress);
        if at >= summed + BEHIND {
            summed = at;
            desk.live.sum();
        }
        let recorder = desk.live.summed();
        if let Some(progress) = &mut progress.0 {
            let shown = at.saturating_sub(BEHIND);
            progress.load(shown, scenario, schedule, recorder, &watch.followed());
        }
        watch.look(at, recorder);
        if let Some(why) = hopeless(scenario, schedule, recorder, &watch.followed()) {
            let now = desk.now();
            desk.conductor.end_early(now, &why);
        }
        if desk.conductor.is_load_over() || is_given_up() {
            desk.live.sum();
            watch.last(at, desk.live.summed());
            break;
        }
    }

    progress.doing("waiting until everything is recorded, and for what the shards saw");
    let prefix = shared_tag(&run_id) + "-";
    let drained = drained(scenario, &server, ready, clock, &prefix, progress).await;
    let (mut gathered, folders) = match gather(options, &server, schedule) {
        Err(RunError::Stopped) => {
            let sent = without_parts(&server, ready, clock, run_tag, watch, schedule);
            return Ok(sent);
        }
        gathered => gathered?,
    };
    let log = folder.join(interval::FILE);
    let warning = gathered.join_latencies(&folders, &log, scenario, schedule);
    let desk = server.desk();
    let conductor = &desk.conductor;
    let ended = conductor.ended();
    let last_sent = gathered.recorder.total.last_sent;
    let (goose, ours) = gathered.requests;
    ready.provenance = Provenance {
        generators: conducting.shards,
        ..gathered.provenance
    };
    let stopped = ended.and_then(|(_, end)| end.is_stop.then(|| end.why.clone()));
    let ended_early = ended.and_then(|(_, end)| (!end.is_stop).then(|| end.why.clone()));
    Ok(Sent {
        run_tag,
        clock,
        recorder: gathered.recorder,
        requests: Requests::Known(goose, ours),
        held_back: gathered.held_back,
        users: gathered.users,
        // They went on sending until they heard of the end.
        reached: conductor
            .ran_for()
            .map(|ran_for| ran_for.max(last_sent).min(schedule.duration())),
        set_ahead_us: gathered.set_ahead_us,
        empty_at: None,
        loadgen_rss_bytes_peak: gathered.loadgen_rss_bytes_peak,
        ended_early: ended_early.or(gathered.ended_early),
        aborted: stop::asked()
            .map(str::to_owned)
            .or(stopped)
            .or(gathered.stopped),
        watched: Watched::Live(Box::new(watch)),
        crowd: None,
        drained: drained.map(|drained| Drain {
            seconds_to_empty: drained
                .seconds_to_empty
                .map(|at| (at - last_sent.as_secs_f64()).max(0.0)),
            ..drained
        }),
        generators: Generators {
            doubts: [conductor.doubts(), gathered.doubts].concat(),
            notes: conductor.notes(),
        },
        warnings: warning.into_iter().collect(),
    })
}

/// A load that was stopped before a part of it came: what the shards had told until then.
fn without_parts(
    server: &Server,
    ready: &mut Ready,
    clock: RunClock,
    run_tag: String,
    watch: Watch,
    schedule: &Schedule,
) -> Sent {
    let mut desk = server.desk();
    let recorder = desk.live.take_without_parts(schedule.arrivals());
    let conductor = &desk.conductor;
    ready.provenance.generators = conductor.count();
    let sent = recorder.total.sent;
    let stopped = conductor.ended().map(|(_, end)| end.why.clone());
    Sent {
        run_tag,
        clock,
        recorder,
        requests: Requests::Known(sent, sent),
        held_back: 0,
        users: 0,
        reached: conductor.ran_for(),
        set_ahead_us: 0,
        empty_at: None,
        loadgen_rss_bytes_peak: None,
        ended_early: None,
        aborted: stop::asked().map(str::to_owned).or(stopped),
        watched: Watched::Live(Box::new(watch)),
        crowd: None,
        drained: None,
        generators: Generators {
            doubts: conductor.doubts(),
            notes: vec![
                "No part of the load came before the end: its figures are what the generators had told until then.".to_owned(),
            ],
        },
        warnings: Vec::new(),
    }
}

/// Opens the door to the shards.
fn open(
    conducting: &Conducting,
    options: &Options,
    ready: &Ready,
    schedule: &Schedule,
    (folder, run_id): (&Path, &str),
) -> Result<Server, RunError> {
    let scenario = &options.scenario;
    let waits = scenario.target.request_timeout * (scenario.target.resends + 1);
    let terms = Terms {
        count: conducting.shards,
        join_within: conducting.join_within,
        length: schedule.duration(),
        deliver_within: waits + scenario.drain_timeout + DELIVER_WITHIN,
        commit: COMMIT.to_owned(),
        is_other_commit_allowed: options.allow.contains(&Allowed::OtherCommit),
    };
    let longest = terms.length + terms.deliver_within;
    let phases = scenario.phases.len() as u16;
    let live = Live::new(terms.count, phases, longest.as_secs() as u32);
    let target = &ready.target;
    let assignment = Assignment {
        shard: Shard {
            index: 1,
            count: terms.count,
        },
        run_id: run_id.to_owned(),
        scenario: scenario.source.clone(),
        scenario_path: options.scenario_path.display().to_string(),
        scenario_sha256: provenance::sha256(scenario.source.as_bytes()),
        seed: scenario.overrides.seed,
        duration: scenario.overrides.duration,
        urls: std::iter::once(&target.url)
            .chain(&target.other_urls)
            .cloned()
            .collect(),
        clients_only: options.no_stores,
    };
    let desk = Desk::new(Conductor::new(terms), live, assignment, folder.to_owned());
    let door = conducting.door.try_clone();
    door.and_then(|door| Server::start(door, desk, conducting.token.clone()))
        .map_err(RunError::Door)
}

/// The address as others are to name it.
fn reached_at(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("THIS-MACHINE:{}", address.port())
    } else {
        address.to_string()
    }
}

/// Lets time pass for the conductor, and says what has happened.
fn look_after(desk: &mut Desk, progress: &Show) {
    let now = desk.now();
    if let Some(who) = stop::asked() {
        desk.conductor.stop(now, who);
    }
    desk.conductor.tick(now);
    for news in desk.conductor.take_news() {
        progress.say(&match news {
            News::Joined(shard) => format!("shard {shard} is here"),
            News::Gone(shard) => format!("shard {shard} is gone; its place is free"),
            News::Ending(why) => format!("the run ends early: {why}"),
        });
    }
}

/// Whether whoever asked for a stop has waited long enough for the shards.
fn is_given_up() -> bool {
    stop::is_hurried() || stop::asked_for().is_some_and(|ago| ago > STOPPED_WITHIN)
}

/// Waits until all shards are ready.
async fn wait_until_ready(server: &Server, progress: &Show) -> Result<(), RunError> {
    loop {
        let mut ended = None;
        {
            let mut desk = server.desk();
            look_after(&mut desk, progress);
            if desk.conductor.is_ready() {
                return Ok(());
            }
            if let Some((_, end)) = desk.conductor.ended() {
                ended = Some((end.is_stop, desk.conductor.doubts()));
            }
        }
        if let Some((is_stop, doubts)) = ended {
            tell_all(server).await;
            return Err(if is_stop {
                RunError::Stopped
            } else {
                RunError::CalledOff(doubts)
            });
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Waits a little until every shard that is there knows the end.
async fn tell_all(server: &Server) {
    let told = async {
        while !server.desk().conductor.is_over() {
            tokio::time::sleep(TICK).await;
        }
    };
    let _ = tokio::time::timeout(TOLD_WITHIN, told).await;
}

async fn call_off(server: &Server, why: &str) {
    {
        let mut desk = server.desk();
        let now = desk.now();
        desk.conductor.end_early(now, why);
    }
    tell_all(server).await;
}

/// Looks at the service once more, for the shards may have taken long to come, and sets the start.
async fn begin(
    options: &Options,
    server: &Server,
    ready: &mut Ready,
) -> Result<RunClock, RunError> {
    let url = &ready.target.url;
    if let Some(stores) = &ready.stores {
        let snapshot = follow::snapshot(url, ready.reading.as_deref()).await;
        ready.snapshot_before = snapshot.map_err(|source| RunError::Service {
            url: ready.target.shown_url(),
            source,
        })?;
        ready.snapshot_before_ms = now_ms();
        ready.redis_memory_start_bytes = stores.redis_memory_bytes().await?;
        ready.records_before = stores.records_estimated().await.ok();
    } else if options.no_stores {
        ready.snapshot_before = follow::snapshot(url, None).await.unwrap_or_default();
        ready.snapshot_before_ms = now_ms();
    }
    if ready.snapshot_before.gauges.paused {
        return Err(RunError::Paused(ready.target.shown_url()));
    }
    let clock = RunClock::starting_in(LEAD);
    let mut desk = server.desk();
    let start_at = desk.now() + clock.until(Duration::ZERO);
    let start = Start {
        at_us: clock.wall_us(Duration::ZERO),
        snapshot_before: ready.snapshot_before.clone(),
        redis_memory_start_bytes: ready.redis_memory_start_bytes,
        provenance: Box::new(ready.provenance.clone()),
    };
    desk.conductor.start(start_at, start);
    Ok(clock)
}

/// Waits for the parts, and until everything is recorded; tells when it was, in seconds after the start of the load. Nothing of
/// a run that ends early.
async fn drained(
    scenario: &Scenario,
    server: &Server,
    ready: &Ready,
    clock: RunClock,
    prefix: &str,
    progress: &mut Show,
) -> Option<Drain> {
    let is_whole = server.desk().conductor.ended().is_none();
    let parts = async {
        let quiet = Show(None);
        loop {
            {
                let mut desk = server.desk();
                look_after(&mut desk, &quiet);
                if desk.conductor.is_over() || is_given_up() {
                    return;
                }
            }
            tokio::time::sleep(TICK).await;
        }
    };
    let draining = async {
        let stores = ready.stores.as_ref().filter(|_| is_whole)?;
        let ours = (!ready.target.private).then_some(prefix);
        let timeout = scenario.drain_timeout;
        let draining = drain(stores, ours, clock, Duration::ZERO, timeout, |now, left| {
            progress.draining(now, left);
        });
        unless_stopped(draining).await
    };
    tokio::join!(parts, draining).1
}

/// Joins the parts that came, and tells where they are. One that cannot be read is as good as lost.
fn gather(
    options: &Options,
    server: &Server,
    schedule: &Schedule,
) -> Result<(Gathered, Vec<PathBuf>), RunError> {
    let scenario = &options.scenario;
    let sha256 = provenance::sha256(scenario.source.as_bytes());
    let mut desk = server.desk();
    loop {
        let delivered = desk.conductor.delivered();
        let missing = desk.conductor.undelivered();
        let folders: Vec<PathBuf> = delivered.iter().map(|n| desk.folder_of(*n)).collect();
        if folders.is_empty() {
            let is_stopped = desk.conductor.ended().is_some_and(|(_, end)| end.is_stop);
            return Err(if is_stopped {
                RunError::Stopped
            } else {
                RunError::CalledOff(desk.conductor.doubts())
            });
        }
        match part::gather_without(&missing, &folders, scenario, &sha256, schedule) {
            Ok(gathered) => return Ok((gathered, folders)),
            Err(MergeError::Folder { folder, what }) => {
                let at = folders.iter().position(|known| *known == folder);
                match at {
                    Some(at) => desk.conductor.is_broken(delivered[at], &what),
                    None => return Err(MergeError::Folder { folder, what }.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}
