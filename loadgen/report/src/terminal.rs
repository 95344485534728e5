//! The last screen of a run: all that matters, in at most [`LINES_MAX`] lines of at most [`COLUMNS_MAX`] columns.

use std::io::IsTerminal;

use crate::words::{
    commit, headline, is_judged, not_seen_empty, one_line, planned, reasons, sign, verdict,
    why_no_audit,
};
use record::number;
use record::number::{bytes, count, counted, or_dash, or_no_data, rate, seconds};
use record::result::run::{CrowdReport, Percentiles, Report, Verdict};

/// The most lines that [`render`] returns. Where each reason fits on one line there are at most 24.
pub const LINES_MAX: usize = 32;
/// The longest line: the width of a terminal that nobody made wider.
pub const COLUMNS_MAX: usize = 80;

const REASONS_MAX: usize = 3;
const REASON_LINES_MAX: usize = 3;
const FAILED_CHECKS_MAX: usize = 2;
const ERROR_KINDS_MAX: usize = 3;

/// The report as plain, aligned text without colour. Every line ends with a newline.
pub fn render(report: &Report) -> String {
    let mut lines = vec![first_line(report)];
    // The line above has the verdict itself.
    let headline = headline(report);
    if let Some((_, rest)) = headline.split_once(". ") {
        lines.extend(wrapped(rest));
    }
    let reasons = reasons(report);
    let shown = if reasons.len() > REASONS_MAX {
        REASONS_MAX - 1
    } else {
        reasons.len()
    };
    for reason in &reasons[..shown] {
        lines.extend(folded(&one_line(reason)));
    }
    if reasons.len() > shown {
        let more = counted((reasons.len() - shown) as u64, "more reason");
        lines.push(format!("  - and {more}, in the report"));
    }
    lines.push(String::new());

    lines.push(row("sent", &sent(report)));
    lines.push(row("stored", &stored(report)));
    lines.push(row(
        "",
        &cells(["p50", "p90", "p99", "p99.9", "max"].map(str::to_owned)),
    ));
    let load = &report.load;
    lines.push(row("response", &percentiles(&load.response_us)));
    lines.push(row("service", &percentiles(&load.service_us)));
    lines.push(row("end to end", &percentiles(&load.end_to_end_us)));
    lines.push(row("send lag", &percentiles(&load.send_lag_us)));
    for (name, of) in [
        ("refused", &load.refused_us),
        ("no answer", &load.silent_us),
    ] {
        if of.count > 0 {
            lines.push(row(name, &percentiles(of)));
        }
    }
    lines.extend(errors(report));
    lines.push(row("backlog", &backlog(report)));
    lines.push(row("memory", &memory(report)));
    lines.push(row("counters", &counters(report)));
    if let Some(crowd) = &report.crowd {
        lines.push(row("crowd", &crowd_beside(crowd)));
    }

    lines.extend(checks(report));
    lines
        .into_iter()
        .flat_map(|line| fitted(&one_line(&line)))
        .map(|line| line + "\n")
        .collect()
}

/// The same with the verdict in colour and the names dimmed, for a terminal that shows colours.
pub fn render_coloured(report: &Report) -> String {
    const RED: &str = "\u{1b}[31m";
    const DIM: &str = "\u{1b}[2m";
    const END: &str = "\u{1b}[0m";
    let tone = match report.verdict {
        Verdict::Pass => "\u{1b}[1;32m",
        Verdict::Fail => "\u{1b}[1;31m",
        Verdict::Discarded | Verdict::Aborted => "\u{1b}[1;33m",
    };
    let mut is_table = false;
    render(report)
        .lines()
        .enumerate()
        .map(|(index, line)| {
            is_table |= line.is_empty();
            if index == 0 {
                let (word, rest) = line.split_once("  ").unwrap_or((line, ""));
                format!("{tone}{word}{END}  {rest}\n")
            } else if line.starts_with("  ✗") {
                format!("{RED}{line}{END}\n")
            } else if is_table && line.starts_with("  ") && !line.starts_with("    ") {
                let at = line
                    .char_indices()
                    .nth(NAMES_WIDTH)
                    .map_or(line.len(), |(at, _)| at);
                let (name, value) = line.split_at(at);
                format!("{DIM}{name}{END}{value}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}

/// Whether standard output shows colours: it is a terminal, and nobody asked for none (`NO_COLOR`, `TERM=dumb`).
pub fn shows_colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A reason on a few lines rather than cut: what it says at its end is often the figure.
fn folded(reason: &str) -> Vec<String> {
    let mut lines = vec![String::from("  -")];
    for word in reason.split_whitespace() {
        let line = lines.len() - 1;
        let length = lines[line].chars().count() + 1 + word.chars().count();
        if length > COLUMNS_MAX && lines[line].len() > 4 {
            lines.push(format!("    {word}"));
        } else {
            lines[line].push(' ');
            lines[line].push_str(word);
        }
    }
    if lines.len() > REASON_LINES_MAX {
        lines.truncate(REASON_LINES_MAX);
        lines[REASON_LINES_MAX - 1].push_str(" …");
    }
    lines
}

/// A sentence on one line, or on two.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::from(" ")];
    for word in text.split_whitespace() {
        let line = lines.len() - 1;
        let length = lines[line].chars().count() + 1 + word.chars().count();
        if length > COLUMNS_MAX && lines.len() < 2 {
            lines.push(format!("  {word}"));
        } else {
            lines[line].push(' ');
            lines[line].push_str(word);
        }
    }
    lines
}

/// The verdict and what the run was.
fn first_line(report: &Report) -> String {
    let provenance = &report.provenance;
    format!(
        "{} {}  {}, {}, seed {}, commit {}",
        sign(report.verdict),
        verdict(report.verdict).to_uppercase(),
        report.scenario,
        seconds(report.duration_seconds),
        report.seed,
        commit(&provenance.git_commit, provenance.dirty)
    )
}

/// How many checks held, where the headline does not tell: it does of a run that passed, and of one that failed by them.
fn checks(report: &Report) -> Vec<String> {
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.pass).collect();
    let all = report.checks.len();
    let is_told = match report.verdict {
        Verdict::Pass => all > 0,
        Verdict::Fail => !failed.is_empty(),
        Verdict::Discarded | Verdict::Aborted => false,
    };
    if is_told {
        return Vec::new();
    }
    let mut lines = vec![row(
        "checks",
        &match all {
            0 if report.without_stores => "none that can be judged without the stores".to_owned(),
            0 => "none in the scenario".to_owned(),
            _ if is_judged(report.verdict) => format!("{} of {all} held", all - failed.len()),
            _ => format!("not judged; {} of {all} held", all - failed.len()),
        },
    )];
    lines.extend(failed.iter().take(FAILED_CHECKS_MAX).map(|check| {
        let mark = if is_judged(report.verdict) {
            '✗'
        } else {
            '-'
        };
        format!(
            "  {mark} {}: {}, bound {}",
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
}

fn sent(report: &Report) -> String {
    let load = &report.load;
    let unclear = match load.failed {
        0 => "all answered".to_owned(),
        failed => format!("{} without a definite answer", count(failed)),
    };
    let by = match report.provenance.generators {
        0 | 1 => String::new(),
        generators => format!(" by {generators} generators"),
    };
    format!(
        "{} of {} arrivals{by}, {} ({}), {unclear}",
        count(load.sent),
        count(load.scheduled),
        rate(load.rate_per_second),
        planned(report),
    )
}

/// What went wrong on the wire, the most frequent first, and the first example of that, on a line each.
fn errors(report: &Report) -> Vec<String> {
    let mut errors: Vec<_> = report.errors.iter().collect();
    errors.sort_by_key(|row| std::cmp::Reverse(row.count));
    let Some(most) = errors.first() else {
        return Vec::new();
    };
    let mut kinds: Vec<String> = errors
        .iter()
        .take(ERROR_KINDS_MAX)
        .map(|row| format!("{} × {}", count(row.count), row.kind))
        .collect();
    if errors.len() > ERROR_KINDS_MAX {
        let more = (errors.len() - ERROR_KINDS_MAX) as u64;
        kinds.push(format!("{} more", counted(more, "kind")));
    }
    // The example begins with the loan, and with what is true of every error.
    let told = most
        .example
        .split_once(" s: ")
        .map_or(most.example.as_str(), |(_, told)| told)
        .trim_start_matches("error sending request: ");
    let mut lines = vec![row("errors", &kinds.join(", "))];
    if !told.is_empty() {
        lines.push(row("", &format!("such as: {told}")));
    }
    lines
}

fn stored(report: &Report) -> String {
    let audit = &report.audit;
    if !audit.complete {
        return format!("no data: {}", why_no_audit(report));
    }
    let records = format!(
        "{}, {}",
        counted(audit.recorded, "loan"),
        counted(audit.failed, "failure")
    );
    if audit.faults() == 0 {
        return format!("{records}; none lost, doubled, unexpected, altered or stuck");
    }
    let faults: Vec<String> = [
        (audit.lost, "lost"),
        (audit.duplicated, "doubled"),
        (audit.unexpected, "unexpected"),
        (audit.mismatched, "altered"),
        (audit.stuck, "stuck"),
    ]
    .into_iter()
    .filter(|(faults, _)| *faults > 0)
    .map(|(faults, what)| format!("{} {what}", count(faults)))
    .collect();
    format!("{records}; FAULTS: {}", faults.join(", "))
}

fn backlog(report: &Report) -> String {
    let Some(peak) = report.drain.backlog_peak else {
        return "no data: the live metrics were not followed".to_owned();
    };
    let emptied = report.drain.seconds_to_empty.map_or_else(
        || not_seen_empty(report).to_owned(),
        |after| format!("empty {} after the load", seconds(after)),
    );
    let workers = or_no_data(report.workers.peak, |peak| counted(peak, "worker"));
    format!("peak {}, {emptied}; at most {workers}", count(peak))
}

fn crowd_beside(crowd: &CrowdReport) -> String {
    let groups = crowd
        .groups
        .iter()
        .filter(|group| group.planned > 0)
        .map(|group| format!("{} {}", count(group.open_peak), group.name));
    let nonsense = (crowd.nonsense.per_second > 0).then(|| {
        let sent: u64 = crowd.nonsense.answers.values().sum();
        format!("{} requests of nonsense", count(sent))
    });
    groups.chain(nonsense).collect::<Vec<_>>().join(", ")
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
        return if report.without_stores {
            "no data: there is no audit to compare them with".to_owned()
        } else {
            "no data: not compared with the audit".to_owned()
        };
    }
    let agreeing = rows.iter().filter(|row| row.agree).count();
    format!(
        "{agreeing} of {} live counters agree with the audit",
        rows.len()
    )
}

/// Where the values of the rows begin.
const NAMES_WIDTH: usize = 13;

fn row(name: &str, value: &str) -> String {
    format!("{:<NAMES_WIDTH$}{value}", format!("  {name}"))
        .trim_end()
        .to_owned()
}

fn percentiles(of: &Percentiles) -> String {
    cells([of.p50, of.p90, of.p99, of.p999, of.max].map(|value| or_dash(value, number::micros)))
}

fn cells(values: [String; 5]) -> String {
    values.map(|value| format!("{value:>9}")).concat()
}

/// A line that is too long on two, the second under the value of the first. What has no room there either is cut.
fn fitted(line: &str) -> Vec<String> {
    let line = line.trim_end();
    let Some((end, _)) = line.char_indices().nth(COLUMNS_MAX) else {
        return vec![line.to_owned()];
    };
    let break_at = line
        .char_indices()
        .take(COLUMNS_MAX + 1)
        .filter(|(at, sign)| *at > NAMES_WIDTH && *sign == ' ')
        .last()
        .map_or(end, |(at, _)| at);
    let (first, rest) = line.split_at(break_at);
    let rest = format!("{:NAMES_WIDTH$}{}", "", rest.trim_start());
    vec![first.trim_end().to_owned(), shortened(&rest)]
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= COLUMNS_MAX {
        return line.trim_end().to_owned();
    }
    let kept: String = line.chars().take(COLUMNS_MAX - 1).collect();
    kept + "…"
}
