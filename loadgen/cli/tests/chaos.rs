//! A short fault run on the real service: no loan is lost, doubled or stuck, and the checker sees what is planted.

use std::path::{Path, PathBuf};

use loadgen::commands::chaos::{Finished, Options, run};
use plan::faults::Plan;
use record::result::chaos::Verdict;
use record::result::chaos_schema;
use record::result::run::AuditClass;

const SCHEMA: &str = include_str!("../../schema/chaos.schema.json");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/chaos")
}

async fn run_plans(names: &[&str], seeds: u64) -> (Finished, tempfile::TempDir) {
    let mut plans = Plan::load_all(&[folder()]).expect("every plan loads");
    plans.retain(|(_, plan)| names.contains(&plan.name.get_ref().as_str()));
    assert_eq!(plans.len(), names.len(), "every name is a plan's");
    let reports = tempfile::tempdir().expect("a temporary folder");
    let finished = run(&Options {
        plans,
        seeds,
        seed: None,
        service_binary: None,
        reports: reports.path().to_path_buf(),
        quiet: false,
    })
    .await
    .expect("the runs are made");
    for file in ["chaos.json", "chaos.html", "summary.md"] {
        assert!(finished.folder.join(file).is_file(), "{file}");
    }
    let text = |name: &str| {
        std::fs::read_to_string(finished.folder.join(name)).expect("the file can be read")
    };
    // The page is well-formed, and needs nothing from elsewhere.
    let page = text("chaos.html");
    roxmltree::Document::parse_with_options(
        &page,
        roxmltree::ParsingOptions {
            allow_dtd: true,
            ..roxmltree::ParsingOptions::default()
        },
    )
    .expect("the page is well-formed");
    assert!(!page.contains("<script") && !page.contains("src="));
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let report = serde_json::from_str(&text("chaos.json")).expect("the report is JSON");
    jsonschema::validate(&schema, &report).expect("the report follows the schema");
    (finished, reports)
}

#[test]
fn the_schema_is_the_committed_one() {
    assert_eq!(
        chaos_schema(),
        SCHEMA,
        "run: loadgen schema chaos > loadgen/schema/chaos.schema.json"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_under_faults() {
    let names = [
        "service-kill",
        "redis-kill-slow-flush",
        "mongod-kill",
        "redis-half-open",
        "mixed",
    ];
    let (finished, _reports) = run_plans(&names, 2).await;
    let report = &finished.report;
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.why);
    // On a busy machine a run may have been void, and made again.
    let counted = || {
        report
            .runs
            .iter()
            .filter(|run| run.verdict != Verdict::Void)
    };
    assert_eq!(counted().count(), names.len() + 1);
    for run in counted() {
        assert!(
            run.audit.acknowledged > 1_000,
            "{}: {:#?}",
            run.name,
            run.audit
        );
        assert_eq!(run.audit.faults(), 0, "{}", run.name);
        assert!(
            run.faults.iter().all(|fault| fault.took_effect),
            "{}",
            run.name
        );
    }
    // A slow flush delays what Redis confirms, so that somebody must have waited for it.
    let slow = counted().find(|run| run.name.starts_with("redis-kill-slow-flush"));
    assert!(slow.is_some_and(|run| {
        run.faults
            .iter()
            .any(|fault| fault.longest_wait_seconds >= 0.7)
    }));
}

/// A checker that finds nothing proves nothing: here there is something to find.
#[tokio::test(flavor = "multi_thread")]
async fn the_checker_sees_what_is_planted() {
    let mut names = vec!["proof-everysec"];
    if service::HAS_CRASH_POINTS {
        names.push("proof-record-twice");
    }
    let (finished, _reports) = run_plans(&names, 1).await;
    let report = &finished.report;
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.why);
    let counted = || {
        report
            .runs
            .iter()
            .filter(|run| run.verdict != Verdict::Void)
    };
    for run in counted() {
        assert!(run.audit.faults() > 0, "{}: {:#?}", run.name, run.audit);
        assert!(!run.audit.examples.is_empty(), "{}", run.name);
    }
    // Other loans may be told beside it, such as one that was new twice: Redis forgot that it had it.
    let lost: Vec<&str> = counted()
        .find(|run| run.name.starts_with("proof-everysec"))
        .expect("the proof counted")
        .audit
        .examples
        .iter()
        .filter(|example| example.class == AuditClass::Lost)
        .map(|example| example.story.as_str())
        .collect();
    // New, or replayed by a client whose first answer went astray: promised all the same.
    assert!(
        lost.iter()
            .any(|story| story.contains(", 202 ") && story.contains("stored nowhere")),
        "{lost:#?}"
    );
}

#[test]
fn every_plan_is_whole_and_named_after_its_file() {
    let plans = Plan::load_all(&[folder()]).expect("every plan loads");
    assert!(plans.len() > 30);
    for (path, plan) in plans {
        let stem = path
            .file_stem()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let (number, name) = stem.split_once('-').expect("a number first");
        assert!(number.parse::<u8>().is_ok(), "{stem}");
        assert_eq!(name, plan.name.get_ref());
    }
}
