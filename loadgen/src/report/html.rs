//! `report.html`: one file that needs no network and no script, and `index.html`, the list of runs.

use super::chart;
use super::markup::{Attributes, Markup};
use super::number::{bytes, count, counted, micros, or_dash, or_no_data, rate, seconds};
use super::words::{commit, headline, sign, verdict};
use super::{AuditClass, Percentiles, Report, Verdict};

const SHEET: &str = include_str!("page.css");

/// How many events the page lists; `report.json` has them all.
const EVENTS_MAX: usize = 60;

/// The report as one HTML page.
pub fn render(report: &Report) -> String {
    page(
        &format!("{}: {}", verdict(report.verdict), report.scenario),
        |markup| {
            banner(markup, report);
            navigation(markup);
            markup.element("main", &[], |markup| {
                headline_figures(markup, report);
                checks(markup, report);
                flow(markup, report);
                latency(markup, report);
                timeline(markup, report);
                phases(markup, report);
                audit(markup, report);
                errors(markup, report);
                surroundings(markup, report);
            });
        },
    )
}

pub(super) fn page(title: &str, body: impl FnOnce(&mut Markup)) -> String {
    let mut markup = Markup::default();
    markup.doctype();
    markup.element("html", &[("lang", &"en")], |markup| {
        markup.element("head", &[], |markup| {
            markup.empty("meta", &[("charset", &"utf-8")]);
            markup.empty(
                "meta",
                &[
                    ("name", &"viewport"),
                    ("content", &"width=device-width, initial-scale=1"),
                ],
            );
            markup.empty(
                "meta",
                &[("name", &"color-scheme"), ("content", &"light dark")],
            );
            markup.leaf("title", &[], title);
            markup.style(SHEET);
        });
        markup.element("body", &[], body);
    });
    markup.finish()
}

fn banner(markup: &mut Markup, report: &Report) {
    let class = format!("banner {}", report.verdict.name());
    markup.element("header", &[("class", &class)], |markup| {
        markup.element("p", &[("class", &"eyebrow")], |markup| {
            markup.leaf("strong", &[], &report.scenario);
            if !report.scenario_description.is_empty() {
                markup.text(&format!(" · {}", report.scenario_description));
            }
        });
        markup.element("h1", &[], |markup| {
            markup.leaf(
                "span",
                &[("class", &"sign"), ("aria-hidden", &"true")],
                sign(report.verdict),
            );
            markup.text(&headline(report));
        });
        if !report.why.is_empty() {
            markup.element("ul", &[("class", &"why")], |markup| {
                for reason in &report.why {
                    markup.leaf("li", &[], reason);
                }
            });
        }
        let mut facts = Vec::new();
        if !report.started_at.is_empty() {
            facts.push(format!("Started {}", report.started_at));
        }
        facts.push(format!("took {}", seconds(report.duration_seconds)));
        facts.push(format!("seed {}", report.seed));
        let provenance = &report.provenance;
        facts.push(format!(
            "commit {}",
            commit(&provenance.git_commit, provenance.dirty)
        ));
        markup.leaf("p", &[("class", &"facts")], &facts.join(" · "));
    });
}

fn navigation(markup: &mut Markup) {
    markup.element("nav", &[("aria-label", &"Parts of the report")], |markup| {
        for (id, name) in [
            ("checks", "Checks"),
            ("flow", "Flow"),
            ("latency", "Latency"),
            ("time", "Over time"),
            ("phases", "Phases"),
            ("audit", "Audit"),
            ("errors", "Errors"),
            ("machine", "Machine and settings"),
        ] {
            markup.leaf("a", &[("href", &format!("#{id}"))], name);
        }
    });
}

fn section(
    markup: &mut Markup,
    id: &str,
    title: &str,
    lead: &str,
    inside: impl FnOnce(&mut Markup),
) {
    let heading = format!("{id}-title");
    markup.element(
        "section",
        &[("id", &id), ("aria-labelledby", &heading)],
        |markup| {
            markup.leaf("h2", &[("id", &heading)], title);
            if !lead.is_empty() {
                markup.leaf("p", &[("class", &"lead")], lead);
            }
            inside(markup);
        },
    );
}

fn headline_figures(markup: &mut Markup, report: &Report) {
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
        "the audit did not finish".to_owned()
    };
    let emptied = report.drain.seconds_to_empty.map_or_else(
        || "not seen empty after the load".to_owned(),
        |after| format!("empty after {}", seconds(after)),
    );
    let median = |of: &Percentiles| {
        of.p50
            .map_or_else(String::new, |p50| format!("p50 {}", micros(p50)))
    };
    let figures = [
        (
            "Sent",
            rate(load.rate_per_second),
            format!(
                "planned {}, {} sent",
                rate(load.planned_rate_per_second),
                counted(load.sent, "arrival")
            ),
        ),
        (
            "Response p99",
            or_no_data(load.response_us.p99, micros),
            median(&load.response_us),
        ),
        (
            "End to end p99",
            or_no_data(load.end_to_end_us.p99, micros),
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
            format!(
                "bound {}, {}",
                or_dash(report.workers.bound, count),
                counted(report.workers.steps, "step")
            ),
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

fn checks(markup: &mut Markup, report: &Report) {
    section(
        markup,
        "checks",
        "Checks",
        "What the scenario demands. A check without data fails.",
        |markup| {
            if report.checks.is_empty() {
                no_data(markup, "The scenario has no checks.");
                return;
            }
            let rows = report.checks.iter().map(|check| {
                let result = if check.pass {
                    Cell::of("✓ pass", "good")
                } else {
                    Cell::of("✗ fail", "bad")
                };
                vec![
                    (&check.name).into(),
                    (&check.bound).into(),
                    (&check.observed).into(),
                    result,
                ]
            });
            table(
                markup,
                "Checks",
                &["Check", "Bound", "Observed", "Result"],
                4,
                rows,
            );
        },
    );
}

/// One part of a bar: its name, how many, and the class of its colour.
type Part = (&'static str, u64, &'static str);

fn flow(markup: &mut Markup, report: &Report) {
    let lead = "Each bar splits the one above it. The first three count arrivals, the last two count distinct loans: \
                an arrival may repeat an earlier loan, and a malformed one holds none that could be stored.";
    section(
        markup,
        "flow",
        "What was sent, and what became of it",
        lead,
        |markup| {
            let load = &report.load;
            let answers = &load.answers;
            let audit = &report.audit;
            let whole = load.scheduled.max(audit.ids).max(1);
            if load.scheduled == 0 {
                no_data(markup, "No data: nothing was scheduled.");
                return;
            }
            let bars: [(&str, &str, Vec<Part>); 3] = [
                (
                    "Scheduled",
                    "arrival",
                    vec![("scheduled", load.scheduled, "planned")],
                ),
                (
                    "Sent or not",
                    "arrival",
                    vec![
                        ("sent", load.sent, "sent"),
                        ("never sent", load.unsent, "bad"),
                    ],
                ),
                (
                    "Answered",
                    "arrival",
                    vec![
                        ("new loan (202)", answers.queued, "sent"),
                        ("known already (202, replayed)", answers.replayed, "service"),
                        ("refused (4xx)", answers.rejected, "queue"),
                        ("without a definite answer", answers.unknown, "bad"),
                    ],
                ),
            ];
            markup.element("div", &[("class", &"flow")], |markup| {
                for (name, unit, parts) in &bars {
                    bar(markup, name, unit, parts, whole);
                }
                if !audit.complete {
                    no_data(markup, "No data beyond this: the audit did not finish.");
                    return;
                }
                let parts = [
                    ("acknowledged", audit.acknowledged, "sent"),
                    ("refused", audit.rejected, "queue"),
                    ("without a definite answer", audit.unknown, "bad"),
                ];
                bar(markup, "Distinct loans", "loan", &parts, whole);
                let parts = [
                    ("recorded", audit.recorded, "recorded"),
                    ("kept as failures", audit.failed, "queue"),
                    ("lost", audit.lost, "bad"),
                    ("stuck", audit.stuck, "bad"),
                ];
                bar(markup, "Stored", "loan", &parts, whole);
            });
            if !report.by_kind.is_empty() {
                kinds(markup, report);
            }
        },
    );
}

fn bar(markup: &mut Markup, name: &str, unit: &str, parts: &[Part], whole: u64) {
    let total: u64 = parts.iter().map(|(_, value, _)| value).sum();
    markup.element("div", &[("class", &"stage")], |markup| {
        markup.element("p", &[("class", &"stagename")], |markup| {
            markup.leaf("strong", &[], name);
            markup.text(&format!(" {}", counted(total, unit)));
        });
        let width = format!("width:{:.2}%", total as f64 / whole as f64 * 100.0);
        markup.element(
            "div",
            &[
                ("class", &"bar"),
                ("style", &width),
                ("aria-hidden", &"true"),
            ],
            |markup| {
                for (_, value, class) in parts.iter().filter(|(_, value, _)| *value > 0) {
                    markup.leaf(
                        "i",
                        &[("class", class), ("style", &format!("flex-grow:{value}"))],
                        "",
                    );
                }
            },
        );
        if parts.len() > 1 {
            markup.element("ul", &[("class", &"parts")], |markup| {
                for (name, value, class) in parts {
                    markup.element(
                        "li",
                        &[("class", &if *value == 0 { "none" } else { "" })],
                        |markup| {
                            markup.leaf("i", &[("class", class), ("aria-hidden", &"true")], "");
                            markup.leaf("b", &[], &count(*value));
                            markup.text(&format!(" {name}"));
                        },
                    );
                }
            });
        }
    });
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
}

fn latency(markup: &mut Markup, report: &Report) {
    let lead = "Response time runs from the instant at which the schedule wanted the request to leave, so a stalled \
                service cannot hide by delaying the next request. Service time runs from the real send. End to end \
                runs from the wanted instant until MongoDB has confirmed the record.";
    section(markup, "latency", "Latency by percentile", lead, |markup| {
        chart::latency(markup, report);
        let load = &report.load;
        if load.send_lag_us.count == 0 && load.response_us.count == 0 {
            return;
        }
        let rows = [
            ("Response time", &load.response_us),
            ("Service time", &load.service_us),
            ("End to end", &load.end_to_end_us),
            ("Send lag", &load.send_lag_us),
        ]
        .map(|(name, of)| {
            let mut cells: Vec<Cell> = vec![name.into(), count(of.count).into()];
            cells.extend(
                [of.min, of.p50, of.p90, of.p95, of.p99, of.p999, of.max]
                    .map(|value| or_dash(value, micros).into()),
            );
            cells
        });
        let columns = [
            "Latency", "Measured", "Min", "p50", "p90", "p95", "p99", "p99.9", "Max",
        ];
        table(markup, "Latency over all phases", &columns, 1, rows);
        markup.leaf(
            "p",
            &[("class", &"hint")],
            "Send lag is how late the generator itself was: it bounds what the \
                    other figures can be trusted for. – means: not measured.",
        );
    });
}

fn timeline(markup: &mut Markup, report: &Report) {
    section(markup, "time", "The run over time", "", |markup| {
        chart::timeline(markup, report);
        if report.events.is_empty() {
            return;
        }
        markup.leaf("h3", &[], "Events");
        let rows = report.events.iter().take(EVENTS_MAX).map(|event| {
            vec![
                format!("{:.1} s", event.offset_seconds).into(),
                event.kind.name().into(),
                (&event.text).into(),
            ]
        });
        table(markup, "Events", &["At", "Kind", "What happened"], 3, rows);
        if let Some(more) = report.events.len().checked_sub(EVENTS_MAX + 1) {
            let more = format!("{} more in report.json.", counted(more as u64 + 1, "event"));
            markup.leaf("p", &[("class", &"hint")], &more);
        }
    });
}

fn phases(markup: &mut Markup, report: &Report) {
    section(markup, "phases", "Phases", "", |markup| {
        if report.phases.is_empty() {
            no_data(markup, "No data: no phase began.");
            return;
        }
        let rows = report.phases.iter().map(|phase| {
            let time = format!("{:.0}–{:.0} s", phase.start_seconds, phase.end_seconds);
            let mut cells: Vec<Cell> = vec![
                (&phase.name).into(),
                (&phase.shape).into(),
                time.into(),
                rate(phase.planned_rate_per_second).into(),
                count(phase.sent).into(),
                marked(phase.scheduled.saturating_sub(phase.sent)),
                marked(phase.failed),
            ];
            cells.extend(
                [
                    phase.response_us.p50,
                    phase.response_us.p99,
                    phase.response_us.max,
                    phase.service_us.p99,
                    phase.end_to_end_us.p99,
                    phase.send_lag_us.p99,
                ]
                .map(|value| or_dash(value, micros).into()),
            );
            cells
        });
        let columns = [
            "Phase",
            "Shape",
            "Time",
            "Planned",
            "Sent",
            "Unsent",
            "No answer",
            "Response p50",
            "Response p99",
            "Response max",
            "Service p99",
            "End to end p99",
            "Send lag p99",
        ];
        table(markup, "Phases", &columns, 2, rows);
    });
}

fn audit(markup: &mut Markup, report: &Report) {
    let lead = "After the drain, every loan that was sent is looked up in MongoDB and Redis directly, without the \
                service, and classified by its id.";
    section(markup, "audit", "Audit", lead, |markup| {
        let audit = &report.audit;
        if audit.complete {
            audit_counts(markup, report);
        } else {
            no_data(
                markup,
                "No data: the audit did not finish, so nothing is known of what was stored.",
            );
        }
        if !audit.examples.is_empty() {
            markup.leaf("h3", &[], "Examples");
            let rows = audit.examples.iter().map(|example| {
                let class = if example.class == AuditClass::Unknown {
                    ""
                } else {
                    "bad"
                };
                vec![
                    Cell::of(&example.loan_id, "code"),
                    Cell::of(example.class.name(), class),
                    (&example.story).into(),
                ]
            });
            table(
                markup,
                "Examples of loans",
                &["Loan", "Class", "What happened to it"],
                3,
                rows,
            );
        }
        markup.leaf("h3", &[], "Live counters against the audit");
        if report.counters_agree.is_empty() {
            no_data(markup, "No data: the live counters were not compared.");
            return;
        }
        let rows = report.counters_agree.iter().map(|row| {
            let audited = if row.audit_max > row.audit {
                format!("{} to {}", count(row.audit), count(row.audit_max))
            } else {
                count(row.audit)
            };
            let result = if row.agree {
                Cell::of("✓ agree", "good")
            } else {
                Cell::of("✗ differ", "bad")
            };
            vec![
                (&row.name).into(),
                result,
                or_no_data(row.live, count).into(),
                audited.into(),
            ]
        });
        table(
            markup,
            "Live counters against the audit",
            &["Counter", "Result", "Live", "Audit"],
            2,
            rows,
        );
    });
}

fn audit_counts(markup: &mut Markup, report: &Report) {
    let audit = &report.audit;
    let row = |name: &'static str, value: u64, fault: bool, meaning: &'static str| {
        let value = if fault {
            marked(value)
        } else {
            count(value).into()
        };
        vec![name.into(), meaning.into(), value]
    };
    let rows = [
        row(
            "acknowledged",
            audit.acknowledged,
            false,
            "answered 202 at least once",
        ),
        row("rejected", audit.rejected, false, "refused every time"),
        row(
            "unknown",
            audit.unknown,
            false,
            "no definite answer: stored or not, either is legal",
        ),
        row(
            "unknown, stored",
            audit.unknown_stored,
            false,
            "of these, stored after all",
        ),
        row("recorded", audit.recorded, false, "stored once in loans"),
        row(
            "failed",
            audit.failed,
            false,
            "did not pass validation, stored in failures",
        ),
        row(
            "lost",
            audit.lost,
            true,
            "fault: acknowledged, and found nowhere",
        ),
        row(
            "duplicated",
            audit.duplicated,
            true,
            "fault: more than one final record",
        ),
        row(
            "unexpected",
            audit.unexpected,
            true,
            "fault: stored, but never sent or refused",
        ),
        row(
            "mismatched",
            audit.mismatched,
            true,
            "fault: stored otherwise than sent, or with the wrong outcome",
        ),
        row(
            "stuck",
            audit.stuck,
            true,
            "fault: still in Redis when the drain ended",
        ),
    ];
    table(
        markup,
        "Loans by class",
        &["Class", "Meaning", "Loans"],
        2,
        rows,
    );
}

fn errors(markup: &mut Markup, report: &Report) {
    section(markup, "errors", "Errors", "", |markup| {
        if report.errors.is_empty() {
            no_data(markup, "None.");
            return;
        }
        let rows = report.errors.iter().map(|row| {
            vec![
                (&row.kind).into(),
                Cell::of(&row.example, "code wrap"),
                count(row.count).into(),
            ]
        });
        table(
            markup,
            "Errors by kind",
            &["Kind", "Example", "Count"],
            2,
            rows,
        );
    });
}

fn surroundings(markup: &mut Markup, report: &Report) {
    section(markup, "machine", "Machine and settings", "", |markup| {
        let resources = &report.resources;
        let provenance = &report.provenance;
        let or_unknown = |text: &str| {
            if text.is_empty() {
                "unknown".to_owned()
            } else {
                text.to_owned()
            }
        };
        let load_average =
            |averages: [f64; 3]| averages.map(|average| format!("{average:.2}")).join(", ");
        markup.element("div", &[("class", &"columns")], |markup| {
            list(
                markup,
                "Drain and memory",
                &[
                    (
                        "Highest backlog",
                        or_no_data(report.drain.backlog_peak, count),
                    ),
                    (
                        "Time to empty after the last arrival",
                        or_no_data(report.drain.seconds_to_empty, seconds),
                    ),
                    ("Left over", or_no_data(report.drain.left_over, count)),
                    (
                        "Service memory, highest",
                        or_no_data(resources.service_rss_bytes_peak, bytes),
                    ),
                    (
                        "Service processor time",
                        or_no_data(resources.service_cpu_milliseconds, |used| {
                            seconds(used as f64 / 1e3)
                        }),
                    ),
                    (
                        "Redis memory before",
                        or_no_data(resources.redis_memory_start_bytes, bytes),
                    ),
                    (
                        "Redis memory after the drain",
                        or_no_data(resources.redis_memory_end_bytes, bytes),
                    ),
                    (
                        "Load generator memory, highest",
                        or_no_data(resources.loadgen_rss_bytes_peak, bytes),
                    ),
                ],
            );
            list(
                markup,
                "Machine and versions",
                &[
                    ("Processor", or_unknown(&provenance.cpu)),
                    ("Cores", provenance.cores.to_string()),
                    ("Memory", or_no_data(provenance.memory_bytes, bytes)),
                    ("Kernel", or_unknown(&provenance.kernel)),
                    (
                        "Load average before the run",
                        or_no_data(provenance.load_average_before, load_average),
                    ),
                    (
                        "Redis",
                        format!(
                            "{}, appendfsync {}",
                            or_unknown(&provenance.redis),
                            or_unknown(&provenance.appendfsync)
                        ),
                    ),
                    ("MongoDB", or_unknown(&provenance.mongodb)),
                    (
                        "Service",
                        format!(
                            "{}, commit {}",
                            or_unknown(&provenance.service_version),
                            commit(&provenance.service_commit, false)
                        ),
                    ),
                    (
                        "Load generator",
                        format!(
                            "{}, commit {}",
                            or_unknown(&provenance.loadgen_version),
                            commit(&provenance.git_commit, provenance.dirty),
                        ),
                    ),
                ],
            );
        });
        if !report.instants.is_empty() {
            markup.leaf("h3", &[], "Where each instant is taken");
            let rows = report
                .instants
                .iter()
                .map(|instant| vec![(&instant.name).into(), (&instant.taken).into()]);
            table(markup, "Instants", &["Instant", "Taken"], 2, rows);
        }
        if !report.repeat.is_empty() {
            markup.leaf("h3", &[], "How to repeat this run");
            code_block(markup, &report.repeat, "How to repeat this run");
        }
        if !report.settings.is_empty() {
            markup.leaf("h3", &[], "Settings in effect");
            code_block(markup, &report.settings, "Settings in effect");
        }
    });
}

fn code_block(markup: &mut Markup, text: &str, name: &str) {
    markup.element(
        "pre",
        &[
            ("tabindex", &"0"),
            ("role", &"region"),
            ("aria-label", &name),
        ],
        |markup| {
            markup.leaf("code", &[], text);
        },
    );
}

fn list(markup: &mut Markup, title: &str, rows: &[(&str, String)]) {
    markup.element("div", &[], |markup| {
        markup.leaf("h3", &[], title);
        markup.element("dl", &[("class", &"list")], |markup| {
            for (name, value) in rows {
                markup.element("div", &[], |markup| {
                    markup.leaf("dt", &[], name);
                    markup.leaf("dd", &[], value);
                });
            }
        });
    });
}

fn no_data(markup: &mut Markup, text: &str) {
    markup.leaf("p", &[("class", &"nodata")], text);
}

/// A cell of a table: its text and its class.
struct Cell {
    text: String,
    class: &'static str,
}

impl Cell {
    fn of(text: &str, class: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            class,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, class: "" }
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::of(text, "")
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::of(text, "")
    }
}

/// A count that should be 0, marked when it is not.
fn marked(value: u64) -> Cell {
    if value == 0 {
        Cell::from("0")
    } else {
        Cell {
            text: format!("✗ {}", count(value)),
            class: "bad",
        }
    }
}

/// A table. The first `words` columns hold words, the others figures. It scrolls by itself on a narrow page.
fn table(
    markup: &mut Markup,
    caption: &str,
    columns: &[&str],
    words: usize,
    rows: impl IntoIterator<Item = Vec<Cell>>,
) {
    let scroll: Attributes = &[
        ("class", &"scroll"),
        ("tabindex", &"0"),
        ("role", &"region"),
        ("aria-label", &caption),
    ];
    markup.element("div", scroll, |markup| {
        let class = if columns.len() > 4 { "wide-table" } else { "" };
        markup.element("table", &[("class", &class)], |markup| {
            markup.leaf("caption", &[], caption);
            markup.element("thead", &[], |markup| {
                markup.element("tr", &[], |markup| {
                    for (index, column) in columns.iter().enumerate() {
                        let class = if index < words { "" } else { "figure" };
                        markup.leaf("th", &[("scope", &"col"), ("class", &class)], column);
                    }
                });
            });
            markup.element("tbody", &[], |markup| {
                for row in rows {
                    markup.element("tr", &[], |markup| {
                        for (index, cell) in row.iter().enumerate() {
                            let figure = if index < words { "" } else { " figure" };
                            let class = format!("{}{figure}", cell.class);
                            if index == 0 {
                                markup.leaf(
                                    "th",
                                    &[("scope", &"row"), ("class", &class)],
                                    &cell.text,
                                );
                            } else {
                                markup.leaf("td", &[("class", &class)], &cell.text);
                            }
                        }
                    });
                }
            });
        });
    });
}

/// One run in the list of runs.
pub(super) struct RunRow {
    pub(super) folder: String,
    pub(super) scenario: String,
    pub(super) verdict: Verdict,
    pub(super) started_at: String,
    pub(super) sent: u64,
    pub(super) rate_per_second: f64,
    pub(super) response_us: Percentiles,
    pub(super) end_to_end_us: Percentiles,
    /// Loans with a fault, when the audit finished.
    pub(super) faults: Option<u64>,
}

/// The list of runs as one HTML page.
pub(super) fn render_index(runs: &[RunRow]) -> String {
    page("Load runs", |markup| {
        markup.element("header", &[("class", &"banner")], |markup| {
            markup.leaf("h1", &[], "Load runs");
            markup.leaf(
                "p",
                &[("class", &"facts")],
                &format!("{}, newest first", counted(runs.len() as u64, "run")),
            );
        });
        markup.element("main", &[], |markup| {
            if runs.is_empty() {
                no_data(markup, "No run has left a report here yet.");
                return;
            }
            markup.element(
                "div",
                &[("class", &"scroll"), ("tabindex", &"0")],
                |markup| {
                    markup.element("table", &[], |markup| index_table(markup, runs));
                },
            );
        });
    })
}

fn index_table(markup: &mut Markup, runs: &[RunRow]) {
    markup.leaf("caption", &[], "Load runs, newest first");
    markup.element("thead", &[], |markup| {
        markup.element("tr", &[], |markup| {
            for (name, class) in [
                ("Run", ""),
                ("Verdict", ""),
                ("Started", ""),
                ("Sent", "figure"),
                ("Rate", "figure"),
                ("Response p99", "figure"),
                ("End to end p99", "figure"),
                ("Faults", "figure"),
            ] {
                markup.leaf("th", &[("scope", &"col"), ("class", &class)], name);
            }
        });
    });
    markup.element("tbody", &[], |markup| {
        for run in runs {
            markup.element("tr", &[], |markup| {
                markup.element("th", &[("scope", &"row")], |markup| {
                    let link = format!("runs/{}/report.html", encoded(&run.folder));
                    markup.leaf("a", &[("href", &link)], &run.scenario);
                });
                let class = if run.verdict == Verdict::Pass {
                    "good"
                } else {
                    "bad"
                };
                let words = format!("{} {}", sign(run.verdict), verdict(run.verdict));
                markup.leaf("td", &[("class", &class)], &words);
                markup.leaf("td", &[], &run.started_at);
                for text in [
                    count(run.sent),
                    rate(run.rate_per_second),
                    or_dash(run.response_us.p99, micros),
                    or_dash(run.end_to_end_us.p99, micros),
                    or_dash(run.faults, count),
                ] {
                    markup.leaf("td", &[("class", &"figure")], &text);
                }
            });
        }
    });
}

/// `name` as one segment of a URL's path.
fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
