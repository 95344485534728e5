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
use std::path::Path;
use std::time::Duration;

use plan::faults::{Finds, Plan};
use plan::kind::Kind;
use plan::payload::Payloads;
use record::history::{Event, Request};
use record::number::{count, counted};
use record::result::chaos::{FaultReport, RunReport, Totals, Verdict};
use record::result::run::{Audit, AuditClass, AuditExample, CounterRow, EXAMPLES_PER_CLASS_MAX};
use record::struck::Struck;
use snapshot::Counters;

use crate::account::quoted_path;
use crate::audit::{Findings, counter_rows};
use crate::loan::{Answers, Found, Standing, classify};

/// A rig that stood still for this long cannot tell what clients would have seen.
const STANDSTILL_MAX: Duration = Duration::from_secs(1);
/// Figures that the set of all runs must reach, or it has tried nothing.
const SET_FIGURES: [&str; 4] = [
    "redelivered",
    "lost_commit_races",
    "duplicate_keys",
    "replayed",
];
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
        let outcome = findings.outcome_of(number, kind);
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
        (0, _) => "recorded in failures".to_owned(),
        (loans, 0) => format!("{loans} records in loans"),
        (loans, _) => format!("{loans} records in loans, and recorded in failures"),
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

/// What a run's verdict rests on.
#[expect(missing_docs, reason = "the names say it")]
pub struct Evidence<'a> {
    pub requests: &'a [Request],
    pub struck: &'a [Struck],
    pub judged: &'a Judged,
    pub counters: (&'a Counters, &'a Counters),
    pub panics: u64,
    pub metrics_agree: bool,
    pub records_unaccounted: u64,
    pub is_drained: bool,
    /// The longest that the rig itself was not run by the system.
    pub stood_still: Duration,
}

impl Evidence<'_> {
    /// What the faults led to, by name.
    pub fn figures(&self) -> BTreeMap<String, u64> {
        let (before, after) = self.counters;
        let count = |holds: fn(&Request) -> bool| {
            self.requests
                .iter()
                .filter(|request| holds(request))
                .count() as u64
        };
        let mut figures: BTreeMap<String, u64> = [
            (
                "redelivered",
                after.redelivered.saturating_sub(before.redelivered),
            ),
            (
                "lost_commit_races",
                after
                    .lost_commit_races
                    .saturating_sub(before.lost_commit_races),
            ),
            (
                "duplicate_keys",
                after.duplicate_keys.saturating_sub(before.duplicate_keys),
            ),
            ("replayed", after.replayed.saturating_sub(before.replayed)),
            (
                "refused_503",
                count(|request| request.event == Event::Info && request.status.is_some()),
            ),
            (
                "unanswered",
                count(|request| request.event == Event::Info && request.status.is_none()),
            ),
            ("conflicts", count(|request| request.status == Some(422))),
            (
                "timeouts",
                count(|request| request.event == Event::Info && request.why == "timeout"),
            ),
            ("panics", self.panics),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for fault in self.struck {
            for (name, value) in &fault.figures {
                *figures.entry((*name).to_owned()).or_default() += value;
            }
        }
        figures
    }

    /// What the checker found wrong, a sentence each.
    fn faults(&self) -> Vec<String> {
        let audit = &self.judged.audit;
        let mut faults: Vec<String> = [
            (audit.lost, "lost"),
            (audit.duplicated, "duplicated"),
            (audit.unexpected, "unexpected"),
            (audit.mismatched, "mismatched"),
            (audit.stuck, "stuck"),
        ]
        .into_iter()
        .filter(|(loans, _)| *loans > 0)
        .map(|(loans, class)| format!("{} {class}", counted(loans, "loan")))
        .collect();
        faults.extend(
            self.judged
                .counters
                .iter()
                .filter(|row| !row.agree)
                .map(|row| {
                    format!(
                        "counter {} says {}, the records {}",
                        row.name,
                        row.live.map_or_else(|| "nothing".to_owned(), count),
                        if row.audit == row.audit_max {
                            count(row.audit)
                        } else {
                            format!("{} to {}", count(row.audit), count(row.audit_max))
                        }
                    )
                }),
        );
        if !self.is_drained && self.stood_still < STANDSTILL_MAX {
            faults.push("Redis did not become empty".to_owned());
        }
        // Clients went on asking long after all was healed.
        if self.judged.unanswered > 0 && self.stood_still < STANDSTILL_MAX {
            faults.push(format!(
                "{} never had a definite answer",
                counted(self.judged.unanswered, "request")
            ));
        }
        if !self.metrics_agree && self.stood_still < STANDSTILL_MAX {
            faults.push("the live metrics do not say what Redis says".to_owned());
        }
        if self.records_unaccounted > 0 {
            faults.push(format!(
                "{} records that no loan of this run accounts for",
                self.records_unaccounted
            ));
        }
        faults.extend(self.wrongs());
        faults
    }

    /// What the faults' own code found wrong.
    fn wrongs(&self) -> impl Iterator<Item = String> {
        self.struck.iter().filter_map(|fault| fault.wrong.clone())
    }

    /// Why the run proves nothing, a sentence each.
    fn voids(&self, plan: &Plan) -> Vec<String> {
        let mut voids = Vec::new();
        if self.stood_still >= STANDSTILL_MAX {
            // Then time-outs say nothing of the service.
            voids.push(format!(
                "the machine was so busy that the rig itself stood still for {} ms",
                self.stood_still.as_millis()
            ));
        }
        if self.judged.audit.acknowledged == 0 {
            // What nobody was promised cannot be lost.
            voids.push("no loan was acknowledged".to_owned());
        }
        for fault in self.struck {
            if !fault.took_effect {
                voids.push(format!(
                    "no effect of: {} ({})",
                    fault.words, fault.evidence
                ));
            } else if fault.needs_clients {
                let seen = seen(self.requests, fault.hit, fault.over);
                if seen.refused + seen.unanswered == 0 {
                    voids.push(format!("no client saw: {}", fault.words));
                }
            }
        }
        let figures = self.figures();
        for (name, least) in &plan.expect.at_least {
            let value = figures.get(name).copied().unwrap_or(0);
            if value < *least {
                voids.push(format!("{name} is {value}, and must be at least {least}"));
            }
        }
        voids
    }

    /// The verdict of a run of `plan`, and why.
    pub fn decide(&self, plan: &Plan) -> (Verdict, Vec<String>) {
        let faults = self.faults();
        let voids = self.voids(plan);
        let audit = &self.judged.audit;
        let planted = match plan.expect.finds {
            Finds::Nothing => {
                // A fault that was found stands, whether or not all was tried.
                return if !faults.is_empty() {
                    (Verdict::Fail, faults)
                } else if !voids.is_empty() {
                    (Verdict::Void, voids)
                } else {
                    (Verdict::Pass, Vec::new())
                };
            }
            Finds::Lost => audit.lost > 0,
            Finds::Duplicated => audit.duplicated > 0,
            Finds::Stuck => audit.stuck > 0,
            Finds::Undeclared => audit.lost > 0 && self.wrongs().next().is_some(),
            Finds::Counters => self.judged.counters.iter().any(|row| !row.agree),
        };
        // What the faults' own code found wrong was not planted.
        let wrongs: Vec<String> = self.wrongs().collect();
        if !wrongs.is_empty() && plan.expect.finds != Finds::Undeclared {
            (Verdict::Fail, wrongs)
        } else if planted && audit.acknowledged > 0 {
            (Verdict::Pass, faults)
        } else if !voids.is_empty() {
            (Verdict::Void, voids)
        } else {
            let what = plan.expect.finds.name();
            (
                Verdict::Fail,
                vec![format!(
                    "the checker did not see the planted fault ({what})"
                )],
            )
        }
    }
}

/// What became of one fault, with what clients saw of it.
pub fn fault_report(fault: &Struck, requests: &[Request]) -> FaultReport {
    let seen = seen(requests, fault.hit, fault.over);
    FaultReport {
        what: fault.words.clone(),
        hit_seconds: fault.hit.as_secs_f64(),
        over_seconds: fault.over.as_secs_f64(),
        took_effect: fault.took_effect,
        evidence: fault.evidence.clone(),
        requests: seen.requests,
        refused: seen.refused,
        unanswered: seen.unanswered,
        longest_wait_seconds: seen.longest_wait.as_secs_f64(),
        recovery_seconds: seen.recovered_after.map(|after| after.as_secs_f64()),
    }
}

/// The answers of a run by kind.
pub fn answers(requests: &[Request]) -> BTreeMap<String, u64> {
    let mut answers = BTreeMap::new();
    for request in requests {
        let label = match (request.event, request.status) {
            (Event::Ok, _) if request.replayed => "202 replayed".to_owned(),
            (Event::Ok, _) => "202".to_owned(),
            (_, Some(status)) if request.why.is_empty() => status.to_string(),
            (_, Some(status)) => format!("{status} {}", request.why),
            (_, None) => request.why.clone(),
        };
        *answers.entry(label).or_default() += 1;
    }
    answers
}

/// The command that repeats a run of the plan at `path`, with the binary of the service if one was named.
pub fn repeat(path: &Path, seed: u64, service_binary: Option<&Path>) -> String {
    let path = quoted_path(path);
    let mut words = vec![format!("loadgen chaos {path} --seed {seed}")];
    words.extend(service_binary.map(|binary| format!("--service {}", quoted_path(binary))));
    words.join(" ")
}

/// Sums over the runs that are no proofs of the rig.
pub fn totals(runs: &[RunReport]) -> Totals {
    let mut totals = Totals::default();
    // A void run proves nothing, so it is in no sum.
    let counted = |run: &&RunReport| !run.is_proof() && run.verdict != Verdict::Void;
    for run in runs.iter().filter(counted) {
        totals.runs += 1;
        totals.mixed_runs += u64::from(run.mixed);
        totals.faults += run.faults.len() as u64;
        totals.loans += run.audit.ids;
        totals.requests += run.requests;
        totals.acknowledged += run.audit.acknowledged;
        totals.lost += run.audit.lost;
        totals.duplicated += run.audit.duplicated;
        totals.unexpected += run.audit.unexpected;
        totals.mismatched += run.audit.mismatched;
        totals.stuck += run.audit.stuck;
        totals.counters_wrong += run.counters.iter().filter(|row| !row.agree).count() as u64;
        for (name, value) in &run.figures {
            *totals.figures.entry(name.clone()).or_default() += value;
        }
    }
    totals
}

/// The verdict over all runs, and why. `short` tells what is missing: where too many runs were void, and what ended it early.
pub fn decide_all(
    runs: &[RunReport],
    totals: &Totals,
    short: Vec<String>,
) -> (Verdict, Vec<String>) {
    let mut failed: Vec<String> = runs
        .iter()
        .filter(|run| run.verdict == Verdict::Fail)
        .map(|run| format!("{}: {}", run.name, run.why.join("; ")))
        .collect();
    if !failed.is_empty() {
        failed.extend(short);
        return (Verdict::Fail, failed);
    }
    // Another run has taken the place of a void one, or its plan is short.
    let mut voids = short;
    if voids.is_empty() && runs.iter().all(|run| run.verdict == Verdict::Void) {
        voids.push("there is no run that counts".to_owned());
    }
    // A single plan need not show all of it; the whole set must.
    let is_set = runs.iter().filter(|run| !run.is_proof()).count() > 10;
    if is_set {
        voids.extend(
            SET_FIGURES
                .into_iter()
                .filter(|name| totals.figures.get(*name).copied().unwrap_or(0) == 0)
                .map(|name| format!("over all runs, {name} is 0")),
        );
    }
    if voids.is_empty() {
        (Verdict::Pass, Vec::new())
    } else {
        (Verdict::Void, voids)
    }
}

#[cfg(test)]
mod tests {
    use plan::mix::Mix;
    use record::stored::{StoredFailure, StoredFault, StoredLoan};

    use super::*;
    use crate::stored::{alter, record_of};

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

    fn record(number: u32, copy: &str) -> StoredLoan {
        let mut record = record_of(&payloads().arrival(number));
        record.id.push_str(copy);
        record
    }

    /// The classes found, and whether the counters agree, when Redis says that `accepted` loans were.
    #[track_caller]
    fn check(
        requests: &[Request],
        stored: &[StoredLoan],
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
        alter(&mut other, "termMonths", 1);
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

    /// Where MongoDB was made to refuse loans of such amounts, their failure is right, whatever else is sent under the id. The
    /// failure of any other good loan is not, nor is a record beside it.
    #[test]
    fn what_mongodb_refuses_is_a_failure_of_its_own() {
        let payloads = payloads();
        let judged = |may_be_refused: fn(i64) -> bool, is_recorded_too: bool| {
            let mut findings = Findings::new(&payloads, 10).refusing(may_be_refused);
            findings.failure(&StoredFailure {
                id: format!("{}#1", payloads.loan_id(0)),
                attempt: 1,
                error_type: "refused".to_owned(),
                faults: vec![StoredFault {
                    error_type: Some("refused".to_owned()),
                    field: Some("$".to_owned()),
                }],
                ..StoredFailure::default()
            });
            if is_recorded_too {
                findings.loan(&record(0, ""));
            }
            let after = Counters {
                admitted: 1,
                failed: [("refused".to_owned(), 1)].into(),
                recorded_failures: 1,
                ..Counters::default()
            };
            let counters = (&Counters::default(), &after);
            judge(&payloads, &[new(0)], &findings, counters)
        };
        let right = judged(|_| true, false);
        assert_eq!(right.audit.faults(), 0, "{right:#?}");
        assert!(right.counters.iter().all(|row| row.agree), "{right:#?}");
        assert_eq!(judged(|_| false, false).audit.mismatched, 1);
        assert_eq!(judged(|_| true, true).audit.mismatched, 1);
    }

    /// What is known of a run in which nothing was sent and nothing went wrong.
    fn nothing_seen<'a>(judged: &'a Judged, counters: &'a Counters) -> Evidence<'a> {
        Evidence {
            requests: &[],
            struck: &[],
            judged,
            counters: (counters, counters),
            panics: 0,
            metrics_agree: true,
            records_unaccounted: 0,
            is_drained: true,
            stood_still: Duration::ZERO,
        }
    }

    #[test]
    fn a_run_without_an_acknowledged_loan_proves_nothing() {
        let counters = Counters::default();
        let plan = |expect: &str| {
            let text = format!(
                "name = \"n\"\nrow = \"0\"\ndescription = \"x\"\n[load]\nrate = 100\nlasts = \"1s\"\n{expect}"
            );
            Plan::parse(&text, Path::new("n.toml")).expect("a whole plan")
        };
        let mut judged = Judged::default();
        let decided =
            |judged: &Judged, expect: &str| nothing_seen(judged, &counters).decide(&plan(expect));
        let void = (Verdict::Void, vec!["no loan was acknowledged".to_owned()]);
        assert_eq!(decided(&judged, ""), void);
        // Not even what was planted counts then.
        judged.audit.stuck = 1;
        assert_eq!(decided(&judged, "[expect]\nfinds = \"stuck\""), void);
        // What was found stands all the same.
        assert_eq!(decided(&judged, "").0, Verdict::Fail);
        judged.audit.acknowledged = 1;
        let proof = decided(&judged, "[expect]\nfinds = \"stuck\"");
        assert_eq!(proof.0, Verdict::Pass);
        judged.audit.stuck = 0;
        assert_eq!(decided(&judged, ""), (Verdict::Pass, Vec::new()));
    }

    fn run_of(name: &str, verdict: Verdict, why: &[&str]) -> RunReport {
        RunReport {
            name: name.to_owned(),
            row: String::new(),
            description: String::new(),
            mixed: false,
            seed: 1,
            expected: Finds::Nothing.name().to_owned(),
            verdict,
            why: why.iter().map(|why| (*why).to_owned()).collect(),
            load_seconds: 1.0,
            rate_per_second: 1.0,
            requests: 1,
            answers: BTreeMap::new(),
            faults: Vec::new(),
            audit: Audit::default(),
            counters: Vec::new(),
            figures: BTreeMap::new(),
            drain_seconds: None,
            history: None,
            repeat: String::new(),
        }
    }

    /// What ended a fault run early is told whatever the runs before it found, and without runs there is nothing to pass.
    #[test]
    fn a_fault_run_that_broke_off_never_passes() {
        let broken = "b broke off";
        let decided = |runs: &[RunReport], short: &[&str]| {
            let short = short.iter().map(|why| (*why).to_owned()).collect();
            decide_all(runs, &totals(runs), short)
        };
        let passed = run_of("a", Verdict::Pass, &[]);
        let failed = run_of("a", Verdict::Fail, &["1 loan lost"]);
        let void = run_of("a", Verdict::Void, &["no effect of: a"]);
        let told = |verdict, why: &[&str]| {
            let why: Vec<String> = why.iter().map(|why| (*why).to_owned()).collect();
            (verdict, why)
        };
        assert_eq!(
            decided(&[], &[]),
            told(Verdict::Void, &["there is no run that counts"])
        );
        assert_eq!(
            decided(&[void], &[]),
            told(Verdict::Void, &["there is no run that counts"])
        );
        assert_eq!(decided(&[], &[broken]), told(Verdict::Void, &[broken]));
        let passed = [passed];
        assert_eq!(decided(&passed, &[broken]), told(Verdict::Void, &[broken]));
        assert_eq!(decided(&passed, &[]), told(Verdict::Pass, &[]));
        assert_eq!(
            decided(&[failed], &[broken]),
            told(Verdict::Fail, &["a: 1 loan lost", broken])
        );
    }

    #[test]
    fn the_command_that_repeats_a_run_is_one_for_a_shell() {
        let plan = Path::new("my plans/a.toml");
        assert_eq!(
            repeat(plan, 7, None),
            "loadgen chaos 'my plans/a.toml' --seed 7"
        );
        assert_eq!(
            repeat(plan, 7, Some(Path::new("my builds/service"))),
            "loadgen chaos 'my plans/a.toml' --seed 7 --service 'my builds/service'"
        );
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
