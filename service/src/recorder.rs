//! The recorder: decided bundles from Redis into MongoDB, in batches, then out of Redis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bson::oid::ObjectId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::aside::set_aside;
use crate::backoff::Backoff;
use crate::clock::now_us;
use crate::decided::{Documents, Handover, Kind, Way};
use crate::error::ServiceError;
use crate::failpoint::{Guard, failpoint};
use crate::limits::RECORD_BATCH_LEN_MAX;
use crate::loan::{Category, Fault};
use crate::metrics::Metrics;
use crate::queue::Partition;
use crate::queue::bundle::{Holder, Ticket};
use crate::queue::recording::{Confirmed, Content};
use crate::shutdown::stopped;
use crate::snapshot::EventKind;
use crate::store::{Outcome, Store};
use crate::validate::Failure;

/// Records one partition's decided bundles.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) holder: Holder,
    pub(crate) partition: Partition,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handover: Arc<Handover>,
    /// How long results gather before they are written.
    pub(crate) interval: Duration,
    /// How long another leaves alone what this one has taken.
    pub(crate) lease: Duration,
}

/// What is written together: the documents of some bundles, with the leases on these.
#[derive(Debug, Default)]
struct Batch {
    bundles: Vec<(Ticket, Documents)>,
}

impl Batch {
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

/// What MongoDB made of a batch.
#[derive(Debug, Default)]
struct Confirmation {
    /// The bundles of which it holds every loan.
    confirmed: Vec<Confirmed>,
    /// Documents that it held already.
    duplicates: u64,
    /// Batches in which those were written.
    earlier: Vec<ObjectId>,
    /// Loans that it refused for good, by category: they stand among the failures.
    refused: BTreeMap<Category, u64>,
    /// Bundles with a loan of which it holds nothing, and why.
    unrecordable: Vec<(Ticket, String)>,
    loans: usize,
    failures: usize,
}

impl Recorder {
    /// Records until `stop` is true, and then whatever is left once more.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        let mut is_prepared = false;
        // A batch whose writing failed. Whether it is written is unknown; writing it again is safe.
        let mut unfinished = None;
        let mut must_release = false;
        loop {
            let is_last = *stop.borrow();
            let round = async {
                if must_release {
                    self.partition.release(self.holder).await?;
                }
                self.round(&mut is_prepared, &mut unfinished).await
            };
            match round.await {
                Ok(()) => {
                    backoff.reset();
                    must_release = false;
                    if is_last {
                        return;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(self.interval) => {}
                        () = stopped(&mut stop) => {}
                    }
                }
                Err(error) => {
                    self.metrics.recording_waits(&error);
                    // It may have been given bundles whose tickets it does not know.
                    must_release = !error.is_of_mongodb();
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

    /// Records all that is decided by now.
    async fn round(
        &mut self,
        is_prepared: &mut bool,
        unfinished: &mut Option<Batch>,
    ) -> Result<(), ServiceError> {
        if !*is_prepared {
            self.store.prepare().await?;
            *is_prepared = true;
        }
        loop {
            let batch = match unfinished.take() {
                Some(batch) => batch,
                None => self.take().await?,
            };
            let len: usize = batch.bundles.iter().map(|(ticket, _)| ticket.len).sum();
            if len == 0 {
                return Ok(());
            }
            if let Err(error) = self.record(&batch).await {
                *unfinished = Some(batch);
                return Err(error);
            }
            self.metrics.recording_goes_on();
            if len < RECORD_BATCH_LEN_MAX {
                return Ok(());
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
        set_aside(
            &mut self.partition,
            &self.store,
            &self.metrics,
            ticket,
            reason,
        )
        .await
    }

    /// Writes a batch, waits until it is durable, and frees it from Redis.
    async fn record(&mut self, batch: &Batch) -> Result<(), ServiceError> {
        failpoint!("record-before");
        if Guard::RecordConfirmed.is_off() {
            let confirmed: Vec<_> = batch
                .bundles
                .iter()
                .map(|(_, documents)| confirmed(documents, &[]))
                .collect();
            self.partition.recorded(&confirmed, 0, &[]).await?;
        }
        let id = ObjectId::new();
        let (started, started_us) = (Instant::now(), now_us());
        let confirmation = self.write(batch, id).await?;
        let confirmed_us = now_us();
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
            .add_all(received.map(|received_us| confirmed_us.saturating_sub(received_us)));
        let mut counts = Vec::new();
        for (category, count) in &confirmation.refused {
            counts.push((format!("failed:{}", category.name()), *count));
            counts.push(("unrecordable".to_owned(), *count));
            if *category != Category::Conflict {
                counts.push(("failed_waiting".to_owned(), *count));
            }
        }
        let freed =
            self.partition
                .recorded(&confirmation.confirmed, confirmation.duplicates, &counts);
        let noted = self.store.note_confirmation(
            id,
            confirmed_us,
            confirmation.loans,
            confirmation.failures,
            &confirmation.earlier,
        );
        let (freed, noted) = tokio::join!(freed, noted);
        failpoint!("acknowledge-after");
        if let Err(error) = noted {
            tracing::debug!(%error, "the instant of a confirmation is lost");
        }
        let freed = freed?;
        self.store
            .note_recorded(self.partition.number(), freed.recorded)
            .await?;
        for (ticket, reason) in confirmation.unrecordable {
            self.set_aside(&ticket, &reason).await?;
        }
        Ok(())
    }

    /// Writes a batch's documents. What MongoDB refuses for good becomes a failure of its own category.
    async fn write(&mut self, batch: &Batch, id: ObjectId) -> Result<Confirmation, ServiceError> {
        let mut confirmation = Confirmation::default();
        // Failures first: whoever finds a loan recorded finds its failed attempts too.
        let mut outcomes = BTreeMap::new();
        for kind in [Kind::Failures, Kind::Loans] {
            let of_kind = batch.of_kind(kind);
            let recordable: Vec<_> = of_kind
                .iter()
                .map(|&(documents, number)| documents.recordable(number))
                .collect();
            let written = self.store.record(kind, &recordable, id).await?;
            confirmation.duplicates += written.duplicates;
            confirmation.earlier.extend(written.earlier);
            for ((documents, number), outcome) in of_kind.into_iter().zip(written.outcomes) {
                match kind {
                    Kind::Loans => confirmation.loans += usize::from(outcome == Outcome::Held),
                    Kind::Failures => {
                        confirmation.failures += usize::from(outcome == Outcome::Held);
                    }
                }
                if outcome != Outcome::Held {
                    outcomes.insert((documents.name, number), outcome);
                }
            }
        }
        for (ticket, documents) in &batch.bundles {
            let mut refused_loans = Vec::new();
            let mut reason = None;
            for (number, document) in documents.all.iter().enumerate() {
                let Some(outcome) = outcomes.get(&(documents.name, number)) else {
                    continue;
                };
                let failure = refusal(outcome);
                tracing::error!(
                    loan_id = &*document.loan_id,
                    error_type = failure.category.name(),
                    rule = &*failure.faults[0].rule,
                    "MongoDB refuses a record for good"
                );
                if document.kind == Kind::Loans && self.fail(ticket, number, &failure, id).await? {
                    self.metrics.tell(EventKind::Failure {
                        loan_id: document.loan_id.to_string(),
                        error_type: failure.category.name().to_owned(),
                        attempt: document.attempt,
                        applicant: None,
                    });
                    *confirmation.refused.entry(failure.category).or_default() += 1;
                    confirmation.failures += 1;
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
        id: ObjectId,
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
        let written = self
            .store
            .record(Kind::Failures, &[documents.recordable(0)], id)
            .await?;
        Ok(written.outcomes == [Outcome::Held])
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
        Outcome::Held | Outcome::Conflict => (
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
