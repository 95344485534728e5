//! The whole schedule, sent.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plan::kind::Kind;
use plan::payload::Payloads;
use plan::scenario::Scenario;
use plan::schedule::{Schedule, Slot};
use plan::shard::Part;
use record::clock::RunClock;
use record::folder::{Unwritable, run_tag};
use record::interval::IntervalLog;
use record::raw::RawLog;
use record::recorder::Recorder;
use reqwest::Url;
use time::OffsetDateTime;

use crate::due;
use crate::error::DriveError;
use crate::handover::{Asking, Shared};
use crate::stop::{Stop, asked};
use crate::{files, pace, users};

/// From the moment that all users are ready to the start of the load.
const LEAD: Duration = Duration::from_millis(200);
/// How long goose may take to start its users.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long answers are waited for once a stop was asked for.
const STOPPED_WITHIN: Duration = Duration::from_secs(3);
/// How often the load is looked at.
const TICK: Duration = Duration::from_millis(100);

/// The load, sent and answered; goose may still be winding down.
#[expect(missing_docs, reason = "each field is named after its type")]
pub struct Driven {
    pub recorder: Recorder,
    pub shared: Arc<Shared>,
    pub clock: RunClock,
    pub goose: Goose,
    /// Why `look` ended the load.
    pub ended_early: Option<String>,
    /// Users, the most requests in flight.
    pub users: usize,
    /// How far the load came, when it was ended before its end.
    pub reached: Option<Duration>,
}

impl Driven {
    /// How the sending thread was scheduled, in words.
    pub fn priority(&self) -> String {
        let priority = self.shared.priority.get().copied();
        priority.unwrap_or_default().to_string()
    }
}

/// Goose's count of requests, once it has ended.
pub type Goose = tokio::task::JoinHandle<Result<u64, DriveError>>;

/// What is sent where.
#[expect(missing_docs, reason = "each field is named after its type")]
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub scenario: &'a Scenario,
    pub schedule: &'a Schedule,
    pub payloads: &'a Payloads,
    pub url: &'a str,
    /// Further instances, to which the load goes too.
    pub other_urls: &'a [String],
    /// Where the latencies are kept by second, if anywhere.
    pub log: Option<&'a Path>,
    /// Where every sample is kept, if anywhere.
    pub raw: Option<&'a Path>,
    /// The share of this generator, when there are several.
    pub part: Option<&'a Part>,
}

/// Sends the load of a scenario to the service at `url` and returns what was counted, with goose's count of requests
/// and ours. No stores, no audit.
///
/// # Errors
/// When goose cannot start.
pub async fn load_only(scenario: &Scenario, url: &str) -> Result<Loaded, DriveError> {
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let payloads = Payloads::new(
        scenario.seed,
        &run_tag(OffsetDateTime::now_utc()),
        &scenario.mix,
    );
    let plan = Order {
        scenario,
        schedule: &schedule,
        payloads: &payloads,
        url,
        other_urls: &[],
        log: None,
        raw: None,
        part: None,
    };
    let stop = Stop::watch();
    let load = drive(&plan, &stop, |_, _| None).await?;
    let ours = load.shared.requests.load(Ordering::Relaxed);
    let goose = match asked() {
        None => joined(load.goose).await?,
        // Goose would wait for the last answer.
        Some(_) => ours,
    };
    let mut recorder = load.recorder;
    recorder.finish();
    Ok(Loaded {
        recorder,
        payloads,
        reached: load.reached,
        requests: (goose, ours),
        stopped: asked(),
    })
}

/// What [`load_only`] counted.
#[derive(Debug)]
pub struct Loaded {
    /// Latencies and counts.
    pub recorder: Recorder,
    /// What was sent.
    pub payloads: Payloads,
    /// How far the load came, when it was ended before its end.
    pub reached: Option<Duration>,
    /// Requests by goose's count and by ours.
    pub requests: (u64, u64),
    /// Why it was stopped before its end, if it was.
    pub stopped: Option<&'static str>,
}

/// Waits until goose has ended.
///
/// # Errors
/// What goose refused.
pub async fn joined(goose: Goose) -> Result<u64, DriveError> {
    goose
        .await
        .map_err(|error| DriveError::Goose(error.to_string()))?
}

/// Sends the whole schedule. `look` sees the time since the start and the counts so far, now and then; the load ends
/// when it gives a reason for that.
///
/// # Errors
/// When goose cannot start, the common start has passed, or the latencies cannot be kept.
pub async fn drive(
    plan: &Order<'_>,
    stop: &Stop,
    look: impl FnMut(Duration, &Recorder) -> Option<String>,
) -> Result<Driven, DriveError> {
    let start = async {
        match plan.part.and_then(|part| part.start_at) {
            None => Ok(LEAD),
            Some(start_at) => Duration::try_from(start_at - OffsetDateTime::now_utc())
                .map_err(|_| DriveError::Late(start_at)),
        }
    };
    drive_when(plan, stop, start, look).await
}

/// As [`drive`]; once all users are ready `start_in` is waited for, which says how long it is from then to the start of the load.
///
/// # Errors
/// As [`drive`], and what `start_in` says.
pub async fn drive_when(
    plan: &Order<'_>,
    stop: &Stop,
    start_in: impl Future<Output = Result<Duration, DriveError>>,
    mut look: impl FnMut(Duration, &Recorder) -> Option<String>,
) -> Result<Driven, DriveError> {
    let Order {
        scenario,
        schedule,
        payloads,
        url,
        other_urls,
        log,
        raw,
        part,
    } = *plan;
    let shard = part.map(|part| part.shard);
    let no_thread = |error| DriveError::Goose(format!("no thread to send from: {error}"));
    let files = files::allow_for_load()?;
    let users_count = scenario.users_count().min((files - files::BESIDE) as usize);
    let targets = std::iter::once(url)
        .chain(other_urls.iter().map(String::as_str))
        .map(|url| {
            Url::parse(url).map_err(|error| DriveError::Goose(format!("no address: {error}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (due, arrivals) = due::channel();
    let shared = Arc::new(Shared::new(
        Asking {
            request_timeout: scenario.target.request_timeout,
            resends: scenario.target.resends,
            users: users_count,
            targets,
        },
        arrivals,
        Arc::clone(&stop.flag),
    ));
    let prepared = pace::prepare(schedule.clone(), payloads.clone(), shard).map_err(no_thread)?;
    let (start, clock) = tokio::sync::oneshot::channel();
    let told = users::start(Arc::clone(&shared), prepared, due, clock).map_err(no_thread)?;
    let goose: Goose = tokio::spawn(async move {
        let counted = told
            .await
            .map_err(|_| DriveError::Goose("its thread ended".to_owned()))?;
        Ok(counted?)
    });
    let ready = tokio::time::timeout(READY_TIMEOUT, async {
        while shared.ready.load(Ordering::Acquire) < users_count
            && !goose.is_finished()
            && asked().is_none()
        {
            tokio::time::sleep(TICK / 10).await;
        }
    });
    if ready.await.is_err() {
        return Err(DriveError::Goose(format!(
            "its {users_count} users were not ready within {READY_TIMEOUT:?}"
        )));
    }
    if asked().is_some() {
        return Err(DriveError::Stopped);
    }
    if goose.is_finished() {
        return Err(match joined(goose).await {
            Err(error) => error,
            Ok(_) => DriveError::Goose("it ended before the load".to_owned()),
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
    let clock = RunClock::starting_in(start_in.await?);
    let names: Vec<&str> = scenario
        .phases
        .iter()
        .map(|phase| phase.name.get_ref().as_str())
        .collect();
    if let Some(path) = raw {
        let created = RawLog::create(path, &names).map_err(|error| Unwritable {
            path: path.to_path_buf(),
            error,
        })?;
        recorder.raw = Some((created, payloads.clone()));
    }
    if let Some(path) = log {
        let started_us = clock.wall_us(Duration::ZERO);
        let created = IntervalLog::create(path, started_us, schedule.duration(), &names);
        recorder.log = Some(created.map_err(|error| Unwritable {
            path: path.to_path_buf(),
            error,
        })?);
    }
    shared
        .clock
        .set(clock)
        .expect("the clock is set once, here");
    // When nobody takes it, the sending thread has ended, and the loop below sees that.
    let _ = start.send(clock);
    let mut ended_early = None;
    let mut reached = None;
    // The users end by themselves: the pacing ends, and each request has its timeout.
    loop {
        tokio::time::sleep(TICK).await;
        if stop.flag.load(Ordering::Relaxed) {
            reached.get_or_insert(clock.now());
        }
        // In this order: what is not open any more has left its note.
        let over = goose.is_finished() || (shared.paced() && shared.open() == 0);
        shared.move_notes_to(&mut recorder);
        // Who asks for a stop does not wait for every answer.
        let is_long = crate::stop::asked_for().is_some_and(|ago| ago > STOPPED_WITHIN);
        if over || is_long || crate::stop::is_hurried() {
            break;
        }
        if let Some(reason) = look(clock.now(), &recorder) {
            stop.flag.store(true, Ordering::Relaxed);
            ended_early.get_or_insert(reason);
        }
    }
    shared.give_up(clock.now(), &mut recorder);
    let reached = reached.filter(|reached| *reached < schedule.duration());
    Ok(Driven {
        recorder,
        shared,
        clock,
        goose,
        ended_early,
        users: users_count,
        reached,
    })
}
