//! One run over several generators, as processes: a conductor and its shards, and what becomes of the run when one of them
//! is lost, late, there twice, or has another clock.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use loadgen::commands::run::conductor::Conducting;
use loadgen::commands::run::{Options, run_and_tell};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use observe::stack::Target;
use observe::stub::{Ahead, Delays, Storing, Stub};
use plan::scenario::Scenario;
use record::result::run::{Report, Verdict};
use snapshot::Snapshot;
use support::answering;
use testbed::{MongoOptions, MongoServer, RedisOptions, RedisServer, Servers};

/// Ten seconds, so that there is time to do harm.
const SCENARIO: &str = r#"
name = "short"
description = "A thousand loans in ten seconds"
send_lag_max = "1h"
users = 64

[[phase]]
name = "all"
duration = "10s"
rate = 100

[[check]]
metric = "error_ratio"
equals = 0
"#;

struct Place {
    folder: tempfile::TempDir,
    stub: Stub,
    /// The flags that name the stub and its stores, or that there are none.
    target: Vec<String>,
    _servers: Option<(RedisServer, MongoServer)>,
}

/// A process that runs; killed when it is dropped.
struct Running {
    child: Child,
    errors: mpsc::Receiver<String>,
    error: String,
}

impl Place {
    /// With a stub that takes everything and keeps nothing.
    fn of_clients() -> Self {
        let stub = Stub::start(Delays::None, None).expect("a free port");
        let target = ["--target", &stub.url(), "--no-stores"];
        Self::new(target.map(str::to_owned).to_vec(), stub, None)
    }

    /// With a stub that stores every loan.
    async fn with_stores() -> Self {
        let servers = Servers::discover().expect("the servers are there");
        let (redis, mongo) = tokio::try_join!(
            RedisServer::start(&servers, RedisOptions::default()),
            MongoServer::start(&servers, MongoOptions::default()),
        )
        .expect("the servers start");
        let storing = Storing {
            mongodb_uri: mongo.uri(),
            database: "sluice".to_owned(),
            fault: None,
            ahead: Ahead::default(),
        };
        let stub = Stub::start(Delays::None, Some(storing)).expect("a free port");
        let (url, redis_url, uri) = (stub.url(), redis.url(), mongo.uri());
        let target = ["--target", &url, "--redis", &redis_url, "--mongodb", &uri];
        Self::new(
            target.map(str::to_owned).to_vec(),
            stub,
            Some((redis, mongo)),
        )
    }

    fn new(target: Vec<String>, stub: Stub, servers: Option<(RedisServer, MongoServer)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("short.toml"), SCENARIO).expect("it is written");
        Self {
            folder,
            stub,
            target,
            _servers: servers,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("SLUICE_TARGET")
            .env_remove("SLUICE_CONDUCTOR_TOKEN")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Running {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let (lines, errors) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        Running {
            child,
            errors,
            error: String::new(),
        }
    }

    /// A conductor of so many shards, and the address that it names.
    fn conduct(&self, shards: u32, more: &[&str]) -> (Running, String) {
        let shards = shards.to_string();
        let mut arguments = vec!["conduct", "short.toml", "--shards", &shards];
        arguments.extend(["--listen", "127.0.0.1:0", "--allow", "other-commit"]);
        arguments.extend(self.target.iter().map(String::as_str));
        arguments.extend(more);
        let mut conductor = self.run(&arguments);
        let line = conductor.wait_for("--conductor ");
        let url = line.rsplit(' ').next().expect("the last word").to_owned();
        (conductor, url)
    }

    /// A shard that keeps its reports apart.
    fn shard(&self, url: &str, reports: &str, more: &[&str]) -> Running {
        let mut arguments = vec!["run", "--conductor", url, "--reports", reports];
        arguments.extend(more);
        self.run(&arguments)
    }

    /// Until the stub has been asked so often.
    fn wait_for_requests(&self, count: u64) {
        while self.stub.requests() < count {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn report(&self) -> Report {
        let path = self.folder.path().join("reports/latest/report.json");
        let text = fs::read_to_string(path).expect("a report");
        serde_json::from_str(&text).expect("the report's form")
    }

    /// The only run in a folder of reports.
    fn run_in(&self, reports: &str) -> PathBuf {
        let runs = self.folder.path().join(reports).join("runs");
        let mut runs: Vec<PathBuf> = fs::read_dir(runs)
            .expect("there are runs")
            .map(|run| run.expect("it can be read").path())
            .collect();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.remove(0)
    }
}

impl Running {
    /// The line of its errors that has `part` in it.
    fn wait_for(&mut self, part: &str) -> String {
        loop {
            let line = self.errors.recv().unwrap_or_else(|_| {
                panic!("it ended without {part:?}: {}", self.error);
            });
            self.error.extend([line.as_str(), "\n"]);
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is there");
    }

    /// The code that it ends with, and all that it says.
    fn ends(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let mut stdout = self.child.stdout.take().expect("it is piped");
        stdout.read_to_string(&mut said).expect("it is text");
        let status = self.child.wait().expect("it ends");
        self.error
            .extend(self.errors.iter().map(|line| line + "\n"));
        (status.code(), format!("{said}{}", self.error))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), error)
}

/// Three shards send one schedule; every loan is audited once, by the conductor; and the files alone say the same.
#[tokio::test(flavor = "multi_thread")]
async fn three_shards_are_one_run() {
    let place = Place::with_stores().await;
    let (conductor, url) = place.conduct(3, &[]);
    let shards = ["one", "two", "three"].map(|reports| place.shard(&url, reports, &[]));
    let (code, said) = conductor.ends();
    assert_eq!(code, Some(0), "{said}");
    for shard in shards {
        let (code, said) = shard.ends();
        assert_eq!(code, Some(0), "{said}");
    }
    let report = place.report();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.why);
    let scheduled = report.load.scheduled;
    assert!(scheduled > 900, "{scheduled}");
    assert_eq!(place.stub.requests(), scheduled);
    assert_eq!(
        (report.load.sent, report.load.completed),
        (scheduled, scheduled)
    );
    assert_eq!(
        (report.audit.ids, report.audit.recorded),
        (scheduled, scheduled)
    );
    assert!(report.audit.complete);
    assert!(report.drain.seconds_to_empty.is_some());
    // Who reads the report sees that they were three, and how it is made again.
    assert_eq!(report.provenance.generators, 3);
    assert!(
        report.repeat.starts_with("loadgen conduct "),
        "{}",
        report.repeat
    );
    assert!(report.repeat.contains(" --shards 3 "), "{}", report.repeat);

    // The parts are with the conductor, and with each shard.
    let parts = place.run_in("reports").join("shards");
    let kept: Vec<PathBuf> = ["one", "two", "three"]
        .map(|reports| place.run_in(reports))
        .to_vec();
    let handed: Vec<PathBuf> = ["1", "2", "3"].map(|number| parts.join(number)).to_vec();
    for folders in [handed, kept] {
        let mut merge = place.command(&["merge", "short.toml", "--reports", "by-hand"]);
        let merged = merge
            .args(&place.target)
            .arg("--shards")
            .args(&folders)
            .output();
        let (code, error) = self::said(&merged.expect("it runs"));
        assert_eq!(code, Some(0), "{error}");
        let path = place.folder.path().join("by-hand/latest/report.json");
        let text = fs::read_to_string(path).expect("a report");
        let merged: Report = serde_json::from_str(&text).expect("the report's form");
        assert_eq!(merged.load.response_us, report.load.response_us);
        assert_eq!(merged.load.service_us, report.load.service_us);
        assert_eq!(merged.load.send_lag_us, report.load.send_lag_us);
        assert_eq!(merged.provenance.appendfsync, report.provenance.appendfsync);
        assert_eq!(merged.provenance.generators, 3);
        // It began when its load did, after the conductor had, and not when it was joined.
        assert!(merged.started_at > report.started_at);
        assert!(merged.started_at < report.finished_at);
    }

    // Each target that is named has to be a service of these stores.
    let strange = Snapshot {
        instance: "of-another-stack".to_owned(),
        ..Snapshot::default()
    };
    let strange = answering(&serde_json::to_string(&strange).expect("plain data"));
    let mut target = place.target.clone();
    target[1] = format!("{},{strange}", target[1]);
    let mut merge = place.command(&["merge", "short.toml", "--reports", "by-hand"]);
    let merged = merge.args(&target).arg("--shards").arg(parts.join("1"));
    let merged = merged
        .arg(parts.join("2"))
        .arg(parts.join("3"))
        .output()
        .expect("it runs");
    let (code, error) = self::said(&merged);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("of-another-stack"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_was_killed_is_in_the_list() {
    let place = Place::of_clients();
    let (_conductor, url) = place.conduct(1, &[]);
    let shard = place.shard(&url, "one", &[]);
    place.wait_for_requests(50);
    shard.signal(Signal::SIGKILL);
    shard.ends();
    let reports = place.folder.path().join("one");
    report::write_index(&reports).expect("it is written");
    let list = fs::read_to_string(reports.join("index.html")).expect("the list");
    assert!(list.contains("short-shard-1, begun"), "{list}");
    assert!(list.contains("was killed before its end"), "{list}");
}

/// A load of which no part comes back was sent all the same, as far as its shards have told.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_stopped_before_its_parts_come_is_told() {
    let place = Place::of_clients();
    let (conductor, url) = place.conduct(1, &[]);
    let shard = place.shard(&url, "one", &[]);
    place.wait_for_requests(500);
    shard.signal(Signal::SIGSTOP);
    conductor.signal(Signal::SIGINT);
    let (code, said) = conductor.ends();
    shard.signal(Signal::SIGCONT);
    assert_eq!(code, Some(4), "{said}");
    let report = place.report();
    assert_eq!(report.verdict, Verdict::Aborted);
    assert!(report.load.scheduled > 900, "{:?}", report.load);
    assert!(report.load.sent > 0, "{:?}", report.load);
    let why = report.why.join(" ");
    assert!(!why.contains("before its load began"), "{why}");
    assert!(why.contains("No part of the load came"), "{why}");
    assert_eq!(report.checks.len(), 1, "{:?}", report.checks);
}

/// Without their conductor the shards finish, and their files make the run.
#[tokio::test(flavor = "multi_thread")]
async fn shards_finish_without_their_conductor() {
    let place = Place::with_stores().await;
    let (conductor, url) = place.conduct(2, &[]);
    let shards = ["one", "two"].map(|reports| place.shard(&url, reports, &[]));
    place.wait_for_requests(50);
    conductor.signal(Signal::SIGKILL);
    conductor.ends();
    for shard in shards {
        let (code, said) = shard.ends();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("the conductor was lost"), "{said}");
        assert!(said.contains("loadgen merge"), "{said}");
    }
    let folders = ["one", "two"].map(|reports| place.run_in(reports));
    let scenario = folders[0].join("scenario.toml").display().to_string();
    let merged = |target: &[String]| {
        let mut merge = place.command(&["merge", &scenario, "--reports", "by-hand"]);
        let merged = merge
            .args(target)
            .arg("--shards")
            .args(&folders)
            .output()
            .expect("it runs");
        said(&merged)
    };
    let (code, error) = merged(&place.target);
    assert_eq!(code, Some(0), "{error}");

    // Where nothing of the run is nothing is lost: other stores were named.
    let mut elsewhere = place.target.clone();
    elsewhere.extend(["--mongodb-database", "another"].map(str::to_owned));
    let (code, error) = merged(&elsewhere);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("give --mongodb-database sluice"), "{error}");
    let servers = Servers::discover().expect("the servers are there");
    let another = MongoServer::start(&servers, MongoOptions::default())
        .await
        .expect("it starts");
    let mut elsewhere = place.target.clone();
    elsewhere[5] = another.uri();
    let (code, error) = merged(&elsewhere);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("check --redis, --mongodb"), "{error}");
}

/// What a lost shard sent is not known: nothing may be concluded, and its loans are nobody's fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_shard_makes_the_run_discarded() {
    let place = Place::with_stores().await;
    fs::write(
        place.folder.path().join("short.toml"),
        SCENARIO.replace("10s", "1h"),
    )
    .expect("it is written");
    let (conductor, url) = place.conduct(2, &[]);
    let first = place.shard(&url, "one", &["--shard", "1"]);
    let second = place.shard(&url, "two", &["--shard", "2/2"]);
    place.wait_for_requests(50);
    second.signal(Signal::SIGKILL);
    second.ends();
    // Its successor is too late.
    let (code, said) = place.shard(&url, "again", &["--shard", "2"]).ends();
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = conductor.ends();
    assert_eq!(code, Some(3), "{said}");
    let (code, said) = first.ends();
    assert_eq!(code, Some(0), "{said}");
    let report = place.report();
    assert_eq!(report.verdict, Verdict::Discarded);
    let why = report.why.join(" ");
    assert!(why.contains("Shard 2 of 2 was "), "{why}");
    assert_eq!(
        (report.audit.unexpected, report.audit.lost),
        (0, 0),
        "{why}"
    );
    assert!(report.load.sent >= 25, "{}", report.load.sent);
}

#[test]
fn two_of_one_number_and_one_that_is_late_are_refused_and_harm_nobody() {
    let place = Place::of_clients();
    let (mut conductor, url) = place.conduct(2, &[]);
    let first = place.shard(&url, "one", &["--shard", "1"]);
    conductor.wait_for("shard 1/2 is here");
    for (wanted, part) in [
        (&["--shard", "1"][..], "shard 1 is taken by another process"),
        (&["--shard", "3"], "there is no shard 3 in a run of 2"),
        (&["--shard", "2/3"], "one of 3 shards, and the run has 2"),
    ] {
        let (code, said) = place.shard(&url, "refused", wanted).ends();
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let second = place.shard(&url, "two", &[]);
    place.wait_for_requests(10);
    let (code, said) = place.shard(&url, "late", &[]).ends();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("too late for this run"), "{said}");
    for running in [first, second, conductor] {
        let (code, said) = running.ends();
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(place.report().verdict, Verdict::Pass);
}

#[test]
fn a_shard_that_does_not_come_makes_the_run_discarded() {
    let place = Place::of_clients();
    let (conductor, url) = place.conduct(2, &["--join-within", "3s"]);
    let (code, said) = place.shard(&url, "one", &[]).ends();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the run was called off"), "{said}");
    let (code, said) = conductor.ends();
    assert_eq!(code, Some(3), "{said}");
    let report = place.report();
    assert_eq!(report.verdict, Verdict::Discarded);
    assert!(
        report.why[0].contains("Nothing was sent"),
        "{:?}",
        report.why
    );
    assert_eq!(place.stub.requests(), 0);
}

#[test]
fn a_signal_stops_the_run_everywhere() {
    for to_shard in [false, true] {
        let place = Place::of_clients();
        fs::write(
            place.folder.path().join("short.toml"),
            SCENARIO.replace("10s", "1h"),
        )
        .expect("it is written");
        let (conductor, url) = place.conduct(2, &[]);
        let shards = ["one", "two"].map(|reports| place.shard(&url, reports, &[]));
        place.wait_for_requests(50);
        let signalled = if to_shard { &shards[0] } else { &conductor };
        signalled.signal(Signal::SIGTERM);
        for shard in shards {
            let (code, said) = shard.ends();
            assert_eq!(code, Some(4), "{said}");
        }
        let (code, said) = conductor.ends();
        assert_eq!(code, Some(4), "{said}");
        let report = place.report();
        assert_eq!(report.verdict, Verdict::Aborted);
        assert!(report.load.sent >= 50, "{}", report.load.sent);
        assert!(report.why[0].contains("SIGTERM"), "{:?}", report.why);
    }
}

#[test]
fn a_conductor_that_is_gone_before_the_start_starts_nothing() {
    let place = Place::of_clients();
    let (mut conductor, url) = place.conduct(2, &[]);
    let shard = place.shard(&url, "one", &[]);
    conductor.wait_for("shard 1/2 is here");
    conductor.signal(Signal::SIGKILL);
    conductor.ends();
    let (code, said) = shard.ends();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the conductor was lost"), "{said}");
    assert_eq!(place.stub.requests(), 0);
    let (code, said) = place.shard(&url, "alone", &["--join-within", "1s"]).ends();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no conductor answers at"), "{said}");
}

#[test]
fn only_whoever_has_the_token_may_send() {
    let place = Place::of_clients();
    let open = [
        "conduct",
        "short.toml",
        "--shards",
        "2",
        "--listen",
        "0.0.0.0:0",
    ];
    let open = place.command(&open).args(&place.target).output();
    let (code, error) = said(&open.expect("it runs"));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("--conductor-token"), "{error}");

    let secret = ["--conductor-token", "open-sesame", "--join-within", "30s"];
    let (conductor, url) = place.conduct(1, &secret);
    for token in [&[][..], &["--conductor-token", "open-sesamE"]] {
        let (code, said) = place.shard(&url, "refused", token).ends();
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("the token is missing or another one"),
            "{said}"
        );
    }
    let (code, said) = place.shard(&url, "one", &secret[..2]).ends();
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = conductor.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("open-sesame"), "{said}");
}

#[test]
fn what_has_no_effect_beside_a_conductor_is_refused() {
    let place = Place::of_clients();
    for flags in [
        &["short.toml"][..],
        &["--target", "http://127.0.0.1:1"],
        &["--seed", "1"],
        &["--start-at", "2030-01-01T00:00:00Z"],
        &["--json"],
    ] {
        let mut arguments = vec!["run", "--conductor", "http://127.0.0.1:9"];
        arguments.extend(flags);
        let output = place.command(&arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    for arguments in [
        &["run", "--conductor", "https://127.0.0.1:9"][..],
        &["run", "short.toml", "--conductor-token", "a"],
        &["run", "short.toml", "--join-within", "5s"],
        &["run", "short.toml", "--shard", "2"],
        &["run"],
        &["conduct", "short.toml", "--shards", "0"],
        &["conduct", "short.toml", "--shards", "1001"],
        &[
            "conduct",
            "short.toml",
            "--shards",
            "2",
            "--join-within",
            "0s",
        ],
        &[
            "conduct",
            "short.toml",
            "--shards",
            "2",
            "--listen",
            "127.0.0.1",
        ],
    ] {
        let output = place.command(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

/// The conductor's clock is an hour ahead of the shards': they start together all the same, and the report says so.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_an_hour_apart_are_compared() {
    let place = Place::of_clients();
    // This process conducts, by a clock of its own.
    record::clock::hold_to(3_600_000_000);
    let scenario = Scenario::parse(SCENARIO, Path::new("short.toml")).expect("a good scenario");
    let options = Options {
        scenario,
        scenario_path: PathBuf::from("short.toml"),
        target: Some(Target {
            url: place.stub.url(),
            other_urls: Vec::new(),
            redis_url: String::new(),
            mongodb_uri: String::new(),
            mongodb_database: String::new(),
            private: false,
        }),
        service_binary: None,
        reports: place.folder.path().join("reports"),
        quiet: true,
        allow: vec![loadgen::commands::run::Allowed::OtherCommit],
        no_stores: true,
        samples: None,
        otlp: None,
        merge: Vec::new(),
    };
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", door.local_addr().expect("a bound socket"));
    let conducting = Conducting {
        shards: 2,
        door,
        token: None,
        join_within: Duration::from_secs(120),
    };
    let shards = ["one", "two"].map(|reports| place.shard(&url, reports, &[]));
    let finished = run_and_tell(options, Some(&conducting), None)
        .await
        .expect("the run is made");
    for shard in shards {
        let (code, said) = shard.ends();
        assert_eq!(code, Some(0), "{said}");
    }
    let report = finished.report;
    let why = report.why.join(" ");
    assert_eq!(report.verdict, Verdict::Pass, "{why}");
    for number in [1, 2] {
        let told = format!("The clock of shard {number} is 1 h 0 min behind the conductor's");
        assert!(why.contains(&told), "{why}");
    }
    assert_eq!(report.load.sent, report.load.scheduled);
}
