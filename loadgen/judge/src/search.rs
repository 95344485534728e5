//! The search for the highest rate: which rates are tried, and what comes of it. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use plan::metric::{Metric, Plain};
use plan::phase::{Phase, Ramp};
use plan::scenario::{CheckSpec, Scenario};
use record::number::count;
use record::result::capacity::{Capacity, Outcome, Probe};
use record::result::run::{Report, Verdict};
use toml::Spanned;

/// The lowest rate that is tried, arrivals per second.
const RATE_MIN: f64 = 10.0;
/// The most probes of one search.
const PROBES_MAX: usize = 40;
/// The warm-up of a probe.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long after the last arrival everything must be recorded, so that no backlog has grown.
const DRAIN_S_MAX: f64 = 1.0;

/// Chooses the rates. Pure.
#[derive(Clone, Debug)]
pub struct Search {
    start: f64,
    rate_max: f64,
    precision: f64,
    confirmations: u32,
    /// How often each rate has passed. Rates are whole numbers.
    met: BTreeMap<u64, u32>,
    /// The lowest rate that failed, and whether the generator was the reason.
    failed: Option<(u64, Outcome)>,
    /// The rate that was discarded last; it is tried once more.
    again: Option<u64>,
    probes: usize,
}

impl Search {
    /// Starts at `start` and never goes above `rate_max`.
    pub fn new(start: f64, rate_max: f64, precision: f64, confirmations: u32) -> Self {
        Self {
            start: start.clamp(RATE_MIN, rate_max),
            rate_max,
            precision: precision.max(0.005),
            confirmations,
            met: BTreeMap::new(),
            failed: None,
            again: None,
            probes: 0,
        }
    }

    /// The highest rate that passed and has not failed since.
    pub fn best(&self) -> Option<u64> {
        self.met.keys().next_back().copied()
    }

    /// The lowest rate that failed.
    pub const fn failed(&self) -> Option<(u64, Outcome)> {
        self.failed
    }

    /// Whether the best rate has passed often enough.
    pub fn confirmed(&self) -> bool {
        self.met
            .values()
            .next_back()
            .is_some_and(|passed| *passed > self.confirmations)
    }

    /// The next rate; `None` when the search is over.
    pub fn next(&self) -> Option<u64> {
        if self.probes >= PROBES_MAX {
            return None;
        }
        if let Some(again) = self.again {
            return Some(again);
        }
        let next = match (self.best(), self.failed) {
            (None, None) => self.start,
            (Some(best), None) if (best as f64) < self.rate_max => {
                (best as f64 * 2.0).min(self.rate_max)
            }
            (None, Some((failed, _))) => {
                let half = failed as f64 / 2.0;
                if half < RATE_MIN {
                    return None;
                }
                half
            }
            (Some(best), Some((failed, _)))
                if failed as f64 / best as f64 > 1.0 + self.precision && failed > best + 1 =>
            {
                (best as f64 * failed as f64).sqrt()
            }
            (Some(best), _) => {
                return (!self.confirmed()).then_some(best);
            }
        };
        Some(next.round() as u64)
    }

    /// Whether the next probe confirms a rate that has passed.
    pub fn confirms(&self) -> bool {
        self.next().is_some_and(|rate| self.met.contains_key(&rate))
    }

    /// Notes what came of `rate`.
    pub fn note(&mut self, rate: u64, outcome: Outcome) {
        self.probes += 1;
        match outcome {
            Outcome::Met => {
                self.again = None;
                *self.met.entry(rate).or_default() += 1;
            }
            Outcome::Discarded if self.again != Some(rate) => self.again = Some(rate),
            Outcome::Missed | Outcome::Discarded => {
                self.again = None;
                // What passed at this rate or above passed by luck.
                self.met.retain(|passed, _| *passed < rate);
                if self.failed.is_none_or(|(failed, _)| rate <= failed) {
                    self.failed = Some((rate, outcome));
                }
            }
        }
    }
}

/// What the search found, written into its result.
pub fn conclude(result: &mut Capacity, search: &Search, stopped: Option<String>, rate_max: f64) {
    if search.confirmed() {
        result.rate_per_second = search.best().map(|rate| rate as f64);
        result.recorded_per_second = result
            .probes
            .iter()
            .filter(|probe| Some(probe.rate_per_second) == result.rate_per_second)
            .filter(|probe| probe.outcome == Outcome::Met)
            .map(|probe| probe.recorded_per_second)
            .min_by(f64::total_cmp);
    }
    result.missed_at_per_second = search.failed().map(|(rate, _)| rate as f64);
    result.limit = match (stopped, search.failed(), result.rate_per_second) {
        (Some(reason), ..) => format!("The search was stopped: {reason}"),
        (_, _, None) => "No rate met the objectives.".to_owned(),
        (_, None, Some(_)) => format!(
            "The highest rate that was tried, {rate_max}/s, met the objectives: the service can do more."
        ),
        (_, Some((rate, Outcome::Discarded)), Some(_)) => format!(
            "At {}/s the generator was late: the limit is this machine's, and the service may do more.",
            count(rate)
        ),
        (_, Some((rate, _)), Some(_)) => {
            let why = result
                .probes
                .iter()
                .find(|probe| {
                    probe.rate_per_second as u64 == rate && probe.outcome == Outcome::Missed
                })
                .and_then(|probe| probe.why.first())
                .map_or("", String::as_str);
            format!("At {}/s the objectives were missed. {why}", count(rate))
        }
    };
}

/// The scenario with one rate, held, after a warm-up.
pub fn at_rate(scenario: &Scenario, rate: f64, hold: Duration) -> Scenario {
    let name = |name: &str| Spanned::new(0..0, name.to_owned());
    let poisson = scenario.phases.iter().any(|phase| phase.poisson);
    let mut probe = scenario.clone();
    // Its rates are not the scenario's, so its figures do not belong into the scenario's trends.
    probe.name = name(&format!("{}-probe", scenario.name.get_ref()));
    // More in flight than at rest, so that a slow answer holds nothing back.
    probe.users = None;
    probe.phases = vec![
        Phase {
            name: name("warm-up"),
            duration: WARM_UP,
            rate: None,
            ramp: Some(Ramp {
                from: rate / 4.0,
                to: rate,
            }),
            burst: None,
            poisson: false,
        },
        Phase {
            name: name("hold"),
            duration: hold,
            rate: Some(rate),
            ramp: None,
            burst: None,
            poisson,
        },
    ];
    probe.checks.retain(is_objective);
    for check in &mut probe.checks {
        // What was to hold in a phase, or over the run, is to hold while the rate is held.
        let by_phase = Metric::parse(check.metric.get_ref())
            .is_some_and(|metric| metric.by_phase() && !matches!(metric, Metric::Plain(_)));
        check.phase = by_phase.then(|| name("hold"));
    }
    probe.checks.push(CheckSpec {
        metric: name("drain_s"),
        phase: None,
        kind: None,
        min: None,
        max: Some(DRAIN_S_MAX),
        equals: None,
        abort: false,
    });
    probe
}

/// Whether a check of the scenario is an objective at any rate. Rates and counts of the scenario itself are not.
pub fn is_objective(check: &CheckSpec) -> bool {
    match Metric::parse(check.metric.get_ref()) {
        Some(Metric::Plain(plain)) => matches!(
            plain,
            Plain::ErrorRatio
                | Plain::Unsent
                | Plain::Lost
                | Plain::Duplicated
                | Plain::Unexpected
                | Plain::Mismatched
                | Plain::Stuck
                | Plain::CountersAgree
                | Plain::ServiceRssMib
                | Plain::LeftOver
        ),
        Some(Metric::SendLagMs(_) | Metric::Server(_)) | None => false,
        Some(_) => true,
    }
}

/// What came of one run at `rate`.
pub fn probe(rate: u64, confirms: bool, report: &Report, run: String) -> Probe {
    let hold = report.phases.last().cloned().unwrap_or_default();
    let seconds = hold.end_seconds + report.drain.seconds_to_empty.unwrap_or(0.0);
    let recorded = report.audit.recorded;
    Probe {
        rate_per_second: rate as f64,
        outcome: match report.verdict {
            Verdict::Pass => Outcome::Met,
            Verdict::Discarded => Outcome::Discarded,
            Verdict::Fail | Verdict::Aborted => Outcome::Missed,
        },
        confirms,
        // The warm-up sends fewer: what counts is the share of what was sent, at the rate that was held.
        recorded_per_second: if report.load.sent > 0 && seconds > 0.0 {
            let ideal = recorded as f64 / report.load.sent as f64 * rate as f64;
            ideal * hold.end_seconds / seconds
        } else {
            0.0
        },
        response_us: hold.response_us,
        end_to_end_us: hold.end_to_end_us,
        send_lag_us: hold.send_lag_us,
        drain_seconds: report.drain.seconds_to_empty,
        service_cpu_ms_per_1000: report
            .resources
            .service_cpu_milliseconds
            .filter(|_| recorded > 0)
            .map(|ms| ms as f64 * 1000.0 / recorded as f64),
        why: report.why.clone(),
        run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches against a service that meets its objectives up to `limit`, and the generator up to `generator`.
    fn search(start: f64, limit: u64, generator: u64) -> (Search, usize) {
        let mut search = Search::new(start, 50_000.0, 0.05, 2);
        let mut probes = 0;
        while let Some(rate) = search.next() {
            probes += 1;
            search.note(
                rate,
                if rate > generator {
                    Outcome::Discarded
                } else if rate > limit {
                    Outcome::Missed
                } else {
                    Outcome::Met
                },
            );
        }
        (search, probes)
    }

    #[test]
    fn the_limit_is_found_from_both_sides_and_confirmed() {
        for (start, limit) in [(500.0, 3000), (500.0, 87), (2000.0, 2000), (100.0, 49_999)] {
            let (search, probes) = search(start, limit, 100_000);
            let best = search.best().expect("a rate that passes");
            assert!(
                best <= limit && best as f64 > limit as f64 * 0.94,
                "{best} of {limit}"
            );
            assert!(search.confirmed());
            assert!(probes < 20, "{probes}");
        }
    }

    #[test]
    fn a_service_without_a_limit_ends_at_the_highest_rate() {
        let (search, _) = search(500.0, 100_000, 100_000);
        assert_eq!((search.best(), search.failed()), (Some(50_000), None));
    }

    #[test]
    fn nothing_passes() {
        let (search, _) = search(500.0, 0, 100_000);
        assert_eq!((search.best(), search.confirmed()), (None, false));
    }

    #[test]
    fn a_late_generator_is_tried_again_and_then_told() {
        let (search, _) = search(500.0, 100_000, 900);
        let (failed, outcome) = search.failed().expect("a rate that failed");
        assert_eq!(outcome, Outcome::Discarded);
        assert!(search.best().is_some_and(|best| best <= 900) && failed > 900);
    }

    #[test]
    fn a_rate_that_fails_again_is_not_the_best() {
        let mut search = Search::new(100.0, 200.0, 0.05, 1);
        search.note(100, Outcome::Met);
        search.note(200, Outcome::Met);
        assert_eq!(search.next(), Some(200));
        search.note(200, Outcome::Missed);
        assert_eq!(search.best(), Some(100));
        assert_eq!(search.next(), Some(141));
    }

    #[test]
    fn a_probe_keeps_the_objectives_and_not_the_rates() {
        let text = "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\nduration = \"1s\"\nrate = 1\n\
            [[check]]\nmetric = \"rate\"\nphase = \"p\"\nmin = 1\n\
            [[check]]\nmetric = \"response_ms.p99\"\nphase = \"p\"\nmax = 5\n\
            [[check]]\nmetric = \"lost\"\nequals = 0\n";
        let scenario = Scenario::parse(text, "t.toml".as_ref()).expect("a good scenario");
        let probe = at_rate(&scenario, 1000.0, Duration::from_secs(8));
        assert_eq!(probe.name.get_ref(), "t-probe");
        let checks: Vec<_> = probe
            .checks
            .iter()
            .map(|check| {
                let phase = check.phase.as_ref().map(|phase| phase.get_ref().as_str());
                (check.metric.get_ref().as_str(), phase)
            })
            .collect();
        assert_eq!(
            checks,
            [
                ("response_ms.p99", Some("hold")),
                ("lost", None),
                ("drain_s", None)
            ]
        );
        assert!((probe.rate_per_second_max() - 1000.0).abs() < 1e-9);
    }
}
