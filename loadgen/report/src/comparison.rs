//! Two runs side by side, as plain text.

use std::fmt::Write as _;

use record::result::comparison::{Comparison, Row};

/// The comparison as plain text.
pub fn text(comparison: &Comparison) -> String {
    let mut text = format!("A  {}\nB  {}\n", comparison.a, comparison.b);
    for warning in &comparison.warnings {
        let _ = writeln!(text, "note: {warning}");
    }
    let name = |row: &Row| {
        let gap = if row.unit.is_empty() { "" } else { ", " };
        format!("{}{gap}{}", row.name, row.unit)
    };
    let width = comparison.rows.iter().map(|row| name(row).len()).max();
    let width = width.unwrap_or(0);
    let _ = writeln!(
        text,
        "\n{:width$} {:>12} {:>12} {:>9}   95 % within the runs",
        "", "A", "B", "change"
    );
    for row in &comparison.rows {
        let figure = |value: Option<f64>| {
            value.map_or_else(|| "no data".to_owned(), |value| format!("{value:.2}"))
        };
        let change = row
            .change_percent
            .map_or_else(String::new, |change| format!("{change:+.1} %"));
        let interval = row
            .interval_percent
            .map_or_else(String::new, |[low, high]| {
                let sign = if row.differs() == Some(true) {
                    "differs"
                } else {
                    "may be chance"
                };
                format!("{low:+.1} to {high:+.1} %, {sign}")
            });
        let line = format!(
            "{:width$} {:>12} {:>12} {change:>9}   {interval}",
            name(row),
            figure(row.a),
            figure(row.b)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str(
        "\nThe intervals come of resampling whole seconds of each run. They cover how a run varies within itself,\n\
         not how two runs of one build differ; `loadgen gate` interleaves rounds for that.\n",
    );
    text
}
