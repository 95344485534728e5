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
                    while self.work(Ask::Mine).await? > 0 {}
                    has_leftovers = false;
                }
                if Instant::now() >= next_take_over {
                    next_take_over = Instant::now() + self.claim_timeout / 4;
                    self.take_over().await?;
                }
                self.work(Ask::New(CLAIM_WAIT.min(self.claim_timeout / 4)))
                    .await
            };
            // A claim that is cut off may have been given loans: they are this consumer's
            // leftovers, and its successor of the same name asks for them first.
            let done = tokio::select! {
                done = step => done,
                () = stopped(&mut stop) => break,
            };
            match done {
                Ok(len) => {
                    backoff.reset();
                    if (1..CLAIM_LEN_MAX).contains(&len) {
                        tokio::select! {
                            () = sleep(CLAIM_GATHER) => {}
                            () = stopped(&mut stop) => break,
                        }
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
            while self.work(Ask::Mine).await? > 0 {}
            Ok::<_, ServiceError>(())
        };
        if let Err(error) = leftovers.await {
            tracing::warn!(%error, consumer = self.consumer, "leftovers stay for another worker");
        }
    }

    async fn work(&mut self, ask: Ask) -> Result<usize, ServiceError> {
        let claimed = self.link.claim(&self.consumer, ask, CLAIM_LEN_MAX).await?;
        self.finish(claimed).await
    }

    async fn take_over(&mut self) -> Result<(), ServiceError> {
        loop {
            let claimed = self
                .link
                .take_over(&self.consumer, self.claim_timeout, TAKE_OVER_LEN_MAX)
                .await?;
            if self.finish(claimed).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Processes and commits; answers how many loans were at hand.
    async fn finish(&mut self, claimed: Vec<Claimed>) -> Result<usize, ServiceError> {
        if claimed.is_empty() {
            return Ok(0);
        }
        failpoint!("claim-after");
        let len = claimed.len();
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
        let mut outcomes = Vec::with_capacity(len);
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
            return Ok(0);
        }
        failpoint!("commit-before");
        let started = Instant::now();
        let applicants: Vec<_> = failures
            .iter()
            .filter_map(|(number, failure)| Some((*number, failure.applicant_email.clone()?)))
            .collect();
        let won = self.link.commit_counting(&outcomes, &applicants).await?;
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
        Ok(len)
    }
}

/// What becomes of a loan: a pure function of the loan and the time.
fn process(loan: &Claimed, claimed_at: DateTime) -> (Outcome, Option<Failure>) {
    let now = DateTime::now();
    let checked = if loan.deliveries > DELIVERIES_MAX {
        Err(record::poison(loan))
    } else {
        validate(&loan.body)
    };
    match checked {
        Ok(valid) => {
            let enrichment = enrich(&valid);
            let document = record::accepted(loan, valid, &enrichment, claimed_at, now);
            (Outcome::Accepted(document), None)
        }
        Err(failure) => {
            let document = record::failed(loan, &failure, claimed_at, now);
            (Outcome::Failed(failure.category, document), Some(failure))
        }
    }
}

/// Returns once `stop` is true, or its sender is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
