//! What became of every loan that was sent, from MongoDB and Redis read directly after the drain.
//!
//! [`Findings`] gathers what is stored, one record at a time; [`classify`] judges one loan from what was heard and what
//! was found. Both are pure. Records come in the order of their ids, so that when each loan was due is computed on the
//! way, and a few bytes are kept for each. A loan has two possible contents: the original, and the one that conflicts send under its
//! id. Whichever is acknowledged first is the loan; the other must be answered 422.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures_util::TryStreamExt;
use hdrhistogram::Histogram;
use mongodb::bson::{Bson, Document, oid::ObjectId};
use service::snapshot::Counters;

use crate::histogram::{empty, record};
use crate::payload::{Arrival, Kind, Loan, Outcome, Payloads};
use crate::report::{Audit, AuditClass, AuditExample, CounterRow, EXAMPLES_PER_CLASS_MAX};
use crate::sample::{Heard, Ledger, RunClock};
use crate::schedule::{Schedule, Slot};
use crate::stores::{StoreError, Stores};

/// What was heard about one content of a loan, over all arrivals that sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// A request left.
    pub sent: bool,
    /// At least one 202.
    pub acknowledged: bool,
    /// At least one request without a definite answer.
    pub unknown: bool,
    /// At least one 422.
    pub conflict: bool,
    /// At least one other refusal.
    pub refused: bool,
    /// At least one 400.
    pub malformed: bool,
}

impl Answers {
    /// Adds what one arrival heard.
    pub const fn add(&mut self, heard: Heard) {
        self.sent |= heard.is_sent();
        self.acknowledged |= heard.is_acknowledged();
        self.unknown |= heard.has_unknown();
        self.conflict |= heard.is_conflict();
        self.refused |= heard.is_refused() && !heard.is_conflict();
        self.malformed |= heard.is_malformed();
    }
}

/// Which content a record holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// As the original was sent.
    #[default]
    Original,
    /// As a conflict was sent.
    Changed,
    /// As nobody sent it.
    Foreign,
}

/// What is stored of one loan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Records in `loans`.
    pub loans: u8,
    /// Records in `failures`.
    pub failures: u8,
    /// Two records of the same attempt.
    pub doubled: bool,
    /// What the record in `loans` holds.
    pub content: Content,
    /// A failure names another category or field than the spoilt one.
    pub wrong_fault: bool,
    /// Still in Redis.
    pub stuck: bool,
}

/// What the answers promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing left.
    Unsent,
    /// Answered 202 at least once.
    Acknowledged,
    /// Definite refusals only.
    Rejected,
    /// No definite answer: stored or not, either is legal.
    Unknown,
}

/// The judgement on one loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the classes of the report")]
pub struct Judgement {
    pub standing: Standing,
    pub lost: bool,
    pub duplicated: bool,
    pub unexpected: bool,
    pub mismatched: bool,
    pub stuck: bool,
}

/// Judges one loan: `outcome` is what should become of the original, `original` and `changed` what was heard about
/// each content, `found` what is stored.
pub const fn classify(
    outcome: Outcome,
    original: Answers,
    changed: Answers,
    found: Found,
) -> Judgement {
    let stored = found.loans > 0 || found.failures > 0;
    let standing = if original.acknowledged || changed.acknowledged {
        Standing::Acknowledged
    } else if original.unknown || changed.unknown {
        Standing::Unknown
    } else if original.sent || changed.sent {
        Standing::Rejected
    } else {
        Standing::Unsent
    };
    let refusable = matches!(outcome, Outcome::Refused);
    // The wrong answer: a refusal of what must be taken, or a promise for what must be refused.
    let wrong_answer = if refusable {
        original.acknowledged || original.conflict || (original.refused && !original.malformed)
    } else {
        original.refused
            || changed.refused
            || (original.acknowledged && changed.acknowledged)
            || (original.conflict && !(changed.acknowledged || changed.unknown))
    };
    // With one content acknowledged, the record must hold that one; with none, one that may have arrived.
    let content_allowed = match found.content {
        Content::Original => original.acknowledged || (!changed.acknowledged && original.unknown),
        Content::Changed => changed.acknowledged || (!original.acknowledged && changed.unknown),
        Content::Foreign => false,
    };
    let wrong_record = match outcome {
        Outcome::Accepted => found.failures > 0 || (found.loans > 0 && !content_allowed),
        Outcome::Failed { .. } => found.loans > 0 || found.wrong_fault,
        Outcome::Refused => false,
    };
    let unexpected =
        stored && (refusable || matches!(standing, Standing::Rejected | Standing::Unsent));
    Judgement {
        standing,
        lost: matches!(standing, Standing::Acknowledged) && !refusable && !stored && !found.stuck,
        duplicated: found.doubled || found.loans > 1,
        unexpected,
        mismatched: wrong_answer || (wrong_record && !unexpected),
        stuck: found.stuck,
    }
}

/// What is stored of all loans, gathered one record at a time.
pub struct Findings<'a> {
    payloads: &'a Payloads,
    arrivals: u32,
    /// By arrival number.
    found: Vec<Found>,
    /// The attempts of each loan that have a record, a bit for each of the first eight.
    attempts: Vec<u8>,
    /// The attempts beyond those.
    attempts_more: BTreeSet<(u32, i64)>,
    /// How a record differs.
    differences: BTreeMap<u32, String>,
    /// Records of loans that this run never sent.
    foreign: u64,
    foreign_examples: Vec<AuditExample>,
    categories: BTreeMap<String, u64>,
    loans: u64,
    failures: u64,
}

impl<'a> Findings<'a> {
    /// Nothing found yet, of a run with `arrivals`.
    pub fn new(payloads: &'a Payloads, arrivals: u32) -> Self {
        Self {
            payloads,
            arrivals,
            found: vec![Found::default(); arrivals as usize],
            attempts: vec![0; arrivals as usize],
            attempts_more: BTreeSet::new(),
            differences: BTreeMap::new(),
            foreign: 0,
            foreign_examples: Vec::new(),
            categories: BTreeMap::new(),
            loans: 0,
            failures: 0,
        }
    }

    /// Takes a document of `loans`. Returns the arrival that it records, if this run sent it.
    pub fn loan(&mut self, document: &Document) -> Option<u32> {
        self.loans += 1;
        let arrival = self.arrival_of("loans", document)?;
        let owner = arrival.owner;
        let doubled = self.note_attempt(owner, attempt(document));
        let mut content = Content::Original;
        if let Some(difference) = difference(&arrival.loan, document) {
            let changed = Loan {
                amount_minor: arrival.loan.amount_minor + 100,
                ..arrival.loan.clone()
            };
            if self::difference(&changed, document).is_none() {
                content = Content::Changed;
            } else {
                content = Content::Foreign;
                self.explain(owner, difference);
            }
        }
        let found = &mut self.found[owner as usize];
        found.loans = found.loans.saturating_add(1);
        found.doubled |= doubled;
        found.content = content;
        Some(owner)
    }

    /// Takes a document of `failures`. Returns the arrival that it records, if this run sent it.
    pub fn failure(&mut self, document: &Document) -> Option<u32> {
        self.failures += 1;
        let error_type = document.get_str("errorType").unwrap_or_default();
        *self.categories.entry(error_type.to_owned()).or_default() += 1;
        let arrival = self.arrival_of("failures", document)?;
        let owner = arrival.owner;
        let doubled = self.note_attempt(owner, attempt(document));
        let wrong = match arrival.outcome {
            Outcome::Failed {
                error_type: expected,
                field,
            } => (error_type != expected || !names_fault(document, expected, field)).then(|| {
                format!(
                    "sent with {expected} in {field}, recorded as {error_type} in {}",
                    faults(document)
                )
            }),
            Outcome::Accepted | Outcome::Refused => Some(format!(
                "recorded as a failure, {error_type} in {}",
                faults(document)
            )),
        };
        let found = &mut self.found[owner as usize];
        found.failures = found.failures.saturating_add(1);
        found.doubled |= doubled;
        found.wrong_fault |= wrong.is_some();
        if let Some(wrong) = wrong {
            self.explain(owner, wrong);
        }
        Some(owner)
    }

    /// Takes an id that is still in Redis.
    pub fn stuck(&mut self, loan_id: &str) {
        if let Some(number) = self.number_of(loan_id) {
            self.found[number as usize].stuck = true;
        }
    }

    /// What was found of one loan.
    pub(crate) fn of(&self, number: u32) -> Found {
        self.found.get(number as usize).copied().unwrap_or_default()
    }

    /// The attempts of one loan that have a record, in order.
    pub(crate) fn attempts_of(&self, number: u32) -> Vec<i64> {
        let bits = self.attempts.get(number as usize).copied().unwrap_or(0);
        let more = self
            .attempts_more
            .range((number, i64::MIN)..=(number, i64::MAX));
        let mut attempts: Vec<i64> = (1..=8)
            .filter(|attempt| bits & (1 << (attempt - 1)) != 0)
            .chain(more.map(|(_, attempt)| *attempt))
            .collect();
        attempts.sort_unstable();
        attempts
    }

    /// How a record of one loan differs from what was sent.
    pub(crate) fn difference_of(&self, number: u32) -> Option<&str> {
        self.differences.get(&number).map(String::as_str)
    }

    /// Records found.
    pub(crate) const fn records(&self) -> u64 {
        self.loans + self.failures
    }

    /// Records of loans that this run never sent, with examples.
    pub(crate) fn foreign(&self) -> (u64, &[AuditExample]) {
        (self.foreign, &self.foreign_examples)
    }

    fn number_of(&self, loan_id: &str) -> Option<u32> {
        let number = self.payloads.number_of(loan_id)?;
        (number < self.arrivals && self.payloads.kind_and_owner(number).1 == number)
            .then_some(number)
    }

    /// The arrival of a record. A second copy may carry something after a `#` in its id.
    fn arrival_of(&mut self, collection: &str, document: &Document) -> Option<Arrival> {
        let id = document.get_str("_id").unwrap_or_default();
        let loan_id = id.split('#').next().unwrap_or_default();
        if let Some(number) = self.number_of(loan_id) {
            return Some(self.payloads.arrival(number));
        }
        self.foreign += 1;
        if self.foreign_examples.len() < EXAMPLES_PER_CLASS_MAX {
            self.foreign_examples.push(AuditExample {
                class: AuditClass::Unexpected,
                loan_id: loan_id.to_owned(),
                story: format!("stored in {collection} and never sent by this run"),
            });
        }
        None
    }

    /// Notes an attempt that ended in a record. True when that attempt had one before.
    fn note_attempt(&mut self, owner: u32, attempt: i64) -> bool {
        match attempt.checked_sub(1).filter(|bit| (0..8).contains(bit)) {
            Some(bit) => {
                let seen = &mut self.attempts[owner as usize];
                let doubled = *seen & (1 << bit) != 0;
                *seen |= 1 << bit;
                doubled
            }
            None => !self.attempts_more.insert((owner, attempt)),
        }
    }

    fn explain(&mut self, owner: u32, difference: String) {
        if self.differences.len() < 10 * EXAMPLES_PER_CLASS_MAX {
            self.differences.insert(owner, difference);
        }
    }
}

/// The result of an audit.
#[derive(Debug)]
pub struct Audited {
    /// The counts and examples.
    pub audit: Audit,
    /// The live counters beside them.
    pub counters: Vec<CounterRow>,
    /// End-to-end latency by phase, microseconds.
    pub end_to_end: Vec<Histogram<u64>>,
}

impl Audited {
    /// The result of an audit that could not be made. It proves nothing.
    pub fn none(phases: usize) -> Self {
        Self {
            audit: Audit::default(),
            counters: Vec::new(),
            end_to_end: vec![empty(); phases],
        }
    }
}

/// When each arrival was due. Asked in order, it walks the schedule once and keeps nothing.
pub struct Dues<'a> {
    schedule: &'a Schedule,
    slots: Box<dyn Iterator<Item = Slot> + Send + 'a>,
    last: Option<Slot>,
}

impl<'a> Dues<'a> {
    /// At the start of `schedule`.
    pub fn new(schedule: &'a Schedule) -> Self {
        Self {
            schedule,
            slots: Box::new(schedule.slots()),
            last: None,
        }
    }

    /// The slot of arrival `number`; `None` beyond the schedule.
    pub fn slot(&mut self, number: u32) -> Option<Slot> {
        if self.last.is_some_and(|last| last.number > number) {
            *self = Self::new(self.schedule);
        }
        while self.last.is_none_or(|last| last.number < number) {
            self.last = Some(self.slots.next()?);
        }
        self.last
    }
}

/// Judges every loan of the run. `counters` are the live counters before and after, `requests_unknown` the requests
/// without a definite answer: each may have been counted by the service as a replay.
pub fn judge(
    payloads: &Payloads,
    schedule: &Schedule,
    ledger: &Ledger,
    findings: &Findings<'_>,
    counters: Option<(&Counters, &Counters)>,
    requests_unknown: u64,
) -> (Audit, Vec<CounterRow>) {
    let mut repeats: HashMap<u32, Vec<(u32, Kind)>> = HashMap::new();
    let mut kinds = Vec::with_capacity(ledger.heard.len());
    for number in 0..ledger.heard.len() as u32 {
        let (kind, owner) = payloads.kind_and_owner(number);
        kinds.push(kind);
        if owner != number {
            repeats.entry(owner).or_default().push((number, kind));
        }
    }
    let mut audit = Audit {
        complete: true,
        unexpected: findings.foreign,
        examples: findings.foreign_examples.clone(),
        ..Audit::default()
    };
    let mut dues = Dues::new(schedule);
    let mut replayed = 0;
    let mut examples: BTreeMap<AuditClass, u64> = BTreeMap::new();
    for (number, heard) in (0u32..).zip(&ledger.heard) {
        replayed += u64::from(heard.is_replayed());
        if !kinds[number as usize].owns_its_id() {
            continue;
        }
        let mut original = Answers::default();
        let mut changed = Answers::default();
        original.add(*heard);
        let again = repeats.get(&number).map_or(&[][..], Vec::as_slice);
        for (repeat, kind) in again {
            let heard = ledger.heard[*repeat as usize];
            if *kind == Kind::Conflict {
                changed.add(heard);
            } else {
                original.add(heard);
            }
        }
        let found = findings
            .found
            .get(number as usize)
            .copied()
            .unwrap_or_default();
        let arrival_outcome = outcome_of(payloads, number, kinds[number as usize]);
        let judgement = classify(arrival_outcome, original, changed, found);
        let stored = found.loans > 0 || found.failures > 0;
        match judgement.standing {
            Standing::Unsent => {}
            Standing::Acknowledged => audit.acknowledged += 1,
            Standing::Rejected => audit.rejected += 1,
            Standing::Unknown => {
                audit.unknown += 1;
                audit.unknown_stored += u64::from(stored);
            }
        }
        audit.ids += u64::from(judgement.standing != Standing::Unsent);
        audit.recorded += u64::from(found.loans > 0);
        audit.failed += u64::from(found.loans == 0 && found.failures > 0);
        audit.lost += u64::from(judgement.lost);
        audit.duplicated += u64::from(judgement.duplicated);
        audit.unexpected += u64::from(judgement.unexpected);
        audit.mismatched += u64::from(judgement.mismatched);
        audit.stuck += u64::from(judgement.stuck);
        for (is_one, class) in [
            (judgement.lost, AuditClass::Lost),
            (judgement.duplicated, AuditClass::Duplicated),
            (judgement.unexpected, AuditClass::Unexpected),
            (judgement.mismatched, AuditClass::Mismatched),
            (judgement.stuck, AuditClass::Stuck),
            (judgement.standing == Standing::Unknown, AuditClass::Unknown),
        ] {
            let seen = examples.entry(class).or_default();
            if is_one && *seen < EXAMPLES_PER_CLASS_MAX as u64 {
                *seen += 1;
                audit.examples.push(AuditExample {
                    class,
                    loan_id: payloads.loan_id(number),
                    story: story(
                        kinds[number as usize],
                        dues.slot(number),
                        ledger,
                        number,
                        again,
                        found,
                        findings.differences.get(&number),
                    ),
                });
            }
        }
    }
    let admitted = audit.acknowledged + audit.unknown_stored;
    let rows = counter_rows(
        &audit,
        findings,
        counters,
        admitted,
        replayed,
        requests_unknown,
    );
    (audit, rows)
}

pub(crate) fn outcome_of(payloads: &Payloads, number: u32, kind: Kind) -> Outcome {
    match kind {
        Kind::Valid | Kind::Retry | Kind::Duplicate => Outcome::Accepted,
        Kind::Malformed | Kind::Conflict => Outcome::Refused,
        _ => payloads.arrival(number).outcome,
    }
}

/// What happened to one loan, in words.
fn story(
    kind: Kind,
    due: Option<Slot>,
    ledger: &Ledger,
    number: u32,
    repeats: &[(u32, Kind)],
    found: Found,
    difference: Option<&String>,
) -> String {
    let heard = |number: u32| {
        let heard = ledger.heard[number as usize];
        let before = if heard.has_unknown() && !heard.is_unknown() {
            ", after a request without a definite answer"
        } else {
            ""
        };
        format!("{}{before}", heard.words())
    };
    let due = due.map_or_else(
        || "never due".to_owned(),
        |slot| format!("due at {:.3} s", slot.offset.as_secs_f64()),
    );
    let mut words = vec![format!("{kind}, {due}, {}", heard(number))];
    words.extend(
        repeats
            .iter()
            .take(5)
            .map(|(repeat, kind)| format!("{kind} (arrival {repeat}) {}", heard(*repeat))),
    );
    words.push(match (found.loans, found.failures) {
        (0, 0) => "stored nowhere".to_owned(),
        (loans, failures) => format!("{loans} records in loans, {failures} in failures"),
    });
    if found.stuck {
        words.push("still in Redis".to_owned());
    }
    if let Some(difference) = difference {
        words.push(difference.clone());
    } else if found.content == Content::Changed && found.loans > 0 {
        words.push("the record holds the conflicting content".to_owned());
    }
    words.join("; ")
}

pub(crate) fn counter_rows(
    audit: &Audit,
    findings: &Findings<'_>,
    counters: Option<(&Counters, &Counters)>,
    admitted: u64,
    replayed: u64,
    requests_unknown: u64,
) -> Vec<CounterRow> {
    let row = |name: &str, live: Option<u64>, lowest: u64, highest: u64| CounterRow {
        name: name.to_owned(),
        live,
        audit: lowest,
        audit_max: highest,
        agree: live.is_some_and(|live| (lowest..=highest).contains(&live)),
    };
    let exact = |name: &str, of: fn(&Counters) -> u64, count: u64| {
        let live = counters.map(|(before, after)| of(after).saturating_sub(of(before)));
        row(name, live, count, count)
    };
    let replays = counters.map(|(before, after)| after.replayed.saturating_sub(before.replayed));
    let mut rows = vec![
        exact("admitted", |counters| counters.admitted, admitted),
        row("replayed", replays, replayed, replayed + requests_unknown),
        exact("accepted", |counters| counters.accepted, findings.loans),
    ];
    let mut categories: Vec<&String> = findings.categories.keys().collect();
    if let Some((_, after)) = counters {
        categories.extend(after.failed.keys());
    }
    categories.sort_unstable();
    categories.dedup();
    for category in categories {
        let stored = findings.categories.get(category).copied().unwrap_or(0);
        let of = |counters: &Counters| counters.failed.get(category).copied().unwrap_or(0);
        let live = counters.map(|(before, after)| of(after).saturating_sub(of(before)));
        if stored > 0 || live.is_some_and(|live| live > 0) {
            rows.push(row(&format!("failed.{category}"), live, stored, stored));
        }
    }
    rows.push(exact(
        "recordedLoans",
        |counters| counters.recorded_loans,
        findings.loans,
    ));
    rows.push(exact(
        "recordedFailures",
        |counters| counters.recorded_failures,
        findings.failures,
    ));
    debug_assert!(audit.complete, "rows of an audit that ran to its end");
    rows
}

/// What the audit of one run reads and compares.
pub struct Question<'a> {
    /// The stores to read.
    pub stores: &'a Stores,
    /// What was sent.
    pub payloads: &'a Payloads,
    /// What was heard.
    pub ledger: &'a Ledger,
    /// The clock of the run.
    pub clock: RunClock,
    /// When each arrival was due.
    pub schedule: &'a Schedule,
    /// Live counters before the load and after the drain.
    pub counters: Option<(&'a Counters, &'a Counters)>,
    /// Requests without a definite answer.
    pub requests_unknown: u64,
    /// The database holds this run only, so that every record in it is judged.
    pub private: bool,
}

/// Reads everything that is stored and judges every loan.
///
/// # Errors
/// When Redis or MongoDB does not answer.
pub async fn audit(question: &Question<'_>) -> Result<Audited, StoreError> {
    let batches = question.stores.batches().await?;
    let mut end_to_end = vec![empty(); question.schedule.phases().len()];
    let mut findings = Findings::new(question.payloads, question.ledger.heard.len() as u32);
    let prefix = question.payloads.prefix();
    let prefix = (!question.private).then_some(prefix.as_str());
    for collection in ["loans", "failures"] {
        let mut dues = Dues::new(question.schedule);
        let mut documents = question.stores.documents(collection, prefix).await?;
        while let Some(document) = documents.try_next().await? {
            let owner = if collection == "loans" {
                findings.loan(&document)
            } else {
                findings.failure(&document)
            };
            // Without its batch, a record's confirmation was not seen: the service ended in between.
            if let Some(owner) = owner
                && let Some(confirmed_us) = confirmed_us(&document, &batches)
                && let Some(slot) = dues.slot(owner)
            {
                let due_us = question.clock.wall_us(slot.offset);
                let latency_us = (confirmed_us - due_us).max(0) as u64;
                record(
                    &mut end_to_end[usize::from(slot.phase)],
                    Duration::from_micros(latency_us),
                );
            }
        }
    }
    for id in question.stores.stuck().await? {
        findings.stuck(&id);
    }
    let (audit, counters) = judge(
        question.payloads,
        question.schedule,
        question.ledger,
        &findings,
        question.counters,
        question.requests_unknown,
    );
    Ok(Audited {
        audit,
        counters,
        end_to_end,
    })
}

fn confirmed_us(document: &Document, batches: &HashMap<ObjectId, i64>) -> Option<i64> {
    batches.get(&document.get_object_id("batch").ok()?).copied()
}

fn attempt(document: &Document) -> i64 {
    whole(document, "attempt").unwrap_or(1)
}

/// An integer of any width.
fn whole(document: &Document, key: &str) -> Option<i64> {
    match document.get(key) {
        Some(Bson::Int32(value)) => Some(i64::from(*value)),
        Some(Bson::Int64(value)) => Some(*value),
        _ => None,
    }
}

/// The first field of a record that differs from what was sent, in words.
fn difference(loan: &Loan, document: &Document) -> Option<String> {
    let nothing = Document::new();
    let applicant = document.get_document("applicant").unwrap_or(&nothing);
    let numbers = [
        (document, "amountMinor", Some(loan.amount_minor)),
        (document, "termMonths", Some(i64::from(loan.term_months))),
        (document, "creditScore", Some(i64::from(loan.credit_score))),
        (applicant, "annualIncomeMinor", loan.annual_income_minor),
        (applicant, "ageYears", loan.age_years.map(i64::from)),
    ];
    for (place, key, sent) in numbers {
        let stored = whole(place, key);
        if stored != sent {
            return Some(format!(
                "{key}: sent {}, stored {}",
                shown(sent),
                shown(stored)
            ));
        }
    }
    let texts = [
        (document, "currency", Some(loan.currency)),
        (document, "purpose", Some(loan.purpose.as_str())),
        (applicant, "name", Some(loan.name.as_str())),
        (applicant, "email", Some(loan.email.as_str())),
        (applicant, "phone", loan.phone.as_deref()),
    ];
    for (place, key, sent) in texts {
        let stored = place.get_str(key).ok();
        if stored != sent {
            return Some(format!(
                "{key}: sent {}, stored {}",
                shown(sent),
                shown(stored)
            ));
        }
    }
    None
}

fn shown<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}

fn fault_list(document: &Document) -> impl Iterator<Item = &Document> {
    document
        .get_array("faults")
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .filter_map(Bson::as_document)
}

fn names_fault(document: &Document, error_type: &str, field: &str) -> bool {
    fault_list(document).any(|fault| {
        fault.get_str("errorType").ok() == Some(error_type)
            && fault.get_str("field").ok() == Some(field)
    })
}

fn faults(document: &Document) -> String {
    let fields: Vec<&str> = fault_list(document)
        .filter_map(|fault| fault.get_str("field").ok())
        .collect();
    if fields.is_empty() {
        "no field".to_owned()
    } else {
        fields.join(", ")
    }
}

#[cfg(test)]
mod tests;
