//! Instructions and allocations of the hot path, counted by gungraun under valgrind. Hardly any chance is in them, so a
//! small growth counts.
//!
//! The bench `hot_path` of the crate `benches` does each step a thousand times; [`super::build`] lets gungraun count it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::build::Build;
use super::judge::percent;

/// How often the bench does each step.
const TIMES: f64 = 1_000.0;
/// The growth of instructions that is allowed.
const INSTRUCTIONS_GROWTH_MAX: f64 = 0.02;
/// The growth of allocations that is allowed, for a loan.
const ALLOCATIONS_GROWTH_MAX: f64 = 0.01;

/// What the steps of both builds cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HotPath {
    /// The steps that could be counted in both.
    pub rows: Vec<Row>,
    /// Why there are none, or not all.
    pub note: Option<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its name.
    pub step: String,
    /// What a loan costs in the base.
    pub base: Cost,
    /// What a loan costs in the head.
    pub head: Cost,
}

/// What one loan costs in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Instructions.
    pub instructions: f64,
    /// Allocations on the heap.
    pub allocations: f64,
}

impl HotPath {
    /// What grew beyond what is allowed, a sentence each.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for row in &self.rows {
            let growth = row.head.instructions / row.base.instructions.max(1.0) - 1.0;
            if growth > INSTRUCTIONS_GROWTH_MAX {
                failures.push(format!(
                    "The step {} takes {:.0} instructions for a loan, {} more than the base; {} is allowed.",
                    row.step,
                    row.head.instructions,
                    percent(growth),
                    percent(INSTRUCTIONS_GROWTH_MAX)
                ));
            }
            if row.head.allocations > row.base.allocations + ALLOCATIONS_GROWTH_MAX {
                failures.push(format!(
                    "The step {} allocates {:.2} times for a loan, and the base {:.2} times.",
                    row.step, row.head.allocations, row.base.allocations
                ));
            }
        }
        failures
    }

    /// In lines for the terminal.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = self
            .rows
            .iter()
            .map(|row| {
                format!(
                    "  {:<9} {:>8.0} to {:>8.0} instructions, {:.2} to {:.2} allocations",
                    row.step,
                    row.base.instructions,
                    row.head.instructions,
                    row.base.allocations,
                    row.head.allocations
                )
            })
            .collect();
        lines.extend(self.note.iter().map(|note| format!("  {note}")));
        lines.join("\n")
    }
}

/// Puts what was counted of both builds side by side. What could not be counted is left out and said.
pub fn compare(base: &Build, head: &Build) -> HotPath {
    let none = |note: String| HotPath {
        rows: Vec::new(),
        note: Some(format!("The hot path was not counted: {note}.")),
    };
    let (Some(base), Some(head)) = (&base.hot_path, &head.hot_path) else {
        return none(
            "valgrind or gungraun's runner is missing (make counters), or a commit has no bench for it".to_owned(),
        );
    };
    let (base, mut head) = match (read(base), read(head)) {
        (Ok(base), Ok(head)) => (base, head),
        (Err(what), _) | (_, Err(what)) => return none(what),
    };
    let rows: Vec<Row> = base
        .into_iter()
        .filter_map(|(step, base)| {
            let head = head.remove(&step)?;
            Some(Row { step, base, head })
        })
        .collect();
    if rows.is_empty() {
        return none("the builds have no step in common".to_owned());
    }
    HotPath { rows, note: None }
}

fn read(path: &Path) -> Result<BTreeMap<String, Cost>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    costs(&text)
}

/// What a loan costs in each step, from gungraun's summaries, one in a line.
fn costs(text: &str) -> Result<BTreeMap<String, Cost>, String> {
    let mut costs = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let summary: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let step = summary["function_name"]
            .as_str()
            .ok_or("a summary of gungraun names no function")?;
        let count = |tool: &str, metric: &str| {
            summary["profiles"]
                .as_array()?
                .iter()
                .find(|profile| profile["tool"] == tool)?["data"]["total"]["metrics"][metric]["values"]
                ["new"]
                .as_f64()
        };
        let cost = count("Callgrind", "Ir").zip(count("DHAT", "TotalBlocks"));
        let (instructions, blocks) =
            cost.ok_or_else(|| format!("gungraun's summary of {step} lacks a count"))?;
        costs.insert(
            step.to_owned(),
            Cost {
                instructions: instructions / TIMES,
                allocations: blocks / TIMES,
            },
        );
    }
    if costs.is_empty() {
        return Err("gungraun gave no summary".to_owned());
    }
    Ok(costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gungrauns_summaries_are_read() {
        let line = r#"{"function_name":"parse","profiles":[{"data":{"total":{"metrics":{"Ir":{"values":{"new":1234000}}}}},"tool":"Callgrind"},{"data":{"total":{"metrics":{"TotalBlocks":{"values":{"new":2013}}}}},"tool":"DHAT"}]}"#;
        let read = costs(&format!("{line}\n")).expect("a summary");
        let cost = read["parse"];
        assert!((cost.instructions - 1_234.0).abs() < 1e-9, "{cost:?}");
        assert!((cost.allocations - 2.013).abs() < 1e-9, "{cost:?}");
        assert!(costs("").is_err());
        assert!(costs(r#"{"function_name":"parse","profiles":[]}"#).is_err());
    }

    #[test]
    fn what_grows_is_told() {
        let row = |instructions, allocations| HotPath {
            rows: vec![Row {
                step: "parse".to_owned(),
                base: Cost {
                    instructions: 1000.0,
                    allocations: 2.0,
                },
                head: Cost {
                    instructions,
                    allocations,
                },
            }],
            note: None,
        };
        assert!(row(1015.0, 2.0).failures().is_empty());
        assert_eq!(row(1030.0, 2.0).failures().len(), 1);
        assert_eq!(row(1000.0, 3.0).failures().len(), 1);
    }
}
