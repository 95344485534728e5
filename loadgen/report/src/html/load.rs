//! What was sent and how fast it went: the flow, the latencies, the time axis, the phases.

use super::parts::{Cell, marked, no_data, section, table};
use crate::chart;
use crate::flow::Flow;
use crate::markup::Markup;
use crate::words::{self, why_no_audit};
use record::number::{count, counted, micros, or_dash, rate};
use record::result::run::{EventKind, KindRow, Percentiles, Phase, Report};

/// How many events the page lists; `report.json` has them all.
const EVENTS_MAX: usize = 60;

/// What was sent, and what became of it.
pub(crate) fn flow(markup: &mut Markup, report: &Report) {
    let lead = if report.audit.complete {
        "From the schedule to the stored records; every step adds up to the one before it. From the third step on the figures \
         count distinct loans: a repeat sends a loan again on purpose, and must change nothing."
    } else {
        "From the schedule to the answers; every step adds up to the one before it."
    };
    section(
        markup,
        "flow",
        "What was sent, and what became of it",
        lead,
        |markup| {
            let flow = Flow::of(report);
            if report.load.scheduled == 0 {
                no_data(markup, "No data: nothing was scheduled.");
                return;
            }
            chart::flow(markup, &flow);
            bars(markup, &flow);
            if !report.audit.complete {
                let text = format!(
                    "No data beyond the answers: {}, so nothing is known of what is stored.",
                    why_no_audit(report)
                );
                no_data(markup, &text);
            }
            sums(markup, &flow);
            if report.load.resent > 0 {
                let text = format!(
                    "Beside the {} there {}: the same body again, after a request that was dropped on purpose or had no \
                     definite answer. An arrival counts once, with its last answer: “known already” when its body had come through before.",
                    counted(report.load.sent, "arrival"),
                    match report.load.resent {
                        1 => "was one more request".to_owned(),
                        resent => format!("were {} more requests", count(resent)),
                    }
                );
                markup.leaf("p", &[("class", &"hint")], &text);
            }
            if !report.by_kind.is_empty() {
                kinds(markup, report);
            }
        },
    );
}

/// The flow on a narrow page: a bar for each step.
fn bars(markup: &mut Markup, flow: &Flow) {
    let whole = flow.part((0, 0)).count.max(1);
    markup.element("div", &[("class", &"flow narrow")], |markup| {
        for step in &flow.steps {
            let total: u64 = step.parts.iter().map(|part| part.count).sum();
            markup.element("div", &[("class", &"stage")], |markup| {
                markup.element("p", &[("class", &"stagename")], |markup| {
                    markup.leaf("strong", &[], step.title);
                });
                let width = format!("width:{:.2}%", total as f64 / whole as f64 * 100.0);
                let bar = [
                    ("class", &"bar" as &dyn std::fmt::Display),
                    ("style", &width),
                    ("aria-hidden", &"true"),
                ];
                markup.element("div", &bar, |markup| {
                    for part in step.parts.iter().filter(|part| part.count > 0) {
                        let width = format!("flex-grow:{}", part.count);
                        markup.leaf("i", &[("class", &part.class), ("style", &width)], "");
                    }
                });
                markup.element("ul", &[("class", &"parts")], |markup| {
                    for part in step.parts.iter().filter(|part| part.count > 0) {
                        markup.element("li", &[], |markup| {
                            markup.leaf(
                                "i",
                                &[("class", &part.class), ("aria-hidden", &"true")],
                                "",
                            );
                            markup.leaf("b", &[], &count(part.count));
                            markup.text(&format!(" {}", part.name));
                        });
                    }
                });
            });
        }
    });
}

fn sums(markup: &mut Markup, flow: &Flow) {
    let rows = flow.sums.iter().map(|sum| {
        let parts: Vec<String> = sum
            .parts
            .iter()
            .map(|(name, parts)| format!("{} {name}", count(*parts)))
            .collect();
        let result = match sum.difference() {
            0 => Cell::of("✓ adds up", "good"),
            off => Cell::of(&format!("✗ differs by {}", count(off)), "bad"),
        };
        let (name, whole) = sum.whole;
        let by = if sum.by.is_empty() {
            String::new()
        } else {
            format!(", {}", sum.by)
        };
        vec![
            format!("{} {name}{by}", count(whole)).into(),
            format!("= {}", parts.join(" + ")).into(),
            result,
        ]
    });
    table(
        markup,
        "Each step and what it is made of",
        &["Whole", "Parts", "Sum"],
        3,
        rows,
    );
}

/// Whether an arrival of the kind had a definite answer, and not the one that the kind should get.
fn was_overtaken(row: &KindRow) -> bool {
    const DEFINITE: [&str; 4] = ["202", "202 replayed", "400", "422"];
    let right = row.expected.split([',', ' ']).next().unwrap_or_default();
    let is_repeat = row.expected.starts_with("202 replayed");
    row.answers.keys().any(|answer| {
        DEFINITE.contains(&answer.as_str())
            && (!answer.starts_with(right) || (is_repeat && answer == "202"))
    })
}

fn kinds(markup: &mut Markup, report: &Report) {
    markup.leaf("h3", &[], "By kind of arrival");
    let rows = report.by_kind.iter().map(|row| {
        let answers: Vec<String> = row
            .answers
            .iter()
            .map(|(status, answers)| format!("{status}: {}", count(*answers)))
            .collect();
        let answers = if answers.is_empty() {
            "none".to_owned()
        } else {
            answers.join(", ")
        };
        vec![
            (&row.kind).into(),
            (&row.expected).into(),
            answers.into(),
            count(row.scheduled).into(),
            count(row.sent).into(),
        ]
    });
    table(
        markup,
        "Kinds of arrival",
        &["Kind", "Right answer", "Answers", "Scheduled", "Sent"],
        3,
        rows,
    );
    if report.by_kind.iter().any(was_overtaken) {
        let hint = "A loan that is sent twice belongs to whichever of its requests arrives first, and the other gets the \
                    other's answer: so after a pause, when both leave at once. An answer that no order of arrival explains \
                    fails the run, and is then among the reasons above.";
        markup.leaf("p", &[("class", &"hint")], hint);
    }
}

/// From when until when a phase went on, and its planned end where that did not come.
fn time(phase: &Phase) -> String {
    let (start, end, planned) = (
        phase.start_seconds,
        phase.end_seconds,
        phase.planned_end_seconds,
    );
    if planned > end {
        format!("{start:.0} to {end:.1} of {planned:.0} s")
    } else {
        format!("{start:.0} to {end:.0} s")
    }
}

/// Arrivals that never left: nobody's fault where the load ended before its time.
fn never_sent(report: &Report, arrivals: u64) -> Cell {
    match report.reached_seconds {
        Some(_) => count(arrivals).into(),
        None => marked(arrivals),
    }
}

/// Latency by percentile.
pub(crate) fn latency(markup: &mut Markup, report: &Report) {
    let lead = "Response time runs from the instant at which the schedule wanted the request to leave, so a stalled \
                service cannot hide by delaying the next request. Service time runs from the real send. End to end \
                runs from the wanted instant until MongoDB has confirmed the record.";
    section(markup, "latency", "Latency by percentile", lead, |markup| {
        chart::percentiles(markup, report);
        let load = &report.load;
        if load.send_lag_us.count == 0 && load.response_us.count == 0 {
            return;
        }
        let unanswered = [
            ("Until a refusal (5xx)", &load.refused_us),
            ("Until no answer was waited for", &load.silent_us),
        ];
        let rows = [
            ("Response time", &load.response_us),
            ("Service time", &load.service_us),
            ("End to end", &load.end_to_end_us),
            ("Send lag", &load.send_lag_us),
            ("Of it, the generator's own", &load.generator_lag_us),
        ]
        .into_iter()
        .chain(unanswered.into_iter().filter(|(_, of)| of.count > 0))
        .map(|(name, of)| {
            let mut cells: Vec<Cell> = vec![name.into(), count(of.count).into()];
            cells.push(or_dash(of.min, micros).into());
            cells.extend(
                [
                    (of.p50, 0.5),
                    (of.p90, 0.9),
                    (of.p95, 0.95),
                    (of.p99, 0.99),
                    (of.p999, 0.999),
                ]
                .map(|(value, quantile)| percentile(of, value, quantile)),
            );
            cells.push(or_dash(of.max, micros).into());
            cells
        });
        let columns = [
            "Latency", "Measured", "Min", "p50", "p90", "p95", "p99", "p99.9", "Max",
        ];
        table(markup, "Latency over all phases", &columns, 1, rows);
        let hint = "Measured leaves out retries, whose first request is dropped on purpose. Send lag is how late requests left. \
                    The generator's own part ends when a user is handed the arrival; the rest is the way from there onto a \
                    connection, with the wait for a free user or connection where there is one. All of it is part of the \
                    response time. \
                    ~ marks a percentile with fewer than 10 measurements above it: another run may well give another \
                    figure. – means: not measured. A curve ends where its measurements do: with 1,000 of them at p99.9.";
        markup.leaf("p", &[("class", &"hint")], hint);
        if load.refused_us.count + load.silent_us.count > 0 {
            let hint = "Only definite answers have a response time. Requests without one are kept apart, and in the \
                        checks on percentiles each counts as slower than any bound.";
            markup.leaf("p", &[("class", &"hint")], hint);
        }
    });
}

/// A percentile, marked where few measurements lie above it.
fn percentile(of: &Percentiles, value: Option<u64>, quantile: f64) -> Cell {
    match words::percentile(of, value, quantile) {
        None => or_dash(None, micros).into(),
        Some(text) if text.starts_with('~') => Cell::of(&text, "unsure"),
        Some(text) => text.into(),
    }
}

/// The run on one time axis.
pub(crate) fn timeline(markup: &mut Markup, report: &Report) {
    let has = |kind| report.events.iter().any(|event| event.kind == kind);
    let mut lead = String::from(
        "Load, response time, backlog and workers on one axis. The bands are the phases, then the drain. \
         The backlog of a second is the highest that was seen in it.",
    );
    for (kind, sentence) in [
        (
            EventKind::Fault,
            " A numbered line across all panels is a fault that was injected.",
        ),
        (
            EventKind::Stop,
            " The line with a square across all panels is where the load was stopped.",
        ),
        (
            EventKind::Pause,
            " A tinted stretch is a time in which the load generator itself stood still.",
        ),
    ] {
        if has(kind) {
            lead.push_str(sentence);
        }
    }
    section(markup, "time", "The run over time", &lead, |markup| {
        chart::timeline(markup, report);
        if report.events.is_empty() {
            return;
        }
        markup.leaf("h3", &[], "Events");
        let mut faults = 0..;
        let rows = report.events.iter().take(EVENTS_MAX).map(|event| {
            let kind = if event.kind == EventKind::Fault {
                Cell::of(
                    &format!("fault {}", faults.next().map_or(0, |n| n + 1)),
                    "bad",
                )
            } else {
                event.kind.name().into()
            };
            vec![
                format!("{:.1} s", event.offset_seconds).into(),
                kind,
                (&event.text).into(),
            ]
        });
        table(markup, "Events", &["At", "Kind", "What happened"], 3, rows);
        if report.events.len() > EVENTS_MAX {
            let more = (report.events.len() - EVENTS_MAX) as u64;
            let more = format!("{} more in report.json.", counted(more, "event"));
            markup.leaf("p", &[("class", &"hint")], &more);
        }
    });
}

/// The heat map of the response time.
pub(crate) fn heatmap(markup: &mut Markup, report: &Report) {
    let lead = "Where percentiles hide a shape, this shows it: two bands mean two sorts of request, a column that reaches \
                upwards means a stall, of the service or of the generator, that hit many at once. The darker a cell, the more answers fell in it.";
    section(markup, "heat", "Response time over time", lead, |markup| {
        chart::heatmap(markup, report);
        if let Some(map) = &report.heatmap {
            let text = format!(
                "A column is {} wide; an answer counts where it ended.",
                counted(map.column_seconds as u64, "second")
            );
            markup.leaf("p", &[("class", &"hint")], &text);
        }
    });
}

/// The phases of the schedule, in figures.
pub(crate) fn phases(markup: &mut Markup, report: &Report) {
    section(markup, "phases", "Phases", "", |markup| {
        if report.phases.is_empty() {
            no_data(markup, "No data: no phase began.");
            return;
        }
        let rows = report.phases.iter().map(|phase| {
            vec![
                (&phase.name).into(),
                (&phase.shape).into(),
                Cell::of(&time(phase), "nowrap"),
                rate(phase.planned_rate_per_second).into(),
                count(phase.scheduled).into(),
                count(phase.sent).into(),
                never_sent(report, phase.scheduled.saturating_sub(phase.sent)),
                marked(phase.failed),
            ]
        });
        let columns = [
            "Phase",
            "Shape",
            "Time",
            "Planned",
            "Scheduled",
            "Sent",
            "Never sent",
            "No definite answer",
        ];
        table(markup, "What was sent in each phase", &columns, 3, rows);
        let rows = report.phases.iter().map(|phase| {
            let response = &phase.response_us;
            let (service, lag) = (&phase.service_us, &phase.send_lag_us);
            let end_to_end = &phase.end_to_end_us;
            vec![
                (&phase.name).into(),
                percentile(response, response.p50, 0.5),
                percentile(response, response.p99, 0.99),
                percentile(response, response.p999, 0.999),
                or_dash(response.max, micros).into(),
                percentile(service, service.p99, 0.99),
                percentile(end_to_end, end_to_end.p50, 0.5),
                percentile(end_to_end, end_to_end.p99, 0.99),
                percentile(lag, lag.p99, 0.99),
            ]
        });
        let columns = [
            "Phase",
            "Response p50",
            "Response p99",
            "Response p99.9",
            "Response max",
            "Service p99",
            "End to end p50",
            "End to end p99",
            "Send lag p99",
        ];
        markup.leaf("h3", &[], "How fast each phase was");
        table(markup, "How fast each phase was", &columns, 1, rows);
    });
}
