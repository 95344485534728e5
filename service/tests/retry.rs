//! Failed loans go back into the queue: each once, as a new attempt of the same loan.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};
use service::api::Retried;
use service::loan::{Category, Fingerprint, LoanId};
use service::queue::admission::Arrival;
use service::queue::claim::{Ask, Outcome};
use service::queue::{Link, Queue};
use service::retry::{Selection, retry};
use support::{
    admin, assert_problem, body, documents, drained, held_ids, lengths, loan, loan_id, post, redis,
    redis_counters, start, wait_until,
};
use testbed::{RedisOptions, RedisServer, Servers, Stack, http};

const RETRY: &str = "/api/loans/retry";
const NEW: Ask = Ask::New(std::time::Duration::from_millis(1));

fn retried(requeued: u64, skipped: u64, remaining: u64) -> Value {
    json!({ "requeued": requeued, "skipped": skipped, "remaining": remaining })
}

#[track_caller]
fn assert_replayed(answer: &http::Answer, is_replayed: bool) {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(body(answer)["replayed"], is_replayed, "{answer:?}");
}

async fn failures(stack: &Stack, count: usize) -> Vec<bson::Document> {
    wait_until("the failures are recorded", async || {
        documents(&stack.mongodb, "failures").await.len() >= count
    })
    .await;
    drained(&stack.redis).await;
    let failures = documents(&stack.mongodb, "failures").await;
    assert_eq!(failures.len(), count, "{failures:?}");
    failures
}

/// 1. Two loans fail, for two reasons. A retry of one category takes one, of all both, of an id one.
/// 2. Each fails again, as the next attempt, and the history holds them all.
#[tokio::test]
async fn a_loan_that_fails_again_is_a_new_attempt() {
    let stack = start().await;
    let address = stack.service.address();
    let mut textual = loan(0);
    textual["amount"] = json!("12");
    assert_replayed(&post(address, &textual).await, false);
    assert_replayed(&post(address, &loan(9)).await, false);
    assert_replayed(&post(address, &loan(1)).await, false);
    failures(&stack, 2).await;

    let answer = admin(
        address,
        "PATCH",
        RETRY,
        &json!({ "errorType": "wrong_type" }),
    )
    .await;
    assert_eq!((answer.status, body(&answer)), (200, retried(1, 0, 0)));
    failures(&stack, 3).await;
    let answer = admin(address, "PATCH", RETRY, &json!({})).await;
    assert_eq!(body(&answer), retried(2, 0, 0));
    failures(&stack, 5).await;
    let ids = json!({ "loanIds": [loan_id(0), loan_id(1), "unknown", loan_id(0)] });
    let answer = admin(address, "PATCH", RETRY, &ids).await;
    assert_eq!(body(&answer), retried(1, 2, 0));
    failures(&stack, 6).await;
    let answer = admin(address, "PATCH", RETRY, &json!({ "errorType": "poison" })).await;
    assert_eq!(body(&answer), retried(0, 0, 0));

    let answer = http::get(address, &format!("/api/loans/{}", loan_id(0))).await;
    let found = body(&answer.unwrap());
    assert_eq!(found["status"], "failed", "{found}");
    let attempts = found["attempts"].as_array().unwrap();
    let numbers: Vec<_> = attempts.iter().map(|one| one["attempt"].clone()).collect();
    assert_eq!(numbers, [4, 3, 2, 1], "{found}");
    assert!(attempts.iter().all(|one| one["errorType"] == "wrong_type"));
    assert!(
        attempts
            .iter()
            .all(|one| one["receivedAt"] == attempts[0]["receivedAt"])
    );
    let counters = redis_counters(&stack.redis).await;
    for (name, count) in [
        ("admitted", 3),
        ("retried", 4),
        ("accepted", 1),
        ("failed:wrong_type", 4),
        ("failed:out_of_range", 2),
        ("recorded_failures", 6),
    ] {
        assert_eq!(counters[name], count, "{name} of {counters:?}");
    }
    // The same content is still the same loan.
    assert_replayed(&post(address, &textual).await, true);
    // A retry says nothing about how fast the service is.
    wait_until("the snapshot is of now", async || {
        support::metrics(address).await.latency_us.end_to_end.count >= 3
    })
    .await;
    let latencies = support::metrics(address).await.latency_us;
    assert_eq!(
        (latencies.queue_wait.count, latencies.end_to_end.count),
        (3, 3)
    );
}

/// 1. A correction passes the checks of a request, and is for one failed loan.
/// 2. The corrected loan is accepted as the second attempt.
/// 3. A client that repeats the first content, or sends the corrected one, is told that the loan is
///    known; other content is a conflict. So it stays when the loan has left Redis.
#[tokio::test]
async fn a_correction_takes_the_place_of_the_content() {
    let stack = start().await;
    let address = stack.service.address();
    assert_replayed(&post(address, &loan(9)).await, false);
    failures(&stack, 1).await;
    let corrected = {
        let mut corrected = loan(9);
        corrected["creditScore"] = json!(712);
        corrected
    };
    let with = |correction: Value| json!({ "loanIds": [loan_id(9)], "correction": correction });
    for (asked, error_type) in [
        (json!({ "correction": corrected }), "invalid_body"),
        (
            json!({ "loanIds": [], "correction": corrected }),
            "invalid_body",
        ),
        (
            json!({ "loanIds": [loan_id(9), "B"], "correction": corrected }),
            "invalid_body",
        ),
        (
            json!({ "loanIds": ["B"], "correction": corrected }),
            "invalid_body",
        ),
        (json!({ "loanIds": ["no id"] }), "invalid_body"),
        (
            json!({ "loanIds": [loan_id(9)], "errorType": "poison" }),
            "invalid_body",
        ),
        (json!({ "errorType": "boredom" }), "invalid_body"),
        (json!({ "limit": 0 }), "invalid_body"),
        (json!({ "limit": 10_001 }), "invalid_body"),
        (json!({ "limit": -1 }), "invalid_body"),
        (json!({ "everything": true }), "invalid_body"),
        (json!([]), "invalid_body"),
        (Value::Null, "invalid_body"),
        (with(json!([])), "not_an_object"),
        (with(json!({ "amount": 1 })), "invalid_loan_id"),
    ] {
        let answer = admin(address, "PATCH", RETRY, &asked).await;
        assert_problem(&answer, 400, error_type);
    }
    let twice = format!(
        r#"{{"loanIds":["{0}"],"correction":{{"loanId":"{0}","amount":1,"amount":2}}}}"#,
        loan_id(9)
    );
    let bearer = format!("Bearer {}", support::ADMIN_TOKEN);
    let headers = [("Authorization", &*bearer)];
    let answer = http::request(address, "PATCH", RETRY, &headers, twice.as_bytes()).await;
    assert_problem(&answer.unwrap(), 400, "duplicate_key");
    let mut large = corrected.clone();
    large["purpose"] = json!("x".repeat(64 * 1024));
    assert_problem(
        &admin(address, "PATCH", RETRY, &with(large)).await,
        413,
        "body_too_large",
    );

    let answer = admin(address, "PATCH", RETRY, &with(corrected.clone())).await;
    assert_eq!(body(&answer), retried(1, 0, 0));
    wait_until("the loan has left Redis", async || {
        held_ids(&stack.redis).await.is_empty()
    })
    .await;
    drained(&stack.redis).await;
    let loans = documents(&stack.mongodb, "loans").await;
    assert_eq!(loans.len(), 1);
    let found = http::get(address, &format!("/api/loans/{}", loan_id(9))).await;
    let found = body(&found.unwrap());
    assert_eq!(found["status"], "recorded", "{found}");
    assert_eq!(found["result"]["attempt"], 2, "{found}");
    assert_eq!(found["attempts"][0]["attempt"], 1, "{found}");

    for _ in 0..2 {
        assert_replayed(&post(address, &loan(9)).await, true);
        assert_replayed(&post(address, &corrected).await, true);
        let mut other = loan(9);
        other["amount"] = json!(5);
        assert_problem(&post(address, &other).await, 422, "loan_id_conflict");
    }
    let control: Vec<String> = redis(&stack.redis, &["HKEYS", "{l:0}:ctl"]).await;
    assert_eq!(control, Vec::<String>::new());
    assert_eq!(documents(&stack.mongodb, "loans").await.len(), 1);
    let answer = admin(address, "PATCH", RETRY, &with(corrected)).await;
    assert_eq!(body(&answer), retried(0, 1, 0), "it is accepted already");
}

async fn functions() -> (RedisServer, Queue) {
    let server = RedisServer::start(&Servers::discover().unwrap(), RedisOptions::default())
        .await
        .unwrap();
    let queue = Queue::new(&server.url(), 1).unwrap();
    (server, queue)
}

fn arrival(number: u64, content: u8) -> Arrival {
    Arrival {
        loan_id: LoanId::new(&loan_id(number)).unwrap(),
        fingerprint: Fingerprint::from_bytes(&[content; 16]).unwrap(),
        received_us: 1_700_000_000_000_000 + number,
        body: Bytes::from(format!("body {number} {content}")),
    }
}

/// Claims all that waits and lets it fail.
async fn fail_all(link: &mut Link, category: Category) -> usize {
    let mut sum = 0;
    loop {
        let claimed = link.claim("w", NEW, 1_000).await.unwrap();
        if claimed.is_empty() {
            return sum;
        }
        sum += claimed.len();
        let outcomes: Vec<_> = claimed
            .into_iter()
            .map(|claimed| (claimed, Outcome::Failed(category, b"document".to_vec())))
            .collect();
        assert!(
            link.commit(&outcomes)
                .await
                .unwrap()
                .into_iter()
                .all(|won| won)
        );
    }
}

async fn failed_loans(link: &mut Link, numbers: std::ops::Range<u64>, category: Category) {
    let arrivals: Vec<_> = numbers.map(|number| (arrival(number, 1), None)).collect();
    link.admit(&arrivals, 1_000_000).await.unwrap();
    assert_eq!(fail_all(link, category).await, arrivals.len());
}

/// Six calls at once, by category, by all and by id: each of 500 loans is queued again once.
#[tokio::test]
async fn calls_at_once_take_each_loan_once() {
    let (server, queue) = functions().await;
    let mut link = queue.link(0);
    failed_loans(&mut link, 0..250, Category::OutOfRange).await;
    failed_loans(&mut link, 250..500, Category::WrongType).await;
    let ids: Vec<_> = (0..500).map(|number| arrival(number, 1).loan_id).collect();
    let selections = [
        Selection::Categories(Category::ALL.to_vec()),
        Selection::Categories(vec![Category::WrongType]),
        Selection::Ids(ids.clone()),
        Selection::Ids(ids.into_iter().rev().collect()),
        Selection::Categories(vec![Category::OutOfRange, Category::WrongType]),
        Selection::Categories(Category::ALL.to_vec()),
    ];
    let calls: Vec<_> = selections
        .map(|selection| {
            let queue = queue.clone();
            tokio::spawn(async move { retry(&queue, selection, 10_000).await.unwrap() })
        })
        .into_iter()
        .collect();
    let mut sum = 0;
    for call in calls {
        sum += call.await.unwrap().requeued;
    }
    assert_eq!(sum, 500);
    assert_eq!(lengths(&server).await[0], 500);
    let claimed = link.claim("w", NEW, 1_000).await.unwrap();
    let names: BTreeSet<_> = claimed.iter().map(|loan| loan.loan_id.clone()).collect();
    assert_eq!((claimed.len(), names.len()), (500, 500));
    for loan in claimed {
        assert_eq!(loan.attempt, 2);
        assert_eq!(loan.fingerprint, arrival(0, 1).fingerprint);
        let number: u64 = loan.loan_id[3..].parse().unwrap();
        assert_eq!(loan.received_us, arrival(number, 1).received_us);
        assert_eq!(loan.body, arrival(number, 1).body);
    }
    assert_eq!(redis_counters(&server).await["retried"], 500);
}

/// What a call leaves because of its limit is told and can be asked for again.
#[tokio::test]
async fn a_limit_leaves_a_rest() {
    let (server, queue) = functions().await;
    let mut link = queue.link(0);
    failed_loans(&mut link, 0..300, Category::OutOfRange).await;
    failed_loans(&mut link, 300..350, Category::WrongType).await;
    let all = || Selection::Categories(Category::ALL.to_vec());
    let told = |requeued, skipped, remaining| Retried {
        requeued,
        skipped,
        remaining,
    };
    assert_eq!(retry(&queue, all(), 120).await.unwrap(), told(120, 0, 230));
    assert_eq!(lengths(&server).await[0], 120);
    assert_eq!(retry(&queue, all(), 200).await.unwrap(), told(200, 0, 30));
    assert_eq!(retry(&queue, all(), 200).await.unwrap(), told(30, 0, 0));
    assert_eq!(retry(&queue, all(), 200).await.unwrap(), told(0, 0, 0));
    assert_eq!(fail_all(&mut link, Category::Poison).await, 350);
    let ids = (0..10).map(|number| arrival(number, 1).loan_id).collect();
    let answer = retry(&queue, Selection::Ids(ids), 4).await.unwrap();
    assert_eq!(answer, told(4, 0, 6));
}

/// A loan that fails again while a retry is under way comes behind the retry's end.
#[tokio::test]
async fn a_retry_does_not_run_after_its_own_loans() {
    let (_server, queue) = functions().await;
    let mut link = queue.link(0);
    failed_loans(&mut link, 0..3, Category::OutOfRange).await;
    let waiting = link.waiting(Category::OutOfRange).await.unwrap().unwrap();
    assert_eq!(waiting.len, 3);
    let mut after = None;
    for expected in [1, 1, 1, 0] {
        let step = link
            .requeue(Category::OutOfRange, after.as_deref(), &waiting.newest, 1)
            .await
            .unwrap();
        assert_eq!((step.moved, step.skipped), (expected, 0));
        after = step.last;
        assert_eq!(
            fail_all(&mut link, Category::OutOfRange).await as u64,
            expected
        );
    }
    assert_eq!(after, None);
}

/// The content that a correction replaced is still known while the loan is in Redis.
#[tokio::test]
async fn replaced_content_is_known_in_redis() {
    use service::queue::admission::Admission;
    let (_server, queue) = functions().await;
    let mut link = queue.link(0);
    failed_loans(&mut link, 0..1, Category::OutOfRange).await;
    for content in 2..=4 {
        let corrected = arrival(0, content);
        let selection =
            Selection::Corrected(corrected.loan_id, corrected.fingerprint, corrected.body);
        assert_eq!(retry(&queue, selection, 1).await.unwrap().requeued, 1);
        let batch: Vec<_> = (1..=5).map(|content| (arrival(0, content), None)).collect();
        let outcomes = link.admit(&batch, 1_000).await.unwrap();
        for (number, outcome) in (1..).zip(outcomes) {
            let is_known = number <= content;
            let expected = if is_known {
                Admission::Replayed
            } else {
                Admission::Conflict
            };
            assert_eq!(
                outcome, expected,
                "content {number} after correction {content}"
            );
        }
        let claimed = link.claim("w", Ask::Mine, 10).await.unwrap();
        assert!(claimed.is_empty());
        assert_eq!(fail_all(&mut link, Category::OutOfRange).await, 1);
    }
}

/// A retry goes through all partitions; its limit is one for all of them.
#[tokio::test]
async fn partitions_are_retried_in_turn() {
    let (server, _) = functions().await;
    let queue = Queue::new(&server.url(), 3).unwrap();
    let mut links: Vec<_> = (0..3).map(|partition| queue.link(partition)).collect();
    for number in 0..60 {
        let arrival = arrival(number, 1);
        let link = &mut links[queue.partition_of(&arrival.loan_id)];
        link.admit(&[(arrival, None)], 1_000).await.unwrap();
    }
    let mut failed = Vec::new();
    for link in &mut links {
        failed.push(fail_all(link, Category::OutOfRange).await);
    }
    assert_eq!(failed.iter().sum::<usize>(), 60);
    assert!(failed.iter().all(|count| *count > 5), "{failed:?}");
    let all = Selection::Categories(Category::ALL.to_vec());
    let told = retry(&queue, all, 50).await.unwrap();
    assert_eq!((told.requeued, told.skipped, told.remaining), (50, 0, 10));
    let ids = (0..60).map(|number| arrival(number, 1).loan_id).collect();
    let told = retry(&queue, Selection::Ids(ids), 100).await.unwrap();
    assert_eq!((told.requeued, told.skipped, told.remaining), (10, 50, 0));
    let mut claimed = 0;
    for link in &mut links {
        claimed += link.claim("w", NEW, 100).await.unwrap().len();
    }
    assert_eq!(claimed, 60);
}
