//! The log: nobody need read it, nobody can flood it, and a task that dies is not passed over.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{
    ADMIN_TOKEN, Load, PATIENCE, assert_problem, audit, body, loan, metrics, post, quick,
    service_options, start, start_with, wait_until,
};
use testbed::{ServiceOptions, http};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// 1. Standard error is a pipe that nobody reads, and everything is logged, until the pipe and the queue of lines are
///    full.
/// 2. Liveness, loans and an administrator's call are answered; what was dropped is counted.
/// 3. SIGTERM ends the process in an orderly way.
#[tokio::test]
async fn nobody_need_read_the_log() {
    let stack = start().await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_service"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--log-level",
            "debug,mongodb=off",
        ])
        .args([
            "--redis-url",
            &stack.redis.url(),
            "--mongodb-uri",
            &stack.mongodb.uri(),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut link = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut link)
        .unwrap();
    let (_, rest) = link.split_once("http://").unwrap();
    let (address, token) = rest.trim().split_once("/#token=").unwrap();
    let address: SocketAddr = address.parse().unwrap();

    // Each request is a line; none is waited for.
    let asks = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let reading = tokio::spawn(async move {
        let mut part = vec![0; 64 * 1024];
        while matches!(reader.read(&mut part).await, Ok(1..)) {}
    });
    let dropped = async || {
        let text = http::get(address, "/metrics").await.unwrap().body;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("sluice_log_lines_dropped_total "));
        line.unwrap().parse::<f64>().unwrap()
    };
    wait_until("lines are dropped", async || {
        writer.write_all(asks.as_bytes()).await.unwrap();
        dropped().await > 0.0
    })
    .await;
    assert_eq!(http::get(address, "/healthz").await.unwrap().status, 200);
    assert_eq!(post(address, &loan(0)).await.status, 202);
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", &*bearer)];
    let answer = http::request(address, "POST", "/api/control/resume", &headers, b"").await;
    assert_eq!(answer.unwrap().status, 200);
    drop(writer);
    reading.await.unwrap();

    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let status = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(status.unwrap().code(), Some(0));
}

/// 1. 600 refused calls without a token, and as many with a wrong one: a few lines, and a count.
/// 2. What an operator does is logged each time.
#[tokio::test]
async fn nobody_can_flood_the_log() {
    let stack = start().await;
    let address = stack.service.address();
    let lines = || stack.service.log().lines().count();
    let before = lines();
    for _ in 0..600 {
        let answer = http::request(address, "POST", "/api/control/pause", &[], b"").await;
        assert_problem(&answer.unwrap(), 401, "unauthorized");
    }
    assert!(lines() - before < 20, "{}", stack.service.log());
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("Authorization", &*bearer)];
    for _ in 0..30 {
        let answer = http::request(address, "POST", "/api/control/resume", &headers, b"").await;
        assert_eq!(answer.unwrap().status, 200);
    }
    let told = |log: &str| log.matches("an operator's change").count();
    wait_until("each is logged", async || told(&stack.service.log()) == 30).await;
    let text = http::get(address, "/metrics").await.unwrap().body;
    let held_back = text
        .lines()
        .find_map(|line| line.strip_prefix("sluice_log_lines_held_back_total "))
        .unwrap();
    assert!(held_back.parse::<f64>().unwrap() > 500.0, "{held_back}");
}

/// Redis goes and comes back under load: a line when it goes, a line when it is back, and in between not one for each
/// request.
#[tokio::test]
async fn an_outage_is_told_in_few_lines() {
    let mut stack = start().await;
    let address = stack.service.address();
    let load = Load::start(&[address], 8);
    load.goes_on(40).await;
    let before = stack.service.log().lines().count();
    stack.redis.kill();
    wait_until("the log says so", async || {
        stack.service.log().contains("Redis does not answer")
    })
    .await;
    for number in 0..300 {
        let answer = post(address, &loan(1_000_000 + number)).await;
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    stack.redis.restart().await.unwrap();
    load.goes_on(40).await;
    wait_until("the log says so", async || {
        stack.service.log().contains("that is over")
    })
    .await;
    load.finish().await;
    let log = stack.service.log();
    let lines = log.lines().count() - before;
    assert!(lines < 60, "{lines} lines: {log}");
    assert_eq!(log.matches("Redis does not answer").count(), 1, "{log}");
}

/// As above, for a minute at about 500 requests a second. Long, so run by hand:
/// `cargo test -p service --test logs -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "takes more than a minute"]
async fn a_minute_without_redis_is_few_lines() {
    let mut stack = start_with(service_options(Vec::new())).await;
    let load = Load::start(&[stack.service.address()], 12);
    load.goes_on(500).await;
    let before = stack.service.log().lines().count();
    let refused = async || {
        support::metrics(stack.service.address())
            .await
            .counters
            .received
    };
    let received = refused().await;
    stack.redis.kill();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let received = refused().await - received;
    stack.redis.restart().await.unwrap();
    load.goes_on(500).await;
    load.finish().await;
    let lines = stack.service.log().lines().count() - before;
    println!("{received} requests in a minute without Redis, {lines} lines in the log");
    assert!(lines < 100, "{lines} lines: {}", stack.service.log());
}

/// While MongoDB is away an instance that takes loans is ready, and says what is amiss; one that only records is not.
#[tokio::test]
async fn readiness_is_by_role() {
    let role = |roles: &str| {
        let mut arguments = quick();
        arguments.extend(["--role".to_owned(), roles.to_owned()]);
        service_options(arguments)
    };
    let mut stack = start_with(role("api")).await;
    let recorder = testbed::ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..role("worker,persister")
    })
    .await
    .unwrap();
    let address = stack.service.address();
    stack.mongodb.kill();
    wait_until("the recorder says that it is not ready", async || {
        let answer = http::get(recorder.address(), "/readyz").await.unwrap();
        answer.status == 503 && answer.body.contains("MongoDB")
    })
    .await;
    let degraded = async || {
        let answer = http::get(address, "/readyz").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        body(&answer)["degraded"].clone()
    };
    wait_until("the other one says what is amiss", async || {
        degraded().await[0]["what"] == "mongodb"
    })
    .await;
    let told = degraded().await[0].clone();
    assert!(
        told["since"].is_string() && told["detail"].is_string(),
        "{told}"
    );
    // The snapshot tells the same.
    let snapshot = metrics(address).await.degraded;
    let snapshot: Vec<_> = snapshot
        .iter()
        .map(|degraded| (&*degraded.what, &*degraded.since, &*degraded.detail))
        .collect();
    let text = |key: &str| told[key].as_str().unwrap();
    assert_eq!(snapshot, [("mongodb", text("since"), text("detail"))]);
    assert_eq!(post(address, &loan(0)).await.status, 202);
    stack.mongodb.restart().await.unwrap();
    wait_until("all is well again", async || {
        degraded().await == Value::Null
    })
    .await;
    assert_eq!(metrics(address).await.degraded, []);
    wait_until("the recorder is ready again", async || {
        let answer = http::get(recorder.address(), "/readyz").await.unwrap();
        answer.status == 200
    })
    .await;
    audit(&stack, 1).await;
}

/// A task of the service panics: the process says which and ends, so that what runs it starts it again.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_dead_task_ends_the_process() {
    let armed = ("FAILPOINTS".into(), "record-before=panic".into());
    let mut options = service_options(quick());
    options.environment.push(armed);
    let mut stack = start_with(options).await;
    assert_eq!(post(stack.service.address(), &loan(0)).await.status, 202);
    let status = stack.service.wait(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(70), "{}", stack.service.log());
    let log = stack.service.log();
    assert!(log.contains("task=\"recorder\""), "{log}");
    assert!(log.contains("panicked"), "{log}");
    let environment = vec![("SLUICE_ADMIN_TOKEN".into(), ADMIN_TOKEN.into())];
    stack.service.restart_with(environment).await.unwrap();
    audit(&stack, 1).await;
}

/// A drain while MongoDB is away says what it leaves, and that it is safe; the next start records it.
#[tokio::test]
async fn a_drain_says_what_is_left() {
    let mut stack = start().await;
    stack.mongodb.kill();
    for number in 0..9 {
        assert_eq!(
            post(stack.service.address(), &loan(number)).await.status,
            202
        );
    }
    wait_until("all are processed", async || {
        support::lengths(&stack.redis).await == [0, 9, 0]
    })
    .await;
    let status = stack.service.terminate().await.unwrap();
    assert_eq!(status.code(), Some(0));
    let log = stack.service.log();
    let told = log
        .lines()
        .find(|line| line.contains("waits in Redis, safe"));
    let told = told.unwrap_or_else(|| panic!("{log}"));
    assert!(told.contains("unrecorded=9"), "{told}");
    stack.mongodb.restart().await.unwrap();
    stack.service.restart().await.unwrap();
    audit(&stack, 9).await;
}
