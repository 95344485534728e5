//! One load run: plain data, as `report.json` holds it.
//!
//! Times since the start of the load are seconds (`offset_seconds`), latencies are whole microseconds (`_us`).
//! A figure that was not measured is `None` (`null` in JSON), never a zero that looks measured.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the `report.json` format. Grows when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 2;

/// How many examples the audit keeps for each class of fault.
pub const EXAMPLES_PER_CLASS_MAX: usize = 20;

/// One load run: what was planned, what was sent, what became of it, and what that means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of this format, [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// What the scenario is for, from its file.
    pub scenario_description: String,
    /// The judgement.
    pub verdict: Verdict,
    /// The reasons for the verdict, one sentence each, the most important first.
    pub why: Vec<String>,
    /// When the load began, RFC 3339, UTC.
    pub started_at: String,
    /// When the run ended, the drain and the audit included, RFC 3339, UTC.
    pub finished_at: String,
    /// How long the run took, by the monotonic clock.
    pub duration_seconds: f64,
    /// How far the load came after its start, when it ended before its planned end. Rates are over this stretch then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_seconds: Option<f64>,
    /// Seed of the schedule and of the payloads.
    pub seed: u64,
    /// What was measured, on what.
    pub provenance: Provenance,
    /// Totals of the load.
    pub load: Load,
    /// The phases of the schedule, in order.
    pub phases: Vec<Phase>,
    /// The kinds of arrival (valid, each kind of invalid, malformed, duplicate, conflict, retry).
    pub by_kind: Vec<KindRow>,
    /// Every loan that was sent, classified from the stored records.
    pub audit: Audit,
    /// Whether the run was made without a look at the stores, so that there is no audit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub without_stores: bool,
    /// The live counters beside the audit.
    pub counters_agree: Vec<CounterRow>,
    /// One point for each second of the run, the drain included. In a run of more than an hour a point stands for several seconds:
    /// its counts are those of one second on average, its percentiles and gauges the highest.
    pub time_series: Vec<TimePoint>,
    /// Latency by percentile over the whole run.
    pub latency_curve: LatencyCurve,
    /// Response times over time, when they were kept.
    pub heatmap: Option<Heatmap>,
    /// Scale steps, phases, faults and notes, in order of time.
    pub events: Vec<RunEvent>,
    /// The backlog and how it was worked off.
    pub drain: Drain,
    /// The workers of the service.
    pub workers: Workers,
    /// Memory of the service and of Redis.
    pub resources: Resources,
    /// Those who misbehaved beside the load, when the scenario has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crowd: Option<CrowdReport>,
    /// The checks of the scenario.
    pub checks: Vec<Check>,
    /// The effective scenario, as text.
    pub settings: String,
    /// What went wrong on the wire, by kind.
    pub errors: Vec<ErrorRow>,
    /// Why the run ended before its end by itself: a check with `abort` could no longer hold.
    pub ended_early: Option<String>,
    /// Where each instant of the latencies is taken, in words.
    pub instants: Vec<InstantNote>,
    /// The command that repeats this run.
    pub repeat: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a function of this form"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Default for Report {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            scenario: String::new(),
            scenario_description: String::new(),
            verdict: Verdict::Aborted,
            why: Vec::new(),
            started_at: String::new(),
            finished_at: String::new(),
            duration_seconds: 0.0,
            reached_seconds: None,
            seed: 0,
            provenance: Provenance::default(),
            load: Load::default(),
            phases: Vec::new(),
            by_kind: Vec::new(),
            audit: Audit::default(),
            without_stores: false,
            counters_agree: Vec::new(),
            time_series: Vec::new(),
            latency_curve: LatencyCurve::default(),
            heatmap: None,
            events: Vec::new(),
            drain: Drain::default(),
            workers: Workers::default(),
            resources: Resources::default(),
            crowd: None,
            checks: Vec::new(),
            settings: String::new(),
            errors: Vec::new(),
            ended_early: None,
            instants: Vec::new(),
            repeat: String::new(),
        }
    }
}

/// What may be concluded from the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every check held and the audit found no fault.
    Pass,
    /// A check failed, or the audit found a fault.
    Fail,
    /// Something else than the service disturbed the run: nothing may be concluded.
    Discarded,
    /// The run was stopped before its end.
    #[default]
    Aborted,
}

impl Verdict {
    /// The exit code of a run with this verdict: 0 pass, 1 fail, 3 discarded, 4 aborted. (2: it could not run.)
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Discarded => 3,
            Self::Aborted => 4,
        }
    }

    /// The verdict in lower case, as in `report.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Discarded => "discarded",
            Self::Aborted => "aborted",
        }
    }
}

/// What was measured, on what machine, with which versions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// Commit that the load generator was built from, empty when unknown.
    pub git_commit: String,
    /// Whether its source had changes beyond that commit.
    pub dirty: bool,
    /// SHA-256 of the load generator's binary, empty when it could not be read.
    pub loadgen_sha256: String,
    /// Commit that the service says it was built from, empty when unknown.
    pub service_commit: String,
    /// Whether the service's source had changes beyond that commit.
    pub service_dirty: bool,
    /// Version of the load generator.
    pub loadgen_version: String,
    /// Version that the service says it has.
    pub service_version: String,
    /// Where the service is, `private` for one that the run started for itself.
    #[serde(default)]
    pub target: String,
    /// The database of the service.
    #[serde(default)]
    pub mongodb_database: String,
    /// Starts the id of each loan of the run.
    #[serde(default)]
    pub run_id: String,
    /// What the command line set in place of what the scenario's file says, as flags.
    #[serde(default)]
    pub set_by_flags: Vec<String>,
    /// How many generators sent the load together; 0 where nobody said.
    #[serde(default)]
    pub generators: u32,
    /// The service's binary on a private stack, where `SLUICE_SERVICE` named one.
    #[serde(default)]
    pub service_binary: String,
    /// Arguments of the service on a private stack, empty for one that ran already.
    pub service_arguments: Vec<String>,
    /// SHA-256 of the scenario file.
    pub scenario_sha256: String,
    /// Model of the processor.
    pub cpu: String,
    /// Processor cores that the run could use.
    pub cores: u32,
    /// How the processor chooses its frequency, empty when the machine does not say.
    pub cpu_governor: String,
    /// Memory of the machine, bytes.
    pub memory_bytes: Option<u64>,
    /// Kernel name and release.
    pub kernel: String,
    /// Version of Redis.
    pub redis: String,
    /// Version of MongoDB.
    pub mongodb: String,
    /// How Redis syncs its log: `always` is what the promise needs.
    pub appendfsync: String,
    /// Load average of the machine over 1, 5 and 15 minutes, just before the run.
    pub load_average_before: Option<[f64; 3]>,
    /// How the generator's sending thread was scheduled, empty when unknown.
    pub generator_priority: String,
    /// What would have been refused and was allowed by the command line, one sentence each.
    pub overrides: Vec<String>,
    /// The last self-test of the load generator on this machine, if there was one.
    pub self_test: Option<SelfTestStamp>,
}

/// The result of a self-test of the load generator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelfTestStamp {
    /// When it ended, RFC 3339, UTC.
    pub finished_at: String,
    /// Whether the binary that was tested is the one that made this report.
    pub same_binary: bool,
    /// Whether every known truth was found.
    pub pass: bool,
    /// How many known truths were compared.
    pub compared: u32,
    /// The names of those that were missed.
    pub missed: Vec<String>,
}

/// Percentiles of one latency, whole microseconds. All `None` when nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    /// How many values were measured.
    pub count: u64,
    /// Lowest value.
    pub min: Option<u64>,
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 95th percentile.
    pub p95: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    pub p999: Option<u64>,
    /// Highest value.
    pub max: Option<u64>,
}

impl Percentiles {
    /// The percentiles of a histogram of microseconds; all `None` when it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile: f64| Some(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min: Some(histogram.min()),
            mean: Some((histogram.mean() * 10.0).round() / 10.0),
            p50: at(0.50),
            p90: at(0.90),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: Some(histogram.max()),
        }
    }
}

/// Totals of the load. `scheduled = sent + unsent`, `sent = completed + failed`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Arrivals in the schedule.
    pub scheduled: u64,
    /// Arrivals whose request left.
    pub sent: u64,
    /// Arrivals that never left (the generator was saturated, or the run was stopped).
    pub unsent: u64,
    /// Sent arrivals with a definite answer: the whole body arrived and its status was below 500.
    pub completed: u64,
    /// Sent arrivals without one: time-out, reset connection, or a status of 500 and above.
    pub failed: u64,
    /// Requests beyond the first one of an arrival (retries of the same body).
    pub resent: u64,
    /// Arrivals that were due while every user was busy, and so left late.
    pub held_back: u64,
    /// The last answer to each arrival that was sent.
    pub answers: Answers,
    /// How long the load was sent, seconds: as far of the schedule as it came; until its last arrival left, when that was later
    /// than the scenario's `send_lag_max` allows.
    #[serde(default)]
    pub sending_seconds: f64,
    /// Arrivals sent for each of these seconds.
    pub rate_per_second: f64,
    /// Arrivals planned for each second of the schedule, or of as much of it as the load came to.
    pub planned_rate_per_second: f64,
    /// How late requests left: from the intended instant to the real send.
    pub send_lag_us: Percentiles,
    /// How late the generator itself was: from the intended instant until the arrival was handed to a user. The wait for a free
    /// user or for a connection is not in it.
    #[serde(default)]
    pub generator_lag_us: Percentiles,
    /// Response time over all phases: from the intended instant to the last byte of a definite answer.
    pub response_us: Percentiles,
    /// Service time over all phases: from the real send to the last byte of a definite answer.
    pub service_us: Percentiles,
    /// From the intended instant to a 5xx. In the checks such a request is slower than any bound.
    #[serde(default)]
    pub refused_us: Percentiles,
    /// From the intended instant until the wait ended without any answer. In the checks such a request is slower than any
    /// bound.
    #[serde(default)]
    pub silent_us: Percentiles,
    /// End-to-end time over all phases: from the intended instant to MongoDB's confirmation.
    pub end_to_end_us: Percentiles,
}

/// The last answers to the arrivals that were sent. Their sum is `Load::sent`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answers {
    /// 202, a new loan.
    pub queued: u64,
    /// 202 with `replayed: true`: the loan was known already.
    pub replayed: u64,
    /// A definite refusal: 4xx.
    pub rejected: u64,
    /// No definite answer: time-out, reset connection, 5xx.
    pub unknown: u64,
}

/// One phase of the schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Name of the phase.
    pub name: String,
    /// Its shape in words, such as `constant 500/s`.
    pub shape: String,
    /// Start, seconds after the start of the load.
    pub start_seconds: f64,
    /// End, seconds after the start of the load; where the load ended before its time, that instant.
    pub end_seconds: f64,
    /// End as the schedule has it.
    #[serde(default)]
    pub planned_end_seconds: f64,
    /// Planned arrivals for each second, mean over the phase.
    pub planned_rate_per_second: f64,
    /// Arrivals in the schedule.
    pub scheduled: u64,
    /// Arrivals whose request left.
    pub sent: u64,
    /// Sent arrivals with a definite answer.
    pub completed: u64,
    /// Sent arrivals without a definite answer.
    pub failed: u64,
    /// Loans and failures recorded for each second while the phase lasted, counted between two instants; `None` when the live
    /// metrics could not be followed.
    #[serde(default)]
    pub recorded_per_second: Option<f64>,
    /// How late requests left.
    pub send_lag_us: Percentiles,
    /// How late the generator itself was.
    #[serde(default)]
    pub generator_lag_us: Percentiles,
    /// From the intended instant to the last byte of the answer.
    pub response_us: Percentiles,
    /// From the real send to the last byte of the answer.
    pub service_us: Percentiles,
    /// From the intended instant to MongoDB's confirmation of the record.
    pub end_to_end_us: Percentiles,
}

/// One kind of arrival.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KindRow {
    /// Name of the kind, such as `valid`, `missing_field`, `malformed`, `duplicate`, `conflict`, `retry`.
    pub kind: String,
    /// The answer that the kind should get, in words, such as `202, then accepted`.
    pub expected: String,
    /// Arrivals in the schedule.
    pub scheduled: u64,
    /// Arrivals whose request left.
    pub sent: u64,
    /// Last answers by status (`202`, `202 replayed`, `400`, `timeout`, `reset`).
    pub answers: BTreeMap<String, u64>,
}

/// What became of every loan that was sent, from MongoDB and Redis read directly after the drain.
///
/// Counts are of distinct loans (ids), so they differ from counts of requests where a loan was sent twice.
/// `ids = acknowledged + rejected + unknown`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Whether the audit ran to its end. When false, its counts prove nothing.
    pub complete: bool,
    /// Distinct loans that were sent.
    pub ids: u64,
    /// Loans answered 202 at least once.
    pub acknowledged: u64,
    /// Loans that got definite refusals only.
    pub rejected: u64,
    /// Loans without a definite answer: stored or not, either is legal.
    pub unknown: u64,
    /// Loans stored once in `loans`.
    pub recorded: u64,
    /// Loans stored in `failures` and not in `loans`.
    pub failed: u64,
    /// Of `unknown`, those that were stored after all.
    pub unknown_stored: u64,
    /// Fault: acknowledged, and found nowhere.
    pub lost: u64,
    /// Fault: more than one final record.
    pub duplicated: u64,
    /// Fault: a record of a loan that was never sent, or was refused.
    pub unexpected: u64,
    /// Fault: the record differs from what was sent, or has the wrong outcome.
    pub mismatched: u64,
    /// Fault: still in Redis when the drain ended.
    pub stuck: u64,
    /// Up to [`EXAMPLES_PER_CLASS_MAX`] examples of each class.
    pub examples: Vec<AuditExample>,
}

impl Audit {
    /// The number of loans with a fault of any class.
    pub const fn faults(&self) -> u64 {
        self.lost + self.duplicated + self.unexpected + self.mismatched + self.stuck
    }
}

/// One loan and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditExample {
    /// The class that it is an example of.
    pub class: AuditClass,
    /// Id of the loan.
    pub loan_id: String,
    /// What happened to it, in words.
    pub story: String,
}

/// The classes of the audit that have examples.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AuditClass {
    /// Acknowledged, and found nowhere.
    Lost,
    /// More than one final record.
    Duplicated,
    /// A record of a loan that was never sent, or was refused.
    Unexpected,
    /// The record differs from what was sent.
    Mismatched,
    /// Still in Redis when the drain ended.
    Stuck,
    /// No definite answer.
    Unknown,
}

impl AuditClass {
    /// The class in lower case, as in `report.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Unexpected => "unexpected",
            Self::Mismatched => "mismatched",
            Self::Stuck => "stuck",
            Self::Unknown => "unknown",
        }
    }
}

/// One live counter of the service beside the audit's count of the same thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CounterRow {
    /// Name of the counter, such as `recordedLoans` or `failed.out_of_range`.
    pub name: String,
    /// Growth of the live counter over the run; `None` when it could not be read.
    pub live: Option<u64>,
    /// The audit's count, the lowest that is possible.
    pub audit: u64,
    /// The highest that is possible: above `audit` only where unknown outcomes may count either way.
    pub audit_max: u64,
    /// Whether the live counter lies between the two.
    pub agree: bool,
}

/// One second of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimePoint {
    /// Start of the second, after the start of the load.
    pub offset_seconds: f64,
    /// Arrivals planned in it.
    pub planned: u64,
    /// Requests sent in it.
    pub sent: u64,
    /// Definite answers received in it.
    pub completed: u64,
    /// Time-outs, resets and answers of 500 and above in it.
    pub failed: u64,
    /// Median response time of the answers in it.
    pub response_p50_us: Option<u64>,
    /// 99th percentile of the response time of the answers in it.
    pub response_p99_us: Option<u64>,
    /// Loans in the queue when the backlog was highest in this second, as the next three figures are.
    pub queue_depth: Option<u64>,
    /// Loans that a worker had claimed.
    pub in_flight: Option<u64>,
    /// Processed loans that MongoDB did not have yet.
    pub unrecorded: Option<u64>,
    /// Workers.
    pub workers: Option<u64>,
    /// Loans and failures recorded for each second since the figures were seen last: nearly always in this second.
    pub recorded_per_second: Option<f64>,
    /// Loans admitted for each second, by the service's own word.
    pub admitted_per_second: Option<f64>,
}

/// Latency by percentile, for a plot with a logarithmic axis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyCurve {
    /// From the intended instant to the last byte of the answer.
    pub response_us: Vec<CurvePoint>,
    /// From the real send to the last byte of the answer.
    pub service_us: Vec<CurvePoint>,
    /// From the intended instant to MongoDB's confirmation.
    pub end_to_end_us: Vec<CurvePoint>,
}

/// One point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurvePoint {
    /// The percentile, 0 to 100.
    pub percentile: f64,
    /// The value that this share of the requests did not exceed.
    pub us: u64,
}

impl CurvePoint {
    /// The curve of a histogram of microseconds: five points for each halving of the distance to 100 %, as in
    /// HdrHistogram's percentile output. Empty for an empty histogram.
    pub fn curve(histogram: &Histogram<u64>) -> Vec<Self> {
        histogram
            .iter_quantiles(5)
            .map(|step| Self {
                percentile: step.quantile_iterated_to() * 100.0,
                us: step.value_iterated_to(),
            })
            .collect()
    }
}

/// Response times over time: how many requests fell in each cell of time and latency.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heatmap {
    /// Width of a column.
    pub column_seconds: f64,
    /// Upper bound of each row, ascending.
    pub row_bounds_us: Vec<u64>,
    /// For each column, the counts of its rows.
    pub columns: Vec<Vec<u64>>,
}

/// Something that happened during the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunEvent {
    /// When, after the start of the load.
    pub offset_seconds: f64,
    /// What sort of event.
    pub kind: EventKind,
    /// What happened, in words.
    pub text: String,
    /// How long it lasted; `None` for what has only an instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts_seconds: Option<f64>,
}

impl RunEvent {
    /// What happened at an instant.
    pub fn at(offset_seconds: f64, kind: EventKind, text: impl Into<String>) -> Self {
        Self {
            offset_seconds,
            kind,
            text: text.into(),
            lasts_seconds: None,
        }
    }
}

/// The sorts of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A phase of the schedule began or ended.
    Phase,
    /// The number of workers changed.
    Scale,
    /// A fault was injected or ended.
    Fault,
    /// The load ended here, before its planned end.
    Stop,
    /// The generator stood still, for as long as the event lasts.
    Pause,
    /// Anything else worth knowing.
    Note,
}

impl EventKind {
    /// The kind in lower case, as in `report.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Phase => "phase",
            Self::Scale => "scale",
            Self::Fault => "fault",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Note => "note",
        }
    }
}

/// The backlog (queued, in flight and unrecorded loans) and how it was worked off.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Highest backlog seen; `None` when the live metrics could not be followed.
    pub backlog_peak: Option<u64>,
    /// When it was first seen, after the start of the load.
    #[serde(default)]
    pub backlog_peak_at_seconds: Option<f64>,
    /// From the last arrival until nothing was left in Redis; `None` when that was not reached.
    pub seconds_to_empty: Option<f64>,
    /// Loans left in Redis when the wait ended.
    pub left_over: Option<u64>,
}

/// The workers of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// Most workers seen at once; `None` when the live metrics could not be followed.
    pub peak: Option<u64>,
    /// The most that the service may start.
    pub bound: Option<u64>,
    /// Changes of the number of workers.
    pub steps: u64,
    /// Of those, the ones that took a change back within ten seconds.
    pub flaps: u64,
}

/// Memory, bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Highest resident memory of the service.
    pub service_rss_bytes_peak: Option<u64>,
    /// Processor time of the service over the run.
    pub service_cpu_milliseconds: Option<u64>,
    /// Memory that Redis used before the load.
    pub redis_memory_start_bytes: Option<u64>,
    /// Memory that Redis used after the drain.
    pub redis_memory_end_bytes: Option<u64>,
    /// Highest resident memory of the load generator.
    pub loadgen_rss_bytes_peak: Option<u64>,
}

/// One check of the scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What is checked, such as `response p99, phase burst`.
    pub name: String,
    /// The bound, such as `at most 5 ms`.
    pub bound: String,
    /// What was seen, such as `1.2 ms`; `no data` when nothing was.
    pub observed: String,
    /// Whether the bound held. A check without data does not hold.
    pub pass: bool,
}

/// One kind of error on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorRow {
    /// The kind, such as `timeout`, `connection reset`, `503 overloaded`.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// One example in full.
    pub example: String,
    /// Up to [`crate::recorder::ERROR_EXAMPLES_MAX`] less one others, each different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_examples: Vec<String>,
}

/// Clients that misbehaved beside the load, and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrowdReport {
    /// Those who hold connections.
    pub groups: Vec<CrowdGroup>,
    /// Requests that must be refused.
    pub nonsense: Nonsense,
}

/// Clients that hold connections, each one at a time; who is let go comes back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrowdGroup {
    /// What they do: `idle`, `slow`, `never reading`.
    pub name: String,
    /// How many the scenario wants.
    pub planned: u64,
    /// Most connections that stood at once.
    pub open_peak: u64,
    /// Connections over the whole run: what is above `openPeak` was let go and came back.
    pub opened: u64,
}

/// A flood of requests that must be refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nonsense {
    /// How many in a second the scenario wants.
    pub per_second: u64,
    /// Answers by status; `none` where the connection ended or 5 s passed.
    pub answers: BTreeMap<String, u64>,
}

/// Where one instant is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstantNote {
    /// Name of the instant, such as `intended`.
    pub name: String,
    /// Where it is taken and on which clock, in words.
    pub taken: String,
}
