//! Instructions and allocations of the hot path, counted by valgrind. No chance is in them, so a small growth counts.
//!
//! The program `hotpath` of the crate `benches` does one step a given number of times. It is counted for two numbers;
//! the difference, divided, is what one loan costs, without the program's own start.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::build::Build;
use super::judge::percent;

/// The steps, by the names that the program knows.
const STEPS: [&str; 3] = ["parse", "validate", "enrich"];
/// How often a step is done for the two counts.
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;
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

/// Counts every step of both builds. What cannot be counted is left out and said.
pub fn compare(base: &Build, head: &Build) -> HotPath {
    let (Some(base), Some(head)) = (&base.hotpath, &head.hotpath) else {
        return HotPath {
            rows: Vec::new(),
            note: Some(
                "The hot path was not counted: one of the builds has no program for it.".to_owned(),
            ),
        };
    };
    if Command::new("valgrind").arg("--version").output().is_err() {
        return HotPath {
            rows: Vec::new(),
            note: Some(
                "The hot path was not counted: valgrind is not installed (apt-get install valgrind)."
                    .to_owned(),
            ),
        };
    }
    let mut counted = HotPath::default();
    for step in STEPS {
        match (cost(base, step), cost(head, step)) {
            (Ok(base), Ok(head)) => counted.rows.push(Row {
                step: step.to_owned(),
                base,
                head,
            }),
            (Err(what), _) | (_, Err(what)) => {
                counted.note = Some(format!("The step {step} was not counted: {what}."));
            }
        }
    }
    counted
}

fn cost(program: &Path, step: &str) -> Result<Cost, String> {
    let each = |few: u64, many: u64| many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
    let instructions = |count| valgrind(program, step, count, Tool::Instructions);
    let allocations = |count| valgrind(program, step, count, Tool::Allocations);
    Ok(Cost {
        instructions: each(instructions(FEW)?, instructions(MANY)?),
        allocations: each(allocations(FEW)?, allocations(MANY)?),
    })
}

#[derive(Clone, Copy)]
enum Tool {
    Instructions,
    Allocations,
}

fn valgrind(program: &Path, step: &str, count: u64, tool: Tool) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    match tool {
        Tool::Instructions => command.args([
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        ]),
        Tool::Allocations => command.args(["--tool=memcheck", "--leak-check=no"]),
    };
    let output = command
        .arg(program)
        .args([step, &count.to_string()])
        .output()
        .map_err(|error| format!("valgrind did not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let last = text.lines().next_back().unwrap_or_default();
        return Err(format!("valgrind ended with {}: {last}", output.status));
    }
    let figure = match tool {
        Tool::Instructions => after(&text, "I refs:").or_else(|| after(&text, "I   refs:")),
        Tool::Allocations => after(&text, "total heap usage:"),
    };
    figure.ok_or_else(|| "valgrind gave no count".to_owned())
}

/// The number behind `label`.
fn after(text: &str, label: &str) -> Option<u64> {
    let rest = &text[text.find(label)? + label.len()..];
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valgrinds_figures_are_read() {
        let text =
            "==1== I   refs:      1,234,567\n==2==   total heap usage: 12,345 allocs, 9 frees";
        assert_eq!(after(text, "I   refs:"), Some(1_234_567));
        assert_eq!(after(text, "total heap usage:"), Some(12_345));
        assert_eq!(after(text, "no such"), None);
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
