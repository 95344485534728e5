//! A run that was kept: its report and its latencies by second, read back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plan::read_text;
use serde::Deserialize;
use serde_json::error::Category;

use crate::folder::RESULT_BYTES_MAX;
use crate::interval::{self, Latency, LogError};
use crate::result::run::{Report, SCHEMA_VERSION};
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
    #[error("{} is not a report: {}", path.display(), not_understood(error))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: serde_json::Error,
    },
    /// A report is of another version of the format.
    #[error(
        "{} is a report of version {version}, and this loadgen reads version {SCHEMA_VERSION}",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The latencies of a run are not all there.
    #[error(
        "{} is not whole: it holds {noted} values of {}, and the report {counted}",
        path.display(),
        latency.name()
    )]
    Torn {
        /// The file.
        path: PathBuf,
        /// Which of them.
        latency: Latency,
        /// How many are in it.
        noted: u64,
        /// How many the report has.
        counted: u64,
    },
    /// The latencies of a run cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why a file of JSON cannot be understood, in words that need no Rust.
pub(crate) fn not_understood(error: &serde_json::Error) -> String {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Eof if error.line() <= 1 && error.column() == 0 => "it is empty".to_owned(),
        Category::Eof => format!("it ends in the middle, at {place}"),
        Category::Syntax => format!("it is no JSON, at {place}"),
        Category::Data | Category::Io => {
            let text = error.to_string().replace('`', "");
            let what = text.split(" at line ").next().unwrap_or_default();
            format!("{what}, at {place}")
        }
    }
}

/// The latencies that two runs are compared by.
const COMPARED: [Latency; 4] = [
    Latency::Response,
    Latency::Service,
    Latency::SendLag,
    Latency::EndToEnd,
];

/// The most intervals that are kept of each latency. More say nothing more when they are resampled.
pub const INTERVALS_MAX: u64 = 300;

/// What every version of a report says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    schema_version: u32,
}

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
        let text = read_text(&path, RESULT_BYTES_MAX).map_err(|what| KeptError::Read {
            path: path.clone(),
            what,
        })?;
        let foreign = |error| KeptError::Foreign {
            path: path.clone(),
            error,
        };
        let version: Version = serde_json::from_str(&text).map_err(foreign)?;
        if version.schema_version != SCHEMA_VERSION {
            return Err(KeptError::Version {
                path,
                version: version.schema_version,
            });
        }
        let report: Report = serde_json::from_str(&text).map_err(foreign)?;
        let log = path.with_file_name(interval::FILE);
        let seconds = report.phases.last().map_or(0.0, |phase| phase.end_seconds);
        let together_s = (seconds.ceil() as u64).div_ceil(INTERVALS_MAX).max(1);
        let mut by_start: BTreeMap<(Latency, Option<u16>, u64), Sparse> = BTreeMap::new();
        // A report without its latencies still has its percentiles.
        if log.is_file() {
            let load = &report.load;
            let mut told = [
                (Latency::Response, load.response_us.count, 0),
                (Latency::Service, load.service_us.count, 0),
                (Latency::SendLag, load.send_lag_us.count, 0),
                (Latency::EndToEnd, load.end_to_end_us.count, 0),
            ];
            interval::read(&log, |(latency, phase), interval| {
                if !COMPARED.contains(&latency) {
                    return;
                }
                for (of, _, noted) in &mut told {
                    *noted += if *of == latency {
                        interval.histogram.len()
                    } else {
                        0
                    };
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
            let torn = told
                .into_iter()
                .find(|(_, counted, noted)| counted != noted);
            if let Some((latency, counted, noted)) = torn {
                return Err(KeptError::Torn {
                    path: log,
                    latency,
                    noted,
                    counted,
                });
            }
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
    use crate::result::run::{Load, Percentiles, Phase};
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
        let all = Percentiles {
            count: 4_000,
            ..Percentiles::default()
        };
        let report = Report {
            phases: vec![Phase {
                end_seconds: 1_000.0,
                ..Phase::default()
            }],
            load: Load {
                response_us: all,
                service_us: all,
                send_lag_us: all,
                ..Load::default()
            },
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

        // One that was cut off between two lines is no log of this report.
        let log = folder.path().join(interval::FILE);
        let whole = std::fs::read_to_string(&log).expect("it is text");
        let last_line = whole.trim_end().rfind('\n').expect("it has lines") + 1;
        let without_response = whole[..last_line]
            .rfind("\nTag=response")
            .expect("one more");
        std::fs::write(&log, &whole[..=without_response]).expect("it is written");
        let error = Run::load(folder.path()).err().expect("it is not whole");
        assert!(matches!(error, KeptError::Torn { .. }), "{error}");

        // What another version says is not guessed at.
        let newer = serde_json::to_string(&report).expect("plain data");
        let newer = newer.replacen("\"schemaVersion\":2", "\"schemaVersion\":3", 1);
        std::fs::write(folder.path().join("report.json"), newer).expect("it is written");
        let error = Run::load(folder.path())
            .err()
            .expect("it is another version");
        assert!(error.to_string().contains("version 3"), "{error}");
    }
}
