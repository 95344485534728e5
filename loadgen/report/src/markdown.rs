//! `summary.md`: the run on one screen, for a CI job's page or a comment on a pull request.

use std::fmt::Write as _;

use crate::words::{
    commit, headline, instant, is_judged, not_seen_empty, one_line, outcome, planned, reasons,
    sign, summary, verdict, why_no_audit,
};
use record::number;
use record::number::{bytes, count, or_no_data, rate, seconds};
use record::result::run::{Percentiles, Report};

/// The report as short Markdown.
pub fn render(report: &Report) -> String {
    let mut page = String::new();
    write_page(&mut page, report).expect("writing to a String does not fail");
    page
}

fn write_page(page: &mut String, report: &Report) -> std::fmt::Result {
    let mark = sign(report.verdict);
    writeln!(
        page,
        "## {mark} {}: {}\n",
        verdict(report.verdict),
        text(&report.scenario)
    )?;
    writeln!(page, "**{}**\n", text(&headline(report)))?;
    writeln!(page, "{}\n", text(&summary(report)))?;
    let reasons = reasons(report);
    for reason in reasons {
        writeln!(page, "- {}", text(reason))?;
    }
    if !reasons.is_empty() {
        writeln!(page)?;
    }

    checks(page, report)?;

    let load = &report.load;
    writeln!(
        page,
        "| | p50 | p90 | p99 | p99.9 | max |\n|---|---:|---:|---:|---:|---:|"
    )?;
    percentiles(page, "response time", &load.response_us)?;
    percentiles(page, "service time", &load.service_us)?;
    percentiles(page, "end to end", &load.end_to_end_us)?;
    percentiles(page, "send lag", &load.send_lag_us)?;
    percentiles(page, "generator's own lag", &load.generator_lag_us)?;
    for (name, of) in [
        ("until a refusal (5xx)", &load.refused_us),
        ("until no answer was waited for", &load.silent_us),
    ] {
        if of.count > 0 {
            percentiles(page, name, of)?;
        }
    }

    let audit = &report.audit;
    writeln!(page, "\n| | |\n|---|---|")?;
    writeln!(
        page,
        "| load | {} of {} arrivals sent, {} ({}), {} without a definite answer |",
        count(load.sent),
        count(load.scheduled),
        rate(load.rate_per_second),
        planned(report),
        count(load.failed),
    )?;
    if audit.complete {
        writeln!(
            page,
            "| stored | {} loans: {} recorded, {} failed; {} lost, {} duplicated, {} unexpected, {} mismatched, {} stuck |",
            count(audit.ids),
            count(audit.recorded),
            count(audit.failed),
            count(audit.lost),
            count(audit.duplicated),
            count(audit.unexpected),
            count(audit.mismatched),
            count(audit.stuck),
        )?;
    } else {
        writeln!(page, "| stored | no data: {} |", why_no_audit(report))?;
    }
    writeln!(
        page,
        "| backlog | peak {}, {} |",
        or_no_data(report.drain.backlog_peak, count),
        report.drain.seconds_to_empty.map_or_else(
            || not_seen_empty(report).to_owned(),
            |after| format!("empty after {}", seconds(after))
        ),
    )?;
    writeln!(
        page,
        "| service | {}, {} |",
        report.workers.peak.map_or_else(
            || "workers without data".to_owned(),
            |peak| format!("peak of {} workers", count(peak))
        ),
        report.resources.service_rss_bytes_peak.map_or_else(
            || "memory without data".to_owned(),
            |peak| format!("{} resident", bytes(peak))
        ),
    )?;

    let provenance = &report.provenance;
    writeln!(
        page,
        "\nSeed {}, commit {}, Redis {} (appendfsync {}), MongoDB {}, {} ({} cores), started {}, took {}.",
        report.seed,
        text(&commit(&provenance.git_commit, provenance.dirty)),
        text(or_unknown(&provenance.redis)),
        text(or_unknown(&provenance.appendfsync)),
        text(or_unknown(&provenance.mongodb)),
        text(&provenance.cpu),
        provenance.cores,
        text(&instant(&report.started_at)),
        seconds(report.duration_seconds),
    )
}

/// What was not looked at, or did not say it.
const fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

/// The checks, those that failed first. When all held, or nothing is judged, they are folded away: there is nothing to act on.
fn checks(page: &mut String, report: &Report) -> std::fmt::Result {
    if report.checks.is_empty() {
        return Ok(());
    }
    let mut checks: Vec<_> = report.checks.iter().collect();
    checks.sort_by_key(|check| check.pass);
    let held = checks.iter().filter(|check| check.pass).count();
    let title = if !is_judged(report.verdict) {
        Some(format!(
            "Checks, not judged: {held} of {} held",
            checks.len()
        ))
    } else if held == checks.len() {
        Some(format!("All {held} checks held"))
    } else {
        None
    };
    if let Some(title) = &title {
        writeln!(page, "<details><summary>{title}</summary>\n")?;
    }
    writeln!(page, "| check | bound | observed | |\n|---|---|---|---|")?;
    for check in checks {
        let result = match outcome(check, report.verdict) {
            "✗ fail" => "✗ **fail**",
            result => result,
        };
        writeln!(
            page,
            "| {} | {} | {} | {result} |",
            text(&check.name),
            text(&check.bound),
            text(&check.observed)
        )?;
    }
    if title.is_some() {
        writeln!(page, "\n</details>")?;
    }
    writeln!(page)
}

fn percentiles(page: &mut String, name: &str, of: &Percentiles) -> std::fmt::Result {
    let cell = |value| number::or_dash(value, number::micros);
    writeln!(
        page,
        "| {name} | {} | {} | {} | {} | {} |",
        cell(of.p50),
        cell(of.p90),
        cell(of.p99),
        cell(of.p999),
        cell(of.max),
    )
}

/// `text` on one line, with every sign that means something in Markdown or HTML escaped.
fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}
