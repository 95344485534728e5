//! Everything that is counted while the load runs: by phase, by kind and by second.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use plan::kind::Kind;
use serde::{Deserialize, Serialize};

use crate::heat::Heat;
use crate::interval::IntervalLog;
use crate::latencies::{Latencies, empty, record};
use crate::ledger::Ledger;
use crate::sample::{Answer, Sample};

/// How many examples are kept of each kind of error.
pub const ERROR_EXAMPLES_MAX: usize = 3;

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
    /// Response time by kind.
    pub kinds: BTreeMap<Kind, Histogram<u64>>,
    /// Response time by phase and kind, of those pairs that are asked for.
    pub phase_kinds: BTreeMap<(u16, Kind), Histogram<u64>>,
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
    /// When the last arrival's first request left.
    pub last_sent: Duration,
    /// Errors by kind.
    pub errors: BTreeMap<String, ErrorCount>,
    /// What was heard about each arrival.
    pub ledger: Ledger,
    /// The latencies by second, where they are kept.
    pub log: Option<IntervalLog>,
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
            answers: BTreeMap::new(),
            seconds: Vec::new(),
            heat: Heat::default(),
            resent: 0,
            dropped: 0,
            last_sent: Duration::ZERO,
            errors: BTreeMap::new(),
            ledger: Ledger::new(arrivals),
            log: None,
            current: (0, empty()),
        }
    }

    /// Keeps the response time of `kind` in `phase` apart as well.
    pub fn keep(&mut self, phase: u16, kind: Kind) {
        self.phase_kinds.insert((phase, kind), empty());
    }

    /// Counts one arrival that was sent and has ended.
    pub fn note(&mut self, sample: &Sample) {
        self.phases[usize::from(sample.phase)].note(sample);
        self.total.note(sample);
        self.ledger.note(sample);
        if let Some(log) = &mut self.log {
            log.note(sample);
        }
        self.resent += u64::from(sample.resent);
        self.last_sent = self.last_sent.max(sample.sent);
        *self
            .answers
            .entry(sample.kind)
            .or_default()
            .entry(sample.answer)
            .or_default() += 1;
        let response = sample.done.saturating_sub(sample.intended);
        record(
            self.kinds.entry(sample.kind).or_insert_with(empty),
            response,
        );
        if let Some(histogram) = self.phase_kinds.get_mut(&(sample.phase, sample.kind)) {
            record(histogram, response);
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
        if sample.kind != Kind::Retry {
            record(&mut self.current.1, response);
        }
    }

    /// Counts one error on the wire.
    pub fn error(&mut self, kind: String, example: impl FnOnce() -> String) {
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

    fn sample(number: u32, intended_ms: u64, sent_ms: u64, done_ms: u64, answer: Answer) -> Sample {
        let sent = Duration::from_millis(sent_ms);
        Sample {
            number,
            phase: 0,
            kind: Kind::Valid,
            intended: Duration::from_millis(intended_ms),
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
