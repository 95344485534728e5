//! Named metrics with bounds, and the rows that come of them. Pure. A check with no data fails.

use hdrhistogram::Histogram;

use crate::payload::Kind;
use crate::report::Check;
use crate::scenario::CheckSpec;

/// A statistic of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Arithmetic mean.
    Mean,
    /// The share of values at or below it, in thousandths.
    Quantile(u16),
    /// Highest value.
    Max,
}

impl Statistic {
    const NAMES: [(&'static str, Self); 7] = [
        ("mean", Self::Mean),
        ("p50", Self::Quantile(500)),
        ("p90", Self::Quantile(900)),
        ("p95", Self::Quantile(950)),
        ("p99", Self::Quantile(990)),
        ("p999", Self::Quantile(999)),
        ("max", Self::Max),
    ];

    /// The statistic in milliseconds; `None` for an empty histogram of microseconds.
    fn ms(self, histogram: &Histogram<u64>) -> Option<f64> {
        if histogram.is_empty() {
            return None;
        }
        Some(
            match self {
                Self::Mean => histogram.mean(),
                Self::Quantile(thousandths) => {
                    histogram.value_at_quantile(f64::from(thousandths) / 1000.0) as f64
                }
                Self::Max => histogram.max() as f64,
            } / 1000.0,
        )
    }
}

/// What a check may look at. The names are those of [`Metric::names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// The figures of a run that are not latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plain {
    /// Arrivals sent for each second of the schedule.
    Rate,
    /// Share of the sent arrivals without a definite answer.
    ErrorRatio,
    /// Arrivals that never left.
    Unsent,
    /// Loans stored in `loans`.
    Recorded,
    /// Acknowledged, and found nowhere.
    Lost,
    /// More than one final record.
    Duplicated,
    /// A record of a loan that was never sent, or was refused.
    Unexpected,
    /// A record or an answer that differs from what it must be.
    Mismatched,
    /// Still in Redis when the drain ended.
    Stuck,
    /// 1 when every live counter agrees with the audit, else 0.
    CountersAgree,
    /// Highest backlog, loans.
    BacklogPeak,
    /// From the last arrival until nothing was left in Redis, seconds.
    DrainS,
    /// Most workers at once.
    WorkersPeak,
    /// Highest resident memory of the service, MiB.
    ServiceRssMib,
    /// Growth of Redis's memory over the run, as a share of the start.
    RedisMemoryGrowthRatio,
}

impl Plain {
    const NAMES: [(&'static str, Self); 15] = [
        ("rate", Self::Rate),
        ("error_ratio", Self::ErrorRatio),
        ("unsent", Self::Unsent),
        ("recorded", Self::Recorded),
        ("lost", Self::Lost),
        ("duplicated", Self::Duplicated),
        ("unexpected", Self::Unexpected),
        ("mismatched", Self::Mismatched),
        ("stuck", Self::Stuck),
        ("counters_agree", Self::CountersAgree),
        ("backlog_peak", Self::BacklogPeak),
        ("drain_s", Self::DrainS),
        ("workers_peak", Self::WorkersPeak),
        ("service_rss_mib", Self::ServiceRssMib),
        ("redis_memory_growth_ratio", Self::RedisMemoryGrowthRatio),
    ];
}

type Latency = fn(Statistic) -> Metric;

const LATENCIES: [(&str, Latency); 4] = [
    ("response_ms", Metric::ResponseMs),
    ("service_ms", Metric::ServiceMs),
    ("end_to_end_ms", Metric::EndToEndMs),
    ("send_lag_ms", Metric::SendLagMs),
];

impl Metric {
    /// The metric of that name, such as `response_ms.p99` or `lost`.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some((_, plain)) = Plain::NAMES.iter().find(|(known, _)| *known == name) {
            return Some(Self::Plain(*plain));
        }
        let (latency, statistic) = name.split_once('.')?;
        let (_, make) = LATENCIES.iter().find(|(known, _)| *known == latency)?;
        let (_, statistic) = Statistic::NAMES
            .iter()
            .find(|(known, _)| *known == statistic)?;
        Some(make(*statistic))
    }

    /// Every name.
    pub fn names() -> Vec<String> {
        let latencies = LATENCIES.iter().flat_map(|(latency, _)| {
            Statistic::NAMES
                .iter()
                .map(move |(statistic, _)| format!("{latency}.{statistic}"))
        });
        let plain = Plain::NAMES.iter().map(|(name, _)| (*name).to_owned());
        latencies.chain(plain).collect()
    }

    /// Whether it is kept for each phase.
    pub const fn by_phase(self) -> bool {
        !matches!(self, Self::Plain(plain) if !matches!(plain, Plain::Rate | Plain::ErrorRatio))
    }

    /// Whether it is kept for each kind of arrival.
    pub const fn by_kind(self) -> bool {
        matches!(self, Self::ResponseMs(_))
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Plain(plain) => match plain {
                Plain::Rate => "/s",
                Plain::DrainS => " s",
                Plain::ServiceRssMib => " MiB",
                _ => "",
            },
            _ => " ms",
        }
    }
}

/// The figures of one run.
pub trait Figures {
    /// The histogram of a latency metric, microseconds, in one phase or over all of them, or of one kind.
    fn latency(
        &self,
        metric: Metric,
        phase: Option<usize>,
        kind: Option<Kind>,
    ) -> Option<&Histogram<u64>>;
    /// A plain figure, in one phase or over the run; `None` when it was not measured.
    fn plain(&self, plain: Plain, phase: Option<usize>) -> Option<f64>;
}

/// Judges one check. `phase` is the index of the phase that it names.
pub fn judge(spec: &CheckSpec, phase: Option<usize>, figures: &impl Figures) -> Check {
    let name = spec.metric.get_ref();
    let metric = Metric::parse(name);
    let kind = spec
        .kind
        .as_ref()
        .and_then(|kind| Kind::parse(kind.get_ref()));
    let observed = metric.and_then(|metric| match metric {
        Metric::Plain(plain) => figures.plain(plain, phase),
        Metric::ResponseMs(statistic)
        | Metric::ServiceMs(statistic)
        | Metric::EndToEndMs(statistic)
        | Metric::SendLagMs(statistic) => figures
            .latency(metric, phase, kind)
            .and_then(|histogram| statistic.ms(histogram)),
    });
    let unit = metric.map_or("", Metric::unit);
    let mut text = name.clone();
    if let Some(phase) = &spec.phase {
        text = format!("{text}, phase {}", phase.get_ref());
    }
    if let Some(kind) = kind {
        text = format!("{text}, {kind}");
    }
    Check {
        name: text,
        bound: bound_text(spec, unit),
        observed: observed.map_or_else(
            || "no data".to_owned(),
            |value| format!("{}{unit}", number(value)),
        ),
        pass: observed.is_some_and(|value| holds(spec, value)),
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
        lost: Option<f64>,
    }

    impl Figures for Known {
        fn latency(
            &self,
            metric: Metric,
            _: Option<usize>,
            _: Option<Kind>,
        ) -> Option<&Histogram<u64>> {
            matches!(metric, Metric::ResponseMs(_)).then_some(&self.response)
        }

        fn plain(&self, plain: Plain, _: Option<usize>) -> Option<f64> {
            (plain == Plain::Lost).then_some(self.lost).flatten()
        }
    }

    fn judged(check: &str, figures: &Known) -> (String, String, bool) {
        let text = format!(
            "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\nduration = \"1s\"\nrate = 1\n[[check]]\n{check}"
        );
        let scenario = Scenario::parse(&text, "t.toml".as_ref()).expect("a good scenario");
        let row = judge(&scenario.checks[0], None, figures);
        (row.bound, row.observed, row.pass)
    }

    #[test]
    fn bounds_hold_or_do_not() {
        let mut response = empty();
        response.record(4_000).expect("in range");
        let figures = Known {
            response,
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
        ] {
            assert_eq!(judged(check, &figures), expected, "{check}");
        }
    }

    #[test]
    fn an_empty_histogram_is_no_data() {
        let figures = Known {
            response: empty(),
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
}
