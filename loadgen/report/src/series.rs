//! What the list of runs says of the pages about many runs: gates, capacity searches, fault runs.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::chaos::{self, sums};
use crate::files::is_absent;
use record::folder::{RESULT_BYTES_MAX, read_whole};
use record::number::rate;
use record::result::chaos::{Totals, Verdict};
use record::result::gate::Answer;

/// A page about many runs, in the list.
pub(crate) struct SeriesRow {
    pub(crate) folder: String,
    /// Its file in the folder.
    pub(crate) page: &'static str,
    pub(crate) name: String,
    /// How its answer is marked: `good`, `bad` or `hold`.
    pub(crate) tone: &'static str,
    pub(crate) answer: String,
    pub(crate) started_at: String,
    pub(crate) in_short: String,
}

/// What the folder at `path` holds: nothing of the sort, one of them, or one that cannot be read and why.
pub(crate) fn read(path: &Path, folder: &str) -> Option<Result<SeriesRow, String>> {
    let gate = || parsed(path, "gate.json", |gate: GateSummary| gate.row(folder));
    let capacity = || {
        let row = |capacity: CapacitySummary| capacity.row(folder);
        parsed(path, "capacity.json", row)
    };
    let chaos = || parsed(path, "chaos.json", |chaos: ChaosSummary| chaos.row(folder));
    gate().or_else(capacity).or_else(chaos)
}

/// `None` when there is no such file.
fn parsed<T: DeserializeOwned>(
    path: &Path,
    file: &str,
    row: impl FnOnce(T) -> SeriesRow,
) -> Option<Result<SeriesRow, String>> {
    let bytes = match read_whole(&path.join(file), RESULT_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    let summary = serde_json::from_slice(&bytes);
    Some(summary.map(row).map_err(|error| error.to_string()))
}

/// The parts of the files that the list shows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GateSummary {
    answer: Answer,
    base: (String, String),
    head: (String, String),
    started_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CapacitySummary {
    scenario: String,
    started_at: String,
    rate_per_second: Option<f64>,
    recorded_per_second: Option<f64>,
    #[serde(default)]
    is_unsteady: bool,
    #[serde(default)]
    is_stopped: bool,
    limit: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChaosSummary {
    verdict: Verdict,
    started_at: String,
    totals: Totals,
}

impl GateSummary {
    fn row(self, folder: &str) -> SeriesRow {
        let (tone, answer) = match self.answer {
            Answer::Pass => ("good", "✓ pass"),
            Answer::Fail => ("bad", "✗ fail"),
            Answer::Inconclusive => ("hold", "? inconclusive"),
            Answer::Aborted => ("hold", "■ aborted"),
        };
        let named = |(asked, commit): (String, String)| {
            let short = commit.get(..12).unwrap_or(&commit);
            if commit.is_empty() {
                asked
            } else if commit.starts_with(&asked) {
                short.to_owned()
            } else {
                format!("{asked} ({short})")
            }
        };
        SeriesRow {
            folder: folder.to_owned(),
            page: "gate.html",
            name: "performance gate".to_owned(),
            tone,
            answer: answer.to_owned(),
            started_at: self.started_at,
            in_short: format!("{} against {}", named(self.head), named(self.base)),
        }
    }
}

impl CapacitySummary {
    fn row(self, folder: &str) -> SeriesRow {
        let found = self.rate_per_second.zip(self.recorded_per_second);
        let (tone, answer) = found.map_or_else(
            || {
                let (tone, answer) = match (self.is_stopped, self.is_unsteady) {
                    (true, _) => ("hold", "■ aborted"),
                    (_, true) => ("hold", "? too unsteady"),
                    _ => ("bad", "✗ no rate"),
                };
                (tone, answer.to_owned())
            },
            |(sent, recorded)| {
                let answer = format!("✓ {} sent, {} recorded", rate(sent), rate(recorded));
                ("good", answer)
            },
        );
        SeriesRow {
            folder: folder.to_owned(),
            page: "capacity.html",
            name: format!("capacity of {}", self.scenario),
            tone,
            answer,
            started_at: self.started_at,
            in_short: self.limit,
        }
    }
}

impl ChaosSummary {
    fn row(self, folder: &str) -> SeriesRow {
        let tone = match self.verdict {
            Verdict::Pass => "good",
            Verdict::Fail => "bad",
            Verdict::Void => "hold",
        };
        SeriesRow {
            folder: folder.to_owned(),
            page: "chaos.html",
            name: "fault run".to_owned(),
            tone,
            answer: format!("{} {}", chaos::sign(self.verdict), self.verdict.name()),
            started_at: self.started_at,
            in_short: sums(&self.totals),
        }
    }
}
