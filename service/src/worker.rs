//! One worker: claim, process, commit, again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bson::DateTime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::clock::now_us;
use crate::enrich::enrich;
use crate::error::ServiceError;
use crate::failpoint::failpoint;
use crate::limits::{CLAIM_GATHER, CLAIM_LEN_MAX, DELIVERIES_MAX};
use crate::metrics::Metrics;
use crate::queue::Link;
use crate::queue::claim::{Ask, Claimed, Outcome};
use crate::record;
use crate::snapshot::EventKind;
use crate::validate::{Failure, validate};

pub mod pool;
pub mod scale;

/// How long a claim waits for the first loan.
const CLAIM_WAIT: Duration = Duration::from_secs(1);
/// Loans taken over at once. Few: a loan that crashes its worker takes its batch along.
const TAKE_OVER_LEN_MAX: usize = 16;

/// A worker. Its consumer name is its own for the life of the process.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) consumer: String,
    pub(crate) link: Link,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) claim_timeout: Duration,
}

impl Worker {
    /// Works until `stop` turns true; what it has claimed by then is committed first.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let metrics = Arc::clone(&self.metrics);
        let _held = Metrics::hold(&metrics.workers);
        let mut backoff = Backoff::default();
        // After each failure, what this consumer was given and did not commit comes first.
        let mut has_leftovers = true;
        let mut next_take_over = Instant::now();
        while !*stop.borrow() {
            let step = async {
                if has_leftovers {
                    self.work(Ask::Mine, None).await?;
                    has_leftovers = false;
                }
                if Instant::now() >= next_take_over {
                    next_take_over = Instant::now() + self.claim_timeout / 4;
                    self.take_over().await?;
                }
                let new = Ask::New(CLAIM_WAIT.min(self.claim_timeout / 4));
                self.work(new, Some(next_take_over)).await
            };
            // A claim that is cut off may have been given loans: they are this consumer's
            // leftovers, and its successor of the same name asks for them first.
            let done = tokio::select! {
                done = step => done,
                () = stopped(&mut stop) => break,
            };
            match done {
                Ok(0) => backoff.reset(),
                Ok(_) => {
                    backoff.reset();
                    tokio::select! {
                        () = sleep(CLAIM_GATHER) => {}
                        () = stopped(&mut stop) => break,
                    }
                }
                Err(error) => {
                    has_leftovers = true;
                    tracing::warn!(%error, consumer = self.consumer, "worker waits for Redis");
                    tokio::select! {
                        () = backoff.wait() => {}
                        () = stopped(&mut stop) => break,
                    }
                }
            }
        }
        // Nothing that this worker holds is left to the claim time-out.
        let leftovers = async {
            self.work(Ask::Mine, None).await?;
            Ok::<_, ServiceError>(())
        };
        if let Err(error) = leftovers.await {
            tracing::warn!(%error, consumer = self.consumer, "leftovers stay for another worker");
        }
    }

    /// Claims and finishes loans until a claim is not full, or until `until`, so that abandoned loans do not wait for
    /// the end of a backlog. Answers how many the last claim brought.
    async fn work(&mut self, ask: Ask, until: Option<Instant>) -> Result<usize, ServiceError> {
        let mut claimed = self.link.claim(&self.consumer, ask, CLAIM_LEN_MAX).await?;
        while claimed.len() == CLAIM_LEN_MAX && until.is_none_or(|until| Instant::now() < until) {
            claimed = self.finish(claimed, Some(ask)).await?;
        }
        let len = claimed.len();
        self.finish(claimed, None).await?;
        Ok(len)
    }

    async fn take_over(&mut self) -> Result<(), ServiceError> {
        loop {
            let taken = self
                .link
                .take_over(&self.consumer, self.claim_timeout, TAKE_OVER_LEN_MAX)
                .await?;
            if taken.is_empty() {
                return Ok(());
            }
            self.finish(taken, None).await?;
        }
    }

    /// Processes and commits; with `next`, claims more in the same breath.
    async fn finish(
        &mut self,
        claimed: Vec<Claimed>,
        next: Option<Ask>,
    ) -> Result<Vec<Claimed>, ServiceError> {
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        failpoint!("claim-after");
        let now = now_us();
        let claimed_at = record::at(now);
        self.metrics.queue_wait.add_all(
            claimed
                .iter()
                .filter(|loan| loan.attempt == 1)
                .map(|loan| now.saturating_sub(loan.received_us)),
        );
        let started = Instant::now();
        let mut failures = Vec::new();
        let mut outcomes = Vec::with_capacity(claimed.len());
        for loan in claimed {
            // A loan that makes the code panic is not committed: it is delivered again, and
            // set aside as poison in the end. Its neighbours are not held up.
            let Ok((outcome, failure)) =
                catch_unwind(AssertUnwindSafe(|| process(&loan, claimed_at)))
            else {
                tracing::error!(loan_id = loan.loan_id, "processing panicked");
                continue;
            };
            failures.extend(failure.map(|failure| (outcomes.len(), failure)));
            outcomes.push((loan, outcome));
        }
        self.metrics.process.add_duration(started.elapsed());
        if outcomes.is_empty() {
            return Ok(Vec::new());
        }
        failpoint!("commit-before");
        let started = Instant::now();
        let applicants: Vec<_> = failures
            .iter()
            .filter_map(|(number, failure)| Some((*number, failure.applicant_email.clone()?)))
            .collect();
        let (won, more) = if let Some(ask) = next {
            self.link
                .commit_and_claim(&outcomes, &applicants, &self.consumer, ask, CLAIM_LEN_MAX)
                .await?
        } else {
            let won = self.link.commit_counting(&outcomes, &applicants).await?;
            (won, Vec::new())
        };
        failpoint!("commit-after");
        self.metrics.commit.add_duration(started.elapsed());
        for (number, failure) in failures {
            if won.get(number) == Some(&true) {
                let loan = &outcomes[number].0;
                self.metrics.tell(EventKind::Failure {
                    loan_id: loan.loan_id.clone(),
                    error_type: failure.category.name().to_owned(),
                    attempt: loan.attempt,
                    applicant: failure.applicant_email,
                });
            }
        }
        Ok(more)
    }
}

/// What becomes of a loan: a pure function of the loan and the time.
fn process(loan: &Claimed, claimed_at: DateTime) -> (Outcome, Option<Failure>) {
    let journey = record::Journey {
        loan_id: &loan.loan_id,
        fingerprint: loan.fingerprint,
        attempt: loan.attempt,
        received_at: record::at(loan.received_us),
        queued_at: loan.queued_at(),
        claimed_at: Some(claimed_at),
        processed_at: DateTime::now(),
    };
    let mut document = Vec::new();
    let checked = if loan.deliveries > DELIVERIES_MAX {
        Err(record::poison(loan))
    } else {
        validate(&loan.body)
    };
    match checked {
        Ok(valid) => {
            let enrichment = enrich(&valid);
            record::accepted(
                &mut document,
                &journey,
                &valid,
                &enrichment,
                record::NO_BATCH,
            );
            (Outcome::Accepted(document), None)
        }
        Err(failure) => {
            record::failed(
                &mut document,
                &journey,
                &failure,
                &loan.body,
                record::NO_BATCH,
            );
            (Outcome::Failed(failure.category, document), Some(failure))
        }
    }
}

/// Returns once `stop` is true, or its sender is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
