//! How far two clocks are apart, from questions that went there and back. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Of so many questions the quickest one counts: ten seconds of them.
const QUESTIONS: usize = 20;

/// How far another clock is ahead of one's own, and how well that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Microseconds; below zero the other one is behind.
    pub ahead_us: i64,
    /// It is not further off than this, microseconds: half of the way there and back.
    pub within_us: i64,
}

impl Comparison {
    /// From a question that left at `asked_us` and whose answer came at `heard_us`, both by one's own clock. The other one
    /// showed `shown_us` in between.
    pub const fn of(asked_us: i64, shown_us: i64, heard_us: i64) -> Self {
        let half_us = heard_us.saturating_sub(asked_us) / 2;
        Self {
            ahead_us: shown_us.saturating_sub(asked_us).saturating_sub(half_us),
            // What was cut off by the division.
            within_us: half_us.saturating_add(1),
        }
    }

    /// Whether it is surely known to `within`.
    pub fn is_within(&self, within: Duration) -> bool {
        (0..=within.as_micros() as i64).contains(&self.within_us)
    }

    /// How far the clocks have surely moved against each other since `before`, microseconds; zero when they may not have.
    pub fn moved_us(&self, before: &Self) -> i64 {
        let moved_us = self.ahead_us.saturating_sub(before.ahead_us);
        let unknown_us = self.within_us.saturating_add(before.within_us);
        moved_us.signum() * (moved_us.saturating_abs().saturating_sub(unknown_us)).max(0)
    }
}

/// The last questions.
#[derive(Clone, Debug, Default)]
pub struct Comparisons(VecDeque<Comparison>);

impl Comparisons {
    /// Takes one more.
    pub fn take(&mut self, comparison: Comparison) {
        if self.0.len() == QUESTIONS {
            self.0.pop_front();
        }
        self.0.push_back(comparison);
    }

    /// The one that is known best.
    pub fn best(&self) -> Option<Comparison> {
        self.0
            .iter()
            .min_by_key(|comparison| comparison.within_us)
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_lies_within_what_is_said() {
        // The other clock is 5 s ahead; the way there takes 1 ms, the way back 9 ms.
        let comparison = Comparison::of(1_000_000, 6_001_000, 1_010_000);
        assert!((comparison.ahead_us - 5_000_000).abs() <= comparison.within_us);
        assert_eq!(comparison.within_us, 5_001);
        assert!(comparison.is_within(Duration::from_millis(6)));
        assert!(!comparison.is_within(Duration::from_millis(5)));
        // An answer before its question is no comparison.
        assert!(
            !Comparison::of(10, 0, 0).is_within(Duration::from_secs(1))
                || Comparison::of(10, 0, 0).within_us >= 0
        );
    }

    #[test]
    fn the_quickest_of_the_last_questions_counts() {
        let mut comparisons = Comparisons::default();
        assert_eq!(comparisons.best(), None);
        let quick = Comparison {
            ahead_us: 70,
            within_us: 10,
        };
        comparisons.take(Comparison {
            ahead_us: 900,
            within_us: 1_000,
        });
        comparisons.take(quick);
        comparisons.take(Comparison {
            ahead_us: -400,
            within_us: 500,
        });
        assert_eq!(comparisons.best(), Some(quick));
        for _ in 0..QUESTIONS {
            comparisons.take(Comparison {
                ahead_us: 50,
                within_us: 20,
            });
        }
        assert_eq!(comparisons.best().map(|best| best.ahead_us), Some(50));
    }

    #[test]
    fn a_clock_that_may_not_have_moved_has_not() {
        let before = Comparison {
            ahead_us: 1_000,
            within_us: 300,
        };
        let after = |ahead_us| Comparison {
            ahead_us,
            within_us: 200,
        };
        assert_eq!(after(1_400).moved_us(&before), 0);
        assert_eq!(after(2_000).moved_us(&before), 500);
        assert_eq!(after(-1_000).moved_us(&before), -1_500);
    }
}
