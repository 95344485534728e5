//! How long loans took from when they were due until MongoDB had confirmed them. Pure.
//!
//! The first instant is by the generator's clock, the second by the service's: the latency between them means something only where the
//! two clocks agree. Nothing is confirmed before it is due, so one loan that seems to be proves that they do not.

use std::time::Duration;

use hdrhistogram::Histogram;
use plan::schedule::Slot;
use record::latencies::{empty, record};
use record::pause::Pauses;

/// The latencies of one run from end to end, by phase, gathered one loan at a time.
#[derive(Clone, Debug)]
pub struct EndToEnd {
    /// Microseconds, by phase.
    pub all: Vec<Histogram<u64>>,
    /// The same of those loans that no pause of the generator touched.
    pub undisturbed: Vec<Histogram<u64>>,
    /// How long before it was due a loan seems to be confirmed, the longest: so far the service's clock is behind at least.
    pub early: Duration,
}

impl EndToEnd {
    /// Nothing yet, of a run with so many phases.
    pub fn new(phases: usize) -> Self {
        Self {
            all: vec![empty(); phases],
            undisturbed: vec![empty(); phases],
            early: Duration::ZERO,
        }
    }

    /// Takes the loan of `slot`, which was due at `due_us` by the generator's clock and was confirmed at `confirmed_us` by the
    /// service's, microseconds since the Unix epoch.
    pub fn take(&mut self, slot: Slot, due_us: i64, confirmed_us: i64, pauses: &Pauses) {
        let took_us = confirmed_us.saturating_sub(due_us);
        if took_us < 0 {
            let early = Duration::from_micros(took_us.unsigned_abs());
            self.early = self.early.max(early);
            return;
        }
        let latency = Duration::from_micros(took_us.unsigned_abs());
        let phase = usize::from(slot.phase);
        record(&mut self.all[phase], latency);
        if !pauses.touch_any(slot.offset, slot.offset + latency) {
            record(&mut self.undisturbed[phase], latency);
        }
    }

    /// What may be told of it: no latency at all, where the clocks do not agree.
    #[must_use]
    pub fn told(self) -> Self {
        if self.early.is_zero() {
            return self;
        }
        Self {
            early: self.early,
            ..Self::new(self.all.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loan_that_seems_confirmed_before_it_was_due_leaves_no_latency() {
        let start_us = 1_700_000_000_000_000;
        let told = |of: &[i64]| {
            let mut end_to_end = EndToEnd::new(2);
            for (number, took_us) in (0u32..).zip(of) {
                let offset = Duration::from_millis(10) * number;
                let slot = Slot {
                    number,
                    phase: 1,
                    offset,
                };
                let due_us = start_us + offset.as_micros() as i64;
                end_to_end.take(slot, due_us, due_us + took_us, &Pauses::default());
            }
            end_to_end.told()
        };
        let good = told(&[5_000, 7_000]);
        assert_eq!((good.all[0].len(), good.all[1].len()), (0, 2));
        assert_eq!(good.undisturbed[1].len(), 2);
        assert!(good.all[1].min() >= 4_990 && good.early.is_zero());
        // One is enough, and it is no latency of a microsecond.
        let behind = told(&[5_000, -20_000, -300, 7_000]);
        assert_eq!(behind.all.len(), 2);
        assert!(behind.all.iter().all(Histogram::is_empty));
        assert!(behind.undisturbed.iter().all(Histogram::is_empty));
        assert_eq!(behind.early, Duration::from_millis(20));
        // A record may say anything.
        let mut end_to_end = EndToEnd::new(1);
        let slot = Slot {
            number: 0,
            phase: 0,
            offset: Duration::ZERO,
        };
        for confirmed_us in [i64::MIN, i64::MAX] {
            end_to_end.take(slot, start_us, confirmed_us, &Pauses::default());
        }
        assert!(!end_to_end.early.is_zero());
    }
}
