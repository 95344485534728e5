//! `report.json`.

use record::result::run::Report;

/// The report as pretty JSON, with a newline at its end.
pub fn render(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report)
        .expect("plain data with string keys always serialises to JSON");
    text.push('\n');
    text
}
