//! The files of a report, written from made-up runs: what they say, that they are well-formed, that nothing leaks.

mod sample;

use std::path::Path;
use std::{env, fs};

use record::result::run::{
    Audit, AuditClass, AuditExample, Check, ErrorRow, EventKind, Percentiles, Phase, Report,
    RunEvent, Verdict,
};
use record::result::run_schema;
use report::{html, json, junit, markdown, point_latest, terminal, unbalanced, write, write_index};

/// Markup, quotes, Markdown, control characters and a terminal's escape sequence.
const HOSTILE: &str = "<script>alert('x')</script>\"&amp;\u{1b}[2J|`*]]>";

/// The runs that differ in what is told of them.
fn told() -> impl Iterator<Item = (&'static str, Report)> {
    sample::all()
        .into_iter()
        .filter(|(name, _)| *name != "hour")
}

/// A report in which every text that comes from outside is hostile.
fn hostile() -> Report {
    let text = || HOSTILE.to_owned();
    let mut report = sample::failed();
    report.scenario = text();
    report.scenario_description = text();
    report.why = vec![text()];
    report.started_at = text();
    report.settings = text();
    report.repeat = text();
    report.provenance.cpu = text();
    report.provenance.git_commit = text();
    report.provenance.redis = text();
    report.phases = vec![Phase {
        name: text(),
        shape: text(),
        end_seconds: 40.0,
        ..Phase::default()
    }];
    report.by_kind[0].kind = text();
    report.by_kind[0].answers.insert(text(), 1);
    report.audit.examples = vec![AuditExample {
        class: AuditClass::Lost,
        loan_id: text(),
        story: text(),
    }];
    report.counters_agree[0].name = text();
    report.events = vec![
        RunEvent::at(1.0, EventKind::Fault, text()),
        RunEvent {
            lasts_seconds: Some(2.0),
            ..RunEvent::at(3.0, EventKind::Pause, text())
        },
    ];
    report.checks = vec![Check {
        name: text(),
        bound: text(),
        observed: text(),
        pass: false,
    }];
    report.errors = vec![ErrorRow {
        kind: text(),
        count: 1,
        example: text(),
        more_examples: vec![text()],
    }];
    report.instants[0].taken = text();
    report
}

#[test]
fn the_committed_schema_is_the_one_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/report.schema.json");
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, run_schema()).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(
        committed == run_schema(),
        "report.schema.json is out of date: run the tests with UPDATE_SCHEMA=1"
    );
}

#[test]
fn every_report_follows_the_schema_and_comes_back_whole() {
    let schema = serde_json::from_str(&run_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, report) in sample::all() {
        let text = json::render(&report);
        let value = serde_json::from_str(&text).unwrap();
        if let Err(fault) = validator.validate(&value) {
            panic!("{name}: {fault}");
        }
        let back: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(back, report, "{name}");
    }
}

#[test]
fn what_was_not_measured_is_null() {
    let value: serde_json::Value = serde_json::from_str(&json::render(&sample::empty())).unwrap();
    let response = &value["load"]["responseUs"];
    assert_eq!(response["count"], 0);
    for name in ["min", "mean", "p50", "p90", "p95", "p99", "p999", "max"] {
        assert!(response[name].is_null(), "{name}");
    }
    assert_eq!(
        Percentiles::of(&hdrhistogram::Histogram::new(3).unwrap()),
        Percentiles::default()
    );
}

#[test]
fn the_stable_part_has_the_promised_names() {
    let value: serde_json::Value = serde_json::from_str(&json::render(&sample::failed())).unwrap();
    for pointer in [
        "/schemaVersion",
        "/scenario",
        "/verdict",
        "/startedAt",
        "/seed",
        "/provenance/gitCommit",
        "/provenance/dirty",
        "/provenance/cpu",
        "/provenance/cores",
        "/provenance/kernel",
        "/provenance/redis",
        "/provenance/mongodb",
        "/provenance/appendfsync",
        "/load/scheduled",
        "/load/sent",
        "/load/unsent",
        "/load/completed",
        "/load/failed",
        "/load/ratePerSecond",
        "/load/sendLagUs/p999",
        "/phases/0/name",
        "/phases/0/sent",
        "/phases/0/responseUs/p50",
        "/phases/0/serviceUs/p90",
        "/phases/0/endToEndUs/max",
        "/audit/acknowledged",
        "/audit/rejected",
        "/audit/unknown",
        "/audit/recorded",
        "/audit/failed",
        "/audit/lost",
        "/audit/duplicated",
        "/audit/unexpected",
        "/audit/mismatched",
        "/drain/backlogPeak",
        "/drain/secondsToEmpty",
        "/workers/peak",
        "/checks/0/name",
        "/checks/0/bound",
        "/checks/0/observed",
        "/checks/0/pass",
    ] {
        assert!(
            value.pointer(pointer).is_some_and(|found| !found.is_null()),
            "{pointer}"
        );
    }
}

#[test]
fn verdicts_have_their_exit_codes() {
    let codes = [
        Verdict::Pass,
        Verdict::Fail,
        Verdict::Discarded,
        Verdict::Aborted,
    ]
    .map(Verdict::exit_code);
    assert_eq!(codes, [0, 1, 3, 4]);
}

#[test]
fn the_summary_reads_well() {
    for (name, report) in told() {
        insta::assert_snapshot!(format!("summary_{name}"), markdown::render(&report));
    }
}

#[test]
fn the_last_screen_reads_well_and_is_short() {
    for (name, report) in told() {
        let screen = terminal::render(&report);
        assert!(
            screen
                .lines()
                .all(|line| line.chars().count() <= terminal::COLUMNS_MAX),
            "{screen}"
        );
        insta::assert_snapshot!(format!("terminal_{name}"), screen);
    }
    let mut long = sample::failed();
    long.why = vec!["reason ".repeat(100); 30];
    long.checks = vec![Check::default(); 30];
    for verdict in [Verdict::Fail, Verdict::Aborted] {
        long.verdict = verdict;
        let screen = terminal::render(&long);
        assert!(screen.lines().count() <= terminal::LINES_MAX, "{screen}");
        let coloured = terminal::render_coloured(&long);
        assert!(coloured.starts_with("\u{1b}["), "{coloured}");
        let plain: String = coloured
            .split('\u{1b}')
            .map(|part| part.split_once('m').map_or(part, |(_, rest)| rest))
            .collect();
        assert_eq!(plain, screen, "colours change no word");
    }
}

/// What has no room on one line goes on under its value; only names are dimmed.
#[test]
fn a_long_row_goes_on_under_its_value() {
    let report = sample::failed();
    let screen = terminal::render_coloured(&report);
    let dimmed: Vec<&str> = screen
        .lines()
        .filter_map(|line| line.strip_prefix("\u{1b}[2m  "))
        .filter_map(|line| line.split_once("\u{1b}[0m"))
        .map(|(name, _)| name.trim())
        .collect();
    assert_eq!(
        dimmed,
        [
            "sent",
            "stored",
            "response",
            "service",
            "end to end",
            "send lag",
            "errors",
            "backlog",
            "memory",
            "counters"
        ],
        "{screen}"
    );
    let mut long = sample::passed();
    long.audit.recorded = 123_456_789_012;
    let screen = terminal::render(&long);
    let told = "none lost, doubled,\n             unexpected, altered or stuck\n";
    assert!(screen.contains(told), "{screen}");
}

/// How fast the answers came says nothing of those that did not come.
#[test]
fn a_latency_is_of_those_that_were_answered() {
    let mut report = sample::passed();
    report.load.failed = 93;
    let words = words(&html::render(&report));
    let told = "93 of them had no definite answer; of the others 99 % were answered within";
    assert!(words.contains(told), "{words}");
    assert!(words.contains("93 were not"), "{words}");
    assert!(markdown::render(&report).contains(told));
    report.load.response_us = Percentiles::default();
    let told = "None of the 93 had a definite answer.";
    assert!(markdown::render(&report).contains(told));
}

/// No word is said twice on the last screen, nor in the banner of the page.
#[test]
fn a_run_that_passed_is_told_once() {
    let report = sample::passed();
    let screen = terminal::render(&report);
    assert_eq!(screen.matches("held").count(), 1, "{screen}");
    let page = html::render(&report);
    let (banner, _) = page.split_once("</header>").expect("a banner");
    assert_eq!(banner.matches("checks held").count(), 1, "{banner}");
    let mut without = report.clone();
    without.without_stores = true;
    without.audit = Audit::default();
    without.checks.clear();
    let screen = terminal::render(&without);
    assert!(
        screen.contains("got the answer that it must get"),
        "{screen}"
    );
    assert_eq!(screen.to_lowercase().matches("pass").count(), 1, "{screen}");
    // What stayed out, as the scenario allows, got no answer.
    assert!(screen.contains("all answered"), "{screen}");
    without.load.failed = 93;
    let answered = record::number::count(without.load.sent - 93);
    let told = format!(
        "Every one of {answered} arrivals with a definite answer got the one that it must get."
    );
    for text in [terminal::render(&without), markdown::render(&without)] {
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.join(" ").contains(&told), "{text}");
    }
}

#[test]
fn a_long_name_cuts_nothing_else() {
    let mut report = sample::passed();
    report.scenario = "a".repeat(64);
    let screen = terminal::render(&report);
    let (first, _) = screen.split_once("  All 6").expect("a headline");
    assert!(
        !first.contains('…') && first.contains("seed 1, commit"),
        "{first}"
    );
}

#[test]
fn several_generators_are_named() {
    let mut report = sample::passed();
    report.provenance.generators = 3;
    assert!(terminal::render(&report).contains("by 3 generators"));
    assert!(words(&html::render(&report)).contains("sent by 3 load generators"));
}

#[test]
fn junit_has_a_case_for_each_check_and_class() {
    insta::assert_snapshot!("junit_failed", junit::render(&sample::failed()));
    let aborted = junit::render(&sample::aborted());
    let document = roxmltree::Document::parse(&aborted).unwrap();
    assert_eq!(document.root_element().attribute("errors"), Some("1"));
    assert_eq!(
        document.root_element().attribute("failures"),
        Some("0"),
        "an aborted run proves neither way"
    );
    roxmltree::Document::parse(&junit::render(&hostile())).unwrap();
}

fn parsed(page: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    roxmltree::Document::parse_with_options(page, options).expect("the page is well-formed")
}

/// Everything that is read without a script.
fn words(page: &str) -> String {
    parsed(page)
        .descendants()
        .filter(|node| {
            node.is_text() && !node.ancestors().any(|above| above.has_tag_name("script"))
        })
        .filter_map(|node| node.text())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_from_outside() {
    for (name, report) in sample::all() {
        let page = html::render(&report);
        let document = parsed(&page);
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            let tag = node.tag_name().name();
            assert!(
                !matches!(tag, "link" | "img" | "iframe" | "object" | "form" | "base"),
                "{name}: {tag}"
            );
            assert!(node.attribute("src").is_none(), "{name}: {tag}");
            assert!(
                node.attribute("href")
                    .is_none_or(|link| link.starts_with('#')),
                "{name}: {tag}"
            );
            assert!(
                node.attributes()
                    .all(|attribute| !attribute.name().starts_with("on")),
                "{name}: {tag}"
            );
        }
        assert!(
            !page.contains("url(") && !page.contains("@import") && !page.contains("://"),
            "{name}"
        );
        // What a slip might let in, the browser is told not to run or load.
        assert!(page.contains("default-src &#39;none&#39;"), "{name}");
        let count = |tag: &str| {
            document
                .descendants()
                .filter(|node| node.has_tag_name(tag))
                .count()
        };
        assert_eq!(count("h1"), 1, "{name}");
        for table in document
            .descendants()
            .filter(|node| node.has_tag_name("table"))
        {
            assert!(
                table.children().any(|child| child.has_tag_name("caption")),
                "{name}: a table without caption"
            );
        }
        for drawing in document
            .descendants()
            .filter(|node| node.has_tag_name("svg"))
        {
            assert!(
                drawing
                    .attribute("aria-label")
                    .is_some_and(|label| label.len() > 10),
                "{name}: a drawing without words"
            );
        }
        for link in document
            .descendants()
            .filter_map(|node| node.attribute("href"))
        {
            let id = link.trim_start_matches('#');
            assert!(
                document
                    .descendants()
                    .any(|node| node.attribute("id") == Some(id)),
                "{name}: {link}"
            );
        }
    }
}

#[test]
fn nothing_hostile_gets_through() {
    let scripts = |page: &str| page.matches("<script").count();
    let page = html::render(&hostile());
    assert_eq!(scripts(&page), scripts(&html::render(&sample::failed())));
    assert!(!page.contains("<script>alert") && !page.contains('\u{1b}'));
    parsed(&page);
    assert!(!markdown::render(&hostile()).contains("<script"));
    assert!(!markdown::render(&hostile()).contains('\u{1b}'));
    assert!(!terminal::render(&hostile()).contains('\u{1b}'));
}

#[test]
fn everything_that_is_counted_adds_up() {
    for (name, report) in sample::all() {
        assert_eq!(unbalanced(&report), [""; 0], "{name}");
        assert!(!html::render(&report).contains("differs by"), "{name}");
    }
    let mut wrong = sample::passed();
    wrong.load.sent -= 1;
    assert!(!unbalanced(&wrong).is_empty());
    assert!(html::render(&wrong).contains("✗ differs by 1"));
}

#[test]
fn the_page_says_everything_without_a_script() {
    let words = words(&html::render(&sample::failed()));
    for part in [
        // The verdict, why, and the run in words.
        "Failed. The audit found 1 loan with a fault.",
        "1 acknowledged loan was found nowhere.",
        "27,000 loan requests were sent in 40.0 s",
        // Checks, flow, latencies, phases, errors, drain, settings.
        "response p99, phase bursts",
        "= 25,663 distinct loans + 1,337 repeats",
        "End to end",
        "500/s, every 10 s 2,000/s for 2 s",
        "r1-000017361 (valid), due at 21.324 s: no whole answer within 5 s",
        "1.8 s after the last request left, nothing was left to do.",
        "loadgen run scenarios/burst-500.toml --seed 1",
    ] {
        assert!(words.contains(part), "{part}");
    }
    // The drawings are there too.
    assert!(html::render(&sample::failed()).matches("<svg").count() >= 7);
}

#[test]
fn the_verdict_comes_first_in_words() {
    let failed = html::render(&sample::failed());
    let (verdict, checks) = (
        failed
            .find("Failed. The audit found 1 loan with a fault.")
            .unwrap(),
        failed.find("<table").unwrap(),
    );
    assert!(verdict < checks);
    assert!(
        html::render(&sample::passed())
            .contains("Passed. All 6 checks held. Of 25,663 loans, none was lost")
    );
}

#[test]
fn a_short_or_empty_run_says_that_there_is_no_data() {
    let empty = html::render(&sample::empty());
    assert!(!empty.contains("<svg"), "an empty chart says nothing");
    for words in [
        "No data: no request was answered.",
        "No data: the run ended before its first second was over.",
        "No data: nothing was scheduled.",
        "No data: no phase began.",
        "The scenario has no checks.",
    ] {
        assert!(empty.contains(words), "{words}");
    }
    let summary = markdown::render(&Report::default());
    for words in [
        "Redis unknown (appendfsync unknown), MongoDB unknown",
        "workers without data, memory without data",
    ] {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    assert!(!summary.contains("after no data"), "{summary}");
    let mut one_second = sample::passed();
    one_second.time_series.truncate(1);
    let page = html::render(&one_second);
    assert!(page.contains("<svg") && !page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn the_page_of_an_hour_stays_small_and_says_what_it_joined() {
    let page = html::render(&sample::hour());
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(words(&page).contains("Each step of a line stands for 15 seconds"));
    assert!(!page.contains("NaN"));
}

#[test]
fn the_files_the_link_and_the_list_are_written() {
    let reports = tempfile::tempdir().unwrap();
    assert!(
        write_index(reports.path()).is_err(),
        "there is no folder of runs"
    );
    fs::create_dir(reports.path().join("runs")).unwrap();
    write_index(reports.path()).unwrap();
    let index = || fs::read_to_string(reports.path().join("index.html")).unwrap();
    assert!(index().contains("No run has left a report"));
    for (name, report) in [("1-burst", sample::passed()), ("2-burst", sample::failed())] {
        let run = reports.path().join("runs").join(name);
        write(&report, &run).unwrap();
        for file in ["report.json", "report.html", "junit.xml", "summary.md"] {
            assert!(fs::metadata(run.join(file)).unwrap().len() > 0, "{file}");
        }
        point_latest(reports.path(), &run).unwrap();
    }
    assert_eq!(
        fs::read_link(reports.path().join("latest")).unwrap(),
        Path::new("runs/2-burst")
    );
    fs::create_dir(reports.path().join("runs/unfinished")).unwrap();
    for (folder, text) in [
        ("damaged", "{\"scenario\": \"smo"),
        (
            "old",
            r#"{"schemaVersion":0,"scenario":"ancient","verdict":"pass","startedAt":"2020-01-01T00:00:00Z"}"#,
        ),
    ] {
        let run = reports.path().join("runs").join(folder);
        fs::create_dir(&run).unwrap();
        fs::write(run.join("report.json"), text).unwrap();
    }
    for (folder, file, text) in [
        (
            "3-gate",
            "gate.json",
            r#"{"answer":"inconclusive","base":["main","0123456789abcdef"],"head":["HEAD","fedcba9876543210"],"startedAt":"2026-01-01T00:00:00Z"}"#,
        ),
        (
            "4-capacity",
            "capacity.json",
            r#"{"scenario":"steady-500","startedAt":"2026-01-02T00:00:00Z","ratePerSecond":1542.0,"recordedPerSecond":1482.0,"limit":"p99 was too high"}"#,
        ),
        (
            "5-chaos",
            "chaos.json",
            r#"{"verdict":"fail","startedAt":"2026-01-03T00:00:00Z","totals":{"runs":3,"mixedRuns":1,"faults":1,"loans":2000,"requests":2000,"acknowledged":2000,"lost":1,"duplicated":0,"unexpected":0,"mismatched":0,"stuck":0,"countersWrong":0,"figures":{}}}"#,
        ),
        ("6-gate", "gate.json", "{}"),
    ] {
        let run = reports.path().join("runs").join(folder);
        fs::create_dir(&run).unwrap();
        fs::write(run.join(file), text).unwrap();
    }
    // Neither is a file: a pipe there would be waited for, and another device has no end.
    for (folder, file) in [("7-device", "report.json"), ("8-device", "gate.json")] {
        let run = reports.path().join("runs").join(folder);
        fs::create_dir(&run).unwrap();
        std::os::unix::fs::symlink("/dev/null", run.join(file)).unwrap();
    }
    write_index(reports.path()).unwrap();
    let index = index();
    parsed(&index);
    assert_eq!(words(&index).matches("it is no file").count(), 2, "{index}");
    let said = words(&index);
    for text in [
        "HEAD (fedcba987654) against main (0123456789ab)",
        "? inconclusive",
        "capacity of steady-500",
        "✓ 1,542/s sent, 1,482/s recorded",
        "✗ fail",
        "3 runs, 1 fault, 2,000 loans: 1 lost, 0 doubled, 0 stuck",
        "missing field `answer`",
    ] {
        assert!(said.contains(text), "{text} in {said}");
    }
    let at = |text: &str| index.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("runs/5-chaos/chaos.html") < at("runs/4-capacity/capacity.html"));
    assert!(at("runs/4-capacity/capacity.html") < at("runs/3-gate/gate.html"));
    assert!(index.contains("ancient"), "what an old report has is shown");
    assert!(index.contains("Without a report") && index.contains("damaged"));
    assert!(
        index.contains("response p99 of 2 runs from 16.3 ms to 16.3 ms"),
        "the trend of the scenario with two runs"
    );
    assert!(
        index.contains("href=\"runs/1-burst/report.html\"")
            && index.contains("href=\"runs/2-burst/report.html\"")
    );
    assert!(!index.contains("unfinished"));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "a file").unwrap();
    let fault = write(&sample::empty(), &taken).unwrap_err().to_string();
    assert!(
        fault.starts_with("cannot write ") && fault.contains("taken"),
        "{fault}"
    );
    fs::write(folder.path().join("latest"), "a file").unwrap();
    assert!(
        point_latest(folder.path(), &taken).is_err(),
        "a file named latest is left alone"
    );
}
