//! The runs that are kept to compare with are of this version.

use std::path::Path;

use record::kept::Run;

/// What `make compare A=reports/baseline/burst-500 B=reports/latest` reads first.
#[test]
fn the_runs_of_the_baseline_can_be_compared_with() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reports/baseline");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the folder of the baseline") {
        let path = entry.expect("it can be listed").path();
        let run = Run::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!run.intervals.is_empty(), "{}", path.display());
        names.push(run.report.scenario);
    }
    names.sort();
    assert_eq!(names, ["burst-500", "steady-500"]);
}
