//! A short fault run on the real service: no loan is lost, doubled or stuck, and the checker sees what is planted.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::commands::chaos::{Finished, Options, run};
use plan::faults::Plan;
use record::result::chaos::{ChaosReport, Verdict};
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
    assert!(finished.broken.is_none(), "{:?}", finished.broken);
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
    assert!(!report.provenance.service_version.is_empty());
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

/// What was told of a fault run whose service went away.
struct Told {
    code: Option<i32>,
    screen: String,
    error: String,
    report: ChaosReport,
    page: String,
    list: String,
}

/// The folder of the fault run in `reports`, once it is there.
fn folder_in(reports: &Path) -> Option<PathBuf> {
    let mut folders = std::fs::read_dir(reports.join("runs")).ok()?;
    folders.find_map(|folder| Some(folder.ok()?.path()))
}

/// Makes the plans `first`, which has these faults, and `second`. The service's binary goes away while the first run is under way.
fn without_a_service(faults: &str) -> Told {
    let place = tempfile::tempdir().expect("a temporary folder");
    let reports = place.path().join("reports");
    for (name, faults) in [("first", faults), ("second", "")] {
        let plan = format!(
            "name = \"{name}\"\nrow = \"0\"\ndescription = \"A few loans\"\n[load]\nrate = 100\nlasts = \"3s\"\n{faults}"
        );
        std::fs::write(place.path().join(format!("{name}.toml")), plan).expect("it is written");
    }
    let named = std::env::var_os("SLUICE_SERVICE").filter(|named| !named.is_empty());
    let service = named.map_or_else(
        || Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("service"),
        PathBuf::from,
    );
    let service = std::path::absolute(service).expect("a path");
    let link = place.path().join("service");
    std::os::unix::fs::symlink(service, &link).expect("a link");
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["chaos", "first.toml", "second.toml", "--service", "service"])
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let begun = Instant::now();
    let is_under_way =
        || folder_in(&reports).is_some_and(|run| run.join("first.history.jsonl").is_file());
    while !is_under_way() {
        let ended = loadgen.try_wait().expect("it is a child");
        assert_eq!(ended, None, "it ended before its first run");
        assert!(begun.elapsed() < Duration::from_secs(120), "no run begins");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::fs::remove_file(link).expect("the link goes");
    let output = loadgen.wait_with_output().expect("it ends");
    let read = |path: PathBuf| std::fs::read_to_string(path).expect("it is written");
    let folder = folder_in(&reports).expect("the folder of the run");
    Told {
        code: output.status.code(),
        screen: String::from_utf8_lossy(&output.stdout).into_owned(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
        report: serde_json::from_str(&read(folder.join("chaos.json"))).expect("its form"),
        page: read(folder.join("chaos.html")),
        list: read(reports.join("index.html")),
    }
}

/// It is void and no pass, it says why, and the report is there and is named.
#[track_caller]
fn broke_off(told: &Told, run: &str, why: &str) {
    assert_eq!(told.code, Some(2), "{}", told.error);
    assert!(told.error.contains(why), "{}", told.error);
    let screen = &told.screen;
    assert!(screen.contains("report: reports/runs/"), "{screen}");
    assert_eq!(told.report.verdict, Verdict::Void);
    let named = format!("{run} broke off, and not all runs were made: ");
    let reasons = &told.report.why;
    assert!(
        reasons
            .iter()
            .any(|reason| reason.starts_with(&named) && reason.contains(why)),
        "{reasons:?}"
    );
    assert!(told.page.contains("void: fault run"));
    assert!(told.list.contains("? void") && !told.list.contains("✓ pass"));
}

/// Plan for plan: what the earlier ones showed is kept when a later one cannot be made.
#[test]
fn what_was_made_before_a_break_is_kept() {
    let told = without_a_service("");
    let runs = &told.report.runs;
    let first = runs.first().expect("the first run");
    assert_eq!(first.name, "first");
    assert!(first.audit.acknowledged > 0, "{:?}", first.audit);
    assert_eq!(
        first.repeat,
        "loadgen chaos first.toml --seed 1 --service service"
    );
    // On a busy machine the first may be void, and is to be made again.
    let next = if first.verdict == Verdict::Void {
        "first-again"
    } else {
        "second"
    };
    broke_off(&told, next, "cannot start service");
}

#[test]
fn a_first_run_that_breaks_off_is_no_pass() {
    let told = without_a_service(
        "[[fault]]\nat = \"1s\"\nkind = \"kill\"\ntarget = \"service\"\nlasts = \"1s\"",
    );
    assert!(told.report.runs.is_empty());
    broke_off(&told, "first", "the stack could not be healed");
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
