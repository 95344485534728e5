//! When the generator itself stood still.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is due or on its way when a pause ends takes a while to be worked off: as long as the pause, and this much more.
const AFTERMATH: Duration = Duration::from_millis(500);

/// A stretch in which the sending thread did nothing, from the start of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it began.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
    /// Whether the thread wanted to run and got no processor. Otherwise the process or the whole machine was stopped.
    pub is_starved: bool,
}

impl Pause {
    /// How long it was.
    pub fn length(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }

    /// Until when it shows in what is measured.
    pub fn felt_until(&self) -> Duration {
        self.to + self.length() + AFTERMATH
    }

    /// Whether what lasted from `start` to `end` may have been longer because of it.
    pub fn touches(&self, start: Duration, end: Duration) -> bool {
        start <= self.felt_until() && end >= self.from
    }
}

/// The pauses of a run, in order of time, as many as are told one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// The first ones.
    pub told: Vec<Pause>,
    /// How many there were.
    pub count: u64,
    /// The longest stretch in which the process or the machine was stopped.
    pub stopped_max: Duration,
    /// The last ones, as far as something may still end that they touched.
    #[serde(skip)]
    recent: Vec<Pause>,
}

/// How many are told one by one.
const TOLD_MAX: usize = 1000;
/// How many are looked at for each answer.
const RECENT_MAX: usize = 64;

impl Pauses {
    /// Adds a pause that has just ended.
    pub fn add(&mut self, pause: Pause) {
        self.count += 1;
        if !pause.is_starved {
            self.stopped_max = self.stopped_max.max(pause.length());
        }
        if self.told.len() < TOLD_MAX {
            self.told.push(pause);
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.remove(0);
        }
        self.recent.push(pause);
    }

    /// Whether any of the last pauses touches what lasted from `start` to `end`.
    pub fn touch(&self, start: Duration, end: Duration) -> bool {
        self.recent.iter().any(|pause| pause.touches(start, end))
    }

    /// Whether any pause that is told touches what lasted from `start` to `end`.
    pub fn touch_any(&self, start: Duration, end: Duration) -> bool {
        self.told.iter().any(|pause| pause.touches(start, end))
    }

    /// Adds those of another generator of the same run.
    pub fn join(&mut self, other: &Self) {
        self.count += other.count;
        self.stopped_max = self.stopped_max.max(other.stopped_max);
        self.told.extend(&other.told);
        self.told.sort_by_key(|pause| pause.from);
        self.told.truncate(TOLD_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_pause_touches_what_lies_across_it_and_shortly_after() {
        let mut pauses = Pauses::default();
        pauses.add(Pause {
            from: ms(1_000),
            to: ms(1_200),
            is_starved: false,
        });
        assert!(!pauses.touch(ms(900), ms(990)));
        assert!(pauses.touch(ms(990), ms(1_201)));
        assert!(pauses.touch(ms(1_100), ms(1_201)));
        assert!(pauses.touch(ms(1_800), ms(1_810)));
        assert!(!pauses.touch(ms(1_901), ms(1_910)));
        assert_eq!(pauses.stopped_max, ms(200));
    }

    #[test]
    fn many_pauses_are_bounded() {
        let mut pauses = Pauses::default();
        for second in 0..5_000 {
            pauses.add(Pause {
                from: ms(second * 1_000),
                to: ms(second * 1_000 + 60),
                is_starved: true,
            });
        }
        assert_eq!((pauses.count, pauses.told.len()), (5_000, TOLD_MAX));
        assert_eq!(pauses.stopped_max, Duration::ZERO);
        assert!(pauses.touch(ms(4_999_000), ms(4_999_001)));
    }
}
