//! What an administrator may do, who is one, and that every instance hears of it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;

use base64::Engine as _;
use futures_util::StreamExt;
use serde_json::{Value, json};
use service::snapshot::Snapshot;
use support::{
    ADMIN_TOKEN, admin, assert_problem, body, drained, loan, loan_id, metrics, post, quick,
    second_instance, service_options, start, start_with, wait_until,
};
use testbed::{ServiceProcess, http};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const ADMIN_CALLS: [(&str, &str); 5] = [
    ("GET", "/api/session"),
    ("POST", "/api/control/pause"),
    ("POST", "/api/control/resume"),
    ("PATCH", "/api/loans/retry"),
    ("POST", "/api/runs"),
];

/// 1. Without a token 401, with another 403, and nothing has happened.
/// 2. With the token it is done.
/// 3. The log holds no token, neither the right one nor those that were tried.
#[tokio::test]
async fn only_the_token_opens() {
    let stack = start().await;
    let address = stack.service.address();
    let tried = "token-of-somebody-else";
    for (method, path) in ADMIN_CALLS {
        let answer = http::request(address, method, path, &[], b"{}")
            .await
            .unwrap();
        assert_problem(&answer, 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let basic = [("Authorization", "Basic dG9rZW4=")];
        let answer = http::request(address, method, path, &basic, b"{}")
            .await
            .unwrap();
        assert_problem(&answer, 401, "unauthorized");
        // Wrong tokens are answered ever more slowly.
        let close = [tried, "x", &ADMIN_TOKEN[1..], &format!("{ADMIN_TOKEN}x")];
        let tries = if path == "/api/session" {
            &close[..]
        } else {
            &close[..1]
        };
        for wrong in tries {
            let bearer = format!("Bearer {wrong}");
            let headers = [("Authorization", &*bearer)];
            let answer = http::request(address, method, path, &headers, b"{}")
                .await
                .unwrap();
            assert_problem(&answer, 403, "forbidden");
        }
        // A token in the address counts for nothing.
        let path = format!("{path}?token={ADMIN_TOKEN}");
        let answer = http::request(address, method, &path, &[], b"{}")
            .await
            .unwrap();
        assert_problem(&answer, 401, "unauthorized");
    }
    let answer = http::get(address, "/api/control").await.unwrap();
    assert_eq!(body(&answer), json!({ "paused": false }));

    let answer = admin(address, "GET", "/api/session", &Value::Null).await;
    assert_eq!(
        (answer.status, body(&answer)),
        (
            200,
            json!({ "admin": true, "name": "administrator", "role": "operator" })
        )
    );
    // A page of another origin may not even ask whether it might.
    let preflight = [
        ("Origin", "http://elsewhere.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    let answer = http::request(address, "OPTIONS", "/api/control/pause", &preflight, b"").await;
    let head = answer.unwrap().head.to_ascii_lowercase();
    assert!(!head.contains("access-control"), "{head}");

    let log = stack.service.log();
    assert!(!log.contains(ADMIN_TOKEN) && !log.contains(tried), "{log}");
}

/// Without a token set one is made, other at each start, and printed once with a link.
#[tokio::test]
async fn a_token_is_made_and_printed_once() {
    let mut options = service_options(quick());
    options.environment.clear();
    let mut stack = start_with(options).await;
    let address = stack.service.address();
    let tokens = |log: &str| -> Vec<String> {
        log.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .filter_map(|line| line.split_once("/#token="))
            .map(|(before, token)| {
                assert!(before.ends_with(&format!("http://{address}")), "{before}");
                token.trim().to_owned()
            })
            .collect()
    };
    let printed = async |service: &ServiceProcess, times: usize| {
        wait_until("the link is printed", async || {
            tokens(&service.log()).len() == times
        })
        .await;
        tokens(&service.log())
    };
    let first = printed(&stack.service, 1).await;
    assert!(first[0].len() >= 32);
    assert_eq!(stack.service.log().matches(&*first[0]).count(), 1);
    let bearer = format!("Bearer {}", first[0]);
    let headers = [("Authorization", &*bearer)];
    let answer = http::request(address, "GET", "/api/session", &headers, b"").await;
    assert_eq!(answer.unwrap().status, 200);

    stack.service.restart().await.unwrap();
    let both = printed(&stack.service, 2).await;
    assert_ne!(both[0], both[1]);
    let answer = http::request(address, "GET", "/api/session", &headers, b"").await;
    assert_problem(&answer.unwrap(), 403, "forbidden");
}

async fn paused(address: SocketAddr) -> bool {
    let answer = http::get(address, "/api/control").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let control = body(&answer);
    assert_eq!(
        control["paused"],
        control["pausedAt"].is_string(),
        "{control}"
    );
    control["paused"] == true
}

/// 1. Pause on one of two instances: the other one refuses at once, too.
/// 2. What was admitted is processed and recorded.
/// 3. The pause outlives a restart of the service, and `kill -9` of Redis.
/// 4. Resume on the other instance: both take loans.
#[tokio::test]
async fn a_pause_holds_everywhere_and_lasts() {
    let mut stack = start().await;
    let second = second_instance(&stack).await;
    let (one, two) = (stack.service.address(), second.address());
    assert_eq!(post(one, &loan(0)).await.status, 202);
    let answer = admin(one, "POST", "/api/control/pause", &Value::Null).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(body(&answer)["paused"], true);
    let since = body(&answer)["pausedAt"].clone();
    for address in [one, two] {
        let answer = post(address, &loan(1)).await;
        assert_problem(&answer, 503, "paused");
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(post(address, &loan(0)).await.status, 202, "it is known");
    }
    drained(&stack.redis).await;
    let again = admin(two, "POST", "/api/control/pause", &Value::Null).await;
    assert_eq!(
        body(&again)["pausedAt"],
        since,
        "it has been paused since then"
    );
    wait_until("the snapshots say so", async || {
        metrics(one).await.gauges.paused && metrics(two).await.gauges.paused
    })
    .await;

    stack.service.restart().await.unwrap();
    stack.redis.kill();
    stack.redis.restart().await.unwrap();
    for address in [one, two] {
        wait_until("Redis is found again", async || {
            http::get(address, "/readyz").await.unwrap().status == 200
        })
        .await;
        assert!(paused(address).await);
        wait_until("the door is connected again", async || {
            body(&post(address, &loan(1)).await)["errorType"] == "paused"
        })
        .await;
    }

    let answer = admin(two, "POST", "/api/control/resume", &Value::Null).await;
    assert_eq!(
        (answer.status, body(&answer)),
        (200, json!({ "paused": false }))
    );
    assert_eq!(post(one, &loan(1)).await.status, 202);
    assert_eq!(post(two, &loan(2)).await.status, 202);
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(address: SocketAddr) -> Socket {
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(ADMIN_TOKEN);
    let protocols = format!("sluice, bearer.{token}");
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", protocols.parse().unwrap());
    let (socket, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "sluice");
    socket
}

/// The events up to the one that `is_last`.
async fn events(socket: &mut Socket, mut is_last: impl FnMut(&Value) -> bool) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let frame = tokio::time::timeout(support::PATIENCE, socket.next())
            .await
            .expect("it tells");
        let Message::Text(text) = frame.unwrap().unwrap() else {
            continue;
        };
        let message: Value = serde_json::from_str(text.as_str()).unwrap();
        if message["type"] == "event" {
            let is_end = is_last(&message["event"]);
            events.push(message["event"].clone());
            if is_end {
                return events;
            }
        }
    }
}

/// What happens on one instance, or on either, is heard on both, once each.
#[tokio::test]
async fn events_reach_every_instance() {
    let stack = start().await;
    let second = second_instance(&stack).await;
    let (one, two) = (stack.service.address(), second.address());
    wait_until("each instance sees both", async || {
        metrics(one).await.gauges.instances == 2 && metrics(two).await.gauges.instances == 2
    })
    .await;
    let gauges = metrics(one).await.gauges;
    assert_eq!(gauges.workers_max, 10);
    let mut sockets = [connect(one).await, connect(two).await];
    // Events of others come by subscription: what is told before it stands is not heard.
    let marker = |kind: &str, name: &str| {
        json!({ "runId": "run-1", "scenario": "burst-500", "kind": kind, "name": name,
                "responseUs": { "count": 1, "p50": 1, "p90": 1, "p99": 1, "p999": 1, "max": 1 } })
    };
    let subscribers = || async {
        let answer: Vec<redis::Value> =
            support::redis(&stack.redis, &["PUBSUB", "NUMSUB", "sluice:0:events"]).await;
        answer[1] == redis::Value::Int(2)
    };
    wait_until("both instances listen", async || subscribers().await).await;

    for number in [9, 19, 29] {
        assert_eq!(post(one, &loan(number)).await.status, 202);
    }
    drained(&stack.redis).await;
    let answer = admin(one, "POST", "/api/control/pause", &Value::Null).await;
    assert_eq!(answer.status, 200);
    let answer = admin(
        two,
        "PATCH",
        "/api/loans/retry",
        &json!({ "loanIds": [loan_id(9)] }),
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        admin(two, "POST", "/api/control/resume", &Value::Null)
            .await
            .status,
        200
    );
    drained(&stack.redis).await;
    for (address, name) in [(one, "burst"), (two, "drain")] {
        let answer = admin(address, "POST", "/api/runs", &marker("phase", name)).await;
        assert_eq!((answer.status, &*answer.body), (202, ""));
    }
    let is_second = |event: &Value| event["kind"] == "failure" && event["attempt"] == 2;
    for socket in &mut sockets {
        // They come from two instances, in no certain order; those of one come in its order, so all of what each had to
        // tell was heard before its last.
        let mut awaited = vec!["burst", "drain", "second"];
        let heard = events(socket, |event| {
            awaited.retain(|name| match *name {
                "second" => !is_second(event),
                name => event["kind"] != "run" || event["name"] != name,
            });
            awaited.is_empty()
        })
        .await;
        let of = |kind: &str| -> Vec<&Value> {
            heard.iter().filter(|event| event["kind"] == kind).collect()
        };
        let mut failed: Vec<_> = of("failure")
            .into_iter()
            .map(|event| {
                (
                    event["loanId"].clone(),
                    event["attempt"].clone(),
                    event["applicant"].clone(),
                )
            })
            .map(|fact| format!("{fact:?}"))
            .collect();
        failed.sort();
        failed.dedup();
        assert_eq!(of("failure").len(), 4, "{heard:?}");
        assert_eq!(failed.len(), 4, "{heard:?}");
        assert!(failed[0].contains("ada9@example.org"), "{failed:?}");
        for kind in ["pause", "resume", "retry"] {
            assert_eq!(of(kind).len(), 1, "{kind} of {heard:?}");
        }
        assert_eq!(of("run").len(), 2, "{heard:?}");
        assert_eq!(of("retry")[0]["requeued"], 1);
        let run = of("run")
            .into_iter()
            .find(|run| run["name"] == "burst")
            .unwrap();
        assert_eq!(
            (&run["marker"], &run["runId"]),
            (&json!("phase"), &json!("run-1"))
        );
        assert_eq!(run["responseUs"]["count"], 1);
    }

    for wrong in [
        json!({}),
        json!({ "runId": "", "scenario": "s", "kind": "start" }),
        json!({ "runId": "r", "scenario": "s", "kind": "stop" }),
        json!({ "runId": "r", "scenario": "s", "kind": "start", "more": 1 }),
        json!({ "runId": "r".repeat(129), "scenario": "s", "kind": "start" }),
        Value::Null,
    ] {
        assert_problem(
            &admin(one, "POST", "/api/runs", &wrong).await,
            400,
            "invalid_body",
        );
    }
}

/// An instance that ends, or is killed, is no longer counted; its failures by applicant stay.
#[tokio::test]
async fn figures_are_those_of_all_instances() {
    let stack = start().await;
    let mut second = second_instance(&stack).await;
    let (one, two) = (stack.service.address(), second.address());
    for _ in 0..3 {
        assert_eq!(post(two, &loan(9)).await.status, 202);
    }
    assert_eq!(post(one, &loan(19)).await.status, 202);
    drained(&stack.redis).await;
    let answer = admin(
        one,
        "PATCH",
        "/api/loans/retry",
        &json!({ "loanIds": [loan_id(19)] }),
    )
    .await;
    assert_eq!(body(&answer)["requeued"], 1);
    for address in [one, two] {
        wait_until("both count all", async || {
            let answer = admin(address, "GET", "/api/metrics", &Value::Null).await;
            let snapshot: Snapshot = serde_json::from_str(&answer.body).unwrap();
            let counts: Vec<_> = snapshot
                .counters
                .failed_by_applicant
                .iter()
                .map(|entry| (&*entry.applicant, entry.count))
                .collect();
            snapshot.gauges.instances == 2
                && counts == [("ada19@example.org", 2), ("ada9@example.org", 1)]
        })
        .await;
    }
    assert!(metrics(one).await.redis.durable);
    second.kill();
    wait_until("the dead instance is forgotten", async || {
        metrics(one).await.gauges.instances == 1
    })
    .await;
    second.restart().await.unwrap();
    wait_until("it is back", async || {
        metrics(one).await.gauges.instances == 2
    })
    .await;
    second.terminate().await.unwrap();
    wait_until("it has left", async || {
        metrics(one).await.gauges.instances == 1
    })
    .await;
}

/// How long the oldest loan has waited grows while nobody processes it.
#[tokio::test]
async fn a_waiting_loan_is_seen() {
    let stack = start_with(service_options(vec!["--role".into(), "api".into()])).await;
    let address = stack.service.address();
    assert_eq!(post(address, &loan(0)).await.status, 202);
    wait_until("it has waited for two seconds", async || {
        metrics(address).await.gauges.oldest_waiting_ms >= 2_000
    })
    .await;
    let gauges = metrics(address).await.gauges;
    assert_eq!(
        (gauges.workers, gauges.workers_max, gauges.instances),
        (0, 0, 1)
    );
}
