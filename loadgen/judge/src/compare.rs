//! Two reports side by side, with how far each difference may be chance.
//!
//! The intervals are drawn by resampling whole seconds of each run, because the latencies within a second hang
//! together. So they cover how a run varies within itself. They do not cover how two runs of one build differ (the
//! machine's state, where memory happens to lie): for a judgement on a change, interleave many rounds with
//! `loadgen gate`.

use record::interval::Latency;
use record::kept::Run;
use record::number::{count, counted};
use record::result::comparison::{Comparison, Row};
use record::result::run::{Provenance, Report, Verdict};

use crate::bootstrap::{Blocks, Interval, RESAMPLES, Random};

/// The percentiles that are compared.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// Where the shares without an answer differ by this much, the response times of the others are not compared.
const UNANSWERED_APART: f64 = 0.001;
/// Fewer seconds than this say nothing about how they vary.
const SECONDS_MIN: usize = 5;

/// Compares two runs.
pub fn compare(a: &Run, b: &Run) -> Comparison {
    let mut rows = Vec::new();
    for latency in Latency::ALL {
        rows.extend(latency_rows(a, b, latency, None));
    }
    // Phases of the same name, where there is more than one.
    for (index, phase) in a.report.phases.iter().enumerate() {
        let other = b
            .report
            .phases
            .iter()
            .position(|other| other.name == phase.name);
        if let Some(other) = other
            && a.report.phases.len() > 1
        {
            rows.extend(latency_rows(
                a,
                b,
                Latency::Response,
                Some((index, other, &phase.name)),
            ));
        }
    }
    rows.extend(plain_rows(&a.report, &b.report));
    Comparison {
        a: title(a),
        b: title(b),
        warnings: warnings(&a.report, &b.report),
        rows,
    }
}

fn title(run: &Run) -> String {
    let commit = &run.report.provenance.service_commit;
    let short = commit.get(..12).unwrap_or(commit);
    let started = &run.report.started_at;
    let began = match (started.get(..10), started.get(11..19)) {
        (Some(date), Some(time)) if started.ends_with('Z') => format!("{date} {time} UTC"),
        _ => started.clone(),
    };
    format!(
        "{} of {began}, service {}",
        run.report.scenario,
        if short.is_empty() { "unknown" } else { short }
    )
}

/// The value at a percentile by the report itself, milliseconds.
fn percentile_ms(run: &Run, latency: Latency, phase: Option<usize>, name: &str) -> Option<f64> {
    let percentiles = match phase {
        None => {
            let load = &run.report.load;
            match latency {
                Latency::Response => &load.response_us,
                Latency::Service => &load.service_us,
                Latency::SendLag => &load.send_lag_us,
                Latency::EndToEnd => &load.end_to_end_us,
                Latency::Refused => &load.refused_us,
                Latency::Silent => &load.silent_us,
                Latency::GeneratorLag => &load.generator_lag_us,
                Latency::Undisturbed => return None,
            }
        }
        Some(phase) => {
            let phase = run.report.phases.get(phase)?;
            match latency {
                Latency::Response => &phase.response_us,
                Latency::Service => &phase.service_us,
                Latency::SendLag => &phase.send_lag_us,
                Latency::EndToEnd => &phase.end_to_end_us,
                Latency::GeneratorLag => &phase.generator_lag_us,
                Latency::Refused | Latency::Silent | Latency::Undisturbed => return None,
            }
        }
    };
    let us = match name {
        "p50" => percentiles.p50,
        "p90" => percentiles.p90,
        "p99" => percentiles.p99,
        _ => percentiles.p999,
    };
    us.map(|us| us as f64 / 1e3)
}

fn latency_rows(
    a: &Run,
    b: &Run,
    latency: Latency,
    phase: Option<(usize, usize, &str)>,
) -> Vec<Row> {
    let key = |of: fn((usize, usize, &str)) -> usize| phase.map(|phase| of(phase) as u16);
    let blocks = |run: &Run, phase: Option<u16>| {
        run.intervals
            .get(&(latency, phase))
            .map(Blocks::new)
            .filter(|blocks| blocks.len() >= SECONDS_MIN && !blocks.is_empty())
    };
    // Only answered requests have a response time: where more of one run's are missing, what is left says nothing of both.
    let is_of_answers = matches!(latency, Latency::Response | Latency::Service);
    let apart = (unanswered_ratio(&a.report) - unanswered_ratio(&b.report)).abs();
    let are_alike = !is_of_answers || apart < UNANSWERED_APART;
    let both = blocks(a, key(|phase| phase.0))
        .zip(blocks(b, key(|phase| phase.1)))
        .filter(|_| are_alike);
    let quantiles = QUANTILES.map(|(_, quantile)| quantile);
    let mut draws = vec![Vec::new(); quantiles.len()];
    if let Some((a, b)) = &both {
        let mut random = Random::new(1);
        for _ in 0..RESAMPLES {
            let (from, to) = (
                a.resample_us(&quantiles, &mut random),
                b.resample_us(&quantiles, &mut random),
            );
            for (draws, (from, to)) in draws.iter_mut().zip(from.iter().zip(&to)) {
                draws.push((to / from - 1.0) * 100.0);
            }
        }
    }
    QUANTILES
        .iter()
        .zip(draws)
        .map(|((name, _), draws)| {
            let place = phase.map_or_else(String::new, |(.., name)| format!(", phase {name}"));
            let a = percentile_ms(a, latency, phase.map(|phase| phase.0), name);
            let b = percentile_ms(b, latency, phase.map(|phase| phase.1), name);
            Row {
                name: format!("{} {name}{place}", latency.name().replace('-', " ")),
                unit: "ms",
                a,
                b,
                change_percent: change(a, b),
                interval_percent: Interval::of(draws).map(|interval| [interval.low, interval.high]),
            }
        })
        .filter(|row| row.a.is_some() || row.b.is_some())
        .collect()
}

fn plain_rows(a: &Report, b: &Report) -> Vec<Row> {
    let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
    let cpu = |report: &Report| {
        let ms = report.resources.service_cpu_milliseconds? as f64;
        (report.audit.recorded > 0).then(|| ms * 1000.0 / report.audit.recorded as f64)
    };
    let row = |name: &str, unit, of: &dyn Fn(&Report) -> Option<f64>| {
        let (a, b) = (of(a), of(b));
        Row {
            name: name.to_owned(),
            unit,
            a,
            b,
            change_percent: change(a, b),
            interval_percent: None,
        }
    };
    let whole = |count: u64| Some(count as f64);
    vec![
        row("rate", "/s", &|report| Some(report.load.rate_per_second)),
        row("sent", "", &|report| whole(report.load.sent)),
        row("without a definite answer", "", &|report| {
            whole(report.load.failed)
        }),
        row("recorded", "", &|report| whole(report.audit.recorded)),
        row("audit faults", "", &|report| {
            report.audit.complete.then(|| report.audit.faults() as f64)
        }),
        row("backlog peak", "", &|report| {
            report.drain.backlog_peak.map(|peak| peak as f64)
        }),
        row("drain", "s", &|report| report.drain.seconds_to_empty),
        row("workers peak", "", &|report| {
            report.workers.peak.map(|peak| peak as f64)
        }),
        row("service CPU for 1000 loans", "ms", &cpu),
        row("service memory peak", "MiB", &|report| {
            mib(report.resources.service_rss_bytes_peak)
        }),
        row("Redis memory at the end", "MiB", &|report| {
            mib(report.resources.redis_memory_end_bytes)
        }),
    ]
}

fn change(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    let (a, b) = (a?, b?);
    (a > 0.0).then(|| (b / a - 1.0) * 100.0)
}

fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut differ = |what: &str, a: &str, b: &str| {
        if a != b {
            let named = |text: &str| {
                if text.is_empty() {
                    "none".to_owned()
                } else {
                    text.to_owned()
                }
            };
            warnings.push(format!("The {what} differ: {} and {}.", named(a), named(b)));
        }
    };
    differ("scenarios", &a.scenario, &b.scenario);
    if a.scenario == b.scenario {
        differ(
            "scenario files",
            short(&a.provenance.scenario_sha256),
            short(&b.provenance.scenario_sha256),
        );
    }
    differ("seeds", &a.seed.to_string(), &b.seed.to_string());
    let phases = |report: &Report| {
        let phases: Vec<String> = report
            .phases
            .iter()
            .map(|phase| {
                format!(
                    "{} for {:.0} s",
                    phase.shape,
                    phase.end_seconds - phase.start_seconds
                )
            })
            .collect();
        phases.join(", then ")
    };
    differ("phases", &phases(a), &phases(b));
    let flags = |report: &Report| match report.provenance.set_by_flags.join(" ") {
        flags if flags.is_empty() => "none".to_owned(),
        flags => flags,
    };
    differ("flags", &flags(a), &flags(b));
    let generators = |report: &Report| report.provenance.generators.max(1).to_string();
    differ("numbers of generators", &generators(a), &generators(b));
    differ("targets", &a.provenance.target, &b.provenance.target);
    differ(
        "databases",
        &a.provenance.mongodb_database,
        &b.provenance.mongodb_database,
    );
    differ(
        "services' builds",
        &build(&a.provenance),
        &build(&b.provenance),
    );
    differ(
        "services' arguments",
        &a.provenance.service_arguments.join(" "),
        &b.provenance.service_arguments.join(" "),
    );
    differ(
        "load generators' builds",
        short(&a.provenance.loadgen_sha256),
        short(&b.provenance.loadgen_sha256),
    );
    differ("kernels", &a.provenance.kernel, &b.provenance.kernel);
    differ("processors", &a.provenance.cpu, &b.provenance.cpu);
    differ(
        "numbers of cores",
        &a.provenance.cores.to_string(),
        &b.provenance.cores.to_string(),
    );
    differ("Redis versions", &a.provenance.redis, &b.provenance.redis);
    differ(
        "MongoDB versions",
        &a.provenance.mongodb,
        &b.provenance.mongodb,
    );
    differ(
        "syncs of Redis",
        &a.provenance.appendfsync,
        &b.provenance.appendfsync,
    );
    for report in [a, b] {
        match report.verdict {
            Verdict::Pass => {}
            Verdict::Fail => warnings.push(format!("The run of {} failed.", report.started_at)),
            Verdict::Discarded | Verdict::Aborted => warnings.push(format!(
                "The run of {} was {}: its figures prove little.",
                report.started_at,
                report.verdict.name()
            )),
        }
        if report.load.failed > 0 {
            warnings.push(format!(
                "In the run of {} {} of {} had no definite answer: its response times are those of the others.",
                report.started_at,
                count(report.load.failed),
                counted(report.load.sent, "arrival")
            ));
        }
    }
    warnings
}

/// The share of what was sent that got no definite answer.
fn unanswered_ratio(report: &Report) -> f64 {
    report.load.failed as f64 / report.load.sent.max(1) as f64
}

/// The service's build, as far as it says.
fn build(provenance: &Provenance) -> String {
    let changes = if provenance.service_dirty {
        " with changes"
    } else {
        ""
    };
    match short(&provenance.service_commit) {
        "" => "unknown".to_owned(),
        commit => format!("{commit}{changes}"),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use plan::kind::Kind;
    use record::interval::{self, IntervalLog};
    use record::latencies::{empty, record};
    use record::result::run::{Percentiles, Phase};
    use record::sample::{Answer, Sample};

    use super::*;

    /// A run of twenty seconds whose answers take `us` and up to a tenth more.
    fn run(folder: &Path, us: u64) {
        let mut whole = empty();
        let mut log = IntervalLog::create(
            &folder.join(interval::FILE),
            0,
            Duration::from_secs(20),
            &["all"],
        )
        .expect("the file is made");
        for number in 0..4000u32 {
            let intended = Duration::from_millis(u64::from(number) * 5);
            let took = Duration::from_micros(us + u64::from(number % 97) * us / 970);
            record(&mut whole, took);
            let sample = Sample {
                number,
                phase: 0,
                kind: Kind::Valid,
                intended,
                generator_lag: Duration::ZERO,
                sent: intended,
                last_sent: intended,
                done: intended + took,
                answer: Answer::Queued,
                resent: 0,
            };
            log.note(&sample, false);
        }
        log.finish().expect("it is written");
        let mut report = Report {
            scenario: "t".to_owned(),
            phases: vec![Phase::default()],
            ..Report::default()
        };
        report.load.response_us = Percentiles::of(&whole);
        report.load.service_us = report.load.response_us;
        report.load.send_lag_us.count = whole.len();
        let text = serde_json::to_string(&report).expect("plain data");
        std::fs::write(folder.join("report.json"), text).expect("it is written");
    }

    /// How the median of a run whose answers take `us` differs from one of 1,000 us, where it has no answer to `failed` of 4,000.
    fn change_of(us: u64, failed: u64) -> Row {
        let folders = [
            tempfile::tempdir().expect("a temporary folder"),
            tempfile::tempdir().expect("a temporary folder"),
        ];
        run(folders[0].path(), 1000);
        run(folders[1].path(), us);
        let [a, mut b] = folders
            .each_ref()
            .map(|folder| Run::load(folder.path()).expect("a report"));
        b.report.load.sent = 4_000;
        b.report.load.failed = failed;
        let comparison = compare(&a, &b);
        comparison
            .rows
            .into_iter()
            .find(|row| row.name == "response p50")
            .expect("the row")
    }

    #[test]
    fn a_difference_is_told_from_chance() {
        let same = change_of(1000, 0);
        assert_eq!(same.differs(), Some(false));
        let slower = change_of(1100, 0);
        assert_eq!(slower.differs(), Some(true));
        let [low, high] = slower.interval_percent.expect("an interval");
        assert!(low > 8.0 && high < 12.0, "{low} to {high}");
    }

    /// Half of the answers are missing: the other half is not faster.
    #[test]
    fn nobody_is_faster_by_giving_no_answer() {
        assert_eq!(change_of(700, 2_000).differs(), None);
        assert_eq!(change_of(700, 2).differs(), Some(true));
    }

    #[test]
    fn what_makes_two_runs_different_is_said() {
        let phase = |end_seconds| Phase {
            shape: "constant 500/s".to_owned(),
            end_seconds,
            ..Phase::default()
        };
        let mut a = Report {
            phases: vec![phase(6.0)],
            ..Report::default()
        };
        let mut b = Report {
            phases: vec![phase(12.0)],
            ..Report::default()
        };
        a.provenance.set_by_flags = vec!["--duration 6s".to_owned()];
        b.provenance.mongodb_database = "other".to_owned();
        b.provenance.service_commit = "ab12".to_owned();
        a.verdict = Verdict::Fail;
        a.load.sent = 1_600;
        a.load.failed = 795;
        let said = warnings(&a, &b).join(" ");
        for part in [
            "failed. ",
            "795 of 1,600 arrivals had no definite answer",
            "constant 500/s for 6 s and constant 500/s for 12 s",
            "--duration 6s and none",
            "The databases differ",
            "The services' builds differ",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Run::load(Path::new("no/such")).err().expect("no report");
        assert!(error.to_string().contains("no/such"), "{error}");
    }
}
