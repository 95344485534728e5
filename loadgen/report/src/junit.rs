//! `junit.xml`: one test case for the verdict, for each check and for each class of the audit.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use crate::words::headline;
use record::number::counted;
use record::result::run::{AuditClass, Report, Verdict};

/// The report as JUnit XML.
///
/// A run that was discarded or aborted is an error of its verdict, and skips the rest: it proves neither way.
pub fn render(report: &Report) -> String {
    let conclusive = matches!(report.verdict, Verdict::Pass | Verdict::Fail);
    let mut document = quick_junit::Report::new(format!("sluice {}", report.scenario));
    document.set_time(Duration::try_from_secs_f64(report.duration_seconds).unwrap_or_default());
    document.add_test_suite(verdict(report));
    document.add_test_suite(checks(report, conclusive));
    document.add_test_suite(audit(report, conclusive));
    document
        .to_string()
        .expect("a JUnit document of plain strings always serialises")
        // XML holds no such sign, and a name may.
        .replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

fn verdict(report: &Report) -> TestSuite {
    let status = match report.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail => not_passed(NonSuccessKind::Failure, &headline(report)),
        Verdict::Discarded | Verdict::Aborted => {
            not_passed(NonSuccessKind::Error, &headline(report))
        }
    };
    let mut case = TestCase::new("verdict", status);
    case.set_system_out(report.why.join("\n"));
    suite("run", [case])
}

fn checks(report: &Report, conclusive: bool) -> TestSuite {
    suite(
        "checks",
        report.checks.iter().map(|check| {
            let bound_and_observed = format!("bound {}, observed {}", check.bound, check.observed);
            TestCase::new(
                check.name.as_str(),
                judged(check.pass, conclusive, &bound_and_observed),
            )
        }),
    )
}

fn audit(report: &Report, conclusive: bool) -> TestSuite {
    let audit = &report.audit;
    let conclusive = conclusive && audit.complete;
    let classes = [
        (AuditClass::Lost, audit.lost),
        (AuditClass::Duplicated, audit.duplicated),
        (AuditClass::Unexpected, audit.unexpected),
        (AuditClass::Mismatched, audit.mismatched),
        (AuditClass::Stuck, audit.stuck),
    ];
    let mut cases: Vec<TestCase> = classes
        .into_iter()
        .map(|(class, count)| {
            let message = format!("{} {}", counted(count, "loan"), class.name());
            let mut case = TestCase::new(
                format!("no loan {}", class.name()),
                judged(count == 0, conclusive, &message),
            );
            let examples: Vec<String> = audit
                .examples
                .iter()
                .filter(|example| example.class == class)
                .map(|example| format!("{}: {}", example.loan_id, example.story))
                .collect();
            if !examples.is_empty() {
                case.set_system_out(examples.join("\n"));
            }
            case
        })
        .collect();
    cases.extend(report.counters_agree.iter().map(|row| {
        let live = row
            .live
            .map_or_else(|| "no data".to_owned(), |live| live.to_string());
        let message = format!("live {live}, audit {} to {}", row.audit, row.audit_max);
        TestCase::new(
            format!("live counter {} agrees", row.name),
            judged(row.agree, conclusive, &message),
        )
    }));
    suite("audit", cases)
}

fn suite(name: &str, cases: impl IntoIterator<Item = TestCase>) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.add_test_cases(cases);
    suite
}

fn judged(pass: bool, conclusive: bool, message: &str) -> TestCaseStatus {
    if !conclusive {
        let mut skipped = TestCaseStatus::skipped();
        skipped.set_message(format!("not judged: {message}"));
        skipped
    } else if pass {
        TestCaseStatus::success()
    } else {
        not_passed(NonSuccessKind::Failure, message)
    }
}

fn not_passed(kind: NonSuccessKind, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(message);
    status
}

#[cfg(test)]
mod tests {
    use record::result::run::Check;

    use super::*;

    #[test]
    fn every_text_makes_a_document() {
        let all = (0..=0x1_ffff).filter_map(char::from_u32);
        let text: String = all.collect();
        let report = Report {
            scenario: text.clone(),
            why: vec![text.clone()],
            checks: vec![Check {
                name: text.clone(),
                bound: text.clone(),
                observed: text,
                pass: false,
            }],
            ..Report::default()
        };
        let document = render(&report);
        if let Err(error) = roxmltree::Document::parse(&document) {
            panic!("{error}");
        }
    }
}
