//! A run that was kept: its report and its latencies by second, read back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

use crate::interval::{self, Latency, LogError};
use crate::latencies::empty;
use crate::result::run::Report;

/// Why a kept run could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
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

/// A run's report and its latencies by second.
pub struct Run {
    /// The report.
    pub report: Report,
    /// The latencies by second, of one phase or of all.
    pub seconds: BTreeMap<(Latency, Option<u16>), Vec<Histogram<u64>>>,
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
        let text = std::fs::read_to_string(&path).map_err(|source| KeptError::Read {
            path: path.clone(),
            source,
        })?;
        let report = serde_json::from_str(&text).map_err(|source| KeptError::Foreign {
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
}
