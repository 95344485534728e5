//! Somebody has changed the record in MongoDB by hand. What cannot be read any more is told as that, and hides nothing else.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use bson::{Bson, DateTime, Document, doc};
use serde_json::{Value, json};
use support::{
    admin, assert_problem, body, drained, loan, loan_id, logged, post, start, wait_until,
};
use testbed::{Stack, http};

async fn database(stack: &Stack) -> mongodb::Database {
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri()).await;
    client.unwrap().database("sluice")
}

async fn get(stack: &Stack, path: &str) -> http::Answer {
    admin(stack.service.address(), "GET", path, &Value::Null).await
}

/// 1. A loan's record that cannot be read is told as that, with the field, and a line in the log with the request's id;
///    what stands in it is told nobody.
/// 2. The same loan again is still known.
/// 3. An export has all the others, and says that one is lacking.
#[tokio::test]
async fn a_record_that_cannot_be_read_is_told_as_that() {
    let stack = start().await;
    let address = stack.service.address();
    for number in 0..3 {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    drained(&stack.redis).await;
    let loans = database(&stack).await.collection::<Document>("loans");
    let set = doc! { "$set": { "termMonths": "ada1@example.org" } };
    let changed = loans.update_one(doc! { "_id": loan_id(1) }, set).await;
    assert_eq!(changed.unwrap().modified_count, 1);

    let path = format!("/api/loans/{}", loan_id(1));
    let headers = [("X-Request-Id", "by-hand-1")];
    let answer = http::request(address, "GET", &path, &headers, b"")
        .await
        .unwrap();
    assert_problem(&answer, 500, "unreadable_record");
    assert!(!answer.body.contains("ada1"), "{answer:?}");
    wait_until("the log tells it", async || {
        let log = stack.service.log();
        let mut lines = log.lines().filter(|line| line.contains("by-hand-1"));
        lines.any(|line| line.contains("cannot read") && line.contains("u32"))
    })
    .await;
    assert!(
        !stack.service.log().contains("ada1@"),
        "{}",
        stack.service.log()
    );
    assert_eq!(
        get(&stack, &format!("/api/loans/{}", loan_id(2)))
            .await
            .status,
        200
    );
    let again = post(address, &loan(1)).await;
    assert_eq!(
        (again.status, &body(&again)["replayed"]),
        (202, &json!(true))
    );

    let file = get(&stack, "/api/exports/loans?format=ndjson").await;
    assert_eq!(file.body.lines().count(), 2, "{file:?}");
    wait_until("the record of activity tells it", async || {
        let told = get(&stack, "/api/activity").await.body;
        told.contains("2 rows; 1 record")
    })
    .await;
}

/// 1. Failures of any form stand beside the others, page by page, each once.
/// 2. Those that can be read are retried and discarded; those that cannot go on waiting, and are counted as skipped.
#[tokio::test]
async fn failures_of_any_form_hide_no_others() {
    let stack = start().await;
    let address = stack.service.address();
    for number in [9, 19, 29] {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    drained(&stack.redis).await;
    let failures = database(&stack).await.collection::<Document>("failures");
    let at = DateTime::now();
    let odd = |id: Bson| doc! { "_id": id, "loanId": "BY-HAND", "waiting": true, "failedAt": at, "errorType": "out_of_range" };
    let documents = [
        odd("by hand, with spaces".into()),
        odd("no number".into()),
        odd(bson::oid::ObjectId::new().into()),
        doc! { "_id": "almost#1", "loanId": "ALMOST", "attempt": "one", "errorType": "nonsense", "faults": 7, "waiting": true, "failedAt": at },
        doc! { "_id": "nothing" },
    ];
    failures.insert_many(&documents).await.unwrap();

    let mut seen = Vec::new();
    let mut path = "/api/errors?limit=1".to_owned();
    loop {
        let answer = get(&stack, &path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = body(&answer);
        seen.extend(page["errors"].as_array().unwrap().clone());
        assert!(seen.len() <= 8, "{seen:?}");
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/errors?limit=1&cursor={cursor}");
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
    for number in [9, 19, 29] {
        let found = seen
            .iter()
            .filter(|error| error["loanId"] == loan_id(number));
        assert_eq!(found.count(), 1, "{seen:?}");
    }
    let almost = seen
        .iter()
        .find(|error| error["loanId"] == "ALMOST")
        .unwrap();
    assert_eq!(almost["errorType"], "unreadable");
    let file = get(&stack, "/api/exports/errors?format=ndjson").await;
    assert_eq!(file.body.lines().count(), 8, "{file:?}");
    assert_eq!(get(&stack, "/api/errors/count").await.status, 200);
    assert_eq!(get(&stack, "/api/loans/ALMOST").await.status, 200);

    let retried = admin(address, "PATCH", "/api/loans/retry", &json!({})).await;
    assert_eq!(retried.status, 200, "{retried:?}");
    assert_eq!(body(&retried)["requeued"], 3, "{retried:?}");
    drained(&stack.redis).await;
    let asked = json!({ "kind": "discard", "filter": {}, "reason": "a test", "expected": 7 });
    let task = admin(address, "POST", "/api/tasks", &asked).await;
    assert_eq!(task.status, 202, "{task:?}");
    let path = format!("/api/tasks/{}", body(&task)["taskId"].as_str().unwrap());
    wait_until("the task ends", async || {
        body(&get(&stack, &path).await)["endedAt"].is_string()
    })
    .await;
    let over = body(&get(&stack, &path).await);
    assert_eq!(
        [&over["phase"], &over["done"], &over["skipped"]],
        [&json!("done"), &json!(3), &json!(4)],
        "{over}"
    );
}

/// A task and an operator's change that cannot be read hide no others.
#[tokio::test]
async fn lists_pass_over_what_they_cannot_read() {
    let stack = start().await;
    let address = stack.service.address();
    assert_eq!(post(address, &loan(9)).await.status, 202);
    drained(&stack.redis).await;
    let asked = json!({ "kind": "discard", "filter": {}, "reason": "a test", "expected": 1 });
    let task = admin(address, "POST", "/api/tasks", &asked).await;
    assert_eq!(task.status, 202, "{task:?}");
    let id = body(&task)["taskId"].as_str().unwrap().to_owned();
    wait_until("the task is noted", async || {
        get(&stack, "/api/activity")
            .await
            .body
            .contains("1 discarded")
    })
    .await;
    let database = database(&stack).await;
    let later = DateTime::from_millis(DateTime::now().timestamp_millis() + 60_000);
    let of_another =
        doc! { "_id": "by hand", "kind": "audit", "phase": "dancing", "startedAt": later };
    let tasks = database.collection::<Document>("tasks");
    tasks.insert_one(of_another).await.unwrap();
    let activity = database.collection::<Document>("activity");
    let change = doc! { "at": later, "name": 7, "effect": "ada@example.org" };
    activity.insert_one(change).await.unwrap();

    let told = get(&stack, "/api/tasks").await;
    assert_eq!(told.status, 200, "{told:?}");
    let told = body(&told)["tasks"].as_array().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["taskId"], json!(id));
    // Page by page, all the others.
    let mut seen = 0;
    let mut path = "/api/activity?limit=1".to_owned();
    loop {
        let answer = get(&stack, &path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = body(&answer);
        seen += page["entries"].as_array().unwrap().len();
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/api/activity?limit=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, 2, "begun and done");
    logged(&stack.service, &["a record is passed over"]).await;
    let log = stack.service.log();
    assert!(!log.contains("ada@example.org"), "{log}");
}

/// Another hand's index stands where one of the record's should: loans are recorded, and it is told.
#[tokio::test]
async fn an_index_that_is_refused_holds_nothing_up() {
    let mut stack = start().await;
    stack.service.terminate().await.unwrap();
    let database = database(&stack).await;
    database
        .collection::<Document>("failures")
        .drop()
        .await
        .unwrap();
    let index =
        doc! { "key": { "failedAt": -1, "_id": -1 }, "name": "failedAt_-1__id_-1", "unique": true };
    let command = doc! { "createIndexes": "failures", "indexes": [index] };
    database.run_command(command).await.unwrap();
    stack.service = testbed::ServiceProcess::start(testbed::ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..support::service_options(support::quick())
    })
    .await
    .unwrap();
    let address = stack.service.address();
    for number in [0, 9] {
        wait_until("it is taken", async || {
            post(address, &loan(number)).await.status == 202
        })
        .await;
    }
    drained(&stack.redis).await;
    wait_until("it is told", async || {
        let degraded = support::metrics(address).await.degraded;
        degraded.iter().any(|degraded| degraded.what == "indexes")
    })
    .await;
    logged(&stack.service, &["refuses an index"]).await;
    let log = stack.service.log();
    assert!(!log.contains("server response"), "{log}");
}

/// MongoDB refuses one change of an operator for good: those behind it are written.
#[tokio::test]
async fn a_change_that_is_refused_holds_up_no_other() {
    let stack = start().await;
    let address = stack.service.address();
    let command = doc! { "create": "activity", "validator": { "action": { "$ne": "pause" } } };
    database(&stack).await.run_command(command).await.unwrap();
    for action in ["pause", "resume"] {
        let path = format!("/api/control/{action}");
        let answer = support::admin(address, "POST", &path, &serde_json::Value::Null).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    wait_until("the second one is written", async || {
        let written = support::documents(&stack.mongodb, "activity").await;
        support::strings(&written, "action") == ["resume"]
    })
    .await;
    logged(&stack.service, &["in the log alone", "pause"]).await;
}

/// MongoDB lets the service read nothing. Redis is new, so every loan may be known: none is taken, and that is told, until
/// the right is given.
#[tokio::test]
async fn questions_that_are_refused_are_told() {
    let options = testbed::StackOptions {
        mongodb: testbed::MongoOptions {
            arguments: ["--setParameter", "enableTestCommands=1"]
                .map(String::from)
                .to_vec(),
            ..testbed::MongoOptions::default()
        },
        service: support::service_options(support::quick()),
        ..testbed::StackOptions::default()
    };
    let stack = testbed::Stack::start(options).await.unwrap();
    let address = stack.service.address();
    assert_eq!(post(address, &loan(0)).await.status, 202);
    drained(&stack.redis).await;
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri())
        .await
        .unwrap();
    let forbid = async |mode: &str| {
        let command = doc! {
            "configureFailPoint": "failCommand",
            "mode": mode,
            "data": { "failCommands": ["find"], "errorCode": 13, "appName": "sluice" },
        };
        client.database("admin").run_command(command).await.unwrap();
    };
    forbid("alwaysOn").await;
    let _: String = support::redis(&stack.redis, &["FLUSHALL"]).await;
    let told = async || {
        let degraded = support::metrics(address).await.degraded;
        let told = |name| degraded.iter().any(|degraded| degraded.what == name);
        [told("questions"), told("filter")]
    };
    wait_until("it is told", async || told().await == [true, true]).await;
    assert_eq!(http::get(address, "/readyz").await.unwrap().status, 503);
    logged(&stack.service, &["MongoDB refuses questions", "13"]).await;
    let answer = post(address, &loan(1)).await;
    support::assert_problem(&answer, 503, "store_unavailable");
    forbid("off").await;
    wait_until("that is over", async || told().await == [false, false]).await;
    wait_until("loans are taken", async || {
        post(address, &loan(1)).await.status == 202
    })
    .await;
    assert_eq!(http::get(address, "/readyz").await.unwrap().status, 200);
}

/// MongoDB is put back to an older state while the service runs: what it has lost is told.
#[tokio::test]
async fn a_record_that_goes_back_in_time_is_told() {
    let stack = start().await;
    let address = stack.service.address();
    let database = database(&stack).await;
    let note = database.collection::<Document>("queue");
    let noted = async || {
        let note = note.find_one(doc! { "_id": "partition-0" }).await.unwrap();
        note.map_or(0, |note| note.get_i64("recorded").unwrap())
    };
    for number in 0..3 {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    drained(&stack.redis).await;
    wait_until("it is noted", async || noted().await == 3).await;
    let degraded = support::metrics(address).await.degraded;
    assert!(!degraded.iter().any(|degraded| degraded.what == "record"));
    let set = doc! { "$set": { "recorded": 1_i64 } };
    note.update_one(doc! { "_id": "partition-0" }, set)
        .await
        .unwrap();
    let loans = database.collection::<Document>("loans");
    let ids = doc! { "_id": { "$in": [support::loan_id(1), support::loan_id(2)] } };
    loans.delete_many(ids).await.unwrap();
    wait_until("it is told", async || {
        let degraded = support::metrics(address).await.degraded;
        degraded.iter().any(|degraded| degraded.what == "record")
    })
    .await;
    logged(&stack.service, &["MongoDB went back in time", "records=2"]).await;
    assert_eq!(http::get(address, "/readyz").await.unwrap().status, 200);
}

/// Recording cannot go on, though MongoDB answers: that is told as amiss, with what to look at, until it goes on.
#[tokio::test]
async fn recording_that_stands_still_is_told() {
    let stack = start().await;
    let address = stack.service.address();
    let database = database(&stack).await;
    // Somebody puts a view where the records go. A recorder that begins may make the collection once more meanwhile.
    let loans = database.collection::<Document>("loans");
    let view = doc! { "create": "loans", "viewOn": "others", "pipeline": [] };
    wait_until("the view stands", async || {
        loans.drop().await.unwrap();
        database.run_command(view.clone()).await.is_ok()
    })
    .await;
    assert_eq!(post(address, &loan(0)).await.status, 202);
    wait_until("it is told", async || {
        let degraded = support::metrics(address).await.degraded;
        degraded.iter().any(|degraded| degraded.what == "recording")
    })
    .await;
    assert_eq!(http::get(address, "/readyz").await.unwrap().status, 200);
    logged(&stack.service, &["recording waits"]).await;
    loans.drop().await.unwrap();
    wait_until("all is well", async || {
        support::metrics(address).await.degraded.is_empty()
    })
    .await;
    support::audit(&stack, 1).await;
}
