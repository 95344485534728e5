//! `report.json` and its schema.

use super::Report;

/// The report as pretty JSON, with a newline at its end.
pub fn render(report: &Report) -> String {
    pretty(report)
}

/// The JSON Schema of `report.json`, pretty, with a newline at its end.
pub fn schema() -> String {
    pretty(&schemars::schema_for!(Report))
}

fn pretty(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value)
        .expect("plain data with string keys always serialises to JSON");
    text.push('\n');
    text
}
