//! One fault run: plain data, as `chaos.json` holds it.

use std::collections::BTreeMap;

use plan::faults::Finds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::result::run::{Audit, CounterRow, Provenance};

/// Version of the `chaos.json` format.
pub const SCHEMA_VERSION: u32 = 1;

/// What may be concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The faults took effect, and the checker found what it had to: nothing, or the planted fault.
    Pass,
    /// The checker found a fault, or did not find the planted one.
    Fail,
    /// It proves nothing: a fault did not take effect, no loan was acknowledged, or the runs broke off.
    Void,
}

impl Verdict {
    /// The exit code: 0 pass, 1 fail, 5 void. (2: it could not run.)
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Void => 5,
        }
    }

    /// The verdict in lower case, as in `chaos.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Void => "void",
        }
    }
}

/// All runs of one fault run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChaosReport {
    /// Version of this format.
    pub schema_version: u32,
    /// The judgement on all of it.
    pub verdict: Verdict,
    /// The reasons, one sentence each.
    pub why: Vec<String>,
    /// When it began, RFC 3339, UTC.
    pub started_at: String,
    /// How long it took.
    pub duration_seconds: f64,
    /// On what.
    pub provenance: Provenance,
    /// Sums over all runs but the proofs of the rig and those that were void.
    pub totals: Totals,
    /// The runs, in order.
    pub runs: Vec<RunReport>,
}

/// Sums over runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Runs.
    pub runs: u64,
    /// Of these, with faults drawn by a seed.
    pub mixed_runs: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Distinct loans sent.
    pub loans: u64,
    /// Requests sent.
    pub requests: u64,
    /// Loans answered 202.
    pub acknowledged: u64,
    /// Lost, duplicated, unexpected, mismatched, stuck.
    pub lost: u64,
    /// Taken or recorded twice.
    pub duplicated: u64,
    /// Stored and never sent.
    pub unexpected: u64,
    /// Stored otherwise than sent.
    pub mismatched: u64,
    /// Left in Redis.
    pub stuck: u64,
    /// Counters that disagreed with the records.
    pub counters_wrong: u64,
    /// What the faults led to, by name.
    pub figures: BTreeMap<String, u64>,
}

/// One run under faults.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// Name of the plan.
    pub name: String,
    /// The row of the fault matrix.
    pub row: String,
    /// What was tried.
    pub description: String,
    /// Whether the faults were drawn by the seed.
    pub mixed: bool,
    /// Seed of everything.
    pub seed: u64,
    /// What the checker had to find: `nothing`, or the planted fault.
    pub expected: String,
    /// The judgement.
    pub verdict: Verdict,
    /// The reasons, one sentence each.
    pub why: Vec<String>,
    /// How long the load lasted.
    pub load_seconds: f64,
    /// Arrivals of the schedule per second.
    pub rate_per_second: f64,
    /// Requests sent, resends included.
    pub requests: u64,
    /// Answers by kind: `202`, `202 replayed`, `503 queue_unavailable`, `timeout` ...
    pub answers: BTreeMap<String, u64>,
    /// The faults, in order.
    pub faults: Vec<FaultReport>,
    /// The checker's counts.
    pub audit: Audit,
    /// The counters beside the records.
    pub counters: Vec<CounterRow>,
    /// What the faults led to, by name.
    pub figures: BTreeMap<String, u64>,
    /// From the last answer to an empty Redis; `None` when it did not become empty.
    pub drain_seconds: Option<f64>,
    /// The history, in the report's folder; `None` when it was not kept.
    pub history: Option<String>,
    /// The command that repeats it.
    pub repeat: String,
}

/// One fault and what came of it. Times are seconds after the start of the load.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultReport {
    /// What.
    pub what: String,
    /// When it struck.
    pub hit_seconds: f64,
    /// When it was over and healed.
    pub over_seconds: f64,
    /// Whether it is seen to have taken effect.
    pub took_effect: bool,
    /// By what.
    pub evidence: String,
    /// Requests that clients sent meanwhile.
    pub requests: u64,
    /// Of these, answered 503 or another 5xx.
    pub refused: u64,
    /// Of these, without any answer.
    pub unanswered: u64,
    /// The longest that the client of one loan waited for a definite answer, seconds.
    pub longest_wait_seconds: f64,
    /// From its end to the first definite answer to a request that left after it, seconds.
    pub recovery_seconds: Option<f64>,
}

impl RunReport {
    /// Whether it proves the rig: something was planted, for the checker to find.
    pub fn is_proof(&self) -> bool {
        self.expected != Finds::Nothing.name()
    }
}
