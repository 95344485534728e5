//! The files of a gate: `gate.json`, `summary.md`, `junit.xml` and `gate.html`.

use std::fmt::Write as _;
use std::path::Path;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use record::number::counted;
use record::result::gate::{Answer, Gate, Judgement, percent, range};
use record::result::hotpath::Cost;

use crate::files::{ReportError, write_file};
use crate::gate::{html, named};

/// Writes all of them into `folder`.
///
/// # Errors
/// When one cannot be written.
pub fn write(gate: &Gate, folder: &Path) -> Result<(), ReportError> {
    let json = serde_json::to_string_pretty(gate).expect("plain data serialises") + "\n";
    for (name, text) in [
        ("gate.json", json),
        ("summary.md", markdown(gate)),
        ("junit.xml", junit(gate)),
        ("gate.html", html(gate, &headline(gate))),
    ] {
        write_file(&folder.join(name), &text)?;
    }
    Ok(())
}

fn headline(gate: &Gate) -> String {
    let answer = match gate.answer {
        Answer::Pass => "pass: no slower than its base",
        Answer::Fail => "fail: worse than its base",
        Answer::Inconclusive => "inconclusive: the machine is too unsteady to tell",
        Answer::Aborted => "aborted: stopped before its end",
    };
    format!("Performance gate, {answer}")
}

/// The summary for a pull request.
pub fn markdown(gate: &Gate) -> String {
    let mut text = format!(
        "## {}\n\n{} against {}, {} of six rounds.\n\n",
        headline(gate),
        named(&gate.head),
        named(&gate.base),
        counted(gate.judgement.blocks as u64, "block")
    );
    for why in &gate.why {
        let _ = writeln!(text, "- {why}");
    }
    if gate.judgement.rows.is_empty() {
        text.push_str("\nNo data: no block was measured.\n");
    } else {
        text.push_str(
            "\n| metric | growth | 95 % range | fails surely above | passes surely below | answer | the same build again |\n|---|---|---|---|---|---|---|\n",
        );
    }
    for (row, control) in gate.judgement.rows.iter().zip(&gate.control.rows) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            percent(row.growth),
            range(row),
            percent(row.fails_above),
            percent(row.passes_below),
            row.answer.name(),
            range(control)
        );
    }
    if !gate.hot_path.rows.is_empty() {
        text.push_str(
            "\n| step | instructions, base | head | committed baseline | allocations, base | head | committed baseline |\n|---|---|---|---|---|---|---|\n",
        );
        for row in &gate.hot_path.rows {
            let baseline = |text: fn(&Cost) -> String| {
                row.baseline
                    .as_ref()
                    .map_or_else(|| "none".to_owned(), text)
            };
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.0} | {} | {:.2} | {:.2} | {} |",
                row.step,
                row.base.instructions,
                row.head.instructions,
                baseline(|cost| format!("{:.0}", cost.instructions)),
                row.base.allocations,
                row.head.allocations,
                baseline(|cost| format!("{:.2}", cost.allocations))
            );
        }
    }
    if let Some(note) = &gate.hot_path.note {
        let _ = writeln!(text, "\n{note}");
    }
    text
}

/// One test case for each metric, for the hot path, for the exact counts, and for the control.
pub fn junit(gate: &Gate) -> String {
    let mut document = quick_junit::Report::new("sluice gate");
    let mut suite = TestSuite::new("gate");
    let mut verdict = TestCase::new("answer", status(gate.answer, &gate.why.join(" ")));
    verdict.set_system_out(markdown(gate));
    suite.add_test_case(verdict);
    suite.add_test_cases(rows("head", &gate.judgement));
    suite.add_test_cases(rows("control", &gate.control));
    let failures = gate.hot_path.failures();
    let hot_path = if gate.hot_path.rows.is_empty() {
        let mut skipped = TestCaseStatus::skipped();
        skipped.set_message(gate.hot_path.note.clone().unwrap_or_default());
        skipped
    } else if failures.is_empty() {
        TestCaseStatus::success()
    } else {
        status(Answer::Fail, &failures.join(" "))
    };
    suite.add_test_case(TestCase::new("hot path", hot_path));
    let faults: Vec<String> = gate
        .rounds
        .iter()
        .flat_map(|round| round.faults.iter().cloned())
        .collect();
    let exact = if faults.is_empty() {
        TestCaseStatus::success()
    } else {
        status(Answer::Fail, &faults.join(" "))
    };
    suite.add_test_case(TestCase::new("exact counts", exact));
    document.add_test_suite(suite);
    document
        .to_string()
        .expect("a JUnit document of plain strings always serialises")
}

fn rows(arm: &str, judgement: &Judgement) -> Vec<TestCase> {
    judgement
        .rows
        .iter()
        .map(|row| {
            let told = format!(
                "{} ({}), fails surely above {}, passes surely below {}",
                percent(row.growth),
                range(row),
                percent(row.fails_above),
                percent(row.passes_below)
            );
            TestCase::new(format!("{arm}: {}", row.name), status(row.answer, &told))
        })
        .collect()
}

fn status(answer: Answer, message: &str) -> TestCaseStatus {
    let mut status = match answer {
        Answer::Pass => return TestCaseStatus::success(),
        Answer::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Answer::Inconclusive | Answer::Aborted => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
    };
    status.set_message(message);
    status
}

#[cfg(test)]
mod tests {
    use record::result::gate::Row;
    use record::result::hotpath::HotPath;
    use record::result::run::Provenance;

    use super::*;

    fn gate(answer: Answer) -> Gate {
        let row = Row {
            name: "service CPU for an admitted loan".to_owned(),
            growth: 0.1,
            growth_low: 0.08,
            growth_high: 0.12,
            fails_above: 0.03,
            passes_below: 0.10,
            answer,
        };
        let judgement = Judgement {
            blocks: 5,
            rows: vec![row],
        };
        Gate {
            answer,
            why: vec!["<b>It grew.</b>".to_owned()],
            base: ("main".to_owned(), "0123456789abcdef".to_owned()),
            head: ("topic".to_owned(), "fedcba9876543210".to_owned()),
            started_at: String::new(),
            finished_at: String::new(),
            control: judgement.clone(),
            judgement,
            hot_path: HotPath {
                rows: Vec::new(),
                note: Some("valgrind is not installed".to_owned()),
            },
            rounds: Vec::new(),
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn every_file_says_the_answer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&gate(Answer::Fail), folder.path()).expect("they are written");
        let read = |name: &str| {
            std::fs::read_to_string(folder.path().join(name)).expect("the file is there")
        };
        assert!(read("summary.md").contains("fail: worse than its base"));
        assert!(read("junit.xml").contains("<failure"));
        assert!(
            read("gate.html").contains("&lt;b&gt;It grew") && !read("gate.html").contains("<b>")
        );
        assert!(read("gate.json").contains("\"answer\": \"fail\""));
        assert!(junit(&gate(Answer::Inconclusive)).contains("<error"));
        assert!(!junit(&gate(Answer::Pass)).contains("<failure"));
    }
}
