//! The verdict from what was seen. Pure.

use std::time::Duration;

use record::number::count;
use record::result::run::{Audit, Check, CounterRow, Verdict};

/// What the verdict is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Why the run was stopped before its end, if it was.
    pub aborted: Option<&'a str>,
    /// Why the run ended by itself before its end: a check could no longer hold.
    pub ended_early: Option<&'a str>,
    /// Arrivals that never left.
    pub unsent: u64,
    /// Arrivals that were due while every user was busy.
    pub held_back: u64,
    /// Goose users of the run.
    pub users: usize,
    /// The failed checks that would have held without the generator's own lateness, a sentence each.
    pub by_lag: &'a [String],
    /// What would have been refused and was allowed.
    pub overrides: &'a [String],
    /// Why the crowd beside the load was not what the scenario wants, a sentence each.
    pub crowd: &'a [String],
    /// 99th percentile of the send lag.
    pub send_lag_p99: Duration,
    /// Its bound.
    pub send_lag_max: Duration,
    /// The judged checks.
    pub checks: &'a [Check],
    /// The audit.
    pub audit: &'a Audit,
    /// The live counters beside the audit.
    pub counters: &'a [CounterRow],
    /// Requests by goose's count and by ours.
    pub requests: (u64, u64),
}

/// The verdict and its reasons, the most important first. What was allowed against the rules comes last.
pub fn decide(evidence: &Evidence<'_>) -> (Verdict, Vec<String>) {
    let (verdict, mut why) = reasons(evidence);
    why.extend(
        evidence
            .overrides
            .iter()
            .map(|allowed| format!("Allowed by the command line: {allowed}")),
    );
    (verdict, why)
}

/// A loan that was lost or doubled is a failure however late the generator was. Everything else that a late
/// generator saw proves nothing.
fn reasons(evidence: &Evidence<'_>) -> (Verdict, Vec<String>) {
    let mut faults = Vec::new();
    let audit = evidence.audit;
    for (count, what) in [
        (audit.lost, "acknowledged and found nowhere"),
        (audit.duplicated, "recorded more than once"),
        (audit.unexpected, "recorded that should not be"),
        (
            audit.mismatched,
            "answered or recorded otherwise than they must be",
        ),
        (audit.stuck, "still in Redis when the drain ended"),
    ] {
        if count > 0 {
            faults.push(format!("{count} loans {what}."));
        }
    }
    let mut doubts = Vec::new();
    // What is missing after an early end was not to be sent.
    if evidence.unsent > 0 && evidence.ended_early.is_none() {
        doubts.push(format!("{} arrivals were never sent.", evidence.unsent));
    }
    if evidence.send_lag_p99 > evidence.send_lag_max {
        doubts.push(format!(
            "Requests left late: 99 % within {:.1} ms, and the bound is {:.1} ms.",
            evidence.send_lag_p99.as_secs_f64() * 1e3,
            evidence.send_lag_max.as_secs_f64() * 1e3
        ));
    }
    doubts.extend(evidence.by_lag.iter().cloned());
    if !doubts.is_empty() && evidence.held_back > 0 {
        doubts.push(format!(
            "{} arrivals were due while all {} users were busy: give the scenario more users.",
            evidence.held_back, evidence.users
        ));
    }
    doubts.extend(evidence.crowd.iter().cloned());
    let (goose, ours) = evidence.requests;
    if goose != ours {
        doubts.push(format!(
            "Goose counted {goose} requests, the ledger {ours}."
        ));
    }
    let mut failures = Vec::new();
    if let Some(reason) = evidence.ended_early {
        failures.push(format!("The run was ended early: {reason}."));
    }
    if !audit.complete {
        failures.push("The audit did not run to its end.".to_owned());
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
    failures.extend(
        evidence
            .checks
            .iter()
            .filter(|check| !check.pass)
            .map(|check| {
                format!(
                    "{}: {}, and the bound is {}.",
                    check.name, check.observed, check.bound
                )
            }),
    );
    if let Some(reason) = evidence.aborted {
        let mut why = vec![format!("The run was stopped: {reason}.")];
        why.extend(faults);
        return (Verdict::Aborted, why);
    }
    if !faults.is_empty() {
        faults.extend(failures);
        faults.extend(doubts);
        return (Verdict::Fail, faults);
    }
    if !doubts.is_empty() {
        doubts.push("The generator was late or saturated, so nothing may be concluded.".to_owned());
        return (Verdict::Discarded, doubts);
    }
    if !failures.is_empty() {
        return (Verdict::Fail, failures);
    }
    (
        Verdict::Pass,
        vec![format!(
            "All {} checks held; every one of {} loans ended as it must.",
            evidence.checks.len(),
            count(audit.ids)
        )],
    )
}

#[cfg(test)]
mod tests {
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

    fn verdict(evidence: Evidence<'_>) -> Verdict {
        let (verdict, why) = decide(&evidence);
        assert!(!why.is_empty());
        verdict
    }

    #[test]
    fn the_table() {
        let good = Evidence {
            aborted: None,
            ended_early: None,
            unsent: 0,
            held_back: 0,
            users: 32,
            by_lag: &[],
            overrides: &[],
            crowd: &[],
            send_lag_p99: Duration::from_millis(1),
            send_lag_max: Duration::from_millis(20),
            checks: &[],
            audit: &GOOD,
            counters: &[],
            requests: (5, 5),
        };
        let audit = &Audit { lost: 1, ..GOOD };
        let partial = &Audit::default();
        let checks = &[Check::default()];
        let counters = &[CounterRow::default()];
        let send_lag_p99 = Duration::from_secs(1);
        let aborted = Some("Ctrl-C");
        assert_eq!(verdict(good), Verdict::Pass);
        assert_eq!(verdict(Evidence { audit, ..good }), Verdict::Fail);
        assert_eq!(
            verdict(Evidence {
                audit: partial,
                ..good
            }),
            Verdict::Fail
        );
        assert_eq!(verdict(Evidence { checks, ..good }), Verdict::Fail);
        assert_eq!(verdict(Evidence { counters, ..good }), Verdict::Fail);
        assert_eq!(verdict(Evidence { unsent: 1, ..good }), Verdict::Discarded);
        assert_eq!(
            verdict(Evidence {
                send_lag_p99,
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
        // A check that the generator's own lateness failed proves nothing.
        let by_lag = &["p99 is late by itself.".to_owned()];
        assert_eq!(
            verdict(Evidence {
                by_lag,
                checks,
                ..good
            }),
            Verdict::Discarded
        );
        let overrides = &["the queue was not empty.".to_owned()];
        let (passed, why) = decide(&Evidence { overrides, ..good });
        assert_eq!(passed, Verdict::Pass);
        assert!(why[1].contains("the queue was not empty"), "{why:?}");
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
    }
}
