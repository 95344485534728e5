//! Instructions and allocations of the hot path, counted by gungraun under valgrind. Hardly any chance is in them, so a
//! small growth counts.
//!
//! The bench `hot_path` of the crate `benches` does each step a thousand times; [`super::build`] lets gungraun count it.

use std::collections::BTreeMap;
use std::path::Path;

use record::result::hotpath::{Cost, HotPath, Row};
use serde_json::Value;

use crate::rounds::build::Build;

/// How often the bench does each step.
const TIMES: f64 = 1_000.0;
/// The steps of the hot path, in the order of a loan's way.
const STEPS: [&str; 8] = [
    "parse",
    "fingerprint",
    "admission",
    "claim",
    "validation",
    "enrichment",
    "decision",
    "recording",
];

/// Puts what was counted of both builds side by side. What could not be counted is left out and said.
pub fn compare(base: &Build, head: &Build) -> HotPath {
    let none = |note: String| HotPath {
        rows: Vec::new(),
        note: Some(format!("The hot path was not counted: {note}.")),
    };
    let (Some(base), Some(head)) = (&base.hot_path, &head.hot_path) else {
        return none(
            "valgrind or gungraun's runner is missing (make counters), or a commit has no bench for it".to_owned(),
        );
    };
    let (base, head) = match (read(base), read(head)) {
        (Ok(base), Ok(head)) => (base, head),
        (Err(what), _) | (_, Err(what)) => return none(what),
    };
    side_by_side(base, head)
}

/// The steps that both have, and the names of those that one or both lack: a step that is gone may hide in another one.
fn side_by_side(base: BTreeMap<String, Cost>, mut head: BTreeMap<String, Cost>) -> HotPath {
    let mut rows = Vec::new();
    let mut gone = Vec::new();
    let uncounted = STEPS
        .into_iter()
        .filter(|step| !base.contains_key(*step) && !head.contains_key(*step))
        .map(str::to_owned)
        .collect();
    for (step, base) in base {
        match head.remove(&step) {
            Some(head) => rows.push(Row { step, base, head }),
            None => gone.push(step),
        }
    }
    let only = |what: &str, steps: Vec<String>| {
        (!steps.is_empty()).then(|| format!("{what} {}", steps.join(", ")))
    };
    let only = [
        only("the head has no step", gone),
        only("the base has no step", head.into_keys().collect()),
        only("neither has the step", uncounted),
    ];
    let only: Vec<String> = only.into_iter().flatten().collect();
    let place = |row: &Row| STEPS.iter().position(|step| *step == row.step);
    rows.sort_by_key(|row| place(row).unwrap_or(STEPS.len()));
    HotPath {
        rows,
        note: (!only.is_empty())
            .then(|| format!("Not every step could be compared: {}.", only.join("; "))),
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Cost>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    costs(&text)
}

/// What a loan costs in each step, from gungraun's summaries, one in a line.
fn costs(text: &str) -> Result<BTreeMap<String, Cost>, String> {
    let mut costs = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let summary: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let step = summary["function_name"]
            .as_str()
            .ok_or("a summary of gungraun names no function")?;
        let count = |tool: &str, metric: &str| {
            summary["profiles"]
                .as_array()?
                .iter()
                .find(|profile| profile["tool"] == tool)?["data"]["total"]["metrics"][metric]["values"]
                ["new"]
                .as_f64()
        };
        let cost = count("Callgrind", "Ir").zip(count("DHAT", "TotalBlocks"));
        let (instructions, blocks) =
            cost.ok_or_else(|| format!("gungraun's summary of {step} lacks a count"))?;
        costs.insert(
            step.to_owned(),
            Cost {
                instructions: instructions / TIMES,
                allocations: blocks / TIMES,
            },
        );
    }
    if costs.is_empty() {
        return Err("gungraun gave no summary".to_owned());
    }
    Ok(costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_only_one_build_has_is_named() {
        let costs = |steps: &[&str]| {
            steps
                .iter()
                .map(|step| ((*step).to_owned(), Cost::default()))
                .collect()
        };
        let all = || costs(&STEPS);
        let both = side_by_side(all(), all());
        let steps: Vec<&str> = both.rows.iter().map(|row| &*row.step).collect();
        assert_eq!((steps, both.note), (STEPS.to_vec(), None));
        let without = |gone: &[&str], more: &[&str]| {
            let mut some = all();
            some.retain(|step, _| !gone.contains(&step.as_str()));
            some.append(&mut costs(more));
            some
        };
        let base = without(&["claim"], &["old"]);
        let part = side_by_side(base, without(&["claim", "parse"], &["new"]));
        assert_eq!(part.rows.len(), STEPS.len() - 2);
        let note = part.note.expect("a note");
        assert!(
            note.contains(
                "the head has no step old, parse; the base has no step new; neither has the step claim"
            ),
            "{note}"
        );
    }

    #[test]
    fn gungrauns_summaries_are_read() {
        let line = r#"{"function_name":"parse","profiles":[{"data":{"total":{"metrics":{"Ir":{"values":{"new":1234000}}}}},"tool":"Callgrind"},{"data":{"total":{"metrics":{"TotalBlocks":{"values":{"new":2013}}}}},"tool":"DHAT"}]}"#;
        let read = costs(&format!("{line}\n")).expect("a summary");
        let cost = read["parse"];
        assert!((cost.instructions - 1_234.0).abs() < 1e-9, "{cost:?}");
        assert!((cost.allocations - 2.013).abs() < 1e-9, "{cost:?}");
        assert!(costs("").is_err());
        assert!(costs(r#"{"function_name":"parse","profiles":[]}"#).is_err());
    }
}
