//! One self-test: plain data, as `self-test.json` holds it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::result::run::Verdict;

/// The file in the reports' folder that holds the last result.
pub const FILE: &str = "self-test.json";

/// The result of a self-test, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfTest {
    /// When it ended, RFC 3339, UTC.
    pub finished_at: String,
    /// SHA-256 of the binary that was tested.
    pub loadgen_sha256: String,
    /// Every known truth beside what was found.
    pub rows: Vec<Row>,
    /// What stopped it before its end, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// One known truth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What is compared.
    pub name: String,
    /// The truth.
    pub expected: String,
    /// What the generator said.
    pub observed: String,
    /// Whether that is close enough.
    pub pass: bool,
}

impl SelfTest {
    /// Whether every known truth was looked at and found.
    pub fn pass(&self) -> bool {
        self.stopped.is_none() && !self.rows.is_empty() && self.rows.iter().all(|row| row.pass)
    }

    /// Its exit code: 0 every truth was found, 1 one was missed, 4 aborted.
    pub fn exit_code(&self) -> u8 {
        match self.stopped {
            Some(_) => Verdict::Aborted.exit_code(),
            None if self.pass() => Verdict::Pass.exit_code(),
            None => Verdict::Fail.exit_code(),
        }
    }

    /// The result as a table.
    pub fn table(&self) -> String {
        let width = |of: fn(&Row) -> &str, least: usize| {
            self.rows
                .iter()
                .map(|row| of(row).chars().count())
                .max()
                .unwrap_or(0)
                .max(least)
        };
        let name = width(|row| &row.name, 9);
        let expected = width(|row| &row.expected, 5);
        let mut table = format!("{:name$}  {:expected$}  found\n", "known truth", "truth");
        for row in &self.rows {
            let sign = if row.pass { "" } else { "   MISSED" };
            let _ = writeln!(
                table,
                "{:name$}  {:expected$}  {}{sign}",
                row.name, row.expected, row.observed
            );
        }
        table
    }
}
