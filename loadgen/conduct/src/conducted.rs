//! What a shard makes of what it hears from its conductor. Pure: whoever calls says what time it is.
//!
//! Before the start a conductor that is gone means that nothing is sent. After it the shard finishes by itself.

use std::time::Duration;

use crate::comparison::{Comparison, Comparisons};
use crate::link::LinkError;
use crate::message::{Answer, End, Order, SILENCE_MAX, Stage, Start};

/// How a shard stands with its conductor.
#[derive(Debug)]
pub(crate) struct Conducted {
    pub(crate) stage: Stage,
    clocks: Comparisons,
    heard_at: Duration,
    start: Option<Start>,
    end: Option<End>,
    /// Why it is no part of the run any more.
    cut_off: Option<String>,
    is_silent: bool,
    /// The stage that the conductor has heard of.
    known_stage: Option<Stage>,
}

/// What is to be done before the load.
#[derive(Debug)]
pub(crate) enum Fate {
    Wait,
    Start(Box<Start>),
    Over(End),
    /// The conductor is gone, or does not want this shard.
    Lost(LinkError),
}

impl Conducted {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            stage: Stage::Preparing,
            clocks: Comparisons::default(),
            heard_at: now,
            start: None,
            end: None,
            cut_off: None,
            is_silent: false,
            known_stage: None,
        }
    }

    /// The conductor has answered to a beat that said `stage`. It left at `asked_us`, the answer came at `heard_us`, by this
    /// machine's clock.
    pub(crate) fn heard(
        &mut self,
        now: Duration,
        (asked_us, heard_us): (i64, i64),
        stage: Stage,
        answer: Answer,
    ) {
        self.heard_at = now;
        self.is_silent = false;
        self.known_stage = Some(stage);
        self.clocks
            .take(Comparison::of(asked_us, answer.now_us, heard_us));
        match answer.order {
            Order::GoOn => {}
            Order::Start(start) => {
                self.start.get_or_insert(*start);
            }
            Order::End(end) => {
                // A stop comes after an early end, never before.
                self.end = Some(end);
            }
        }
    }

    /// The conductor did not answer.
    pub(crate) fn unheard(&mut self, now: Duration) {
        self.is_silent = now.saturating_sub(self.heard_at) > SILENCE_MAX;
    }

    /// The conductor does not want this shard any more.
    pub(crate) fn refused(&mut self, why: String) {
        self.end.get_or_insert(End {
            why: why.clone(),
            is_stop: false,
        });
        self.cut_off = Some(why);
    }

    /// The clocks, as far as they are known.
    pub(crate) fn clock(&self) -> Option<Comparison> {
        self.clocks.best()
    }

    /// What is to be done, before the load.
    pub(crate) fn fate(&self) -> Fate {
        if let Some(why) = &self.cut_off {
            Fate::Lost(LinkError::Refused(why.clone()))
        } else if let Some(end) = &self.end {
            Fate::Over(end.clone())
        } else if let Some(start) = &self.start {
            Fate::Start(Box::new(start.clone()))
        } else {
            self.loss().map_or(Fate::Wait, Fate::Lost)
        }
    }

    /// Why the load is to end before its end.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Why nobody takes the files of this shard.
    pub(crate) fn loss(&self) -> Option<LinkError> {
        let silence = || format!("it has not answered for {} s", SILENCE_MAX.as_secs());
        match &self.cut_off {
            Some(why) => Some(LinkError::Refused(why.clone())),
            None => self.is_silent.then(|| LinkError::Lost(silence())),
        }
    }

    /// Whether the conductor has heard how far this shard is.
    pub(crate) fn is_known(&self) -> bool {
        self.known_stage.as_ref() == Some(&self.stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(order: Order) -> Answer {
        Answer { now_us: 0, order }
    }

    fn start() -> Order {
        Order::Start(Box::new(Start {
            at_us: 5,
            snapshot_before: snapshot::Snapshot::default(),
            redis_memory_start_bytes: None,
            provenance: Box::default(),
        }))
    }

    fn heard(conducted: &mut Conducted, at_s: u64, order: Order) {
        conducted.heard(
            Duration::from_secs(at_s),
            (0, 10),
            conducted.stage.clone(),
            answer(order),
        );
    }

    #[test]
    fn a_conductor_that_is_gone_before_the_start_starts_nothing() {
        let mut conducted = Conducted::new(Duration::ZERO);
        heard(&mut conducted, 1, Order::GoOn);
        conducted.unheard(Duration::from_secs(5));
        assert!(matches!(conducted.fate(), Fate::Wait));
        conducted.unheard(Duration::from_secs(12));
        assert!(matches!(conducted.fate(), Fate::Lost(_)));
    }

    #[test]
    fn a_conductor_that_is_gone_after_the_start_ends_nothing() {
        let mut conducted = Conducted::new(Duration::ZERO);
        heard(&mut conducted, 1, start());
        conducted.unheard(Duration::from_secs(60));
        assert!(matches!(conducted.fate(), Fate::Start(_)));
        assert!(conducted.end().is_none());
        assert!(conducted.loss().is_some());
        // It was only the network.
        heard(&mut conducted, 61, Order::GoOn);
        assert!(conducted.loss().is_none());
    }

    #[test]
    fn a_stop_is_heard_after_an_early_end() {
        let mut conducted = Conducted::new(Duration::ZERO);
        let end = |is_stop| {
            Order::End(End {
                why: "why".to_owned(),
                is_stop,
            })
        };
        heard(&mut conducted, 1, end(false));
        assert!(conducted.end().is_some_and(|end| !end.is_stop));
        heard(&mut conducted, 2, end(true));
        assert!(conducted.end().is_some_and(|end| end.is_stop));
        assert!(matches!(conducted.fate(), Fate::Over(_)));
    }

    #[test]
    fn who_is_no_part_of_the_run_any_more_ends_and_keeps_its_files() {
        let mut conducted = Conducted::new(Duration::ZERO);
        heard(&mut conducted, 1, start());
        conducted.refused("too late".to_owned());
        assert!(conducted.end().is_some());
        heard(&mut conducted, 2, Order::GoOn);
        assert!(matches!(conducted.loss(), Some(LinkError::Refused(why)) if why == "too late"));
    }

    #[test]
    fn a_stage_is_known_once_it_was_answered() {
        let mut conducted = Conducted::new(Duration::ZERO);
        assert!(!conducted.is_known());
        heard(&mut conducted, 1, Order::GoOn);
        assert!(conducted.is_known());
        conducted.stage = Stage::Ready;
        assert!(!conducted.is_known());
    }
}
