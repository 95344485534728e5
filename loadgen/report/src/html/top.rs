//! The top of the page: the verdict in words, why, and six figures.

use super::parts;
use crate::markup::Markup;
use crate::words::{
    commit, headline, instant, not_seen_empty, percentile, planned, reasons, sign, summary,
    why_no_audit,
};
use record::number::{count, counted, micros, or_dash, or_no_data, rate, seconds};
use record::result::run::{Percentiles, Report, Verdict};

/// The verdict, what the run was, the reasons, and where to look it up.
pub(crate) fn banner(markup: &mut Markup, report: &Report) {
    let class = format!("banner {}", report.verdict.name());
    markup.element("header", &[("class", &class)], |markup| {
        markup.element("p", &[("class", &"eyebrow")], |markup| {
            markup.leaf("strong", &[], &report.scenario);
            if !report.scenario_description.is_empty() {
                markup.text(&format!(" · {}", report.scenario_description));
            }
        });
        parts::headline(markup, sign(report.verdict), &headline(report));
        markup.leaf("p", &[("class", &"summary")], &summary(report));
        let reasons = reasons(report);
        if !reasons.is_empty() {
            let title = match report.verdict {
                Verdict::Pass => "To be known",
                _ => "Why",
            };
            markup.leaf("h2", &[("class", &"whytitle")], title);
            parts::why(markup, reasons);
        }
        let mut facts = Vec::new();
        if !report.started_at.is_empty() {
            facts.push(format!("Started {}", instant(&report.started_at)));
        }
        facts.push(format!("took {} in all", seconds(report.duration_seconds)));
        facts.push(format!("seed {}", report.seed));
        let provenance = &report.provenance;
        if !provenance.set_by_flags.is_empty() {
            facts.push(format!(
                "set by flags: {}",
                provenance.set_by_flags.join(" ")
            ));
        }
        facts.push(format!(
            "commit {}",
            commit(&provenance.git_commit, provenance.dirty)
        ));
        markup.leaf("p", &[("class", &"facts")], &facts.join(" · "));
    });
}

/// Six figures for a reader who reads no more.
pub(crate) fn figures(markup: &mut Markup, report: &Report) {
    let load = &report.load;
    let audit = &report.audit;
    let faults = if audit.complete {
        count(audit.faults())
    } else {
        "no data".to_owned()
    };
    let audited = if audit.complete {
        format!("of {} sent", counted(audit.ids, "loan"))
    } else {
        why_no_audit(report).to_owned()
    };
    let emptied = report.drain.seconds_to_empty.map_or_else(
        || not_seen_empty(report).to_owned(),
        |after| format!("empty {} after the load", seconds(after)),
    );
    let median = |of: &Percentiles| {
        of.p50
            .map_or_else(String::new, |p50| format!("median {}", micros(p50)))
    };
    let p99 =
        |of: &Percentiles| percentile(of, of.p99, 0.99).unwrap_or_else(|| or_no_data(None, micros));
    let figures = [
        (
            "Sent",
            rate(load.rate_per_second),
            match load.unsent {
                0 => format!("{}; {}", planned(report), counted(load.sent, "arrival")),
                _ => format!(
                    "{}; {} of {}",
                    planned(report),
                    count(load.sent),
                    counted(load.scheduled, "arrival")
                ),
            },
        ),
        (
            "Response p99",
            p99(&load.response_us),
            match load.failed {
                0 => median(&load.response_us),
                failed => format!(
                    "of {} answered; {} were not",
                    count(load.response_us.count),
                    count(failed)
                ),
            },
        ),
        (
            "End to end p99",
            p99(&load.end_to_end_us),
            median(&load.end_to_end_us),
        ),
        ("Loans with a fault", faults, audited),
        (
            "Highest backlog",
            or_no_data(report.drain.backlog_peak, count),
            emptied,
        ),
        (
            "Most workers",
            or_no_data(report.workers.peak, count),
            match report.workers.peak {
                None => "the live metrics were not followed".to_owned(),
                Some(_) => format!(
                    "of at most {}; {} up or down",
                    or_dash(report.workers.bound, count),
                    counted(report.workers.steps, "step")
                ),
            },
        ),
    ];
    markup.element("dl", &[("class", &"figures")], |markup| {
        for (name, value, note) in figures {
            markup.element("div", &[], |markup| {
                markup.leaf("dt", &[], name);
                let class = if value == "no data" {
                    "value missing"
                } else {
                    "value"
                };
                markup.leaf("dd", &[("class", &class)], &value);
                markup.leaf("dd", &[("class", &"note")], &note);
            });
        }
    });
}
