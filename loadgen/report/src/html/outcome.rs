//! What came of it: the checks, the audit, the errors and the drain.

use super::parts::{Cell, list, marked, no_data, section, table};
use crate::markup::Markup;
use crate::words::{self, why_no_audit};
use record::number::{count, counted, or_dash, or_no_data, plain, seconds};
use record::result::run::{AuditClass, Report};

/// What the scenario demands.
pub(crate) fn checks(markup: &mut Markup, report: &Report) {
    let is_judged = words::is_judged(report.verdict);
    let lead = if is_judged {
        "What the scenario demands. A check without data fails.".to_owned()
    } else {
        format!(
            "The run was {}: nothing here is judged, and what these checks say proves nothing.",
            report.verdict.name()
        )
    };
    section(markup, "checks", "Checks", &lead, |markup| {
        if report.checks.is_empty() {
            let text = if report.without_stores {
                "No check of the scenario can be judged without a look at the stores."
            } else {
                "The scenario has no checks."
            };
            no_data(markup, text);
            return;
        }
        // What failed comes first; the order within is the scenario's.
        let mut checks: Vec<_> = report.checks.iter().collect();
        checks.sort_by_key(|check| check.pass);
        let rows = checks.into_iter().map(|check| {
            let class = match (is_judged, check.pass) {
                (false, _) => "",
                (true, true) => "good",
                (true, false) => "bad",
            };
            vec![
                (&check.name).into(),
                Cell::of(words::outcome(check, report.verdict), class),
                (&check.observed).into(),
                (&check.bound).into(),
            ]
        });
        table(
            markup,
            "Checks of the scenario",
            &["Check", "Result", "Observed", "Bound"],
            4,
            rows,
        );
    });
}

/// What is stored, loan by loan.
pub(crate) fn audit(markup: &mut Markup, report: &Report) {
    let lead = "After the drain, every loan that was sent is looked up in MongoDB and Redis directly, without the \
                service, and classified by its id.";
    section(markup, "audit", "Audit", lead, |markup| {
        let audit = &report.audit;
        if audit.complete {
            audit_counts(markup, report);
        } else {
            let text = format!(
                "No data: {}, so nothing is known of what is stored.",
                why_no_audit(report)
            );
            no_data(markup, &text);
        }
        if !audit.examples.is_empty() {
            markup.leaf("h3", &[], "Examples");
            let rows = audit.examples.iter().map(|example| {
                let class = if example.class == AuditClass::Unknown {
                    ""
                } else {
                    "bad"
                };
                vec![
                    Cell::of(&example.loan_id, "code"),
                    Cell::of(example.class.name(), class),
                    (&example.story).into(),
                ]
            });
            table(
                markup,
                "Examples of loans",
                &["Loan", "Class", "What happened to it"],
                3,
                rows,
            );
        }
        markup.leaf("h3", &[], "Live counters against the audit");
        if report.counters_agree.is_empty() {
            no_data(markup, "No data: the live counters were not compared.");
            return;
        }
        let rows = report.counters_agree.iter().map(|row| {
            let audited = if row.audit_max > row.audit {
                format!("{} to {}", count(row.audit), count(row.audit_max))
            } else {
                count(row.audit)
            };
            let result = if row.agree {
                Cell::of("✓ agree", "good")
            } else {
                Cell::of("✗ differ", "bad")
            };
            vec![
                (&row.name).into(),
                result,
                or_no_data(row.live, count).into(),
                audited.into(),
            ]
        });
        table(
            markup,
            "Live counters against the audit",
            &["Counter", "Result", "Live", "Audit"],
            2,
            rows,
        );
        if report
            .counters_agree
            .iter()
            .any(|row| row.audit_max > row.audit)
        {
            let hint = "A range stands where a request was dropped on purpose or had no definite answer: it may have arrived \
                        or not.";
            markup.leaf("p", &[("class", &"hint")], hint);
        }
    });
}

fn audit_counts(markup: &mut Markup, report: &Report) {
    let audit = &report.audit;
    let row = |name: &'static str, value: u64, fault: bool, meaning: &'static str| {
        let value = if fault {
            marked(value)
        } else {
            count(value).into()
        };
        vec![name.into(), meaning.into(), value]
    };
    let rows = [
        row(
            "acknowledged",
            audit.acknowledged,
            false,
            "answered 202 at least once: the service promised to keep it",
        ),
        row("rejected", audit.rejected, false, "refused every time"),
        row(
            "unknown",
            audit.unknown,
            false,
            "no definite answer: stored or not, either is legal",
        ),
        row(
            "unknown, stored",
            audit.unknown_stored,
            false,
            "of these, stored after all",
        ),
        row("recorded", audit.recorded, false, "stored once in loans"),
        row(
            "failed",
            audit.failed,
            false,
            "did not pass validation, stored in failures",
        ),
        row(
            "lost",
            audit.lost,
            true,
            "fault: acknowledged, and found nowhere",
        ),
        row(
            "duplicated",
            audit.duplicated,
            true,
            "fault: more than one final record",
        ),
        row(
            "unexpected",
            audit.unexpected,
            true,
            "fault: stored, but never sent or refused",
        ),
        row(
            "mismatched",
            audit.mismatched,
            true,
            "fault: stored otherwise than sent, or with the wrong outcome",
        ),
        row(
            "stuck",
            audit.stuck,
            true,
            "fault: still in Redis when the drain ended",
        ),
    ];
    table(
        markup,
        "Loans by class",
        &["Class", "Meaning", "Loans"],
        2,
        rows,
    );
}

/// What went wrong on the wire.
pub(crate) fn errors(markup: &mut Markup, report: &Report) {
    let lead = "What went wrong on the wire: time-outs, broken connections, answers of 500 and above, and answers that \
                are not the documented ones. Every request is counted, also one that was sent again and then answered.";
    section(markup, "errors", "Errors", lead, |markup| {
        if report.errors.is_empty() {
            no_data(markup, "None.");
            crowd(markup, report);
            return;
        }
        let mut errors: Vec<_> = report.errors.iter().collect();
        errors.sort_by_key(|row| std::cmp::Reverse(row.count));
        let rows = errors.into_iter().map(|row| {
            let examples: Vec<&str> = std::iter::once(&row.example)
                .chain(&row.more_examples)
                .map(String::as_str)
                .collect();
            vec![
                (&row.kind).into(),
                Cell::of(&examples.join("\n"), "code wrap lines"),
                count(row.count).into(),
            ]
        });
        table(
            markup,
            "Errors by kind",
            &["Kind", "Examples", "Count"],
            2,
            rows,
        );
        crowd(markup, report);
    });
}

/// Those who misbehaved beside the load, if any.
fn crowd(markup: &mut Markup, report: &Report) {
    let Some(crowd) = &report.crowd else { return };
    markup.leaf("h3", &[], "The crowd beside the load");
    let text = "Clients that misbehave on connections of their own. They belong to none of the figures of this report; the \
                service has to keep them from the others. Who is let go comes back half a second later.";
    markup.leaf("p", &[("class", &"hint")], text);
    let rows = crowd.groups.iter().map(|group| {
        vec![
            (&group.name).into(),
            count(group.planned).into(),
            count(group.open_peak).into(),
            count(group.opened).into(),
        ]
    });
    let heads = ["Clients", "Planned", "Most at once", "Connections in all"];
    table(markup, "The crowd", &heads, 1, rows);
    let nonsense = &crowd.nonsense;
    if nonsense.per_second > 0 {
        let answers: Vec<String> = nonsense
            .answers
            .iter()
            .map(|(answer, times)| format!("{answer}: {}", count(*times)))
            .collect();
        let text = format!(
            "Nonsense, {} in a second planned. Answers: {}.",
            count(nonsense.per_second),
            answers.join(", ")
        );
        markup.leaf("p", &[], &text);
    }
}

/// How the backlog was worked off.
pub(crate) fn drain(markup: &mut Markup, report: &Report) {
    let mut lead = String::from(
        "The backlog is what was promised and does not stand in MongoDB yet: queued, in a worker's hand, or processed and \
         not yet recorded. A run ends only when it is gone.",
    );
    if !report.audit.complete && report.drain.backlog_peak.is_some() {
        lead.push_str(
            " The highest backlog and the workers are the service's own live figures: no audit has confirmed them.",
        );
    }
    section(markup, "drain", "Drain", &lead, |markup| {
        let drain = &report.drain;
        let workers = &report.workers;
        let sentence = match (drain.seconds_to_empty, drain.left_over) {
            (Some(after), _) => format!(
                "{} after the last request left, nothing was left to do.",
                seconds(after)
            ),
            (None, Some(left)) => format!(
                "The backlog was not worked off: {} still in Redis when the wait ended.",
                counted(left, "loan")
            ),
            (None, None) => {
                "No data: nobody could see whether the backlog was worked off.".to_owned()
            }
        };
        markup.leaf("p", &[("class", &"sentence")], &sentence);
        let fastest = report
            .time_series
            .iter()
            .filter_map(|point| point.recorded_per_second)
            .max_by(f64::total_cmp);
        markup.element("div", &[("class", &"columns")], |markup| {
            list(
                markup,
                "Backlog",
                &[
                    ("Highest", or_no_data(drain.backlog_peak, count)),
                    (
                        "Seen at",
                        or_no_data(drain.backlog_peak_at_seconds, seconds),
                    ),
                    (
                        "Time to empty after the last request",
                        or_no_data(drain.seconds_to_empty, seconds),
                    ),
                    ("Left over", or_no_data(drain.left_over, count)),
                ],
            );
            list(
                markup,
                "Workers and recording",
                &[
                    (
                        "Most workers at once",
                        format!(
                            "{} of at most {}",
                            or_no_data(workers.peak, count),
                            or_dash(workers.bound, count)
                        ),
                    ),
                    (
                        "Changes of their number",
                        format!(
                            "{}; taken back soon: {}",
                            count(workers.steps),
                            count(workers.flaps)
                        ),
                    ),
                    (
                        "Fastest recording",
                        or_no_data(fastest, |rate| format!("{}/s", plain(rate))),
                    ),
                ],
            );
        });
    });
}
