//! The recorder: decided bundles from Redis into MongoDB, in batches, then out of Redis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

mod preparation;
mod writer;

use crate::aside::set_aside;
use crate::backoff::Backoff;
use crate::clock::now_us;
use crate::decided::{Documents, Handover, Kind, Way};
use crate::error::ServiceError;
use crate::failpoint::{Guard, failpoint};
use crate::limits::{RECORD_BATCH_LEN_MAX, RECORDER_TASK, recorders};
use crate::loan::{Category, Fault};
use crate::metrics::Metrics;
use crate::queue::bundle::{Holder, Instance, Ticket};
use crate::queue::recording::{Confirmed, Content};
use crate::queue::{Partition, Queue};
use crate::shutdown::stopped;
use crate::snapshot::EventKind;
use crate::store::{Outcome, Store};
use crate::task;
use crate::validate::Failure;
use preparation::Preparation;
use writer::{Writer, Written};

/// The recorders of this process, for all partitions.
#[derive(Debug)]
pub(crate) struct Recorders {
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handover: Arc<Handover>,
    /// How long results gather before they are written.
    pub(crate) interval: Duration,
    /// How long another leaves alone what one of them has taken.
    pub(crate) lease: Duration,
    pub(crate) instance: Instance,
}

impl Recorders {
    /// Starts them. Their tasks end after `stop` is true, when all that is decided by then is recorded.
    pub(crate) fn start(self, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let (writer, writing) = Writer::start(&self.store, &self.queue, &self.metrics);
        let preparation = Arc::new(Preparation::new(&self));
        let partitions = self.queue.partitions();
        let tasks = recorders(partitions as u32);
        let first = Instant::now();
        let mut started = Vec::new();
        for partition in 0..partitions {
            let more = Arc::new(Notify::new());
            for task in 0..tasks {
                let recorder = Recorder {
                    holder: self.instance.holder(RECORDER_TASK + task),
                    partition: self.queue.partition(partition),
                    store: self.store.clone(),
                    preparation: Arc::clone(&preparation),
                    writer: writer.clone(),
                    metrics: Arc::clone(&self.metrics),
                    handover: Arc::clone(&self.handover),
                    turn: if task == 0 {
                        let mut ticks = interval_at(first, self.interval);
                        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                        Turn::Each(ticks)
                    } else {
                        Turn::IfAsked
                    },
                    more: Arc::clone(&more),
                    lease: self.lease,
                };
                started.push(task::spawn("recorder", recorder.run(stop.clone())));
            }
        }
        started.extend(writing);
        started
    }
}

/// Records one partition's decided bundles.
#[derive(Debug)]
struct Recorder {
    holder: Holder,
    partition: Partition,
    store: Store,
    preparation: Arc<Preparation>,
    writer: Writer,
    metrics: Arc<Metrics>,
    handover: Arc<Handover>,
    turn: Turn,
    /// Asks another of the same partition to help.
    more: Arc<Notify>,
    lease: Duration,
}

/// When a recorder looks for decided bundles.
#[derive(Debug)]
enum Turn {
    /// At each tick. All partitions have the same ones, so that what they have is written together.
    Each(Interval),
    /// When another of the partition has found more than it writes at once, or does not get on. Before that a second one would
    /// only make the batches smaller, and MongoDB flushes for each.
    IfAsked,
}

/// What is written together: the documents of some bundles, with the leases on these.
#[derive(Debug, Default)]
struct Batch {
    bundles: Vec<(Ticket, Documents)>,
}

impl Batch {
    /// Loans in it.
    fn len(&self) -> usize {
        self.bundles.iter().map(|(ticket, _)| ticket.len).sum()
    }

    /// The documents of one kind: the bundle, and which of its documents.
    fn of_kind(&self, kind: Kind) -> Vec<(&Documents, usize)> {
        let mut found = Vec::new();
        for (_, documents) in &self.bundles {
            for (number, document) in documents.all.iter().enumerate() {
                if document.kind == kind {
                    found.push((documents, number));
                }
            }
        }
        found
    }
}

/// What follows from what MongoDB made of a batch.
#[derive(Debug, Default)]
struct Confirmation {
    /// The bundles of which it holds every loan.
    confirmed: Vec<Confirmed>,
    /// Documents that it held already.
    duplicates: u64,
    /// Loans that it refused for good, by category: they stand among the failures.
    refused: BTreeMap<Category, u64>,
    /// Bundles with a loan of which it holds nothing, and why.
    unrecordable: Vec<(Ticket, String)>,
}

impl Recorder {
    /// Records until `stop` is true, and then whatever is left once more.
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        let mut has_failed = false;
        let mut is_waiting = false;
        loop {
            let is_last = *stop.borrow();
            let round = async {
                if has_failed {
                    // It may have been given bundles whose tickets it does not know, and what it cannot write now another may. Whether a
                    // batch was written is unknown; writing it again is safe.
                    self.partition.release(self.holder).await?;
                    // Who takes what it cannot write only keeps it from others.
                    self.store.version().await?;
                }
                self.round().await
            };
            match round.await {
                Ok(loans) => {
                    backoff.reset();
                    if std::mem::take(&mut is_waiting) {
                        self.metrics.recording_goes_on();
                    }
                    has_failed = false;
                    if is_last {
                        return;
                    }
                    tokio::select! {
                        () = self.next_turn(loans) => {}
                        () = stopped(&mut stop) => {}
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_waiting, true) {
                        self.metrics.recording_waits(&error);
                    }
                    // What keeps this batch need not keep another.
                    self.more.notify_one();
                    has_failed = true;
                    if is_last {
                        return;
                    }
                    tokio::select! {
                        () = backoff.wait() => {}
                        () = stopped(&mut stop) => {}
                    }
                }
            }
        }
    }

    /// Returns when it is time for the next round, after one of `loans` loans.
    async fn next_turn(&mut self, loans: usize) {
        match &mut self.turn {
            // So many come that the next batch is full long before the interval is over.
            Turn::Each(ticks) if loans >= RECORD_BATCH_LEN_MAX => sleep(ticks.period() / 8).await,
            Turn::Each(ticks) => drop(ticks.tick().await),
            Turn::IfAsked => self.more.notified().await,
        }
    }

    /// Records all that is decided by now. Answers how many loans that were.
    async fn round(&mut self) -> Result<usize, ServiceError> {
        self.preparation.made().await?;
        let mut loans = 0;
        loop {
            let batch = Arc::new(self.take().await?);
            let len = batch.len();
            if len == 0 {
                return Ok(loans);
            }
            loans += len;
            if len >= RECORD_BATCH_LEN_MAX {
                self.more.notify_one();
            }
            self.record(&batch).await?;
            if len < RECORD_BATCH_LEN_MAX {
                return Ok(loans);
            }
        }
    }

    /// Takes what comes next: from the workers of this process where it is of theirs, else from Redis.
    async fn take(&mut self) -> Result<Batch, ServiceError> {
        let tickets = self
            .partition
            .take_decided(self.holder, self.lease, RECORD_BATCH_LEN_MAX)
            .await?;
        let mut batch = Batch::default();
        let mut elsewhere = Vec::new();
        for ticket in tickets {
            match self.handover.take(ticket.name) {
                Some(documents) => batch.bundles.push((ticket, documents)),
                None => elsewhere.push(ticket),
            }
        }
        let contents = {
            let tickets: Vec<_> = elsewhere.iter().collect();
            self.partition.decided_content(&tickets).await?
        };
        for (ticket, content) in elsewhere.into_iter().zip(contents) {
            let made = match content {
                Ok(content) => Documents::of(&content)
                    .ok_or_else(|| "a loan of it cannot be read any more".to_owned()),
                Err(unreadable) => Err(unreadable.to_string()),
            };
            match made {
                Ok(documents) => batch.bundles.push((ticket, documents)),
                Err(reason) => self.set_aside(&ticket, &reason).await?,
            }
        }
        Ok(batch)
    }

    /// Takes a bundle that cannot be recorded out of the line.
    async fn set_aside(&mut self, ticket: &Ticket, reason: &str) -> Result<(), ServiceError> {
        set_aside(&mut self.partition, &self.metrics, ticket, reason).await
    }

    /// Has a batch written, waits until it is durable, and frees it from Redis.
    async fn record(&mut self, batch: &Arc<Batch>) -> Result<(), ServiceError> {
        failpoint!("record-before");
        if Guard::RecordConfirmed.is_off() {
            let confirmed: Vec<_> = batch
                .bundles
                .iter()
                .map(|(_, documents)| confirmed(documents, &[]))
                .collect();
            self.partition.recorded(&confirmed, 0, &[]).await?;
        }
        let (started, started_us) = (Instant::now(), now_us());
        let written = self.writer.write(Arc::clone(batch)).await?;
        failpoint!("record-after");
        self.metrics.record.add_duration(started.elapsed());
        let bundles = batch.bundles.iter().map(|(_, documents)| documents);
        self.metrics.traces.recorded(bundles, started_us);
        let received = batch
            .bundles
            .iter()
            .flat_map(|(_, documents)| &documents.all)
            .filter_map(|document| document.received_us);
        self.metrics
            .end_to_end
            .add_all(received.map(|received_us| written.confirmed_us.saturating_sub(received_us)));
        let confirmation = self.confirm(batch, &written).await?;
        let mut counts = Vec::new();
        for (category, count) in &confirmation.refused {
            counts.push((format!("failed:{}", category.name()), *count));
            counts.push(("unrecordable".to_owned(), *count));
            if *category != Category::Conflict {
                counts.push(("failed_waiting".to_owned(), *count));
            }
        }
        let freed = self
            .partition
            .recorded(&confirmation.confirmed, confirmation.duplicates, &counts)
            .await;
        failpoint!("acknowledge-after");
        self.writer
            .freed(self.partition.number(), freed?.recorded)
            .await;
        for (ticket, reason) in confirmation.unrecordable {
            self.set_aside(&ticket, &reason).await?;
        }
        Ok(())
    }

    /// Sorts a batch's bundles by what MongoDB made of them. What it refused for good becomes a failure of its own category.
    async fn confirm(
        &mut self,
        batch: &Batch,
        written: &Written,
    ) -> Result<Confirmation, ServiceError> {
        let mut confirmation = Confirmation::default();
        for (ticket, documents) in &batch.bundles {
            let mut refused_loans = Vec::new();
            let mut reason = None;
            for (number, document) in documents.all.iter().enumerate() {
                let failure = match written.outcome(documents.name, number) {
                    Outcome::Held => continue,
                    Outcome::HeldBefore(_) => {
                        confirmation.duplicates += 1;
                        continue;
                    }
                    outcome @ (Outcome::Conflict | Outcome::Refused(_)) => refusal(outcome),
                };
                tracing::error!(
                    loan_id = &*document.loan_id,
                    error_type = failure.category.name(),
                    rule = &*failure.faults[0].rule,
                    "MongoDB refuses a record for good"
                );
                if document.kind == Kind::Loans && self.fail(ticket, number, &failure).await? {
                    self.metrics.tell(EventKind::Failure {
                        loan_id: document.loan_id.to_string(),
                        error_type: failure.category.name().to_owned(),
                        attempt: document.attempt,
                        applicant: None,
                    });
                    *confirmation.refused.entry(failure.category).or_default() += 1;
                    refused_loans.push(number);
                } else {
                    reason = Some(format!(
                        "MongoDB refuses loan {}: {}",
                        document.loan_id, failure.faults[0].rule
                    ));
                }
            }
            match reason {
                Some(reason) => confirmation.unrecordable.push((ticket.clone(), reason)),
                None => confirmation
                    .confirmed
                    .push(confirmed(documents, &refused_loans)),
            }
        }
        Ok(confirmation)
    }

    /// Records an accepted loan as a failure, with its body, which Redis still has. Answers whether MongoDB holds that.
    async fn fail(
        &mut self,
        ticket: &Ticket,
        number: usize,
        failure: &Failure,
    ) -> Result<bool, ServiceError> {
        let Some(Ok(content)) = self.partition.decided_content(&[ticket]).await?.pop() else {
            return Ok(false);
        };
        let Content { bundle, results } = &content;
        let Some(loan) = bundle.loans.get(number) else {
            return Ok(false);
        };
        let mut documents = Documents::new(bundle);
        let way = Way::new(bundle, loan, results.claimed_ms, results.processed_ms);
        documents.fail(way, failure);
        let batch = Batch {
            bundles: vec![(ticket.clone(), documents)],
        };
        writer::write_failure(&self.store, &batch).await
    }
}

/// A bundle of which MongoDB holds every loan; those of the numbers `refused` as failures.
fn confirmed(documents: &Documents, refused: &[usize]) -> Confirmed {
    let loans = documents
        .all
        .iter()
        .filter(|document| document.kind == Kind::Loans)
        .count();
    Confirmed {
        name: documents.name,
        loans: loans - refused.len(),
        loan_ids: documents
            .all
            .iter()
            .map(|document| document.loan_id.clone())
            .collect(),
    }
}

/// What MongoDB's refusal makes of a loan.
fn refusal(outcome: &Outcome) -> Failure {
    let (category, rule) = match outcome {
        Outcome::Held | Outcome::HeldBefore(_) | Outcome::Conflict => (
            Category::Conflict,
            "MongoDB holds this id with other content".to_owned(),
        ),
        Outcome::Refused(reason) => (Category::Refused, reason.clone()),
    };
    Failure {
        category,
        faults: vec![Fault {
            field: "$".into(),
            rule: rule.into(),
            category,
            value: String::new(),
        }],
        applicant_email: None,
    }
}
