//! Two reports side by side, with how far each difference may be chance.
//!
//! The intervals are drawn by resampling whole seconds of each run, because the latencies within a second hang
//! together. So they cover how a run varies within itself. They do not cover how two runs of one build differ (the
//! machine's state, where memory happens to lie): for a judgement on a change, interleave many rounds with
//! `loadgen gate`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bootstrap::{Blocks, Interval, RESAMPLES, Random};
use crate::histogram::empty;
use crate::interval::{self, Latency, LogError};
use crate::report::Report;

/// The percentiles that are compared.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// Fewer seconds than this say nothing about how they vary.
const SECONDS_MIN: usize = 5;

/// Why two reports could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A report cannot be read.
    #[error("cannot read the report {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A report cannot be understood.
    #[error("{} is not a report: {source}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The latencies of a run cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Two runs side by side.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The first run: scenario, start and commit.
    pub a: String,
    /// The second run.
    pub b: String,
    /// What makes the two hard to compare, a sentence each.
    pub warnings: Vec<String>,
    /// The figures.
    pub rows: Vec<Row>,
}

/// One figure of both runs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What.
    pub name: String,
    /// The unit, such as `ms`.
    pub unit: &'static str,
    /// In the first run.
    pub a: Option<f64>,
    /// In the second run.
    pub b: Option<f64>,
    /// From the first to the second, per cent of the first.
    pub change_percent: Option<f64>,
    /// The range of that change that chance within the runs allows, per cent.
    pub interval_percent: Option<[f64; 2]>,
}

impl Row {
    /// Whether the difference is more than chance within the runs.
    pub fn differs(&self) -> Option<bool> {
        self.interval_percent
            .map(|[low, high]| low > 0.0 || high < 0.0)
    }
}

/// A run's report and its latencies by second.
struct Run {
    report: Report,
    seconds: BTreeMap<(Latency, Option<u16>), Vec<Histogram<u64>>>,
}

impl Run {
    /// `place` is a run's folder or its `report.json`.
    fn load(place: &Path) -> Result<Self, CompareError> {
        let path = if place.is_dir() {
            place.join("report.json")
        } else {
            place.to_path_buf()
        };
        let text = std::fs::read_to_string(&path).map_err(|source| CompareError::Read {
            path: path.clone(),
            source,
        })?;
        let report = serde_json::from_str(&text).map_err(|source| CompareError::Foreign {
            path: path.clone(),
            source,
        })?;
        let log = path.with_file_name(interval::FILE);
        // A report without its latencies still has its percentiles.
        let log = if log.is_file() {
            interval::read(&log)?
        } else {
            BTreeMap::new()
        };
        let mut by_second: BTreeMap<(Latency, u64), Histogram<u64>> = BTreeMap::new();
        let mut seconds: BTreeMap<(Latency, Option<u16>), Vec<Histogram<u64>>> = BTreeMap::new();
        for ((latency, phase), intervals) in log {
            for interval in &intervals {
                by_second
                    .entry((latency, interval.start_s as u64))
                    .or_insert_with(empty)
                    .add(&interval.histogram)
                    .ok();
            }
            seconds
                .entry((latency, Some(phase)))
                .or_default()
                .extend(intervals.into_iter().map(|interval| interval.histogram));
        }
        for ((latency, _), histogram) in by_second {
            seconds.entry((latency, None)).or_default().push(histogram);
        }
        Ok(Self { report, seconds })
    }

    fn title(&self) -> String {
        let commit = &self.report.provenance.service_commit;
        let short = commit.get(..12).unwrap_or(commit);
        format!(
            "{} of {}, service {}",
            self.report.scenario,
            self.report.started_at,
            if short.is_empty() { "unknown" } else { short }
        )
    }

    /// The value at a percentile by the report itself, milliseconds.
    fn percentile_ms(&self, latency: Latency, phase: Option<usize>, name: &str) -> Option<f64> {
        let percentiles = match phase {
            None => {
                let load = &self.report.load;
                match latency {
                    Latency::Response => &load.response_us,
                    Latency::Service => &load.service_us,
                    Latency::SendLag => &load.send_lag_us,
                    Latency::EndToEnd => &load.end_to_end_us,
                }
            }
            Some(phase) => {
                let phase = self.report.phases.get(phase)?;
                match latency {
                    Latency::Response => &phase.response_us,
                    Latency::Service => &phase.service_us,
                    Latency::SendLag => &phase.send_lag_us,
                    Latency::EndToEnd => &phase.end_to_end_us,
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
}

/// Compares the runs in the folders (or `report.json` files) `a` and `b`.
///
/// # Errors
/// When one of them cannot be read.
pub fn compare(a: &Path, b: &Path) -> Result<Comparison, CompareError> {
    let (a, b) = (Run::load(a)?, Run::load(b)?);
    let mut rows = Vec::new();
    for latency in Latency::ALL {
        rows.extend(latency_rows(&a, &b, latency, None));
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
                &a,
                &b,
                Latency::Response,
                Some((index, other, &phase.name)),
            ));
        }
    }
    rows.extend(plain_rows(&a.report, &b.report));
    Ok(Comparison {
        a: a.title(),
        b: b.title(),
        warnings: warnings(&a.report, &b.report),
        rows,
    })
}

fn latency_rows(
    a: &Run,
    b: &Run,
    latency: Latency,
    phase: Option<(usize, usize, &str)>,
) -> Vec<Row> {
    let key = |of: fn((usize, usize, &str)) -> usize| phase.map(|phase| of(phase) as u16);
    let blocks = |run: &Run, phase: Option<u16>| {
        run.seconds
            .get(&(latency, phase))
            .map(Blocks::new)
            .filter(|blocks| blocks.len() >= SECONDS_MIN && !blocks.is_empty())
    };
    let both = blocks(a, key(|phase| phase.0)).zip(blocks(b, key(|phase| phase.1)));
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
            let a = a.percentile_ms(latency, phase.map(|phase| phase.0), name);
            let b = b.percentile_ms(latency, phase.map(|phase| phase.1), name);
            Row {
                name: format!("{} {name}{place}", latency.name()),
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
    let count = |count: u64| Some(count as f64);
    vec![
        row("rate", "/s", &|report| Some(report.load.rate_per_second)),
        row("sent", "", &|report| count(report.load.sent)),
        row("without a definite answer", "", &|report| {
            count(report.load.failed)
        }),
        row("recorded", "", &|report| count(report.audit.recorded)),
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
            warnings.push(format!("The {what} differ: {a} and {b}."));
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
        if matches!(
            report.verdict,
            crate::report::Verdict::Discarded | crate::report::Verdict::Aborted
        ) {
            warnings.push(format!(
                "The run of {} was {}: its figures prove little.",
                report.started_at,
                report.verdict.name()
            ));
        }
    }
    warnings
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

impl Comparison {
    /// The comparison as plain text.
    pub fn text(&self) -> String {
        let mut text = format!("A  {}\nB  {}\n", self.a, self.b);
        for warning in &self.warnings {
            let _ = writeln!(text, "note: {warning}");
        }
        let name = |row: &Row| {
            let gap = if row.unit.is_empty() { "" } else { ", " };
            format!("{}{gap}{}", row.name, row.unit)
        };
        let width = self.rows.iter().map(|row| name(row).len()).max();
        let width = width.unwrap_or(0);
        let _ = writeln!(
            text,
            "\n{:width$} {:>12} {:>12} {:>9}   95 % within the runs",
            "", "A", "B", "change"
        );
        for row in &self.rows {
            let figure = |value: Option<f64>| {
                value.map_or_else(|| "no data".to_owned(), |value| format!("{value:.2}"))
            };
            let change = row
                .change_percent
                .map_or_else(String::new, |change| format!("{change:+.1} %"));
            let interval = row
                .interval_percent
                .map_or_else(String::new, |[low, high]| {
                    let sign = if row.differs() == Some(true) {
                        "differs"
                    } else {
                        "may be chance"
                    };
                    format!("{low:+.1} to {high:+.1} %, {sign}")
                });
            let line = format!(
                "{:width$} {:>12} {:>12} {change:>9}   {interval}",
                name(row),
                figure(row.a),
                figure(row.b)
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push_str(
            "\nThe intervals come of resampling whole seconds of each run. They cover how a run varies within itself,\n\
             not how two runs of one build differ; `loadgen gate` interleaves rounds for that.\n",
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::record;
    use crate::interval::IntervalLog;
    use crate::payload::Kind;
    use crate::report::{Percentiles, Phase};
    use crate::sample::{Answer, Sample};
    use std::time::Duration;

    /// A run of twenty seconds whose answers take `us` and up to a tenth more.
    fn run(folder: &Path, us: u64) {
        let mut whole = empty();
        let mut log = IntervalLog::create(&folder.join(interval::FILE), 0, &["all"])
            .expect("the file is made");
        for number in 0..4000u32 {
            let intended = Duration::from_millis(u64::from(number) * 5);
            let took = Duration::from_micros(us + u64::from(number % 97) * us / 970);
            record(&mut whole, took);
            log.note(&Sample {
                number,
                phase: 0,
                kind: Kind::Valid,
                intended,
                sent: intended,
                last_sent: intended,
                done: intended + took,
                answer: Answer::Queued,
                resent: 0,
            });
        }
        log.finish().expect("it is written");
        let mut report = Report {
            scenario: "t".to_owned(),
            phases: vec![Phase::default()],
            ..Report::default()
        };
        report.load.response_us = Percentiles::of(&whole);
        let text = serde_json::to_string(&report).expect("plain data");
        std::fs::write(folder.join("report.json"), text).expect("it is written");
    }

    fn change_of(us: u64) -> Row {
        let folders = [
            tempfile::tempdir().expect("a temporary folder"),
            tempfile::tempdir().expect("a temporary folder"),
        ];
        run(folders[0].path(), 1000);
        run(folders[1].path(), us);
        let comparison = compare(folders[0].path(), folders[1].path()).expect("two reports");
        assert!(comparison.text().contains("\nresponse p50, ms "));
        comparison
            .rows
            .into_iter()
            .find(|row| row.name == "response p50")
            .expect("the row")
    }

    #[test]
    fn a_difference_is_told_from_chance() {
        let same = change_of(1000);
        assert_eq!(same.differs(), Some(false));
        let slower = change_of(1100);
        assert_eq!(slower.differs(), Some(true));
        let [low, high] = slower.interval_percent.expect("an interval");
        assert!(low > 8.0 && high < 12.0, "{low} to {high}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = compare(Path::new("no/such"), Path::new("no/such")).expect_err("no report");
        assert!(error.to_string().contains("no/such"), "{error}");
    }
}
