//! One schedule, several generators.
//!
//! Each generator computes the whole schedule and sends every `count`-th arrival of it, from a common start on the wall
//! clock. It keeps what it saw: latencies by second without loss, one byte for each arrival, and its counts.
//! `loadgen merge` joins these and goes on where a single generator does: drain, audit, checks, verdict, one report.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use plan::kind::Kind;
use plan::scenario::{Scenario, USERS_MAX};
use plan::schedule::Schedule;
use plan::shard::{Part, Shard};
use plan::{read_text, unreadable};
use serde::{Deserialize, Serialize};
use snapshot::Snapshot;

use crate::clock::RunClock;
use crate::folder::{Unwritable, open, write_whole};
use crate::followed::{Followed, ServiceClock};
use crate::interval::{self, IntervalLog, Latency};
use crate::kept::not_understood;
use crate::latencies::{Latencies, empty};
use crate::ledger::Heard;
use crate::number::seconds;
use crate::pause::Pauses;
use crate::recorder::{ERROR_EXAMPLES_MAX, ErrorCount, Recorder, Second};
use crate::result::run::Provenance;
use crate::sample::Answer;
use crate::sparse::Sparse;

/// The counts of a generator, in its folder.
const COUNTS_FILE: &str = "shard.json";
/// The most bytes of it.
const COUNTS_BYTES_MAX: u64 = 256 << 20;
/// Bytes that are packed or unpacked at once.
const HEARD_AT_ONCE: usize = 1 << 16;
/// A byte for each arrival, in its folder, as zlib packs it: most are alike.
const HEARD_FILE: &str = "heard.zlib";
/// The files that are all of a generator's part.
pub const FILES: [&str; 3] = [COUNTS_FILE, HEARD_FILE, interval::FILE];
/// Generators whose clocks are further apart did not start together.
const CLOCKS_APART_MAX_MS: i64 = 1_000;

/// What one generator counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    run_id: String,
    shard: Shard,
    scenario_sha256: String,
    seed: u64,
    start_wall_us: i64,
    resent: u64,
    dropped: u64,
    held_back: u64,
    requests: (u64, u64),
    phases: Vec<PhaseCounts>,
    seconds: Vec<(u64, u64, u64, u64)>,
    answers: Vec<(Kind, Answer, u64)>,
    errors: BTreeMap<String, ErrorCount>,
    kinds: Vec<(Kind, String)>,
    phase_kinds: Vec<(u16, Kind, String)>,
    unanswered: Vec<(u16, Kind, u64)>,
    /// How long the file of its latencies is.
    latencies_bytes: u64,
    pauses: Pauses,
    set_ahead_us: i64,
    users: usize,
    /// When nothing was left in Redis, after the start of the load.
    empty_at: Option<Duration>,
    loadgen_rss_bytes_peak: Option<u64>,
    ended_early: Option<String>,
    stopped: Option<String>,
    followed: Followed,
    snapshot_before: Snapshot,
    redis_memory_start_bytes: Option<u64>,
    provenance: Provenance,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct PhaseCounts {
    sent: u64,
    last_sent: Duration,
    completed: u64,
    failed: u64,
    failed_touched: u64,
    requests: u64,
    requests_failed: u64,
}

/// How much longer than its schedule a run may take until the last answer.
const AFTERWARDS_MAX: Duration = Duration::from_secs(24 * 3600);

impl Counts {
    /// Whether these may be the counts of a generator that sent a part of `schedule`: whoever wrote the file, they can be summed.
    fn fit(&self, schedule: &Schedule) -> bool {
        let arrivals = u64::from(schedule.arrivals());
        let until = schedule.duration() + AFTERWARDS_MAX;
        let few = |count: u64| u32::try_from(count).is_ok();
        let of_arrivals = |count: u64| count <= arrivals;
        let mut phases = self.phases.iter().zip(schedule.phases());
        let phases = phases.all(|(phase, planned)| {
            phase.sent <= u64::from(planned.arrivals)
                && phase.last_sent <= until
                && of_arrivals(phase.completed)
                && of_arrivals(phase.failed)
                && phase.completed + phase.failed == phase.sent
                && phase.failed_touched <= phase.failed
                && few(phase.requests)
                && few(phase.requests_failed)
        });
        if !phases {
            return false;
        }
        let sent: u64 = self.phases.iter().map(|phase| phase.sent).sum();
        let answers = self.answers.iter().map(|(_, _, count)| *count);
        let answered = answers.fold(0u64, u64::saturating_add);
        let (goose, ours) = self.requests;
        answered == sent
            && self.seconds.len() as u64 <= until.as_secs() + 1
            && self
                .seconds
                .iter()
                .all(|(planned, sent, completed, failed)| {
                    [planned, sent, completed, failed]
                        .into_iter()
                        .all(|count| of_arrivals(*count))
                })
            && self
                .unanswered
                .iter()
                .all(|(_, _, count)| of_arrivals(*count))
            && self.errors.values().all(|error| few(error.count))
            && [
                self.resent,
                self.dropped,
                self.held_back,
                goose,
                ours,
                self.pauses.count,
            ]
            .into_iter()
            .all(few)
            && self.users <= USERS_MAX
            && self.empty_at.unwrap_or_default() <= until + AFTERWARDS_MAX
            && self.pauses.stopped_max <= until
            && self.pauses.told.iter().all(|pause| pause.to <= until)
    }
}

/// What is known beside the counts of the recorder.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "each field is named after its type or after the report's field"
)]
pub struct Surroundings {
    pub clock: RunClock,
    /// Arrivals that were due while every user was busy.
    pub held_back: u64,
    /// Requests by goose's count and by ours.
    pub requests: (u64, u64),
    /// Why the run ended by itself before its end.
    pub ended_early: Option<String>,
    pub followed: Followed,
    pub snapshot_before: Snapshot,
    pub redis_memory_start_bytes: Option<u64>,
    pub provenance: Provenance,
    /// Why the run was stopped before its end.
    pub stopped: Option<&'static str>,
    /// How far this machine's clock was set ahead meanwhile, microseconds.
    pub set_ahead_us: i64,
    /// Users, the most requests in flight.
    pub users: usize,
    /// When nothing was left in Redis, after the start of the load.
    pub empty_at: Option<Duration>,
    /// Highest resident memory of this process.
    pub loadgen_rss_bytes_peak: Option<u64>,
}

/// Keeps in `folder` what this generator saw. Its latencies are there already.
///
/// # Errors
/// When a file cannot be written.
pub fn keep(
    folder: &Path,
    part: &Part,
    scenario: &Scenario,
    recorder: &Recorder,
    around: Surroundings,
) -> Result<(), Unwritable> {
    let counts = Counts {
        run_id: part.run_id.clone(),
        shard: part.shard,
        scenario_sha256: around.provenance.scenario_sha256.clone(),
        seed: scenario.seed,
        start_wall_us: around.clock.wall_us(Duration::ZERO),
        resent: recorder.resent,
        dropped: recorder.dropped,
        held_back: around.held_back,
        requests: around.requests,
        phases: recorder
            .phases
            .iter()
            .map(|phase| PhaseCounts {
                sent: phase.sent,
                last_sent: phase.last_sent,
                completed: phase.completed,
                failed: phase.failed,
                failed_touched: phase.failed_touched,
                requests: phase.requests,
                requests_failed: phase.requests_failed,
            })
            .collect(),
        seconds: recorder
            .seconds
            .iter()
            .map(|second| (second.planned, second.sent, second.completed, second.failed))
            .collect(),
        answers: recorder
            .answers
            .iter()
            .flat_map(|(kind, answers)| {
                answers
                    .iter()
                    .map(move |(answer, count)| (*kind, *answer, *count))
            })
            .collect(),
        errors: recorder.errors.clone(),
        kinds: recorder
            .kinds
            .iter()
            .map(|(kind, histogram)| (*kind, interval::encode(histogram)))
            .collect(),
        phase_kinds: recorder
            .phase_kinds
            .iter()
            .map(|((phase, kind), histogram)| (*phase, *kind, interval::encode(histogram)))
            .collect(),
        unanswered: recorder
            .unanswered
            .iter()
            .map(|((phase, kind), count)| (*phase, *kind, *count))
            .collect(),
        latencies_bytes: std::fs::metadata(folder.join(interval::FILE))
            .map_or(0, |file| file.len()),
        pauses: recorder.pauses.clone(),
        set_ahead_us: around.set_ahead_us,
        users: around.users,
        empty_at: around.empty_at,
        loadgen_rss_bytes_peak: around.loadgen_rss_bytes_peak,
        ended_early: around.ended_early,
        stopped: around.stopped.map(str::to_owned),
        followed: around.followed,
        snapshot_before: around.snapshot_before,
        redis_memory_start_bytes: around.redis_memory_start_bytes,
        provenance: around.provenance,
    };
    let path = folder.join(COUNTS_FILE);
    let json = serde_json::to_vec(&counts).expect("plain data serialises");
    write_whole(&path, &json).map_err(|error| Unwritable { path, error })?;
    let path = folder.join(HEARD_FILE);
    write_heard(&path, &recorder.ledger.heard).map_err(|error| Unwritable { path, error })
}

fn write_heard(path: &Path, heard: &[Heard]) -> io::Result<()> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    let mut bytes = Vec::with_capacity(HEARD_AT_ONCE);
    for some in heard.chunks(HEARD_AT_ONCE) {
        bytes.clear();
        bytes.extend(some.iter().map(|heard| heard.byte()));
        packed.write_all(&bytes)?;
    }
    write_whole(path, &packed.finish()?)
}

/// Tells the byte of each arrival, in order, to `each`. Answers how many there are.
fn read_heard(path: &Path, mut each: impl FnMut(u8)) -> io::Result<usize> {
    let mut packed = ZlibDecoder::new(open(path)?);
    let mut bytes = vec![0; HEARD_AT_ONCE];
    let mut count = 0;
    loop {
        match packed.read(&mut bytes)? {
            0 => return Ok(count),
            read => {
                bytes[..read].iter().for_each(|byte| each(*byte));
                count += read;
            }
        }
    }
}

/// Why the parts of a run could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A file is missing or is something else.
    #[error("{} is not the folder of a shard: {what}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The parts are not those of one run.
    #[error("these are not the shards of one run: {0}")]
    Apart(String),
}

/// What all generators of a run saw together.
#[expect(
    missing_docs,
    reason = "each field is named after its type or after the report's field"
)]
pub struct Gathered {
    pub run_id: String,
    pub clock: RunClock,
    pub recorder: Recorder,
    pub requests: (u64, u64),
    pub held_back: u64,
    pub ended_early: Option<String>,
    pub stopped: Option<String>,
    pub followed: Followed,
    pub snapshot_before: Snapshot,
    pub redis_memory_start_bytes: Option<u64>,
    pub provenance: Provenance,
    /// How far the clock of one of them was set ahead meanwhile, microseconds: the largest.
    pub set_ahead_us: i64,
    /// Users of all of them.
    pub users: usize,
    /// When nothing was left in Redis after the last of them, after the start of the load; `None` when one did not see that.
    pub empty_at: Option<Duration>,
    /// Highest resident memory of any of them.
    pub loadgen_rss_bytes_peak: Option<u64>,
    /// Why they may not have sent one schedule together, a sentence each.
    pub doubts: Vec<String>,
}

impl Gathered {
    /// Writes the latencies of all parts, whose `folders` they were gathered from, as one log at `path`: what one generator that saw
    /// all of it would have written. It stays open for what is known later. Answers why it could not be written, in one line; then there
    /// is none.
    pub fn join_latencies(
        &mut self,
        folders: &[PathBuf],
        path: &Path,
        scenario: &Scenario,
        schedule: &Schedule,
    ) -> Option<String> {
        let names: Vec<&str> = scenario
            .phases
            .iter()
            .map(|phase| phase.name.get_ref().as_str())
            .collect();
        let started_us = self.clock.wall_us(Duration::ZERO);
        let logs: Vec<PathBuf> = folders
            .iter()
            .map(|folder| folder.join(interval::FILE))
            .collect();
        let joined = IntervalLog::create(path, started_us, schedule.duration(), &names)
            .map_err(|error| {
                let path = path.to_path_buf();
                Unwritable { path, error }.to_string()
            })
            .and_then(|mut log| {
                log.join(&logs).map_err(|error| error.to_string())?;
                Ok(log)
            });
        match joined {
            Ok(log) => {
                self.recorder.log = Some(log);
                None
            }
            Err(why) => {
                // Half a log would be taken for a whole one.
                let _ = std::fs::remove_file(path);
                Some(why)
            }
        }
    }
}

/// Joins the parts of a run of `scenario`, whose file has the digest `scenario_sha256`, from their folders.
///
/// # Errors
/// When one is missing, there twice, or of another run.
pub fn gather(
    folders: &[PathBuf],
    scenario: &Scenario,
    scenario_sha256: &str,
    schedule: &Schedule,
) -> Result<Gathered, MergeError> {
    gather_without(&[], folders, scenario, scenario_sha256, schedule)
}

/// As [`gather`], where the parts of the shards in `missing` are known to be lost: each of their arrivals may have been sent
/// or not.
///
/// # Errors
/// As [`gather`]; when nothing is left too.
pub fn gather_without(
    missing: &[u32],
    folders: &[PathBuf],
    scenario: &Scenario,
    scenario_sha256: &str,
    schedule: &Schedule,
) -> Result<Gathered, MergeError> {
    let mut parts: Vec<(PathBuf, Counts)> = folders
        .iter()
        .map(|folder| Ok((folder.clone(), read_counts(folder)?)))
        .collect::<Result<_, MergeError>>()?;
    parts.sort_by_key(|(_, counts)| counts.shard.index);
    are_one_run(&parts, missing, scenario.seed, scenario_sha256)?;

    let mut recorder = Recorder::new(scenario.phases.len(), schedule.arrivals());
    let mut by_second: BTreeMap<u64, Sparse> = BTreeMap::new();
    for (folder, counts) in &parts {
        let wrong = |what: &str| MergeError::Folder {
            folder: folder.clone(),
            what: what.to_owned(),
        };
        let arrivals = recorder.ledger.heard.len();
        let mut number = 0u32;
        let read = read_heard(&folder.join(HEARD_FILE), |byte| {
            if let Some(heard) = recorder.ledger.heard.get_mut(number as usize)
                && counts.shard.holds(number)
            {
                *heard = Heard::from_byte(byte);
            }
            number = number.saturating_add(1);
        })
        .map_err(|error| wrong(&format!("{HEARD_FILE}: {}", unreadable(&error))))?;
        if read != arrivals || counts.phases.len() != recorder.phases.len() {
            return Err(wrong("it is of another schedule"));
        }
        if !counts.fit(schedule) {
            return Err(wrong("its counts do not fit together"));
        }
        let log = folder.join(interval::FILE);
        if std::fs::metadata(&log).is_ok_and(|file| file.len() != counts.latencies_bytes) {
            return Err(wrong(&format!("{} is not whole", interval::FILE)));
        }
        let mut is_whole = true;
        let phases = &mut recorder.phases;
        interval::read(&log, |(latency, index), interval| {
            let Some(phase) = phases.get_mut(usize::from(index)) else {
                is_whole = false;
                return;
            };
            let joined = match latency {
                Latency::Response => &mut phase.response,
                Latency::Service => &mut phase.service,
                Latency::SendLag => &mut phase.send_lag,
                Latency::Refused => &mut phase.refused,
                Latency::Silent => &mut phase.silent,
                Latency::GeneratorLag => &mut phase.generator_lag,
                Latency::Undisturbed => &mut phase.undisturbed,
                Latency::EndToEnd => return,
            };
            is_whole &= joined.add(&interval.histogram).is_ok();
            if latency == Latency::Response {
                by_second
                    .entry(interval.start_s as u64)
                    .or_default()
                    .add(&Sparse::of(&interval.histogram));
            }
        })
        .map_err(|error| wrong(&error.to_string()))?;
        if !is_whole {
            return Err(wrong("it is of other phases"));
        }
        recorder.pauses.join(&counts.pauses);
        add_counts(&mut recorder, counts).ok_or_else(|| wrong("its latencies are broken"))?;
    }
    if let Some((_, first)) = parts.first() {
        let count = first.shard.count;
        for shard in missing.iter().map(|index| Shard {
            index: *index,
            count,
        }) {
            for (number, heard) in (0u32..).zip(&mut recorder.ledger.heard) {
                if shard.holds(number) {
                    *heard = Heard::LOST;
                }
            }
        }
    }
    for (second, counts) in by_second {
        recorder.heat.add_counts(second as usize, counts.counts());
        if let Some(second) = recorder.seconds.get_mut(second as usize) {
            second.response_p50_us = counts.value_at_quantile(0.5);
            second.response_p99_us = counts.value_at_quantile(0.99);
        }
    }
    let mut total = Latencies::default();
    for phase in &recorder.phases {
        total.join(phase);
    }
    recorder.total = total;
    let sum = |of: fn(&Counts) -> u64| parts.iter().map(|(_, counts)| of(counts)).sum();
    let requests = (
        sum(|counts| counts.requests.0),
        sum(|counts| counts.requests.1),
    );
    let held_back = sum(|counts| counts.held_back);
    let first = |of: fn(&Counts) -> Option<String>| parts.iter().find_map(|(_, counts)| of(counts));
    let ended_early = first(|counts| counts.ended_early.clone());
    let stopped = first(|counts| counts.stopped.clone());
    let set_ahead_us = parts
        .iter()
        .map(|(_, counts)| counts.set_ahead_us)
        .max_by_key(|us| us.abs())
        .unwrap_or_default();
    // Each of them followed the same service, by its own clock.
    let clocks = parts
        .iter()
        .map(|(_, counts)| counts.followed.clock.clone())
        .collect::<Vec<_>>();
    let doubts = clocks_apart(&parts).into_iter().collect();
    let users = parts.iter().map(|(_, counts)| counts.users).sum();
    let empty_at = parts
        .iter()
        .map(|(_, counts)| counts.empty_at)
        .collect::<Option<Vec<_>>>()
        .and_then(|instants| instants.into_iter().max());
    let loadgen_rss_bytes_peak = parts
        .iter()
        .filter_map(|(_, counts)| counts.loadgen_rss_bytes_peak)
        .max();
    let peak = |of: fn(&Followed) -> Option<u64>| {
        parts
            .iter()
            .filter_map(|(_, counts)| of(&counts.followed))
            .max()
    };
    let fullest = parts.iter().map(|(_, counts)| &counts.followed);
    let fullest = fullest.max_by_key(|followed| {
        let at_ms = followed.backlog_peak_at_ms.unwrap_or(u64::MAX);
        (followed.backlog_peak, Reverse(at_ms))
    });
    let (backlog_peak, backlog_peak_at_ms) = fullest.map_or((None, None), |followed| {
        (followed.backlog_peak, followed.backlog_peak_at_ms)
    });
    let (workers_peak, rss_bytes_peak) = (
        peak(|followed| followed.workers_peak),
        peak(|followed| followed.rss_bytes_peak),
    );
    let weak_at_ms = parts
        .iter()
        .filter_map(|(_, counts)| counts.followed.weak_at_ms)
        .min();
    // The one that looked on for longest tells the story.
    let longest = (0..parts.len())
        .max_by_key(|index| parts[*index].1.followed.points.len())
        .unwrap_or(0);
    let followed = parts[longest].1.followed.clone();
    let (_, mut first) = parts.swap_remove(0);
    first.followed = Followed {
        backlog_peak,
        backlog_peak_at_ms,
        workers_peak,
        rss_bytes_peak,
        weak_at_ms,
        ..followed
    };
    first.followed.clock = ServiceClock::worst_of(&clocks);
    Ok(Gathered {
        run_id: first.run_id,
        clock: RunClock::of_the_past(first.start_wall_us),
        recorder,
        requests,
        held_back,
        ended_early,
        stopped,
        followed: first.followed,
        snapshot_before: first.snapshot_before,
        redis_memory_start_bytes: first.redis_memory_start_bytes,
        provenance: first.provenance,
        set_ahead_us,
        users,
        empty_at,
        loadgen_rss_bytes_peak,
        doubts,
    })
}

/// Whether the clocks of two of them are so far apart that they did not start together. Each has compared its own with the
/// service's.
fn clocks_apart(parts: &[(PathBuf, Counts)]) -> Option<String> {
    let seen = parts.iter().filter_map(|(_, counts)| {
        let clock = &counts.followed.clock;
        // What is ahead of the service is told as behind by it.
        Some((
            -clock.ahead_first_ms?,
            counts.shard.index,
            clock.round_trip_ms as i64,
        ))
    });
    let seen: Vec<(i64, u32, i64)> = seen.collect();
    let (ahead_ms, ahead, there_ms) = *seen.iter().max()?;
    let (behind_ms, behind, back_ms) = *seen.iter().min()?;
    let apart_ms = ahead_ms - behind_ms;
    (apart_ms > CLOCKS_APART_MAX_MS + there_ms + back_ms).then(|| {
        format!(
            "The clock of shard {ahead} is {} ahead of that of shard {behind}: they did not start together.",
            seconds(apart_ms as f64 / 1e3)
        )
    })
}

fn add_counts(recorder: &mut Recorder, counts: &Counts) -> Option<()> {
    recorder.resent += counts.resent;
    recorder.dropped += counts.dropped;
    for (phase, more) in recorder.phases.iter_mut().zip(&counts.phases) {
        phase.sent += more.sent;
        phase.last_sent = phase.last_sent.max(more.last_sent);
        phase.completed += more.completed;
        phase.failed += more.failed;
        phase.failed_touched += more.failed_touched;
        phase.requests += more.requests;
        phase.requests_failed += more.requests_failed;
    }
    if recorder.seconds.len() < counts.seconds.len() {
        recorder
            .seconds
            .resize(counts.seconds.len(), Second::default());
    }
    for (second, more) in recorder.seconds.iter_mut().zip(&counts.seconds) {
        second.planned += more.0;
        second.sent += more.1;
        second.completed += more.2;
        second.failed += more.3;
    }
    for (kind, answer, count) in &counts.answers {
        *recorder
            .answers
            .entry(*kind)
            .or_default()
            .entry(*answer)
            .or_default() += count;
    }
    for (kind, error) in &counts.errors {
        let known = recorder.errors.entry(kind.clone()).or_default();
        known.count += error.count;
        for example in &error.examples {
            if known.examples.len() < ERROR_EXAMPLES_MAX && !known.examples.contains(example) {
                known.examples.push(example.clone());
            }
        }
    }
    for (phase, kind, count) in &counts.unanswered {
        *recorder.unanswered.entry((*phase, *kind)).or_default() += count;
    }
    for (kind, encoded) in &counts.kinds {
        let more = interval::decode(encoded)?;
        recorder
            .kinds
            .entry(*kind)
            .or_insert_with(empty)
            .add(&more)
            .ok()?;
    }
    for (phase, kind, encoded) in &counts.phase_kinds {
        let more = interval::decode(encoded)?;
        recorder
            .phase_kinds
            .entry((*phase, *kind))
            .or_insert_with(empty)
            .add(&more)
            .ok()?;
    }
    Some(())
}

fn read_counts(folder: &Path) -> Result<Counts, MergeError> {
    let wrong = |what: String| MergeError::Folder {
        folder: folder.to_path_buf(),
        what,
    };
    let text = read_text(&folder.join(COUNTS_FILE), COUNTS_BYTES_MAX)
        .map_err(|what| wrong(format!("{COUNTS_FILE}: {what}")))?;
    serde_json::from_str(&text)
        .map_err(|error| wrong(format!("{COUNTS_FILE}: {}", not_understood(&error))))
}

fn are_one_run(
    parts: &[(PathBuf, Counts)],
    missing: &[u32],
    seed: u64,
    scenario_sha256: &str,
) -> Result<(), MergeError> {
    let apart = |what: String| Err(MergeError::Apart(what));
    let Some((_, first)) = parts.first() else {
        return apart("there is none".to_owned());
    };
    for (folder, counts) in parts {
        let differs = |what: &str| format!("{} has another {what}", folder.display());
        if counts.run_id != first.run_id {
            return apart(differs("run id"));
        }
        if counts.shard.count != first.shard.count {
            return apart(differs("number of shards"));
        }
        if counts.seed != seed {
            return apart(differs("seed"));
        }
        if counts.provenance.set_by_flags != first.provenance.set_by_flags {
            return apart(differs("--duration or --allow"));
        }
        if counts.scenario_sha256 != scenario_sha256 {
            return apart(differs("scenario file"));
        }
        if counts.start_wall_us.abs_diff(first.start_wall_us) > 1_000_000 {
            return apart(differs("start"));
        }
    }
    let expected = (1..=first.shard.count).filter(|index| !missing.contains(index));
    let found: Vec<u32> = parts.iter().map(|(_, counts)| counts.shard.index).collect();
    if !found.iter().copied().eq(expected) {
        return apart(format!(
            "of {} shards there are {found:?}",
            first.shard.count
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Unknown;

    #[test]
    fn what_was_heard_of_a_day_is_a_small_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(HEARD_FILE);
        // One arrival of a hundred without an answer, more of them than are packed at once.
        let heard: Vec<Heard> = (0..300_000u32)
            .map(|number| match number % 100 {
                7 => Heard::new(Answer::Unknown(Unknown::Timeout), false),
                _ => Heard::new(Answer::Queued, false),
            })
            .collect();
        write_heard(&path, &heard).expect("it is written");
        let mut read = Vec::new();
        let count =
            read_heard(&path, |byte| read.push(Heard::from_byte(byte))).expect("it is read");
        assert_eq!((count, read), (heard.len(), heard));
        let bytes = std::fs::metadata(&path).expect("the file").len();
        assert!(bytes < 30_000, "{bytes}");
    }
}
