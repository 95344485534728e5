//! The calls about loans.

use std::sync::atomic::Ordering;

use hyper::Request;
use hyper::body::Incoming;

use super::access::Caller;
use super::control::unavailable;
use super::personal::mask_loan;
use super::response::{self, Problem};
use super::{Front, Reply, body};
use crate::admit::{Answer, Door};
use crate::api::{
    FailedAttempt, FaultView, LoanStatus, LoanView, Step, StepKind, rfc3339, rfc3339_ms,
};
use crate::clock::now_us;
use crate::decided::Documents;
use crate::error::ServiceError;
use crate::loan::{Category, LoanId};
use crate::parse::{self, Envelope};
use crate::queue::admission::Arrival;
use crate::queue::bundle::{Bundle, IdHash, Unreadable};
use crate::queue::recording::Content;
use crate::queue::results::{Decision, Results};
use crate::queue::state::{Kept, Whereabouts};
use crate::record::{FailureDocument, LoanDocument};
use crate::telemetry::Context;

/// Failed attempts that are shown with a loan. `/api/errors` has them all.
const ATTEMPTS_SHOWN: u32 = 100;

/// `POST /api/loans/request`: parse, admit, answer.
pub(super) fn request(
    front: &Front,
    request: Request<Incoming>,
    trace: Option<Box<Context>>,
) -> impl Future<Output = Result<Reply, Problem>> {
    let begun = begin(front, request);
    async move {
        let (door, body) = begun?;
        let body = body::read(body, front.body_max, &front.gathered).await?;
        let received_us = now_us();
        let body = body::in_utf8(body)?;
        let Envelope {
            loan_id,
            fingerprint,
        } = parse::envelope(&body).map_err(Problem::Unreadable)?;
        let answer = door.admit(Arrival {
            hash: IdHash::of(loan_id.as_str()),
            loan_id: loan_id.clone(),
            fingerprint,
            received_us,
            attempt: 1,
            trace,
            body,
        });
        match answer.await {
            Answer::Admitted => Ok(response::queued(&loan_id, false)),
            Answer::Replayed => Ok(response::queued(&loan_id, true)),
            Answer::Conflict => Err(Problem::Conflict(loan_id)),
            Answer::Paused => Err(Problem::Paused),
            Answer::Full => Err(Problem::Overloaded),
            Answer::NotQueued => Err(Problem::NotQueued),
            Answer::NotLookedUp => Err(Problem::StoreUnavailable),
            Answer::Unknown => Err(Problem::QueueUnavailable),
        }
    }
}

/// What is known of a request before its body has come.
fn begin(front: &Front, request: Request<Incoming>) -> Result<(&Door, Incoming), Problem> {
    let Some(door) = &front.door else {
        return Err(Problem::NotFound("this instance does not take loans"));
    };
    if front.is_draining.load(Ordering::Relaxed) {
        return Err(Problem::Draining);
    }
    Ok((door, body::of_json(request)?))
}

/// `GET /api/loans/{loanId}`. An administrator also sees the content of a failed loan, to correct it.
pub(super) async fn find(front: &Front, loan_id: &str, caller: &Caller) -> Result<Reply, Problem> {
    let loan_id = LoanId::new(loan_id).ok_or(Problem::NotFound("no loan can have this id"))?;
    let view = view(front, &loan_id).await.map_err(unavailable)?;
    let mut view = view.ok_or(Problem::NotFound("no loan with this id"))?;
    if !caller.is_operator() {
        view.body = None;
    }
    if !caller.sees_personal() {
        mask_loan(&mut view);
    }
    Ok(response::json(&view))
}

async fn view(front: &Front, loan_id: &LoanId) -> Result<Option<LoanView>, ServiceError> {
    let mut partition = front.queue.reader(front.queue.partition_of(loan_id));
    let mut view = LoanView {
        loan_id: loan_id.as_str().to_owned(),
        status: LoanStatus::Queued,
        received_at: None,
        steps: Vec::new(),
        attempts: Vec::new(),
        result: None,
        discarded: None,
        body: None,
    };
    let whereabouts = partition.find(loan_id).await?;
    let failures = match &whereabouts {
        Whereabouts::Queued(kept) | Whereabouts::Processing(kept, _) if kept.loan.attempt == 1 => {
            Vec::new()
        }
        _ => front.store.failures_of(loan_id, ATTEMPTS_SHOWN).await?,
    };
    match whereabouts {
        Whereabouts::Queued(kept) => view.stand(&kept, None),
        Whereabouts::Processing(kept, claimed_ms) => {
            view.status = LoanStatus::Processing;
            view.stand(&kept, Some(claimed_ms));
        }
        Whereabouts::Decided {
            kept,
            claimed_ms,
            processed_ms,
            decision,
        } => view.decide(kept, claimed_ms, processed_ms, decision)?,
        Whereabouts::Aside { reason, since_ms } => {
            view.status = LoanStatus::Failed;
            view.attempts.push(set_aside(loan_id, reason, since_ms));
        }
        Whereabouts::Elsewhere => match (front.store.loan(loan_id).await?, failures.first()) {
            (Some(document), _) => {
                view.status = LoanStatus::Recorded;
                let batch = document.batch;
                view.accept(document);
                if let Some(batch) = batch {
                    view.confirm(front.store.confirmed_at(batch).await?);
                }
            }
            (None, Some(latest)) => {
                view.body = front.store.body_of(&latest.id).await?;
                view.fail(front, latest).await?;
            }
            (None, None) => return Ok(None),
        },
    }
    view.attempts
        .extend(failures.into_iter().map(FailedAttempt::from));
    Ok(Some(view))
}

/// The attempt of a loan whose bundle nobody can read.
fn set_aside(loan_id: &LoanId, reason: String, since_ms: u64) -> FailedAttempt {
    let at = rfc3339_ms(since_ms);
    FailedAttempt {
        loan_id: loan_id.as_str().to_owned(),
        attempt: 1,
        error_type: Category::Unreadable,
        faults: vec![FaultView {
            field: "$".to_owned(),
            rule: reason,
            error_type: Category::Unreadable,
            value: String::new(),
        }],
        applicant_email: None,
        received_at: at.clone(),
        failed_at: at,
        is_waiting: false,
        discarded: None,
    }
}

impl LoanView {
    fn step(&mut self, step: StepKind, at: String) {
        self.steps.push(Step { step, at });
    }

    /// Where a loan stands that is not decided.
    fn stand(&mut self, kept: &Kept, claimed_ms: Option<u64>) {
        let received_at = rfc3339_ms(kept.loan.received_us / 1000);
        self.step(StepKind::Received, received_at.clone());
        self.step(StepKind::Queued, rfc3339_ms(kept.queued_ms));
        if let Some(claimed_ms) = claimed_ms {
            self.step(StepKind::Claimed, rfc3339_ms(claimed_ms));
        }
        self.received_at = Some(received_at);
    }

    fn accept(&mut self, document: LoanDocument) {
        self.way(
            document.received_at,
            document.queued_at,
            document.claimed_at,
            document.processed_at,
        );
        self.result = Some(document.into());
    }

    /// A loan whose last attempt has failed, and that somebody may have finished by hand.
    async fn fail(&mut self, front: &Front, latest: &FailureDocument) -> Result<(), ServiceError> {
        self.status = LoanStatus::Failed;
        self.way(
            latest.received_at,
            latest.queued_at,
            latest.claimed_at,
            latest.failed_at,
        );
        if let Some(batch) = latest.batch {
            self.confirm(front.store.confirmed_at(batch).await?);
        }
        if let Some(discarded) = latest.discarded.clone() {
            self.status = LoanStatus::Discarded;
            self.step(StepKind::Discarded, rfc3339(discarded.at));
            self.discarded = Some(discarded.into());
        }
        Ok(())
    }

    /// A loan that is decided and that MongoDB does not know yet.
    fn decide(
        &mut self,
        kept: Kept,
        claimed_ms: u64,
        processed_ms: u64,
        decision: Decision,
    ) -> Result<(), ServiceError> {
        let Kept { queued_ms, loan } = kept;
        match decision {
            Decision::Accepted(enrichment) => {
                self.status = LoanStatus::Accepted;
                let bundle = Bundle::of_one(queued_ms, loan);
                let results = Results {
                    claimed_ms,
                    processed_ms,
                    decisions: vec![Decision::Accepted(enrichment)],
                };
                let documents = Documents::of(&Content { bundle, results })
                    .ok_or(ServiceError::Unreadable(Unreadable::Mismatch))?;
                let document = bson::deserialize_from_slice(documents.bytes_of(&documents.all[0]))
                    .map_err(|_| ServiceError::MongoReply("a record is not BSON"))?;
                self.accept(document);
            }
            Decision::Failed(failure) => {
                self.status = LoanStatus::Failed;
                self.body = Some(String::from_utf8_lossy(&loan.body).into_owned());
                let at = |ms: u64| bson::DateTime::from_millis(ms as i64);
                self.way(
                    at(loan.received_us / 1000),
                    Some(at(queued_ms)),
                    Some(at(claimed_ms)),
                    at(processed_ms),
                );
                self.attempts.push(FailedAttempt {
                    loan_id: self.loan_id.clone(),
                    attempt: loan.attempt,
                    error_type: failure.category,
                    faults: failure.faults.into_iter().map(FaultView::from).collect(),
                    applicant_email: failure.applicant_email,
                    received_at: rfc3339_ms(loan.received_us / 1000),
                    failed_at: rfc3339_ms(processed_ms),
                    is_waiting: true,
                    discarded: None,
                });
            }
        }
        Ok(())
    }

    fn way(
        &mut self,
        received: bson::DateTime,
        queued: Option<bson::DateTime>,
        claimed: Option<bson::DateTime>,
        processed: bson::DateTime,
    ) {
        let steps = [
            (StepKind::Received, Some(received)),
            (StepKind::Queued, queued),
            (StepKind::Claimed, claimed),
            (StepKind::Processed, Some(processed)),
        ];
        for (step, at) in steps {
            if let Some(at) = at {
                self.step(step, rfc3339(at));
            }
        }
        self.received_at = Some(rfc3339(received));
    }

    fn confirm(&mut self, at: Option<bson::DateTime>) {
        if let Some(at) = at {
            self.step(StepKind::Recorded, rfc3339(at));
        }
    }
}
