//! Work on many failed loans: retry and discard by a filter, in steps, through restarts, and stopped.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use support::{
    ADMIN_TOKEN, admin, assert_problem, body, documents, drained, held_ids, key, loan, loan_id,
    metrics, post, quick, redis, redis_counters, service_options, start, wait_until,
};
use testbed::{ServiceOptions, ServiceProcess, Stack, TestbedError, http};

const TASKS: &str = "/api/tasks";
/// More than eight steps: each time that a step is done again, it takes the next ones.
const LOANS: u64 = 4_100;

/// Loans that fail, by number: every one.
fn bad(number: u64) -> Value {
    let mut loan = loan(number);
    loan["creditScore"] = json!(100);
    loan
}

async fn fail(stack: &Stack, numbers: impl Iterator<Item = u64>) -> u64 {
    let mut count = 0;
    for number in numbers {
        assert_eq!(
            post(stack.service.address(), &bad(number)).await.status,
            202
        );
        count += 1;
    }
    drained(&stack.redis).await;
    count
}

async fn ask(stack: &Stack, body: &Value) -> http::Answer {
    admin(stack.service.address(), "POST", TASKS, body).await
}

/// Asks for a task and waits for its end.
async fn task(stack: &Stack, asked: Value) -> Value {
    let answer = ask(stack, &asked).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = body(&answer)["taskId"].as_str().unwrap().to_owned();
    ended(stack, &id).await
}

async fn state(stack: &Stack, id: &str) -> Value {
    let answer = http::get(stack.service.address(), &format!("{TASKS}/{id}")).await;
    body(&answer.unwrap())
}

async fn ended(stack: &Stack, id: &str) -> Value {
    wait_until("the task ends", async || {
        state(stack, id).await["endedAt"].is_string()
    })
    .await;
    state(stack, id).await
}

#[track_caller]
fn assert_task(task: &Value, phase: &str, done: u64, skipped: u64, remaining: u64) {
    let told = [&task["done"], &task["skipped"], &task["remaining"]];
    assert_eq!(told, [done, skipped, remaining], "{task}");
    assert_eq!(task["phase"], phase, "{task}");
}

async fn counted(stack: &Stack, discarded: u64, waiting: u64) {
    wait_until("the snapshot tells it", async || {
        let snapshot = metrics(stack.service.address()).await;
        (snapshot.counters.discarded, snapshot.gauges.failed_waiting) == (discarded, waiting)
    })
    .await;
}

/// 1. One loan, several, and all that a filter finds are discarded, with a reason.
/// 2. Each stays in the record and says who, when and why; its id stays taken; nothing of it is in Redis.
/// 3. The counters tell it, and so does the record of activity.
/// 4. A retry of a discarded loan takes none.
#[tokio::test]
async fn failed_loans_are_finished_with_a_reason() {
    let stack = start().await;
    let address = stack.service.address();
    fail(&stack, 0..40).await;
    counted(&stack, 0, 40).await;

    let asked =
        json!({ "kind": "discard", "loanIds": [loan_id(0)], "reason": " sent by mistake " });
    assert_task(&task(&stack, asked).await, "done", 1, 0, 0);
    let asked = json!({ "kind": "discard", "loanIds": [loan_id(0), loan_id(1), loan_id(2), "unknown"], "reason": "twice,\r\nonce more" });
    assert_task(&task(&stack, asked).await, "done", 2, 2, 0);
    let asked = json!({ "kind": "discard", "filter": { "loanId": "GC-00001" }, "reason": "a test", "expected": 10 });
    assert_task(&task(&stack, asked).await, "done", 10, 0, 0);
    counted(&stack, 13, 27).await;

    let path = format!("/api/loans/{}", loan_id(0));
    let found = body(&admin(address, "GET", &path, &json!(null)).await);
    assert_eq!(found["status"], "discarded", "{found}");
    assert_eq!(found["discarded"]["by"], "administrator", "{found}");
    assert_eq!(found["discarded"]["reason"], "sent by mistake", "{found}");
    let steps = found["steps"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["step"], "discarded", "{found}");
    assert_eq!(
        found["attempts"][0]["discarded"]["reason"],
        "sent by mistake"
    );
    assert_eq!(held_ids(&stack.redis).await, Vec::<String>::new());
    // The same loan is known, another one of its id is not taken.
    let again = post(address, &bad(0)).await;
    assert_eq!(
        (again.status, &body(&again)["replayed"]),
        (202, &json!(true))
    );
    assert_problem(&post(address, &loan(0)).await, 422, "loan_id_conflict");
    let retry = admin(
        address,
        "PATCH",
        "/api/loans/retry",
        &json!({ "loanIds": [loan_id(0)] }),
    )
    .await;
    assert_eq!(
        body(&retry),
        json!({ "requeued": 0, "skipped": 1, "remaining": 0 })
    );

    let asked = json!({ "kind": "discard", "filter": {}, "reason": "the rest", "expected": 30 });
    // Of the 30 that were confirmed 27 were left.
    assert_task(&task(&stack, asked).await, "done", 27, 3, 0);
    counted(&stack, 40, 0).await;
    let failures = documents(&stack.mongodb, "failures").await;
    assert_eq!(failures.len(), 40);
    assert!(
        failures
            .iter()
            .all(|failure| failure.contains_key("discarded"))
    );
    let counters = redis_counters(&stack.redis).await;
    assert!(
        !counters.keys().any(|name| name.starts_with("discarding")),
        "{counters:?}"
    );

    wait_until("the record of activity tells it", async || {
        let answer = admin(address, "GET", "/api/activity?limit=200", &Value::Null).await;
        let told = body(&answer);
        let effects: Vec<_> = told["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                let text = |key: &str| entry[key].as_str().unwrap_or_default();
                format!("{}: {}", text("effect"), text("reason"))
            })
            .collect();
        effects.contains(&"all failed loans: 27 discarded, 3 skipped: the rest".to_owned())
            && effects.contains(&format!(
                "loan {}: 1 discarded, 0 skipped: sent by mistake",
                loan_id(0)
            ))
    })
    .await;
    let listed = body(&http::get(address, TASKS).await.unwrap());
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 4, "{listed}");
}

/// A retry of what a filter finds takes those alone, each once, and those that fail meanwhile not again.
#[tokio::test]
async fn a_filter_is_retried() {
    let stack = start().await;
    fail(&stack, 0..250).await;
    let asked = json!({ "kind": "retry", "filter": { "loanId": "GC-0001", "field": "creditScore" }, "expected": 100 });
    assert_task(&task(&stack, asked).await, "done", 100, 0, 0);
    drained(&stack.redis).await;
    counted(&stack, 0, 250).await;
    let failures = documents(&stack.mongodb, "failures").await;
    assert_eq!(failures.len(), 350);
    wait_until("the snapshot tells it", async || {
        metrics(stack.service.address()).await.counters.retried == 100
    })
    .await;
}

/// Has so many loans wait that an earlier service saw fail.
async fn failed_before(stack: &Stack, loans: u64) {
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri())
        .await
        .unwrap();
    let failures = client.database("sluice").collection("failures");
    let all = (0..loans as i64).map(|number| {
        let id = loan_id(number as u64);
        doc! {
            "_id": format!("{id}#1"), "loanId": id, "attempt": 1_i64, "fingerprint": "00".repeat(16), "errorType": "out_of_range",
            "faults": [{ "field": "amount", "rule": "a rule", "errorType": "out_of_range", "value": "x" }],
            "receivedAt": DateTime::from_millis(0), "failedAt": DateTime::from_millis(number), "waiting": true,
        }
    });
    failures
        .insert_many(all.collect::<Vec<Document>>())
        .await
        .unwrap();
    let counters = key(&stack.redis, "counters").await;
    let _: u64 = redis(
        &stack.redis,
        &["HINCRBY", &counters, "failed_waiting", &loans.to_string()],
    )
    .await;
}

/// 1. Whoever does a task dies, at each instant between what MongoDB and Redis are told, in its first and in its second step;
///    another goes on from where it was.
/// 2. In the end each loan was discarded once, and the counters agree with the record.
#[tokio::test]
async fn a_task_survives_who_does_it() {
    let mut stack = start().await;
    failed_before(&stack, LOANS).await;
    stack.service.kill();
    let asked = json!({ "kind": "discard", "filter": {}, "reason": "a test", "expected": LOANS });
    let mut id = None;
    for points in [
        "discard-marked=return",
        "discard-noted=return",
        "discard-counted=return",
        "discard-marked=1*off->return",
        "discard-noted=1*off->return",
        "discard-counted=1*off->return",
    ] {
        let environment = [
            service_options(quick()).environment,
            vec![("FAILPOINTS".into(), points.into())],
        ];
        match stack.service.restart_with(environment.concat()).await {
            Ok(()) => {}
            // It has taken the task up, and died, before anybody saw that it was ready.
            Err(TestbedError::EarlyExit { .. }) if id.is_some() => continue,
            Err(error) => panic!("{error}"),
        }
        if id.is_none() {
            // It may die before it has answered.
            let bearer = format!("Bearer {ADMIN_TOKEN}");
            let headers = [
                ("Authorization", &*bearer),
                ("Content-Type", "application/json"),
            ];
            let text = asked.to_string();
            let _ = http::request(
                stack.service.address(),
                "POST",
                TASKS,
                &headers,
                text.as_bytes(),
            )
            .await;
            let tasks = documents(&stack.mongodb, "tasks").await;
            id = Some(tasks[0].get_str("_id").unwrap().to_owned());
        }
        wait_until("it dies", async || {
            stack.service.try_wait().unwrap().is_some()
        })
        .await;
    }
    let environment = service_options(quick()).environment;
    stack.service.restart_with(environment).await.unwrap();
    assert_task(&ended(&stack, &id.unwrap()).await, "done", LOANS, 0, 0);
    counted(&stack, LOANS, 0).await;
    let failures = documents(&stack.mongodb, "failures").await;
    assert!(
        failures
            .iter()
            .all(|failure| failure.contains_key("discarded"))
    );
}

/// 1. A task that waits for room is stopped; what it has done stays done.
/// 2. Meanwhile another of its kind is refused, and one that has ended cannot be stopped.
#[tokio::test]
async fn a_task_can_be_stopped() {
    let mut stack = start().await;
    fail(&stack, 0..50).await;
    stack.service.terminate().await.unwrap();
    // Nobody processes: what is queued again fills the backlog.
    let arguments = ["--role", "api,dashboard", "--backlog-max", "30"].map(String::from);
    let front = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options([quick(), arguments.to_vec()].concat())
    })
    .await
    .unwrap();
    let asked = json!({ "kind": "retry", "filter": {}, "expected": 50 });
    let begun = admin(front.address(), "POST", TASKS, &asked).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let id = body(&begun)["taskId"].as_str().unwrap().to_owned();
    let state = async || {
        let answer = http::get(front.address(), &format!("{TASKS}/{id}")).await;
        body(&answer.unwrap())
    };
    wait_until("the backlog is full", async || state().await["done"] == 30).await;
    let again = admin(front.address(), "POST", TASKS, &asked).await;
    assert_problem(&again, 409, "task_running");
    let stop = format!("{TASKS}/{id}/stop");
    let stopped = admin(front.address(), "POST", &stop, &Value::Null).await;
    assert_eq!(stopped.status, 200, "{stopped:?}");
    wait_until("it ends", async || state().await["endedAt"].is_string()).await;
    assert_task(&state().await, "stopped", 30, 0, 20);
    let stopped = admin(front.address(), "POST", &stop, &Value::Null).await;
    assert_problem(&stopped, 409, "task_over");
    let unknown = admin(
        front.address(),
        "POST",
        "/api/tasks/none/stop",
        &Value::Null,
    )
    .await;
    assert_problem(&unknown, 404, "not_found");
}

/// What was confirmed binds: where a filter, or a list of ids, is about more loans, nothing begins, and the answer says how
/// many there are.
#[tokio::test]
async fn no_task_begins_with_more_than_was_confirmed() {
    let stack = start().await;
    fail(&stack, 0..12).await;
    let of_ten = json!({ "loanId": "GC-00000" });
    for kind in ["discard", "retry"] {
        for (filter, found) in [(&of_ten, 10), (&json!({}), 12)] {
            for expected in [0, 1, found - 1] {
                let asked = json!({ "kind": kind, "filter": filter, "reason": "a test", "expected": expected });
                let answer = ask(&stack, &asked).await;
                assert_problem(&answer, 409, "more_than_confirmed");
                assert_eq!(body(&answer)["found"], found, "{answer:?}");
            }
        }
        let asked = json!({ "kind": kind, "loanIds": [loan_id(0), loan_id(1)], "reason": "a test", "expected": 1 });
        let answer = ask(&stack, &asked).await;
        assert_problem(&answer, 409, "more_than_confirmed");
        assert_eq!(body(&answer)["found"], 2, "{answer:?}");
    }
    assert!(documents(&stack.mongodb, "tasks").await.is_empty());
    let failures = documents(&stack.mongodb, "failures").await;
    assert_eq!(failures.len(), 12);
    assert!(failures.iter().all(|one| one.contains_key("waiting")));
    let asked = json!({ "kind": "discard", "filter": of_ten, "reason": "a test", "expected": 10 });
    assert_task(&task(&stack, asked).await, "done", 10, 0, 0);
}

/// A task ends when it has taken as many as were confirmed, also where its filter finds more, and where whoever does it dies
/// before that is noted: what failed at the instant of the count may be recorded later.
#[tokio::test]
async fn a_task_takes_no_more_than_was_confirmed() {
    let mut stack = start().await;
    failed_before(&stack, 5).await;
    stack.service.kill();
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri())
        .await
        .unwrap();
    let tasks = client.database("sluice").collection::<Document>("tasks");
    let confirmed = doc! {
        "_id": "confirmed", "kind": "discard", "phase": "running", "isActive": true, "filter": {}, "reason": "a test",
        "by": "ada", "address": "192.0.2.1", "requestId": "", "startedAt": DateTime::now(), "expected": 2_i64,
        "done": 0_i64, "skipped": 0_i64, "step": 0_i64, "beat": 0_i64,
    };
    tasks.insert_one(confirmed).await.unwrap();
    let dying = [
        service_options(quick()).environment,
        vec![("FAILPOINTS".into(), "discard-noted=return".into())],
    ];
    match stack.service.restart_with(dying.concat()).await {
        // It may have died before anybody saw that it was ready.
        Ok(()) | Err(TestbedError::EarlyExit { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    wait_until("it dies", async || {
        stack.service.try_wait().unwrap().is_some()
    })
    .await;
    let environment = service_options(quick()).environment;
    stack.service.restart_with(environment).await.unwrap();
    assert_task(&ended(&stack, "confirmed").await, "done", 2, 0, 0);
    counted(&stack, 2, 3).await;
}

/// What nobody can do is refused before it begins.
#[tokio::test]
async fn a_wrong_task_is_refused() {
    let stack = start().await;
    for (asked, word) in [
        (json!({ "kind": "discard", "filter": {} }), "reason"),
        (
            json!({ "kind": "discard", "filter": {}, "reason": " " }),
            "reason",
        ),
        (
            json!({ "kind": "discard", "filter": {}, "reason": "a\u{1}b" }),
            "reason",
        ),
        (
            json!({ "kind": "discard", "filter": {}, "reason": "x".repeat(501) }),
            "reason",
        ),
        (json!({ "kind": "retry" }), "filter"),
        (
            json!({ "kind": "retry", "filter": {}, "loanIds": ["a"] }),
            "filter",
        ),
        (json!({ "kind": "retry", "loanIds": [] }), "loanIds"),
        (json!({ "kind": "retry", "loanIds": ["a b"] }), "loanIds"),
        (
            json!({ "kind": "retry", "filter": { "loanId": "a b" } }),
            "filter.loanId",
        ),
        (json!({ "kind": "retry", "filter": {} }), "expected"),
        (
            json!({ "kind": "retry", "filter": { "other": 1 } }),
            "other",
        ),
        (
            json!({ "kind": "retry", "filter": {}, "expected": 1_000_000_000_001_u64 }),
            "expected",
        ),
        (json!({ "kind": "dance", "filter": {} }), "dance"),
    ] {
        let answer = ask(&stack, &asked).await;
        assert_problem(&answer, 400, "invalid_body");
        assert!(
            body(&answer)["detail"].as_str().unwrap().contains(word),
            "{answer:?}"
        );
    }
    let answer = http::request(
        stack.service.address(),
        "POST",
        TASKS,
        &[("Content-Type", "application/json")],
        b"{}",
    )
    .await;
    assert_problem(&answer.unwrap(), 401, "unauthorized");
}

/// 1. Who listens hears of a task as soon as it is begun, how far it is, and its end; who comes later hears the same at once.
/// 2. Whom a filter looks for is hidden from whoever has no token.
/// 3. An export is told like that, too, and names nobody to anybody.
#[tokio::test]
async fn whoever_listens_hears_how_far_work_is() {
    let stack = start().await;
    let address = stack.service.address();
    fail(&stack, 0..7).await;
    let mut early = listen(address, &[]).await;
    assert_eq!(tasks(&mut early).await, json!([]));
    let asked = json!({ "kind": "discard", "filter": { "applicant": "ada" }, "reason": "a test", "expected": 7 });
    let answer = ask(&stack, &asked).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let over = loop {
        let told = tasks(&mut early).await;
        assert_eq!(told[0]["kind"], "discard", "{told}");
        if told[0]["phase"] == "done" {
            break told;
        }
    };
    assert_task(&over[0], "done", 7, 0, 0);
    let hidden = over[0]["filter"]["applicant"].as_str().unwrap();
    assert!(hidden.contains('\u{2026}'), "{over}");
    let path = "/api/exports/errors?applicant=ada";
    let file = admin(address, "GET", path, &Value::Null).await;
    assert_eq!(file.status, 200);

    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let mut late = listen(address, &[("Authorization", &bearer)]).await;
    let told = loop {
        // At first what was told last, which may be older than the export.
        let told = tasks(&mut late).await;
        if told[0]["kind"] == "export" && told[0]["phase"] == "done" {
            break told;
        }
    };
    assert_eq!(told[0]["done"], 7, "{told}");
    // Of this nobody takes an address out, when its owner is to be forgotten.
    let hidden = told[0]["filter"]["applicant"].as_str().unwrap();
    assert!(hidden.contains('\u{2026}'), "{told}");
    assert_eq!(told[1]["filter"]["applicant"], "ada");
    assert_eq!(told[1]["taskId"], over[0]["taskId"]);
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn listen(address: std::net::SocketAddr, headers: &[(&'static str, &str)]) -> Socket {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    tokio_tungstenite::connect_async(request).await.unwrap().0
}

/// What is told next of work on many loans.
async fn tasks(socket: &mut Socket) -> Value {
    use futures_util::StreamExt as _;
    use tokio_tungstenite::tungstenite::Message;
    let told = async {
        loop {
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else {
                continue;
            };
            let message: Value = serde_json::from_str(text.as_str()).unwrap();
            if message["type"] == "tasks" {
                return message["tasks"].clone();
            }
        }
    };
    let told = tokio::time::timeout(support::PATIENCE, told).await;
    told.expect("how far work is")
}
