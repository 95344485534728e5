//! The report of a fault run: `chaos.html`, `chaos.json`, `summary.md`, and what the terminal says.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::ReportError;
use crate::files::write_file;
use crate::html::{page, parts};
use crate::markup::{Attributes, Markup};
use crate::words::{commit, instant, one_line};
use record::number::{NOT_MEASURED, count, counted, or_dash, seconds};
use record::result::chaos::{ChaosReport, FaultReport, RunReport, Totals, Verdict};

/// Writes `chaos.json`, `chaos.html` and `summary.md` into `dir`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(report: &ChaosReport, dir: &Path) -> Result<(), ReportError> {
    let mut json = serde_json::to_string_pretty(report).expect("plain data is valid JSON");
    json.push('\n');
    for (name, text) in [
        ("chaos.json", json),
        ("chaos.html", html(report)),
        ("summary.md", markdown(report)),
    ] {
        let path = dir.join(name);
        write_file(&path, &text)?;
    }
    Ok(())
}

/// Tells one run on one line as it ends, on standard error.
pub fn tell(run: &RunReport) {
    let why = if run.why.is_empty() || run.is_proof() {
        String::new()
    } else {
        format!(": {}", one_line(&run.why.join("; ")))
    };
    let _ = io::Write::write_fmt(
        &mut io::stderr(),
        format_args!(
            "{} {:<28} {}{why}\n",
            sign(run.verdict),
            run.name,
            brief(run),
        ),
    );
}

/// The table for the terminal.
pub fn terminal(report: &ChaosReport) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<28} {:<6} {:>7} {:>6} {:>7} {:>9} {:>9} {:>5} {:>6} {:>5} {:>8}",
        "run",
        "",
        "loans",
        "503",
        "silent",
        "longest",
        "recovery",
        "lost",
        "double",
        "stuck",
        "redeliv."
    );
    for run in grouped(&report.runs) {
        let _ = writeln!(
            text,
            "{:<28} {:<6} {:>7} {:>6} {:>7} {:>9} {:>9} {:>5} {:>6} {:>5} {:>8}",
            run.name,
            run.verdict.name(),
            count(run.loans),
            count(run.refused),
            count(run.unanswered),
            seconds(run.longest),
            or_dash(run.recovery, seconds),
            run.lost,
            run.duplicated,
            run.stuck,
            count(run.redelivered),
        );
    }
    let _ = writeln!(text, "\n{}", headline(report));
    for why in &report.why {
        let _ = writeln!(text, "  {}", one_line(why));
    }
    text
}

/// One line of a table: a run, or all runs of drawn faults together.
struct Row {
    name: String,
    verdict: Verdict,
    loans: u64,
    refused: u64,
    unanswered: u64,
    longest: f64,
    recovery: Option<f64>,
    lost: u64,
    duplicated: u64,
    stuck: u64,
    redelivered: u64,
}

fn grouped(runs: &[RunReport]) -> Vec<Row> {
    let figure = |run: &RunReport, name: &str| run.figures.get(name).copied().unwrap_or(0);
    let row = |run: &RunReport| Row {
        name: run.name.clone(),
        verdict: run.verdict,
        loans: run.audit.ids,
        refused: figure(run, "refused_503"),
        unanswered: figure(run, "unanswered"),
        longest: longest(run),
        recovery: recovery(run),
        lost: run.audit.lost,
        duplicated: run.audit.duplicated,
        stuck: run.audit.stuck,
        redelivered: figure(run, "redelivered"),
    };
    let mut rows: Vec<Row> = runs.iter().filter(|run| !run.mixed).map(row).collect();
    let mixed: Vec<Row> = runs.iter().filter(|run| run.mixed).map(row).collect();
    if let Some(first) = mixed.first() {
        let sum = |of: fn(&Row) -> u64| mixed.iter().map(of).sum();
        // The void ones do not count: others took their place.
        let void = mixed.iter().filter(|row| row.verdict == Verdict::Void);
        let void = void.count();
        let counted = mixed.iter().filter(|row| row.verdict != Verdict::Void);
        rows.push(Row {
            name: match void {
                0 => format!("{} runs of drawn faults", mixed.len()),
                _ => format!("{} of drawn faults, {void} void", mixed.len()),
            },
            verdict: worst(counted.map(|row| row.verdict)).unwrap_or(first.verdict),
            loans: sum(|row| row.loans),
            refused: sum(|row| row.refused),
            unanswered: sum(|row| row.unanswered),
            longest: mixed.iter().map(|row| row.longest).fold(0.0, f64::max),
            recovery: mixed.iter().filter_map(|row| row.recovery).reduce(f64::max),
            lost: sum(|row| row.lost),
            duplicated: sum(|row| row.duplicated),
            stuck: sum(|row| row.stuck),
            redelivered: sum(|row| row.redelivered),
        });
    }
    rows
}

fn worst(verdicts: impl Iterator<Item = Verdict>) -> Option<Verdict> {
    verdicts.max_by_key(|verdict| match verdict {
        Verdict::Pass => 0,
        Verdict::Void => 1,
        Verdict::Fail => 2,
    })
}

fn longest(run: &RunReport) -> f64 {
    run.faults
        .iter()
        .map(|fault| fault.longest_wait_seconds)
        .fold(0.0, f64::max)
}

fn recovery(run: &RunReport) -> Option<f64> {
    run.faults
        .iter()
        .filter_map(|fault| fault.recovery_seconds)
        .reduce(f64::max)
}

fn brief(run: &RunReport) -> String {
    if run.is_proof() {
        return format!(
            "proof of the rig, planted {}: {}",
            run.expected,
            one_line(&run.why.join("; "))
        );
    }
    format!(
        "{} of {}, {} lost, {} doubled, {} stuck; longest wait {}, recovery {}",
        counted(run.faults.len() as u64, "fault"),
        counted(run.audit.ids, "loan"),
        run.audit.lost,
        run.audit.duplicated,
        run.audit.stuck,
        seconds(longest(run)),
        or_dash(recovery(run), seconds),
    )
}

fn headline(report: &ChaosReport) -> String {
    let totals = &report.totals;
    match report.verdict {
        Verdict::Pass => format!("Passed. {}.", sums(totals)),
        Verdict::Fail => format!(
            "Failed. {}, {} unexpected, {} mismatched, {} counters wrong.",
            sums(totals),
            totals.unexpected,
            totals.mismatched,
            totals.counters_wrong
        ),
        Verdict::Void => "Void. Nothing may be concluded, for these reasons.".to_owned(),
    }
}

/// What was done and what became of the loans, in one line.
pub(crate) fn sums(totals: &Totals) -> String {
    format!(
        "{}, {}, {}: {} lost, {} doubled, {} stuck",
        counted(totals.runs, "run"),
        counted(totals.faults, "fault"),
        counted(totals.loans, "loan"),
        totals.lost,
        totals.duplicated,
        totals.stuck
    )
}

pub(crate) const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Fail => "✗",
        Verdict::Void => "?",
    }
}

/// The summary for a pull request or a job's page.
pub fn markdown(report: &ChaosReport) -> String {
    let mut text = format!(
        "# Fault run: {}\n\n{}\n\n",
        report.verdict.name(),
        headline(report)
    );
    for why in &report.why {
        let _ = writeln!(text, "- {}", one_line(why));
    }
    text.push_str("\n| run | verdict | loans | 503 | no answer | longest wait | recovery | lost | doubled | stuck | redelivered |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for row in grouped(&report.runs) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            row.verdict.name(),
            count(row.loans),
            count(row.refused),
            count(row.unanswered),
            seconds(row.longest),
            or_dash(row.recovery, seconds),
            row.lost,
            row.duplicated,
            row.stuck,
            count(row.redelivered),
        );
    }
    text
}

/// The page: one file, no script.
pub fn html(report: &ChaosReport) -> String {
    page(&format!("{}: fault run", report.verdict.name()), |markup| {
        banner(markup, report);
        markup.element("main", &[], |markup| {
            overview(markup, report);
            matrix(markup, report);
            proofs(markup, report);
            mixed(markup, report);
            surroundings(markup, report);
        });
    })
}

fn banner(markup: &mut Markup, report: &ChaosReport) {
    let class = match report.verdict {
        Verdict::Pass => "banner pass",
        Verdict::Fail => "banner fail",
        Verdict::Void => "banner discarded",
    };
    markup.element("header", &[("class", &class)], |markup| {
        markup.element("p", &[("class", &"eyebrow")], |markup| {
            markup.leaf("strong", &[], "chaos");
            markup.text(" · load, faults, healing, drain, audit");
        });
        parts::headline(markup, sign(report.verdict), &headline(report));
        if !report.why.is_empty() {
            why(markup, report);
        }
        let provenance = &report.provenance;
        markup.leaf(
            "p",
            &[("class", &"facts")],
            &format!(
                "{} · {} · service {}, load generator {} · Redis {} (appendfsync {}), MongoDB {} · {} cores",
                instant(&report.started_at),
                seconds(report.duration_seconds),
                commit(&provenance.service_commit, provenance.service_dirty),
                commit(&provenance.git_commit, provenance.dirty),
                provenance.redis,
                provenance.appendfsync,
                provenance.mongodb,
                provenance.cores,
            ),
        );
    });
}

/// The reasons; one that begins with the name of a run leads to it.
fn why(markup: &mut Markup, report: &ChaosReport) {
    markup.element("ul", &[("class", &"why")], |markup| {
        for why in &report.why {
            let named = why
                .split_once(": ")
                .filter(|(name, _)| report.runs.iter().any(|run| run.name == *name));
            markup.element("li", &[], |markup| match named {
                Some((name, told)) => {
                    markup.leaf("a", &[("href", &format!("#{name}"))], name);
                    markup.text(&format!(": {}", one_line(told)));
                }
                None => markup.text(&one_line(why)),
            });
        }
    });
}

fn overview(markup: &mut Markup, report: &ChaosReport) {
    let totals = &report.totals;
    let figure = |name: &str| totals.figures.get(name).copied().unwrap_or(0);
    markup.element("dl", &[("class", &"figures")], |markup| {
        for (name, value, note) in [
            (
                "Runs",
                totals.runs,
                format!("{} with drawn faults", count(totals.mixed_runs)),
            ),
            (
                "Faults",
                totals.faults,
                "each seen to take effect".to_owned(),
            ),
            (
                "Loans",
                totals.loans,
                format!("{} requests", count(totals.requests)),
            ),
            (
                "Acknowledged",
                totals.acknowledged,
                "answered 202".to_owned(),
            ),
            ("Lost", totals.lost, "acknowledged and gone".to_owned()),
            (
                "Doubled",
                totals.duplicated,
                "taken or recorded twice".to_owned(),
            ),
            ("Stuck", totals.stuck, "left in Redis".to_owned()),
            (
                "Redelivered",
                figure("redelivered"),
                "taken over from a silent worker".to_owned(),
            ),
            (
                "Lost races",
                figure("lost_commit_races"),
                "second commits, dropped".to_owned(),
            ),
            (
                "Duplicate keys",
                figure("duplicate_keys"),
                "second records, refused".to_owned(),
            ),
            (
                "Replays",
                figure("replayed"),
                "known loans, answered again".to_owned(),
            ),
            (
                "Refusals",
                figure("refused_503"),
                format!("and {} without an answer", count(figure("unanswered"))),
            ),
        ] {
            markup.element("div", &[], |markup| {
                markup.leaf("dt", &[], name);
                markup.leaf("dd", &[("class", &"value")], &count(value));
                markup.leaf("dd", &[("class", &"note")], &note);
            });
        }
    });
}

fn matrix(markup: &mut Markup, report: &ChaosReport) {
    if report.runs.iter().all(|run| run.mixed || run.is_proof()) {
        return;
    }
    section(
        markup,
        "The fault matrix",
        "Each row has a stack of its own. Times are seconds after the start of the load. The longest wait is that of \
         one loan, from its first request to its definite answer; recovery runs from the end of the fault to the first \
         definite answer to a request that left after it.",
        |markup| {
            for run in &report.runs {
                if !run.mixed && !run.is_proof() {
                    detail(markup, run);
                }
            }
        },
    );
}

fn proofs(markup: &mut Markup, report: &ChaosReport) {
    if report.runs.iter().all(|run| !run.is_proof()) {
        return;
    }
    section(
        markup,
        "Proof of the rig",
        "Here one guard of the design is switched off on purpose, or Redis is set too weakly. The checker must find \
         what comes of it; a run in which it does not is a failure of the rig.",
        |markup| {
            for run in &report.runs {
                if run.is_proof() {
                    detail(markup, run);
                }
            }
        },
    );
}

fn mixed(markup: &mut Markup, report: &ChaosReport) {
    let runs: Vec<&RunReport> = report.runs.iter().filter(|run| run.mixed).collect();
    if runs.is_empty() {
        return;
    }
    section(
        markup,
        "Drawn faults",
        "Faults, targets and times are drawn by the seed. The command in a failed row repeats it.",
        |markup| {
            for verdict in [Verdict::Fail, Verdict::Void] {
                for run in runs.iter().filter(|run| run.verdict == verdict) {
                    detail(markup, run);
                }
            }
            table(
                markup,
                "Runs of drawn faults",
                &[
                    "Seed",
                    "Verdict",
                    "Faults",
                    "Loans",
                    "Longest wait",
                    "Recovery",
                    "Lost",
                    "Doubled",
                    "Stuck",
                ],
                |markup| {
                    for run in &runs {
                        let what: Vec<String> = run
                            .faults
                            .iter()
                            .map(|fault| format!("{} {}", seconds(fault.hit_seconds), fault.what))
                            .collect();
                        row(
                            markup,
                            &[
                                run.seed.to_string(),
                                sign(run.verdict).to_owned(),
                                what.join("; "),
                                count(run.audit.ids),
                                seconds(longest(run)),
                                or_dash(recovery(run), seconds),
                                run.audit.lost.to_string(),
                                run.audit.duplicated.to_string(),
                                run.audit.stuck.to_string(),
                            ],
                        );
                    }
                },
            );
        },
    );
}

/// One run in full.
fn detail(markup: &mut Markup, run: &RunReport) {
    markup.element("h3", &[("id", &run.name)], |markup| {
        let class = match run.verdict {
            Verdict::Pass => "good",
            Verdict::Fail => "bad",
            Verdict::Void => "hold",
        };
        markup.leaf(
            "span",
            &[("class", &class)],
            &format!("{} {}", sign(run.verdict), run.verdict.name()),
        );
        // Many runs share what their faults are; the name is what the reasons at the top say.
        markup.text(&format!(" {}: {}", run.name, run.row));
    });
    markup.leaf("p", &[("class", &"hint")], &run.description);
    if !run.why.is_empty() {
        parts::why(markup, run.why.iter().map(|why| one_line(why)));
    }
    table(
        markup,
        &format!("Faults of {}", run.name),
        &[
            "Fault",
            "Hit",
            "Over",
            "Evidence",
            "503",
            "No answer",
            "Longest wait",
            "Recovery",
        ],
        |markup| {
            for fault in &run.faults {
                fault_row(markup, fault);
            }
        },
    );
    let audit = &run.audit;
    let answers: Vec<String> = run
        .answers
        .iter()
        .map(|(answer, number)| format!("{} × {answer}", count(*number)))
        .collect();
    markup.leaf(
        "p",
        &[("class", &"hint")],
        &format!(
            "{} of {}: {} acknowledged, {} rejected, {} unknown ({} of them stored); {} recorded, {} failed; {} lost, {} \
             doubled, {} unexpected, {} mismatched, {} stuck. Drained after {}. Answers: {}.",
            counted(run.requests, "request"),
            counted(audit.ids, "loan"),
            count(audit.acknowledged),
            count(audit.rejected),
            count(audit.unknown),
            count(audit.unknown_stored),
            count(audit.recorded),
            count(audit.failed),
            audit.lost,
            audit.duplicated,
            audit.unexpected,
            audit.mismatched,
            audit.stuck,
            or_dash(run.drain_seconds, seconds),
            answers.join(", "),
        ),
    );
    let figures: Vec<String> = run
        .figures
        .iter()
        .filter(|(_, value)| **value > 0)
        .map(|(name, value)| format!("{} {}", name.replace('_', " "), count(*value)))
        .collect();
    markup.leaf(
        "p",
        &[("class", &"hint")],
        &format!("Seen: {}.", figures.join(", ")),
    );
    let wrong: Vec<_> = run.counters.iter().filter(|row| !row.agree).collect();
    if !wrong.is_empty() {
        table(
            markup,
            "Counters that disagree",
            &["Counter", "Live", "Records"],
            |markup| {
                for counter in wrong {
                    row(
                        markup,
                        &[
                            counter.name.clone(),
                            or_dash(counter.live, count),
                            count(counter.audit),
                        ],
                    );
                }
            },
        );
    }
    if !audit.examples.is_empty() {
        table(
            markup,
            "Loans with a fault",
            &["Class", "Loan", "What happened to it"],
            |markup| {
                for example in &audit.examples {
                    row(
                        markup,
                        &[
                            example.class.name().to_owned(),
                            example.loan_id.clone(),
                            one_line(&example.story),
                        ],
                    );
                }
            },
        );
    }
    markup.element("p", &[("class", &"hint")], |markup| {
        markup.text("Repeat: ");
        markup.leaf("code", &[], &run.repeat);
        if let Some(history) = &run.history {
            markup.text(" · history: ");
            markup.leaf("a", &[("href", history)], history);
        }
    });
}

/// A row whose cells have classes of their own. The first cell names it.
fn row_of(markup: &mut Markup, cells: &[(&str, String)]) {
    markup.element("tr", &[], |markup| {
        for (index, (class, cell)) in cells.iter().enumerate() {
            if index == 0 {
                markup.leaf("th", &[("scope", &"row"), ("class", class)], cell);
            } else {
                markup.leaf("td", &[("class", class)], cell);
            }
        }
    });
}

fn fault_row(markup: &mut Markup, fault: &FaultReport) {
    let evidence = if fault.took_effect {
        fault.evidence.clone()
    } else {
        format!("no effect: {}", fault.evidence)
    };
    row_of(
        markup,
        &[
            ("what", fault.what.clone()),
            ("nowrap", seconds(fault.hit_seconds)),
            ("nowrap", seconds(fault.over_seconds)),
            ("prose", evidence),
            ("", count(fault.refused)),
            ("", count(fault.unanswered)),
            ("nowrap", seconds(fault.longest_wait_seconds)),
            (
                "nowrap",
                fault
                    .recovery_seconds
                    .map_or_else(|| NOT_MEASURED.to_owned(), seconds),
            ),
        ],
    );
}

/// A version, and the commit that it was built from.
fn build(version: &str, commit: &str) -> String {
    let version = if version.is_empty() {
        "unknown"
    } else {
        version
    };
    format!("{version}, commit {commit}")
}

fn surroundings(markup: &mut Markup, report: &ChaosReport) {
    let provenance = &report.provenance;
    let service = commit(&provenance.service_commit, provenance.service_dirty);
    let ours = commit(&provenance.git_commit, provenance.dirty);
    section(markup, "Surroundings", "", |markup| {
        table(markup, "Surroundings", &["What", "Value"], |markup| {
            for (name, value) in [
                ("Processor", provenance.cpu.clone()),
                ("Kernel", provenance.kernel.clone()),
                ("Service", build(&provenance.service_version, &service)),
                ("Load generator", build(&provenance.loadgen_version, &ours)),
                ("Redis", provenance.redis.clone()),
                ("MongoDB", provenance.mongodb.clone()),
                (
                    "Exit codes",
                    "0 pass, 1 fail, 2 could not run, 4 aborted, 5 void".to_owned(),
                ),
            ] {
                row(markup, &[name.to_owned(), value]);
            }
        });
    });
}

fn section(markup: &mut Markup, title: &str, lead: &str, inside: impl FnOnce(&mut Markup)) {
    markup.element("section", &[], |markup| {
        markup.leaf("h2", &[], title);
        if !lead.is_empty() {
            markup.leaf("p", &[("class", &"lead")], lead);
        }
        inside(markup);
    });
}

fn table(markup: &mut Markup, caption: &str, heads: &[&str], rows: impl FnOnce(&mut Markup)) {
    let scroll: Attributes = &[
        ("class", &"scroll"),
        ("tabindex", &"0"),
        ("role", &"region"),
        ("aria-label", &caption),
    ];
    markup.element("div", scroll, |markup| {
        markup.element("table", &[], |markup| {
            markup.leaf("caption", &[], caption);
            markup.element("thead", &[], |markup| {
                markup.element("tr", &[], |markup| {
                    for head in heads {
                        markup.leaf("th", &[("scope", &"col")], head);
                    }
                });
            });
            markup.element("tbody", &[], rows);
        });
    });
}

fn row(markup: &mut Markup, cells: &[String]) {
    let cells: Vec<(&str, String)> = cells.iter().map(|cell| ("", cell.clone())).collect();
    row_of(markup, &cells);
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::result::run::Provenance;

    fn report(verdict: Verdict, why: &[&str]) -> ChaosReport {
        ChaosReport {
            schema_version: 1,
            verdict,
            why: why.iter().map(|why| (*why).to_owned()).collect(),
            started_at: String::new(),
            duration_seconds: 1.0,
            provenance: Provenance {
                git_commit: "0123456789abcdef".to_owned(),
                loadgen_version: "0.1.0".to_owned(),
                service_commit: "fedcba9876543210".to_owned(),
                service_version: "0.2.0".to_owned(),
                ..Provenance::default()
            },
            totals: Totals::default(),
            runs: Vec::new(),
        }
    }

    #[test]
    fn the_page_names_the_build_of_both() {
        let page = html(&report(Verdict::Pass, &[]));
        for part in [
            "service fedcba987654, load generator 0123456789ab",
            "0.2.0, commit fedcba987654",
            "0.1.0, commit 0123456789ab",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    /// Not only a fault without effect makes it void: what did stands beside it.
    #[test]
    fn what_broke_off_is_told_as_such() {
        let why = "a broke off, and not all runs were made: the service is gone";
        let report = report(Verdict::Void, &[why]);
        for text in [terminal(&report), markdown(&report), html(&report)] {
            assert!(text.contains(why), "{text}");
            assert!(!text.contains("did not take effect"), "{text}");
        }
    }
}
