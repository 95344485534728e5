//! The verdict in words, and what may stand in a terminal.

use std::fmt::Write as _;

use record::number::{count, counted, micros, rate, seconds};
use record::result::run::{Check, Percentiles, Report, Verdict};

/// The verdict as one or two sentences.
pub(crate) fn headline(report: &Report) -> String {
    match report.verdict {
        Verdict::Pass => {
            let checks = match report.checks.len() as u64 {
                0 => String::new(),
                1 => " The one check held.".to_owned(),
                held => format!(" All {held} checks held."),
            };
            let audit = if report.audit.complete {
                intact(report)
            } else {
                format!(" {}.", as_it_must(report))
            };
            format!("Passed.{checks}{audit}")
        }
        Verdict::Fail => format!("Failed.{}", failures(report)),
        Verdict::Discarded => {
            "Discarded. Something else than the service disturbed the run, so nothing may be concluded from it.".to_owned()
        }
        Verdict::Aborted => match report.load.sent {
            0 => "Aborted. The run was stopped before its first request.".to_owned(),
            sent => format!(
                "Aborted. The run was stopped when {} of its {} had been sent, so its figures are not whole.",
                count(sent),
                counted(report.load.scheduled, "arrival")
            ),
        },
    }
}

/// That the audit found nothing wrong.
fn intact(report: &Report) -> String {
    format!(
        " Of {}, none was lost, doubled or altered.",
        counted(report.audit.ids, "loan")
    )
}

/// Whether the verdict rests on the checks. What they say of a run that was discarded or aborted proves nothing.
pub(crate) const fn is_judged(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::Fail)
}

/// What came of a check, in a word.
pub(crate) fn outcome(check: &Check, verdict: Verdict) -> &'static str {
    match (is_judged(verdict), check.pass) {
        (true, true) => "✓ pass",
        (true, false) => "✗ fail",
        (false, true) => "held",
        (false, false) if check.observed == "no data" => "no data",
        (false, false) => "did not hold",
    }
}

/// The rate that was planned. Of a load that ended before its time, as far as it came.
pub(crate) fn planned(report: &Report) -> String {
    let load = &report.load;
    let until = match report.reached_seconds {
        Some(_) if load.sent > 0 => " until then",
        _ => "",
    };
    format!("planned {}{until}", rate(load.planned_rate_per_second))
}

/// Fewer measurements than this above a percentile make it uncertain.
const ABOVE_MIN: f64 = 10.0;

/// A percentile, marked with ~ where few measurements lie above it; `None` when there is none.
pub(crate) fn percentile(of: &Percentiles, value: Option<u64>, quantile: f64) -> Option<String> {
    let above = of.count as f64 * (1.0 - quantile);
    let mark = if above < ABOVE_MIN { "~" } else { "" };
    value.map(|us| format!("{mark}{}", micros(us)))
}

/// What is known of the answers where nobody looked at the stores. Those that the scenario lets stay out are not among them.
fn as_it_must(report: &Report) -> String {
    let (sent, failed) = (report.load.sent, report.load.failed);
    match sent.saturating_sub(failed) {
        0 => "No arrival had a definite answer".to_owned(),
        answered if failed > 0 => format!(
            "{} with a definite answer got the one that it must get",
            each(answered, "arrival")
        ),
        all => format!("{} got the answer that it must get", each(all, "arrival")),
    }
}

/// `The one arrival`, `Every one of 2 arrivals`.
fn each(of: u64, noun: &str) -> String {
    match of {
        1 => format!("The one {noun}"),
        of => format!("Every one of {}", counted(of, noun)),
    }
}

/// `1 was`, `13 were`.
fn were(of: u64) -> String {
    match of {
        1 => "1 was".to_owned(),
        of => format!("{} were", count(of)),
    }
}

/// The reasons that the headline has not told already. Of a run that passed the first one is the headline itself.
pub(crate) fn reasons(report: &Report) -> &[String] {
    match report.verdict {
        Verdict::Pass => report.why.get(1..).unwrap_or_default(),
        _ => &report.why,
    }
}

/// The run in plain words: what was sent, how fast it was answered, what is stored.
pub(crate) fn summary(report: &Report) -> String {
    let load = &report.load;
    if load.sent == 0 {
        return "No request was sent.".to_owned();
    }
    let busiest = report.time_series.iter().map(|point| point.sent).max();
    let mut words = format!(
        "{} {} sent",
        counted(load.sent, "loan request"),
        if load.sent == 1 { "was" } else { "were" }
    );
    if report.provenance.generators > 1 {
        let _ = write!(
            words,
            " by {} load generators",
            report.provenance.generators
        );
    }
    if load.sending_seconds > 0.0 {
        let _ = write!(
            words,
            " in {}: {} on average",
            seconds(load.sending_seconds),
            rate(load.rate_per_second)
        );
        if let Some(sent) = busiest {
            let _ = write!(words, ", {} in the busiest second", count(sent));
        }
    }
    words.push('.');
    words.push_str(&answered(report));
    let audit = &report.audit;
    if audit.complete {
        let _ = write!(
            words,
            " MongoDB holds {}, and {} more that broke a rule as failures; ",
            counted(audit.recorded, "loan"),
            count(audit.failed)
        );
        if audit.rejected > 0 {
            let _ = write!(words, "{} refused; ", were(audit.rejected));
        }
        let _ = match report.drain.seconds_to_empty {
            Some(after) => write!(
                words,
                "nothing was left to do {} after the last request.",
                seconds(after)
            ),
            None => write!(words, "the backlog was not seen to end."),
        };
    } else {
        let _ = write!(
            words,
            " What is stored is not known: {}.",
            why_no_audit(report)
        );
    }
    words
}

/// How fast the answers came, and of how many requests none did.
fn answered(report: &Report) -> String {
    let load = &report.load;
    let p99 = percentile(&load.response_us, load.response_us.p99, 0.99);
    match (load.failed, p99) {
        (0, None) => String::new(),
        (0, Some(p99)) => {
            format!(" 99 % were answered within {p99} of the instant they were due.")
        }
        (failed, None) => format!(" None of the {} had a definite answer.", count(failed)),
        (failed, Some(p99)) => format!(
            " {} of them had no definite answer; of the others 99 % were answered within {p99} of the instant they were due.",
            count(failed)
        ),
    }
}

fn failures(report: &Report) -> String {
    let missed = report.checks.iter().filter(|check| !check.pass).count();
    let disagreeing = report
        .counters_agree
        .iter()
        .filter(|row| !row.agree)
        .count() as u64;
    let mut sentences = Vec::new();
    if report.audit.faults() > 0 {
        let loans = counted(report.audit.faults(), "loan");
        sentences.push(format!(" The audit found {loans} with a fault."));
    }
    if missed > 0 {
        let checks = counted(report.checks.len() as u64, "check");
        sentences.push(format!(" {missed} of {checks} did not hold."));
    }
    if disagreeing > 0 {
        let counters = counted(disagreeing, "live counter");
        let verb = if disagreeing == 1 {
            "disagrees"
        } else {
            "disagree"
        };
        sentences.push(format!(" {counters} {verb} with the audit."));
    }
    // Whoever reads of a slow run asks at once whether something was lost.
    let is_intact = report.audit.complete && report.audit.faults() == 0;
    if is_intact && report.audit.acknowledged > 0 && !sentences.is_empty() {
        sentences.push(intact(report));
    }
    sentences.concat()
}

/// Why nothing is known of what is stored.
pub(crate) const fn why_no_audit(report: &Report) -> &'static str {
    if report.without_stores {
        "the run was made without a look at the stores"
    } else {
        "the audit did not finish"
    }
}

/// What is said of a backlog that nobody saw end.
pub(crate) const fn not_seen_empty(report: &Report) -> &'static str {
    if report.without_stores {
        "not looked at after the load"
    } else {
        "not seen empty after the load"
    }
}

/// The verdict in one word, capital first.
pub(crate) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "Pass",
        Verdict::Fail => "Fail",
        Verdict::Discarded => "Discarded",
        Verdict::Aborted => "Aborted",
    }
}

/// A sign for the verdict, so that colour is never the only mark.
pub(crate) const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Fail => "✗",
        Verdict::Discarded => "?",
        Verdict::Aborted => "■",
    }
}

/// `text` on one line, without control characters: a service's answer must not steer a terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// `2026-11-23T11:00:00.123Z` as `2026-11-23 11:00:00 UTC`; anything else as it is.
pub(crate) fn instant(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..19)) {
        (Some(date), Some(time)) if rfc3339.ends_with('Z') => format!("{date} {time} UTC"),
        _ => rfc3339.to_owned(),
    }
}

/// The commit, shortened, with a mark when the source had changes; `unknown` when empty.
pub(crate) fn commit(commit: &str, dirty: bool) -> String {
    if commit.is_empty() {
        return "unknown".to_owned();
    }
    let short: String = commit.chars().take(12).collect();
    if dirty {
        format!("{short} with changes")
    } else {
        short
    }
}
