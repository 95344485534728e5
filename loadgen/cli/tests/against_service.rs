//! The smoke scenario on the real service: the audit finds no fault, and the live counters agree.

use std::path::{Path, PathBuf};

use loadgen::commands::run::{Allowed, Finished, Options, run};
use plan::scenario::Scenario;

fn smoke() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/smoke.toml")
}

async fn run_it(scenario: Scenario, reports: &Path) -> Finished {
    run(Options {
        scenario,
        scenario_path: PathBuf::from("scenarios/smoke.toml"),
        target: None,
        service_binary: None,
        reports: reports.to_path_buf(),
        quiet: true,
        // A test may be built after the service's last build.
        allow: vec![Allowed::OtherCommit],
        merge: Vec::new(),
    })
    .await
    .expect("the run is made")
}

/// Clients that misbehave beside the load are there, are refused, and do no harm.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_harms_nobody() {
    let reports = tempfile::tempdir().expect("a temporary folder");
    let path = smoke();
    let source = std::fs::read_to_string(&path).expect("the file can be read")
        + "\n[crowd]\nidle = 60\nslow = 8\nnever_read = 3\nnonsense_per_second = 80\n";
    let scenario = Scenario::parse(&source, &path).expect("the scenario is right");
    let finished = run_it(scenario, reports.path()).await;
    let report = &finished.report;
    let crowd = report.crowd.as_ref().expect("there is a crowd");
    for group in &crowd.groups {
        assert_eq!(group.open_peak, group.planned, "{group:?}");
    }
    let answers = &crowd.nonsense.answers;
    let refusals = ["400", "404", "405", "413", "415"];
    assert!(answers.values().sum::<u64>() > 100, "{answers:?}");
    assert!(
        answers
            .keys()
            .all(|answer| refusals.contains(&answer.as_str()) || answer == "none"),
        "{answers:?}"
    );
    assert!(answers.len() >= 4, "{answers:?}");
    assert_eq!(report.audit.faults(), 0, "{:#?}", report.audit.examples);
    assert!(report.audit.acknowledged > 300, "{:#?}", report.audit);
    let page = std::fs::read_to_string(finished.folder.join("report.html")).expect("a page");
    assert!(page.contains("The crowd beside the load"));
    if let Some(stack) = finished.stack {
        stack.stop().await.expect("the stack ends in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smoke_run_ends_without_a_fault() {
    let reports = tempfile::tempdir().expect("a temporary folder");
    let scenario = Scenario::load(&smoke()).expect("the scenario loads");
    let finished = run_it(scenario, reports.path()).await;
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
