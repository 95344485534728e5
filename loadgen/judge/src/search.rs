//! The search for the highest rate: which rates are tried, and what comes of it. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use plan::metric::{Metric, Plain};
use plan::phase::{Phase, Ramp};
use plan::scenario::{CheckSpec, Held, Scenario};
use record::number::count;
use record::result::capacity::{Capacity, Outcome, Probe};
use record::result::run::{Report, Verdict};
use toml::Spanned;

/// The lowest rate that is tried, arrivals per second.
pub const RATE_MIN: f64 = 10.0;
/// The most probes of one search.
const PROBES_MAX: usize = 48;
/// Where a higher rate was met than this many times one that was missed, the machine decides, and not the rate.
const UNSTEADY_ABOVE: f64 = 1.15;
/// So far below the best rate and above the lowest missed one the answer is tried at the end.
const BEYOND: f64 = 1.2;
/// A probe of which the generator was the reason is made this often.
const DISCARDED_MAX: u32 = 2;
/// The warm-up of a probe.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long after the last arrival everything must be recorded, so that no backlog has grown.
const DRAIN_S_MAX: f64 = 1.0;

/// What came of the probes of one rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    met: u32,
    missed: u32,
    discarded: u32,
}

/// Chooses the rates. Pure.
///
/// A rate that was met once leads upwards; a miss must be confirmed before it leads downwards, and the best rate before it
/// is the answer. Both are confirmed in the same way: by so many more of the one than of the other. When the best rate stands,
/// the lowest missed one is probed once more: the machine may have been slow for a while. Then a rate well below and one well
/// above are tried: a machine on which chance decides over a wide range shows there.
#[derive(Clone, Debug)]
pub struct Search {
    start: f64,
    rate_max: f64,
    precision: f64,
    /// How many more of one outcome than of the other decide.
    lead: u32,
    /// Rates are whole numbers.
    tallies: BTreeMap<u64, Tally>,
    last: Option<u64>,
    /// The lowest missed rate that was probed once more at the end.
    checked: Option<u64>,
    probes: usize,
}

impl Search {
    /// Starts at `start` and never goes above `rate_max`, of which what is behind the point does not count.
    /// `confirmations` is how often an outcome must come again.
    pub fn new(start: f64, rate_max: f64, precision: f64, confirmations: u32) -> Self {
        let rate_max = rate_max.floor().max(RATE_MIN);
        Self {
            start: start.clamp(RATE_MIN, rate_max),
            rate_max,
            precision: precision.max(0.005),
            lead: confirmations + 1,
            tallies: BTreeMap::new(),
            last: None,
            checked: None,
            probes: 0,
        }
    }

    /// What `rate` stands for, once that is decided.
    fn decided(&self, rate: u64) -> Option<Outcome> {
        let tally = self.tallies.get(&rate)?;
        if tally.discarded >= DISCARDED_MAX && tally.met == 0 && tally.missed == 0 {
            return Some(Outcome::Discarded);
        }
        let is_long = tally.met + tally.missed > 2 * self.lead;
        match tally.met.cmp(&tally.missed) {
            Ordering::Greater if is_long || tally.met - tally.missed >= self.lead => {
                Some(Outcome::Met)
            }
            Ordering::Less if is_long || tally.missed - tally.met >= self.lead => {
                Some(Outcome::Missed)
            }
            _ => None,
        }
    }

    /// The lowest rate that failed for sure, and whether the generator was the reason.
    pub fn failed(&self) -> Option<(u64, Outcome)> {
        self.tallies.keys().find_map(|rate| {
            let outcome = self.decided(*rate)?;
            (outcome != Outcome::Met).then_some((*rate, outcome))
        })
    }

    /// The highest rate below the failed ones that was met, and never missed unless it was met more often.
    pub fn best(&self) -> Option<u64> {
        let failed = self.failed().map_or(u64::MAX, |(rate, _)| rate);
        self.tallies
            .range(..failed)
            .rev()
            .find(|(rate, tally)| {
                self.decided(**rate) == Some(Outcome::Met) || (tally.met > 0 && tally.missed == 0)
            })
            .map(|(rate, _)| *rate)
    }

    /// Whether the best rate has passed often enough.
    pub fn confirmed(&self) -> bool {
        self.best()
            .is_some_and(|best| self.decided(best) == Some(Outcome::Met))
    }

    /// The highest rate that was ever met and the lowest that was ever missed, where the first is so far above the second
    /// that the rate does not decide.
    pub fn unsteady(&self) -> Option<(u64, u64)> {
        let met = self.tallies.iter().rfind(|(_, tally)| tally.met > 0)?.0;
        let missed = self.tallies.iter().find(|(_, tally)| tally.missed > 0)?.0;
        (*met as f64 > *missed as f64 * UNSTEADY_ABOVE).then_some((*met, *missed))
    }

    /// Where the true limit lies as far as the probes say: from the best rate, or a lower one that was once missed, to the
    /// lowest failed rate, or a higher one that was once met.
    pub fn interval(&self) -> Option<(u64, u64)> {
        let best = self.best()?;
        let missed = self.tallies.iter().find(|(_, tally)| tally.missed > 0);
        let met = self.tallies.iter().rfind(|(_, tally)| tally.met > 0);
        let low = missed.map_or(best, |(missed, _)| best.min(*missed));
        let high = self.failed().map_or(best, |(failed, _)| failed);
        Some((low, met.map_or(high, |(met, _)| high.max(*met))))
    }

    /// The next rate; `None` when the search is over.
    pub fn next(&self) -> Option<u64> {
        if self.probes >= PROBES_MAX || self.unsteady().is_some() {
            return None;
        }
        if let Some(last) = self.last
            && self.decided(last).is_none()
            && self
                .tallies
                .get(&last)
                .is_some_and(|tally| tally.missed > 0 || tally.met == 0)
        {
            return Some(last);
        }
        let next = match (self.best(), self.failed()) {
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
            (Some(best), failed) => {
                if !self.confirmed() {
                    return Some(best);
                }
                let missed = failed
                    .filter(|(_, outcome)| *outcome == Outcome::Missed)
                    .map(|(rate, _)| rate);
                return missed
                    .filter(|rate| self.checked != Some(*rate))
                    .or_else(|| self.beyond(best, missed));
            }
        };
        Some(next.round() as u64)
    }

    /// A rate well below the best or well above the lowest missed one that was not tried often enough.
    fn beyond(&self, best: u64, missed: Option<u64>) -> Option<u64> {
        let below = (best as f64 / BEYOND).max(RATE_MIN).round() as u64;
        let above = missed.map(|rate| (rate as f64 * BEYOND).min(self.rate_max).round() as u64);
        [Some(below), above].into_iter().flatten().find(|rate| {
            let tally = self.tallies.get(rate).copied().unwrap_or_default();
            *rate != best
                && missed != Some(*rate)
                && tally.discarded < DISCARDED_MAX
                && tally.met + tally.missed < self.lead
        })
    }

    /// Whether the next probe is of a rate that was probed before.
    pub fn confirms(&self) -> bool {
        self.next()
            .is_some_and(|rate| self.tallies.contains_key(&rate))
    }

    /// Notes what came of `rate`.
    pub fn note(&mut self, rate: u64, outcome: Outcome) {
        if self.decided(rate) == Some(Outcome::Missed) {
            self.checked = Some(rate);
        }
        self.probes += 1;
        self.last = Some(rate);
        let tally = self.tallies.entry(rate).or_default();
        match outcome {
            Outcome::Met => tally.met += 1,
            Outcome::Missed => tally.missed += 1,
            Outcome::Discarded => tally.discarded += 1,
        }
    }
}

/// What the search found, written into its result.
pub fn conclude(result: &mut Capacity, search: &Search, stopped: Option<String>) {
    let unsteady = search.unsteady();
    if search.confirmed() && stopped.is_none() && unsteady.is_none() {
        result.rate_per_second = search.best().map(|rate| rate as f64);
        result.rate_interval = search
            .interval()
            .map(|(low, high)| [low as f64, high as f64]);
        result.recorded_per_second = result
            .probes
            .iter()
            .filter(|probe| Some(probe.rate_per_second) == result.rate_per_second)
            .filter(|probe| probe.outcome == Outcome::Met)
            .map(|probe| probe.recorded_per_second)
            .min_by(f64::total_cmp);
    }
    result.missed_at_per_second = search.failed().map(|(rate, _)| rate as f64);
    // A rate that is met and missed by chance until the probes are used up is no answer either.
    let is_open = result.rate_per_second.is_none() && search.best().is_some();
    result.is_unsteady = stopped.is_none() && (unsteady.is_some() || is_open);
    result.is_stopped = stopped.is_some();
    result.limit = match (stopped, unsteady, search.failed(), result.rate_per_second) {
        (Some(reason), ..) => format!("The search was stopped: {reason}"),
        (_, Some((met, missed)), ..) => format!(
            "Too unsteady: the objectives were met at {}/s and missed at {}/s, so the machine decides and not the rate. Try \
             again with a longer --hold, or with nothing else at work.",
            count(met),
            count(missed)
        ),
        (_, _, _, None) if is_open => format!(
            "Too unsteady: no rate was confirmed within {PROBES_MAX} probes, the objectives are met and missed by chance."
        ),
        (_, _, _, None) => "No rate met the objectives.".to_owned(),
        (_, _, None, Some(_)) => format!(
            "The highest rate that was tried, {}/s, met the objectives: the service can do more.",
            count(search.rate_max as u64)
        ),
        (_, _, Some((rate, Outcome::Discarded)), Some(_)) => format!(
            "At {}/s the generator was late: the limit is this machine's, and the service may do more.",
            count(rate)
        ),
        (_, _, Some((rate, _)), Some(_)) => {
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
    probe.overrides.held = Some(Held {
        rate_per_second: rate as u64,
        hold,
    });
    probe.source = format!(
        "# A probe of the search for the capacity. In place of the phases below: a warm-up of {} s, then {rate} arrivals a second\n\
         # for {} s. Of the checks those hold that do so at any rate, while the rate is held; and drain_s is at most {DRAIN_S_MAX} s.\n\n{}",
        WARM_UP.as_secs(),
        hold.as_secs(),
        scenario.source
    );
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
        Some(Metric::SendLagMs(_) | Metric::GeneratorLagMs(_) | Metric::Server(_)) | None => false,
        Some(_) => true,
    }
}

/// What came of one run at `rate`.
pub fn probe(rate: u64, confirms: bool, report: &Report, run: String) -> Probe {
    let hold = report.phases.last().cloned().unwrap_or_default();
    let recorded = report.audit.recorded;
    Probe {
        rate_per_second: rate as f64,
        outcome: match report.verdict {
            Verdict::Pass => Outcome::Met,
            Verdict::Discarded => Outcome::Discarded,
            Verdict::Fail | Verdict::Aborted => Outcome::Missed,
        },
        confirms,
        // Counted between two instants while the rate was held.
        recorded_per_second: hold.recorded_per_second.unwrap_or(0.0),
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
            assert!(probes < 32, "{probes}");
        }
    }

    #[test]
    fn a_service_without_a_limit_ends_at_the_highest_rate() {
        let (search, _) = search(500.0, 100_000, 100_000);
        assert_eq!((search.best(), search.failed()), (Some(50_000), None));
    }

    /// Rates are whole numbers: a bound between two of them is none that could be tried.
    #[test]
    fn a_fraction_of_the_highest_rate_does_not_count() {
        for rate_max in [1_000.4, 1_000.6] {
            let mut search = Search::new(700.0, rate_max, 0.05, 1);
            let mut probes = 0;
            while let Some(rate) = search.next() {
                probes += 1;
                assert!(rate <= 1_000, "{rate}");
                search.note(rate, Outcome::Met);
            }
            assert_eq!((search.best(), search.failed()), (Some(1_000), None));
            assert!(probes < 8, "{probes}");
        }
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
    fn a_miss_is_confirmed_as_a_pass_is() {
        let mut search = Search::new(100.0, 200.0, 0.05, 1);
        search.note(100, Outcome::Met);
        // Missed by chance: once more says otherwise, and then it is open.
        search.note(200, Outcome::Missed);
        assert_eq!((search.failed(), search.next()), (None, Some(200)));
        search.note(200, Outcome::Met);
        assert_eq!((search.failed(), search.next()), (None, Some(200)));
        search.note(200, Outcome::Missed);
        search.note(200, Outcome::Missed);
        assert_eq!(search.failed(), Some((200, Outcome::Missed)));
        assert_eq!((search.best(), search.next()), (Some(100), Some(141)));
    }

    #[test]
    fn the_lowest_miss_is_looked_at_again_at_the_end() {
        let mut search = Search::new(100.0, 105.0, 0.05, 1);
        search.note(105, Outcome::Missed);
        search.note(105, Outcome::Missed);
        search.note(100, Outcome::Met);
        search.note(100, Outcome::Met);
        assert!(search.confirmed());
        // The machine was slow for a while: now it is met, and so no longer missed for sure.
        assert_eq!(search.next(), Some(105));
        search.note(105, Outcome::Met);
        assert_eq!((search.failed(), search.next()), (None, Some(105)));
        search.note(105, Outcome::Missed);
        assert_eq!(search.failed(), Some((105, Outcome::Missed)));
        // Then a rate well below; well above it there is none that may be tried here.
        assert_eq!(search.next(), Some(83));
        search.note(83, Outcome::Met);
        search.note(83, Outcome::Met);
        assert_eq!(search.next(), None);
        assert_eq!(search.interval(), Some((100, 105)));
    }

    /// Searches on a machine where chance decides too: `width` is how far from the limit it does.
    fn noisy(seed: u64, limit: f64, width: f64) -> Search {
        let mut random = crate::bootstrap::Random::new(seed);
        let mut search = Search::new(500.0, 20_000.0, 0.05, 1);
        while let Some(rate) = search.next() {
            let odds = 1.0 / (1.0 + ((rate as f64 / limit).ln() / width).exp());
            let is_met = (random.below(1_000_000) as f64) < odds * 1e6;
            search.note(
                rate,
                if is_met {
                    Outcome::Met
                } else {
                    Outcome::Missed
                },
            );
        }
        search
    }

    #[test]
    fn ten_searches_lie_close_together_or_say_that_they_cannot() {
        for (width, least, most) in [
            (0.01, 195, 200),
            (0.02, 190, 200),
            (0.05, 140, 195),
            (0.3, 0, 30),
            (1.0, 0, 15),
        ] {
            let found: Vec<u64> = (0..200)
                .map(|seed| noisy(seed, 1_500.0, width))
                .filter(|search| search.unsteady().is_none() && search.confirmed())
                .filter_map(|search| search.best())
                .collect();
            let near = found
                .iter()
                .filter(|rate| (1_200..=1_875).contains(*rate))
                .count();
            // Where chance decides over a wide range, an answer is rare; where it does not, all are near.
            let answers = found.len();
            assert!((least..=most).contains(&answers), "{width}: {answers}");
            assert!(
                width > 0.1 || near == answers,
                "{width}: {near} of {answers}"
            );
        }
    }

    #[test]
    fn what_is_met_far_above_a_miss_is_unsteady() {
        let mut search = Search::new(367.0, 20_000.0, 0.05, 1);
        search.note(367, Outcome::Missed);
        search.note(367, Outcome::Met);
        search.note(1_600, Outcome::Met);
        assert_eq!(search.unsteady(), Some((1_600, 367)));
        assert_eq!(search.next(), None);
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
        assert_eq!(
            probe.overrides.flags(),
            ["--start 1000 --rate-max 1000 --hold 8"]
        );
        assert!(probe.source.contains("1000 arrivals a second") && probe.source.ends_with(text));
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
