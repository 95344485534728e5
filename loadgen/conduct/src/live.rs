//! What all shards have counted so far, as one recorder. Pure.

use hdrhistogram::Histogram;
use record::latencies::Latencies;
use record::ledger::Heard;
use record::recorder::{Recorder, Second};
use record::sparse::Sparse;

use crate::message::{Figures, PhaseFigures, SECONDS_MAX};

/// More than any run has.
const COUNT_MAX: u64 = u32::MAX as u64;

/// The sum of all shards, for whoever watches. What is judged in the end are the files.
#[derive(Debug)]
pub struct Live {
    shards: Vec<Told>,
    phases: u16,
    seconds_max: u32,
    recorder: Recorder,
    /// The response times that the seconds before this one had.
    seconds_closed: (usize, Histogram<u64>),
}

/// What one shard has told.
#[derive(Clone, Debug, Default)]
struct Told {
    phases: Vec<PhaseFigures>,
    /// The seconds before this one are counted.
    next_second: u32,
}

impl Live {
    /// Of a run of `shards`, `phases` and at most `seconds_max` seconds.
    pub fn new(shards: u32, phases: u16, seconds_max: u32) -> Self {
        Self {
            shards: vec![Told::default(); shards as usize],
            phases,
            seconds_max,
            recorder: Recorder::new(usize::from(phases), 0),
            seconds_closed: (0, record::latencies::empty()),
        }
    }

    /// Takes what shard `number` tells. What is beyond the run is left out.
    pub fn take(&mut self, number: u32, figures: Figures) {
        let Some(told) = (number as usize)
            .checked_sub(1)
            .and_then(|index| self.shards.get_mut(index))
        else {
            return;
        };
        for mut phase in figures.phases {
            if phase.phase >= self.phases {
                continue;
            }
            for count in [&mut phase.sent, &mut phase.completed, &mut phase.failed] {
                *count = (*count).min(COUNT_MAX);
            }
            match told
                .phases
                .iter_mut()
                .find(|known| known.phase == phase.phase)
            {
                Some(known) => *known = phase,
                None => told.phases.push(phase),
            }
        }
        for second in figures.seconds.into_iter().take(SECONDS_MAX) {
            if second.index < told.next_second || second.index >= self.seconds_max {
                continue;
            }
            told.next_second = second.index + 1;
            let index = second.index as usize;
            let seconds = &mut self.recorder.seconds;
            if seconds.len() <= index {
                seconds.resize(index + 1, Second::default());
            }
            let sum = &mut seconds[index];
            sum.planned = sum.planned.saturating_add(second.planned);
            sum.sent = sum.sent.saturating_add(second.sent);
            sum.completed = sum.completed.saturating_add(second.completed);
            sum.failed = sum.failed.saturating_add(second.failed);
        }
    }

    /// Adds up what was told so far. To be called about once a second: the percentiles of a second are of what came since the
    /// last call.
    pub fn sum(&mut self) -> &Recorder {
        let mut phases = vec![Latencies::default(); usize::from(self.phases)];
        for told in self.shards.iter().flat_map(|told| &told.phases) {
            let phase = &mut phases[usize::from(told.phase)];
            phase.sent += told.sent;
            phase.completed += told.completed;
            phase.failed += told.failed;
            add(&mut phase.response, &told.response);
            add(&mut phase.service, &told.service);
        }
        let mut total = Latencies::default();
        for phase in &phases {
            total.join(phase);
        }
        self.recorder.phases = phases;
        self.recorder.total = total;
        let seconds = &mut self.recorder.seconds;
        let (closed, before) = &mut self.seconds_closed;
        if seconds.len() > *closed {
            *closed = seconds.len();
            let mut since = self.recorder.total.response.clone();
            // A shard that was replaced before the start may have counted more.
            if since.subtract(&*before).is_ok()
                && let (Some(last), false) = (seconds.last_mut(), since.is_empty())
            {
                last.response_p50_us = Some(since.value_at_quantile(0.5));
                last.response_p99_us = Some(since.value_at_quantile(0.99));
            }
            before.clone_from(&self.recorder.total.response);
        }
        &self.recorder
    }

    /// What was told so far, of a run of which no part came: which of its `arrivals` were sent is not known. It begins anew.
    pub fn take_without_parts(&mut self, arrivals: u32) -> Recorder {
        self.sum();
        let fresh = Recorder::new(usize::from(self.phases), 0);
        let mut recorder = std::mem::replace(&mut self.recorder, fresh);
        recorder.ledger.heard = vec![Heard::LOST; arrivals as usize];
        recorder
    }

    /// The sum of the last call.
    pub const fn summed(&self) -> &Recorder {
        &self.recorder
    }
}

fn add(histogram: &mut Histogram<u64>, counts: &Sparse) {
    for (value_us, count) in counts.counts() {
        histogram.saturating_record_n(value_us.max(1), count);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use record::latencies::{empty, record};

    use super::*;
    use crate::message::SecondFigures;

    fn figures(phase: u16, index: u32, latencies_us: &[u64]) -> Figures {
        let mut response = empty();
        for us in latencies_us {
            record(&mut response, Duration::from_micros(*us));
        }
        let count = latencies_us.len() as u64;
        Figures {
            phases: vec![PhaseFigures {
                phase,
                sent: count,
                completed: count,
                failed: 0,
                response: Sparse::of(&response),
                service: Sparse::default(),
            }],
            seconds: vec![SecondFigures {
                index,
                planned: count,
                sent: count,
                completed: count,
                failed: 0,
            }],
        }
    }

    #[test]
    fn the_sum_is_that_of_one_generator() {
        let mut live = Live::new(2, 1, 60);
        live.take(1, figures(0, 0, &[1_000, 2_000, 9_000]));
        live.take(2, figures(0, 0, &[4_000]));
        let mut whole = empty();
        for us in [1_000, 2_000, 9_000, 4_000] {
            record(&mut whole, Duration::from_micros(us));
        }
        let sum = live.sum();
        assert_eq!(sum.total.response, whole);
        assert_eq!((sum.total.sent, sum.seconds[0].planned), (4, 4));
        assert_eq!(
            sum.seconds[0].response_p99_us,
            Some(whole.value_at_quantile(0.99))
        );
    }

    #[test]
    fn what_is_told_twice_counts_once() {
        let mut live = Live::new(1, 2, 60);
        for _ in 0..2 {
            live.take(1, figures(1, 3, &[500, 600]));
            live.sum();
        }
        assert_eq!(
            (live.summed().total.sent, live.summed().seconds[3].sent),
            (2, 2)
        );
    }

    #[test]
    fn what_was_told_is_there_though_no_part_came() {
        let mut live = Live::new(1, 1, 60);
        live.take(1, figures(0, 0, &[500, 600]));
        let recorder = live.take_without_parts(3);
        assert_eq!(recorder.total.sent, 2);
        let heard = &recorder.ledger.heard;
        assert_eq!(heard.len(), 3);
        assert!(heard.iter().all(|heard| heard.is_unknown()));
    }

    #[test]
    fn what_is_beyond_the_run_is_left_out() {
        let mut live = Live::new(1, 1, 10);
        live.take(1, figures(7, 10, &[500]));
        live.take(2, figures(0, 0, &[500]));
        live.take(0, figures(0, 0, &[500]));
        let sum = live.sum();
        assert_eq!((sum.total.sent, sum.seconds.len()), (0, 0));
    }
}
