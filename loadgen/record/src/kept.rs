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

/// A run's report and its latencies by interval.
pub struct Run {
    /// The report.
    pub report: Report,
    /// The latencies by interval, of one phase or of all. Only those that two runs are compared by.
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
        let report = serde_json::from_str(&text).map_err(|source| KeptError::Foreign {
            path: path.clone(),
            source,
        })?;
        let log = path.with_file_name(interval::FILE);
        let mut by_start: BTreeMap<(Latency, u64), Sparse> = BTreeMap::new();
        let mut intervals: BTreeMap<(Latency, Option<u16>), Vec<Sparse>> = BTreeMap::new();
        // A report without its latencies still has its percentiles.
        if log.is_file() {
            interval::read(&log, |(latency, phase), interval| {
                if !COMPARED.contains(&latency) {
                    return;
                }
                let counts = Sparse::of(&interval.histogram);
                by_start
                    .entry((latency, interval.start_s as u64))
                    .or_default()
                    .add(&counts);
                if latency == Latency::Response {
                    intervals
                        .entry((latency, Some(phase)))
                        .or_default()
                        .push(counts);
                }
            })?;
        }
        for ((latency, _), counts) in by_start {
            intervals.entry((latency, None)).or_default().push(counts);
        }
        Ok(Self { report, intervals })
    }
}
