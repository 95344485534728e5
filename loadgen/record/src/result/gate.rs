//! One performance gate: plain data, as `gate.json` holds it.

use serde::{Deserialize, Serialize};

use crate::result::hotpath::HotPath;
use crate::result::run::Provenance;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The build to compare with.
    Base,
    /// The build that is judged.
    Head,
    /// The base again, as if it were another build.
    Control,
}

/// Rounds in a block: two of each arm.
pub const BLOCK_LEN: usize = 6;

/// The order of the rounds in the block with this number: mirrored, so that each arm is as early as it is late, and another
/// arm is first, in the middle and last from block to block.
pub const fn order(block: usize) -> [Arm; BLOCK_LEN] {
    use Arm::{Base, Control, Head};
    let (first, second, third) = match block % 6 {
        0 => (Base, Head, Control),
        1 => (Head, Control, Base),
        2 => (Control, Base, Head),
        3 => (Base, Control, Head),
        4 => (Control, Head, Base),
        _ => (Head, Base, Control),
    };
    [first, second, third, third, second, first]
}

/// The result of a gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The answer.
    pub answer: Answer,
    /// The reasons, the most important first.
    pub why: Vec<String>,
    /// The base: what was asked for, and its commit.
    pub base: (String, String),
    /// The head.
    pub head: (String, String),
    /// When it began, RFC 3339, UTC.
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// Head against base.
    pub judgement: Judgement,
    /// Control against base: what the machine makes of no change at all.
    pub control: Judgement,
    /// Instructions and allocations of the hot path, where they could be counted.
    pub hot_path: HotPath,
    /// Every round, in order.
    pub rounds: Vec<Round>,
    /// What was measured, on what.
    pub provenance: Provenance,
}

/// What one round cost, by loan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// What was measured.
    pub arm: Arm,
    /// When, RFC 3339, UTC.
    pub at: String,
    /// Processor time of the service for an admitted loan, microseconds: the median of the slices.
    pub admit_cpu_us: f64,
    /// The same divided by the client's own time for a loan, median of the slices. The client does the same for every
    /// build, so a machine that is slow for a while slows both.
    pub admit_cpu_ratio: f64,
    /// The service's time of each slice, microseconds for a loan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admit_slices_us: Vec<f64>,
    /// The client's time of each slice, microseconds for a loan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_slices_us: Vec<f64>,
    /// Processor time of Redis for an admitted loan, microseconds.
    pub admit_redis_us: f64,
    /// Wall time for an admitted loan, microseconds.
    pub admit_wall_us: f64,
    /// Median time to an answer, microseconds.
    pub admit_p50_us: f64,
    /// The time to an answer that 99 of 100 did not exceed, microseconds; 0 in rounds that were recorded without it.
    #[serde(default)]
    pub admit_p99_us: f64,
    /// Processor time of the service for a recorded loan, from the request to MongoDB's confirmation, microseconds.
    pub record_cpu_us: f64,
    /// Wall time for a recorded loan, microseconds.
    pub record_wall_us: f64,
    /// Faults in the exact counts, a sentence each.
    pub faults: Vec<String>,
}

impl Round {
    /// Whether every figure that others are divided by is one; the 99th percentile was not always recorded.
    pub fn is_measured(&self) -> bool {
        [
            self.admit_cpu_us,
            self.admit_cpu_ratio,
            self.admit_redis_us,
            self.admit_wall_us,
            self.admit_p50_us,
            self.record_cpu_us,
            self.record_wall_us,
        ]
        .into_iter()
        .all(|figure| figure.is_finite() && figure > 0.0)
    }
}

/// The answer of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Nothing grew as much as must not be missed.
    Pass,
    /// Something grew for sure.
    Fail,
    /// The machine was too unsteady to tell.
    Inconclusive,
    /// It was stopped before its end.
    Aborted,
}

impl Answer {
    /// The exit code: 0 pass, 1 fail, 4 aborted, 6 inconclusive.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Aborted => 4,
            Self::Inconclusive => 6,
        }
    }

    /// In lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Aborted => "aborted",
        }
    }
}

/// How one arm compares with the base.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// Blocks that it was drawn from.
    pub blocks: usize,
    /// Each metric.
    pub rows: Vec<Row>,
}

/// How one metric compares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What.
    pub name: String,
    /// Growth over the base, as a share; no number where it was not measured.
    pub growth: f64,
    /// The range of that growth that chance allows, 95 %.
    pub growth_low: f64,
    /// Its upper end.
    pub growth_high: f64,
    /// Growth that is surely above this fails.
    pub fails_above: f64,
    /// Growth that is surely below this passes.
    pub passes_below: f64,
    /// The answer of this metric alone.
    pub answer: Answer,
}

impl Row {
    /// Whether every block has a figure for it. Otherwise its growth and the range of that are none.
    pub fn is_measured(&self) -> bool {
        !self.growth.is_nan()
    }
}

/// A share as per cent.
pub fn percent(share: f64) -> String {
    if share.is_nan() {
        return "not measured".to_owned();
    }
    format!("{:+.1} %", share * 100.0)
}

/// The range of a row.
pub fn range(row: &Row) -> String {
    if !row.is_measured() {
        return percent(row.growth);
    }
    format!(
        "{} to {}",
        percent(row.growth_low),
        percent(row.growth_high)
    )
}
