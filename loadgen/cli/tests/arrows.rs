//! The arrows between the crates of the harness go one way, and the pure ones know no network and no store.

use std::collections::BTreeSet;
use std::path::Path;

/// Each crate, and the crates of this project that it may know.
const MAY_KNOW: [(&str, &[&str]); 9] = [
    ("call", &[]),
    ("plan", &["snapshot"]),
    ("record", &["plan", "snapshot"]),
    ("drive", &["plan", "record"]),
    ("conduct", &["call", "plan", "record", "snapshot"]),
    (
        "observe",
        &["call", "plan", "record", "snapshot", "testbed"],
    ),
    ("judge", &["plan", "record", "snapshot"]),
    ("report", &["record"]),
    (
        "cli",
        &[
            "call", "plan", "record", "drive", "conduct", "observe", "judge", "report", "snapshot",
            "testbed",
        ],
    ),
];
/// What only some may use: the crate, and who.
const ONLY: [(&str, &[&str]); 6] = [
    ("mongodb", &["observe"]),
    ("redis", &["observe"]),
    ("goose", &["drive"]),
    ("tokio", &["call", "drive", "conduct", "observe", "cli"]),
    ("hyper", &["call", "drive", "conduct", "observe"]),
    ("clap", &["cli"]),
];

/// The names in the table `[dependencies]` of the manifest of `name`.
fn dependencies(name: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name)
        .join("Cargo.toml");
    let text = std::fs::read_to_string(&path).expect("every crate has a manifest");
    text.lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_arrow_goes_one_way() {
    let ours: BTreeSet<&str> = MAY_KNOW
        .iter()
        .map(|(name, _)| *name)
        .chain(["loadgen", "service", "snapshot", "testbed", "benches"])
        .collect();
    for (name, may_know) in MAY_KNOW {
        let known = dependencies(name);
        assert!(known.len() >= 3, "{name}: {known:?}");
        let wrong: Vec<&String> = known
            .iter()
            .filter(|known| ours.contains(known.as_str()) && !may_know.contains(&known.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{name} may not know {wrong:?}");
        for (used, by) in ONLY {
            assert!(
                !known.contains(used) || by.contains(&name),
                "{name} may not use {used}"
            );
        }
    }
}
