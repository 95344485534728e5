//! Admission: requests that are in flight together share one call of Redis and one flush to disk.
//!
//! While one batch is on its way, the next gathers; nothing waits for a timer. So a lone request
//! pays one round trip, and a burst pays one for hundreds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::clock::now_us;
use crate::error::ServiceError;
use crate::failpoint::{Guard, failpoint};
use crate::limits::{
    ADMISSION_BATCH_BYTES_MAX, ADMISSION_BATCH_LEN_MAX, ADMISSION_BATCHES_IN_FLIGHT,
    ADMISSION_WAITING_MAX, LOOK_UPS_WAITING_MAX,
};
use crate::metrics::Metrics;
use crate::queue::admission::{Admission, Arrival, LookUp};
use crate::queue::{Link, Queue};
use crate::store::{Store, is_same};

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
    /// The backlog is full, or too many wait for admission in this process.
    Full,
    /// Redis, or MongoDB where it was needed, gave no answer. The loan may be in the queue.
    Unknown,
}

impl Answer {
    /// What to tell the client, or the look-up that must come first.
    fn to(outcome: Admission) -> Result<Self, LookUp> {
        Ok(match outcome {
            Admission::Admitted => Self::Admitted,
            Admission::Replayed => Self::Replayed,
            Admission::Conflict => Self::Conflict,
            Admission::Paused => Self::Paused,
            Admission::Full => Self::Full,
            Admission::MayBeRecorded(look_up) => return Err(look_up),
        })
    }
}

/// An arrival whose id has to be looked up, and its client.
type LookedUp = (Arrival, LookUp, oneshot::Sender<Answer>);

struct Waiting {
    arrival: Arrival,
    answer: oneshot::Sender<Answer>,
}

/// The door: hand arrivals in, get answers out.
#[derive(Clone, Debug)]
pub struct Door {
    queue: Queue,
    partitions: Arc<[mpsc::Sender<Waiting>]>,
}

impl Door {
    /// Opens the door: a task for each partition, which ends when the last `Door` is dropped.
    pub fn open(queue: &Queue, store: &Store, metrics: &Arc<Metrics>, backlog_max: u64) -> Self {
        let partitions = (0..queue.partitions())
            .map(|partition| {
                let (sender, waiting) = mpsc::channel(ADMISSION_WAITING_MAX);
                let batcher = Arc::new(Batcher {
                    store: store.clone(),
                    metrics: Arc::clone(metrics),
                    backlog_max: backlog_max / queue.partitions() as u64,
                });
                let (look_ups, to_look_up) = mpsc::channel(LOOK_UPS_WAITING_MAX);
                let link = queue.link(partition);
                tokio::spawn(Arc::clone(&batcher).look_up_all(to_look_up, link));
                let links = (0..ADMISSION_BATCHES_IN_FLIGHT)
                    .map(|_| queue.link(partition))
                    .collect();
                tokio::spawn(async move { batcher.run(waiting, links, look_ups).await });
                sender
            })
            .collect();
        Self {
            queue: queue.clone(),
            partitions,
        }
    }

    /// Admits one arrival. Answers `Admitted` or `Replayed` only after Redis has made it durable.
    pub async fn admit(&self, arrival: Arrival) -> Answer {
        #[cfg(feature = "slowdown")]
        crate::slowdown::spin();
        let partition = self.queue.partition_of(&arrival.loan_id);
        let (answer, answered) = oneshot::channel();
        match self.partitions[partition].try_send(Waiting { arrival, answer }) {
            Ok(()) => answered.await.unwrap_or(Answer::Unknown),
            Err(_) => Answer::Full,
        }
    }
}

struct Batcher {
    store: Store,
    metrics: Arc<Metrics>,
    backlog_max: u64,
}

impl Batcher {
    async fn run(
        &self,
        mut waiting: mpsc::Receiver<Waiting>,
        mut idle: Vec<Link>,
        look_ups: mpsc::Sender<Vec<LookedUp>>,
    ) {
        let mut busy = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !busy.is_empty() {
            tokio::select! {
                biased;
                Some(link) = busy.next(), if !busy.is_empty() => idle.push(link),
                first = waiting.recv(), if is_open && !idle.is_empty() => match first {
                    None => is_open = false,
                    Some(first) => {
                        let batch = gather(first, &mut waiting);
                        let link = idle.pop().expect("the guard has seen one");
                        busy.push(self.flush(link, batch, &look_ups));
                    }
                },
            }
        }
    }

    /// The most queued loans. While Redis is filling up none is new, and known ones are answered.
    fn room(&self) -> u64 {
        if self.metrics.is_redis_filling.load(Ordering::Relaxed) {
            0
        } else {
            self.backlog_max
        }
    }

    /// Admits a batch and answers its clients; gives the link back.
    async fn flush(
        &self,
        mut link: Link,
        batch: Vec<Waiting>,
        to_look_up: &mpsc::Sender<Vec<LookedUp>>,
    ) -> Link {
        let (arrivals, answers): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| ((waiting.arrival, None), waiting.answer))
            .unzip();
        failpoint!("admit-before");
        if Guard::AdmitConfirmed.is_off() {
            for answer in answers {
                let _ = answer.send(Answer::Admitted);
            }
            let _ = link.admit(&arrivals, self.room()).await;
            return link;
        }
        let outcomes = link.admit(&arrivals, self.room()).await;
        failpoint!("admit-after");
        let now = now_us();
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::warn!(%error, loans = arrivals.len(), "admission failed; clients are told to try again");
                // Dropping the senders answers `Unknown`.
                return link;
            }
        };
        self.metrics.admit.add_all(
            arrivals
                .iter()
                .map(|(arrival, _)| now.saturating_sub(arrival.received_us)),
        );
        let mut look_ups = Vec::new();
        for (((arrival, _), outcome), answer) in arrivals.into_iter().zip(outcomes).zip(answers) {
            match Answer::to(outcome) {
                // The client may have gone; its loan stays.
                Ok(told) => drop(answer.send(told)),
                Err(look_up) => look_ups.push((arrival, look_up, answer)),
            }
        }
        // A look-up waits for MongoDB; the next batch of new loans must not wait with it.
        if !look_ups.is_empty() && to_look_up.try_send(look_ups).is_err() {
            tracing::warn!("too many look-ups wait; clients are told to try again");
        }
        link
    }

    /// Looks up what the batches hand over, on a link of its own, until there is nobody left to hand anything over.
    async fn look_up_all(
        self: Arc<Self>,
        mut waiting: mpsc::Receiver<Vec<LookedUp>>,
        mut link: Link,
    ) {
        while let Some(mut arrivals) = waiting.recv().await {
            while arrivals.len() < ADMISSION_BATCH_LEN_MAX
                && let Ok(more) = waiting.try_recv()
            {
                arrivals.extend(more);
            }
            self.look_up(&mut link, arrivals).await;
        }
    }

    /// Answers arrivals that may have been recorded long ago: from MongoDB if they were, else by
    /// admission with the look-up's token.
    async fn look_up(&self, link: &mut Link, mut arrivals: Vec<LookedUp>) {
        // A token is worthless when another client has looked the same id up meanwhile.
        for _ in 0..3 {
            match self.look_up_once(link, arrivals).await {
                Ok(again) if again.is_empty() => return,
                Ok(again) => arrivals = again,
                Err(error) => {
                    tracing::warn!(%error, "look-up failed; clients are told to try again");
                    return;
                }
            }
        }
    }

    async fn look_up_once(
        &self,
        link: &mut Link,
        arrivals: Vec<LookedUp>,
    ) -> Result<Vec<LookedUp>, ServiceError> {
        let ids: Vec<_> = arrivals
            .iter()
            .map(|(arrival, ..)| &arrival.loan_id)
            .collect();
        let recorded = self.store.fingerprints(&ids).await?;
        let mut unknown = Vec::new();
        let mut answers = Vec::new();
        for (arrival, look_up, answer) in arrivals {
            let Some(fingerprint) = recorded.get(arrival.loan_id.as_str()) else {
                unknown.push((arrival, Some(look_up)));
                answers.push(answer);
                continue;
            };
            // Content that a correction has replaced stands among the failures.
            let is_same = is_same(&arrival.fingerprint, fingerprint)
                || self
                    .store
                    .has_failed_as(&arrival.loan_id, &arrival.fingerprint)
                    .await?;
            link.found_recorded(&arrival.loan_id, &look_up, is_same)
                .await?;
            let _ = answer.send(if is_same {
                Answer::Replayed
            } else {
                Answer::Conflict
            });
        }
        if unknown.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = link.admit(&unknown, self.room()).await?;
        let mut again = Vec::new();
        for (((arrival, _), outcome), answer) in unknown.into_iter().zip(outcomes).zip(answers) {
            match Answer::to(outcome) {
                // The client may have gone; its loan stays.
                Ok(told) => drop(answer.send(told)),
                Err(look_up) => again.push((arrival, look_up, answer)),
            }
        }
        Ok(again)
    }
}

/// `first` and what waits behind it, up to a batch's bounds.
fn gather(first: Waiting, waiting: &mut mpsc::Receiver<Waiting>) -> Vec<Waiting> {
    let mut bytes_len = first.arrival.body.len();
    let mut batch = vec![first];
    while batch.len() < ADMISSION_BATCH_LEN_MAX && bytes_len < ADMISSION_BATCH_BYTES_MAX {
        let Ok(next) = waiting.try_recv() else { break };
        // Its client has gone and will ask again: admitting it now would only delay those who still wait.
        if next.answer.is_closed() {
            continue;
        }
        bytes_len += next.arrival.body.len();
        batch.push(next);
    }
    batch
}
