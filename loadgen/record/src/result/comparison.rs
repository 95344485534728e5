//! Two runs side by side: plain data.

use serde::Serialize;

/// Two runs side by side.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The first run: scenario, start and commit.
    pub a: String,
    /// The second run.
    pub b: String,
    /// What makes the two hard to compare, a sentence each.
    pub warnings: Vec<String>,
    /// The figures.
    pub rows: Vec<Row>,
}

/// One figure of both runs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What.
    pub name: String,
    /// The unit, such as `ms`.
    pub unit: &'static str,
    /// In the first run.
    pub a: Option<f64>,
    /// In the second run.
    pub b: Option<f64>,
    /// From the first to the second, per cent of the first.
    pub change_percent: Option<f64>,
    /// The range of that change that chance within the runs allows, per cent.
    pub interval_percent: Option<[f64; 2]>,
}

impl Row {
    /// Whether the difference is more than chance within the runs.
    pub fn differs(&self) -> Option<bool> {
        self.interval_percent
            .map(|[low, high]| low > 0.0 || high < 0.0)
    }
}
