//! One capacity search: plain data, as `capacity.json` holds it.

use serde::{Deserialize, Serialize};

use crate::result::run::{Percentiles, Provenance};

/// What came of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The objectives were met.
    Met,
    /// They were not.
    Missed,
    /// The generator was late: it proves nothing.
    Discarded,
}

/// One run at one rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Arrivals per second.
    pub rate_per_second: f64,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether it confirmed a rate that had passed.
    pub confirms: bool,
    /// Loans recorded for each second while the rate was held, counted between two instants.
    pub recorded_per_second: f64,
    /// Response time while the rate was held.
    pub response_us: Percentiles,
    /// End-to-end time while the rate was held.
    pub end_to_end_us: Percentiles,
    /// How late requests left.
    pub send_lag_us: Percentiles,
    /// From the last arrival until everything was recorded.
    pub drain_seconds: Option<f64>,
    /// Processor time of the service for a thousand recorded loans.
    pub service_cpu_ms_per_1000: Option<f64>,
    /// The reasons, the most important first.
    pub why: Vec<String>,
    /// Folder of the run's own report, in the folder of runs.
    pub run: String,
}

/// The result of a search.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Name of the scenario.
    pub scenario: String,
    /// When the search began, RFC 3339, UTC.
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// What every probe had to meet.
    pub objectives: Vec<String>,
    /// The highest rate that met the objectives and was confirmed, arrivals per second; `None` when none did.
    pub rate_per_second: Option<f64>,
    /// Where the limit lies as far as the probes say, arrivals per second.
    #[serde(default)]
    pub rate_interval: Option<[f64; 2]>,
    /// Whether chance decided over too wide a range for an answer.
    #[serde(default)]
    pub is_unsteady: bool,
    /// Whether it was stopped before its end.
    #[serde(default)]
    pub is_stopped: bool,
    /// Loans recorded for each second at that rate, the lowest of its runs.
    pub recorded_per_second: Option<f64>,
    /// The lowest rate that missed them.
    pub missed_at_per_second: Option<f64>,
    /// What ended the search, in words.
    pub limit: String,
    /// How long each probe held its rate.
    pub hold_seconds: f64,
    /// The probes, in order.
    pub probes: Vec<Probe>,
    /// What was measured, on what.
    pub provenance: Provenance,
}
