//! The smoke scenario on the real service: the audit finds no fault, and the live counters agree.

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use loadgen::commands::run::{Allowed, Finished, Options, RunError, run};
use mongodb::bson::{Document, doc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use observe::follow;
use observe::proof::ProofError;
use observe::stack::Target;
use plan::scenario::Scenario;
use record::result::run::{Report, Verdict};
use snapshot::Snapshot;
use support::answering;
use testbed::{ServiceOptions, Stack, StackOptions, http};

fn smoke() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/smoke.toml")
}

async fn run_it(scenario: Scenario, reports: &Path) -> Finished {
    try_it(scenario, reports, None)
        .await
        .expect("the run is made")
}

async fn try_it(
    scenario: Scenario,
    reports: &Path,
    target: Option<Target>,
) -> Result<Finished, RunError> {
    run(options(scenario, reports, target)).await
}

fn options(scenario: Scenario, reports: &Path, target: Option<Target>) -> Options {
    Options {
        scenario,
        scenario_path: PathBuf::from("scenarios/smoke.toml"),
        target,
        service_binary: None,
        reports: reports.to_path_buf(),
        quiet: true,
        // A test may be built after the service's last build.
        allow: vec![Allowed::OtherCommit],
        no_stores: false,
        samples: None,
        otlp: None,
        merge: Vec::new(),
    }
}

/// A service that runs already: its stores are proven, others' traffic is named and not taken for its fault, and while it is
/// paused it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_runs_already_is_proven_first_and_others_are_named() {
    const TOKEN: &str = "0123456789abcdef";
    let reports = tempfile::tempdir().expect("a temporary folder");
    let stack = Stack::start(StackOptions {
        service: ServiceOptions {
            environment: vec![("SLUICE_ADMIN_TOKEN".to_owned(), TOKEN.to_owned())],
            ..ServiceOptions::default()
        },
        ..StackOptions::default()
    })
    .await
    .expect("a stack");
    let target = |database: &str, redis_url: String| Target {
        url: stack.service.url(),
        other_urls: Vec::new(),
        redis_url,
        mongodb_uri: stack.mongodb.uri(),
        mongodb_database: database.to_owned(),
        private: false,
    };
    let scenario = || Scenario::load(&smoke()).expect("the scenario loads");

    let elsewhere = target("another", stack.redis.url());
    let error = try_it(scenario(), reports.path(), Some(elsewhere))
        .await
        .err();
    assert!(
        matches!(
            error,
            Some(RunError::Proof(ProofError::OtherDatabase { .. }))
        ),
        "{error:?}"
    );
    // Another database of the same Redis has none of the service's keys.
    let elsewhere = target(
        "sluice",
        format!("{}/5", stack.redis.url().trim_end_matches("/0")),
    );
    let error = try_it(scenario(), reports.path(), Some(elsewhere))
        .await
        .err();
    assert!(
        matches!(error, Some(RunError::Proof(ProofError::OtherRedis { .. }))),
        "{error:?}"
    );

    // Of several targets each must have these stores.
    let own = target("sluice", stack.redis.url());
    let known = follow::snapshot(&own.url, None)
        .await
        .expect("it tells its metrics");
    let strange = Snapshot {
        instance: "of-another-stack".to_owned(),
        ..known.clone()
    };
    let two = Target {
        other_urls: vec![answering(
            &serde_json::to_string(&strange).expect("plain data"),
        )],
        ..own
    };
    let error = try_it(scenario(), reports.path(), Some(two)).await.err();
    assert!(
        matches!(&error, Some(RunError::Proof(ProofError::OtherRedis { instance, .. })) if instance == "of-another-stack"),
        "{error:?}"
    );

    // And each must be ready: the one that is not is named.
    let mut without_mongodb = known;
    without_mongodb.mongodb.up = false;
    let away = answering(&serde_json::to_string(&without_mongodb).expect("plain data"));
    let two = Target {
        other_urls: vec![away.clone()],
        ..target("sluice", stack.redis.url())
    };
    let error = try_it(scenario(), reports.path(), Some(two)).await.err();
    assert!(
        matches!(&error, Some(RunError::NotReady { url, .. }) if *url == away),
        "{error:?}"
    );

    let address = stack.service.address();
    let loan = |number: u32| {
        format!(
            r#"{{"loanId":"other-{number}","amount":1169.00,"currency":"DEM","termMonths":6,"purpose":"radio/television","creditScore":712,"applicant":{{"name":"Elke Hartmann","email":"elke@example.org","annualIncome":42000.00,"ageYears":67}}}}"#
        )
    };
    let others = tokio::spawn(async move {
        for number in 0..50 {
            let loan = loan(number);
            // Some of them before the load, some during it.
            let answer = http::post(address, "/api/loans/request", loan).await;
            assert_eq!(answer.expect("an answer").status, 202);
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        }
    });
    let mut beside = scenario();
    beside.drain_timeout = std::time::Duration::from_secs(30);
    let own = target("sluice", stack.redis.url());
    let made = run(Options {
        allow: vec![Allowed::OtherCommit, Allowed::BusyQueue],
        ..options(beside, reports.path(), Some(own))
    })
    .await
    .expect("the run is made");
    others.await.expect("all were sent");
    let report = &made.report;
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.why);
    assert_eq!(report.audit.faults(), 0, "{:#?}", report.audit.examples);
    assert!(
        report
            .why
            .iter()
            .any(|why| why.contains("Others used this service") && why.contains("in its stores")),
        "{:?}",
        report.why
    );
    assert!(report.counters_agree.iter().all(|row| row.agree));

    assert!(
        report.repeat.contains("--mongodb-database sluice")
            && report.repeat.contains("--allow busy-queue"),
        "{}",
        report.repeat
    );

    // Somebody only sends again what is known: nothing of that is in the stores.
    let again = tokio::spawn(async move {
        loop {
            let answer = http::post(address, "/api/loans/request", loan(1)).await;
            assert_eq!(answer.expect("an answer").status, 202);
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        }
    });
    let own = target("sluice", stack.redis.url());
    let made = try_it(scenario(), reports.path(), Some(own)).await;
    again.abort();
    let report = made.expect("the run is made").report;
    assert_eq!(report.audit.faults(), 0, "{:#?}", report.audit.examples);
    assert!(
        report.why.iter().any(|why| {
            why.contains("Others used this service") && why.contains("requests for loans")
        }),
        "{:?}",
        report.why
    );
    assert!(report.counters_agree.iter().all(|row| row.agree));
    let mut rows = report.counters_agree.iter();
    let replayed = rows.find(|row| row.name == "replayed");
    assert!(replayed.is_some_and(|row| row.live > Some(row.audit)));

    let authorization = format!("Bearer {TOKEN}");
    let headers = [("Authorization", authorization.as_str())];
    let paused = http::request(address, "POST", "/api/control/pause", &headers, b"").await;
    assert_eq!(paused.expect("an answer").status, 200);
    // The service's own figures tell it a moment later.
    let mut error = None;
    for _ in 0..100 {
        let own = target("sluice", stack.redis.url());
        error = try_it(scenario(), reports.path(), Some(own)).await.err();
        if error.is_some() {
            break;
        }
    }
    assert!(matches!(error, Some(RunError::Paused(_))), "{error:?}");
    stack.stop().await.expect("the stack ends in order");
}

/// A Redis that may lose what it confirms is refused before the load; one that becomes so while it is sent does not pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_made_weak_under_the_load_does_not_pass() {
    let reports = tempfile::tempdir().expect("a temporary folder");
    let stack = Stack::start(StackOptions::default())
        .await
        .expect("a stack");
    let target = Target {
        url: stack.service.url(),
        other_urls: Vec::new(),
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        mongodb_database: "sluice".to_owned(),
        private: false,
    };
    let url = target.url.clone();
    let redis = target.redis_url.trim_start_matches("redis://");
    let redis = redis.trim_end_matches("/0").to_owned();
    let weakened = tokio::spawn(async move {
        while follow::snapshot(&url, None)
            .await
            .is_ok_and(|snapshot| snapshot.counters.received == 0)
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mut connection = TcpStream::connect(&redis).expect("Redis listens");
        connection
            .write_all(b"CONFIG SET appendfsync no\r\n")
            .expect("it is sent");
        let mut answer = [0; 5];
        connection.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"+OK\r\n");
    });
    let scenario = Scenario::load(&smoke()).expect("the scenario loads");
    let made = try_it(scenario, reports.path(), Some(target)).await;
    weakened.await.expect("it was made weak");
    let report = made.expect("the run is made").report;
    assert_eq!(report.verdict, Verdict::Discarded, "{:?}", report.why);
    assert!(
        report
            .why
            .iter()
            .any(|why| why.contains("appendfsync is no")),
        "{:?}",
        report.why
    );
    assert_eq!(report.provenance.appendfsync, "always, then no");
    stack.stop().await.expect("the stack ends in order");
}

/// A service that lets only those read who have a token is run against with the environment's, and without one it is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_readers_need_a_token_is_run_against() {
    const TOKEN: &str = "0123456789abcdef";
    let reports = tempfile::tempdir().expect("a temporary folder");
    let tokens = reports.path().join("tokens");
    std::fs::write(&tokens, "# nobody but the administrator\n").expect("it is written");
    let stack = Stack::start(StackOptions {
        service: ServiceOptions {
            arguments: vec![format!("--tokens-file={}", tokens.display())],
            environment: vec![("SLUICE_ADMIN_TOKEN".to_owned(), TOKEN.to_owned())],
            ..ServiceOptions::default()
        },
        ..StackOptions::default()
    })
    .await
    .expect("a stack");
    let (url, redis_url) = (stack.service.url(), stack.redis.url());
    let mongodb_uri = stack.mongodb.uri();
    let run_with = |token: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command
            .arg("run")
            .arg(smoke())
            .args(["--target", &url, "--redis", &redis_url])
            .args(["--mongodb", &mongodb_uri])
            .args(["--quiet", "--allow", "other-commit", "--reports"])
            .arg(reports.path())
            .env_remove("SLUICE_ADMIN_TOKEN");
        if let Some(token) = token {
            command.env("SLUICE_ADMIN_TOKEN", token);
        }
        let output = command.output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.code(), said)
    };
    for token in [None, Some("a-token-of-nobody")] {
        let (code, said) = run_with(token);
        assert_eq!(code, Some(2), "{said}");
        let told = "reading needs a token: set SLUICE_ADMIN_TOKEN";
        assert!(said.contains(told), "{said}");
        assert!(!said.contains("a-token-of-nobody"), "{said}");
    }
    let (code, said) = run_with(Some(TOKEN));
    // The run may be late on a busy machine.
    assert!([Some(0), Some(1), Some(3)].contains(&code), "{said}");
    assert!(!said.contains(TOKEN), "{said}");
    let path = reports.path().join("latest/report.json");
    let report = std::fs::read_to_string(path).expect("a report");
    let report: Report = serde_json::from_str(&report).expect("the report's form");
    assert!(report.audit.complete);
    assert_eq!(report.audit.faults(), 0, "{:#?}", report.audit.examples);
    // Its live figures were followed too.
    assert!(report.workers.peak.is_some() && report.load.end_to_end_us.count > 0);
    stack.stop().await.expect("the stack ends in order");
}

/// The address of a service that answers with `text`, but never when it is asked of a loan; and who hears that it was.
fn silent_of_loans(text: &str) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
    let answer = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    let (asked, is_asked) = mpsc::channel();
    std::thread::spawn(move || {
        let mut unanswered = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = head.next().unwrap_or_default();
            head.take_while(|line| !line.is_empty()).for_each(drop);
            if first.contains("/api/loans/") {
                let _ = asked.send(());
                unanswered.push(stream);
            } else {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    (url, is_asked)
}

/// A run that is stopped while its stores are proven takes back what it has put there.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_the_proof_leaves_no_marker() {
    let reports = tempfile::tempdir().expect("a temporary folder");
    let stack = Stack::start(StackOptions::default())
        .await
        .expect("a stack");
    let known = follow::snapshot(&stack.service.url(), None)
        .await
        .expect("it tells its metrics");
    let (url, asked) = silent_of_loans(&serde_json::to_string(&known).expect("plain data"));
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri())
        .await
        .expect("a good address");
    let failures = client.database("sluice").collection::<Document>("failures");
    let markers = async || {
        failures
            .count_documents(doc! { "loanId": { "$regex": "^loadgen-marker-" } })
            .await
            .expect("MongoDB answers")
    };
    assert_eq!(markers().await, 0);
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("run")
        .arg(smoke())
        .args(["--target", &url, "--redis", &stack.redis.url()])
        .args(["--mongodb", &stack.mongodb.uri()])
        .args(["--quiet", "--allow", "other-commit", "--reports"])
        .arg(reports.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    asked
        .recv_timeout(Duration::from_secs(60))
        .expect("it asks of its marker");
    assert_eq!(markers().await, 1);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it is there");
    let code = child.wait().expect("it ends").code();
    assert_eq!(code, Some(4));
    assert_eq!(markers().await, 0);
    stack.stop().await.expect("the stack ends in order");
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

/// The command blocks Ctrl-C and SIGTERM for itself; the servers that it starts must hear theirs, or they do not end.
#[test]
fn a_private_stack_ends_in_order() {
    let reports = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("run")
        .arg(smoke())
        .args(["--allow", "other-commit", "--reports"])
        .arg(reports.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("did not end"), "{said}");
    let code = output.status.code();
    assert!([Some(0), Some(1), Some(3)].contains(&code), "{said}");
}

/// A stack that is kept ends with the command, whichever signal ends that; the code is that of the verdict, which stood before.
#[test]
fn a_kept_stack_ends_with_the_signal() {
    let reports = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .arg("run")
        .arg(smoke())
        .args(["--keep-stack", "--quiet", "--allow", "other-commit"])
        .arg("--reports")
        .arg(reports.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let stderr = child.stderr.take().expect("it is piped");
    let kept = BufReader::new(stderr)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            Some(
                line.split_once("the stack stays until Ctrl-C: ")?
                    .1
                    .to_owned(),
            )
        })
        .expect("it says where the stack is");
    let servers: Vec<SocketAddr> = kept
        .split(", ")
        .filter_map(|url| url.split("://").nth(1)?.split('/').next()?.parse().ok())
        .collect();
    assert_eq!(servers.len(), 3, "{kept}");
    for server in &servers {
        TcpStream::connect(server).expect("it is there while it is kept");
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("it is there");
    let code = child.wait().expect("it ends").code();
    let report = reports.path().join("latest/report.json");
    let report = std::fs::read_to_string(report).expect("a report");
    let report: Report = serde_json::from_str(&report).expect("the report's form");
    assert_eq!(code, Some(i32::from(report.verdict.exit_code())));
    for server in servers {
        assert!(
            TcpStream::connect(server).is_err(),
            "{server} is still there"
        );
    }
}
