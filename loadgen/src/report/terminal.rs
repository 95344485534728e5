//! The last screen of a run: all that matters, in at most [`LINES_MAX`] lines.

use super::number::{bytes, count, or_dash, or_no_data, rate, seconds};
use super::words::{headline, one_line, sign, verdict};
use super::{Percentiles, Report, number};

/// The most lines that [`render`] returns.
pub const LINES_MAX: usize = 20;

const REASONS_MAX: usize = 3;
const FAILED_CHECKS_MAX: usize = 3;
const COLUMNS_MAX: usize = 120;

/// The report as plain, aligned text without colour. Every line ends with a newline.
pub fn render(report: &Report) -> String {
    let mut lines = vec![format!(
        "{} {}: {}",
        sign(report.verdict),
        verdict(report.verdict),
        report.scenario
    )];
    lines.push(format!("  {}", headline(report)));
    lines.extend(
        report
            .why
            .iter()
            .take(REASONS_MAX - 1)
            .map(|reason| format!("  {reason}")),
    );
    lines.push(String::new());

    let load = &report.load;
    lines.push(row(
        "sent",
        &format!(
            "{} of {} arrivals, {} (planned {}), {} without a definite answer",
            count(load.sent),
            count(load.scheduled),
            rate(load.rate_per_second),
            rate(load.planned_rate_per_second),
            count(load.failed),
        ),
    ));
    lines.push(row(
        "",
        &cells(["p50", "p90", "p99", "p99.9", "max"].map(str::to_owned)),
    ));
    lines.push(row("response", &percentiles(&load.response_us)));
    lines.push(row("service", &percentiles(&load.service_us)));
    lines.push(row("end to end", &percentiles(&load.end_to_end_us)));
    lines.push(row("send lag", &percentiles(&load.send_lag_us)));
    lines.push(row("stored", &stored(report)));
    lines.push(row("counters", &counters(report)));
    lines.push(row("backlog", &backlog(report)));
    lines.push(row("memory", &memory(report)));

    let failed: Vec<_> = report.checks.iter().filter(|check| !check.pass).collect();
    let held = report.checks.len() - failed.len();
    lines.push(row(
        "checks",
        &format!("{held} of {} held", report.checks.len()),
    ));
    lines.extend(failed.iter().take(FAILED_CHECKS_MAX).map(|check| {
        format!(
            "  ✗ {}: {}, bound {}",
            check.name, check.observed, check.bound
        )
    }));
    if failed.len() > FAILED_CHECKS_MAX {
        lines.push(format!(
            "  and {} more, in the report",
            failed.len() - FAILED_CHECKS_MAX
        ));
    }
    lines
        .into_iter()
        .map(|line| shortened(&one_line(&line)) + "\n")
        .collect()
}

fn stored(report: &Report) -> String {
    let audit = &report.audit;
    if !audit.complete {
        return "no data: the audit did not finish".to_owned();
    }
    format!(
        "{} recorded, {} failed; {} lost, {} doubled, {} unexpected, {} altered, {} stuck",
        count(audit.recorded),
        count(audit.failed),
        count(audit.lost),
        count(audit.duplicated),
        count(audit.unexpected),
        count(audit.mismatched),
        count(audit.stuck),
    )
}

fn backlog(report: &Report) -> String {
    let Some(peak) = report.drain.backlog_peak else {
        return "no data: the live metrics were not followed".to_owned();
    };
    let emptied = report.drain.seconds_to_empty.map_or_else(
        || "not seen empty after the load".to_owned(),
        |after| format!("empty after {}", seconds(after)),
    );
    let workers = or_dash(report.workers.peak, count);
    format!("peak {}, {emptied}; at most {workers} workers", count(peak))
}

fn memory(report: &Report) -> String {
    let resources = &report.resources;
    let redis = match (
        resources.redis_memory_start_bytes,
        resources.redis_memory_end_bytes,
    ) {
        (Some(start), Some(end)) => format!("{} before, {} after", bytes(start), bytes(end)),
        _ => "no data".to_owned(),
    };
    format!(
        "service {}, Redis {redis}",
        or_no_data(resources.service_rss_bytes_peak, bytes)
    )
}

fn counters(report: &Report) -> String {
    let rows = &report.counters_agree;
    if rows.is_empty() {
        return "no data: not compared with the audit".to_owned();
    }
    let agreeing = rows.iter().filter(|row| row.agree).count();
    format!(
        "{agreeing} of {} live counters agree with the audit",
        rows.len()
    )
}

fn row(name: &str, value: &str) -> String {
    format!("  {name:<11}{value}").trim_end().to_owned()
}

fn percentiles(of: &Percentiles) -> String {
    cells([of.p50, of.p90, of.p99, of.p999, of.max].map(|value| or_dash(value, number::micros)))
}

fn cells(values: [String; 5]) -> String {
    values.map(|value| format!("{value:>9}")).concat()
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= COLUMNS_MAX {
        return line.trim_end().to_owned();
    }
    let kept: String = line.chars().take(COLUMNS_MAX - 1).collect();
    kept + "…"
}
