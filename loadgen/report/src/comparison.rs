//! Two runs side by side: as plain text, as a page, and as Markdown for a comment on a change.

use std::fmt::Write as _;
use std::path::Path;

use record::number::{count, plain};
use record::result::comparison::{Comparison, Row};

use crate::files::{ReportError, write_file};
use crate::html::page;
use crate::html::parts::{self, Cell, section, table};

/// Writes `comparison.html` and `comparison.md` into `dir`, which is made when it is missing.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write(comparison: &Comparison, dir: &Path) -> Result<(), ReportError> {
    std::fs::create_dir_all(dir).map_err(crate::files::write_error(dir))?;
    write_file(&dir.join("comparison.html"), &html(comparison))?;
    write_file(&dir.join("comparison.md"), &markdown(comparison))
}

/// What the intervals cover.
const COVERS: &str = "The ranges come of resampling whole seconds of each run. They cover how a run varies within itself, not how two \
                      runs of one build differ; loadgen gate interleaves rounds for that.";

fn name(row: &Row) -> String {
    let gap = if row.unit.is_empty() { "" } else { ", " };
    format!("{}{gap}{}", row.name, row.unit)
}

/// With two decimals, but for what is counted, which has no unit, and for what is large.
fn figure(row: &Row, value: Option<f64>) -> String {
    value.map_or_else(
        || "no data".to_owned(),
        |value| {
            if row.unit.is_empty() {
                plain(value)
            } else if value < 1_000.0 {
                format!("{value:.2}")
            } else {
                count(value.round() as u64)
            }
        },
    )
}

fn change(row: &Row) -> String {
    row.change_percent
        .map_or_else(String::new, |change| format!("{} %", signed(change)))
}

/// A number with its sign: one decimal, but for a large one.
fn signed(value: f64) -> String {
    if value.abs() < 1_000.0 {
        format!("{value:+.1}")
    } else {
        let sign = if value < 0.0 { '-' } else { '+' };
        format!("{sign}{}", count(value.abs().round() as u64))
    }
}

fn interval(row: &Row) -> String {
    row.interval_percent
        .map_or_else(String::new, |[low, high]| {
            format!("{} to {} %", signed(low), signed(high))
        })
}

fn says(row: &Row) -> &'static str {
    match row.differs() {
        // What differs are latencies.
        Some(true) if row.change_percent.is_some_and(|change| change < 0.0) => "faster",
        Some(true) => "slower",
        Some(false) => "may be chance",
        None => "",
    }
}

/// How many figures differ by more than chance, in a sentence.
fn headline(comparison: &Comparison) -> String {
    let judged = comparison.rows.iter().filter_map(Row::differs);
    let (differ, all) = judged.fold((0, 0), |(differ, all), is| {
        (differ + usize::from(is), all + 1)
    });
    match (differ, all) {
        (_, 0) => "Two runs side by side".to_owned(),
        (0, all) => format!("None of {all} latencies differs by more than chance"),
        (differ, all) => format!("{differ} of {all} latencies differ by more than chance"),
    }
}

/// The page: one file, no script.
pub fn html(comparison: &Comparison) -> String {
    page("Two runs side by side", |markup| {
        markup.element("header", &[("class", &"banner")], |markup| {
            markup.leaf("p", &[("class", &"eyebrow")], "Two runs side by side");
            parts::headline(markup, "⇄", &headline(comparison));
            markup.leaf(
                "p",
                &[("class", &"summary")],
                &format!("A  {}", comparison.a),
            );
            markup.leaf(
                "p",
                &[("class", &"summary")],
                &format!("B  {}", comparison.b),
            );
            if !comparison.warnings.is_empty() {
                markup.leaf("h2", &[("class", &"whytitle")], "To be known");
                parts::why(markup, &comparison.warnings);
            }
        });
        markup.element("main", &[], |markup| {
            section(markup, "figures", "Figures", COVERS, |markup| {
                let columns = ["Figure", "Says", "A", "B", "Change", "95 % within the runs"];
                let rows = comparison.rows.iter().map(|row| {
                    let class = match row.differs() {
                        Some(true) if row.change_percent.is_some_and(|change| change > 0.0) => {
                            "bad"
                        }
                        Some(true) => "good",
                        _ => "",
                    };
                    vec![
                        name(row).into(),
                        Cell::of(says(row), class),
                        figure(row, row.a).into(),
                        figure(row, row.b).into(),
                        change(row).into(),
                        interval(row).into(),
                    ]
                });
                table(markup, "Figures of both runs", &columns, 2, rows);
            });
        });
    })
}

/// Markdown, for a comment on a change: what differs first, everything below.
pub fn markdown(comparison: &Comparison) -> String {
    let cell = |text: &str| crate::words::one_line(text).replace('|', "\\|");
    let mut text = format!(
        "### {}\n\n- A: {}\n- B: {}\n",
        headline(comparison),
        cell(&comparison.a),
        cell(&comparison.b)
    );
    for warning in &comparison.warnings {
        let _ = writeln!(text, "- **{}**", cell(warning));
    }
    let head = "\n| | A | B | change | 95 % within the runs | |\n|---|---:|---:|---:|---:|---|\n";
    let line = |row: &Row| {
        format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            cell(&name(row)),
            figure(row, row.a),
            figure(row, row.b),
            change(row),
            interval(row),
            says(row)
        )
    };
    let differ: Vec<&Row> = comparison
        .rows
        .iter()
        .filter(|row| row.differs() == Some(true))
        .collect();
    if !differ.is_empty() {
        text.push_str(head);
        text.extend(differ.into_iter().map(line));
    }
    text.push_str("\n<details><summary>All figures</summary>\n");
    text.push_str(head);
    text.extend(comparison.rows.iter().map(line));
    let _ = writeln!(text, "\n</details>\n\n{COVERS}");
    text
}

/// The comparison as plain text.
pub fn text(comparison: &Comparison) -> String {
    let mut text = format!("A  {}\nB  {}\n", comparison.a, comparison.b);
    for warning in &comparison.warnings {
        let _ = writeln!(text, "note: {warning}");
    }
    let width = comparison.rows.iter().map(|row| name(row).len()).max();
    let width = width.unwrap_or(0);
    let _ = writeln!(
        text,
        "\n{:width$} {:>12} {:>12} {:>9}   95 % within the runs",
        "", "A", "B", "change"
    );
    for row in &comparison.rows {
        let interval = match says(row) {
            "" => String::new(),
            says => format!("{}, {says}", interval(row)),
        };
        let change = change(row);
        let line = format!(
            "{:width$} {:>12} {:>12} {change:>9}   {interval}",
            name(row),
            figure(row, row.a),
            figure(row, row.b)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str(
        "\nThe ranges come of resampling whole seconds of each run. They cover how a run varies within itself,\n\
         not how two runs of one build differ; `loadgen gate` interleaves rounds for that.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison() -> Comparison {
        let row = |name: &str, interval: Option<[f64; 2]>| Row {
            name: name.to_owned(),
            unit: "ms",
            a: Some(1.0),
            b: Some(1.1),
            change_percent: Some(10.0),
            interval_percent: interval,
        };
        Comparison {
            a: "smoke of then, service <one>".to_owned(),
            b: "smoke | of now".to_owned(),
            warnings: vec!["The seeds differ: 1 and 2.".to_owned()],
            rows: vec![
                row("response p50", Some([8.0, 12.0])),
                row("response p99", Some([-3.0, 20.0])),
                row("rate", None),
            ],
        }
    }

    #[test]
    fn the_page_and_the_comment_say_what_differs() {
        let page = html(&comparison());
        assert!(page.contains("1 of 2 latencies differ by more than chance"));
        assert!(page.contains("&lt;one&gt;") && !page.contains("<script"));
        let markup = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..roxmltree::ParsingOptions::default()
        };
        roxmltree::Document::parse_with_options(&page, markup).expect("well-formed");
        let comment = markdown(&comparison());
        assert!(comment.contains("smoke \\| of now"), "{comment}");
        assert!(
            comment.contains("**The seeds differ: 1 and 2.**"),
            "{comment}"
        );
        // What differs stands above the fold.
        let (above, below) = comment.split_once("<details>").expect("a fold");
        assert!(above.contains("response p50") && !above.contains("response p99"));
        assert!(below.contains("response p99") && below.contains("rate"));
        assert!(text(&comparison()).contains("+8.0 to +12.0 %, slower"));
    }

    #[test]
    fn a_large_figure_reads_as_others_do() {
        let mut comparison = comparison();
        comparison.rows[0].b = Some(1_615.87);
        comparison.rows[0].change_percent = Some(161_487.4);
        comparison.rows[0].interval_percent = Some([-999.9, 2_000.04]);
        let text = text(&comparison);
        let row = text.lines().find(|line| line.starts_with("response p50"));
        let figures: Vec<&str> = row.unwrap_or_default().split_whitespace().skip(3).collect();
        assert_eq!(
            figures.join(" "),
            "1.00 1,616 +161,487 % -999.9 to +2,000 %, may be chance"
        );
    }
}
