//! Keeping and forgetting: the history of days, how long records stay, and one person's data removed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use bson::{Document, doc};
use serde_json::{Value, json};
use service::history::{MINUTE_MS, Minute};
use service::snapshot::{Event, EventKind, History, Point};
use service::store::Store;
use support::{
    ADMIN_TOKEN, admin, assert_problem, audit, body, documents, drained, key, loan, loan_id,
    metrics, post, quick, redis, service_options, start, start_with, wait_until,
};
use testbed::{Stack, http};

async fn database(stack: &Stack) -> mongodb::Database {
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri()).await;
    client.unwrap().database("sluice")
}

async fn history(stack: &Stack, minutes: u64) -> History {
    let path = format!("/api/history?minutes={minutes}");
    let answer = http::get(stack.service.address(), &path).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// Minutes since the Unix epoch.
fn minute_now() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    now.as_millis() as u64 / MINUTE_MS
}

/// 1. What two instances note of a minute becomes one point: sums and latencies by the highest, each event once.
/// 2. A day is told by minutes, seven days by ten of them; what the service counts now appears by itself.
#[tokio::test]
async fn days_are_told() {
    let stack = start().await;
    let store = Store::new(&stack.mongodb.uri(), "sluice").await.unwrap();
    let this_minute = minute_now();
    let pause = Event {
        at_ms: (this_minute - 600) * MINUTE_MS + 5,
        kind: EventKind::Pause {
            by: Some("ada".to_owned()),
        },
    };
    for minute in this_minute - 2_000..this_minute - 10 {
        for (admitted, latency) in [(minute, 700), (minute - 1, 900)] {
            let from_ms = minute * MINUTE_MS;
            let event = serde_json::to_string(&pause).unwrap();
            let note = Minute {
                from_ms,
                point: Point {
                    at_ms: from_ms + 59_000,
                    admitted,
                    admit_p99_us: latency,
                    queue_depth: 3,
                    ..Point::default()
                },
                events: if minute == this_minute - 600 {
                    vec![event]
                } else {
                    Vec::new()
                },
            };
            store.note_minute(&note).await.unwrap();
        }
    }
    let asked = minute_now();
    let day = history(&stack, 1_440).await;
    let answered = minute_now();
    assert_eq!(day.step_seconds, 60);
    let told = |point: &Point| point.at_ms < (this_minute - 10) * MINUTE_MS;
    let points: Vec<_> = day.points.iter().filter(|point| told(point)).collect();
    // A day back from the question, to where the notes end: noting them took its time.
    let noted = |now: u64| (this_minute - 10 + 1_440 - now) as usize;
    assert!(
        (noted(answered) - 1..=noted(asked) + 1).contains(&points.len()),
        "{}",
        points.len()
    );
    assert!(points.is_sorted_by(|a, b| a.at_ms < b.at_ms));
    let last = points.last().unwrap();
    assert_eq!(
        (last.admitted, last.admit_p99_us, last.queue_depth),
        (this_minute - 11, 900, 3)
    );
    assert_eq!(day.events, [pause]);
    let week = history(&stack, 10_080).await;
    assert_eq!(week.step_seconds, 600);
    assert!(
        (198..=202).contains(&week.points.len()),
        "{}",
        week.points.len()
    );

    assert_eq!(post(stack.service.address(), &loan(0)).await.status, 202);
    audit(&stack, 1).await;
    wait_until("the minute that it is is noted", async || {
        let told = history(&stack, 1_440).await.points;
        told.iter().any(|point| point.recorded == 1)
    })
    .await;
    for minutes in ["0", "31", "1441", "10081", "x"] {
        let path = format!("/api/history?minutes={minutes}");
        let answer = http::get(stack.service.address(), &path).await.unwrap();
        assert_problem(&answer, 400, "invalid_parameter");
    }
}

/// The index by which MongoDB removes what is old, if there is one: after how many seconds.
async fn kept(stack: &Stack, collection: &str) -> Option<i64> {
    let names = database(stack).await.collection::<Document>(collection);
    let mut indexes = names.list_indexes().await.unwrap();
    while let Some(index) = futures_util::TryStreamExt::try_next(&mut indexes)
        .await
        .unwrap()
    {
        let options = index.options.unwrap();
        if options.name.as_deref() == Some("retention") {
            return options.expire_after.map(|after| after.as_secs() as i64);
        }
    }
    None
}

/// 1. Without a setting everything is kept. With one, MongoDB removes what is older; another one takes its place, and none
///    ends it.
/// 2. What waits for an operator is not removed, however old it is; what was discarded is, after its time.
#[tokio::test]
async fn records_are_kept_as_long_as_is_set() {
    let mut stack = start().await;
    for number in [0, 9, 19] {
        assert_eq!(
            post(stack.service.address(), &loan(number)).await.status,
            202
        );
    }
    drained(&stack.redis).await;
    assert_eq!(kept(&stack, "loans").await, None);
    for (settings, loans, failures) in [
        (
            &["--loans-kept", "365d", "--failures-kept", "90d"][..],
            Some(31_536_000),
            Some(7_776_000),
        ),
        (
            &["--loans-kept", "1h", "--failures-kept", "1h"],
            Some(3_600),
            Some(3_600),
        ),
    ] {
        let arguments = [
            quick(),
            settings.iter().map(|&word| word.to_owned()).collect(),
        ]
        .concat();
        let other = testbed::ServiceProcess::start(testbed::ServiceOptions {
            redis_url: stack.redis.url(),
            mongodb_uri: stack.mongodb.uri(),
            ..service_options(arguments)
        });
        let other = other.await.unwrap();
        wait_until("that is set", async || {
            kept(&stack, "loans").await == loans && kept(&stack, "failures").await == failures
        })
        .await;
        drop(other);
    }
    let asked = json!({ "kind": "discard", "loanIds": [loan_id(9)], "reason": "a test" });
    assert_eq!(
        admin(stack.service.address(), "POST", "/api/tasks", &asked)
            .await
            .status,
        202
    );
    wait_until("it is discarded", async || {
        metrics(stack.service.address()).await.counters.discarded == 1
    })
    .await;
    // A day passes for all of them, and MongoDB looks more often.
    let database = database(&stack).await;
    let yesterday =
        bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - 86_400_000);
    let aged = |fields: &[&str]| {
        let set: Document = fields
            .iter()
            .map(|field| ((*field).to_owned(), bson::Bson::DateTime(yesterday)))
            .collect();
        doc! { "$set": set }
    };
    let failures = database.collection::<Document>("failures");
    failures
        .update_many(doc! {}, aged(&["failedAt", "receivedAt"]))
        .await
        .unwrap();
    failures
        .update_many(doc! { "endedAt": { "$exists": true } }, aged(&["endedAt"]))
        .await
        .unwrap();
    let loans = database.collection::<Document>("loans");
    loans
        .update_many(doc! {}, aged(&["processedAt"]))
        .await
        .unwrap();
    let admin_database = mongodb::Client::with_uri_str(stack.mongodb.uri())
        .await
        .unwrap()
        .database("admin");
    admin_database
        .run_command(doc! { "setParameter": 1, "ttlMonitorSleepSecs": 1 })
        .await
        .unwrap();
    wait_until("MongoDB removes them", async || {
        documents(&stack.mongodb, "loans").await.is_empty()
            && documents(&stack.mongodb, "failures").await.len() == 1
    })
    .await;
    assert_eq!(
        documents(&stack.mongodb, "failures").await[0]
            .get_str("loanId")
            .unwrap(),
        loan_id(19)
    );
    stack.service.restart().await.unwrap();
    wait_until("everything is kept again", async || {
        kept(&stack, "loans").await.is_none() && kept(&stack, "failures").await.is_none()
    })
    .await;
}

async fn forget(stack: &Stack, applicant: &str) -> std::process::Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_service"))
        .args([
            "--redis-url",
            &stack.redis.url(),
            "--mongodb-uri",
            &stack.mongodb.uri(),
        ])
        .args(["forget", "--applicant", applicant])
        .output()
        .await
        .unwrap()
}

/// 1. One person has loans that were accepted, that wait, that were retried, and one that cannot even be read as hers.
/// 2. After the command her address stands nowhere: not in MongoDB, not in Redis, not in Redis's file.
/// 3. Ids and counts stay: each loan is still known, what waited is discarded, another person's records are untouched.
/// 4. It is recorded, without her address.
#[tokio::test]
async fn one_person_is_forgotten() {
    let stack = start_with(service_options(quick())).await;
    let address = stack.service.address();
    let hers = |number: u64, email: &str, score: u64| {
        let mut loan = loan(number);
        loan["applicant"]["email"] = json!(email);
        loan["applicant"]["name"] = json!("Grace Hopper");
        loan["creditScore"] = json!(score);
        loan
    };
    let mut odd = hers(4, "Grace@Example.org", 712);
    odd["applicant"]["name"] = json!(7);
    odd["applicant"]["phone"] = json!("not a number");
    // JSON has many ways to write an address, and it may stand where nobody looks for one.
    for (number, written) in [
        (20, r#""\u0067race\u0040example.org""#),
        (21, r#""Mail: <GRACE@example\u002eorg>""#),
        (22, r#"{"\u0047race@example.org":1}"#),
        (23, r#""xgrace@example.org""#),
    ] {
        let text = format!(r#"{{"loanId":"{}","note":{written}}}"#, loan_id(number));
        let answer = http::post(address, "/api/loans/request", text)
            .await
            .unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    // Accepted loans of somebody else, whose texts name her.
    let mut by_name = loan(6);
    by_name["applicant"]["name"] = json!("Grace <grace@example.org>");
    let mut by_purpose = loan(7);
    by_purpose["purpose"] = json!("as grace@example.org asked");
    let mut by_both = by_name.clone();
    by_both["loanId"] = json!(loan_id(8));
    by_both["purpose"] = by_purpose["purpose"].clone();
    for loan in [
        by_name,
        by_purpose,
        by_both,
        hers(0, "grace@example.org", 712),
        hers(1, "Grace@Example.org", 712),
        hers(2, "grace@example.org", 100),
        hers(3, "grace@example.organic", 100),
        odd,
        loan(5),
    ] {
        assert_eq!(post(address, &loan).await.status, 202);
    }
    drained(&stack.redis).await;
    let retry = admin(
        address,
        "PATCH",
        "/api/loans/retry",
        &json!({ "loanIds": [loan_id(2)] }),
    )
    .await;
    assert_eq!(retry.status, 200, "{retry:?}");
    wait_until("it has failed again", async || {
        documents(&stack.mongodb, "failures").await.len() == 8
    })
    .await;
    drained(&stack.redis).await;
    let applicants = key(&stack.redis, "applicants").await;
    let scored: u64 = redis(&stack.redis, &["ZCARD", &applicants]).await;
    assert!(scored >= 2);

    let output = forget(&stack, "GRACE@example.org").await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(
        said,
        "forgotten: data removed from 5 loans and 6 failures; 5 failed loans that waited are discarded\n"
    );
    let everything = async || {
        let mut all = String::new();
        for collection in [
            "loans",
            "failures",
            "tasks",
            "activity",
            "history",
            "record_batches",
        ] {
            for document in documents(&stack.mongodb, collection).await {
                all += &document.to_string().to_lowercase();
            }
        }
        assert!(
            !all.contains("u0067race") && !all.contains("u0047race"),
            "{all}"
        );
        all.replace("grace@example.organic", "")
            .replace("xgrace@example.org", "")
    };
    assert!(
        !everything().await.contains("grace@"),
        "{}",
        everything().await
    );
    assert!(
        everything().await.contains("ada5@example.org"),
        "others are untouched"
    );
    let kept: Vec<String> = redis(&stack.redis, &["ZRANGE", &applicants, "0", "-1"]).await;
    assert_eq!(
        kept.iter()
            .filter(|name| name.to_lowercase().contains("grace"))
            .count(),
        1,
        "{kept:?}"
    );
    wait_until("Redis's file holds it no more", async || {
        let files = std::fs::read_dir(stack.redis.folder().join("appendonlydir")).unwrap();
        let texts = files.map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default());
        let all = texts.collect::<Vec<_>>().concat();
        let text = String::from_utf8_lossy(&all).to_lowercase();
        !text
            .replace("grace@example.organic", "")
            .replace("xgrace@example.org", "")
            .contains("grace@example.org")
    })
    .await;
    // Each is still known.
    assert_problem(&post(address, &loan(0)).await, 422, "loan_id_conflict");
    let again = post(address, &hers(2, "grace@example.org", 100)).await;
    assert_eq!(
        (again.status, &body(&again)["replayed"]),
        (202, &json!(true))
    );
    let found = body(
        &http::get(address, &format!("/api/loans/{}", loan_id(2)))
            .await
            .unwrap(),
    );
    assert_eq!(
        (&found["status"], &found["discarded"]["by"]),
        (&json!("discarded"), &json!("service forget"))
    );
    let found = body(
        &admin(
            address,
            "GET",
            &format!("/api/loans/{}", loan_id(0)),
            &Value::Null,
        )
        .await,
    );
    assert_eq!(
        (&found["status"], &found["result"]["applicant"]),
        (
            &json!("recorded"),
            &json!({ "name": "forgotten", "email": "forgotten" })
        )
    );
    wait_until("the counters tell it", async || {
        let snapshot = metrics(address).await;
        (snapshot.counters.discarded, snapshot.gauges.failed_waiting) == (5, 2)
    })
    .await;
    let told = body(&admin(address, "GET", "/api/activity", &Value::Null).await);
    let entry = &told["entries"][0];
    assert_eq!(
        (&entry["action"], &entry["name"]),
        (&json!("forget"), &json!("service forget")),
        "{told}"
    );
    let _ = ADMIN_TOKEN;

    let twice = forget(&stack, "grace@example.org").await;
    assert!(
        String::from_utf8(twice.stdout)
            .unwrap()
            .contains("0 loans and 0 failures")
    );
    let wrong = forget(&stack, "nobody").await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        String::from_utf8(wrong.stderr)
            .unwrap()
            .contains("--applicant")
    );
}

/// Two instances: each is listed with what it is and does, and goes when it ends; so are the partitions.
#[tokio::test]
async fn instances_are_listed() {
    let stack = start_with(service_options(
        [quick(), vec!["--partitions".into(), "3".into()]].concat(),
    ))
    .await;
    let address = stack.service.address();
    let arguments = [
        "--partitions",
        "3",
        "--role",
        "worker",
        "--workers-max",
        "2",
    ]
    .map(String::from);
    let mut other = testbed::ServiceProcess::start(testbed::ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options([quick(), arguments.to_vec()].concat())
    })
    .await
    .unwrap();
    let list = async || body(&http::get(address, "/api/instances").await.unwrap());
    wait_until("both are listed, with their workers", async || {
        let list = list().await;
        let instances = list["instances"].as_array().unwrap();
        instances.len() == 2
            && instances
                .iter()
                .all(|one| one["doing"].as_array().unwrap().len() == 1)
    })
    .await;
    let list_now = list().await;
    let worker = list_now["instances"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["roles"] == json!(["worker"]));
    let worker = worker.unwrap();
    assert_eq!(
        (&worker["workersMax"], &worker["doing"][0]["state"]),
        (&json!(2), &json!("waiting")),
        "{list_now}"
    );
    assert!(
        worker["host"]
            .as_str()
            .unwrap()
            .ends_with(&other.address().to_string()),
        "{list_now}"
    );
    assert!(
        worker["startedAt"].as_str().unwrap() <= worker["seenAt"].as_str().unwrap(),
        "{list_now}"
    );
    assert_eq!(list_now["partitions"].as_array().unwrap().len(), 3);
    for number in 0..60 {
        let mut bad = loan(number);
        bad["creditScore"] = json!(1);
        assert_eq!(post(address, &bad).await.status, 202);
    }
    wait_until("the partitions tell what waits", async || {
        let list = list().await;
        let partitions = list["partitions"].as_array().unwrap();
        let waiting = partitions
            .iter()
            .map(|one| one["failedWaiting"].as_u64().unwrap());
        let waiting: Vec<_> = waiting.collect();
        waiting.iter().sum::<u64>() == 60 && waiting.iter().all(|&one| one > 0)
    })
    .await;
    other.terminate().await.unwrap();
    wait_until("it is gone", async || {
        list().await["instances"].as_array().unwrap().len() == 1
    })
    .await;
}
