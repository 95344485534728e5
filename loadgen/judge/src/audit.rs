//! What became of every loan that was sent, from what was found in MongoDB and Redis after the drain. Pure.
//!
//! [`Findings`] gathers what is stored, one record at a time; [`classify`] judges one loan from what was heard and what
//! was found. Records come in the order of their ids, so that when each loan was due is computed on the
//! way, and a few bytes are kept for each. A loan has two possible contents: the original, and the one that conflicts send under its
//! id. Whichever is acknowledged first is the loan; the other must be answered 422.

use std::collections::{BTreeMap, BTreeSet};

use plan::kind::{Kind, Outcome};
use plan::payload::{Arrival, CHANGED_BY_MINOR, FIELDS, Loan, Payloads, REACH};
use plan::schedule::{Schedule, Slot};
use record::ledger::Ledger;
use record::result::run::{Audit, AuditClass, AuditExample, CounterRow, EXAMPLES_PER_CLASS_MAX};
use record::stored::{Record, StoredFailure, StoredLoan};
use snapshot::Counters;

use crate::end_to_end::EndToEnd;
use crate::loan::{Answers, Content, Found, Packed, Standing, classify};

/// What is stored of all loans, gathered one record at a time.
pub struct Findings<'a> {
    payloads: &'a Payloads,
    arrivals: u32,
    /// By arrival number, one byte each.
    found: Vec<Packed>,
    /// The attempts of each loan that have a record, a bit for each of the first eight.
    attempts: Vec<u8>,
    /// The attempts beyond those.
    attempts_more: BTreeSet<(u32, i64)>,
    /// How a record differs.
    differences: BTreeMap<u32, String>,
    /// The attempt with which an operator has finished a loan: of the few that somebody has finished.
    discards: BTreeMap<u32, i64>,
    /// Records of loans that this run never sent.
    foreign: u64,
    foreign_examples: Vec<AuditExample>,
    categories: BTreeMap<String, u64>,
    loans: u64,
    failures: u64,
    discarded: u64,
    /// Whether MongoDB may have refused a loan with this amount, in hundredths.
    may_be_refused: fn(i64) -> bool,
    /// Good loans that it has refused, so that they stand among the failures.
    refused: BTreeSet<u32>,
}

/// The counter of loans that somebody has finished by hand.
pub(crate) const DISCARDED: &str = "discarded";
/// The category of a loan that MongoDB refused for good.
const REFUSED: &str = "refused";

impl<'a> Findings<'a> {
    /// Nothing found yet, of a run with `arrivals`.
    pub fn new(payloads: &'a Payloads, arrivals: u32) -> Self {
        Self {
            payloads,
            arrivals,
            found: vec![Packed::default(); arrivals as usize],
            attempts: vec![0; arrivals as usize],
            attempts_more: BTreeSet::new(),
            differences: BTreeMap::new(),
            discards: BTreeMap::new(),
            foreign: 0,
            foreign_examples: Vec::new(),
            categories: BTreeMap::new(),
            loans: 0,
            failures: 0,
            discarded: 0,
            may_be_refused: |_| false,
            refused: BTreeSet::new(),
        }
    }

    /// The same, where MongoDB was made to refuse loans with such amounts, in hundredths.
    #[must_use]
    pub fn refusing(mut self, may_be_refused: fn(i64) -> bool) -> Self {
        self.may_be_refused = may_be_refused;
        self
    }

    /// Takes a record. Returns the arrival that it records, if this run sent it.
    pub fn take(&mut self, record: &Record) -> Option<u32> {
        match record {
            Record::Loan(loan) => self.loan(loan),
            Record::Failure(failure) => self.failure(failure),
        }
    }

    /// Takes a record of `loans`. Returns the arrival that it records, if this run sent it.
    pub fn loan(&mut self, record: &StoredLoan) -> Option<u32> {
        self.loans += 1;
        let arrival = self.arrival_of("loans", &record.id)?;
        let owner = arrival.owner;
        let doubled = self.note_attempt(owner, record.attempt);
        let mut content = Content::Original;
        if let Some(difference) = difference(&arrival.loan, record) {
            let changed = Loan {
                amount_minor: arrival.loan.amount_minor + CHANGED_BY_MINOR,
                ..arrival.loan.clone()
            };
            if self::difference(&changed, record).is_none() {
                content = Content::Changed;
            } else {
                content = Content::Foreign;
                self.explain(owner, difference);
            }
        }
        let mut found = self.of(owner);
        found.loans = found.loans.saturating_add(1);
        found.doubled |= doubled;
        found.content = content;
        self.found[owner as usize] = Packed::of(found);
        Some(owner)
    }

    /// Takes a record of `failures`. Returns the arrival that it records, if this run sent it.
    pub fn failure(&mut self, record: &StoredFailure) -> Option<u32> {
        self.failures += 1;
        self.discarded += u64::from(record.discarded);
        let error_type = record.error_type.as_str();
        *self.categories.entry(error_type.to_owned()).or_default() += 1;
        let arrival = self.arrival_of("failures", &record.id)?;
        let owner = arrival.owner;
        let doubled = self.note_attempt(owner, record.attempt);
        let wrong = match arrival.outcome {
            Outcome::Failed {
                error_type: expected,
                field,
            } => (error_type != expected || !names_fault(record, expected, field)).then(|| {
                format!(
                    "sent with {expected} in {field}, recorded as {error_type} in {}",
                    faults(record)
                )
            }),
            Outcome::Accepted if error_type == REFUSED && self.may_refuse(&arrival.loan) => {
                self.refused.insert(owner);
                None
            }
            Outcome::Accepted | Outcome::Refused => Some(format!(
                "recorded as a failure, {error_type} in {}",
                faults(record)
            )),
        };
        let mut found = self.of(owner);
        found.failures = found.failures.saturating_add(1);
        found.doubled |= doubled;
        found.wrong_fault |= wrong.is_some();
        self.found[owner as usize] = Packed::of(found);
        if record.discarded {
            let last = self.discards.entry(owner).or_default();
            *last = record.attempt.max(*last);
        }
        if let Some(wrong) = wrong {
            self.explain(owner, wrong);
        }
        Some(owner)
    }

    /// Of either content that is sent under its id.
    fn may_refuse(&self, loan: &Loan) -> bool {
        [loan.amount_minor, loan.amount_minor + CHANGED_BY_MINOR]
            .into_iter()
            .any(self.may_be_refused)
    }

    /// What should have become of one loan of this kind, as far as it was not for MongoDB to decide.
    pub fn outcome_of(&self, number: u32, kind: Kind) -> Outcome {
        if self.refused.contains(&number) {
            Outcome::Failed {
                error_type: REFUSED,
                field: "$",
            }
        } else {
            outcome_of(self.payloads, number, kind)
        }
    }

    /// Takes an id that is still in Redis.
    pub fn stuck(&mut self, loan_id: &str) {
        if let Some(number) = self.number_of(loan_id) {
            let mut found = self.of(number);
            found.stuck = true;
            self.found[number as usize] = Packed::of(found);
        }
    }

    /// What was found of one loan.
    pub fn of(&self, number: u32) -> Found {
        let mut found = self
            .found
            .get(number as usize)
            .map_or_else(Found::default, |packed| packed.unpack());
        if let Some(&finished) = self.discards.get(&number) {
            let is_later = |attempt: &i64| *attempt > finished;
            found.went_on = found.loans > 0 || self.attempts_of(number).iter().any(is_later);
        }
        found
    }

    /// The attempts of one loan that have a record, in order.
    pub fn attempts_of(&self, number: u32) -> Vec<i64> {
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
    pub fn difference_of(&self, number: u32) -> Option<&str> {
        self.differences.get(&number).map(String::as_str)
    }

    /// Records found.
    pub const fn records(&self) -> u64 {
        self.loans + self.failures
    }

    /// Records of loans that this run never sent, with examples.
    pub fn foreign(&self) -> (u64, &[AuditExample]) {
        (self.foreign, &self.foreign_examples)
    }

    fn number_of(&self, loan_id: &str) -> Option<u32> {
        let number = self.payloads.number_of(loan_id)?;
        (number < self.arrivals && self.payloads.kind_and_owner(number).1 == number)
            .then_some(number)
    }

    /// The arrival of a record. A second copy may carry something after a `#` in its id.
    fn arrival_of(&mut self, collection: &str, id: &str) -> Option<Arrival> {
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
    /// How long loans took from end to end.
    pub end_to_end: EndToEnd,
    /// Records that were read.
    pub records: u64,
}

impl Audited {
    /// The result of an audit that could not be made. It proves nothing.
    pub fn none(phases: usize) -> Self {
        Self {
            audit: Audit::default(),
            counters: Vec::new(),
            end_to_end: EndToEnd::new(phases),
            records: 0,
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

/// The arrivals that repeat others. Asked in order, it looks a bounded way ahead and keeps only that.
pub(crate) struct Repeats<'a> {
    payloads: &'a Payloads,
    arrivals: u32,
    /// The first arrival that was not looked at.
    next: u32,
    /// Owner, repeat and its kind.
    ahead: BTreeSet<(u32, u32, Kind)>,
}

impl<'a> Repeats<'a> {
    pub(crate) const fn of(payloads: &'a Payloads, arrivals: u32) -> Self {
        Self {
            payloads,
            arrivals,
            next: 0,
            ahead: BTreeSet::new(),
        }
    }

    /// Those that repeat arrival `owner`, in order. Owners are asked for from the first to the last.
    pub(crate) fn of_owner(&mut self, owner: u32) -> Vec<(u32, Kind)> {
        let until = owner.saturating_add(REACH + 1).min(self.arrivals);
        while self.next < until {
            let (kind, of) = self.payloads.kind_and_owner(self.next);
            if of != self.next {
                self.ahead.insert((of, self.next, kind));
            }
            self.next += 1;
        }
        let mut found = Vec::new();
        while let Some(first) = self.ahead.first().copied().filter(|first| first.0 <= owner) {
            self.ahead.pop_first();
            if first.0 == owner {
                found.push((first.1, first.2));
            }
        }
        found
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
    let mut repeats = Repeats::of(payloads, ledger.heard.len() as u32);
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
        let kind = payloads.kind_and_owner(number).0;
        if !kind.owns_its_id() {
            continue;
        }
        let mut original = Answers::default();
        let mut changed = Answers::default();
        original.add(*heard);
        let mut again: Vec<(u32, Kind)> = Vec::new();
        again.extend(repeats.of_owner(number));
        for (repeat, kind) in &again {
            let heard = ledger.heard[*repeat as usize];
            if *kind == Kind::Conflict {
                changed.add(heard);
            } else {
                original.add(heard);
            }
        }
        let found = findings.of(number);
        let arrival_outcome = outcome_of(payloads, number, kind);
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
                        kind,
                        dues.slot(number),
                        ledger,
                        number,
                        &again,
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

/// What should become of arrival `number` of this kind.
pub fn outcome_of(payloads: &Payloads, number: u32, kind: Kind) -> Outcome {
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
        (loans, 0) => format!("{} in loans", records(loans)),
        (0, _) => "recorded in failures".to_owned(),
        (loans, _) => format!("{} in loans, and recorded in failures", records(loans)),
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

fn records(loans: u8) -> String {
    match loans {
        1 => "1 record".to_owned(),
        2 => "2 records".to_owned(),
        _ => "3 records or more".to_owned(),
    }
}

/// The live counters beside what was found. `admitted`, `replayed` and `requests_unknown` are what the answers say.
pub fn counter_rows(
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
    let discarded = exact(DISCARDED, |counters| counters.discarded, findings.discarded);
    // No scenario discards; who does so by hand meanwhile sees that it is counted.
    if findings.discarded > 0 || discarded.live.is_some_and(|live| live > 0) {
        rows.push(discarded);
    }
    debug_assert!(audit.complete, "rows of an audit that ran to its end");
    rows
}

/// The first field of a record that differs from what was sent, in words.
fn difference(loan: &Loan, stored: &StoredLoan) -> Option<String> {
    FIELDS
        .iter()
        .zip(stored.fields.iter())
        .find_map(|(field, stored)| {
            let sent = (field.of)(loan);
            let key = field.stored.rsplit('.').next().unwrap_or(field.stored);
            (&sent != stored).then(|| differs(key, sent.as_ref(), stored.as_ref()))
        })
}

fn differs<T: std::fmt::Display>(key: &str, sent: Option<T>, stored: Option<T>) -> String {
    format!("{key}: sent {}, stored {}", shown(sent), shown(stored))
}

fn shown<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}

fn names_fault(record: &StoredFailure, error_type: &str, field: &str) -> bool {
    record.faults.iter().any(|fault| {
        fault.error_type.as_deref() == Some(error_type) && fault.field.as_deref() == Some(field)
    })
}

fn faults(record: &StoredFailure) -> String {
    let fields: Vec<&str> = record
        .faults
        .iter()
        .filter_map(|fault| fault.field.as_deref())
        .collect();
    if fields.is_empty() {
        "no field".to_owned()
    } else {
        fields.join(", ")
    }
}

#[cfg(test)]
mod tests;
