//! What the steps of the hot path cost: instructions and allocations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::result::gate::percent;

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
    /// What it may cost by the baseline that the head holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Cost>,
}

/// What the steps cost when someone last agreed to it. It is a file of the repository, which `loadgen gate-hot-path` writes: a
/// base moves on with every commit, and with it growth that is too small for one gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baseline {
    /// The compiler that it was counted with. Another one makes other instructions of the same source.
    pub compiler: String,
    /// What a loan costs, by step.
    pub steps: BTreeMap<String, Cost>,
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
            let limits = [
                (Some(row.base), "the base", ""),
                (row.baseline, "the committed baseline", MEANT),
            ];
            for (limit, name, advice) in limits {
                if let Some(limit) = limit {
                    failures
                        .extend(grown(&row.step, limit, row.head, name).map(|told| told + advice));
                }
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
                let baseline = row.baseline.map_or_else(String::new, |cost| {
                    format!(" (baseline {:.0})", cost.instructions)
                });
                format!(
                    "  {:<11} {:>8.0} to {:>8.0} instructions{baseline}, {:.2} to {:.2} allocations",
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

/// What to do about a step that is above the baseline.
const MEANT: &str = " If that is meant, write the baseline anew with loadgen gate-hot-path.";

/// Says what of a step lies above `limit` by more than is allowed; `name` says whose figures these are.
fn grown(step: &str, limit: Cost, head: Cost, name: &str) -> Option<String> {
    let growth = head.instructions / limit.instructions.max(1.0) - 1.0;
    if growth > INSTRUCTIONS_GROWTH_MAX {
        return Some(format!(
            "The step {step} takes {:.0} instructions for a loan, {} more than {name}; {} is allowed.",
            head.instructions,
            percent(growth),
            percent(INSTRUCTIONS_GROWTH_MAX)
        ));
    }
    (head.allocations > limit.allocations + ALLOCATIONS_GROWTH_MAX).then(|| {
        format!(
            "The step {step} allocates {:.2} times for a loan, and {name} {:.2} times.",
            head.allocations, limit.allocations
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_told() {
        let row = |instructions, allocations, baseline: Option<f64>| HotPath {
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
                baseline: baseline.map(|instructions| Cost {
                    instructions,
                    allocations: 2.0,
                }),
            }],
            note: None,
        };
        assert!(row(1015.0, 2.0, None).failures().is_empty());
        assert_eq!(row(1030.0, 2.0, None).failures().len(), 1);
        assert_eq!(row(1000.0, 3.0, None).failures().len(), 1);

        // Little by little: no more than the base, and yet more than was agreed.
        assert!(row(1015.0, 2.0, Some(1000.0)).failures().is_empty());
        let crept = row(1015.0, 2.0, Some(980.0)).failures();
        assert_eq!(crept.len(), 1, "{crept:?}");
        assert!(
            crept[0].contains("3.6 % more than the committed baseline"),
            "{crept:?}"
        );
        assert!(crept[0].contains("loadgen gate-hot-path"), "{crept:?}");
        assert_eq!(row(1030.0, 2.0, Some(1000.0)).failures().len(), 2);
    }
}
