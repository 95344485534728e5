//! Failed loans go back into the queue: each once, as a new attempt of the same loan.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use service::loan::Category;
use service::queue::Queue;
use service::queue::bundle::{Instance, QueuedLoan};
use service::store::Store;
use service::store::failures::{Bodies, Which};
use support::{
    admin, assert_problem, body, documents, drained, held_ids, key, lengths, loan, loan_id, post,
    quick, redis, redis_counters, service_options, start, start_with, wait_until,
};
use testbed::{ServiceOptions, ServiceProcess, Stack, http};

const RETRY: &str = "/api/loans/retry";

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

/// 1. Failed loans are queued again, one of them corrected, and no worker is there: only Redis knows of the new attempts.
/// 2. Redis loses everything. The failures wait again, so an operator can do it once more; one that is discarded does not.
#[tokio::test]
async fn a_retry_that_redis_has_lost_can_be_made_again() {
    let mut stack = start().await;
    for number in [9, 19, 29, 39] {
        assert_eq!(
            post(stack.service.address(), &loan(number)).await.status,
            202
        );
    }
    failures(&stack, 4).await;
    let retry = async |address, asked: &Value| {
        let answer = admin(address, "PATCH", RETRY, asked).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        body(&answer)
    };
    let start_as = async |stack: &Stack, role: &str| {
        let mut arguments = quick();
        arguments.extend(["--role".to_owned(), role.to_owned()]);
        ServiceProcess::start(ServiceOptions {
            redis_url: stack.redis.url(),
            mongodb_uri: stack.mongodb.uri(),
            ..service_options(arguments)
        })
        .await
        .unwrap()
    };
    // One is accepted at its second attempt, which is no loss.
    let mut good = loan(39);
    good["creditScore"] = json!(700);
    let corrected = json!({ "loanIds": [loan_id(39)], "correction": good });
    assert_eq!(
        retry(stack.service.address(), &corrected).await,
        retried(1, 0, 0)
    );
    drained(&stack.redis).await;
    stack.service.terminate().await.unwrap();
    stack.service = start_as(&stack, "api").await;
    let address = stack.service.address();
    let ids = json!({ "loanIds": [loan_id(9), loan_id(19)] });
    assert_eq!(retry(address, &ids).await, retried(2, 0, 0));
    let mut good = loan(29);
    good["creditScore"] = json!(700);
    let corrected = json!({ "loanIds": [loan_id(29)], "correction": good });
    assert_eq!(retry(address, &corrected).await, retried(1, 0, 0));
    let waiting = async || {
        let failures = documents(&stack.mongodb, "failures").await;
        let waiting = failures
            .iter()
            .filter(|failure| failure.contains_key("waiting"));
        waiting.count()
    };
    assert_eq!(waiting().await, 0);

    let _: String = redis(&stack.redis, &["FLUSHALL"]).await;
    wait_until("they wait again", async || waiting().await == 3).await;
    let all = start_as(&stack, "worker,persister").await;
    assert_eq!(retry(address, &ids).await, retried(2, 0, 0));
    assert_eq!(retry(address, &corrected).await, retried(1, 0, 0));
    drained(&stack.redis).await;
    let loans = documents(&stack.mongodb, "loans").await;
    let mut accepted = support::strings(&loans, "_id");
    accepted.sort();
    assert_eq!(accepted, [loan_id(29), loan_id(39)]);
    drop(all);
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

/// A shell or an import writes its numbers in another width. The loan goes on all the same.
#[tokio::test]
async fn an_attempt_that_a_hand_has_written_is_retried() {
    let stack = start().await;
    let address = stack.service.address();
    assert_replayed(&post(address, &loan(9)).await, false);
    failures(&stack, 1).await;
    let database = mongodb::Client::with_uri_str(&stack.mongodb.uri())
        .await
        .unwrap();
    let all = database
        .database("sluice")
        .collection::<bson::Document>("failures");
    let narrow = bson::doc! { "$set": { "attempt": 1_i32 } };
    all.update_many(bson::doc! {}, narrow).await.unwrap();
    let answer = admin(address, "PATCH", RETRY, &json!({})).await;
    assert_eq!(body(&answer), retried(1, 0, 0));
    failures(&stack, 2).await;
    let answer = admin(address, "PATCH", RETRY, &json!({})).await;
    assert_eq!(body(&answer), retried(1, 0, 0));
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
    let headers = [
        ("Authorization", &*bearer),
        ("Content-Type", "application/json"),
    ];
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
    // What the look-ups left behind is nothing.
    assert_eq!(held_ids(&stack.redis).await, Vec::<String>::new());
    let look_ups: u64 = redis(
        &stack.redis,
        &["ZCARD", &key(&stack.redis, "lookups").await],
    )
    .await;
    assert_eq!(look_ups, 0);
    assert_eq!(documents(&stack.mongodb, "loans").await.len(), 1);
    let answer = admin(address, "PATCH", RETRY, &with(corrected)).await;
    assert_eq!(body(&answer), retried(0, 1, 0), "it is accepted already");
}

/// A front that queues and retries, and beside it who works and records: he can be sent away, so that what is queued
/// stays so.
struct Office {
    stack: Stack,
    back: ServiceProcess,
    queue: Queue,
}

fn of_roles(roles: &str, partitions: u32) -> ServiceOptions {
    let mut arguments = quick();
    arguments.push(format!("--role={roles}"));
    arguments.push(format!("--partitions={partitions}"));
    service_options(arguments)
}

async fn office(partitions: u32) -> Office {
    let stack = start_with(of_roles("api,dashboard", partitions)).await;
    let back = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..of_roles("worker,persister", partitions)
    })
    .await
    .unwrap();
    let queue = Queue::new(&stack.redis.url(), partitions).unwrap();
    Office { stack, back, queue }
}

/// The loan of this number, with a score or an amount that breaks the rule of `category`.
fn bad_loan(number: u64, content: u64, category: Category) -> Value {
    let mut loan = loan(number);
    match category {
        Category::OutOfRange => loan["creditScore"] = json!(100 + content),
        Category::WrongType => loan["amount"] = json!(content.to_string()),
        other => panic!("{other:?}"),
    }
    loan
}

impl Office {
    fn address(&self) -> SocketAddr {
        self.stack.service.address()
    }

    async fn retry(&self, asked: Value) -> Value {
        let answer = admin(self.address(), "PATCH", RETRY, &asked).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        body(&answer)
    }

    /// Loans that wait in each partition.
    async fn queued(&self) -> Vec<u64> {
        let mut queued = Vec::new();
        for number in 0..self.queue.partitions() {
            queued.push(self.queue.reader(number).queued().await.unwrap());
        }
        queued
    }

    /// Posts loans that fail, and waits until their failures are recorded.
    async fn fail(&self, numbers: Range<u64>, category: Category) {
        let before = documents(&self.stack.mongodb, "failures").await.len();
        let len = (numbers.end - numbers.start) as usize;
        let address = self.address();
        let clients: Vec<_> = (0..16)
            .map(|client| {
                let numbers = numbers.clone().skip(client).step_by(16);
                tokio::spawn(async move {
                    for number in numbers {
                        let answer = post(address, &bad_loan(number, 1, category)).await;
                        assert_replayed(&answer, false);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        failures(&self.stack, before + len).await;
    }

    /// Nobody works any more: what is queued from now on waits.
    async fn send_back_away(&mut self) {
        let status = self.back.terminate().await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.back.log());
    }

    /// Claims all that waits, as a worker would.
    async fn claim_all(&self) -> Vec<QueuedLoan> {
        let mut loans = Vec::new();
        for number in 0..self.queue.partitions() {
            let holder = Instance::new("test").holder(0);
            let lease = Duration::from_secs(3_600);
            let mut partition = self.queue.partition(number);
            for claimed in partition.claim(holder, lease, 100_000).await.unwrap() {
                loans.extend(claimed.bundle.unwrap().loans);
            }
        }
        loans
    }
}

/// Six calls at once, by category, by all and by id: each of 500 loans is queued again once, as it was sent.
#[tokio::test]
async fn calls_at_once_take_each_loan_once() {
    let mut office = office(1).await;
    office.fail(0..250, Category::OutOfRange).await;
    office.fail(250..500, Category::WrongType).await;
    office.send_back_away().await;
    let ids: Vec<_> = (0..500).map(loan_id).collect();
    let reversed: Vec<_> = ids.iter().rev().collect();
    let selections = [
        json!({}),
        json!({ "errorType": "wrong_type" }),
        json!({ "loanIds": ids }),
        json!({ "loanIds": reversed }),
        json!({ "errorType": "out_of_range" }),
        json!({}),
    ];
    let address = office.address();
    let calls: Vec<_> = selections
        .into_iter()
        .map(|asked| {
            tokio::spawn(async move { body(&admin(address, "PATCH", RETRY, &asked).await) })
        })
        .collect();
    let mut sum = 0;
    for call in calls {
        let answer = call.await.unwrap();
        sum += answer["requeued"]
            .as_u64()
            .unwrap_or_else(|| panic!("{answer}"));
    }
    assert_eq!(sum, 500);
    assert_eq!(lengths(&office.stack.redis).await, [500, 0, 0]);
    let counters = redis_counters(&office.stack.redis).await;
    assert_eq!((counters["retried"], counters["failed_waiting"]), (500, 0));

    let failures = documents(&office.stack.mongodb, "failures").await;
    let first: BTreeMap<_, _> = failures
        .iter()
        .map(|failure| (failure.get_str("loanId").unwrap(), failure))
        .collect();
    let claimed = office.claim_all().await;
    let names: BTreeSet<_> = claimed.iter().map(|loan| loan.loan_id.clone()).collect();
    assert_eq!((claimed.len(), names.len()), (500, 500));
    for loan in claimed {
        assert_eq!(loan.attempt, 2);
        let first = first[&*loan.loan_id];
        let digits = first.get_str("fingerprint").unwrap();
        assert_eq!(loan.fingerprint.to_string(), digits);
        let received = first.get_datetime("receivedAt").unwrap();
        let received_us = received.timestamp_millis() as u64 * 1_000;
        assert_eq!(loan.received_us, received_us);
        let number: u64 = loan.loan_id[3..].parse().unwrap();
        let category = if number < 250 {
            Category::OutOfRange
        } else {
            Category::WrongType
        };
        let sent = bad_loan(number, 1, category).to_string();
        assert_eq!(loan.body, sent.as_bytes());
    }
}

/// What a call leaves because of its limit is told and can be asked for again.
#[tokio::test]
async fn a_limit_leaves_a_rest() {
    let mut office = office(1).await;
    office.fail(0..300, Category::OutOfRange).await;
    office.fail(300..350, Category::WrongType).await;
    office.send_back_away().await;
    for (limit, told) in [
        (120, retried(120, 0, 230)),
        (200, retried(200, 0, 30)),
        (200, retried(30, 0, 0)),
        (200, retried(0, 0, 0)),
    ] {
        assert_eq!(office.retry(json!({ "limit": limit })).await, told);
    }
    assert_eq!(office.queued().await, [350]);
    office.back.restart().await.unwrap();
    failures(&office.stack, 700).await;
    let ids: Vec<_> = (0..10).map(loan_id).collect();
    let asked = json!({ "loanIds": ids, "limit": 4 });
    assert_eq!(office.retry(asked).await, retried(4, 0, 6));
}

/// A loan that fails again while a retry is under way is not one of those that it goes through.
#[tokio::test]
async fn a_retry_does_not_run_after_its_own_loans() {
    let office = office(1).await;
    office.fail(0..3, Category::OutOfRange).await;
    let store = Store::new(&office.stack.mongodb.uri(), "sluice")
        .await
        .unwrap();
    let categories = [Category::OutOfRange];
    let which = Which::Of(&categories, bson::DateTime::now());
    assert_eq!(store.count_waiting(&which).await.unwrap(), 3);
    let mut after = None;
    let mut taken = BTreeSet::new();
    for round in 0..3 {
        let step = store.waiting(&which, after.as_ref(), 1, Bodies::Read);
        let step = step.await.unwrap();
        let loan_id = step.failures[0].loan_id.clone();
        let asked = json!({ "loanIds": [loan_id] });
        assert_eq!(office.retry(asked).await, retried(1, 0, 0));
        failures(&office.stack, 3 + 1 + round).await;
        taken.insert(loan_id);
        after = step.last;
    }
    assert_eq!(taken.len(), 3);
    let step = store.waiting(&which, after.as_ref(), 1, Bodies::Left);
    assert_eq!(step.await.unwrap().failures.len(), 0);
    assert_eq!(store.count_waiting(&which).await.unwrap(), 0);
    let now = Which::Of(&categories, bson::DateTime::now());
    assert_eq!(store.count_waiting(&now).await.unwrap(), 3);
}

/// The contents that corrections replaced are known while the loan is in Redis again, and any other is a conflict.
#[tokio::test]
async fn replaced_content_is_known_while_the_loan_is_queued() {
    let mut office = office(1).await;
    office.fail(0..1, Category::OutOfRange).await;
    let content = |content: u64| bad_loan(0, content, Category::OutOfRange);
    for corrected in 2..=4 {
        office.send_back_away().await;
        let asked = json!({ "loanIds": [loan_id(0)], "correction": content(corrected) });
        assert_eq!(office.retry(asked.clone()).await, retried(1, 0, 0));
        assert_eq!(office.retry(asked).await, retried(0, 1, 0));
        for sent in 1..=5 {
            let answer = post(office.address(), &content(sent)).await;
            if sent <= corrected {
                assert_replayed(&answer, true);
            } else {
                assert_problem(&answer, 422, "loan_id_conflict");
            }
        }
        assert_eq!(lengths(&office.stack.redis).await, [1, 0, 0]);
        office.back.restart().await.unwrap();
        failures(&office.stack, corrected as usize).await;
    }
}

/// A retry goes through all partitions; its limit is one for all of them.
#[tokio::test]
async fn partitions_are_retried_in_turn() {
    let mut office = office(3).await;
    let address = office.address();
    for number in 0..60 {
        let answer = post(address, &bad_loan(number, 1, Category::OutOfRange)).await;
        assert_replayed(&answer, false);
    }
    wait_until("the failures are recorded", async || {
        documents(&office.stack.mongodb, "failures").await.len() == 60
    })
    .await;
    office.send_back_away().await;
    assert_eq!(
        office.retry(json!({ "limit": 50 })).await,
        retried(50, 0, 10)
    );
    assert_eq!(office.queued().await.iter().sum::<u64>(), 50);
    let ids: Vec<_> = (0..60).map(loan_id).collect();
    let asked = json!({ "loanIds": ids });
    assert_eq!(office.retry(asked).await, retried(10, 50, 0));
    let queued = office.queued().await;
    assert!(queued.iter().all(|count| *count > 5), "{queued:?}");
    assert_eq!(office.claim_all().await.len(), 60);
}
