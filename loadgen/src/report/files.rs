//! The files of a run, the link to the latest one, and the list of all runs.

use std::io;
use std::path::{Path, PathBuf};
use std::{fs, process};

use serde::Deserialize;

use super::html::{self, RunRow};
use super::{Audit, Percentiles, Report, Verdict, json, junit, markdown};

/// Why the report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Writes `report.json`, `report.html`, `junit.xml` and `summary.md` into `dir`, which is made when it is missing.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write(report: &Report, dir: &Path) -> Result<(), ReportError> {
    fs::create_dir_all(dir).map_err(write_error(dir))?;
    // The data first: the other files can be made again from it.
    write_file(&dir.join("report.json"), &json::render(report))?;
    write_file(&dir.join("report.html"), &html::render(report))?;
    write_file(&dir.join("junit.xml"), &junit::render(report))?;
    write_file(&dir.join("summary.md"), &markdown::render(report))
}

/// Points the link `latest` in `reports_dir` to `run_dir`, relative when the run lies below it.
///
/// # Errors
/// When the link cannot be written; a file or folder named `latest` that is not a link is left alone.
pub fn point_latest(reports_dir: &Path, run_dir: &Path) -> Result<(), ReportError> {
    let link = reports_dir.join("latest");
    if link
        .symlink_metadata()
        .is_ok_and(|found| !found.is_symlink())
    {
        return Err(write_error(&link)(io::Error::other(
            "it exists and is not a link",
        )));
    }
    let target = run_dir.strip_prefix(reports_dir).unwrap_or(run_dir);
    // Made beside and renamed over: a reader finds the old link or the new one, never none.
    let fresh = reports_dir.join(format!(".latest-{}", process::id()));
    std::os::unix::fs::symlink(target, &fresh)
        .and_then(|()| fs::rename(&fresh, &link))
        .map_err(write_error(&link))
}

/// Writes `index.html` in `reports_dir`: the runs in its folder `runs`, newest first.
///
/// A folder without a readable `report.json` is left out.
///
/// # Errors
/// When the folder cannot be read or the file cannot be written.
pub fn write_index(reports_dir: &Path) -> Result<(), ReportError> {
    let runs_dir = reports_dir.join("runs");
    let read_error = |source| ReportError::Read {
        path: runs_dir.clone(),
        source,
    };
    let mut runs = Vec::new();
    for entry in fs::read_dir(&runs_dir).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let Ok(bytes) = fs::read(entry.path().join("report.json")) else {
            continue;
        };
        let Ok(run) = serde_json::from_slice::<RunSummary>(&bytes) else {
            continue;
        };
        runs.push(RunRow {
            folder: entry.file_name().to_string_lossy().into_owned(),
            scenario: run.scenario,
            verdict: run.verdict,
            started_at: run.started_at,
            sent: run.load.sent,
            rate_per_second: run.load.rate_per_second,
            response_us: run.load.response_us,
            end_to_end_us: run.load.end_to_end_us,
            faults: run.audit.complete.then(|| run.audit.faults()),
        });
    }
    runs.sort_by(|a, b| (&b.started_at, &b.folder).cmp(&(&a.started_at, &a.folder)));
    write_file(&reports_dir.join("index.html"), &html::render_index(&runs))
}

/// The part of `report.json` that the list shows: the rest, long for a long run, is skipped while reading.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunSummary {
    scenario: String,
    verdict: Verdict,
    started_at: String,
    load: LoadSummary,
    audit: Audit,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadSummary {
    sent: u64,
    rate_per_second: f64,
    response_us: Percentiles,
    end_to_end_us: Percentiles,
}

fn write_file(path: &Path, text: &str) -> Result<(), ReportError> {
    fs::write(path, text).map_err(write_error(path))
}

pub(super) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> ReportError {
    move |source| ReportError::Write {
        path: path.to_owned(),
        source,
    }
}
