//! Named metrics with bounds, and the rows that come of them. Pure. A check with no data fails.

use hdrhistogram::Histogram;
use plan::kind::Kind;
use plan::metric::{Metric, Plain, QUANTILE_ONE, Statistic};
use plan::scenario::CheckSpec;
use record::result::run::Check;

/// The statistic in milliseconds; `None` for an empty histogram of microseconds.
pub fn ms(statistic: Statistic, histogram: &Histogram<u64>) -> Option<f64> {
    if histogram.is_empty() {
        return None;
    }
    Some(
        match statistic {
            Statistic::Min => histogram.min() as f64,
            Statistic::Mean => histogram.mean(),
            Statistic::Quantile(share) => {
                histogram.value_at_quantile(f64::from(share) / f64::from(QUANTILE_ONE)) as f64
            }
            Statistic::Max => histogram.max() as f64,
        } / 1000.0,
    )
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
            .and_then(|histogram| ms(*statistic, histogram)),
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
            .and_then(|lag| ms(*statistic, lag))
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
    use plan::metric::server_figure;
    use plan::scenario::Scenario;
    use record::latencies::empty;
    use snapshot::Snapshot;

    use super::*;

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
                    let ms = ms(statistic, &histogram(values)).expect("not empty");
                    assert_eq!(ms > 5.0, high, "{name} of {total}, {above} above");
                }
            }
        }
    }
}
