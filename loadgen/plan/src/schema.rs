//! The JSON Schemas of scenario files and fault plans, so that an editor completes and checks them.

use serde_json::Value;

use crate::faults::Plan;
use crate::scenario::Scenario;

/// The schema of scenario files, pretty, with a newline at its end.
pub fn scenario_schema() -> String {
    pretty(schemars::schema_for!(Scenario))
}

/// The schema of fault plans.
pub fn faults_schema() -> String {
    pretty(schemars::schema_for!(Plan))
}

fn pretty(schema: schemars::Schema) -> String {
    let mut schema = Value::from(schema);
    without_inner_forms(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is valid JSON");
    text.push('\n');
    text
}

/// Takes away the defaults of durations: they are written as text, and the schema would show how they are held.
fn without_inner_forms(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_inner = |default: &Value| default.get("secs").is_some();
            if fields.get("default").is_some_and(is_inner) {
                fields.remove("default");
            }
            if let Some(Value::Object(default)) = fields.get_mut("default") {
                default.retain(|_, value| !is_inner(value));
            }
            fields.values_mut().for_each(without_inner_forms);
        }
        Value::Array(items) => items.iter_mut().for_each(without_inner_forms),
        _ => {}
    }
}
