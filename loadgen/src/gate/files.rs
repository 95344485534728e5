//! The files of a gate: `gate.json`, `summary.md`, `junit.xml` and `gate.html`.

use std::fmt::Write as _;
use std::path::Path;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::Gate;
use super::judge::{Answer, Judgement, Row, percent, range};
use crate::capacity::page::escape;
use crate::run::RunError;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9d9e0; --page: #fff;
  --pass: #2b9a66; --fail: #e5484d; --open: #ad7f00; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba; --line: #43484e; --page: #111113;
  --pass: #3dd68c; --fail: #ff9592; --open: #ffca16; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2rem; } p { color: var(--soft); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: right; padding: .3rem .5rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } .scroll { overflow-x: auto; }
.pass { color: var(--pass); } .fail { color: var(--fail); } .inconclusive { color: var(--open); }
";

/// Writes all of them into `folder`.
///
/// # Errors
/// When one cannot be written.
pub fn write(gate: &Gate, folder: &Path) -> Result<(), RunError> {
    let json = serde_json::to_string_pretty(gate).unwrap_or_default() + "\n";
    for (name, text) in [
        ("gate.json", json),
        ("summary.md", markdown(gate)),
        ("junit.xml", junit(gate)),
        ("gate.html", html(gate)),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|source| RunError::Unwritable { path, source })?;
    }
    Ok(())
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

fn headline(gate: &Gate) -> String {
    let answer = match gate.answer {
        Answer::Pass => "pass: no slower than its base",
        Answer::Fail => "fail: worse than its base",
        Answer::Inconclusive => "inconclusive: the machine is too unsteady to tell",
    };
    format!("Performance gate, {answer}")
}

/// The summary for a pull request.
pub fn markdown(gate: &Gate) -> String {
    let mut text = format!(
        "## {}\n\n`{}` ({}) against `{}` ({}), {} blocks of six rounds.\n\n",
        headline(gate),
        gate.head.0,
        short(&gate.head.1),
        gate.base.0,
        short(&gate.base.1),
        gate.judgement.blocks
    );
    for why in &gate.why {
        let _ = writeln!(text, "- {why}");
    }
    text.push_str(
        "\n| metric | growth | 95 % range | fails surely above | passes surely below | answer | the same build again |\n|---|---|---|---|---|---|---|\n",
    );
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
            "\n| step | instructions, base | head | allocations, base | head |\n|---|---|---|---|---|\n",
        );
        for row in &gate.hot_path.rows {
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.0} | {:.2} | {:.2} |",
                row.step,
                row.base.instructions,
                row.head.instructions,
                row.base.allocations,
                row.head.allocations
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
        Answer::Inconclusive => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    status.set_message(message);
    status
}

fn html(gate: &Gate) -> String {
    let row = |row: &Row, control: Option<&Row>| {
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{answer}\">{answer}</td><td>{}</td></tr>",
            escape(&row.name),
            percent(row.growth),
            range(row),
            percent(row.fails_above),
            percent(row.passes_below),
            control.map(range).unwrap_or_default(),
            answer = row.answer.name(),
        )
    };
    let metrics: String = gate
        .judgement
        .rows
        .iter()
        .enumerate()
        .map(|(index, judged)| row(judged, gate.control.rows.get(index)))
        .collect();
    let why: Vec<String> = gate
        .why
        .iter()
        .map(|why| format!("<li>{}</li>", escape(why)))
        .collect();
    let steps: Vec<String> = gate
        .hot_path
        .rows
        .iter()
        .map(|row| {
            format!(
                "<tr><td>{}</td><td>{:.0}</td><td>{:.0}</td><td>{:.2}</td><td>{:.2}</td></tr>",
                escape(&row.step),
                row.base.instructions,
                row.head.instructions,
                row.base.allocations,
                row.head.allocations
            )
        })
        .collect();
    let rounds: Vec<String> = gate
        .rounds
        .iter()
        .map(|round| {
            format!(
                "<tr><td>{:?}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td></tr>",
                round.arm,
                round.admit_cpu_us,
                round.record_cpu_us,
                round.admit_redis_us,
                round.admit_wall_us,
                round.record_wall_us
            )
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Performance gate</title>\
        <style>{STYLE}</style></head><body><h1 class=\"{answer}\">{headline}</h1><ul>{why}</ul>\
        <p>{head} ({head_commit}) against {base} ({base_commit}): {blocks} blocks of six rounds, base, head and the base \
        again as a control, then in the other order. The ranges hold 95 % of what resampling the blocks gives.</p>\
        <div class=\"scroll\"><table><thead><tr><th>Metric</th><th>Growth</th><th>Range</th><th>Fails surely above</th><th>Passes surely below</th><th>Answer</th>\
        <th>The same build again</th></tr></thead><tbody>{metrics}</tbody></table></div>\
        <h2>Hot path</h2><p>{note}</p><div class=\"scroll\"><table><thead><tr><th>Step</th><th>Instructions, base</th><th>Head</th>\
        <th>Allocations, base</th><th>Head</th></tr></thead><tbody>{steps}</tbody></table></div>\
        <h2>Rounds</h2><p>Microseconds for a loan.</p><div class=\"scroll\"><table><thead><tr><th>Arm</th><th>Service CPU, admitted</th><th>Service CPU, recorded</th>\
        <th>Redis CPU, admitted</th><th>Time, admitted</th><th>Time, recorded</th></tr></thead><tbody>{rounds}</tbody></table></div>\
        <p>{cpu}, {cores} cores, {kernel}; Redis {redis} (appendfsync {sync}), MongoDB {mongodb}. {started} to {finished}</p>\
        </body></html>\n",
        answer = gate.answer.name(),
        why = why.concat(),
        steps = steps.concat(),
        rounds = rounds.concat(),
        headline = escape(&headline(gate)),
        head = escape(&gate.head.0),
        head_commit = escape(short(&gate.head.1)),
        base = escape(&gate.base.0),
        base_commit = escape(short(&gate.base.1)),
        blocks = gate.judgement.blocks,
        note = escape(
            gate.hot_path
                .note
                .as_deref()
                .unwrap_or("Counted by gungraun under valgrind, for one loan: hardly any chance is in these figures.")
        ),
        cpu = escape(&gate.provenance.cpu),
        cores = gate.provenance.cores,
        kernel = escape(&gate.provenance.kernel),
        redis = escape(&gate.provenance.redis),
        sync = escape(&gate.provenance.appendfsync),
        mongodb = escape(&gate.provenance.mongodb),
        started = escape(&gate.started_at),
        finished = escape(&gate.finished_at),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::hotpath::HotPath;
    use crate::report::Provenance;

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
