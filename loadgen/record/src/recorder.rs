//! Everything that is counted while the load runs: by phase, by kind and by second.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use plan::kind::Kind;
use plan::payload::Payloads;
use serde::{Deserialize, Serialize};

use crate::heat::Heat;
use crate::interval::IntervalLog;
use crate::latencies::{Latencies, empty, record};
use crate::ledger::Ledger;
use crate::pause::Pauses;
use crate::raw::RawLog;
use crate::sample::{Answer, Sample};

/// How many examples are kept of each kind of error.
pub const ERROR_EXAMPLES_MAX: usize = 3;

/// How many kinds of error are told apart.
const ERROR_KINDS_MAX: usize = 100;

/// One second of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Arrivals that were due in it.
    pub planned: u64,
    /// Requests that left in it.
    pub sent: u64,
    /// Definite answers in it.
    pub completed: u64,
    /// Arrivals that ended in it without a definite answer.
    pub failed: u64,
    /// Median response time of those that ended in it, microseconds.
    pub response_p50_us: Option<u64>,
    /// 99th percentile of the same.
    pub response_p99_us: Option<u64>,
}

/// One kind of error and a few of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ErrorCount {
    /// How often.
    pub count: u64,
    /// The first ones in full, each different, at most [`ERROR_EXAMPLES_MAX`].
    pub examples: Vec<String>,
}

/// Everything that is counted while the load runs.
#[derive(Debug)]
pub struct Recorder {
    /// By phase.
    pub phases: Vec<Latencies>,
    /// Over all phases.
    pub total: Latencies,
    /// Response time of definite answers by kind.
    pub kinds: BTreeMap<Kind, Histogram<u64>>,
    /// Response time of definite answers by phase and kind, of those pairs that are asked for.
    pub phase_kinds: BTreeMap<(u16, Kind), Histogram<u64>>,
    /// Arrivals without a definite answer by phase and kind.
    pub unanswered: BTreeMap<(u16, Kind), u64>,
    /// Last answers by kind.
    pub answers: BTreeMap<Kind, BTreeMap<Answer, u64>>,
    /// By second.
    pub seconds: Vec<Second>,
    /// Response times by second and size.
    pub heat: Heat,
    /// Requests beyond the first one of an arrival.
    pub resent: u64,
    /// Requests dropped on purpose.
    pub dropped: u64,
    /// When the generator itself stood still.
    pub pauses: Pauses,
    /// Errors by kind.
    pub errors: BTreeMap<String, ErrorCount>,
    /// What was heard about each arrival.
    pub ledger: Ledger,
    /// The latencies by second, where they are kept.
    pub log: Option<IntervalLog>,
    /// Every sample, where they are kept, and what names a number's loan.
    pub raw: Option<(RawLog, Payloads)>,
    current: (usize, Histogram<u64>),
}

impl Recorder {
    /// An empty recorder for a run.
    pub fn new(phases: usize, arrivals: u32) -> Self {
        Self {
            phases: vec![Latencies::default(); phases],
            total: Latencies::default(),
            kinds: BTreeMap::new(),
            phase_kinds: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            answers: BTreeMap::new(),
            seconds: Vec::new(),
            heat: Heat::default(),
            resent: 0,
            dropped: 0,
            pauses: Pauses::default(),
            errors: BTreeMap::new(),
            ledger: Ledger::new(arrivals),
            log: None,
            raw: None,
            current: (0, empty()),
        }
    }

    /// Keeps the response time of `kind` in `phase` apart as well.
    pub fn keep(&mut self, phase: u16, kind: Kind) {
        self.phase_kinds.insert((phase, kind), empty());
    }

    /// Counts one arrival that was sent and has ended.
    pub fn note(&mut self, sample: &Sample) {
        let is_touched = self.pauses.touch(sample.intended, sample.done);
        self.phases[usize::from(sample.phase)].note(sample, is_touched);
        self.total.note(sample, is_touched);
        self.ledger.note(sample);
        if let Some(log) = &mut self.log {
            log.note(sample, is_touched);
        }
        if let Some((raw, payloads)) = &mut self.raw {
            raw.note(
                sample,
                &payloads.loan_id(payloads.kind_and_owner(sample.number).1),
            );
        }
        self.resent += u64::from(sample.resent);
        *self
            .answers
            .entry(sample.kind)
            .or_default()
            .entry(sample.answer)
            .or_default() += 1;
        let response = sample.done.saturating_sub(sample.intended);
        let is_answered = !sample.answer.is_unknown();
        if is_answered {
            record(
                self.kinds.entry(sample.kind).or_insert_with(empty),
                response,
            );
            if let Some(histogram) = self.phase_kinds.get_mut(&(sample.phase, sample.kind)) {
                record(histogram, response);
            }
        } else {
            *self
                .unanswered
                .entry((sample.phase, sample.kind))
                .or_default() += 1;
        }
        self.second(sample.sent).sent += 1;
        let done = self.second(sample.done);
        if sample.answer.is_unknown() {
            done.failed += 1;
        } else {
            done.completed += 1;
        }
        let index = sample.done.as_secs() as usize;
        if index > self.current.0 {
            self.close_second();
            self.current.0 = index;
        }
        if is_answered && sample.kind != Kind::Retry {
            record(&mut self.current.1, response);
        }
    }

    /// Counts one error on the wire.
    pub fn error(&mut self, kind: String, example: impl FnOnce() -> String) {
        // The service names what it refuses with: it must not fill the memory.
        let kind = if self.errors.len() >= ERROR_KINDS_MAX && !self.errors.contains_key(&kind) {
            "others".to_owned()
        } else {
            kind
        };
        let entry = self.errors.entry(kind).or_default();
        entry.count += 1;
        if entry.examples.len() < ERROR_EXAMPLES_MAX {
            let example = example();
            if !entry.examples.contains(&example) {
                entry.examples.push(example);
            }
        }
    }

    /// Notes that an arrival was due.
    pub fn planned(&mut self, intended: Duration) {
        self.second(intended).planned += 1;
    }

    /// Ends the last second.
    pub fn finish(&mut self) {
        self.close_second();
    }

    fn close_second(&mut self) {
        let (index, histogram) = &mut self.current;
        self.heat.add(*index, histogram);
        if !histogram.is_empty()
            && let Some(second) = self.seconds.get_mut(*index)
        {
            second.response_p50_us = Some(histogram.value_at_quantile(0.5));
            second.response_p99_us = Some(histogram.value_at_quantile(0.99));
            histogram.reset();
        }
    }

    fn second(&mut self, at: Duration) -> &mut Second {
        let index = at.as_secs() as usize;
        if index >= self.seconds.len() {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Unknown;

    fn sample(number: u32, intended_ms: u64, sent_ms: u64, done_ms: u64, answer: Answer) -> Sample {
        let sent = Duration::from_millis(sent_ms);
        Sample {
            number,
            phase: 0,
            kind: Kind::Valid,
            intended: Duration::from_millis(intended_ms),
            generator_lag: Duration::ZERO,
            sent,
            last_sent: sent,
            done: Duration::from_millis(done_ms),
            answer,
            resent: 0,
        }
    }

    #[test]
    fn response_time_runs_from_the_intended_instant() {
        let mut recorder = Recorder::new(1, 2);
        recorder.note(&sample(0, 10, 110, 120, Answer::Queued));
        let total = &recorder.total;
        assert_eq!(total.response.max() / 1000, 110);
        assert_eq!(total.service.max() / 1000, 10);
        assert_eq!(total.send_lag.max() / 1000, 100);
    }

    #[test]
    fn only_an_answered_request_has_a_response_time() {
        let mut recorder = Recorder::new(1, 3);
        let refused = Answer::Unknown(Unknown::Status(503));
        recorder.note(&sample(0, 0, 0, 40, Answer::Queued));
        recorder.note(&sample(1, 0, 0, 1, refused));
        recorder.note(&Sample {
            resent: 2,
            ..sample(2, 0, 0, 1, Answer::Unknown(Unknown::Connect))
        });
        recorder.finish();
        let total = &recorder.total;
        assert_eq!((total.response.len(), total.service.len()), (1, 1));
        assert_eq!((total.refused.len(), total.silent.len()), (1, 1));
        assert_eq!((total.requests, total.requests_failed), (5, 4));
        assert!(recorder.seconds[0].response_p50_us >= Some(40_000));
        assert_eq!(recorder.unanswered[&(0, Kind::Valid)], 2);
        assert_eq!(recorder.kinds[&Kind::Valid].len(), 1);
        let map = recorder.heat.map().expect("there was an answer");
        assert_eq!(map.columns.iter().flatten().sum::<u64>(), 1);
    }

    #[test]
    fn what_the_generator_itself_delayed_is_kept_apart() {
        let mut recorder = Recorder::new(1, 3);
        recorder.pauses.add(crate::pause::Pause {
            from: Duration::from_secs(10),
            to: Duration::from_secs(11),
            is_starved: false,
        });
        // Late by itself, waiting for the service, and across a pause.
        recorder.note(&Sample {
            generator_lag: Duration::from_millis(30),
            ..sample(0, 0, 30, 40, Answer::Queued)
        });
        recorder.note(&sample(1, 0, 100, 110, Answer::Queued));
        recorder.note(&sample(2, 9_999, 9_999, 11_000, Answer::Queued));
        recorder.note(&sample(
            0,
            9_999,
            9_999,
            11_000,
            Answer::Unknown(Unknown::Timeout),
        ));
        let total = &recorder.total;
        assert_eq!(total.response.len(), 3);
        assert_eq!(total.undisturbed.len(), 2);
        assert_eq!(total.undisturbed.max() / 1000, 110);
        assert_eq!(total.undisturbed.min() / 1000, 10);
        assert_eq!(total.generator_lag.max() / 1000, 30);
        assert_eq!((total.failed, total.failed_touched), (1, 1));
    }

    #[test]
    fn a_request_that_was_dropped_on_purpose_has_not_failed() {
        let mut recorder = Recorder::new(1, 1);
        recorder.note(&Sample {
            kind: Kind::Retry,
            resent: 1,
            ..sample(0, 0, 0, 1, Answer::Queued)
        });
        let total = &recorder.total;
        assert_eq!((total.requests, total.requests_failed), (2, 0));
    }

    #[test]
    fn seconds_are_counted_by_their_own_instants() {
        let mut recorder = Recorder::new(1, 2);
        recorder.planned(Duration::from_millis(900));
        recorder.note(&sample(0, 900, 1100, 2100, Answer::Queued));
        recorder.finish();
        let counts: Vec<_> = recorder
            .seconds
            .iter()
            .map(|second| (second.planned, second.sent, second.completed))
            .collect();
        assert_eq!(counts, [(1, 0, 0), (0, 1, 0), (0, 0, 1)]);
        assert_eq!(
            recorder.seconds[2].response_p50_us.map(|us| us / 10_000),
            Some(120)
        );
    }

    #[test]
    fn errors_keep_a_few_different_examples() {
        let mut recorder = Recorder::new(1, 1);
        for example in ["a", "a", "b", "c", "d"] {
            recorder.error("timeout".to_owned(), || example.to_owned());
        }
        let timeout = &recorder.errors["timeout"];
        assert_eq!(timeout.count, 5);
        assert_eq!(timeout.examples, ["a", "b", "c"]);
    }

    #[test]
    fn the_heat_map_has_every_answer() {
        let mut recorder = Recorder::new(1, 3);
        for (number, done_ms) in [(0, 120), (1, 130), (2, 2_100)] {
            recorder.note(&sample(number, 100, 100, done_ms, Answer::Queued));
        }
        recorder.finish();
        let map = recorder.heat.map().expect("there were answers");
        assert_eq!(map.columns.len(), 3);
        assert_eq!(map.columns.iter().flatten().sum::<u64>(), 3);
    }
}
