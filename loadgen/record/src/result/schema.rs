//! The JSON Schemas of the files.

use crate::result::chaos::ChaosReport;
use crate::result::run::Report;

/// The JSON Schema of `report.json`, pretty, with a newline at its end.
pub fn run_schema() -> String {
    pretty(&schemars::schema_for!(Report))
}

/// The JSON Schema of `chaos.json`.
pub fn chaos_schema() -> String {
    pretty(&schemars::schema_for!(ChaosReport))
}

fn pretty(schema: &schemars::Schema) -> String {
    let mut text = serde_json::to_string_pretty(schema).expect("a schema is valid JSON");
    text.push('\n');
    text
}
