//! What the steps of the hot path cost: instructions and allocations.

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
                    "  {:<11} {:>8.0} to {:>8.0} instructions, {:.2} to {:.2} allocations",
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

#[cfg(test)]
mod tests {
    use super::*;

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
