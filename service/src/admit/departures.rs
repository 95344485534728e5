//! When calls of admission go out: those to the partitions of one Redis together, so that they share one flush to disk.
//!
//! Each partition has a line of its own. A call that fails or stands still holds up who waits for the same Redis, and nobody
//! else.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::Either;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{Answer, Batcher, Called, Waiting};
use crate::limits::{
    ADMISSION_CALLS_LEN_MAX, ADMISSION_CALLS_MAX, ADMISSION_PROBE_INTERVAL, ADMISSION_WAITING_MAX,
};
use crate::queue::{Partition, Queue};

/// Whose calls go out together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// All partitions at this node.
    Node(Arc<str>),
    /// This partition alone: where it is is not known.
    Partition(usize),
}

/// Who waits for admission to one partition.
pub(super) struct Line {
    batcher: Arc<Batcher>,
    waiting: VecDeque<Waiting>,
    /// As many as there may be further calls.
    idle: Vec<Partition>,
    place: Place,
}

impl Line {
    /// An empty line of a partition.
    pub(super) fn new(queue: &Queue, number: usize, batcher: Arc<Batcher>) -> Self {
        Self {
            batcher,
            waiting: VecDeque::new(),
            idle: (0..ADMISSION_CALLS_MAX)
                .map(|_| queue.entrance(number))
                .collect(),
            place: Place::Partition(number),
        }
    }

    fn take_in(&mut self, waiting: Waiting) {
        if self.batcher.is_shut() {
            let _ = waiting.answer.send(Answer::NotQueued);
        } else if self.waiting.len() >= ADMISSION_WAITING_MAX {
            let _ = waiting.answer.send(Answer::Full);
        } else {
            self.waiting.push_back(waiting);
        }
    }

    /// The next batch and what it goes with, if there is anything to send and to send it with.
    fn depart(&mut self) -> Option<Departure> {
        let partition = self.idle.pop()?;
        let batch = self.batcher.gather(&mut self.waiting);
        if batch.is_empty() {
            self.idle.push(partition);
            return None;
        }
        Some(Departure {
            place: self.place.clone(),
            batcher: Arc::clone(&self.batcher),
            partition,
            batch,
        })
    }

    /// Takes back what a call was made with. If Redis takes no loans, nobody waits.
    fn take_back(&mut self, called: Called) {
        let Called {
            partition, flushed, ..
        } = called;
        self.place = match partition.node() {
            Some(node) => Place::Node(Arc::clone(node)),
            None => Place::Partition(partition.number()),
        };
        self.idle.push(partition);
        self.batcher.shut(flushed.err().as_ref());
        if self.batcher.is_shut() {
            for waiting in self.waiting.drain(..) {
                let _ = waiting.answer.send(Answer::NotQueued);
            }
        }
    }
}

/// A batch that goes out.
struct Departure {
    place: Place,
    batcher: Arc<Batcher>,
    partition: Partition,
    batch: Vec<Waiting>,
}

/// Loans in the calls that are under way to each place. There are few places, and each line asks for its own at every turn: looking
/// through them costs less than hashing an address.
#[derive(Default)]
struct UnderWay(Vec<(Place, usize)>);

impl UnderWay {
    /// While few loans are under way, what comes meanwhile follows at once and is there when Redis has made the first durable: it
    /// need not wait until that is known here. Many are sent one round after the other, since a second one under way would only
    /// make both smaller, and Redis flushes for each.
    fn may_follow(&self, place: &Place) -> bool {
        let under_way = self.0.iter().find(|(known, _)| known == place);
        under_way.is_none_or(|(_, loans)| *loans <= ADMISSION_CALLS_LEN_MAX)
    }

    fn add(&mut self, place: Place, loans: usize) {
        match self.0.iter_mut().find(|(known, _)| *known == place) {
            Some((_, sum)) => *sum += loans,
            None => self.0.push((place, loans)),
        }
    }

    fn subtract(&mut self, place: &Place, loans: usize) {
        if let Some(at) = self.0.iter().position(|(known, _)| known == place) {
            self.0[at].1 -= loans;
            if self.0[at].1 == 0 {
                self.0.swap_remove(at);
            }
        }
    }
}

/// Sends who arrives on, until nobody can arrive any more and all have their answers.
pub(super) async fn run(mut arriving: mpsc::Receiver<Waiting>, mut lines: Vec<Line>) {
    let mut probe = interval(ADMISSION_PROBE_INTERVAL);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls = FuturesUnordered::new();
    let mut under_way = UnderWay::default();
    let mut is_over = false;
    while !(is_over && calls.is_empty()) {
        let is_shut = lines.iter().any(|line| line.batcher.is_shut());
        tokio::select! {
            biased;
            // First, so that no crowd elsewhere keeps it from its turn.
            _ = probe.tick(), if is_shut => {
                for line in &mut lines {
                    // What is under way is known first.
                    if line.batcher.is_shut() && line.idle.len() == ADMISSION_CALLS_MAX
                        && let Some(partition) = line.idle.pop()
                    {
                        let (place, batcher) = (line.place.clone(), Arc::clone(&line.batcher));
                        calls.push(Either::Left(async move {
                            (place, batcher.probe(partition).await)
                        }));
                    }
                }
            }
            Some((place, called)) = calls.next(), if !calls.is_empty() => {
                let called: Called = called;
                under_way.subtract(&place, called.loans);
                lines[called.partition.number()].take_back(called);
            }
            first = arriving.recv(), if !is_over => match first {
                Some(first) => lines[first.partition].take_in(first),
                None => is_over = true,
            },
        }
        while let Ok(waiting) = arriving.try_recv() {
            lines[waiting.partition].take_in(waiting);
        }
        // All who may go now are known before the first of them is under way.
        let departing: Vec<_> = lines
            .iter_mut()
            .filter(|line| !line.waiting.is_empty() && under_way.may_follow(&line.place))
            .filter_map(Line::depart)
            .collect();
        for Departure {
            place,
            batcher,
            partition,
            batch,
        } in departing
        {
            under_way.add(place.clone(), batch.len());
            calls.push(Either::Right(async move {
                (place, batcher.call(partition, batch).await)
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_loans_under_way_hold_up_their_node_alone() {
        let (here, there) = (Place::Node("a".into()), Place::Node("b".into()));
        let mut under_way = UnderWay::default();
        under_way.add(here.clone(), ADMISSION_CALLS_LEN_MAX);
        assert!(under_way.may_follow(&here));
        under_way.add(here.clone(), 1);
        assert!(!under_way.may_follow(&here));
        assert!(under_way.may_follow(&there));
        under_way.subtract(&here, 1);
        assert!(under_way.may_follow(&here));
    }
}
