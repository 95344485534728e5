//! The smoke scenario on the real service: the audit finds no fault, and the live counters agree.

use std::path::{Path, PathBuf};

use loadgen::run::{Allowed, Options, run};
use loadgen::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn the_smoke_run_ends_without_a_fault() {
    let reports = tempfile::tempdir().expect("a temporary folder");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/smoke.toml");
    let finished = run(Options {
        scenario: Scenario::load(&path).expect("the scenario loads"),
        scenario_path: PathBuf::from("scenarios/smoke.toml"),
        target: None,
        service_binary: None,
        reports: reports.path().to_path_buf(),
        quiet: true,
        // A test may be built after the service's last build.
        allow: vec![Allowed::OtherCommit],
        merge: Vec::new(),
    })
    .await
    .expect("the run is made");
    let report = &finished.report;
    let audit = &report.audit;
    assert!(audit.complete);
    assert_eq!(audit.faults(), 0, "{:#?}", audit.examples);
    assert_eq!(report.drain.left_over, Some(0));
    // The run may be late on a busy machine; what was sent is judged all the same.
    assert_eq!(report.load.scheduled, 500);
    assert!(
        report.counters_agree.iter().all(|row| row.agree),
        "{:#?}",
        report.counters_agree
    );
    assert_eq!(
        audit.ids,
        audit.acknowledged + audit.rejected + audit.unknown
    );
    assert!(audit.recorded > 300, "{audit:#?}");
    assert!(audit.failed > 20, "{audit:#?}");
    for file in [
        "report.json",
        "report.html",
        "junit.xml",
        "summary.md",
        "response.hgrm",
        "service.hgrm",
        "send-lag.hgrm",
        "end-to-end.hgrm",
    ] {
        assert!(finished.folder.join(file).is_file(), "{file}");
    }
    assert!(reports.path().join("latest/report.json").is_file());
    if let Some(stack) = finished.stack {
        stack.stop().await.expect("the stack ends in order");
    }
}
