//! Every scenario in `scenarios/` loads; a bad one is refused with its line and column.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::scenario::{Overrides, Scenario};
use plan::schedule::Schedule;

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

#[test]
fn every_scenario_loads() {
    let mut count = 0;
    for entry in std::fs::read_dir(scenarios()).expect("the folder is there") {
        let path = entry.expect("the folder is readable").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let scenario = Scenario::load(&path).expect("a good scenario");
            assert_eq!(
                path.file_stem().and_then(|stem| stem.to_str()),
                Some(scenario.name.get_ref().as_str())
            );
            assert!(Schedule::new(&scenario.phases, scenario.seed).arrivals() > 0);
            assert!(!scenario.checks.is_empty(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 4);
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = Scenario::parse(text, Path::new("s.toml")).expect_err("a bad scenario");
    assert_eq!(error.to_string(), expected);
}

const HEAD: &str = "name = \"t\"\ndescription = \"t\"\n";
const PHASE: &str = "[[phase]]\nname = \"p\"\nduration = \"1s\"\nrate = 1\n";

#[test]
fn bad_files_are_refused_with_their_place() {
    refused(
        "name = \"t\"\ndescription = \"t\"\nsede = 1\n",
        "s.toml:3:1: unknown key \"sede\"; did you mean \"seed\"?",
    );
    refused(
        &format!("{HEAD}[[phase]]\nname = \"p\"\nduration = \"1s\"\nrat = 5\n"),
        "s.toml:6:1: unknown key \"rat\"; did you mean \"rate\"?",
    );
    refused(
        &format!("{HEAD}[[phase]]\nname = \"p\"\nduration = \"5\"\nrate = 5\n"),
        "s.toml:5:12: \"5\" is not a duration; write a number and a unit: \"250ms\", \"5s\", \"2m\" or \"1h\"",
    );
    refused(
        &format!("{HEAD}[[phase]]\nname = \"p\"\nduration = \"1s\"\n"),
        "s.toml:4:8: phase \"p\": give exactly one of rate, ramp and burst",
    );
    refused(
        &format!("{HEAD}[[phase]]\nname = \"p\"\nduration = \"1s\"\nrate = -1\n"),
        "s.toml:4:8: phase \"p\": rates must be above zero and at most 100000 a second",
    );
    refused(
        &format!("{HEAD}{PHASE}{PHASE}"),
        "s.toml:8:8: two phases are called \"p\"",
    );
    refused(
        &format!("{HEAD}{PHASE}[mix]\nduplicate = 0.7\nconflict = 0.7\n"),
        "s.toml:1:8: the shares in [mix] sum to 1.400, more than 1",
    );
    refused(
        &format!("{HEAD}{PHASE}[[check]]\nmetric = \"response_ms.p9x\"\nmax = 5\n"),
        "s.toml:8:10: unknown metric \"response_ms.p9x\"; did you mean \"response_ms.p90\"?",
    );
    refused(
        &format!("{HEAD}{PHASE}[[check]]\nmetric = \"server.gauges.worker\"\nmax = 5\n"),
        "s.toml:8:10: unknown metric \"server.gauges.worker\"; did you mean \"server.gauges.workers\"?",
    );
    refused(
        &format!(
            "{HEAD}{PHASE}[[check]]\nmetric = \"server.counters.failed.wrong_tipe\"\nmax = 5\n"
        ),
        "s.toml:8:10: unknown metric \"server.counters.failed.wrong_tipe\"; did you mean \"server.counters.failed.wrong_type\"?",
    );
    refused(
        &format!("{HEAD}{PHASE}[[check]]\nmetric = \"lost\"\nequals = 0\nabort = true\n"),
        "s.toml:8:10: abort needs a max or equals on a percentile or the max of response_ms or service_ms, or on error_ratio, backlog_peak, workers_peak or service_rss_mib; lost is known only at the end",
    );
    refused(
        &format!("{HEAD}{PHASE}[[check]]\nmetric = \"lost\"\n"),
        "s.toml:8:10: a check needs min, max or both, or equals alone",
    );
    refused(
        &format!("{HEAD}{PHASE}[[check]]\nmetric = \"response_ms.p99\"\nphase = \"q\"\nmax = 5\n"),
        "s.toml:9:9: unknown phase \"q\"; did you mean \"p\"?",
    );
    for (check, why) in [
        (
            "metric = \"error_ratio\"\nmin = 2",
            "the check can never hold: error_ratio is never above 1",
        ),
        (
            "metric = \"counters_agree\"\nequals = 2",
            "the check can never hold: counters_agree is never above 1",
        ),
        (
            "metric = \"lost\"\nequals = 0.5",
            "the check can never hold: lost is a whole number",
        ),
        (
            "metric = \"response_ms.p99\"\nkind = \"malformed\"\nmax = 5",
            "the check can have no data: no arrival of the kind malformed is due; raise a rate, a duration or a share",
        ),
        (
            "metric = \"response_ms.p99\"\nphase = \"idle\"\nmax = 5",
            "the check can have no data: no arrival in phase \"idle\" is due; raise a rate, a duration or a share",
        ),
    ] {
        let idle = "[[phase]]\nname = \"idle\"\nduration = \"1s\"\nrate = 0.001\npoisson = true\n[mix]\nmalformed = 0.001\n";
        refused(
            &format!("{HEAD}{PHASE}{idle}[[check]]\n{check}\n"),
            &format!("s.toml:15:10: {why}"),
        );
    }
    for secret in [
        "--admin-token",
        "--admin-token=0123456789abcdef",
        "--redis-url=redis://:secret@redis/",
        "redis://:secret@redis/",
    ] {
        refused(
            &format!("{HEAD}{PHASE}[target]\nservice_arguments = [\"{secret}\"]\n"),
            "s.toml:8:1: service_arguments must hold no secret: every report shows them; the stack makes its own",
        );
    }
    // A run of which nothing at all was answered proves nothing.
    refused(
        &format!("{HEAD}unanswered_ratio_max = 1\n{PHASE}"),
        "s.toml:3:1: unanswered_ratio_max must be from 0 to below 1, not 1",
    );
}

#[test]
fn a_schedule_in_which_nothing_is_due_is_refused() {
    refused(
        &format!(
            "{HEAD}[[phase]]\nname = \"p\"\nduration = \"2s\"\nrate = 0.000001\npoisson = true\n"
        ),
        "s.toml:1:8: no arrival is due in the whole schedule: raise a rate or a duration",
    );
}

#[test]
fn what_the_command_line_sets_is_checked_as_the_file_is() {
    let with = |duration| {
        let overrides = Overrides {
            seed: Some(7),
            duration: Some(duration),
            ..Overrides::default()
        };
        Scenario::parse_with(&format!("{HEAD}{PHASE}"), Path::new("s.toml"), overrides)
    };
    let scenario = with(Duration::from_secs(3)).expect("three seconds");
    assert_eq!(scenario.seed, 7);
    assert_eq!(scenario.phases[0].duration, Duration::from_secs(3));
    assert_eq!(scenario.overrides.flags(), ["--duration 3s"]);
    let scenario = with(Duration::from_nanos(500)).expect("short, and the first arrival is due");
    assert_eq!(scenario.overrides.flags(), ["--duration 500ns"]);
    for bad in [Duration::ZERO, Duration::from_secs(20_000 * 3600)] {
        let error = with(bad).expect_err("out of the bounds of a file");
        assert_eq!(
            error.to_string(),
            "s.toml:4:8: phase \"p\": the duration must be above zero and at most 24h"
        );
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_place() {
    let error = Scenario::parse("name = \n", Path::new("s.toml")).expect_err("a bad scenario");
    assert!(error.to_string().starts_with("s.toml:1:"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Scenario::load(Path::new("no/such.toml")).expect_err("no such file");
    assert!(error.to_string().contains("no/such.toml"), "{error}");
}

#[test]
fn what_is_many_times_small_is_bounded_in_the_sum() {
    let phases = |count: usize, shape: &str| {
        let phase = |index| format!("[[phase]]\nname = \"p{index}\"\nduration = \"1s\"\n{shape}\n");
        (0..count).map(phase).collect::<Vec<_>>().concat()
    };
    let many = format!("{HEAD}{}", phases(101, "rate = 1"));
    refused(&many, "s.toml:1:8: a scenario may have 100 phases at most");
    let burst = "burst = { base = 1, rate = 2, every = \"50us\", length = \"10us\" }";
    let bursts = format!("{HEAD}{}", phases(10, burst));
    refused(
        &bursts,
        "s.toml:1:8: there are 200000 bursts, more than 100000",
    );
}
