//! The names of what a check may look at.

use serde_json::Value;
use snapshot::Snapshot;

/// A statistic of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Lowest value.
    Min,
    /// Arithmetic mean.
    Mean,
    /// The share of values at or below it, in hundred-thousandths.
    Quantile(u32),
    /// Highest value.
    Max,
}

/// A whole, in the unit of [`Statistic::Quantile`].
pub const QUANTILE_ONE: u32 = 100_000;

impl Statistic {
    /// The ones that are offered by name; any other percentile is understood as well.
    const NAMES: [&'static str; 9] = [
        "min", "mean", "p50", "p75", "p90", "p95", "p99", "p999", "max",
    ];

    /// `min`, `mean`, `max`, or `p` and two to five digits: `p99` is 99 %, `p999` 99.9 %.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "min" => return Some(Self::Min),
            "mean" => return Some(Self::Mean),
            "max" => return Some(Self::Max),
            _ => {}
        }
        let digits = name.strip_prefix('p')?;
        if !(2..=5).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let share: u32 = digits.parse().ok()?;
        Some(Self::Quantile(share * 10u32.pow(5 - digits.len() as u32)))
    }

    /// Of `total` values, how many may lie above a bound on this statistic. `None` where a few high values decide
    /// nothing by themselves.
    pub fn allowed_above(self, total: u64) -> Option<u64> {
        match self {
            Self::Max => Some(0),
            // The value at a quantile is the one with this rank, rounded up.
            Self::Quantile(share) => {
                let rank = (u128::from(total) * u128::from(share)).div_ceil(QUANTILE_ONE.into());
                Some(total - rank.max(1).min(total.into()) as u64)
            }
            Self::Min | Self::Mean => None,
        }
    }
}

/// What a check may look at. The names are those of [`Metric::names`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// From the intended instant to the last byte of the answer, milliseconds.
    ResponseMs(Statistic),
    /// From the real send to the last byte of the answer, milliseconds.
    ServiceMs(Statistic),
    /// From the intended instant to MongoDB's confirmation, milliseconds.
    EndToEndMs(Statistic),
    /// From the intended instant to the real send, milliseconds.
    SendLagMs(Statistic),
    /// How late the generator itself was, milliseconds.
    GeneratorLagMs(Statistic),
    /// A plain figure of the run.
    Plain(Plain),
    /// A figure of the service's own snapshot, by its path: the growth of a counter over the run, the last value of
    /// anything else.
    Server(String),
}

macro_rules! plain_figures {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $unit:literal;)+) => {
        /// The figures of a run that are not latencies.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Plain { $($(#[doc = $doc])+ $variant,)+ }

        impl Plain {
            const ALL: &'static [(&'static str, Self, &'static str)] =
                &[$(($name, Self::$variant, $unit),)+];
        }
    };
}

plain_figures! {
    /// Arrivals sent for each second of the schedule.
    Rate = "rate", "/s";
    /// Share of the requests, those sent again included, without a definite answer.
    ErrorRatio = "error_ratio", "";
    /// Arrivals in the schedule.
    Scheduled = "scheduled", "";
    /// Arrivals whose request left.
    Sent = "sent", "";
    /// Arrivals that never left.
    Unsent = "unsent", "";
    /// Sent arrivals with a definite answer.
    Completed = "completed", "";
    /// Sent arrivals without one.
    Unanswered = "unanswered", "";
    /// Requests beyond the first one of an arrival.
    Resent = "resent", "";
    /// Arrivals that were due while every user was busy.
    HeldBack = "held_back", "";
    /// Distinct loans that were sent.
    Ids = "ids", "";
    /// Loans answered 202 at least once.
    Acknowledged = "acknowledged", "";
    /// Loans that got definite refusals only.
    Rejected = "rejected", "";
    /// Loans without a definite answer.
    Unknown = "unknown", "";
    /// Loans stored in `loans`.
    Recorded = "recorded", "";
    /// Loans stored in `failures` and not in `loans`.
    Failed = "failed", "";
    /// Acknowledged, and found nowhere.
    Lost = "lost", "";
    /// More than one final record.
    Duplicated = "duplicated", "";
    /// A record of a loan that was never sent, or was refused.
    Unexpected = "unexpected", "";
    /// A record or an answer that differs from what it must be.
    Mismatched = "mismatched", "";
    /// Still in Redis when the drain ended.
    Stuck = "stuck", "";
    /// 1 when every live counter agrees with the audit, else 0.
    CountersAgree = "counters_agree", "";
    /// Highest backlog, loans.
    BacklogPeak = "backlog_peak", "";
    /// Loans left in Redis when the drain ended.
    LeftOver = "left_over", "";
    /// From the last arrival until nothing was left in Redis, seconds.
    DrainS = "drain_s", " s";
    /// Most workers at once.
    WorkersPeak = "workers_peak", "";
    /// Changes of the number of workers.
    WorkersSteps = "workers_steps", "";
    /// Times that a step was taken back within ten seconds: up and down, or down and up.
    WorkersFlaps = "workers_flaps", "";
    /// Highest resident memory of the service, MiB.
    ServiceRssMib = "service_rss_mib", " MiB";
    /// Processor time of the service for a thousand recorded loans, milliseconds.
    ServiceCpuMsPer1000 = "service_cpu_ms_per_1000", " ms";
    /// Growth of Redis's memory over the run, as a share of the start.
    RedisMemoryGrowthRatio = "redis_memory_growth_ratio", "";
    /// Highest resident memory of the load generator, MiB.
    LoadgenRssMib = "loadgen_rss_mib", " MiB";
    /// Rise of the service's resident memory over the run, as a share of its mean; the warm-up left out.
    ServiceRssRiseRatio = "service_rss_rise_ratio", "";
    /// Rise of the service's open files that are no client's connection over the run; the warm-up left out.
    OpenFilesRise = "open_files_rise", "";
    /// Rise of Redis's memory over the run, as a share of its mean; the warm-up left out.
    RedisMemoryRiseRatio = "redis_memory_rise_ratio", "";
}

type Latency = fn(Statistic) -> Metric;

const LATENCIES: [(&str, Latency); 5] = [
    ("response_ms", Metric::ResponseMs),
    ("service_ms", Metric::ServiceMs),
    ("end_to_end_ms", Metric::EndToEndMs),
    ("send_lag_ms", Metric::SendLagMs),
    ("generator_lag_ms", Metric::GeneratorLagMs),
];

/// Starts the name of a figure of the service's snapshot.
const SERVER: &str = "server.";

/// The counters that have one entry for each kind, and the kinds; one that never came counts as zero.
const SERVER_KINDS: [(&str, &[&str]); 2] = [
    ("counters.rejected.", &snapshot::REJECTION_TYPES),
    ("counters.failed.", &snapshot::FAILURE_CATEGORIES),
];

impl Metric {
    /// Whether it may be below zero.
    pub fn may_be_negative(&self) -> bool {
        match self {
            Self::Plain(plain) => Plain::ALL.iter().any(|(name, known, ..)| {
                known == plain && (name.contains("_growth") || name.contains("_rise"))
            }),
            Self::Server(_) => true,
            _ => false,
        }
    }

    /// The metric of that name, such as `response_ms.p99`, `lost` or `server.counters.admitted`.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some((_, plain, _)) = Plain::ALL.iter().find(|(known, ..)| *known == name) {
            return Some(Self::Plain(*plain));
        }
        if let Some(path) = name.strip_prefix(SERVER) {
            let known = server_paths().iter().any(|known| known == path)
                || SERVER_KINDS.iter().any(|(counter, kinds)| {
                    path.strip_prefix(counter)
                        .is_some_and(|kind| kinds.contains(&kind))
                });
            return known.then(|| Self::Server(path.to_owned()));
        }
        let (latency, statistic) = name.split_once('.')?;
        let (_, make) = LATENCIES.iter().find(|(known, _)| *known == latency)?;
        Some(make(Statistic::parse(statistic)?))
    }

    /// Every name, apart from the percentiles, which are many.
    pub fn names() -> Vec<String> {
        let latencies = LATENCIES.iter().flat_map(|(latency, _)| {
            Statistic::NAMES
                .iter()
                .map(move |statistic| format!("{latency}.{statistic}"))
        });
        let plain = Plain::ALL.iter().map(|(name, ..)| (*name).to_owned());
        let server = server_paths()
            .into_iter()
            .chain(SERVER_KINDS.iter().flat_map(|(counter, kinds)| {
                kinds.iter().map(move |kind| format!("{counter}{kind}"))
            }))
            .map(|path| format!("{SERVER}{path}"));
        latencies.chain(plain).chain(server).collect()
    }

    /// Whether it is kept for each phase.
    pub const fn by_phase(&self) -> bool {
        match self {
            Self::Plain(plain) => matches!(
                plain,
                Plain::Rate
                    | Plain::ErrorRatio
                    | Plain::Sent
                    | Plain::Completed
                    | Plain::Unanswered
            ),
            Self::Server(_) => false,
            _ => true,
        }
    }

    /// Whether the clients alone know it: no store and no live figure of the service is needed.
    pub const fn is_of_clients(&self) -> bool {
        match self {
            Self::ResponseMs(_)
            | Self::ServiceMs(_)
            | Self::SendLagMs(_)
            | Self::GeneratorLagMs(_) => true,
            Self::EndToEndMs(_) | Self::Server(_) => false,
            Self::Plain(plain) => matches!(
                plain,
                Plain::Rate
                    | Plain::ErrorRatio
                    | Plain::Scheduled
                    | Plain::Sent
                    | Plain::Unsent
                    | Plain::Completed
                    | Plain::Unanswered
                    | Plain::Resent
                    | Plain::HeldBack
                    | Plain::LoadgenRssMib
            ),
        }
    }

    /// The most that it can be, where there is a most.
    pub const fn highest(&self) -> Option<f64> {
        match self {
            Self::Plain(Plain::ErrorRatio | Plain::CountersAgree) => Some(1.0),
            _ => None,
        }
    }

    /// Whether it counts something, and so is a whole number.
    pub const fn is_whole(&self) -> bool {
        match self {
            Self::Plain(plain) => !matches!(
                plain,
                Plain::Rate
                    | Plain::ErrorRatio
                    | Plain::DrainS
                    | Plain::ServiceRssMib
                    | Plain::ServiceCpuMsPer1000
                    | Plain::RedisMemoryGrowthRatio
                    | Plain::LoadgenRssMib
                    | Plain::ServiceRssRiseRatio
                    | Plain::OpenFilesRise
                    | Plain::RedisMemoryRiseRatio
            ),
            _ => false,
        }
    }

    /// Whether it has no data where nothing is sent.
    pub const fn is_of_arrivals(&self) -> bool {
        match self {
            Self::Plain(plain) => matches!(plain, Plain::ErrorRatio),
            Self::Server(_) => false,
            _ => true,
        }
    }

    /// Whether it is kept for each kind of arrival.
    pub const fn by_kind(&self) -> bool {
        matches!(self, Self::ResponseMs(_))
    }

    /// Whether it can be known before the end that a bound on it can no longer hold.
    pub const fn can_abort(&self) -> bool {
        match self {
            Self::ResponseMs(statistic) | Self::ServiceMs(statistic) => {
                matches!(statistic, Statistic::Quantile(_) | Statistic::Max)
            }
            Self::Plain(plain) => matches!(
                plain,
                Plain::ErrorRatio | Plain::BacklogPeak | Plain::WorkersPeak | Plain::ServiceRssMib
            ),
            _ => false,
        }
    }

    /// The unit behind a figure, with its space.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Plain(plain) => Plain::ALL
                .iter()
                .find(|(_, known, _)| known == plain)
                .map_or("", |(.., unit)| unit),
            Self::Server(_) => "",
            _ => " ms",
        }
    }
}

/// The paths of all numbers in a snapshot, with underscores as in scenario files.
fn server_paths() -> Vec<String> {
    let mut paths = Vec::new();
    if let Ok(snapshot) = serde_json::to_value(Snapshot::default()) {
        gather_paths(&snapshot, "", &mut paths);
    }
    paths
}

fn gather_paths(value: &Value, path: &str, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = snake(name);
                let path = if path.is_empty() {
                    name
                } else {
                    format!("{path}.{name}")
                };
                gather_paths(value, &path, paths);
            }
        }
        Value::Number(_) | Value::Bool(_) => paths.push(path.to_owned()),
        _ => {}
    }
}

fn snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The figure at `path`: the growth of a counter from `before` to `after`, the value in `after` of anything else.
pub fn server_figure(path: &str, before: &Snapshot, after: &Snapshot) -> Option<f64> {
    let is_kind = SERVER_KINDS
        .iter()
        .any(|(counter, _)| path.starts_with(counter));
    let at = |snapshot: &Snapshot| {
        let mut value = serde_json::to_value(snapshot).ok()?;
        for name in path.split('.') {
            // Names of kinds keep their underscores; all others are in camel case.
            let fields = value.as_object_mut()?;
            let key = fields
                .keys()
                .find(|key| *key == name || snake(key) == name)?
                .clone();
            value = fields.remove(&key)?;
        }
        value
            .as_f64()
            .or(value.as_bool().map(|is| f64::from(u8::from(is))))
    };
    if path.starts_with("counters.") {
        let (before, after) = (at(before), at(after));
        return if is_kind {
            Some(after.unwrap_or(0.0) - before.unwrap_or(0.0))
        } else {
            Some(after? - before?)
        };
    }
    at(after)
}
