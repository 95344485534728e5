//! Named metrics with bounds, and the rows that come of them. Pure. A check with no data fails.

use hdrhistogram::Histogram;
use plan::kind::Kind;
use plan::metric::{Metric, Plain, QUANTILE_ONE, Statistic};
use plan::scenario::CheckSpec;
use record::number::{count, counted};
use record::result::run::Check;
use toml::Spanned;

/// The statistic in milliseconds of a histogram of microseconds, when `unanswered` further requests took longer than
/// anything: infinite where one of them is meant, `None` without any answer.
pub fn ms(statistic: Statistic, histogram: &Histogram<u64>, unanswered: u64) -> Option<f64> {
    if histogram.is_empty() {
        return None;
    }
    let us = match statistic {
        Statistic::Min => histogram.min() as f64,
        Statistic::Mean | Statistic::Max if unanswered > 0 => f64::INFINITY,
        Statistic::Mean => histogram.mean(),
        Statistic::Max => histogram.max() as f64,
        Statistic::Quantile(share) => {
            // The value at a quantile is the one with this rank, rounded up.
            let total = histogram.len() + unanswered;
            let rank = (u128::from(total) * u128::from(share)).div_ceil(QUANTILE_ONE.into());
            let rank = rank.max(1) as u64;
            if rank > histogram.len() {
                f64::INFINITY
            } else if unanswered == 0 {
                histogram.value_at_quantile(f64::from(share) / f64::from(QUANTILE_ONE)) as f64
            } else {
                // Half a rank below, so that no rounding reaches the next one.
                let quantile = (rank as f64 - 0.5) / histogram.len() as f64;
                histogram.value_at_quantile(quantile) as f64
            }
        }
    };
    Some(us / 1000.0)
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
    /// Requests of the same that have no such latency because they had no definite answer.
    fn unanswered(&self, metric: &Metric, phase: Option<usize>, kind: Option<Kind>) -> u64;
    /// What the generator itself did to a latency.
    fn disturbance(&self, metric: &Metric, phase: Option<usize>) -> Disturbance<'_>;
    /// A plain figure, in one phase or over the run; `None` when it was not measured.
    fn plain(&self, plain: Plain, phase: Option<usize>) -> Option<f64>;
    /// A figure of the service's snapshot.
    fn server(&self, path: &str) -> Option<f64>;
}

/// What the generator itself did to a latency of one phase or of the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbance<'a> {
    /// What is left of the latency without the generator's own lag, of those that no pause of it touched.
    pub undisturbed: Option<&'a Histogram<u64>>,
    /// How many values a pause touched.
    pub touched: u64,
    /// How many requests without a definite answer a pause touched.
    pub unanswered_touched: u64,
}

/// Whose doing it is that a check did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blame {
    /// It held.
    Nobody,
    /// The service's, however late the generator was.
    Service,
    /// The generator's own, as far as can be told; in words.
    Generator(String),
    /// Of whom cannot be told.
    Open,
    /// Of whom cannot be told; it is a latency across two clocks, which has no data where those differ.
    Clocks,
}

/// A check that was judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The row of the report.
    pub check: Check,
    /// Whose doing it is that it did not hold.
    pub blame: Blame,
}

/// Whose doing it is that the check `text` on `metric` did not hold.
fn blame(
    spec: &CheckSpec,
    metric: &Metric,
    phase: Option<usize>,
    kind: Option<Kind>,
    text: &str,
    observed: Option<f64>,
    figures: &impl Figures,
) -> Blame {
    let disturbance = figures.disturbance(metric, phase);
    let statistic = match metric {
        Metric::ResponseMs(statistic)
        | Metric::ServiceMs(statistic)
        | Metric::EndToEndMs(statistic) => *statistic,
        // Only what a pause of the generator left without an answer is its own.
        Metric::Plain(Plain::ErrorRatio | Plain::Unanswered) => {
            return if disturbance.unanswered_touched == 0 {
                Blame::Service
            } else {
                Blame::Open
            };
        }
        _ => return Blame::Open,
    };
    let untold = match metric {
        Metric::EndToEndMs(_) => Blame::Clocks,
        _ => Blame::Open,
    };
    let Some(observed) = observed else {
        return untold;
    };
    let Some(all) = figures.latency(metric, phase, kind) else {
        return untold;
    };
    let unanswered = figures.unanswered(metric, phase, kind);
    let lag_ms = figures
        .latency(&Metric::GeneratorLagMs(statistic), phase, None)
        .and_then(|lag| ms(statistic, lag, 0))
        .unwrap_or(0.0);
    let by_generator = || {
        let touched = match disturbance.touched {
            0 => String::new(),
            touched => format!(
                "; {} of {} were under way while it stood still",
                count(touched),
                count(all.len())
            ),
        };
        let observed = if observed.is_finite() {
            format!("{}{}", number(observed), metric.unit())
        } else {
            "no answer".to_owned()
        };
        Blame::Generator(format!(
            "{text} is {observed}, of which the generator's own lateness is up to {}{}{touched}.",
            number(lag_ms),
            metric.unit()
        ))
    };
    // One that holds without the touched ones, whichever they are, is not the service's for sure.
    let max = spec.max.or(spec.equals);
    let surely_above = |histogram: &Histogram<u64>, less: u64| {
        let max_us = histogram.highest_equivalent((max.unwrap_or(f64::MAX) * 1000.0) as u64);
        let above = histogram.len() - histogram.count_between(0, max_us);
        above.saturating_sub(less) + unanswered.saturating_sub(disturbance.unanswered_touched)
    };
    match (
        statistic.allowed_above(all.len() + unanswered),
        disturbance.undisturbed,
    ) {
        (Some(allowed), Some(undisturbed)) if max.is_some() && kind.is_none() => {
            if surely_above(undisturbed, 0) > allowed {
                Blame::Service
            } else {
                by_generator()
            }
        }
        (Some(allowed), None) if max.is_some() => {
            let is_sure = surely_above(all, disturbance.touched) > allowed;
            if is_sure
                && (matches!(metric, Metric::ServiceMs(_)) || !holds(spec, observed - lag_ms))
            {
                Blame::Service
            } else {
                by_generator()
            }
        }
        (None, Some(undisturbed)) => match ms(statistic, undisturbed, 0) {
            Some(without) if holds(spec, without) => by_generator(),
            _ => Blame::Service,
        },
        _ if disturbance.touched == 0 && !holds(spec, observed - lag_ms) => Blame::Service,
        _ => by_generator(),
    }
}

/// Judges one check. `phase` is the index of the phase that it names.
pub fn judge(spec: &CheckSpec, phase: Option<usize>, figures: &impl Figures) -> Judged {
    let name = spec.metric.get_ref();
    let metric = Metric::parse(name);
    let kind = spec
        .kind
        .as_ref()
        .and_then(|kind| Kind::parse(kind.get_ref()));
    let unanswered = metric
        .as_ref()
        .map_or(0, |metric| figures.unanswered(metric, phase, kind));
    let observed = metric.as_ref().and_then(|metric| match metric {
        Metric::Plain(plain) => figures.plain(*plain, phase),
        Metric::Server(path) => figures.server(path),
        Metric::ResponseMs(statistic)
        | Metric::ServiceMs(statistic)
        | Metric::EndToEndMs(statistic)
        | Metric::SendLagMs(statistic)
        | Metric::GeneratorLagMs(statistic) => figures
            .latency(metric, phase, kind)
            .and_then(|histogram| ms(*statistic, histogram, unanswered)),
    });
    let unit = metric.as_ref().map_or("", Metric::unit);
    let mut text = name.clone();
    if let Some(phase) = &spec.phase {
        text = format!("{text}, phase {}", phase.get_ref());
    }
    if let Some(kind) = kind {
        text = format!("{text}, {kind}");
    }
    let pass = observed.is_some_and(|value| value.is_finite() && holds(spec, value));
    let blame = match &metric {
        _ if pass => Blame::Nobody,
        Some(metric) => blame(spec, metric, phase, kind, &text, observed, figures),
        None => Blame::Open,
    };
    Judged {
        check: Check {
            name: text,
            bound: bound_text(spec, unit),
            observed: match observed {
                None => "no data".to_owned(),
                Some(value) if value.is_finite() => format!("{}{unit}", number(value)),
                Some(_) => format!("no answer to {}", counted(unanswered, "request")),
            },
            pass,
        },
        blame,
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
            let above = histogram.len() - histogram.count_between(0, max_us)
                + figures.unanswered(&metric, phase, kind);
            let allowed = statistic.allowed_above(scheduled)?;
            (above > allowed).then(|| {
                format!(
                    "{name} can no longer hold: {above} requests took longer than {} ms, and {allowed} of {scheduled} may",
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

/// A check in words, such as `response_ms.p99, phase steady: at most 5 ms`.
pub fn in_words(spec: &CheckSpec) -> String {
    let name = spec.metric.get_ref();
    let unit = Metric::parse(name).map_or("", |metric| metric.unit());
    let place = |what: &str, of: Option<&String>| {
        of.map_or_else(String::new, |of| format!(", {what} {of}"))
    };
    format!(
        "{name}{}{}: {}{}",
        place("phase", spec.phase.as_ref().map(Spanned::get_ref)),
        place("kind", spec.kind.as_ref().map(Spanned::get_ref)),
        bound_text(spec, unit),
        if spec.abort { ", or the run ends" } else { "" }
    )
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

/// Up to three decimals, none that say nothing; more where a small number would be none.
fn number(value: f64) -> String {
    let decimals = if value != 0.0 && value.abs() < 0.001 && value.is_finite() {
        (1 - value.abs().log10().floor() as i64).clamp(3, 17) as usize
    } else {
        3
    };
    let text = format!("{value:.decimals$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    match whole.parse() {
        Ok(whole) => count(whole) + rest,
        // Below zero, or far beyond what is measured.
        Err(_) if text == "-0" => "0".to_owned(),
        Err(_) => text.to_owned(),
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
        unanswered: u64,
        undisturbed: Option<Histogram<u64>>,
        touched: u64,
    }

    impl Known {
        /// Answers of these lengths, by a generator that was late by `lag`.
        fn of(response: Histogram<u64>, lag: Histogram<u64>) -> Self {
            Self {
                response,
                lag,
                lost: None,
                unanswered: 0,
                undisturbed: None,
                touched: 0,
            }
        }
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
                Metric::GeneratorLagMs(_) => Some(&self.lag),
                _ => None,
            }
        }

        fn unanswered(&self, _: &Metric, _: Option<usize>, _: Option<Kind>) -> u64 {
            self.unanswered
        }

        fn disturbance(&self, metric: &Metric, _: Option<usize>) -> Disturbance<'_> {
            Disturbance {
                undisturbed: self
                    .undisturbed
                    .as_ref()
                    .filter(|_| matches!(metric, Metric::ResponseMs(_))),
                touched: self.touched,
                unanswered_touched: 0,
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
            lost: Some(0.0),
            ..Known::of(histogram([4_000]), empty())
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
                row("at most 2,000", "1,500", true),
            ),
        ] {
            assert_eq!(judged(check, &figures), expected, "{check}");
        }
    }

    #[test]
    fn an_empty_histogram_is_no_data() {
        let figures = Known::of(empty(), empty());
        let (_, observed, pass) = judged("metric = \"response_ms.p99\"\nmax = 5", &figures);
        assert_eq!((observed.as_str(), pass), ("no data", false));
        let blame = |check| judge(&spec(check), None, &figures).blame;
        assert_eq!(blame("metric = \"response_ms.p99\"\nmax = 5"), Blame::Open);
        // Clocks that differ leave no data of what crosses them.
        let across = "metric = \"end_to_end_ms.p99\"\nmax = 5";
        assert_eq!(blame(across), Blame::Clocks);
    }

    #[test]
    fn a_request_without_an_answer_is_slower_than_any_bound() {
        let figures = |answered: u64, unanswered| Known {
            unanswered,
            ..Known::of(histogram((0..answered).map(|_| 1_000)), empty())
        };
        let p99 = "metric = \"response_ms.p99\"\nmax = 50";
        // One in a hundred may be slow; two may not.
        assert!(judged(p99, &figures(99, 1)).2);
        let (_, observed, pass) = judged(p99, &figures(98, 2));
        assert_eq!(
            (observed.as_str(), pass),
            ("no answer to 2 requests", false)
        );
        let row = judged("metric = \"response_ms.max\"\nmax = 50", &figures(99, 1));
        assert!(!row.2, "{row:?}");
        // Refusals alone are no data.
        let (_, observed, pass) = judged(p99, &figures(0, 3_370));
        assert_eq!((observed.as_str(), pass), ("no data", false));
        // A bound below cannot make them good.
        assert!(!judged("metric = \"response_ms.p99\"\nmin = 1", &figures(1, 99)).2);
        let statistic = Statistic::parse("p50").expect("a percentile");
        assert_eq!(ms(statistic, &histogram([1, 2, 3]), 2), Some(0.003));
        assert_eq!(ms(statistic, &histogram([1, 2, 3]), 4), Some(f64::INFINITY));
    }

    #[test]
    fn every_name_is_parsed() {
        for name in Metric::names() {
            assert!(Metric::parse(&name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_a_bound_owes_to_the_generator_is_told_from_what_it_owes_to_the_service() {
        let check = spec("metric = \"response_ms.p99\"\nmax = 5");
        let blamed = |slow: u64, undisturbed_slow: u64, touched: u64| {
            let of = |slow: u64, count: u64| {
                histogram((0..count).map(|n| if n < slow { 9_000 } else { 1_000 }))
            };
            let figures = Known {
                undisturbed: Some(of(undisturbed_slow, 1000 - touched)),
                touched,
                ..Known::of(of(slow, 1000), histogram([4_500]))
            };
            judge(&check, None, &figures).blame
        };
        assert_eq!(blamed(10, 10, 0), Blame::Nobody);
        assert_eq!(blamed(11, 11, 0), Blame::Service);
        // A pause touched most of the slow ones, and the others break the bound alone.
        assert_eq!(blamed(500, 11, 480), Blame::Service);
        let Blame::Generator(words) = blamed(500, 10, 490) else {
            panic!("the generator's");
        };
        assert!(words.contains("490 of 1,000"), "{words}");
        // Late by itself, and in time without that.
        assert!(matches!(blamed(500, 0, 0), Blame::Generator(_)));
    }

    #[test]
    fn a_latency_without_undisturbed_values_is_judged_by_the_lag() {
        let figures = |lag_us| Known::of(histogram([6_000]), histogram([lag_us]));
        let check = spec("metric = \"response_ms.p99\"\nmax = 5");
        let blame = |lag_us| judge(&check, None, &figures(lag_us)).blame;
        assert!(matches!(blame(2_000), Blame::Generator(_)));
        assert_eq!(blame(500), Blame::Service);
        let loose = spec("metric = \"response_ms.p99\"\nmax = 7");
        assert_eq!(judge(&loose, None, &figures(2_000)).blame, Blame::Nobody);
    }

    #[test]
    fn a_small_bound_is_not_nothing() {
        let figures = Known::of(histogram([4_000]), empty());
        let (bound, observed, pass) =
            judged("metric = \"response_ms.p99\"\nmax = 0.0001", &figures);
        assert_eq!(
            (bound.as_str(), observed.as_str(), pass),
            ("at most 0.0001 ms", "4.001 ms", false)
        );
        assert_eq!(
            [0.0, -0.0, 0.000_012_3, 0.5, 1234.0, 1_610.751_2, -3.25].map(number),
            ["0", "0", "0.000012", "0.5", "1,234", "1,610.751", "-3.25"]
        );
    }

    #[test]
    fn a_run_is_hopeless_when_nothing_to_come_can_save_a_check() {
        let slow = |count| Known::of(histogram((0..count).map(|_| 9_000)), empty());
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
                    let ms = ms(statistic, &histogram(values), 0).expect("not empty");
                    assert_eq!(ms > 5.0, high, "{name} of {total}, {above} above");
                }
            }
        }
    }
}
