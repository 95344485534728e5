//! A million failures: discarded, exported and retried in bounded memory, beside new loans. Long, so run by hand:
//! `SLUICE_MANY=1000000 cargo test -p service --test many -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use support::{
    ADMIN_TOKEN, admin, body, key, loan, metrics, post, redis, redis_counters, service_options,
    start_with, wait_until,
};
use testbed::{Stack, http};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What the service may take at most, in all.
const MEMORY_MAX_KIB: u64 = 128 * 1024;
/// What an export may take at most, besides.
const EXPORT_MAX_KIB: u64 = 64 * 1024;

fn many() -> u64 {
    let many = std::env::var("SLUICE_MANY").ok();
    many.and_then(|many| many.parse().ok()).unwrap_or(20_000)
}

/// The most memory that a process has had, or has.
fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Has so many loans wait that an earlier service saw fail, with bodies that fail again.
async fn failed_before(stack: &Stack, loans: u64) {
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri())
        .await
        .unwrap();
    let failures = client.database("sluice").collection::<Document>("failures");
    let digits = |number: u64| format!("{number:032x}");
    for from in (0..loans).step_by(10_000) {
        let part = (from..loans.min(from + 10_000)).map(|number| {
            let mut bad = loan(number);
            bad["loanId"] = json!(format!("OLD-{number:07}"));
            bad["creditScore"] = json!(100);
            doc! {
                "_id": format!("OLD-{number:07}#1"), "loanId": format!("OLD-{number:07}"), "attempt": 1_i64,
                "fingerprint": digits(number), "errorType": "out_of_range", "applicantEmail": format!("ada{number}@example.org"),
                "faults": [{ "field": "creditScore", "rule": "an integer from 300 to 900", "errorType": "out_of_range", "value": "100" }],
                "receivedAt": DateTime::from_millis(0), "failedAt": DateTime::from_millis(number as i64 / 10), "waiting": true,
                "body": bad.to_string(),
            }
        });
        failures
            .insert_many(part.collect::<Vec<_>>())
            .await
            .unwrap();
    }
    let counters = key(&stack.redis, "counters").await;
    let _: u64 = redis(
        &stack.redis,
        &["HINCRBY", &counters, "failed_waiting", &loans.to_string()],
    )
    .await;
}

/// New loans, one after the other with a pause, until `stop`; how long each took.
async fn live_load(stack: &Stack, from: u64, stop: impl Future<Output = ()>) -> Vec<Duration> {
    let mut taken = Vec::new();
    let mut number = from;
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return taken,
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
        let begun = Instant::now();
        assert_eq!(
            post(stack.service.address(), &loan(number * 10))
                .await
                .status,
            202
        );
        taken.push(begun.elapsed());
        number += 1;
    }
}

fn percentile(taken: &mut [Duration], share: f64) -> Duration {
    taken.sort_unstable();
    taken[((taken.len() - 1) as f64 * share) as usize]
}

/// Does a task, and tells how long it took and how new loans fared.
async fn task(stack: &Stack, asked: Value, from: u64) -> u64 {
    let begun = Instant::now();
    let answer = admin(stack.service.address(), "POST", "/api/tasks", &asked).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let path = format!("/api/tasks/{}", body(&answer)["taskId"].as_str().unwrap());
    let done = async {
        loop {
            let task = body(&http::get(stack.service.address(), &path).await.unwrap());
            if task["endedAt"].is_string() {
                assert_eq!(task["phase"], "done", "{task}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let mut taken = live_load(stack, from, done).await;
    let task = body(&http::get(stack.service.address(), &path).await.unwrap());
    println!(
        "{}: {} done, {} skipped in {:.1} s; {} new loans meanwhile: p50 {:?}, p99 {:?}; memory at most {} KiB",
        asked["kind"],
        task["done"],
        task["skipped"],
        begun.elapsed().as_secs_f64(),
        taken.len(),
        percentile(&mut taken, 0.5),
        percentile(&mut taken, 0.99),
        memory_kib(stack.service.pid(), "VmHWM")
    );
    task["done"].as_u64().unwrap()
}

#[tokio::test]
#[ignore = "long: see above"]
async fn a_million_failures_take_bounded_memory() {
    let stack = start_with(service_options(Vec::new())).await;
    let many = many();
    failed_before(&stack, many).await;
    let pid = stack.service.pid();
    println!(
        "{many} failures wait; memory {} KiB",
        memory_kib(pid, "VmRSS")
    );
    let before = memory_kib(pid, "VmHWM");
    let begun = Instant::now();
    let mut stream = TcpStream::connect(stack.service.address()).await.unwrap();
    let head = format!(
        "GET /api/exports/errors HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut part, mut bytes, mut rows) = (vec![0; 64 * 1024], 0, 0);
    while let Ok(len @ 1..) = stream.read(&mut part).await {
        bytes += len as u64;
        rows += part[..len]
            .windows(4)
            .filter(|four| *four == b"OLD-")
            .count() as u64;
    }
    let after = memory_kib(pid, "VmHWM");
    println!(
        "export: about {rows} rows, {bytes} bytes in {:.1} s; memory at most {after} KiB, {} more than before",
        begun.elapsed().as_secs_f64(),
        after - before
    );
    // A row may be cut between two reads.
    assert!(rows * 100 >= many * 99, "{rows}");
    assert!(after - before <= EXPORT_MAX_KIB, "{before} {after}");

    let part = (many / 10).max(1);
    let first =
        json!({ "kind": "retry", "filter": { "to": (part / 10).to_string() }, "expected": part });
    task(&stack, first, 1_000_000).await;
    let all = json!({ "kind": "discard", "filter": { "loanId": "OLD-" }, "reason": "a measurement", "expected": many });
    let discarded = task(&stack, all, 2_000_000).await;
    assert!(discarded * 100 >= many * 80, "{discarded}");
    let most = memory_kib(pid, "VmHWM");
    assert!(most <= MEMORY_MAX_KIB, "{most} KiB");
    // Redis counts a step before the task does; the snapshot is read from Redis a few times a second.
    assert_eq!(redis_counters(&stack.redis).await["discarded"], discarded);
    wait_until("the snapshot says so too", async || {
        let counters = metrics(stack.service.address()).await.counters;
        counters.discarded == discarded
    })
    .await;
}
