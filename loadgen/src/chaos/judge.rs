//! The checker: what the history promises against what is stored. Pure.
//!
//! | | must hold |
//! |---|---|
//! | I1 | what was answered 202 is stored (lost otherwise) |
//! | I2 | each attempt of a loan has one record, each loan one end, and one answer at most calls it new (duplicated) |
//! | I3 | what is stored was sent, and not refused (unexpected) |
//! | I4 | what is stored is what was acknowledged, and ended as it had to (mismatched) |
//! | I5 | nothing is left in Redis (stuck) |
//! | I6 | the counters say the same as the records |

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use service::snapshot::Counters;

use super::history::{Event, Request};
use crate::audit::{Answers, Findings, Found, Standing, classify, counter_rows, outcome_of};
use crate::payload::{Kind, Payloads};
use crate::report::{Audit, AuditClass, AuditExample, CounterRow, EXAMPLES_PER_CLASS_MAX};

/// Requests of one loan that a story tells; the rest is counted.
const TOLD_MAX: usize = 8;

/// What the checker found.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// The classes with examples.
    pub audit: Audit,
    /// The counters beside it.
    pub counters: Vec<CounterRow>,
    /// Arrivals that never had a definite answer.
    pub unanswered: u64,
}

/// What the history says of one loan.
#[derive(Clone, Debug, Default)]
struct Heard {
    original: Answers,
    changed: Answers,
    /// Answers that called the loan new.
    news: u32,
    /// Answers that called it known.
    replays: u64,
    /// Indexes of its requests.
    requests: Vec<usize>,
}

/// Judges every loan. `counters` are Redis's own before and after.
pub fn judge(
    payloads: &Payloads,
    requests: &[Request],
    findings: &Findings<'_>,
    counters: (&Counters, &Counters),
) -> Judged {
    let mut heard: BTreeMap<u32, Heard> = BTreeMap::new();
    let mut kinds: HashMap<u32, (Kind, u32)> = HashMap::new();
    let mut unknown_requests = 0;
    for (index, request) in requests.iter().enumerate() {
        let (kind, owner) = *kinds
            .entry(request.arrival)
            .or_insert_with(|| payloads.kind_and_owner(request.arrival));
        let loan = heard.entry(owner).or_default();
        loan.requests.push(index);
        unknown_requests += u64::from(request.event == Event::Info);
        let answers = if kind == Kind::Conflict {
            &mut loan.changed
        } else {
            &mut loan.original
        };
        note(answers, request);
        if request.event == Event::Ok {
            if request.replayed {
                loan.replays += 1;
            } else {
                loan.news += 1;
            }
        }
    }
    let (foreign, foreign_examples) = findings.foreign();
    let mut audit = Audit {
        complete: true,
        unexpected: foreign,
        examples: foreign_examples.to_vec(),
        ..Audit::default()
    };
    let mut replays = 0;
    let mut retries = 0;
    let mut told: BTreeMap<AuditClass, usize> = BTreeMap::new();
    for (number, loan) in &heard {
        let number = *number;
        let kind = payloads.kind_and_owner(number).0;
        let found = findings.of(number);
        let attempts = findings.attempts_of(number);
        let outcome = outcome_of(payloads, number, kind);
        let judged = classify(outcome, loan.original, loan.changed, found);
        let is_stored = found.loans > 0 || found.failures > 0;
        let has_unknown = loan.original.unknown || loan.changed.unknown;
        // A loan can be new once only; and it cannot be known before it was new.
        let is_new_twice = loan.news > 1;
        let was_never_new = loan.news == 0 && loan.replays > 0 && !has_unknown;
        let has_gap = has_gap(&attempts);
        match judged.standing {
            Standing::Unsent => {}
            Standing::Acknowledged => audit.acknowledged += 1,
            Standing::Rejected => audit.rejected += 1,
            Standing::Unknown => {
                audit.unknown += 1;
                audit.unknown_stored += u64::from(is_stored);
            }
        }
        replays += loan.replays;
        retries += attempts.len().saturating_sub(1) as u64;
        audit.ids += 1;
        audit.recorded += u64::from(found.loans > 0);
        audit.failed += u64::from(found.loans == 0 && found.failures > 0);
        for (is_one, class, count) in [
            (judged.lost || has_gap, AuditClass::Lost, &mut audit.lost),
            (
                judged.duplicated || is_new_twice,
                AuditClass::Duplicated,
                &mut audit.duplicated,
            ),
            (
                judged.unexpected,
                AuditClass::Unexpected,
                &mut audit.unexpected,
            ),
            (
                judged.mismatched || was_never_new,
                AuditClass::Mismatched,
                &mut audit.mismatched,
            ),
            (judged.stuck, AuditClass::Stuck, &mut audit.stuck),
        ] {
            if !is_one {
                continue;
            }
            *count += 1;
            let told = told.entry(class).or_default();
            if *told < EXAMPLES_PER_CLASS_MAX {
                *told += 1;
                audit.examples.push(AuditExample {
                    class,
                    loan_id: payloads.loan_id(number),
                    story: story(
                        kind,
                        loan,
                        requests,
                        &kinds,
                        found,
                        &attempts,
                        findings.difference_of(number),
                    ),
                });
            }
        }
    }
    let admitted = audit.acknowledged + audit.unknown_stored;
    let (before, after) = counters;
    let retried = after.retried.saturating_sub(before.retried);
    let mut counters = counter_rows(
        &audit,
        findings,
        Some(counters),
        admitted,
        replays,
        unknown_requests,
    );
    // Each retry is an attempt, and each attempt has a record.
    counters.push(CounterRow {
        name: "retried".to_owned(),
        live: Some(retried),
        audit: retries,
        audit_max: retries,
        agree: retried == retries,
    });
    let answered: HashSet<u32> = requests
        .iter()
        .filter(|request| request.event != Event::Info)
        .map(|request| request.arrival)
        .collect();
    Judged {
        audit,
        counters,
        unanswered: (kinds.len() - answered.len()) as u64,
    }
}

fn note(answers: &mut Answers, request: &Request) {
    answers.sent = true;
    match (request.event, request.status) {
        (Event::Ok, _) => answers.acknowledged = true,
        (Event::Fail, Some(422)) => answers.conflict = true,
        (Event::Fail, Some(400)) => {
            answers.malformed = true;
            answers.refused = true;
        }
        (Event::Fail, _) => answers.refused = true,
        _ => answers.unknown = true,
    }
}

/// Whether the recorded attempts are not 1, 2, 3 ...: an attempt in between has no record.
fn has_gap(attempts: &[i64]) -> bool {
    let mut sorted = attempts.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    (1..)
        .zip(&sorted)
        .any(|(wanted, attempt)| wanted != *attempt)
}

/// What happened to one loan, in words.
fn story(
    kind: Kind,
    loan: &Heard,
    requests: &[Request],
    kinds: &HashMap<u32, (Kind, u32)>,
    found: Found,
    attempts: &[i64],
    difference: Option<&str>,
) -> String {
    let mut words = vec![kind.name().to_owned()];
    for index in loan.requests.iter().take(TOLD_MAX) {
        let request = &requests[*index];
        let answer = match request.event {
            Event::Ok if request.replayed => "202 replayed".to_owned(),
            Event::Ok => "202 new".to_owned(),
            Event::Fail => format!("refused {}", request.status.unwrap_or_default()),
            _ => request.why.clone(),
        };
        let as_kind = kinds
            .get(&request.arrival)
            .filter(|(other, _)| *other != kind)
            .map_or_else(String::new, |(other, _)| format!(" as {other}"));
        let done = request
            .done
            .map_or_else(String::new, |done| format!(" at {}", seconds(done)));
        words.push(format!(
            "sent{as_kind} at {}, {answer}{done}",
            seconds(request.sent)
        ));
    }
    if loan.requests.len() > TOLD_MAX {
        words.push(format!("{} more requests", loan.requests.len() - TOLD_MAX));
    }
    words.push(match (found.loans, found.failures) {
        (0, 0) => "stored nowhere".to_owned(),
        (loans, failures) => format!("{loans} records in loans, {failures} in failures"),
    });
    if attempts.len() > 1 {
        words.push(format!("attempts {attempts:?}"));
    }
    if found.stuck {
        words.push("still in Redis".to_owned());
    }
    words.extend(difference.map(str::to_owned));
    words.join("; ")
}

fn seconds(at: Duration) -> String {
    format!("{:.3} s", at.as_secs_f64())
}

/// What clients saw from `from` to `to`, where a fault struck and was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that left in that time.
    pub requests: u64,
    /// Of these, answered 503 or another 5xx.
    pub refused: u64,
    /// Of these, without any answer.
    pub unanswered: u64,
    /// The longest that one loan, sent in that time, waited from its first request to its definite answer.
    pub longest_wait: Duration,
    /// From the end of the fault to the first definite answer to a request that left after it.
    pub recovered_after: Option<Duration>,
}

/// Reads from the history what clients saw of a fault.
pub fn seen(requests: &[Request], from: Duration, to: Duration) -> Seen {
    let mut seen = Seen::default();
    let mut first_sent: HashMap<u32, Duration> = HashMap::new();
    for request in requests {
        let first = *first_sent.entry(request.arrival).or_insert(request.sent);
        let is_definite = matches!(request.event, Event::Ok | Event::Fail);
        if let Some(done) = request.done.filter(|_| is_definite) {
            // A wait counts for a fault that lay within it.
            if first <= to && done >= from {
                seen.longest_wait = seen.longest_wait.max(done - first);
            }
            if request.sent >= to {
                let after = done - to;
                seen.recovered_after =
                    Some(seen.recovered_after.map_or(after, |least| least.min(after)));
            }
        }
        if (from..=to).contains(&request.sent) {
            seen.requests += 1;
            if !is_definite {
                if request.status.is_some() {
                    seen.refused += 1;
                } else {
                    seen.unanswered += 1;
                }
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, doc};

    use super::*;
    use crate::scenario::Mix;

    fn request(arrival: u32, event: Event, status: Option<u16>, replayed: bool) -> Request {
        let sent = Duration::from_millis(u64::from(arrival) * 10);
        Request {
            arrival,
            sent,
            done: Some(sent + Duration::from_millis(1)),
            event,
            status,
            replayed,
            why: String::new(),
        }
    }

    fn new(arrival: u32) -> Request {
        request(arrival, Event::Ok, Some(202), false)
    }

    fn known(arrival: u32) -> Request {
        request(arrival, Event::Ok, Some(202), true)
    }

    fn unknown(arrival: u32) -> Request {
        request(arrival, Event::Info, None, false)
    }

    fn payloads() -> Payloads {
        Payloads::new(1, "t", &Mix::default())
    }

    fn record(number: u32, copy: &str) -> Document {
        let loan = payloads().arrival(number).loan;
        let mut applicant = doc! { "name": loan.name, "email": loan.email };
        if let Some(phone) = loan.phone {
            applicant.insert("phone", phone);
        }
        if let Some(income) = loan.annual_income_minor {
            applicant.insert("annualIncomeMinor", income);
        }
        if let Some(age) = loan.age_years {
            applicant.insert("ageYears", age);
        }
        doc! {
            "_id": format!("t-{number:08}{copy}"), "attempt": 1, "amountMinor": loan.amount_minor,
            "termMonths": loan.term_months, "creditScore": loan.credit_score, "currency": loan.currency,
            "purpose": loan.purpose, "applicant": applicant,
        }
    }

    /// The classes found, and whether the counters agree, when Redis says that `accepted` loans were.
    #[track_caller]
    fn check(
        requests: &[Request],
        stored: &[Document],
        stuck: &[&str],
        accepted: u64,
        expected: &[(&str, u64)],
    ) {
        let payloads = payloads();
        let mut findings = Findings::new(&payloads, 10);
        for document in stored {
            findings.loan(document);
        }
        for id in stuck {
            findings.stuck(id);
        }
        let after = Counters {
            admitted: accepted,
            accepted,
            recorded_loans: accepted,
            replayed: requests.iter().filter(|request| request.replayed).count() as u64,
            ..Counters::default()
        };
        let judged = judge(
            &payloads,
            requests,
            &findings,
            (&Counters::default(), &after),
        );
        let audit = &judged.audit;
        let disagreeing = judged.counters.iter().filter(|row| !row.agree).count() as u64;
        let found: Vec<_> = [
            ("lost", audit.lost),
            ("duplicated", audit.duplicated),
            ("unexpected", audit.unexpected),
            ("mismatched", audit.mismatched),
            ("stuck", audit.stuck),
            ("counters", disagreeing),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect();
        assert_eq!(found, expected, "{judged:#?}");
    }

    #[test]
    fn a_loan_that_was_recorded_once_is_right() {
        check(&[new(0), known(0)], &[record(0, "")], &[], 1, &[]);
        check(&[unknown(0), known(0)], &[record(0, "")], &[], 1, &[]);
    }

    #[test]
    fn an_unknown_outcome_is_legal_either_way() {
        check(&[unknown(0), unknown(1)], &[record(0, "")], &[], 1, &[]);
    }

    #[test]
    fn an_acknowledged_loan_that_is_gone_is_lost() {
        check(
            &[new(0), new(1)],
            &[record(0, "")],
            &[],
            1,
            &[("lost", 1), ("counters", 1)],
        );
    }

    #[test]
    fn two_records_or_two_new_answers_are_a_double() {
        check(
            &[new(0)],
            &[record(0, ""), record(0, "#2")],
            &[],
            2,
            &[("duplicated", 1), ("counters", 1)],
        );
        check(
            &[new(0), new(0)],
            &[record(0, "")],
            &[],
            1,
            &[("duplicated", 1)],
        );
    }

    #[test]
    fn a_record_that_nobody_sent_is_unexpected() {
        check(
            &[new(0)],
            &[record(0, ""), record(77, "")],
            &[],
            2,
            &[("unexpected", 1), ("counters", 1)],
        );
    }

    #[test]
    fn a_record_that_differs_is_mismatched() {
        let mut other = record(0, "");
        other.insert("termMonths", 1);
        check(&[new(0)], &[other], &[], 1, &[("mismatched", 1)]);
        // Known, although nobody can have sent it before.
        check(&[known(0)], &[record(0, "")], &[], 1, &[("mismatched", 1)]);
    }

    #[test]
    fn what_is_left_in_redis_is_stuck() {
        check(
            &[new(0)],
            &[],
            &["t-00000000"],
            0,
            &[("stuck", 1), ("counters", 1)],
        );
    }

    #[test]
    fn counters_are_compared_with_the_records() {
        check(&[new(0)], &[record(0, "")], &[], 2, &[("counters", 3)]);
    }

    #[test]
    fn arrivals_without_an_answer_are_counted() {
        let payloads = payloads();
        let none = Counters::default();
        let judged = judge(
            &payloads,
            &[unknown(0), unknown(1), new(1), unknown(2)],
            &Findings::new(&payloads, 10),
            (&none, &none),
        );
        assert_eq!(judged.unanswered, 2);
    }

    #[test]
    fn attempts_have_no_gap() {
        assert!(!has_gap(&[]));
        assert!(!has_gap(&[2, 1, 3]));
        assert!(has_gap(&[2]));
        assert!(has_gap(&[1, 3]));
    }

    #[test]
    fn what_clients_saw_is_read_from_the_history() {
        let ms = Duration::from_millis;
        let at = |arrival, sent, done, event, status| Request {
            sent: ms(sent),
            done: Some(ms(done)),
            ..request(arrival, event, status, false)
        };
        let requests = [
            at(0, 50, 60, Event::Ok, Some(202)),
            at(1, 110, 111, Event::Info, Some(503)),
            at(1, 150, 250, Event::Info, None),
            at(2, 190, 320, Event::Ok, Some(202)),
            at(1, 260, 300, Event::Ok, Some(202)),
        ];
        assert_eq!(
            seen(&requests, ms(100), ms(200)),
            Seen {
                requests: 3,
                refused: 1,
                unanswered: 1,
                longest_wait: ms(190),
                recovered_after: Some(ms(100)),
            }
        );
    }
}
