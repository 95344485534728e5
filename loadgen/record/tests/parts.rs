//! What several generators saw is, joined, what one generator would have seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use plan::kind::Kind;
use plan::payload::Payloads;
use plan::scenario::Scenario;
use plan::schedule::Schedule;
use plan::shard::{Part, Shard};
use record::clock::RunClock;
use record::followed::Followed;
use record::interval::{self, IntervalLog, Series};
use record::part::{Gathered, MergeError, Surroundings, gather, gather_without, keep};
use record::recorder::Recorder;
use record::result::run::Provenance;
use record::sample::{Answer, Sample, Unknown};
use serde_json::{Value, json};
use snapshot::Snapshot;

const SHARDS: u32 = 3;
const SHA256: &str = "the digest of the scenario";
const SCENARIO: &str = r#"
name = "parts"
description = "Two phases of several kinds"

[mix]
duplicate = 0.1
retry = 0.1

[[phase]]
name = "slow"
duration = "4s"
rate = 300

[[phase]]
name = "fast"
duration = "3s"
rate = 900
"#;

struct Run {
    scenario: Scenario,
    schedule: Schedule,
    payloads: Payloads,
    start: RunClock,
}

impl Run {
    fn new() -> Self {
        let scenario = Scenario::parse(SCENARIO, Path::new("parts.toml")).expect("it is good");
        Self {
            schedule: Schedule::new(&scenario.phases, scenario.seed),
            payloads: Payloads::new(scenario.seed, "GC-parts", &scenario.mix),
            start: RunClock::starting_in(Duration::ZERO),
            scenario,
        }
    }

    /// Every arrival of the schedule as it was answered, in the order of the answers: most quickly, some late, refused, or not
    /// at all.
    fn samples(&self) -> Vec<Sample> {
        let mut noise = 1u64;
        let mut samples: Vec<Sample> = self
            .schedule
            .slots()
            .map(|slot| {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let draw = noise >> 33;
                let lag = Duration::from_micros(draw % 900);
                let (answer, took_us) = match draw % 100 {
                    0 => (Answer::Unknown(Unknown::Timeout), 900_000),
                    1 | 2 => (Answer::Unknown(Unknown::Status(503)), 700 + draw % 3_000),
                    3..7 => (Answer::Refused(400), 300 + draw % 1_000),
                    7 => (Answer::Queued, 100_000 + draw % 1_900_000),
                    _ => (Answer::Queued, 200 + draw % 5_000),
                };
                let sent = slot.offset + lag;
                Sample {
                    number: slot.number,
                    phase: slot.phase,
                    kind: self.payloads.kind_and_owner(slot.number).0,
                    intended: slot.offset,
                    generator_lag: lag / 2,
                    sent,
                    last_sent: sent,
                    done: sent + Duration::from_micros(took_us),
                    answer,
                    resent: u32::from(draw.is_multiple_of(50)),
                }
            })
            .collect();
        samples.sort_by_key(|sample| sample.done);
        samples
    }

    fn recorder(&self) -> Recorder {
        let mut recorder = Recorder::new(self.scenario.phases.len(), self.schedule.arrivals());
        recorder.keep(1, Kind::Valid);
        recorder
    }

    /// One generator that saw these; it was to send those that `holds` names.
    fn note(&self, recorder: &mut Recorder, samples: &[Sample], holds: impl Fn(u32) -> bool) {
        for slot in self.schedule.slots().filter(|slot| holds(slot.number)) {
            recorder.planned(slot.offset);
        }
        for sample in samples.iter().filter(|sample| holds(sample.number)) {
            recorder.note(sample);
        }
        recorder.finish();
    }

    /// The folders of all shards of the run. The service's clock is so far ahead of theirs.
    fn keep(&self, folder: &Path, ahead_ms: [i64; 3]) -> Vec<PathBuf> {
        let samples = self.samples();
        (1..=SHARDS)
            .zip(ahead_ms)
            .map(|(index, ahead_ms)| {
                let part = Part {
                    shard: Shard {
                        index,
                        count: SHARDS,
                    },
                    run_id: "parts".to_owned(),
                    start_at: None,
                };
                let folder = folder.join(index.to_string());
                std::fs::create_dir(&folder).expect("it is made");
                let mut recorder = self.recorder();
                let log = folder.join(interval::FILE);
                let length = self.schedule.duration();
                let log = IntervalLog::create(&log, 0, length, &["slow", "fast"]);
                recorder.log = Some(log.expect("it is made"));
                let holds = |number| part.shard.holds(number);
                self.note(&mut recorder, &samples, holds);
                let log = recorder.log.take().expect("it was put there");
                log.finish().expect("it is written");
                let mut followed = Followed::default();
                followed.clock.ahead_first_ms = Some(ahead_ms);
                let around = Surroundings {
                    clock: self.start,
                    held_back: 0,
                    requests: (1, 1),
                    ended_early: None,
                    followed,
                    snapshot_before: Snapshot::default(),
                    redis_memory_start_bytes: None,
                    provenance: Provenance {
                        scenario_sha256: SHA256.to_owned(),
                        ..Provenance::default()
                    },
                    stopped: None,
                    set_ahead_us: 0,
                    users: 64,
                    empty_at: None,
                    loadgen_rss_bytes_peak: None,
                };
                keep(&folder, &part, &self.scenario, &recorder, around).expect("it is kept");
                folder
            })
            .collect()
    }

    fn gather(&self, folders: &[PathBuf]) -> Result<Gathered, MergeError> {
        gather(folders, &self.scenario, SHA256, &self.schedule)
    }
}

#[test]
fn joined_parts_are_exactly_what_one_generator_sees() {
    let run = Run::new();
    let mut one = run.recorder();
    run.note(&mut one, &run.samples(), |_| true);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut folders = run.keep(folder.path(), [0; 3]);
    folders.reverse();
    let joined = run.gather(&folders).expect("they are of one run").recorder;

    let pairs = one.phases.iter().zip(&joined.phases);
    for (whole, sum) in pairs.chain([(&one.total, &joined.total)]) {
        for (of_one, of_all) in [
            (&whole.response, &sum.response),
            (&whole.service, &sum.service),
            (&whole.refused, &sum.refused),
            (&whole.silent, &sum.silent),
            (&whole.send_lag, &sum.send_lag),
            (&whole.generator_lag, &sum.generator_lag),
            (&whole.undisturbed, &sum.undisturbed),
        ] {
            assert!(!of_one.is_empty());
            assert_eq!(of_one, of_all);
            for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
                assert_eq!(
                    of_one.value_at_quantile(quantile),
                    of_all.value_at_quantile(quantile)
                );
            }
        }
        let counts = |of: &record::latencies::Latencies| {
            let requests = (of.requests, of.requests_failed);
            (of.sent, of.completed, of.failed, requests)
        };
        assert_eq!(counts(whole), counts(sum));
    }
    assert_eq!(one.kinds, joined.kinds);
    assert_eq!(one.phase_kinds, joined.phase_kinds);
    assert_eq!(one.unanswered, joined.unanswered);
    assert_eq!(one.answers, joined.answers);
    // The percentiles of each second too.
    assert_eq!(one.seconds, joined.seconds);
    assert_eq!(one.heat.map(), joined.heat.map());
    assert_eq!(one.ledger.heard, joined.ledger.heard);
    assert_eq!(one.resent, joined.resent);
    assert_eq!(one.total.last_sent, joined.total.last_sent);
}

/// Every interval of a log.
fn intervals(path: &Path) -> BTreeMap<(Series, u64), Histogram<u64>> {
    let mut intervals = BTreeMap::new();
    interval::read(path, |series, interval| {
        let before = intervals.insert((series, interval.start_s as u64), interval.histogram);
        assert_eq!(before, None, "each interval is there once");
    })
    .expect("it is a log");
    intervals
}

#[test]
fn the_log_of_joined_parts_is_the_one_that_one_generator_writes() {
    let run = Run::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("one.hlog");
    let mut one = run.recorder();
    let log = IntervalLog::create(&path, 0, run.schedule.duration(), &["slow", "fast"]);
    one.log = Some(log.expect("it is made"));
    run.note(&mut one, &run.samples(), |_| true);
    let log = one.log.take().expect("it was put there");
    log.finish().expect("it is written");

    let folders = run.keep(folder.path(), [0; 3]);
    let mut joined = run.gather(&folders).expect("they are of one run");
    let joined_path = folder.path().join("joined.hlog");
    let why = joined.join_latencies(&folders, &joined_path, &run.scenario, &run.schedule);
    assert_eq!(why, None);
    let log = joined.recorder.log.take().expect("it stays open");
    log.finish().expect("it is written");
    let all = intervals(&path);
    assert!(all.len() > 50, "{}", all.len());
    assert_eq!(intervals(&joined_path), all);

    // One that cannot be written leaves nothing behind.
    let nowhere = folder.path().join("nowhere").join("joined.hlog");
    let why = joined.join_latencies(&folders, &nowhere, &run.scenario, &run.schedule);
    assert!(why.is_some_and(|why| why.contains("nowhere")));
    assert!(joined.recorder.log.is_none());
}

#[test]
fn counts_that_cannot_be_are_no_part() {
    let run = Run::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folders = run.keep(folder.path(), [0; 3]);
    let path = folders[1].join("shard.json");
    let text = std::fs::read_to_string(&path).expect("it is text");
    let good: Value = serde_json::from_str(&text).expect("it is JSON");
    for (place, value) in [
        ("/shard/count", json!(0)),
        ("/shard/index", json!(0)),
        ("/shard/index", json!(4)),
        ("/resent", json!(u64::MAX)),
        ("/requests/0", json!(u64::MAX)),
        ("/phases/0/sent", json!(1)),
        ("/phases/0/completed", json!(u64::MAX)),
        ("/seconds/0/1", json!(u64::MAX)),
        ("/answers/0/2", json!(u64::MAX)),
        ("/phases/0/last_sent/secs", json!(u64::MAX)),
        ("/users", json!(u64::MAX)),
        ("/pauses/count", json!(u64::MAX)),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).expect(place) = value;
        std::fs::write(&path, bad.to_string()).expect("it is written");
        let error = run.gather(&folders).err().expect(place);
        assert!(
            matches!(&error, MergeError::Folder { folder, .. } if *folder == folders[1]),
            "{place}: {error}"
        );
    }
    std::fs::write(&path, text).expect("it is written");
    assert!(run.gather(&folders).is_ok());
}

#[test]
fn a_log_that_was_cut_off_is_no_part() {
    let run = Run::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folders = run.keep(folder.path(), [0; 3]);
    let path = folders[1].join(interval::FILE);
    let whole = std::fs::read_to_string(&path).expect("it is text");
    // In the middle of a line, and between two.
    let last_line = whole.trim_end().rfind('\n').expect("it has lines") + 1;
    for cut in [whole.len() - 10, last_line] {
        std::fs::write(&path, &whole[..cut]).expect("it is written");
        let error = run.gather(&folders).err().expect("a part is not whole");
        assert!(
            matches!(&error, MergeError::Folder { folder, .. } if *folder == folders[1]),
            "{error}"
        );
    }
}

#[test]
fn arrivals_of_a_lost_part_may_have_been_sent() {
    let run = Run::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut folders = run.keep(folder.path(), [0; 3]);
    folders.remove(1);
    assert!(matches!(run.gather(&folders), Err(MergeError::Apart(_))));
    let joined = gather_without(&[2], &folders, &run.scenario, SHA256, &run.schedule)
        .expect("what is missing is known");
    let lost = Shard {
        index: 2,
        count: SHARDS,
    };
    for (number, heard) in (0u32..).zip(&joined.recorder.ledger.heard) {
        assert!(heard.is_sent());
        assert!(!lost.holds(number) || heard.is_unknown(), "{number}");
    }
    // Two of one number are no run.
    let twice = [folders[0].clone(), folders[0].clone(), folders[1].clone()];
    assert!(matches!(run.gather(&twice), Err(MergeError::Apart(_))));
}

#[test]
fn generators_whose_clocks_are_apart_did_not_start_together() {
    let run = Run::new();
    for (ahead_ms, doubt) in [
        ([0, 0, 0], None),
        // All of them may be off.
        ([90_000, 90_000, 90_200], None),
        (
            [0, 5_000, 0],
            Some(
                "The clock of shard 3 is 5.0 s ahead of that of shard 2: they did not start together.",
            ),
        ),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folders = run.keep(folder.path(), ahead_ms);
        let joined = run.gather(&folders).expect("they are of one run");
        let told = joined.doubts.first().map(String::as_str);
        assert_eq!(told, doubt, "{ahead_ms:?}");
    }
}
