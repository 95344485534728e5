//! Admission: requests that are in flight together share one call of Redis and one flush to disk.
//!
//! While one batch is on its way, the next gathers; nothing waits for a timer. So a lone request pays one round trip, and
//! a burst pays one for hundreds. Nobody waits longer than the door's deadline, and while Redis does not answer nobody
//! waits at all.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::clock::now_us;
use crate::error::ServiceError;
use crate::failpoint::{Guard, failpoint};
use crate::limits::{
    ADMISSION_BATCH_BYTES_MAX, ADMISSION_BATCH_LEN_MAX, ADMISSION_CALL_TIME_MIN,
    ADMISSION_WAITING_MAX, LOOK_UPS_WAITING_MAX,
};
use crate::metrics::Metrics;
use crate::queue::admission::{Admission, Admitted, Arrival, Entry, Known};
use crate::queue::refusal::Refusal;
use crate::queue::{Depths, Partition, Queue};
use crate::store::Store;
use crate::task;
use departures::Line;

mod departures;

/// What the client is told of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Durable in the queue.
    Admitted,
    /// Known already, with the same content.
    Replayed,
    /// Known already, with other content.
    Conflict,
    /// Paused by an operator.
    Paused,
    /// The backlog is full, Redis is, or too many wait for admission in this process. Not queued.
    Full,
    /// Redis takes no loans now. Not queued.
    NotQueued,
    /// The id may be known, and MongoDB, which would tell, gave no answer. Not queued.
    NotLookedUp,
    /// Redis gave no answer. The loan may be in the queue.
    Unknown,
}

#[derive(Debug)]
struct Waiting {
    partition: usize,
    arrival: Arrival,
    answer: oneshot::Sender<Answer>,
    since: Instant,
}

/// An arrival that MongoDB has to be asked about.
#[derive(Debug)]
struct LookedUp {
    waiting: Waiting,
    known: Known,
    /// It is in Redis with other content: only the question whether that replaced this one is open.
    is_held: bool,
}

/// The door: hand arrivals in, get answers out.
#[derive(Clone, Debug)]
pub struct Door {
    queue: Queue,
    arriving: mpsc::Sender<Waiting>,
    batchers: Arc<[Arc<Batcher>]>,
}

impl Door {
    /// Opens the door: tasks that end when the last `Door` is dropped. Nobody waits longer than `deadline`. `backlog_max` bounds
    /// the loans in Redis that are not recorded, over all partitions.
    pub fn open(
        queue: &Queue,
        store: &Store,
        metrics: &Arc<Metrics>,
        backlog_max: u64,
        deadline: Duration,
    ) -> Self {
        let batchers: Arc<[_]> = (0..queue.partitions())
            .map(|number| {
                let (look_ups, to_look_up) = mpsc::channel(LOOK_UPS_WAITING_MAX);
                let batcher = Arc::new(Batcher {
                    depths: queue.depths(),
                    store: store.clone(),
                    metrics: Arc::clone(metrics),
                    backlog_max: backlog_max / queue.partitions() as u64,
                    deadline,
                    is_shut: AtomicBool::new(false),
                    look_ups,
                });
                task::spawn(
                    "look-ups",
                    look_up_all(
                        Arc::downgrade(&batcher),
                        to_look_up,
                        queue.partition(number),
                    ),
                );
                batcher
            })
            .collect();
        let lines = batchers
            .iter()
            .enumerate()
            .map(|(number, batcher)| Line::new(queue, number, Arc::clone(batcher)))
            .collect();
        let (arriving, arrivals) = mpsc::channel(ADMISSION_WAITING_MAX);
        task::spawn("admission", departures::run(arrivals, lines));
        Self {
            queue: queue.clone(),
            arriving,
            batchers,
        }
    }

    /// Admits one arrival, which waits in line when this returns. Answers `Admitted` or `Replayed` only after Redis has made it
    /// durable.
    pub fn admit(&self, arrival: Arrival) -> impl Future<Output = Answer> + use<> {
        #[cfg(feature = "slowdown")]
        crate::slowdown::spin();
        match self.line_up(arrival) {
            Ok(answered) => Either::Left(answered.map(|answer| answer.unwrap_or(Answer::Unknown))),
            Err(refusal) => Either::Right(ready(refusal)),
        }
    }

    fn line_up(&self, arrival: Arrival) -> Result<oneshot::Receiver<Answer>, Answer> {
        let partition = self.queue.partition_of_hash(arrival.hash);
        if self.batchers[partition].is_shut() {
            return Err(Answer::NotQueued);
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            partition,
            arrival,
            answer,
            since: Instant::now(),
        };
        match self.arriving.try_send(waiting) {
            Ok(()) => Ok(answered),
            Err(_) => Err(Answer::Full),
        }
    }
}

/// A call of admission that is over.
struct Called {
    partition: Partition,
    /// Loans that it was about.
    loans: usize,
    flushed: Result<(), ServiceError>,
}

/// Admits the batches of one partition.
#[derive(Debug)]
struct Batcher {
    depths: Arc<Depths>,
    store: Store,
    metrics: Arc<Metrics>,
    backlog_max: u64,
    deadline: Duration,
    /// Whether the last call failed: then nobody waits.
    is_shut: AtomicBool,
    look_ups: mpsc::Sender<LookedUp>,
}

impl Batcher {
    fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::Relaxed)
    }

    /// Asks whether Redis takes loans again.
    async fn probe(&self, mut partition: Partition) -> Called {
        let flushed = partition.probe(self.deadline).await;
        Called {
            partition,
            loans: 0,
            flushed,
        }
    }

    /// Admits a batch over a connection, and gives that back.
    async fn call(&self, mut partition: Partition, batch: Vec<Waiting>) -> Called {
        let loans = batch.len();
        let flushed = self.flush(&mut partition, batch).await;
        Called {
            partition,
            loans,
            flushed,
        }
    }

    /// Shuts the door, for a reason, or opens it again: told once each time.
    fn shut(&self, reason: Option<&ServiceError>) {
        let is_shut = reason.is_some();
        if self.is_shut.swap(is_shut, Ordering::Relaxed) == is_shut {
            return;
        }
        if let Some(error) = reason {
            tracing::warn!(%error, "Redis takes no loans: clients are told to try again");
        } else {
            tracing::info!("Redis takes loans again");
        }
    }

    /// The most loans in Redis that are not recorded. While Redis is filling up none is new, and known ones are answered.
    fn room(&self, number: usize) -> u64 {
        if self.depths.is_filling(number) {
            0
        } else {
            self.backlog_max
        }
    }

    /// What is left of the deadline for a call that somebody has waited for since `since`.
    fn time_left(&self, since: Instant) -> Duration {
        self.deadline
            .saturating_sub(since.elapsed())
            .max(ADMISSION_CALL_TIME_MIN)
    }

    /// The first of those who wait, up to a batch's bounds. Who has waited too long is told so.
    fn gather(&self, waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
        let mut bytes_len = 0;
        let mut batch = Vec::with_capacity(waiting.len().min(ADMISSION_BATCH_LEN_MAX));
        while batch.len() < ADMISSION_BATCH_LEN_MAX
            && bytes_len < ADMISSION_BATCH_BYTES_MAX
            && let Some(taken) = waiting.pop_front()
        {
            if taken.answer.is_closed() {
                // Its client has gone and will ask again: admitting it now would only delay those who still wait.
                drop(taken);
            } else if taken.since.elapsed() >= self.deadline {
                let _ = taken.answer.send(Answer::NotQueued);
            } else {
                bytes_len += taken.arrival.body.len();
                batch.push(taken);
            }
        }
        batch
    }

    /// Admits a batch and answers its clients, or hands them on to be looked up.
    async fn flush(
        &self,
        partition: &mut Partition,
        batch: Vec<Waiting>,
    ) -> Result<(), ServiceError> {
        failpoint!("admit-before");
        let batch = batch
            .into_iter()
            .map(|waiting| (waiting, Known::Nothing))
            .collect();
        for look_up in self.admit(partition, batch).await? {
            // A look-up waits for MongoDB; the next batch of new loans must not wait with it.
            if let Err(
                mpsc::error::TrySendError::Full(look_up)
                | mpsc::error::TrySendError::Closed(look_up),
            ) = self.look_ups.try_send(look_up)
            {
                let _ = look_up.waiting.answer.send(Answer::Full);
            }
        }
        Ok(())
    }

    /// Admits a batch and answers its clients, but for those that MongoDB has to be asked about: these it gives back.
    ///
    /// # Errors
    /// Redis did not admit them, or that is not known. All were told.
    async fn admit(
        &self,
        partition: &mut Partition,
        batch: Vec<(Waiting, Known)>,
    ) -> Result<Vec<LookedUp>, ServiceError> {
        let since = batch
            .iter()
            .map(|(waiting, _)| waiting.since)
            .min()
            .unwrap_or_else(Instant::now);
        let (arrivals, answers): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|(waiting, known)| ((waiting.arrival, known), (waiting.answer, waiting.since)))
            .unzip();
        if Guard::AdmitConfirmed.is_off() {
            for (answer, _) in answers {
                let _ = answer.send(Answer::Admitted);
            }
            let _ = self.outcomes(partition, &arrivals, since).await;
            return Ok(Vec::new());
        }
        let outcomes = self.outcomes(partition, &arrivals, since).await;
        self.metrics.note_admission(&outcomes);
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::debug!(%error, loans = arrivals.len(), "admission failed");
                let told = if error.has_not_run() {
                    Answer::NotQueued
                } else {
                    Answer::Unknown
                };
                for (answer, _) in answers {
                    let _ = answer.send(told);
                }
                return Err(error);
            }
        };
        failpoint!("admit-after");
        let now = now_us();
        // Once for each: who was looked up meanwhile has been counted before.
        self.metrics.admit.add_all(
            arrivals
                .iter()
                .filter(|(_, known)| matches!(known, Known::Nothing))
                .map(|(arrival, _)| now.saturating_sub(arrival.received_us)),
        );
        let partition = partition.number();
        let look_ups = arrivals.into_iter().zip(outcomes).zip(answers).filter_map(
            |(((arrival, _), outcome), (answer, since))| {
                let waiting = Waiting {
                    partition,
                    arrival,
                    answer,
                    since,
                };
                answer_or_look_up(outcome, waiting)
            },
        );
        Ok(look_ups.collect())
    }

    /// Admits arrivals. Where Redis is full, those that it knows are still told apart.
    async fn outcomes(
        &self,
        partition: &mut Partition,
        arrivals: &[(Arrival, Known)],
        since: Instant,
    ) -> Result<Vec<Admission>, ServiceError> {
        let limit = self.time_left(since);
        let called_us = now_us();
        match partition
            .admit(Entry::New, arrivals, self.room(partition.number()), limit)
            .await
        {
            Ok(Admitted {
                bundle,
                outcomes,
                rolled_back,
            }) => {
                let told = arrivals.iter().map(|(arrival, _)| arrival).zip(&outcomes);
                self.metrics.traces.admitted(bundle, called_us, told);
                if rolled_back > 0 {
                    self.metrics.roll_back(partition.number(), rolled_back);
                }
                Ok(outcomes)
            }
            Err(ServiceError::RedisRefused(Refusal::Full)) => {
                self.depths.note_filling(partition.number(), true);
                partition.recognise(arrivals, self.time_left(since)).await
            }
            Err(error) => Err(error),
        }
    }

    /// Answers arrivals that MongoDB has to be asked about: from MongoDB if they were recorded, else by admission.
    async fn look_up(&self, partition: &mut Partition, mut arrivals: Vec<LookedUp>) {
        // A look-up is worthless when another client has looked the same id up meanwhile: then it is made again.
        for _ in 0..5 {
            let (in_time, late): (Vec<_>, Vec<_>) = arrivals
                .into_iter()
                .partition(|look_up| look_up.waiting.since.elapsed() < self.deadline);
            for look_up in late {
                let _ = look_up.waiting.answer.send(Answer::NotLookedUp);
            }
            if in_time.is_empty() {
                return;
            }
            arrivals = self.look_up_once(partition, in_time).await;
        }
        for look_up in arrivals {
            let _ = look_up.waiting.answer.send(Answer::NotLookedUp);
        }
    }

    /// Answers what can be answered; gives back what has to be looked up again.
    async fn look_up_once(
        &self,
        partition: &mut Partition,
        arrivals: Vec<LookedUp>,
    ) -> Vec<LookedUp> {
        let since = arrivals
            .iter()
            .map(|look_up| look_up.waiting.since)
            .min()
            .unwrap_or_else(Instant::now);
        let loan_ids: Vec<_> = arrivals
            .iter()
            .map(|look_up| &look_up.waiting.arrival.loan_id)
            .collect();
        let limit = self.time_left(since);
        let recorded = match tokio::time::timeout(limit, self.store.recorded(&loan_ids)).await {
            Ok(Ok(recorded)) => recorded,
            failed => {
                if let Ok(Err(error)) = failed {
                    tracing::debug!(%error, "look-up failed");
                }
                for look_up in arrivals {
                    let _ = look_up.waiting.answer.send(Answer::NotLookedUp);
                }
                return Vec::new();
            }
        };
        let (mut unknown, mut told, mut marked) = (Vec::new(), Vec::new(), Vec::new());
        let mut replayed = 0;
        for look_up in arrivals {
            let arrival = &look_up.waiting.arrival;
            let answer = match recorded.get(arrival.loan_id.as_str()) {
                Some(contents) if contents.contains(&arrival.fingerprint) => Answer::Replayed,
                Some(_) => Answer::Conflict,
                None if look_up.is_held => Answer::Conflict,
                None => {
                    unknown.push(look_up);
                    continue;
                }
            };
            replayed += usize::from(answer == Answer::Replayed);
            if matches!(look_up.known, Known::LookedUp(_)) {
                marked.push(look_up.waiting.arrival.loan_id.clone());
            }
            told.push((look_up.waiting.answer, answer));
        }
        if replayed > 0 || !marked.is_empty() {
            let marked: Vec<_> = marked.iter().collect();
            // Counted before it is told: whoever has its answer finds it counted.
            if let Err(error) = partition
                .answered(replayed, &marked, self.time_left(since))
                .await
            {
                tracing::debug!(%error, "replays are not counted");
                for (_, told) in &mut told {
                    if *told == Answer::Replayed {
                        *told = Answer::NotQueued;
                    }
                }
            }
        }
        for (answer, told) in told {
            let _ = answer.send(told);
        }
        if unknown.is_empty() {
            return Vec::new();
        }
        let unknown = unknown
            .into_iter()
            .map(|look_up| {
                let known = match look_up.known {
                    Known::Nothing => Known::NotRecorded,
                    known => known,
                };
                (look_up.waiting, known)
            })
            .collect();
        self.admit(partition, unknown).await.unwrap_or_default()
    }
}

/// Answers an arrival, unless MongoDB has to be asked.
fn answer_or_look_up(outcome: Admission, waiting: Waiting) -> Option<LookedUp> {
    let (known, is_held) = match outcome {
        Admission::MayBeRecorded => (Known::Nothing, false),
        Admission::LookUp(look_up) => (Known::LookedUp(look_up), false),
        Admission::ConflictUnlessReplaced => (Known::Nothing, true),
        definite => {
            let told = match definite {
                Admission::Admitted => Answer::Admitted,
                Admission::Replayed => Answer::Replayed,
                Admission::Paused => Answer::Paused,
                Admission::Full => Answer::Full,
                _ => Answer::Conflict,
            };
            // The client may have gone; its loan stays.
            let _ = waiting.answer.send(told);
            return None;
        }
    };
    Some(LookedUp {
        waiting,
        known,
        is_held,
    })
}

/// Looks up what the batches hand over, over a connection of its own, until there is nobody left to hand anything over.
async fn look_up_all(
    batcher: std::sync::Weak<Batcher>,
    mut waiting: mpsc::Receiver<LookedUp>,
    mut partition: Partition,
) {
    let mut arrivals = Vec::new();
    while waiting
        .recv_many(&mut arrivals, ADMISSION_BATCH_LEN_MAX)
        .await
        > 0
    {
        let Some(batcher) = batcher.upgrade() else {
            return;
        };
        batcher
            .look_up(&mut partition, std::mem::take(&mut arrivals))
            .await;
    }
}
