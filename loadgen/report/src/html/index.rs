//! `index.html`: the runs, their trends by scenario, and what could not be read.

use std::collections::BTreeMap;

use super::page;
use super::parts::{no_data, section};
use crate::chart;
use crate::markup::Markup;
use crate::series::SeriesRow;
use crate::words::{instant, sign, verdict};
use record::number::{count, counted, micros, or_dash, rate};
use record::result::run::{Percentiles, Verdict};

/// The runs of a scenario that its trends show: the newest of them.
const TREND_MAX: usize = 40;

/// One run in the list of runs.
pub(crate) struct RunRow {
    pub(crate) folder: String,
    pub(crate) scenario: String,
    pub(crate) verdict: Verdict,
    pub(crate) started_at: String,
    pub(crate) commit: String,
    pub(crate) sent: u64,
    pub(crate) rate_per_second: f64,
    pub(crate) response_us: Percentiles,
    pub(crate) end_to_end_us: Percentiles,
    /// Loans with a fault, when the audit finished.
    pub(crate) faults: Option<u64>,
}

/// A folder whose report could not be read, and why.
pub(crate) struct Unreadable {
    pub(crate) folder: String,
    pub(crate) why: String,
    /// Whether it has a page nevertheless.
    pub(crate) has_page: bool,
}

/// The list of runs as one HTML page; `runs` and `series` are the newest first.
pub(crate) fn render_index(
    runs: &[RunRow],
    series: &[SeriesRow],
    unreadable: &[Unreadable],
) -> String {
    page("Load runs", |markup| {
        markup.element("header", &[("class", &"banner")], |markup| {
            markup.leaf("h1", &[], "Load runs");
            let facts = format!("{}, newest first", counted(runs.len() as u64, "run"));
            markup.leaf("p", &[("class", &"facts")], &facts);
        });
        markup.element("main", &[], |markup| {
            if runs.is_empty() && series.is_empty() && unreadable.is_empty() {
                no_data(markup, "No run has left a report here yet.");
                return;
            }
            if !series.is_empty() {
                judgements(markup, series);
            }
            if !runs.is_empty() {
                trends(markup, runs);
                list(markup, runs);
            }
            if !unreadable.is_empty() {
                leftovers(markup, unreadable);
            }
        });
    })
}

/// The pages about many runs.
fn judgements(markup: &mut Markup, series: &[SeriesRow]) {
    let title = "Gates, capacity searches and fault runs";
    section(markup, "judgements", title, "", |markup| {
        let columns = [
            ("What", ""),
            ("Answer", ""),
            ("Started", ""),
            ("In short", ""),
        ];
        frame(markup, "Newest first", &columns, |markup| {
            for row in series {
                markup.element("tr", &[], |markup| {
                    markup.element("th", &[("scope", &"row")], |markup| {
                        let link = format!("runs/{}/{}", encoded(&row.folder), row.page);
                        markup.leaf("a", &[("href", &link)], &row.name);
                    });
                    markup.leaf("td", &[("class", &row.tone)], &row.answer);
                    markup.leaf("td", &[("class", &"nowrap")], &instant(&row.started_at));
                    markup.leaf("td", &[("class", &"prose")], &row.in_short);
                });
            }
        });
    });
}

/// The scenarios, the one with the newest run first.
fn by_scenario(runs: &[RunRow]) -> Vec<(&str, Vec<&RunRow>)> {
    let mut order: Vec<&str> = Vec::new();
    let mut groups: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for run in runs {
        let group = groups.entry(&run.scenario).or_default();
        if group.is_empty() {
            order.push(&run.scenario);
        }
        group.push(run);
    }
    order
        .into_iter()
        .map(|scenario| (scenario, groups.remove(scenario).unwrap_or_default()))
        .collect()
}

fn trends(markup: &mut Markup, runs: &[RunRow]) {
    let lead = "The runs of each scenario from the oldest to the newest. A line starts at zero and is as high as its highest \
                value. Runs that were discarded or aborted have no figures here: they prove nothing.";
    section(markup, "trends", "Trends", lead, |markup| {
        let columns = [
            ("Scenario", ""),
            ("Runs", "figure"),
            ("Verdicts", ""),
            ("Rate", ""),
            ("Response p99", ""),
            ("End to end p99", ""),
        ];
        frame(markup, "Trends by scenario", &columns, |markup| {
            for (scenario, group) in by_scenario(runs) {
                let mut shown: Vec<&RunRow> = group.iter().take(TREND_MAX).copied().collect();
                shown.reverse();
                markup.element("tr", &[], |markup| {
                    markup.leaf("th", &[("scope", &"row")], scenario);
                    markup.leaf("td", &[("class", &"figure")], &count(group.len() as u64));
                    markup.element("td", &[], |markup| verdicts(markup, &shown));
                    trend(
                        markup,
                        "sent",
                        "rate",
                        &shown,
                        |run| Some(run.rate_per_second),
                        rate,
                    );
                    let p99 = |of: &Percentiles| of.p99.map(|us| us as f64);
                    let show = |us: f64| micros(us as u64);
                    trend(
                        markup,
                        "median",
                        "response p99",
                        &shown,
                        |run| p99(&run.response_us),
                        show,
                    );
                    trend(
                        markup,
                        "recorded",
                        "end to end p99",
                        &shown,
                        |run| p99(&run.end_to_end_us),
                        show,
                    );
                });
            }
        });
    });
}

/// A mark for each run: its sign says the verdict, its colour repeats it.
fn verdicts(markup: &mut Markup, runs: &[&RunRow]) {
    markup.element("span", &[("class", &"verdicts")], |markup| {
        for run in runs {
            let link = link(&run.folder);
            let title = format!("{}: {}", run.started_at, verdict(run.verdict));
            markup.element(
                "a",
                &[
                    ("class", &tone(run.verdict)),
                    ("href", &link),
                    ("title", &title),
                    ("aria-label", &title),
                ],
                |markup| markup.text(sign(run.verdict)),
            );
        }
    });
}

/// The trend of one figure: its newest value and its line.
fn trend(
    markup: &mut Markup,
    class: &str,
    name: &str,
    runs: &[&RunRow],
    of: impl Fn(&RunRow) -> Option<f64>,
    show: impl Fn(f64) -> String,
) {
    let values: Vec<Option<f64>> = runs
        .iter()
        .map(|run| {
            let conclusive = matches!(run.verdict, Verdict::Pass | Verdict::Fail);
            conclusive.then(|| of(run)).flatten()
        })
        .collect();
    markup.element("td", &[("class", &"trend")], |markup| {
        let known: Vec<f64> = values.iter().flatten().copied().collect();
        let Some(last) = known.last() else {
            markup.text("–");
            return;
        };
        markup.leaf("span", &[], &show(*last));
        if known.len() > 1 {
            let low = known.iter().copied().fold(f64::MAX, f64::min);
            let high = known.iter().copied().fold(0.0, f64::max);
            let text = format!(
                "{name} of {} from {} to {}",
                counted(known.len() as u64, "run"),
                show(low),
                show(high)
            );
            chart::spark(markup, class, &text, &values);
        }
    });
}

fn list(markup: &mut Markup, runs: &[RunRow]) {
    section(markup, "runs", "Runs", "", |markup| {
        let columns = [
            ("Run", ""),
            ("Verdict", ""),
            ("Started", ""),
            ("Commit", ""),
            ("Sent", "figure"),
            ("Rate", "figure"),
            ("Response p99", "figure"),
            ("End to end p99", "figure"),
            ("Faults", "figure"),
        ];
        frame(markup, "Load runs, newest first", &columns, |markup| {
            for run in runs {
                markup.element("tr", &[], |markup| {
                    markup.element("th", &[("scope", &"row")], |markup| {
                        markup.leaf("a", &[("href", &link(&run.folder))], &run.scenario);
                    });
                    let words = format!("{} {}", sign(run.verdict), run.verdict.name());
                    markup.leaf("td", &[("class", &tone(run.verdict))], &words);
                    markup.leaf("td", &[("class", &"nowrap")], &instant(&run.started_at));
                    markup.leaf("td", &[("class", &"code nowrap")], &run.commit);
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
    });
}

fn leftovers(markup: &mut Markup, unreadable: &[Unreadable]) {
    let lead = "Runs that were killed before their end, and folders whose files are damaged or of a version that is not known.";
    section(markup, "unreadable", "Without a report", lead, |markup| {
        let columns = [("Folder", ""), ("Why", "")];
        frame(markup, "Folders without a report", &columns, |markup| {
            for run in unreadable {
                markup.element("tr", &[], |markup| {
                    markup.element("th", &[("scope", &"row")], |markup| {
                        if run.has_page {
                            markup.leaf("a", &[("href", &link(&run.folder))], &run.folder);
                        } else {
                            markup.text(&run.folder);
                        }
                    });
                    markup.leaf("td", &[], &run.why);
                });
            }
        });
    });
}

/// A table whose rows hold more than text.
fn frame(
    markup: &mut Markup,
    caption: &str,
    columns: &[(&str, &str)],
    rows: impl FnOnce(&mut Markup),
) {
    let scroll = [
        ("class", &"scroll" as &dyn std::fmt::Display),
        ("tabindex", &"0"),
        ("role", &"region"),
        ("aria-label", &caption),
    ];
    markup.element("div", &scroll, |markup| {
        markup.element("table", &[("class", &"wide-table")], |markup| {
            markup.leaf("caption", &[], caption);
            markup.element("thead", &[], |markup| {
                markup.element("tr", &[], |markup| {
                    for (name, class) in columns {
                        markup.leaf("th", &[("scope", &"col"), ("class", class)], name);
                    }
                });
            });
            markup.element("tbody", &[], rows);
        });
    });
}

const fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "good",
        Verdict::Fail => "bad",
        Verdict::Discarded | Verdict::Aborted => "hold",
    }
}

/// The page of a run, relative to the list.
fn link(folder: &str) -> String {
    format!("runs/{}/report.html", encoded(folder))
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
