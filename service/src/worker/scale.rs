//! How many workers there should be. Pure.

use std::time::Duration;

/// The rule: one worker for each `loans_per_worker` queued loans, `min` to `max`; up at once,
/// down only after `cool_down` without need.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Never fewer.
    pub min: u64,
    /// Never more.
    pub max: u64,
    /// Queued loans that one worker is for. At least 1.
    pub loans_per_worker: u64,
    /// How long fewer must have sufficed before workers are stopped.
    pub cool_down: Duration,
}

/// What the scaler remembers between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Since when fewer would have sufficed, and the most that were wanted since.
    slack: Option<(Duration, u64)>,
}

/// A change to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many workers there should be now.
    pub workers: u64,
    /// Why, in words.
    pub reason: String,
}

impl Rule {
    /// How many workers `depth` queued loans call for.
    pub fn wanted(&self, depth: u64) -> u64 {
        depth
            .div_ceil(self.loans_per_worker)
            .clamp(self.min, self.max)
    }

    /// Looks at the queue at time `now` (since any fixed instant, never going back) and says what
    /// to change, if anything.
    pub fn step(
        &self,
        memory: &mut Memory,
        now: Duration,
        depth: u64,
        workers: u64,
    ) -> Option<Step> {
        let wanted = self.wanted(depth);
        if wanted >= workers {
            memory.slack = None;
            return (wanted > workers).then(|| Step {
                workers: wanted,
                reason: format!("{depth} loans queued"),
            });
        }
        let (since, most) = memory.slack.unwrap_or((now, wanted));
        let most = most.max(wanted);
        memory.slack = Some((since, most));
        if now.saturating_sub(since) < self.cool_down {
            return None;
        }
        memory.slack = None;
        Some(Step {
            workers: most,
            reason: format!("{most} sufficed for {} s", self.cool_down.as_secs_f32()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: Rule = Rule {
        min: 1,
        max: 5,
        loans_per_worker: 50,
        cool_down: Duration::from_secs(5),
    };

    #[test]
    fn one_worker_for_each_fifty_loans_up_to_five() {
        for (depth, wanted) in [
            (0, 1),
            (1, 1),
            (50, 1),
            (51, 2),
            (100, 2),
            (201, 5),
            (250, 5),
            (1_000_000, 5),
        ] {
            assert_eq!(RULE.wanted(depth), wanted, "{depth}");
        }
    }

    #[test]
    fn up_at_once_down_after_the_cool_down() {
        let mut memory = Memory::default();
        let mut step = |at, depth, workers| {
            RULE.step(&mut memory, Duration::from_secs(at), depth, workers)
                .map(|step| step.workers)
        };
        assert_eq!(step(0, 0, 1), None);
        assert_eq!(step(1, 500, 1), Some(5));
        assert_eq!(step(2, 0, 5), None);
        assert_eq!(step(3, 120, 5), None);
        assert_eq!(step(6, 0, 5), None);
        assert_eq!(
            step(7, 0, 5),
            Some(3),
            "three were wanted within the cool-down"
        );
        assert_eq!(step(8, 0, 3), None);
        assert_eq!(step(13, 0, 3), Some(1));
    }

    #[test]
    fn need_resets_the_cool_down() {
        let mut memory = Memory::default();
        let mut step = |at, depth| RULE.step(&mut memory, Duration::from_secs(at), depth, 5);
        assert_eq!(step(0, 0), None);
        assert_eq!(step(4, 250), None);
        assert_eq!(step(6, 0), None);
        assert_eq!(step(10, 0), None);
        assert!(step(11, 0).is_some());
    }

    proptest! {
        /// Always within the bounds; never below the need; no two steps down within a cool-down.
        #[test]
        fn keeps_its_promises(looks in prop::collection::vec((0..2_000u64, 0..400u64), 1..200)) {
            let mut memory = Memory::default();
            let mut now = Duration::ZERO;
            let mut workers = RULE.min;
            let mut last_down: Option<Duration> = None;
            for (pause_ms, depth) in looks {
                now += Duration::from_millis(pause_ms);
                if let Some(step) = RULE.step(&mut memory, now, depth, workers) {
                    prop_assert_ne!(step.workers, workers);
                    if step.workers < workers {
                        if let Some(last) = last_down {
                            prop_assert!(now - last >= RULE.cool_down);
                        }
                        last_down = Some(now);
                    }
                    workers = step.workers;
                }
                prop_assert!((RULE.min..=RULE.max).contains(&workers));
                prop_assert!(workers >= RULE.wanted(depth));
            }
        }
    }
}
