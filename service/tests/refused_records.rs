//! MongoDB refuses records, for good or for now. Every loan that was acknowledged reaches an end that someone can see, and
//! Redis holds no more of them than its bound.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;

use bson::{Document, doc};
use serde_json::{Value, json};
use support::{
    Load, assert_problem, audit, body, documents, drained, loan, loan_id, logged, metrics, post,
    quick, redis_counters, service_options, start, start_with, wait_until,
};
use testbed::{MongoServer, ReplicaSet, ReplicaSetOptions, Servers, ServiceProcess, Signal, http};

/// Runs a command in the service's database.
async fn command(server: &MongoServer, command: Document) {
    let client = mongodb::Client::with_uri_str(server.uri()).await.unwrap();
    client
        .database("sluice")
        .run_command(command)
        .await
        .unwrap();
    client.shutdown().await;
}

/// The newest failures.
async fn failures(address: SocketAddr) -> Vec<Value> {
    let answer = http::get(address, "/api/errors?limit=100").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    body(&answer)["errors"].as_array().unwrap().clone()
}

/// Posts the loans `0..count`, of which MongoDB refuses `refused` for good with the category `error_type`. All others are
/// recorded; those are seen as failures with a reason that has `words`.
async fn are_refused(
    stack: &testbed::Stack,
    count: u64,
    refused: &[u64],
    error_type: &str,
    words: &[&str],
) {
    let address = stack.service.address();
    for number in 0..count {
        let answer = post(address, &loan(number)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    drained(&stack.redis).await;
    let failures = failures(address).await;
    for &number in refused {
        let id = loan_id(number);
        let failure = failures
            .iter()
            .find(|failure| failure["loanId"] == *id)
            .unwrap_or_else(|| panic!("{id} is not among {failures:?}"));
        assert_eq!(failure["errorType"], error_type);
        let text = failure.to_string();
        for word in words {
            assert!(text.contains(word), "{word} is not in {text}");
        }
        let found = body(
            &http::get(address, &format!("/api/loans/{id}"))
                .await
                .unwrap(),
        );
        // What MongoDB holds under this id is recorded, and the refused attempt stands beside it.
        let status = if error_type == "conflict" {
            "recorded"
        } else {
            "failed"
        };
        assert_eq!(found["status"], status, "{found}");
        assert_eq!(found["attempts"][0]["errorType"], error_type, "{found}");
    }
    wait_until("it is counted", async || {
        let counters = metrics(address).await.counters;
        counters.failed.get(error_type) == Some(&(refused.len() as u64))
            && counters.recorded_loans + counters.recorded_failures == counters.admitted
    })
    .await;
    logged(&stack.service, &[&loan_id(refused[0])]).await;
    assert_eq!(
        documents(&stack.mongodb, "failures").await.len(),
        refused.len()
    );
}

/// Valid loans only.
const COUNT: u64 = 9;

#[tokio::test]
async fn another_unique_index_makes_a_failure() {
    let stack = start().await;
    let address = stack.service.address();
    wait_until("it is ready", async || metrics(address).await.mongodb.up).await;
    command(
        &stack.mongodb,
        doc! { "createIndexes": "loans", "indexes": [{ "key": { "termMonths": 1, "applicant.email": 1 }, "name": "one_each", "unique": true }] },
    )
    .await;
    command(
        &stack.mongodb,
        doc! { "insert": "loans", "documents": [{ "_id": "by hand", "termMonths": 6, "applicant": { "email": "ada3@example.org" } }] },
    )
    .await;
    are_refused(&stack, COUNT, &[3], "refused", &["one_each"]).await;
    // The values of the key are somebody's data.
    assert!(!stack.service.log().contains("ada3@example.org"));
}

#[tokio::test]
async fn a_validator_makes_a_failure() {
    let stack = start().await;
    let address = stack.service.address();
    wait_until("it is ready", async || metrics(address).await.mongodb.up).await;
    command(
        &stack.mongodb,
        doc! { "create": "loans", "validator": { "amountMinor": { "$nin": [bson::Bson::Int64(117_350), 117_350] } } },
    )
    .await;
    are_refused(&stack, COUNT, &[4], "refused", &["121"]).await;
}

/// MongoDB holds the id with other content, written by another hand behind the filter's back.
#[tokio::test]
async fn an_id_that_mongodb_holds_makes_a_failure() {
    let stack = start().await;
    let address = stack.service.address();
    wait_until("it is ready", async || {
        redis_counters(&stack.redis)
            .await
            .contains_key("filter_complete")
    })
    .await;
    // As another service would have recorded it.
    assert_eq!(post(address, &loan(500)).await.status, 202);
    drained(&stack.redis).await;
    let mut other = documents(&stack.mongodb, "loans").await.remove(0);
    other.insert("_id", loan_id(5));
    command(
        &stack.mongodb,
        doc! { "insert": "loans", "documents": [other] },
    )
    .await;
    command(
        &stack.mongodb,
        doc! { "delete": "loans", "deletes": [{ "q": { "_id": loan_id(500) }, "limit": 1 }] },
    )
    .await;
    are_refused(&stack, COUNT, &[5], "conflict", &[]).await;
}

/// 1. An operator freezes MongoDB: it answers, and refuses each document. Loans are taken, and none is blamed.
/// 2. The freeze is over: each of them is recorded.
#[tokio::test]
async fn a_freeze_of_mongodb_is_no_loans_fault() {
    let mut stack = start().await;
    stack.service.terminate().await.unwrap();
    let options = ReplicaSetOptions {
        members: 1,
        ..ReplicaSetOptions::default()
    };
    let set = ReplicaSet::start(&Servers::discover().unwrap(), options)
        .await
        .unwrap();
    let freeze = async |is_frozen: bool| {
        let command = doc! { "setUserWriteBlockMode": 1, "global": is_frozen };
        set.query(0, command).await.unwrap();
    };
    let mut options = service_options(quick());
    options.redis_url = stack.redis.url();
    options.mongodb_uri = set.uri();
    // The queue of before belongs to another MongoDB.
    let _: () = support::redis(&stack.redis, &["FLUSHALL"]).await;
    let service = ServiceProcess::start(options).await.unwrap();
    let address = service.address();
    wait_until("loans are taken", async || {
        post(address, &loan(0)).await.status == 202
    })
    .await;
    drained(&stack.redis).await;
    freeze(true).await;
    for number in 1..=COUNT {
        let answer = post(address, &loan(number)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    wait_until("it is told", async || {
        let degraded = metrics(address).await.degraded;
        degraded.iter().any(|degraded| degraded.what == "recording")
    })
    .await;
    logged(&service, &["recording waits", "code 371"]).await;
    let counters = metrics(address).await.counters;
    assert_eq!(counters.set_aside, 0);
    freeze(false).await;
    support::audit_at(address, &set.uri(), COUNT + 1).await;
}

/// 1. MongoDB stands still. Loans are taken up to the bound, which counts every loan in Redis; then they are refused,
///    while what is known is still answered.
/// 2. It goes on: what waits is recorded, and loans are taken again.
#[tokio::test]
async fn redis_is_bounded_while_mongodb_is_away() {
    const BOUND: u64 = 60;
    let mut arguments = quick();
    arguments.extend(["--backlog-max".to_owned(), BOUND.to_string()]);
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    assert_eq!(post(address, &loan(0)).await.status, 202);
    drained(&stack.redis).await;
    stack.mongodb.signal(Signal::SIGSTOP).unwrap();
    let mut count = 1;
    let refused = loop {
        let answer = post(address, &loan(count)).await;
        if answer.status != 202 {
            break answer;
        }
        count += 1;
        assert!(count <= BOUND + 1, "beyond the bound");
    };
    assert_problem(&refused, 503, "overloaded");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(count, BOUND + 1, "refused below the bound");
    for number in 1..count {
        let answer = post(address, &loan(number)).await;
        assert_eq!(body(&answer)["replayed"], true, "{answer:?}");
        let mut other = loan(number);
        other["termMonths"] = json!(7);
        assert_problem(&post(address, &other).await, 422, "loan_id_conflict");
    }
    wait_until("everything is decided and waits", async || {
        redis_counters(&stack.redis).await.get("decided") == Some(&BOUND)
    })
    .await;
    assert_problem(&post(address, &loan(count)).await, 503, "overloaded");
    stack.mongodb.signal(Signal::SIGCONT).unwrap();
    wait_until("loans are taken again", async || {
        post(address, &loan(count)).await.status == 202
    })
    .await;
    audit(&stack, count + 1).await;
}

/// The same for a service whose MongoDB has never been there.
#[tokio::test]
async fn redis_is_bounded_before_mongodb_comes() {
    const BOUND: u64 = 20;
    let mut stack = start().await;
    stack.service.terminate().await.unwrap();
    stack.mongodb.kill();
    let mut arguments = quick();
    arguments.extend(["--backlog-max".to_owned(), BOUND.to_string()]);
    let mut options = service_options(arguments);
    options.redis_url = stack.redis.url();
    options.mongodb_uri = stack.mongodb.uri();
    stack.service = testbed::ServiceProcess::start(options).await.unwrap();
    let address = stack.service.address();
    // The filter is new, or was never complete: until MongoDB has been asked, no id counts as new. So 503 is right too.
    let mut taken = 0;
    for number in 0..2 * BOUND {
        let answer = post(address, &loan(number)).await;
        match answer.status {
            202 => taken += 1,
            status => assert_eq!(status, 503, "{answer:?}"),
        }
    }
    assert!(taken <= BOUND, "{taken}");
    stack.mongodb.restart().await.unwrap();
    let load = Load::start(&[address], 4);
    load.goes_on(50).await;
    let count = load.finish().await;
    for number in count..2 * BOUND {
        wait_until("loans are taken", async || {
            post(address, &loan(number)).await.status == 202
        })
        .await;
    }
    audit(&stack, count.max(2 * BOUND)).await;
}

/// A recorded loan is answered while ingestion is paused, and while the backlog is full.
#[tokio::test]
async fn recorded_loans_are_answered_while_no_new_ones_are_taken() {
    let mut arguments = quick();
    arguments.extend(["--role".to_owned(), "api,worker,persister".to_owned()]);
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    for number in 0..20 {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    drained(&stack.redis).await;
    let paused = support::admin(address, "POST", "/api/control/pause", &Value::Null).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    assert_problem(&post(address, &loan(20)).await, 503, "paused");
    for number in 0..20 {
        let answer = post(address, &loan(number)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(body(&answer)["replayed"], true, "{answer:?}");
        let mut other = loan(number);
        other["termMonths"] = json!(7);
        assert_problem(&post(address, &other).await, 422, "loan_id_conflict");
    }
}
