//! Instructions and allocations of the hot path, counted by gungraun under valgrind. Hardly any chance is in them, so a
//! small growth counts.
//!
//! The bench `hot_path` of the crate `benches` does each step a thousand times; [`super::build`] lets gungraun count it.

use std::collections::BTreeMap;
use std::path::Path;

use record::result::hotpath::{Baseline, Cost, HotPath, Row};
use serde_json::Value;

use crate::rounds::build::{Build, compiler, file_at};

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

/// Where a commit keeps its [`Baseline`].
pub const BASELINE: &str = "benches/gate-data/hot-path.json";

/// What was counted of `build`, as the baseline of commits to come.
///
/// # Errors
/// In a sentence: what was not counted, or why not.
pub fn baseline(build: &Build) -> Result<Baseline, String> {
    let counts = build.hot_path.as_ref().ok_or(UNCOUNTED)?;
    let steps = read(counts)?;
    match STEPS.iter().find(|step| !steps.contains_key(**step)) {
        Some(step) => Err(format!("the step {step} was not counted")),
        None => Ok(Baseline {
            compiler: compiler().map_err(|error| error.to_string())?,
            steps,
        }),
    }
}

/// Why nothing was counted.
const UNCOUNTED: &str =
    "valgrind or gungraun's runner is missing (make counters), or a commit has no bench for it";

/// Puts what was counted of both builds side by side. What could not be counted is left out and said.
pub fn compare(base: &Build, head: &Build) -> HotPath {
    let none = |note: String| HotPath {
        rows: Vec::new(),
        note: Some(format!("The hot path was not counted: {note}.")),
    };
    let (Some(base), Some(counted)) = (&base.hot_path, &head.hot_path) else {
        return none(UNCOUNTED.to_owned());
    };
    let (base, counted) = match (read(base), read(counted)) {
        (Ok(base), Ok(counted)) => (base, counted),
        (Err(what), _) | (_, Err(what)) => return none(what),
    };
    let mut hot_path = side_by_side(base, counted);
    let committed = file_at(&head.commit, BASELINE);
    if let Err(note) = beside(
        &mut hot_path,
        committed.as_deref(),
        compiler().ok().as_deref(),
    ) {
        let notes = [hot_path.note.take(), Some(note)];
        hot_path.note = Some(notes.into_iter().flatten().collect::<Vec<_>>().join(" "));
    }
    hot_path
}

/// Puts the `committed` baseline beside what was counted with `compiler`.
///
/// # Errors
/// In a sentence: why nothing, or not everything, is compared with it.
fn beside(
    hot_path: &mut HotPath,
    committed: Option<&str>,
    compiler: Option<&str>,
) -> Result<(), String> {
    let text = committed.ok_or_else(|| format!("The head has no baseline in {BASELINE}."))?;
    let baseline: Baseline = serde_json::from_str(text)
        .map_err(|error| format!("The baseline in {BASELINE} cannot be read: {error}."))?;
    if compiler != Some(&*baseline.compiler) {
        return Err(format!(
            "The committed baseline was counted with {}, and this is {}: it is not compared.",
            baseline.compiler,
            compiler.unwrap_or("another one")
        ));
    }
    let mut lacking = Vec::new();
    for row in &mut hot_path.rows {
        row.baseline = baseline.steps.get(&row.step).copied();
        if row.baseline.is_none() {
            lacking.push(row.step.clone());
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    Err(format!(
        "The committed baseline lacks {}.",
        lacking.join(", ")
    ))
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
            Some(head) => rows.push(Row {
                step,
                base,
                head,
                baseline: None,
            }),
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
    fn the_committed_baseline_counts_for_the_same_compiler() {
        let rows = || {
            let all: BTreeMap<String, Cost> =
                STEPS.map(|step| (step.to_owned(), Cost::default())).into();
            side_by_side(all.clone(), all)
        };
        let baseline = |steps: &[&str]| {
            let steps = steps.iter().map(|step| {
                let cost = Cost {
                    instructions: 7.0,
                    allocations: 1.0,
                };
                ((*step).to_owned(), cost)
            });
            let baseline = Baseline {
                compiler: "rustc 1".to_owned(),
                steps: steps.collect(),
            };
            serde_json::to_string(&baseline).expect("plain data")
        };
        let put = |text: Option<&str>, compiler: &str| {
            let mut hot_path = rows();
            let answer = beside(&mut hot_path, text, Some(compiler));
            let with = hot_path.rows.iter().filter(|row| row.baseline.is_some());
            (with.count(), answer.err().unwrap_or_default())
        };
        assert_eq!(
            put(Some(&baseline(&STEPS)), "rustc 1"),
            (STEPS.len(), String::new())
        );
        let (with, note) = put(Some(&baseline(&STEPS)), "rustc 2");
        assert!(
            with == 0 && note.contains("counted with rustc 1, and this is rustc 2"),
            "{note}"
        );
        let (with, note) = put(Some(&baseline(&STEPS[1..])), "rustc 1");
        assert!(
            with == STEPS.len() - 1 && note.ends_with("lacks parse."),
            "{note}"
        );
        let (with, note) = put(None, "rustc 1");
        assert!(with == 0 && note.contains("no baseline in"), "{note}");
        let (with, note) = put(Some("{"), "rustc 1");
        assert!(with == 0 && note.contains("cannot be read"), "{note}");
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
