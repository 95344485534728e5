//! The open-model schedule: which arrival is due when. Pure, streamed, reproducible by its seed.
//!
//! A phase is a list of [`Segment`]s. The integral of its rate over time counts the arrivals that are due, so arrival
//! `k` is due where the integral reaches `k` (even spacing), or the `k`-th sum of random unit gaps (Poisson).

use std::time::Duration;

use crate::phase::{Phase, Segment};
use crate::random::mix64;

/// One arrival of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Number of the arrival, 0 first.
    pub number: u32,
    /// Index of its phase.
    pub phase: u16,
    /// When it is due, after the start of the load.
    pub offset: Duration,
}

/// A phase with its place in the run.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedPhase {
    /// Start, after the start of the load.
    pub start: Duration,
    /// End, after the start of the load.
    pub end: Duration,
    /// Arrivals in it.
    pub arrivals: u32,
    segments: Vec<Segment>,
    poisson: bool,
}

/// When each arrival of a run is due.
#[derive(Clone, Debug)]
pub struct Schedule {
    seed: u64,
    phases: Vec<PlannedPhase>,
}

impl Schedule {
    /// Whether anything is due at all. Looks at the first arrival of each phase only.
    pub fn has_arrivals(phases: &[Phase], seed: u64) -> bool {
        phases.iter().enumerate().any(|(index, phase)| {
            let planned = PlannedPhase {
                start: Duration::ZERO,
                end: phase.duration,
                arrivals: 0,
                segments: phase.segments(),
                poisson: phase.poisson,
            };
            PhaseSlots::new(&planned, index, seed).next().is_some()
        })
    }

    /// The schedule of `phases`, one after the other. Equal input gives equal schedules.
    pub fn new(phases: &[Phase], seed: u64) -> Self {
        let mut start = Duration::ZERO;
        let mut planned: Vec<PlannedPhase> = Vec::with_capacity(phases.len());
        for (index, phase) in phases.iter().enumerate() {
            let mut entry = PlannedPhase {
                start,
                end: start + phase.duration,
                arrivals: 0,
                segments: phase.segments(),
                poisson: phase.poisson,
            };
            entry.arrivals = PhaseSlots::new(&entry, index, seed).count() as u32;
            start = entry.end;
            planned.push(entry);
        }
        Self {
            seed,
            phases: planned,
        }
    }

    /// The phases in order.
    pub fn phases(&self) -> &[PlannedPhase] {
        &self.phases
    }

    /// Arrivals in all phases.
    pub fn arrivals(&self) -> u32 {
        self.phases.iter().map(|phase| phase.arrivals).sum()
    }

    /// Length of all phases.
    pub fn duration(&self) -> Duration {
        self.phases.last().map_or(Duration::ZERO, |phase| phase.end)
    }

    /// Every arrival in order of time. Nothing is kept.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + Send + '_ {
        self.phases
            .iter()
            .enumerate()
            .flat_map(move |(index, phase)| {
                PhaseSlots::new(phase, index, self.seed).map(move |offset| (index, offset))
            })
            .zip(0u32..)
            .map(|((phase, offset), number)| Slot {
                number,
                phase: phase as u16,
                offset,
            })
    }
}

/// The due times of one phase.
struct PhaseSlots<'a> {
    phase: &'a PlannedPhase,
    random: u64,
    /// Arrivals due so far: the integral of the rate that the next slot needs.
    due: f64,
    segment: usize,
    /// Integral and seconds at the start of `segment`.
    before: (f64, f64),
}

impl<'a> PhaseSlots<'a> {
    fn new(phase: &'a PlannedPhase, index: usize, seed: u64) -> Self {
        let mut slots = Self {
            phase,
            random: mix64(seed ^ mix64(index as u64 + 1)),
            due: 0.0,
            segment: 0,
            before: (0.0, 0.0),
        };
        if phase.poisson {
            slots.due = slots.gap();
        }
        slots
    }

    /// A random gap with mean 1 and exponential distribution.
    fn gap(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let uniform = ((mix64(self.random) >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        -uniform.ln()
    }
}

impl Iterator for PhaseSlots<'_> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let segment = self.phase.segments.get(self.segment)?;
            let into = self.due - self.before.0;
            // An arrival that is due at the very end belongs to the next phase.
            if into < segment.arrivals() - 1e-9 {
                let seconds = self.before.1 + segment.seconds_at(into);
                self.due += if self.phase.poisson { self.gap() } else { 1.0 };
                return Some(self.phase.start + Duration::from_secs_f64(seconds));
            }
            self.before.0 += segment.arrivals();
            self.before.1 += segment.seconds;
            self.segment += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::phase::arrivals_expected;
    use crate::scenario::Scenario;

    fn schedule(phase: &str, seed: u64) -> Schedule {
        let text = format!("name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\n{phase}");
        let scenario = Scenario::parse(&text, "t.toml".as_ref()).expect("a good scenario");
        Schedule::new(&scenario.phases, seed)
    }

    fn millis(schedule: &Schedule) -> Vec<u128> {
        schedule
            .slots()
            .map(|slot| slot.offset.as_millis())
            .collect()
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced() {
        let four = schedule("duration = \"1s\"\nrate = 4", 1);
        assert_eq!(millis(&four), [0, 250, 500, 750]);
        assert_eq!(four.arrivals(), 4);
    }

    #[test]
    fn a_ramp_follows_its_integral() {
        // 0 to 8 a second in one second: arrival k is due at sqrt(k / 4).
        let ramp = schedule("duration = \"1s\"\nramp = { from = 0, to = 8 }", 1);
        assert_eq!(millis(&ramp), [0, 500, 707, 866]);
    }

    #[test]
    fn a_burst_ends_each_period() {
        let burst = schedule(
            "duration = \"2s\"\nburst = { base = 2, rate = 8, every = \"1s\", length = \"500ms\" }",
            1,
        );
        assert_eq!(
            millis(&burst),
            [0, 500, 625, 750, 875, 1000, 1500, 1625, 1750, 1875]
        );
    }

    #[test]
    fn phases_follow_each_other() {
        let text = "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"a\"\nduration = \"1s\"\nrate = 2\n[[phase]]\nname = \"b\"\nduration = \"1s\"\nrate = 1";
        let scenario = Scenario::parse(text, "t.toml".as_ref()).expect("a good scenario");
        let slots: Vec<_> = Schedule::new(&scenario.phases, 1).slots().collect();
        let seen: Vec<_> = slots
            .iter()
            .map(|slot| (slot.number, slot.phase, slot.offset.as_millis()))
            .collect();
        assert_eq!(seen, [(0, 0, 0), (1, 0, 500), (2, 1, 1000)]);
    }

    proptest! {
        #[test]
        fn slots_are_ordered_counted_and_reproducible(
            shape in prop_oneof![
                (1u32..2000).prop_map(|rate| format!("rate = {rate}")),
                (0u32..1000, 1u32..1000).prop_map(|(from, to)| format!("ramp = {{ from = {from}, to = {to} }}")),
                (1u32..500, 1u32..2000, 50u32..900).prop_map(|(base, rate, length)| {
                    format!("burst = {{ base = {base}, rate = {rate}, every = \"1s\", length = \"{length}ms\" }}")
                }),
            ],
            seconds in 1u32..8,
            poisson: bool,
            seed: u64,
        ) {
            let text = format!("duration = \"{seconds}s\"\npoisson = {poisson}\n{shape}");
            let planned = schedule(&text, seed);
            let slots: Vec<_> = planned.slots().collect();
            prop_assert!(slots.is_sorted_by_key(|slot| slot.offset));
            prop_assert!(slots.iter().all(|slot| slot.offset <= planned.duration()));
            prop_assert_eq!(slots.len(), planned.arrivals() as usize);
            prop_assert_eq!(&slots, &schedule(&text, seed).slots().collect::<Vec<_>>());
            let expected = arrivals_expected(&planned.phases()[0].segments);
            let off = (slots.len() as f64 - expected).abs();
            // Six standard deviations of a Poisson count; a proptest run draws a few hundred.
            let allowed = if poisson { 6.0 * expected.sqrt() + 2.0 } else { 1.0 + 1e-6 };
            prop_assert!(off <= allowed, "{} arrivals, {expected} expected", slots.len());
        }
    }
}
