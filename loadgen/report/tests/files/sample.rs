//! A made-up run: fixed figures, with something in every part of the report.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use record::heat::Heat;
use record::result::run::{
    Answers, Audit, AuditClass, AuditExample, Check, CounterRow, CurvePoint, Drain, ErrorRow,
    EventKind, InstantNote, KindRow, LatencyCurve, Load, Percentiles, Phase, Provenance, Report,
    Resources, RunEvent, SelfTestStamp, TimePoint, Verdict, Workers,
};

/// Every sort of run, by name.
pub(crate) fn all() -> [(&'static str, Report); 6] {
    [
        ("passed", passed()),
        ("failed", failed()),
        ("aborted", aborted()),
        ("empty", empty()),
        ("discarded", discarded()),
        ("hour", hour()),
    ]
}

/// A run that failed: a check, the audit and a counter found something.
pub(crate) fn failed() -> Report {
    let response = histogram(180, 40_000);
    let service = histogram(150, 9_000);
    let end_to_end = histogram(60_000, 640_000);
    let lag = histogram(60, 400);
    let phase = |name: &str, shape: &str, start: f64, end: f64, rate: f64| {
        let sent = (rate * (end - start)) as u64;
        Phase {
            name: name.to_owned(),
            shape: shape.to_owned(),
            start_seconds: start,
            end_seconds: end,
            planned_end_seconds: end,
            planned_rate_per_second: rate,
            scheduled: sent,
            sent,
            completed: sent,
            failed: 0,
            recorded_per_second: Some(rate),
            send_lag_us: Percentiles::of(&lag),
            generator_lag_us: Percentiles::of(&lag),
            response_us: Percentiles::of(&response),
            service_us: Percentiles::of(&service),
            end_to_end_us: Percentiles::of(&end_to_end),
        }
    };
    let kind = |kind: &str, expected: &str, sent: u64, answers: &[(&str, u64)]| KindRow {
        kind: kind.to_owned(),
        expected: expected.to_owned(),
        scheduled: sent,
        sent,
        answers: answers
            .iter()
            .map(|(status, count)| ((*status).to_owned(), *count))
            .collect::<BTreeMap<_, _>>(),
    };
    let check = |name: &str, bound: &str, observed: &str, pass| Check {
        name: name.to_owned(),
        bound: bound.to_owned(),
        observed: observed.to_owned(),
        pass,
    };
    let counter = |name: &str, live, audit, audit_max| CounterRow {
        name: name.to_owned(),
        live: Some(live),
        audit,
        audit_max,
        agree: (audit..=audit_max).contains(&live),
    };
    let event = |offset_seconds, kind, text: &str| RunEvent::at(offset_seconds, kind, text);
    Report {
        scenario: "burst-500".to_owned(),
        scenario_description: "500 loans a second with bursts of 2,000, on real applications.".to_owned(),
        verdict: Verdict::Fail,
        why: vec![
            "1 acknowledged loan was found nowhere.".to_owned(),
            "Response p99 in phase bursts was 6.1 ms, above its bound of 5 ms.".to_owned(),
        ],
        started_at: "2026-11-23T11:00:00Z".to_owned(),
        finished_at: "2026-11-23T11:00:52Z".to_owned(),
        duration_seconds: 52.4,
        seed: 1,
        provenance: Provenance {
            git_commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            dirty: true,
            service_commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            loadgen_version: "0.1.0".to_owned(),
            service_version: "0.1.0".to_owned(),
            cpu: "Example processor at 2.1 GHz".to_owned(),
            cores: 2,
            memory_bytes: Some(8 << 30),
            kernel: "Linux 6.1.0".to_owned(),
            redis: "7.0.15".to_owned(),
            mongodb: "6.0.5".to_owned(),
            appendfsync: "always".to_owned(),
            load_average_before: Some([0.42, 0.31, 0.2]),
            generator_priority: "real time (SCHED_FIFO 1)".to_owned(),
            loadgen_sha256: "a3f1c29b7de0458816fb0c2d9e7a4b5cb7de0458816fb0c2d9e7a4b5c0000001".to_owned(),
            scenario_sha256: "1d9e7a4b5cb7de0458816fb0c2d9e7a4b5c0000001a3f1c29b7de0458816fb0c".to_owned(),
            cpu_governor: "performance".to_owned(),
            service_arguments: vec!["--partitions=1".to_owned()],
            self_test: Some(SelfTestStamp {
                finished_at: "2026-11-23T10:12:00Z".to_owned(),
                same_binary: true,
                pass: true,
                compared: 14,
                missed: Vec::new(),
            }),
            ..Provenance::default()
        },
        load: Load {
            scheduled: 27_000,
            sent: 27_000,
            unsent: 0,
            completed: 26_997,
            failed: 3,
            resent: 12,
            held_back: 0,
            answers: Answers { queued: 25_390, replayed: 1_337, rejected: 270, unknown: 3 },
            sending_seconds: 40.0,
            rate_per_second: 675.0,
            planned_rate_per_second: 675.0,
            send_lag_us: Percentiles::of(&lag),
            generator_lag_us: Percentiles::of(&lag),
            response_us: Percentiles::of(&response),
            service_us: Percentiles::of(&service),
            refused_us: Percentiles::default(),
            silent_us: Percentiles::default(),
            end_to_end_us: Percentiles::of(&end_to_end),
        },
        phases: vec![
            phase("warm-up", "ramp 50 to 500/s", 0.0, 5.0, 275.0),
            phase("bursts", "500/s, every 10 s 2,000/s for 2 s", 5.0, 35.0, 800.0),
            phase("calm", "constant 325/s", 35.0, 40.0, 325.0),
        ],
        by_kind: vec![
            kind("valid", "202, then accepted", 23_000, &[("202", 22_997), ("timeout", 3)]),
            kind("out_of_range", "202, then failed", 2_380, &[("202", 2_380)]),
            kind("duplicate", "202 replayed", 1_350, &[("202", 13), ("202 replayed", 1_337)]),
            kind("malformed", "400", 270, &[("400", 270)]),
        ],
        audit: Audit {
            complete: true,
            ids: 25_663,
            acknowledged: 25_390,
            rejected: 270,
            unknown: 3,
            recorded: 23_010,
            failed: 2_380,
            unknown_stored: 1,
            lost: 1,
            duplicated: 0,
            unexpected: 0,
            mismatched: 0,
            stuck: 0,
            examples: vec![
                AuditExample {
                    class: AuditClass::Lost,
                    loan_id: "r1-000017342".to_owned(),
                    story: "Sent at 21.302 s, answered 202 after 1.9 ms; in neither collection, and not in Redis."
                        .to_owned(),
                },
                AuditExample {
                    class: AuditClass::Unknown,
                    loan_id: "r1-000017350".to_owned(),
                    story: "Sent at 21.310 s, timed out after 5 s; stored once.".to_owned(),
                },
            ],
        },
        counters_agree: vec![
            counter("admitted", 25_391, 25_390, 25_393),
            counter("accepted", 23_011, 23_010, 23_010),
            counter("failed.out_of_range", 2_380, 2_380, 2_380),
            counter("recordedLoans", 23_010, 23_010, 23_010),
        ],
        time_series: (0..46).map(second).collect(),
        latency_curve: LatencyCurve {
            response_us: CurvePoint::curve(&response),
            service_us: CurvePoint::curve(&service),
            end_to_end_us: CurvePoint::curve(&end_to_end),
        },
        heatmap: heat().map(),
        events: vec![
            event(0.0, EventKind::Phase, "warm-up"),
            event(5.0, EventKind::Phase, "bursts"),
            event(5.3, EventKind::Scale, "1 to 5 workers: 260 loans queued"),
            event(21.3, EventKind::Fault, "Redis killed, restarted after 400 ms"),
            event(35.0, EventKind::Phase, "calm"),
            event(42.5, EventKind::Scale, "5 to 1 workers: queue empty for 5 s"),
        ],
        drain: Drain { backlog_peak: Some(1_420), backlog_peak_at_seconds: Some(7.4), seconds_to_empty: Some(1.8), left_over: Some(0) },
        workers: Workers { peak: Some(5), bound: Some(5), steps: 2, flaps: 0 },
        resources: Resources {
            service_rss_bytes_peak: Some(42 << 20),
            service_cpu_milliseconds: Some(14_200),
            redis_memory_start_bytes: Some(1_250_000),
            redis_memory_end_bytes: Some(1_310_000),
            loadgen_rss_bytes_peak: Some(61 << 20),
        },
        checks: vec![
            check("response p99, phase bursts", "at most 5 ms", "6.1 ms", false),
            check("end to end p99", "at most 1 s", "612 ms", true),
            check("lost", "exactly 0", "1", false),
            check("duplicated", "exactly 0", "0", true),
            check("time to drain", "at most 10 s", "1.8 s", true),
            check("workers peak", "at least 5", "5", true),
        ],
        settings: "name = \"burst-500\"\nseed = 1\n\n[[phase]]\nname = \"warm-up\"\nduration = \"5s\"\n\
                   shape = { ramp = { from = 50, to = 500 } }\n"
            .to_owned(),
        errors: vec![ErrorRow {
            kind: "timeout".to_owned(),
            count: 3,
            example: "r1-000017350 (valid), due at 21.310 s: no whole answer within 5 s".to_owned(),
            more_examples: vec!["r1-000017361 (valid), due at 21.324 s: no whole answer within 5 s".to_owned()],
        }],
        instants: vec![
            InstantNote {
                name: "intended".to_owned(),
                taken: "computed from the schedule, on the generator's monotonic clock".to_owned(),
            },
            InstantNote {
                name: "confirmed".to_owned(),
                taken: "in the service, right after MongoDB's majority and journal confirmation".to_owned(),
            },
        ],
        repeat: "loadgen run scenarios/burst-500.toml --seed 1".to_owned(),
        ..Report::default()
    }
}

/// A run that passed: the same load without the faults.
pub(crate) fn passed() -> Report {
    let mut report = failed();
    report.verdict = Verdict::Pass;
    report.why = vec![
        "Every loan answered 202 was found exactly once in MongoDB.".to_owned(),
        "Requests left on time: send lag p99 was 398 µs.".to_owned(),
    ];
    report.provenance.dirty = false;
    report.load.completed = report.load.sent;
    report.load.failed = 0;
    report.load.resent = 0;
    report.load.answers.queued += 3;
    report.load.answers.unknown = 0;
    report.by_kind[0].answers = BTreeMap::from([("202".to_owned(), 23_000)]);
    report.audit = Audit {
        complete: true,
        ids: 25_663,
        acknowledged: 25_393,
        rejected: 270,
        recorded: 23_013,
        failed: 2_380,
        ..Audit::default()
    };
    for row in &mut report.counters_agree {
        row.audit_max = row.audit;
        row.live = Some(row.audit);
        row.agree = true;
    }
    for check in report.checks.iter_mut().filter(|check| !check.pass) {
        check.pass = true;
        check.observed = String::from(if check.name == "lost" { "0" } else { "3.4 ms" });
    }
    report
        .time_series
        .iter_mut()
        .for_each(|point| point.failed = 0);
    report.events.retain(|event| event.kind != EventKind::Fault);
    report.errors.clear();
    report
}

/// A run that was stopped after a few seconds.
pub(crate) fn aborted() -> Report {
    let mut report = failed();
    report.verdict = Verdict::Aborted;
    report.why = vec!["Stopped by Ctrl-C after 3.2 s; the audit did not run.".to_owned()];
    report.duration_seconds = 3.2;
    report.reached_seconds = Some(2.8);
    report.load.sending_seconds = 2.8;
    report.load.rate_per_second = 217.9;
    report.load.planned_rate_per_second = 217.9;
    report.phases.truncate(1);
    report.phases[0].sent = 610;
    report.phases[0].completed = 610;
    report.time_series.truncate(3);
    report.audit = Audit::default();
    report.counters_agree.clear();
    report.checks.iter_mut().for_each(|check| {
        check.pass = false;
        check.observed = String::from("no data");
    });
    report.load.sent = 610;
    report.load.unsent = 26_390;
    report.load.completed = 610;
    report.load.failed = 0;
    report.load.resent = 0;
    report.load.answers = Answers {
        queued: 610,
        ..Answers::default()
    };
    report.load.end_to_end_us = Percentiles::default();
    report.phases[0].end_to_end_us = Percentiles::default();
    report.latency_curve.end_to_end_us.clear();
    report.by_kind.clear();
    report.events.truncate(1);
    report.errors.clear();
    if let Some(map) = &mut report.heatmap {
        map.columns.truncate(3);
    }
    report.drain = Drain {
        backlog_peak: Some(12),
        backlog_peak_at_seconds: Some(2.2),
        seconds_to_empty: None,
        left_over: None,
    };
    report
}

/// A run whose generator was too slow.
pub(crate) fn discarded() -> Report {
    let mut report = passed();
    let unsent = 1_200;
    report.verdict = Verdict::Discarded;
    report.why = vec!["1,200 arrivals were never sent.".to_owned()];
    report.load.sent -= unsent;
    report.load.unsent = unsent;
    report.load.completed = report.load.sent;
    report.load.answers.queued -= unsent;
    report.load.rate_per_second = 645.0;
    report.phases[1].sent -= unsent;
    report.phases[1].completed -= unsent;
    report.by_kind[0].sent -= unsent;
    report.by_kind[0].answers = BTreeMap::from([("202".to_owned(), report.by_kind[0].sent)]);
    report.audit.ids -= unsent;
    report.audit.acknowledged -= unsent;
    report.audit.recorded -= unsent;
    report.provenance.load_average_before = Some([3.8, 3.1, 2.2]);
    report
}

/// A run of an hour, with a stall and two faults in it.
pub(crate) fn hour() -> Report {
    const SECONDS: u32 = 3_600;
    let mut report = failed();
    report.scenario = String::from("soak");
    report.duration_seconds = 3_612.0;
    let pattern = report.time_series.clone();
    report.time_series = (0..SECONDS)
        .map(|at| {
            let mut point = pattern[5 + (at as usize * 7 + at as usize / 60) % 35].clone();
            point.offset_seconds = f64::from(at);
            if at == 1_800 {
                point.response_p99_us = Some(1_900_000);
            }
            point
        })
        .collect();
    report.phases.truncate(1);
    report.phases[0].name = String::from("steady");
    report.phases[0].end_seconds = f64::from(SECONDS);
    report.phases[0].scheduled = report.load.sent;
    report.phases[0].sent = report.load.sent;
    report.events = (0..400_u32)
        .map(|step| {
            let (from, to) = (step % 5, (step + 1) % 5);
            let text = format!("workers {from} to {to}: queue {}", step * 13);
            RunEvent::at(f64::from(step * 9), EventKind::Scale, text)
        })
        .collect();
    for at in [1_205.0, 2_410.0] {
        let text = "Redis killed, restarted after 400 ms";
        report.events.push(RunEvent::at(at, EventKind::Fault, text));
    }
    report
        .events
        .sort_by(|a, b| a.offset_seconds.total_cmp(&b.offset_seconds));
    let mut heat = Heat::default();
    for at in 0..SECONDS {
        heat.add(at as usize, &histogram_of(400, at));
    }
    report.heatmap = heat.map();
    report
}

/// Made-up answers of each second of the run.
fn heat() -> Heat {
    let mut heat = Heat::default();
    for (at, point) in (0..40).map(second).enumerate() {
        heat.add(at, &histogram_of(point.completed, at as u32));
    }
    heat
}

fn histogram_of(answers: u64, at: u32) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("3 digits are allowed");
    let busy = if answers > 1_000 { 4.0 } else { 1.0 };
    for answer in 0..answers {
        // Pseudo-random and the same in each run.
        let random = (answer * 7_919 + u64::from(at) * 104_729) % 10_007;
        let share = random as f64 / 10_007.0;
        let stalled = (21..23).contains(&at) && answer % 9 == 0;
        let us = 180.0
            + 160.0 * share * busy
            + 6_000.0 * share.powi(60) * busy
            + if stalled { 36_000.0 * share } else { 0.0 };
        histogram
            .record(us as u64)
            .expect("an automatic histogram takes every value");
    }
    histogram
}

/// A run that ended before anything was sent.
pub(crate) fn empty() -> Report {
    Report {
        scenario: "smoke".to_owned(),
        ..Report::default()
    }
}

/// Made-up latencies with a long tail, microseconds.
fn histogram(low: u64, high: u64) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("3 digits are allowed");
    for step in 1..=5_000_u64 {
        let share = step as f64 / 5_000.0;
        let value = low as f64 * (1.0 + 0.9 * share) + (high - low) as f64 * share.powi(40) * 0.6;
        histogram
            .record(value as u64)
            .expect("an automatic histogram takes every value");
    }
    histogram
}

fn second(at: u32) -> TimePoint {
    let offset_seconds = f64::from(at);
    let in_burst = (5..35).contains(&at) && (at - 5) % 10 < 2;
    let planned = match at {
        0..5 => 95 + 90 * u64::from(at),
        5..35 if in_burst => 2_000,
        5..35 => 500,
        35..40 => 325,
        _ => 0,
    };
    let faulty = (21..23).contains(&at);
    let queued = if in_burst {
        900 + 40 * u64::from(at % 10)
    } else {
        planned / 60
    };
    TimePoint {
        offset_seconds,
        planned,
        sent: planned,
        completed: if faulty { planned - 1 } else { planned },
        failed: u64::from(faulty),
        response_p50_us: (planned > 0).then_some(240 + u64::from(at) * 3 % 40 + planned / 20),
        response_p99_us: (planned > 0).then_some(if faulty { 38_000 } else { 900 + planned * 2 }),
        queue_depth: Some(queued),
        in_flight: Some(planned / 100),
        unrecorded: Some(planned / 4),
        workers: Some(match at {
            0..5 | 43.. => 1,
            5 => 3,
            _ => 5,
        }),
        recorded_per_second: Some(if at < 42 {
            (planned as f64 * 0.93).min(1_700.0).max(f64::from(at))
        } else {
            0.0
        }),
        admitted_per_second: Some(planned as f64 * 0.95),
    }
}
