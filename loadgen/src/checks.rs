//! Named metrics with bounds, and the rows that come of them. Pure. A check with no data fails.

use hdrhistogram::Histogram;
use serde_json::Value;
use service::snapshot::Snapshot;

use crate::payload::Kind;
use crate::report::Check;
use crate::scenario::CheckSpec;

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
const QUANTILE_ONE: u32 = 100_000;

impl Statistic {
    /// The ones that are offered by name; any other percentile is understood as well.
    const NAMES: [&'static str; 9] = [
        "min", "mean", "p50", "p75", "p90", "p95", "p99", "p999", "max",
    ];

    /// `min`, `mean`, `max`, or `p` and two to five digits: `p99` is 99 %, `p999` 99.9 %.
    fn parse(name: &str) -> Option<Self> {
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

    /// The statistic in milliseconds; `None` for an empty histogram of microseconds.
    pub fn ms(self, histogram: &Histogram<u64>) -> Option<f64> {
        if histogram.is_empty() {
            return None;
        }
        Some(
            match self {
                Self::Min => histogram.min() as f64,
                Self::Mean => histogram.mean(),
                Self::Quantile(share) => {
                    histogram.value_at_quantile(f64::from(share) / f64::from(QUANTILE_ONE)) as f64
                }
                Self::Max => histogram.max() as f64,
            } / 1000.0,
        )
    }

    /// Of `total` values, how many may lie above a bound on this statistic. `None` where a few high values decide
    /// nothing by themselves.
    fn allowed_above(self, total: u64) -> Option<u64> {
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
    /// Share of the sent arrivals without a definite answer.
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

const LATENCIES: [(&str, Latency); 4] = [
    ("response_ms", Metric::ResponseMs),
    ("service_ms", Metric::ServiceMs),
    ("end_to_end_ms", Metric::EndToEndMs),
    ("send_lag_ms", Metric::SendLagMs),
];

/// Starts the name of a figure of the service's snapshot.
const SERVER: &str = "server.";
/// The counters that have one entry for each kind; a kind that never came counts as zero.
const SERVER_KINDS: [&str; 2] = ["counters.rejected.", "counters.failed."];

impl Metric {
    /// The metric of that name, such as `response_ms.p99`, `lost` or `server.counters.admitted`.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some((_, plain, _)) = Plain::ALL.iter().find(|(known, ..)| *known == name) {
            return Some(Self::Plain(*plain));
        }
        if let Some(path) = name.strip_prefix(SERVER) {
            let known = server_paths().iter().any(|known| known == path)
                || SERVER_KINDS.iter().any(|kinds| {
                    path.strip_prefix(kinds)
                        .is_some_and(|kind| !kind.is_empty() && !kind.contains('.'))
                });
            return known.then(|| Self::Server(path.to_owned()));
        }
        let (latency, statistic) = name.split_once('.')?;
        let (_, make) = LATENCIES.iter().find(|(known, _)| *known == latency)?;
        Some(make(Statistic::parse(statistic)?))
    }

    /// Every name, apart from the percentiles and kinds that have many.
    pub fn names() -> Vec<String> {
        let latencies = LATENCIES.iter().flat_map(|(latency, _)| {
            Statistic::NAMES
                .iter()
                .map(move |statistic| format!("{latency}.{statistic}"))
        });
        let plain = Plain::ALL.iter().map(|(name, ..)| (*name).to_owned());
        let server = server_paths()
            .into_iter()
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

    fn unit(&self) -> &'static str {
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
    let is_kind = SERVER_KINDS.iter().any(|kinds| path.starts_with(kinds));
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

/// The figures of one run.
pub trait Figures {
    /// The histogram of a latency metric, microseconds, in one phase or over all of them, of one kind or of all.
    fn latency(
        &self,
        metric: &Metric,
        phase: Option<usize>,
        kind: Option<Kind>,
    ) -> Option<&Histogram<u64>>;
    /// A plain figure, in one phase or over the run; `None` when it was not measured.
    fn plain(&self, plain: Plain, phase: Option<usize>) -> Option<f64>;
    /// A figure of the service's snapshot.
    fn server(&self, path: &str) -> Option<f64>;
}

/// A check that was judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The row of the report.
    pub check: Check,
    /// The check failed, and would have held without the generator's own lateness.
    pub by_lag: Option<String>,
}

/// Judges one check. `phase` is the index of the phase that it names.
pub fn judge(spec: &CheckSpec, phase: Option<usize>, figures: &impl Figures) -> Judged {
    let name = spec.metric.get_ref();
    let metric = Metric::parse(name);
    let kind = spec
        .kind
        .as_ref()
        .and_then(|kind| Kind::parse(kind.get_ref()));
    let observed = metric.as_ref().and_then(|metric| match metric {
        Metric::Plain(plain) => figures.plain(*plain, phase),
        Metric::Server(path) => figures.server(path),
        Metric::ResponseMs(statistic)
        | Metric::ServiceMs(statistic)
        | Metric::EndToEndMs(statistic)
        | Metric::SendLagMs(statistic) => figures
            .latency(metric, phase, kind)
            .and_then(|histogram| statistic.ms(histogram)),
    });
    let unit = metric.as_ref().map_or("", Metric::unit);
    let mut text = name.clone();
    if let Some(phase) = &spec.phase {
        text = format!("{text}, phase {}", phase.get_ref());
    }
    if let Some(kind) = kind {
        text = format!("{text}, {kind}");
    }
    let pass = observed.is_some_and(|value| holds(spec, value));
    let by_lag = match (&metric, observed) {
        (
            Some(Metric::ResponseMs(statistic) | Metric::EndToEndMs(statistic)),
            Some(observed),
        ) if !pass => figures
            .latency(&Metric::SendLagMs(*statistic), phase, None)
            .and_then(|lag| statistic.ms(lag))
            .filter(|lag_ms| holds(spec, observed - lag_ms))
            .map(|lag_ms| {
                format!(
                    "{text} is {}{unit}, of which the generator's own lateness is up to {}{unit}.",
                    number(observed),
                    number(lag_ms)
                )
            }),
        _ => None,
    };
    Judged {
        check: Check {
            name: text,
            bound: bound_text(spec, unit),
            observed: observed.map_or_else(
                || "no data".to_owned(),
                |value| format!("{}{unit}", number(value)),
            ),
            pass,
        },
        by_lag,
    }
}

/// Why a check with `abort` can no longer hold, whatever is still to come. `scheduled` are the arrivals of its phase
/// or of the run. `None` while it still can.
pub fn hopeless(
    spec: &CheckSpec,
    phase: Option<usize>,
    scheduled: u64,
    figures: &impl Figures,
) -> Option<String> {
    if !spec.abort {
        return None;
    }
    let metric = Metric::parse(spec.metric.get_ref())?;
    let max = spec.max.or(spec.equals)?;
    let kind = spec
        .kind
        .as_ref()
        .and_then(|kind| Kind::parse(kind.get_ref()));
    let name = spec.metric.get_ref();
    match &metric {
        Metric::ResponseMs(statistic) | Metric::ServiceMs(statistic) => {
            let histogram = figures.latency(&metric, phase, kind)?;
            // One step of the histogram above the bound, so that its rounding decides nothing.
            let max_us = histogram.highest_equivalent((max * 1000.0) as u64);
            let above = histogram.len() - histogram.count_between(0, max_us);
            let allowed = statistic.allowed_above(scheduled)?;
            (above > allowed).then(|| {
                format!(
                    "{name} can no longer hold: {above} answers took longer than {} ms, and {allowed} of {scheduled} may",
                    number(max)
                )
            })
        }
        Metric::Plain(Plain::ErrorRatio) => {
            let errors = figures.plain(Plain::Unanswered, phase)?;
            let allowed = max * scheduled as f64;
            (errors > allowed).then(|| {
                format!("{name} can no longer hold: {errors} arrivals of {scheduled} have no definite answer")
            })
        }
        Metric::Plain(plain) => {
            let observed = figures.plain(*plain, phase)?;
            (observed > max).then(|| {
                format!(
                    "{name} can no longer hold: it was {}, and the bound is {}",
                    number(observed),
                    number(max)
                )
            })
        }
        _ => None,
    }
}

fn holds(spec: &CheckSpec, value: f64) -> bool {
    spec.min.is_none_or(|min| value >= min)
        && spec.max.is_none_or(|max| value <= max)
        && spec
            .equals
            .is_none_or(|equals| (value - equals).abs() < 1e-9)
}

fn bound_text(spec: &CheckSpec, unit: &str) -> String {
    match (spec.equals, spec.min, spec.max) {
        (Some(equals), ..) => format!("exactly {}{unit}", number(equals)),
        (_, Some(min), Some(max)) => format!("{} to {}{unit}", number(min), number(max)),
        (_, Some(min), None) => format!("at least {}{unit}", number(min)),
        (_, None, Some(max)) => format!("at most {}{unit}", number(max)),
        _ => "no bound".to_owned(),
    }
}

/// Up to three decimals, none that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::empty;
    use crate::scenario::Scenario;

    struct Known {
        response: Histogram<u64>,
        lag: Histogram<u64>,
        lost: Option<f64>,
    }

    impl Figures for Known {
        fn latency(
            &self,
            metric: &Metric,
            _: Option<usize>,
            _: Option<Kind>,
        ) -> Option<&Histogram<u64>> {
            match metric {
                Metric::ResponseMs(_) => Some(&self.response),
                Metric::SendLagMs(_) => Some(&self.lag),
                _ => None,
            }
        }

        fn plain(&self, plain: Plain, _: Option<usize>) -> Option<f64> {
            (plain == Plain::Lost).then_some(self.lost).flatten()
        }

        fn server(&self, path: &str) -> Option<f64> {
            let mut after = Snapshot::default();
            after.counters.admitted = 7;
            after.counters.failed.insert("wrong_type".to_owned(), 2);
            after.latency_us.admit.p99 = 1500;
            server_figure(path, &Snapshot::default(), &after)
        }
    }

    fn judged(check: &str, figures: &Known) -> (String, String, bool) {
        let row = judge(&spec(check), None, figures).check;
        (row.bound, row.observed, row.pass)
    }

    fn spec(check: &str) -> CheckSpec {
        let text = format!(
            "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\nduration = \"1s\"\nrate = 1\n[[check]]\n{check}"
        );
        let scenario = Scenario::parse(&text, "t.toml".as_ref()).expect("a good scenario");
        scenario.checks[0].clone()
    }

    fn histogram(values_us: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = empty();
        for us in values_us {
            histogram.record(us).expect("in range");
        }
        histogram
    }

    #[test]
    fn bounds_hold_or_do_not() {
        let figures = Known {
            response: histogram([4_000]),
            lag: empty(),
            lost: Some(0.0),
        };
        let row = |bound: &str, observed: &str, pass| (bound.to_owned(), observed.to_owned(), pass);
        for (check, expected) in [
            (
                "metric = \"response_ms.p99\"\nmax = 5",
                row("at most 5 ms", "4.001 ms", true),
            ),
            (
                "metric = \"response_ms.max\"\nmax = 3.5",
                row("at most 3.5 ms", "4.001 ms", false),
            ),
            (
                "metric = \"response_ms.p50\"\nmin = 1\nmax = 9",
                row("1 to 9 ms", "4.001 ms", true),
            ),
            ("metric = \"lost\"\nequals = 0", row("exactly 0", "0", true)),
            (
                "metric = \"service_ms.p99\"\nmax = 5",
                row("at most 5 ms", "no data", false),
            ),
            (
                "metric = \"stuck\"\nequals = 0",
                row("exactly 0", "no data", false),
            ),
            (
                "metric = \"response_ms.p9999\"\nmax = 5",
                row("at most 5 ms", "4.001 ms", true),
            ),
            (
                "metric = \"server.counters.admitted\"\nequals = 7",
                row("exactly 7", "7", true),
            ),
            (
                "metric = \"server.counters.failed.wrong_type\"\nmax = 1",
                row("at most 1", "2", false),
            ),
            (
                "metric = \"server.counters.failed.poison\"\nequals = 0",
                row("exactly 0", "0", true),
            ),
            (
                "metric = \"server.latency_us.admit.p99\"\nmax = 2000",
                row("at most 2000", "1500", true),
            ),
        ] {
            assert_eq!(judged(check, &figures), expected, "{check}");
        }
    }

    #[test]
    fn an_empty_histogram_is_no_data() {
        let figures = Known {
            response: empty(),
            lag: empty(),
            lost: None,
        };
        let (_, observed, pass) = judged("metric = \"response_ms.p99\"\nmax = 5", &figures);
        assert_eq!((observed.as_str(), pass), ("no data", false));
    }

    #[test]
    fn every_name_is_parsed() {
        for name in Metric::names() {
            assert!(Metric::parse(&name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_check_that_failed_by_lag_alone_is_told_apart() {
        let figures = |lag_us| Known {
            response: histogram([6_000]),
            lag: histogram([lag_us]),
            lost: None,
        };
        let check = spec("metric = \"response_ms.p99\"\nmax = 5");
        assert!(judge(&check, None, &figures(2_000)).by_lag.is_some());
        assert!(judge(&check, None, &figures(500)).by_lag.is_none());
        let loose = spec("metric = \"response_ms.p99\"\nmax = 7");
        assert!(judge(&loose, None, &figures(2_000)).by_lag.is_none());
    }

    #[test]
    fn a_run_is_hopeless_when_nothing_to_come_can_save_a_check() {
        let slow = |count| Known {
            response: histogram((0..count).map(|_| 9_000)),
            lag: empty(),
            lost: None,
        };
        let check = spec("metric = \"response_ms.p99\"\nmax = 5\nabort = true");
        // Of 1000 arrivals, 10 may take longer.
        assert_eq!(hopeless(&check, None, 1000, &slow(10)), None);
        assert!(hopeless(&check, None, 1000, &slow(11)).is_some());
        let max = spec("metric = \"response_ms.max\"\nmax = 5\nabort = true");
        assert!(hopeless(&max, None, 1000, &slow(1)).is_some());
        let patient = spec("metric = \"response_ms.max\"\nmax = 5");
        assert_eq!(hopeless(&patient, None, 1000, &slow(1)), None);
    }

    #[test]
    fn what_is_hopeless_fails_at_the_end() {
        // The rank that is allowed is the one that the histogram reads.
        for total in [1u64, 2, 99, 100, 101, 1000, 1999] {
            for name in ["p50", "p90", "p99", "p999"] {
                let statistic = Statistic::parse(name).expect("a percentile");
                let allowed = statistic.allowed_above(total).expect("it decides");
                for (above, high) in [(allowed, false), (allowed + 1, true)] {
                    if above > total {
                        continue;
                    }
                    let values = (0..total).map(|n| if n < above { 9_000 } else { 1_000 });
                    let ms = statistic.ms(&histogram(values)).expect("not empty");
                    assert_eq!(ms > 5.0, high, "{name} of {total}, {above} above");
                }
            }
        }
    }
}
