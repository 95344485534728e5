//! Writes what the recorders of all partitions have, together: a command costs MongoDB many times what a document in it
//! does, and the more partitions there are, the fewer documents each of them has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bson::oid::ObjectId;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use super::Batch;
use crate::backoff::Backoff;
use crate::clock::now_us;
use crate::decided::Kind;
use crate::error::ServiceError;
use crate::limits::{RECORD_BATCH_LEN_MAX, RECORD_WRITES_IN_FLIGHT};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::queue::bundle::Name;
use crate::store::{Outcome, Store};
use crate::task;

/// Whether MongoDB still has what was noted in it is looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Batches, and notes of what was freed, that may wait. Each recorder waits for its own, so there are few.
const WAITING_MAX: usize = 1_024;

/// The way to MongoDB of all recorders of this process.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    orders: mpsc::Sender<Order>,
    freed: mpsc::Sender<(usize, u64)>,
}

/// A batch to write, and who waits for that.
#[derive(Debug)]
struct Order {
    batch: Arc<Batch>,
    answer: oneshot::Sender<Result<Arc<Written>, ServiceError>>,
}

/// What MongoDB made of the batches that were written together.
#[derive(Debug)]
pub(super) struct Written {
    /// When that was certain, in microseconds since the Unix epoch.
    pub(super) confirmed_us: u64,
    /// What became of a bundle's document of this number, where it is not simply held since now.
    outcomes: HashMap<(Name, usize), Outcome>,
}

impl Written {
    /// What became of a bundle's document.
    pub(super) fn outcome(&self, bundle: Name, number: usize) -> &Outcome {
        self.outcomes
            .get(&(bundle, number))
            .unwrap_or(&Outcome::Held)
    }
}

impl Writer {
    /// A writer, and its tasks. They end when every copy of it is dropped and all is written.
    pub(super) fn start(
        store: &Store,
        queue: &Queue,
        metrics: &Arc<Metrics>,
    ) -> (Self, [JoinHandle<()>; 2]) {
        let (orders, ordered) = mpsc::channel(WAITING_MAX);
        let (freed, noted) = mpsc::channel(WAITING_MAX);
        let tasks = [
            task::spawn("writer", write_orders(store.clone(), ordered)),
            task::spawn(
                "freed",
                note_freed(store.clone(), queue.clone(), Arc::clone(metrics), noted),
            ),
        ];
        (Self { orders, freed }, tasks)
    }

    /// Writes a batch, with those of other recorders that wait at that moment. On `Ok` each outcome is final: what is held
    /// is durable, and what is refused will be refused again.
    ///
    /// # Errors
    /// MongoDB out of reach, silent, or not able to promise durability: any part of it may be written. The same batch
    /// again is safe.
    pub(super) async fn write(&self, batch: Arc<Batch>) -> Result<Arc<Written>, ServiceError> {
        let (answer, answered) = oneshot::channel();
        let ended = ServiceError::MongoReply("the task that writes has ended");
        if self.orders.send(Order { batch, answer }).await.is_err() {
            return Err(ended);
        }
        answered.await.unwrap_or(Err(ended))
    }

    /// Notes in MongoDB, soon, that a partition has freed `recorded` loans and failures in all.
    pub(super) async fn freed(&self, partition: usize, recorded: u64) {
        // It ends after the last recorder only.
        let _ = self.freed.send((partition, recorded)).await;
    }
}

/// Writes batches as they come, and those that came meanwhile together.
async fn write_orders(store: Store, mut orders: mpsc::Receiver<Order>) {
    let permits = Arc::new(Semaphore::new(RECORD_WRITES_IN_FLIGHT));
    let mut writes = JoinSet::new();
    while let Some(first) = orders.recv().await {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let mut len = first.batch.len();
        let mut together = vec![first];
        while len < RECORD_BATCH_LEN_MAX
            && let Ok(order) = orders.try_recv()
        {
            len += order.batch.len();
            together.push(order);
        }
        let store = store.clone();
        writes.spawn(async move {
            let id = ObjectId::new();
            let batches = together.iter().map(|order| &*order.batch);
            let written = write(&store, id, batches).await;
            drop(permit);
            let (noted, answer) = match written {
                Ok((noted, written)) => (Some(noted), Ok(Arc::new(written))),
                Err(error) => (None, Err(error)),
            };
            for order in together {
                // Nobody waits for it when the process stops in the middle.
                let _ = order.answer.send(answer.clone());
            }
            if let Some(noted) = noted {
                note_confirmation(&store, id, &noted).await;
            }
        });
        while writes.try_join_next().is_some() {}
    }
    while writes.join_next().await.is_some() {}
}

/// What is noted of a write.
#[derive(Debug)]
pub(super) struct Noted {
    confirmed_us: u64,
    loans: usize,
    failures: usize,
    /// Batches that some of its documents were written in before, whose confirmation may have been missed.
    earlier: Vec<ObjectId>,
}

/// Writes the documents of some batches as one, and waits until they are durable.
async fn write(
    store: &Store,
    id: ObjectId,
    batches: impl Iterator<Item = &Batch> + Clone,
) -> Result<(Noted, Written), ServiceError> {
    let mut outcomes = HashMap::new();
    let mut held = BTreeMap::new();
    let mut earlier = Vec::new();
    // Failures first: whoever finds a loan recorded finds its failed attempts too.
    for kind in [Kind::Failures, Kind::Loans] {
        let of_kind: Vec<_> = batches
            .clone()
            .flat_map(|batch| batch.of_kind(kind))
            .collect();
        let recordable: Vec<_> = of_kind
            .iter()
            .map(|&(documents, number)| documents.recordable(number))
            .collect();
        let written = store.record(kind, &recordable, id).await?;
        for ((documents, number), outcome) in of_kind.into_iter().zip(written) {
            // What it held before was counted then.
            if outcome == Outcome::Held {
                *held.entry(kind).or_default() += 1;
            }
            if let Outcome::HeldBefore(Some(batch)) = outcome {
                earlier.push(batch);
            }
            if outcome != Outcome::Held {
                outcomes.insert((documents.name, number), outcome);
            }
        }
    }
    let confirmed_us = now_us();
    let noted = Noted {
        confirmed_us,
        loans: held.get(&Kind::Loans).copied().unwrap_or_default(),
        failures: held.get(&Kind::Failures).copied().unwrap_or_default(),
        earlier,
    };
    let written = Written {
        confirmed_us,
        outcomes,
    };
    Ok((noted, written))
}

async fn note_confirmation(store: &Store, id: ObjectId, noted: &Noted) {
    let note = store.note_confirmation(
        id,
        noted.confirmed_us,
        noted.loans,
        noted.failures,
        &noted.earlier,
    );
    if let Err(error) = note.await {
        tracing::debug!(%error, "the instant of a confirmation is lost");
    }
}

/// Writes a failure that took the place of a loan which MongoDB refused. Answers whether MongoDB holds it.
pub(super) async fn write_failure(store: &Store, batch: &Batch) -> Result<bool, ServiceError> {
    let id = ObjectId::new();
    let (noted, written) = write(store, id, std::iter::once(batch)).await?;
    note_confirmation(store, id, &noted).await;
    Ok(written.outcomes.values().all(Outcome::is_held))
}

/// Keeps MongoDB's note of how far each partition has come: with it a queue that went back in time is noticed, and so is a
/// record that did, by a note that is gone although a majority had confirmed it.
async fn note_freed(
    store: Store,
    queue: Queue,
    metrics: Arc<Metrics>,
    mut freed: mpsc::Receiver<(usize, u64)>,
) {
    let mut backoff = Backoff::default();
    let mut unnoted = BTreeMap::new();
    let mut noted = BTreeMap::new();
    let mut more = Vec::new();
    let mut look = interval(LOOK_INTERVAL);
    loop {
        let is_over = tokio::select! {
            received = freed.recv_many(&mut more, WAITING_MAX) => received == 0,
            () = backoff.wait(), if !unnoted.is_empty() => false,
            // Before anything is noted anew: that would be taken for what is lost.
            _ = look.tick(), if unnoted.is_empty() => {
                if let Err(error) = look_back(&store, &queue, &metrics, &mut noted).await {
                    tracing::debug!(%error, "whether MongoDB went back in time is not known");
                }
                continue;
            }
        };
        for (partition, recorded) in more.drain(..) {
            let newest: &mut u64 = unnoted.entry(partition).or_default();
            *newest = recorded.max(*newest);
        }
        if unnoted.is_empty() {
            if is_over {
                return;
            }
            continue;
        }
        match store.note_recorded(&unnoted).await {
            Ok(()) => {
                noted.append(&mut unnoted);
                backoff.reset();
            }
            Err(error) => tracing::debug!(%error, "how far the queue has come is not noted yet"),
        }
        if is_over {
            return;
        }
    }
}

/// Whether what this process had noted of the partitions is still there. What is not is told once, and counted anew.
async fn look_back(
    store: &Store,
    queue: &Queue,
    metrics: &Metrics,
    noted: &mut BTreeMap<usize, u64>,
) -> Result<(), ServiceError> {
    for (&partition, noted) in noted {
        let there = store.noted_recorded(partition).await?;
        if there >= *noted {
            continue;
        }
        metrics.record_went_back(partition, *noted - there);
        *noted = there;
        queue.partition(partition).doubt_filter().await?;
    }
    Ok(())
}
