//! The files of a run, the link to the latest one, and the list of all runs.

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::{fs, process};

use serde::{Deserialize, Serialize};

use crate::html::{self, RunRow, Unreadable};
use crate::words::{commit, instant};
use crate::{json, junit, markdown, series};
use record::folder::{RESULT_BYTES_MAX, in_words, read_whole, write_whole};
use record::result::run::{Percentiles, Report, Verdict};

/// Why the report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder could not be written.
    #[error("cannot write {}: {}", path.display(), in_words(source))]
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
    // The data first: the other files can be made again from it.
    write_data(report, dir)?;
    write_pages(report, dir)
}

/// Writes `report.json` into `dir`, which is made when it is missing.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn write_data(report: &Report, dir: &Path) -> Result<(), ReportError> {
    fs::create_dir_all(dir).map_err(write_error(dir))?;
    write_file(&dir.join("report.json"), &json::render(report))
}

/// Writes `report.html`, `junit.xml` and `summary.md` into `dir`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_pages(report: &Report, dir: &Path) -> Result<(), ReportError> {
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
    // One that was killed here may have had the same number.
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(target, &fresh)
        .and_then(|()| fs::rename(&fresh, &link))
        .map_err(|error| {
            let _ = fs::remove_file(&fresh);
            write_error(&link)(error)
        })
}

/// Writes `index.html` in `reports_dir`: the runs in its folder `runs`, newest first, with their trends, and the gates,
/// capacity searches and fault runs.
///
/// A folder without any of their files is left out while its run goes on. A run whose process ended without a report is
/// named as killed, and one whose `report.json` cannot be read as such.
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
    let mut unreadable = Vec::new();
    let mut series = Vec::new();
    for entry in fs::read_dir(&runs_dir).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let folder = entry.file_name().to_string_lossy().into_owned();
        match series::read(&entry.path(), &folder) {
            Some(Ok(row)) => series.push(row),
            Some(Err(why)) => unreadable.push(leftover(&entry.path(), folder.clone(), why)),
            None => {}
        }
        let bytes = match read_whole(&entry.path().join("report.json"), RESULT_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if is_absent(&error) => {
                if let Some(why) = killed(&entry.path()) {
                    unreadable.push(leftover(&entry.path(), folder, why));
                }
                continue;
            }
            Err(error) => {
                unreadable.push(leftover(&entry.path(), folder, error.to_string()));
                continue;
            }
        };
        match serde_json::from_slice::<RunSummary>(&bytes) {
            Ok(run) => runs.push(run.row(folder)),
            Err(error) => unreadable.push(leftover(&entry.path(), folder, error.to_string())),
        }
    }
    runs.sort_by(|a, b| (&b.started_at, &b.folder).cmp(&(&a.started_at, &a.folder)));
    series.sort_by(|a, b| (&b.started_at, &b.folder).cmp(&(&a.started_at, &a.folder)));
    unreadable.sort_by(|a, b| b.folder.cmp(&a.folder));
    let page = html::render_index(&runs, &series, &unreadable);
    write_file(&reports_dir.join("index.html"), &page)
}

/// The file in a run's folder that says which process makes it; it goes when the run has ended.
const RUNNING: &str = "running.json";

/// A process that makes a run. Its id alone may be another one's later; its start is its own.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    scenario: String,
    started_at: String,
    process: u32,
    process_start: String,
}

/// The folder of what this process makes: a run, a part of one, or a page about many. It says so in the folder, so that the
/// list tells of one that was killed; when it is dropped that is taken away, and the folder too if nothing was written.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, of what is called `name` and has just begun. Best effort: without a note one that is killed is only
    /// not in the list.
    pub fn of(path: PathBuf, name: &str, started_at: &str) -> Self {
        let running = Running {
            scenario: name.to_owned(),
            started_at: started_at.to_owned(),
            process: process::id(),
            process_start: start_of(process::id()).unwrap_or_default(),
        };
        if let Ok(text) = serde_json::to_string(&running) {
            let _ = write_whole(&path.join(RUNNING), (text + "\n").as_bytes());
        }
        Self(path)
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0.join(RUNNING));
        // One that is not empty stays.
        let _ = fs::remove_dir(&self.0);
    }
}

/// When a process began, by its own account of the system; `None` when there is none.
fn start_of(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

/// Why a run without a report has none, if its process has ended.
fn killed(dir: &Path) -> Option<String> {
    let text = match read_whole(&dir.join(RUNNING), RESULT_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if is_absent(&error) => return None,
        Err(_) => Vec::new(),
    };
    let Ok(running) = serde_json::from_slice::<Running>(&text) else {
        return Some("it was killed before its end: there is no report".to_owned());
    };
    let is_there = start_of(running.process).is_some_and(|start| start == running.process_start);
    (!is_there).then(|| {
        format!(
            "{}, begun {}, was killed before its end: there is no report",
            running.scenario,
            instant(&running.started_at)
        )
    })
}

/// Whether there is no such file.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn leftover(path: &Path, folder: String, why: String) -> Unreadable {
    Unreadable {
        has_page: path.join("report.html").is_file(),
        folder,
        why,
    }
}

/// The part of `report.json` that the list shows: the rest, long for a long run, is skipped while reading. What an older
/// version did not write is missing here too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunSummary {
    scenario: String,
    verdict: Verdict,
    started_at: String,
    #[serde(default)]
    provenance: ProvenanceSummary,
    #[serde(default)]
    load: LoadSummary,
    #[serde(default)]
    audit: AuditSummary,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ProvenanceSummary {
    git_commit: String,
    dirty: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LoadSummary {
    sent: u64,
    rate_per_second: f64,
    response_us: Percentiles,
    end_to_end_us: Percentiles,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuditSummary {
    complete: bool,
    lost: u64,
    duplicated: u64,
    unexpected: u64,
    mismatched: u64,
    stuck: u64,
}

impl RunSummary {
    fn row(self, folder: String) -> RunRow {
        let audit = &self.audit;
        let faults =
            audit.lost + audit.duplicated + audit.unexpected + audit.mismatched + audit.stuck;
        RunRow {
            folder,
            scenario: self.scenario,
            verdict: self.verdict,
            started_at: self.started_at,
            commit: commit(&self.provenance.git_commit, self.provenance.dirty),
            sent: self.load.sent,
            rate_per_second: self.load.rate_per_second,
            response_us: self.load.response_us,
            end_to_end_us: self.load.end_to_end_us,
            faults: audit.complete.then_some(faults),
        }
    }
}

/// Writes the whole file or none of it.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), ReportError> {
    write_whole(path, text.as_bytes()).map_err(write_error(path))
}

pub(crate) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> ReportError {
    move |source| ReportError::Write {
        path: path.to_owned(),
        source,
    }
}
