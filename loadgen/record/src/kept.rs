//! A run that was kept: its report and its latencies by second, read back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plan::read_text;

use crate::interval::{self, Latency, LogError};
use crate::result::run::Report;
use crate::sparse::Sparse;

/// Why a kept run could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// A report cannot be read.
    #[error("cannot read the report {}: {what}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        what: String,
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

/// The most bytes of a report.
const BYTES_MAX: u64 = 64 << 20;
/// The latencies that two runs are compared by.
const COMPARED: [Latency; 4] = [
    Latency::Response,
    Latency::Service,
    Latency::SendLag,
    Latency::EndToEnd,
];

/// The most intervals that are kept of each latency. More say nothing more when they are resampled.
pub const INTERVALS_MAX: u64 = 300;

/// A run's report and its latencies by interval.
pub struct Run {
    /// The report.
    pub report: Report,
    /// The latencies by interval, of one phase or of all. Only those that two runs are compared by; in a long run neighbours are
    /// one interval, so that there are at most [`INTERVALS_MAX`] and one more.
    pub intervals: BTreeMap<(Latency, Option<u16>), Vec<Sparse>>,
}

impl Run {
    /// `place` is a run's folder or its `report.json`.
    ///
    /// # Errors
    /// When a file cannot be read or understood.
    pub fn load(place: &Path) -> Result<Self, KeptError> {
        let path = if place.is_dir() {
            place.join("report.json")
        } else {
            place.to_path_buf()
        };
        let text = read_text(&path, BYTES_MAX).map_err(|what| KeptError::Read {
            path: path.clone(),
            what,
        })?;
        let report: Report = serde_json::from_str(&text).map_err(|source| KeptError::Foreign {
            path: path.clone(),
            source,
        })?;
        let log = path.with_file_name(interval::FILE);
        let seconds = report.phases.last().map_or(0.0, |phase| phase.end_seconds);
        let together_s = (seconds.ceil() as u64).div_ceil(INTERVALS_MAX).max(1);
        let mut by_start: BTreeMap<(Latency, Option<u16>, u64), Sparse> = BTreeMap::new();
        // A report without its latencies still has its percentiles.
        if log.is_file() {
            interval::read(&log, |(latency, phase), interval| {
                if !COMPARED.contains(&latency) {
                    return;
                }
                let counts = Sparse::of(&interval.histogram);
                let start = interval.start_s as u64 / together_s;
                let mut add = |phase| {
                    by_start
                        .entry((latency, phase, start))
                        .or_default()
                        .add(&counts);
                };
                add(None);
                // Of one phase it would be the same once more.
                if latency == Latency::Response && report.phases.len() > 1 {
                    add(Some(phase));
                }
            })?;
        }
        let mut intervals: BTreeMap<(Latency, Option<u16>), Vec<Sparse>> = BTreeMap::new();
        for ((latency, phase, _), counts) in by_start {
            intervals.entry((latency, phase)).or_default().push(counts);
        }
        Ok(Self { report, intervals })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use plan::kind::Kind;

    use super::*;
    use crate::interval::IntervalLog;
    use crate::result::run::Phase;
    use crate::sample::{Answer, Sample};

    #[test]
    fn a_long_run_is_kept_in_few_intervals_and_nothing_is_lost() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let length = Duration::from_secs(1_000);
        let mut log = IntervalLog::create(&folder.path().join(interval::FILE), 0, length, &["all"])
            .expect("it is made");
        for number in 0..4_000u32 {
            let at = Duration::from_millis(250) * number;
            let sample = Sample {
                number,
                phase: 0,
                kind: Kind::Valid,
                intended: at,
                generator_lag: Duration::ZERO,
                sent: at,
                last_sent: at,
                done: at + Duration::from_micros(300),
                answer: Answer::Queued,
                resent: 0,
            };
            log.note(&sample, false);
        }
        log.finish().expect("it is written");
        let report = Report {
            phases: vec![Phase {
                end_seconds: 1_000.0,
                ..Phase::default()
            }],
            ..Report::default()
        };
        let text = serde_json::to_string(&report).expect("plain data");
        std::fs::write(folder.path().join("report.json"), text).expect("it is written");
        let run = Run::load(folder.path()).expect("it is read");
        let response = &run.intervals[&(Latency::Response, None)];
        assert!(response.len() as u64 <= INTERVALS_MAX, "{}", response.len());
        let counted: u64 = response
            .iter()
            .flat_map(Sparse::counts)
            .map(|(_, count)| count)
            .sum();
        assert_eq!(counted, 4_000);
        assert!(!run.intervals.contains_key(&(Latency::Response, Some(0))));
    }
}
