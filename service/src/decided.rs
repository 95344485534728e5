//! Decided bundles, as they will be recorded: made by the worker, or again from what Redis keeps.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bson::DateTime;

use crate::enrich::Enrichment;
use crate::loan::{Fingerprint, Loan};
use crate::queue::bundle::{Bundle, Name, QueuedLoan};
use crate::queue::recording::Content;
use crate::queue::results::{Decision, Results};
use crate::record::{self, Journey, NO_BATCH};
use crate::store::Recordable;
use crate::telemetry::Context;
use crate::validate::{Failure, validate};

/// In which collection a document belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Accepted loans.
    Loans,
    /// Failed attempts.
    Failures,
}

/// What MongoDB is to hold of one loan.
#[derive(Clone, Debug)]
pub struct Document {
    /// Where it belongs.
    pub kind: Kind,
    /// The loan's id.
    pub loan_id: Box<str>,
    /// Which attempt.
    pub attempt: u32,
    /// Its content's fingerprint.
    pub fingerprint: Fingerprint,
    /// When its body was whole, in microseconds since the Unix epoch; `None` after a retry, whose time says nothing of
    /// the service.
    pub received_us: Option<u64>,
    /// The span of its request, where it is traced.
    pub trace: Option<Box<Context>>,
    bytes: Range<usize>,
}

/// The documents of one bundle.
#[derive(Clone, Debug)]
pub struct Documents {
    /// The bundle.
    pub name: Name,
    /// One for each loan, in order.
    pub all: Vec<Document>,
    bytes: Vec<u8>,
}

impl Documents {
    /// No documents yet, of a bundle.
    pub fn new(bundle: &Bundle) -> Self {
        Self {
            name: bundle.name,
            all: Vec::with_capacity(bundle.loans.len()),
            bytes: Vec::with_capacity(640 * bundle.loans.len()),
        }
    }

    /// The BSON of a document.
    pub fn bytes_of(&self, document: &Document) -> &[u8] {
        &self.bytes[document.bytes.clone()]
    }

    /// Document `number`, as MongoDB takes it.
    pub fn recordable(&self, number: usize) -> Recordable<'_> {
        let about = &self.all[number];
        Recordable {
            bytes: self.bytes_of(about),
            about,
        }
    }

    /// Adds an accepted loan.
    pub fn accept(&mut self, way: Way<'_>, loan: &Loan, enrichment: &Enrichment) {
        let start = self.bytes.len();
        let journey = way.journey();
        record::accepted(&mut self.bytes, &journey, loan, enrichment, NO_BATCH);
        self.add(Kind::Loans, way.loan, start);
    }

    /// Adds a failed one.
    pub fn fail(&mut self, way: Way<'_>, failure: &Failure) {
        let start = self.bytes.len();
        let journey = way.journey();
        record::failed(&mut self.bytes, &journey, failure, &way.loan.body, NO_BATCH);
        self.add(Kind::Failures, way.loan, start);
    }

    fn add(&mut self, kind: Kind, loan: &QueuedLoan, start: usize) {
        self.all.push(Document {
            kind,
            loan_id: loan.loan_id.clone(),
            attempt: loan.attempt,
            fingerprint: loan.fingerprint,
            received_us: (loan.attempt == 1).then_some(loan.received_us),
            trace: loan.trace.clone(),
            bytes: start..self.bytes.len(),
        });
    }

    /// What was decided of a bundle, made again from what Redis keeps of it. What was computed then counts, whatever this
    /// build would compute. `None` for a loan that was accepted and that this build cannot read any more.
    pub fn of(content: &Content) -> Option<Self> {
        let Content { bundle, results } = content;
        let mut documents = Self::new(bundle);
        for (loan, decision) in bundle.loans.iter().zip(&results.decisions) {
            let way = Way::new(bundle, loan, results.claimed_ms, results.processed_ms);
            match decision {
                Decision::Accepted(enrichment) => {
                    documents.accept(way, &validate(&loan.body).ok()?, enrichment);
                }
                Decision::Failed(failure) => documents.fail(way, failure),
            }
        }
        Some(documents)
    }
}

/// A loan with the instants of its way.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    loan: &'a QueuedLoan,
    queued_ms: u64,
    claimed_ms: u64,
    processed_ms: u64,
}

impl<'a> Way<'a> {
    /// The way of a loan of `bundle`.
    pub fn new(bundle: &Bundle, loan: &'a QueuedLoan, claimed_ms: u64, processed_ms: u64) -> Self {
        Self {
            loan,
            queued_ms: bundle.queued_ms,
            claimed_ms,
            processed_ms,
        }
    }

    fn journey(&self) -> Journey<'a> {
        let at = |ms: u64| DateTime::from_millis(ms as i64);
        Journey {
            loan_id: &self.loan.loan_id,
            fingerprint: self.loan.fingerprint,
            attempt: self.loan.attempt,
            received_at: at(self.loan.received_us / 1000),
            queued_at: Some(at(self.queued_ms)),
            claimed_at: Some(at(self.claimed_ms)),
            processed_at: at(self.processed_ms),
        }
    }
}

/// What the workers of this process have decided and no recorder of it has taken yet. Bounded: what does not fit is made
/// again from what Redis keeps.
#[derive(Debug)]
pub struct Handover {
    len_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    documents: HashMap<Name, Documents>,
    len: usize,
}

impl Handover {
    /// One that keeps up to `len_max` bytes of documents.
    pub fn new(len_max: usize) -> Self {
        Self {
            len_max,
            inner: Mutex::default(),
        }
    }

    /// Hands documents over, if there is room.
    pub fn put(&self, documents: Documents) {
        let mut inner = self.lock();
        let len = documents.bytes.capacity();
        if inner.len + len <= self.len_max {
            inner.len += len;
            inner.documents.insert(documents.name, documents);
        }
    }

    /// Takes the documents of a bundle.
    pub fn take(&self, name: Name) -> Option<Documents> {
        let mut inner = self.lock();
        let documents = inner.documents.remove(&name)?;
        inner.len -= documents.bytes.capacity();
        Some(documents)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each critical section leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker decided, in the form that Redis keeps and in the form that MongoDB will hold.
#[derive(Debug)]
pub struct Decided {
    /// For Redis.
    pub results: Results,
    /// For MongoDB.
    pub documents: Documents,
}
