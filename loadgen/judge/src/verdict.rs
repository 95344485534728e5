//! The verdict from what was seen. Pure.

use std::time::Duration;

use record::number::{count, counted, seconds};
use record::pause::Pauses;
use record::result::run::{Audit, Check, CounterRow, Verdict};

use crate::checks::Blame;

/// A process or machine that was stopped for this long was no generator meanwhile.
const STOPPED_MIN: Duration = Duration::from_millis(100);

/// What the verdict is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Why the run was stopped before its end, if it was.
    pub aborted: Option<&'a str>,
    /// Why the run ended by itself before its end: a check could no longer hold.
    pub ended_early: Option<&'a str>,
    /// Arrivals whose request left.
    pub sent: u64,
    /// Of these, those that must be promised, by their kind.
    pub demanded: u64,
    /// Arrivals whose last answer promised the loan.
    pub promised: u64,
    /// Which arrivals were answered otherwise than their kind must be, a sentence each.
    pub wrong_answers: &'a [String],
    /// Of `sent`, those without a definite answer.
    pub unanswered: u64,
    /// Of these, those that a pause of the generator touched.
    pub unanswered_touched: u64,
    /// What they met instead, and how many of them, the most frequent first.
    pub unanswered_by: &'a [(String, u64)],
    /// The share of `sent` that the scenario allows, below 1: where nothing was answered nothing is proven.
    pub unanswered_ratio_max: f64,
    /// Arrivals that never left.
    pub unsent: u64,
    /// Arrivals that were due while every user was busy.
    pub held_back: u64,
    /// Users, the most requests in flight.
    pub users: usize,
    /// Whether a check looks at how fast the service was.
    pub judges_speed: bool,
    /// 99th percentile of the generator's own lateness.
    pub generator_lag_p99: Duration,
    /// Its bound.
    pub generator_lag_max: Duration,
    /// When the generator stood still.
    pub pauses: &'a Pauses,
    /// What the service's clock and the generator's have to do with each other, a sentence each.
    pub clocks: &'a [String],
    /// What other clients did beside the run, in words.
    pub foreign: Option<&'a str>,
    /// What would have been refused and was allowed.
    pub overrides: &'a [String],
    /// Why the crowd beside the load was not what the scenario wants, a sentence each.
    pub crowd: &'a [String],
    /// Why several generators were not as one, a sentence each.
    pub generators: &'a [String],
    /// The judged checks, and whose doing it is that they did not hold.
    pub checks: &'a [(Check, Blame)],
    /// The audit, if the run looks at the stores.
    pub audit: Option<&'a Audit>,
    /// Why the audit did not run to its end, in words.
    pub audit_failed: Option<&'a str>,
    /// What the service and its stores were no longer when the load had ended, a sentence each.
    pub changed: &'a [String],
    /// The live counters beside the audit.
    pub counters: &'a [CounterRow],
    /// Requests by goose's count and by ours.
    pub requests: (u64, u64),
}

/// The verdict and its reasons, the most important first. What is to be known beside them comes last.
pub fn decide(evidence: &Evidence<'_>) -> (Verdict, Vec<String>) {
    let (verdict, mut why) = reasons(evidence);
    for note in notes(evidence) {
        if !why.contains(&note) {
            why.push(note);
        }
    }
    (verdict, why)
}

/// What is to be known of the run, whatever its verdict.
fn notes(evidence: &Evidence<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if evidence.audit.is_none() {
        notes.push(
            "Not judged, because the stores were not looked at: what became of each loan, the backlog and the live counters."
                .to_owned(),
        );
    }
    if evidence.unanswered > 0 && !exceeds(unanswered_by_service(evidence), evidence) {
        notes.push(format!(
            "{} of {} arrivals have no definite answer: {}.",
            count(evidence.unanswered),
            count(evidence.sent),
            met_instead(evidence)
        ));
    }
    // Where nothing judges how fast the service was the verdict stands, and the figures are the generator's all the same.
    notes.extend(stood_still(evidence.pauses, evidence.generator_lag_max));
    notes.extend(evidence.clocks.iter().cloned());
    notes.extend(evidence.foreign.map(str::to_owned));
    if evidence.held_back > 0 {
        notes.push(format!(
            "All {} users were busy when {} more arrivals were due: their wait is in the response time.",
            count(evidence.users as u64),
            count(evidence.held_back)
        ));
    }
    notes.extend(
        evidence
            .overrides
            .iter()
            .map(|allowed| format!("Allowed by the command line: {allowed}")),
    );
    notes
}

/// What is surely the service's doing is a failure, however late the generator was. Everything else that a disturbed run saw
/// proves nothing.
pub(crate) fn reasons(evidence: &Evidence<'_>) -> (Verdict, Vec<String>) {
    let mut faults = audit_faults(evidence);
    faults.extend(evidence.wrong_answers.iter().cloned());
    if let Some(reason) = evidence.aborted {
        let mut why = vec![format!("The run was stopped: {reason}.")];
        why.extend(faults);
        return (Verdict::Aborted, why);
    }
    faults.extend(lacks(evidence));
    let mut doubts = doubts(evidence);
    let mut failures = Vec::new();
    let early = evidence
        .ended_early
        .map(|reason| format!("The run was ended early: {reason}."));
    if evidence.audit.is_some_and(|audit| !audit.complete) {
        failures.push(match evidence.audit_failed {
            Some(why) => format!("The audit did not run to its end: {why}."),
            None => "The audit did not run to its end.".to_owned(),
        });
    }
    failures.extend(
        evidence
            .counters
            .iter()
            .filter(|row| !row.agree)
            .map(|row| match row.live {
                Some(live) => format!(
                    "The live counter {} says {live}, the audit {}.",
                    row.name, row.audit
                ),
                None => format!("The live counter {} could not be read.", row.name),
            }),
    );
    let mut by_service = Vec::new();
    for (check, blame) in evidence.checks {
        let missed = format!(
            "{}: {}, and the bound is {}.",
            check.name, check.observed, check.bound
        );
        match blame {
            Blame::Nobody => {}
            // Who else loads the service makes it slow; what a lost generator sent is not known.
            Blame::Service if evidence.foreign.is_none() && evidence.generators.is_empty() => {
                by_service.push(missed);
            }
            Blame::Service | Blame::Open | Blame::Clocks => failures.push(missed),
            Blame::Generator(why) => doubts.push(why.clone()),
        }
    }
    if evidence.checks.iter().any(|(check, _)| !check.pass) {
        doubts.extend(evidence.foreign.map(str::to_owned));
    }
    if !evidence.pauses.told.is_empty() && !doubts.is_empty() {
        let pauses = pauses_in_words(evidence.pauses);
        if !doubts.contains(&pauses) {
            doubts.insert(0, pauses);
        }
    }
    if !faults.is_empty() || !by_service.is_empty() {
        // The figures beside it hold what the generator did as well: a reader would take it for the cause.
        if !by_service.is_empty() && !doubts.is_empty() {
            let bounds = match by_service.len() {
                1 => "that bound".to_owned(),
                broken => format!("those {} bounds", count(broken as u64)),
            };
            by_service.push(format!(
                "The service broke {bounds} by itself: without what the generator did, too, more than is allowed took longer."
            ));
        }
        let mut why: Vec<String> = early.into_iter().collect();
        for reasons in [faults, by_service, failures, doubts] {
            why.extend(reasons);
        }
        return (Verdict::Fail, why);
    }
    if !doubts.is_empty() {
        return (Verdict::Discarded, doubts);
    }
    failures.splice(0..0, early);
    if !failures.is_empty() {
        return (Verdict::Fail, failures);
    }
    let checks = match evidence.checks.len() {
        0 => "The scenario has no checks".to_owned(),
        1 => "The one check held".to_owned(),
        checks => format!("All {checks} checks held"),
    };
    let loans = match evidence.audit.map(|audit| audit.ids) {
        // What the scenario allows to stay unanswered got no answer, good or bad.
        None => match evidence.sent - evidence.unanswered {
            answered if answered < evidence.sent => format!(
                "{} with a definite answer got the one that it must get",
                each(answered, "arrival")
            ),
            all => format!("{} got the answer that it must get", each(all, "arrival")),
        },
        Some(ids) => format!("{} ended as it must", each(ids, "loan")),
    };
    (Verdict::Pass, vec![format!("{checks}; {loans}.")])
}

/// `the one loan`, `every one of 2 loans`.
fn each(of: u64, noun: &str) -> String {
    match of {
        1 => format!("the one {noun}"),
        of => format!("every one of {} {noun}s", count(of)),
    }
}

/// What the audit found of loans that did not end as they must.
fn audit_faults(evidence: &Evidence<'_>) -> Vec<String> {
    let Some(audit) = evidence.audit else {
        return Vec::new();
    };
    [
        (audit.lost, "acknowledged and found nowhere"),
        (audit.duplicated, "recorded more than once"),
        (audit.unexpected, "recorded that should not be"),
        (
            audit.mismatched,
            "answered or recorded otherwise than they must be",
        ),
        (audit.stuck, "still in Redis when the drain ended"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}.", counted(count, "loan")))
    .collect()
}

/// Why there is too little evidence to pass, a sentence each: no evidence is not good evidence. What the generator itself
/// spoilt is no evidence against the service.
fn lacks(evidence: &Evidence<'_>) -> Vec<String> {
    let mut lacks = Vec::new();
    let sent = evidence.sent;
    if sent == 0 && evidence.unsent == 0 {
        lacks.push("Nothing was sent.".to_owned());
    }
    let unanswered = unanswered_by_service(evidence);
    if exceeds(unanswered, evidence) {
        lacks.push(format!(
            "{} of {} arrivals have no definite answer, and {}: {}.",
            count(unanswered),
            count(sent),
            allowed(evidence),
            met_instead(evidence)
        ));
    }
    let promised = match evidence.audit {
        Some(audit) if audit.complete => audit.acknowledged,
        _ => evidence.promised,
    };
    if evidence.demanded > evidence.unanswered_touched && promised == 0 {
        lacks.push(format!(
            "None of {} that must be promised was acknowledged.",
            counted(evidence.demanded, "loan")
        ));
    }
    lacks
}

/// Arrivals without a definite answer that the generator had no part in.
fn unanswered_by_service(evidence: &Evidence<'_>) -> u64 {
    evidence.unanswered - evidence.unanswered_touched
}

/// The most kinds of error that a sentence names.
const NAMED_MAX: usize = 4;

/// What arrivals without a definite answer met instead.
fn met_instead(evidence: &Evidence<'_>) -> String {
    let mut named: Vec<String> = evidence
        .unanswered_by
        .iter()
        .take(NAMED_MAX)
        .map(|(what, times)| format!("{} × {what}", count(*times)))
        .collect();
    let others = evidence.unanswered_by.iter().skip(NAMED_MAX);
    let others: u64 = others.map(|(_, times)| times).sum();
    if others > 0 {
        named.push(format!("{} × others", count(others)));
    }
    named.join(", ")
}

fn exceeds(unanswered: u64, evidence: &Evidence<'_>) -> bool {
    unanswered as f64 > evidence.unanswered_ratio_max * evidence.sent as f64
}

fn allowed(evidence: &Evidence<'_>) -> String {
    if evidence.unanswered_ratio_max > 0.0 {
        format!(
            "the scenario allows {} %",
            (evidence.unanswered_ratio_max * 1e4).round() / 1e2
        )
    } else {
        "the scenario allows none".to_owned()
    }
}

/// What other than the service disturbed the run so much that nothing may be concluded, a sentence each.
fn doubts(evidence: &Evidence<'_>) -> Vec<String> {
    let mut doubts = Vec::new();
    if evidence.judges_speed {
        doubts.extend(stood_still(evidence.pauses, evidence.generator_lag_max));
    }
    // What is missing after an early end was not to be sent.
    if evidence.unsent > 0 && evidence.ended_early.is_none() {
        doubts.push(format!(
            "{} were never sent.",
            counted(evidence.unsent, "arrival")
        ));
    }
    doubts.extend(late(evidence.generator_lag_p99, evidence.generator_lag_max));
    if exceeds(evidence.unanswered, evidence)
        && !exceeds(evidence.unanswered - evidence.unanswered_touched, evidence)
    {
        doubts.push(format!(
            "{} of {} arrivals have no definite answer, and the generator stood still while {} of them were under way.",
            count(evidence.unanswered),
            count(evidence.sent),
            count(evidence.unanswered_touched)
        ));
    }
    // What has no data because of clocks that differ is nobody's fault.
    if evidence
        .checks
        .iter()
        .any(|(_, blame)| *blame == Blame::Clocks)
    {
        doubts.extend(evidence.clocks.iter().cloned());
    }
    doubts.extend(evidence.changed.iter().cloned());
    doubts.extend(evidence.crowd.iter().cloned());
    doubts.extend(evidence.generators.iter().cloned());
    let (goose, ours) = evidence.requests;
    if goose != ours {
        doubts.push(format!(
            "Goose counted {goose} requests, the ledger {ours}."
        ));
    }
    doubts
}

/// A sentence, if the generator handed arrivals over later than its bound, by the 99th percentile.
fn late(generator_lag_p99: Duration, generator_lag_max: Duration) -> Option<String> {
    (generator_lag_p99 > generator_lag_max).then(|| {
        format!(
            "The generator was late: 1 % of the arrivals left it {} or more after they were due, and the bound is {}.",
            seconds(generator_lag_p99.as_secs_f64()),
            seconds(generator_lag_max.as_secs_f64())
        )
    })
}

/// A sentence, if the generator was stopped for so long that it was none meanwhile.
fn stood_still(pauses: &Pauses, generator_lag_max: Duration) -> Option<String> {
    let is_long = pauses.stopped_max >= STOPPED_MIN.max(generator_lag_max);
    is_long.then(|| pauses_in_words(pauses))
}

/// When the generator stood still, and why.
fn pauses_in_words(pauses: &Pauses) -> String {
    let longest = pauses
        .told
        .iter()
        .filter(|pause| pauses.stopped_max.is_zero() || !pause.is_starved)
        .max_by_key(|pause| pause.length());
    let Some(longest) = longest else {
        return String::new();
    };
    let why = if longest.is_starved {
        "it got no processor"
    } else {
        "its process or the whole machine was stopped"
    };
    let (length, at) = (longest.length().as_secs_f64(), longest.from.as_secs_f64());
    let times = if pauses.count > 1 {
        format!("{} times, the longest ", count(pauses.count))
    } else {
        String::new()
    };
    format!(
        "The generator stood still {times}for {} from {at:.2} s on: {why}.",
        seconds(length)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    const GOOD: Audit = Audit {
        complete: true,
        ids: 1,
        acknowledged: 1,
        rejected: 0,
        unknown: 0,
        recorded: 1,
        failed: 0,
        unknown_stored: 0,
        lost: 0,
        duplicated: 0,
        unexpected: 0,
        mismatched: 0,
        stuck: 0,
        examples: Vec::new(),
    };

    /// A run that passes.
    fn good_evidence() -> Evidence<'static> {
        static NO_PAUSES: LazyLock<Pauses> = LazyLock::new(Pauses::default);
        static GOOD_AUDIT: LazyLock<Audit> = LazyLock::new(|| GOOD);
        Evidence {
            aborted: None,
            ended_early: None,
            sent: 5,
            demanded: 5,
            promised: 5,
            wrong_answers: &[],
            unanswered: 0,
            unanswered_touched: 0,
            unanswered_by: &[],
            unanswered_ratio_max: 0.0,
            unsent: 0,
            held_back: 0,
            users: 32,
            judges_speed: true,
            generator_lag_p99: Duration::from_millis(1),
            generator_lag_max: Duration::from_millis(20),
            pauses: &NO_PAUSES,
            clocks: &[],
            foreign: None,
            overrides: &[],
            crowd: &[],
            generators: &[],
            checks: &[],
            audit: Some(&GOOD_AUDIT),
            audit_failed: None,
            changed: &[],
            counters: &[],
            requests: (5, 5),
        }
    }

    #[expect(
        clippy::large_types_passed_by_value,
        reason = "each row of the table is a value of its own"
    )]
    fn verdict(evidence: Evidence<'_>) -> Verdict {
        let (verdict, why) = decide(&evidence);
        assert!(!why.is_empty());
        verdict
    }

    #[test]
    fn what_came_instead_of_answers_is_told_and_bounded() {
        let met: Vec<(String, u64)> = (0..9)
            .map(|number| (format!("answered {}", 500 + number), 100 - number))
            .collect();
        let evidence = Evidence {
            sent: 2_000,
            unanswered: 864,
            unanswered_by: &met,
            ..good_evidence()
        };
        let (verdict, why) = decide(&evidence);
        assert_eq!(verdict, Verdict::Fail);
        assert_eq!(
            why[0],
            "864 of 2,000 arrivals have no definite answer, and the scenario allows none: 100 × answered 500, 99 × answered 501, \
             98 × answered 502, 97 × answered 503, 470 × others."
        );
        let allowed = Evidence {
            unanswered_ratio_max: 0.5,
            ..evidence
        };
        let (verdict, why) = decide(&allowed);
        assert_eq!(verdict, Verdict::Pass);
        assert!(
            why[1].starts_with("864 of 2,000 arrivals have no definite answer: 100 ×"),
            "{why:?}"
        );
        // Without the stores the answers are all there is: nothing is said of those that did not come.
        for (unanswered, told) in [
            (
                0,
                "every one of 2,000 arrivals got the answer that it must get",
            ),
            (
                864,
                "every one of 1,136 arrivals with a definite answer got the one that it must get",
            ),
        ] {
            let (verdict, why) = decide(&Evidence {
                audit: None,
                demanded: 0,
                unanswered,
                ..allowed
            });
            assert_eq!(verdict, Verdict::Pass);
            assert_eq!(why[0], format!("The scenario has no checks; {told}."));
        }
    }

    #[test]
    fn where_nothing_was_answered_nothing_is_proven() {
        let nothing = |sent, touched| {
            verdict(Evidence {
                audit: None,
                // Nobody must be promised anything.
                demanded: 0,
                promised: 0,
                sent,
                unanswered: sent,
                unanswered_touched: touched,
                // The most that a scenario may allow.
                unanswered_ratio_max: 1.0_f64.next_down(),
                requests: (sent, sent),
                ..good_evidence()
            })
        };
        for sent in [1, 3, 50, 64, 1_000_000] {
            assert_eq!(nothing(sent, 0), Verdict::Fail, "{sent}");
            // What the generator's own pause touched is no evidence against the service either.
            assert_eq!(nothing(sent, sent), Verdict::Discarded, "{sent}");
        }
    }

    #[test]
    fn the_table() {
        let good = good_evidence();
        let audit = Some(&Audit { lost: 1, ..GOOD });
        let partial = Some(&Audit::default());
        let checks = &[(Check::default(), Blame::Open)];
        let by_service = &[(Check::default(), Blame::Service)];
        let counters = &[CounterRow::default()];
        let generator_lag_p99 = Duration::from_secs(1);
        let aborted = Some("Ctrl-C");
        assert_eq!(verdict(good), Verdict::Pass);
        assert_eq!(verdict(Evidence { audit, ..good }), Verdict::Fail);
        let (unaudited, why) = decide(&Evidence {
            audit: partial,
            audit_failed: Some("Redis: NOAUTH"),
            ..good
        });
        assert_eq!(unaudited, Verdict::Fail);
        assert_eq!(why[0], "The audit did not run to its end: Redis: NOAUTH.");
        assert_eq!(verdict(Evidence { checks, ..good }), Verdict::Fail);
        assert_eq!(verdict(Evidence { counters, ..good }), Verdict::Fail);
        assert_eq!(verdict(Evidence { unsent: 1, ..good }), Verdict::Discarded);
        let generators = &["Shard 2 of 3 was lost.".to_owned()];
        let without_one = Evidence { generators, ..good };
        assert_eq!(verdict(without_one), Verdict::Discarded);
        assert_eq!(
            verdict(Evidence {
                checks: by_service,
                ..without_one
            }),
            Verdict::Discarded
        );
        assert_eq!(
            verdict(Evidence {
                audit,
                ..without_one
            }),
            Verdict::Fail
        );
        assert_eq!(
            verdict(Evidence {
                generator_lag_p99,
                ..good
            }),
            Verdict::Discarded
        );
        assert_eq!(
            verdict(Evidence {
                requests: (4, 5),
                ..good
            }),
            Verdict::Discarded
        );
        assert_eq!(verdict(Evidence { aborted, ..good }), Verdict::Aborted);
        // A run that ended because it could not pass has failed; what it did not send says nothing.
        let ended_early = Some("response_ms.p99 can no longer hold");
        assert_eq!(
            verdict(Evidence {
                ended_early,
                unsent: 1,
                checks,
                ..good
            }),
            Verdict::Fail
        );
        // What was seen of a service or a store that is another one by then proves nothing of it.
        let changed = &[
            "Other than before the load, Redis may lose what it has confirmed: appendfsync is no."
                .to_owned(),
        ];
        let (discarded, why) = decide(&Evidence { changed, ..good });
        assert_eq!((discarded, &why[0]), (Verdict::Discarded, &changed[0]));
        // A check that the generator's own lateness failed proves nothing.
        let by_generator = &[(
            Check::default(),
            Blame::Generator("p99 is late by itself.".to_owned()),
        )];
        assert_eq!(
            verdict(Evidence {
                checks: by_generator,
                ..good
            }),
            Verdict::Discarded
        );
        // What has no data because two clocks differ proves nothing, whatever its check is called.
        let clocks = &["The service's clock was set back.".to_owned()];
        let across = &[(Check::default(), Blame::Clocks)];
        let (discarded, why) = decide(&Evidence {
            checks: across,
            clocks,
            ..good
        });
        assert_eq!((discarded, &why[0]), (Verdict::Discarded, &clocks[0]));
        assert_eq!(
            verdict(Evidence {
                checks: across,
                ..good
            }),
            Verdict::Fail
        );
        assert_eq!(
            verdict(Evidence {
                clocks,
                checks,
                ..good
            }),
            Verdict::Fail
        );
        // A bound that the service alone broke is broken, however late anything was.
        assert_eq!(
            verdict(Evidence {
                checks: by_service,
                generator_lag_p99,
                ..good
            }),
            Verdict::Fail
        );
        let overrides = &["the queue was not empty.".to_owned()];
        let (passed, why) = decide(&Evidence { overrides, ..good });
        assert_eq!(passed, Verdict::Pass);
        assert!(why[1].contains("the queue was not empty"), "{why:?}");
        // Without evidence a run fails, however late it was.
        let unsent = 1;
        assert_eq!(
            verdict(Evidence {
                unanswered: 1,
                unsent,
                ..good
            }),
            Verdict::Fail
        );
        let allowed = Evidence {
            unanswered: 1,
            unanswered_ratio_max: 0.2,
            ..good
        };
        assert_eq!(verdict(allowed), Verdict::Pass);
        assert_eq!(
            verdict(Evidence {
                unanswered: 2,
                ..allowed
            }),
            Verdict::Fail
        );
        assert_eq!(
            verdict(Evidence {
                sent: 0,
                demanded: 0,
                ..good
            }),
            Verdict::Fail
        );
        let nobody = Some(&Audit {
            acknowledged: 0,
            rejected: 1,
            ..GOOD
        });
        assert_eq!(
            verdict(Evidence {
                audit: nobody,
                ..good
            }),
            Verdict::Fail
        );
        // Where every loan must be refused, nobody is promised anything.
        assert_eq!(
            verdict(Evidence {
                audit: nobody,
                demanded: 0,
                ..good
            }),
            Verdict::Pass
        );
        // A late generator does not excuse a loss, but does excuse a failed check.
        assert_eq!(
            verdict(Evidence {
                audit,
                unsent: 1,
                ..good
            }),
            Verdict::Fail
        );
        assert_eq!(
            verdict(Evidence {
                checks,
                unsent: 1,
                ..good
            }),
            Verdict::Discarded
        );
        // With no look at the stores the answers alone decide, and the report says so.
        let (passed, why) = decide(&Evidence {
            audit: None,
            ..good
        });
        assert_eq!(passed, Verdict::Pass);
        assert!(why[1].starts_with("Not judged"), "{why:?}");
        assert_eq!(
            verdict(Evidence {
                audit: None,
                promised: 0,
                ..good
            }),
            Verdict::Fail
        );
        // A wrong answer is one, whoever looks at the stores, however late the generator was and however soon it was stopped.
        let wrong_answers = &["2 arrivals of kind malformed must be answered 400.".to_owned()];
        for (audit, unsent, aborted, wanted) in [
            (None, 0, None, Verdict::Fail),
            (good.audit, 0, None, Verdict::Fail),
            (None, 1, None, Verdict::Fail),
            (None, 1, Some("Ctrl-C"), Verdict::Aborted),
        ] {
            let (verdict, why) = decide(&Evidence {
                aborted,
                wrong_answers,
                unsent,
                audit,
                ..good
            });
            assert_eq!(verdict, wanted);
            assert!(why.contains(&wrong_answers[0]), "{why:?}");
        }
        // Where others load the service too, its speed proves nothing, and its counters are theirs as well.
        let foreign = Some("Others sent 250 loans beside the run.");
        let (discarded, why) = decide(&Evidence {
            foreign,
            checks: by_service,
            ..good
        });
        assert_eq!(discarded, Verdict::Discarded);
        assert!(why[0].contains("Others sent"), "{why:?}");
        assert_eq!(verdict(Evidence { foreign, ..good }), Verdict::Pass);
        // All users busy: said, and no doubt.
        let (passed, why) = decide(&Evidence {
            held_back: 7,
            ..good
        });
        assert_eq!(passed, Verdict::Pass);
        assert!(why[1].contains("All 32 users were busy when 7"), "{why:?}");
    }

    #[test]
    fn a_pause_of_the_generator_is_named_and_discards_what_it_touched() {
        let pause = |is_starved| {
            let mut pauses = Pauses::default();
            pauses.add(record::pause::Pause {
                from: Duration::from_millis(8_230),
                to: Duration::from_millis(8_350),
                is_starved,
            });
            pauses
        };
        let of = |pauses: &Pauses, checks: &[(Check, Blame)], judges_speed, touched| {
            decide(&Evidence {
                aborted: None,
                ended_early: None,
                sent: 100,
                demanded: 100,
                promised: 100 - touched,
                wrong_answers: &[],
                unanswered: touched,
                unanswered_touched: touched,
                unanswered_by: &[],
                unanswered_ratio_max: 0.0,
                unsent: 0,
                held_back: 0,
                users: 32,
                judges_speed,
                generator_lag_p99: Duration::from_millis(1),
                generator_lag_max: Duration::from_millis(20),
                pauses,
                clocks: &[],
                foreign: None,
                overrides: &[],
                crowd: &[],
                generators: &[],
                checks,
                audit: Some(&GOOD),
                audit_failed: None,
                changed: &[],
                counters: &[],
                requests: (100, 100),
            })
        };
        let (verdict, why) = of(&pause(false), &[], true, 0);
        assert_eq!(verdict, Verdict::Discarded);
        assert_eq!(
            why[0],
            "The generator stood still for 120 ms from 8.23 s on: its process or the whole machine was stopped."
        );
        // Where no speed is judged, the counts stand.
        let (verdict, why) = of(&pause(false), &[], false, 0);
        assert_eq!(verdict, Verdict::Pass);
        // The latencies beside them are the generator's own.
        assert!(why[1].starts_with("The generator stood still"), "{why:?}");
        // Starved for a moment: only where a check suffers from it.
        assert_eq!(of(&pause(true), &[], true, 0).0, Verdict::Pass);
        let slow = [(
            Check::default(),
            Blame::Generator("p99 is late.".to_owned()),
        )];
        let (verdict, why) = of(&pause(true), &slow, true, 0);
        assert_eq!(verdict, Verdict::Discarded);
        assert!(why[0].contains("it got no processor"), "{why:?}");
        // What timed out while the generator slept says nothing of the service.
        assert_eq!(of(&pause(false), &[], true, 3).0, Verdict::Discarded);
        // What the service broke by itself is broken.
        let broken = [(Check::default(), Blame::Service)];
        let (verdict, why) = of(&pause(false), &broken, true, 0);
        assert_eq!(verdict, Verdict::Fail);
        assert!(
            why[1].starts_with("The service broke that bound by itself"),
            "{why:?}"
        );
        let undisturbed = Pauses::default();
        assert_eq!(of(&undisturbed, &broken, true, 0).1.len(), 1);
    }
}
