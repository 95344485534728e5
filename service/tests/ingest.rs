//! What a client sees at the door, and what becomes of a loan that it let in.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use futures_util::StreamExt;
use serde_json::{Value, json};
use support::{
    REQUEST, assert_problem, audit, body, documents, drained, exchange, held_ids, lengths, loan,
    loan_id, metrics, post, quick, redis, redis_counters, service_options, start, start_with,
    strings, wait_until,
};
use testbed::Stack;
use testbed::http::{self, Answer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

#[track_caller]
fn assert_queued(answer: &Answer, id: &str, is_replayed: bool) {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(
        body(answer),
        json!({ "loanId": id, "status": "queued", "replayed": is_replayed })
    );
}

/// Redis has seen no loan at all.
async fn assert_untouched(stack: &Stack) {
    assert_eq!(lengths(&stack.redis).await, [0; 3]);
    assert_eq!(held_ids(&stack.redis).await, Vec::<String>::new());
    let counters = redis_counters(&stack.redis).await;
    for name in ["admitted", "replayed", "accepted", "looked_up"] {
        assert_eq!(counters.get(name), None, "{name} of {counters:?}");
    }
    assert!(documents(&stack.mongodb, "loans").await.is_empty());
    assert!(documents(&stack.mongodb, "failures").await.is_empty());
}

fn head(address: SocketAddr, framing: &str) -> Vec<u8> {
    format!(
        "POST {REQUEST} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\n{framing}\r\n\r\n"
    )
    .into_bytes()
}

/// A client that goes on sending what was refused by its head can send it all, and then reads why.
#[tokio::test]
async fn who_still_sends_gets_the_answer() {
    let stack = start().await;
    let address = stack.service.address();
    let body = vec![b' '; 8 * 1024 * 1024];
    let length = format!("Content-Length: {}", body.len());
    let foreign = format!("Origin: http://elsewhere.example\r\n{length}");
    for (framing, status) in [(&length, "413"), (&foreign, "403")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&head(address, framing)).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{answer}");
    }
}

/// Each bad request is answered by its name and leaves nothing behind: neither an id nor an entry
/// nor a count, but that of the refusal.
#[tokio::test]
async fn refused_requests_leave_no_trace() {
    let stack = start().await;
    let address = stack.service.address();
    let valid = loan(1).to_string();
    let deep = format!(
        r#"{{"loanId":"D","x":{}{}}}"#,
        "[".repeat(1_000),
        "]".repeat(1_000)
    );
    let with_id = |id: Value| {
        let mut loan = loan(1);
        loan["loanId"] = id;
        loan.to_string()
    };
    let without_id = {
        let mut loan = loan(1);
        loan.as_object_mut().unwrap().remove("loanId");
        loan.to_string()
    };
    let bodies: Vec<(Vec<u8>, &str)> = vec![
        ("".into(), "malformed_json"),
        ("  ".into(), "malformed_json"),
        (valid[..valid.len() - 1].into(), "malformed_json"),
        (format!("{valid}x").into(), "malformed_json"),
        (format!("{valid}{valid}").into(), "malformed_json"),
        (r#"{"loanId":"N","amount":01}"#.into(), "malformed_json"),
        (r#"{"loanId":"N","amount":NaN}"#.into(), "malformed_json"),
        (r"{'loanId':'N'}".into(), "malformed_json"),
        // JSON sets no bound; the parser does, as serde_json: what a 64-bit float can hold.
        (r#"{"loanId":"N","amount":1e400}"#.into(), "malformed_json"),
        ("[]".into(), "not_an_object"),
        ("null".into(), "not_an_object"),
        (r#""GC-000001""#.into(), "not_an_object"),
        (without_id.into(), "invalid_loan_id"),
        (with_id(json!(17)).into(), "invalid_loan_id"),
        (with_id(json!(null)).into(), "invalid_loan_id"),
        (with_id(json!("")).into(), "invalid_loan_id"),
        (with_id(json!("a b")).into(), "invalid_loan_id"),
        (with_id(json!("x".repeat(65))).into(), "invalid_loan_id"),
        (r#"{"loanId":"A","loanId":"B"}"#.into(), "duplicate_key"),
        (
            r#"{"loanId":"A","applicant":{"name":"Ada","n\u0061me":"Eve"}}"#.into(),
            "duplicate_key",
        ),
        (deep.into(), "too_deep"),
        (
            b"{\"loanId\":\"A\",\"purpose\":\"\xff\xfe\"}".to_vec(),
            "invalid_utf8",
        ),
    ];
    for (bytes, error_type) in &bodies {
        let answer = http::post(address, REQUEST, bytes).await.unwrap();
        assert_problem(&answer, 400, error_type);
    }

    let json_type = [("Content-Type", "text/plain")];
    let answer = http::request(address, "POST", REQUEST, &json_type, valid.as_bytes())
        .await
        .unwrap();
    assert_problem(&answer, 415, "unsupported_media_type");
    assert_problem(
        &http::get(address, "/api/nothing").await.unwrap(),
        404,
        "not_found",
    );
    let answer = http::request(address, "PUT", REQUEST, &[], b"")
        .await
        .unwrap();
    assert_problem(&answer, 405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
    let answer = http::post(address, "/healthz", "{}").await.unwrap();
    assert_problem(&answer, 405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));

    // Too large, by the announced length and by what comes.
    let large = vec![b' '; 64 * 1024 + 1];
    let mut announced = head(address, &format!("Content-Length: {}", large.len()));
    announced.extend_from_slice(&large);
    let answer = exchange(address, &announced, false).await.unwrap();
    assert_problem(&answer, 413, "body_too_large");
    let mut chunked = head(address, "Transfer-Encoding: chunked");
    for part in large.chunks(8 * 1024) {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = exchange(address, &chunked, false).await.unwrap();
    assert_problem(&answer, 413, "body_too_large");

    // Chunks that are none.
    for chunks in ["ZZ\r\n", "fffffffffffffffff\r\n", "2\r\n{}x\r\n0\r\n\r\n"] {
        let mut broken = head(address, "Transfer-Encoding: chunked");
        broken.extend_from_slice(chunks.as_bytes());
        let answer = exchange(address, &broken, false).await.unwrap();
        assert_problem(&answer, 400, "malformed_request");
        assert!(answer.body.contains("chunks"), "{answer:?}");
    }

    // Another form than its headers say is named.
    let wide = |mark: &[u8], len: usize| {
        let units = valid.bytes().flat_map(|byte| {
            let mut unit = vec![0; len];
            unit[0] = byte;
            unit
        });
        mark.iter().copied().chain(units).collect::<Vec<_>>()
    };
    for (bytes, word) in [
        (wide(b"\xff\xfe", 2), "UTF-16"),
        (b"\xfe\xff\0{\0}".to_vec(), "UTF-16"),
        (wide(b"\xff\xfe\0\0", 4), "UTF-32"),
        (b"\0\0\xfe\xff\0\0\0{".to_vec(), "UTF-32"),
        (b"\x1f\x8b\x08\0".to_vec(), "gzip"),
    ] {
        let answer = http::post(address, REQUEST, bytes).await.unwrap();
        assert_problem(&answer, 415, "unsupported_media_type");
        assert!(answer.body.contains(word), "{answer:?}");
    }

    // The client ends before the announced length. It may be told so, or hear nothing.
    let mut truncated = head(address, &format!("Content-Length: {}", valid.len() + 1));
    truncated.extend_from_slice(valid.as_bytes());
    if let Some(answer) = exchange(address, &truncated, true).await {
        assert_problem(&answer, 400, "truncated_body");
    }

    wait_until("the refusals are counted", async || {
        let counters = metrics(address).await.counters;
        counters.rejected.get("truncated_body") == Some(&1)
            && counters.rejected.get("body_too_large") == Some(&2)
    })
    .await;
    let counters = metrics(address).await.counters;
    for (_, error_type) in &bodies {
        let count = bodies.iter().filter(|(_, other)| other == error_type);
        assert_eq!(
            counters.rejected.get(*error_type),
            Some(&(count.count() as u64)),
            "{error_type}"
        );
    }
    assert_untouched(&stack).await;
    assert_eq!(counters.admitted, 0);

    // The same door takes a good loan, also where files with a byte order mark were joined to it.
    let marked = format!("\u{feff}\u{feff}{}", loan(0));
    let answer = http::post(address, REQUEST, marked).await.unwrap();
    assert_queued(&answer, &loan_id(0), false);
    audit(&stack, 1).await;
}

/// A body of exactly the limit is taken, also in chunks.
#[tokio::test]
async fn a_body_of_the_limit_is_taken() {
    let stack = start().await;
    let address = stack.service.address();
    let mut full = loan(0).to_string();
    full.push_str(&" ".repeat(64 * 1024 - full.len()));
    let answer = http::post(address, REQUEST, &full).await.unwrap();
    assert_queued(&answer, &loan_id(0), false);

    let mut chunked = head(address, "Transfer-Encoding: chunked");
    for part in loan(1).to_string().as_bytes().chunks(7) {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = exchange(address, &chunked, false).await.unwrap();
    assert_queued(&answer, &loan_id(1), false);
    audit(&stack, 2).await;
}

/// 1. A service whose workers and recorder are other processes' work: loans stay in the queue.
/// 2. The same loan again, however it is written, is replayed; other content is a conflict.
/// 3. Fifty clients with one loan at once: one of them was first.
#[tokio::test]
async fn an_id_is_admitted_once() {
    let stack = start_with(service_options(vec!["--role".into(), "api".into()])).await;
    let address = stack.service.address();
    assert_queued(&post(address, &loan(0)).await, &loan_id(0), false);
    assert_queued(&post(address, &loan(0)).await, &loan_id(0), true);
    let spaced = serde_json::to_string_pretty(&loan(0)).unwrap();
    let answer = http::post(address, REQUEST, spaced).await.unwrap();
    assert_queued(&answer, &loan_id(0), true);
    let mut other = loan(0);
    other["amount"] = json!(1);
    assert_problem(&post(address, &other).await, 422, "loan_id_conflict");

    let clients: Vec<_> = (0..50)
        .map(|_| tokio::spawn(async move { post(address, &loan(1)).await }))
        .collect();
    let mut firsts = 0;
    for client in clients {
        let answer = client.await.unwrap();
        let is_first = body(&answer)["replayed"] == false;
        assert_queued(&answer, &loan_id(1), !is_first);
        firsts += u32::from(is_first);
    }
    assert_eq!(firsts, 1);

    assert_eq!(lengths(&stack.redis).await, [2, 0, 0]);
    let counters = redis_counters(&stack.redis).await;
    assert_eq!(counters["admitted"], 2);
    assert_eq!(counters["replayed"], 2 + 49);
    let answer = http::get(address, &format!("/api/loans/{}", loan_id(1)))
        .await
        .unwrap();
    assert_eq!(body(&answer)["status"], "queued", "{answer:?}");
}

/// 1. A loan is recorded in MongoDB and freed from Redis.
/// 2. The same loan again is answered as a replay, other content as a conflict, and neither leaves
///    anything in Redis.
/// 3. So it stays when fifty clients ask at once.
#[tokio::test]
async fn a_recorded_loan_is_still_known() {
    let stack = start().await;
    let address = stack.service.address();
    assert_queued(&post(address, &loan(0)).await, &loan_id(0), false);
    drained(&stack.redis).await;
    wait_until("the id is freed", async || {
        held_ids(&stack.redis).await.is_empty()
    })
    .await;
    assert_eq!(documents(&stack.mongodb, "loans").await.len(), 1);

    assert_queued(&post(address, &loan(0)).await, &loan_id(0), true);
    let mut other = loan(0);
    other["amount"] = json!(1);
    assert_problem(&post(address, &other).await, 422, "loan_id_conflict");
    let clients: Vec<_> = (0..50)
        .map(|_| tokio::spawn(async move { post(address, &loan(0)).await }))
        .collect();
    for client in clients {
        assert_queued(&client.await.unwrap(), &loan_id(0), true);
    }
    wait_until("the look-ups leave Redis", async || {
        held_ids(&stack.redis).await.is_empty()
    })
    .await;
    assert_eq!(redis_counters(&stack.redis).await["replayed"], 51);
    audit(&stack, 1).await;
}

/// A loan that breaks rules is taken, and its record tells every fault.
#[tokio::test]
async fn every_fault_is_recorded() {
    let stack = start().await;
    let address = stack.service.address();
    let mut bad = loan(0);
    bad["amount"] = json!("12");
    bad["termMonths"] = json!(0);
    bad["currency"] = json!("XX");
    bad.as_object_mut().unwrap().remove("purpose");
    bad["applicant"]["email"] = json!("nobody");
    assert_queued(&post(address, &bad).await, &loan_id(0), false);
    for (number, amount) in [(1, "1e300"), (2, "999999999999999999999999999999")] {
        let plain = loan(number)["amount"].to_string();
        let huge = loan(number).to_string().replace(&plain, amount);
        assert!(huge.contains(amount), "{huge}");
        let answer = http::post(address, REQUEST, &huge).await.unwrap();
        assert_queued(&answer, &loan_id(number), false);
    }
    drained(&stack.redis).await;

    assert!(documents(&stack.mongodb, "loans").await.is_empty());
    let failures = documents(&stack.mongodb, "failures").await;
    let ids = BTreeSet::from_iter(strings(&failures, "_id"));
    let expected = [0, 1, 2].map(|number| format!("{}#1", loan_id(number)));
    assert_eq!(ids, BTreeSet::from(expected));
    let of = |number: u64| {
        let failure = failures
            .iter()
            .find(|failure| failure.get_str("loanId").ok() == Some(&*loan_id(number)));
        let failure = failure.unwrap();
        let faults = failure.get_array("faults").unwrap().iter().map(|fault| {
            let fault = fault.as_document().unwrap();
            (
                fault.get_str("field").unwrap().to_owned(),
                fault.get_str("errorType").unwrap().to_owned(),
            )
        });
        (
            failure.get_str("errorType").unwrap().to_owned(),
            faults.collect::<BTreeSet<_>>(),
        )
    };
    let faults = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(field, error_type)| ((*field).to_owned(), (*error_type).to_owned()))
            .collect::<BTreeSet<_>>()
    };
    let all = faults(&[
        ("amount", "wrong_type"),
        ("termMonths", "out_of_range"),
        ("currency", "invalid_format"),
        ("purpose", "missing_field"),
        ("applicant.email", "invalid_format"),
    ]);
    assert_eq!(of(0), ("missing_field".to_owned(), all));
    let one = faults(&[("amount", "out_of_range")]);
    for number in [1, 2] {
        assert_eq!(of(number), ("out_of_range".to_owned(), one.clone()));
    }
}

#[tokio::test]
async fn a_loan_is_found_by_its_id() {
    let stack = start().await;
    let address = stack.service.address();
    assert_queued(&post(address, &loan(0)).await, &loan_id(0), false);
    assert_queued(&post(address, &loan(9)).await, &loan_id(9), false);
    drained(&stack.redis).await;

    let find = async |id: &str| {
        http::get(address, &format!("/api/loans/{id}"))
            .await
            .unwrap()
    };
    let answer = find(&loan_id(0)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let found = body(&answer);
    assert_eq!(found["loanId"], loan_id(0));
    assert_eq!(found["status"], "recorded");
    assert_eq!(found["result"]["amountMinor"], 116_950, "{found}");
    assert_eq!(found["attempts"], json!([]));
    let steps = |found: &Value| -> Vec<String> {
        let steps = found["steps"].as_array().unwrap();
        let at = |step: &Value| step["at"].as_str().unwrap().to_owned();
        assert!(steps.is_sorted_by_key(at), "{found}");
        let name = |step: &Value| step["step"].as_str().unwrap().to_owned();
        steps.iter().map(name).collect()
    };
    let way = ["received", "queued", "claimed", "processed", "recorded"];
    assert_eq!(steps(&found), way);
    assert_eq!(found["receivedAt"], found["steps"][0]["at"]);
    let answer = find(&loan_id(9)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let found = body(&answer);
    assert_eq!(found["status"], "failed");
    assert_eq!(found["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(found["attempts"][0]["errorType"], "out_of_range", "{found}");
    assert_eq!(found["attempts"][0]["faults"][0]["field"], "creditScore");
    assert_eq!(steps(&found), way);
    assert_problem(&find("GC-999999").await, 404, "not_found");
    assert_problem(&find("no%20id").await, 404, "not_found");
}

/// A paused system refuses new loans, says when to come back, and still knows the old ones.
#[tokio::test]
async fn pause_and_backlog_are_told() {
    let mut arguments = quick();
    arguments.extend(["--role", "api", "--backlog-max", "2"].map(String::from));
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();

    assert_queued(&post(address, &loan(0)).await, &loan_id(0), false);
    let control = support::key(&stack.redis, "control").await;
    let pause = ["HSET", &control, "paused", "1"];
    let resume = ["HDEL", &control, "paused"];
    let _: u32 = support::redis(&stack.redis, &pause).await;
    let answer = post(address, &loan(1)).await;
    assert_problem(&answer, 503, "paused");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_queued(&post(address, &loan(0)).await, &loan_id(0), true);
    let _: u32 = support::redis(&stack.redis, &resume).await;
    assert_queued(&post(address, &loan(1)).await, &loan_id(1), false);

    let answer = post(address, &loan(2)).await;
    assert_problem(&answer, 503, "overloaded");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_queued(&post(address, &loan(1)).await, &loan_id(1), true);
    assert_eq!(lengths(&stack.redis).await, [2, 0, 0]);
}

/// The history comes first, then snapshots; a page of another origin is turned away.
#[tokio::test]
async fn the_web_socket_tells_what_happens() {
    let stack = start().await;
    let address = stack.service.address();
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws"))
        .await
        .unwrap();
    let mut next = async || -> Value {
        let frame = tokio::time::timeout(support::PATIENCE, socket.next()).await;
        match frame.unwrap().unwrap().unwrap() {
            Message::Text(text) => serde_json::from_str(text.as_str()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let first = next().await;
    assert_eq!(first["type"], "history");
    assert!(first["points"].is_array());
    assert_queued(&post(address, &loan(9)).await, &loan_id(9), false);
    let (mut has_failure, mut has_count) = (false, false);
    while !(has_failure && has_count) {
        let message = next().await;
        match message["type"].as_str().unwrap() {
            "snapshot" => {
                has_count |= message["snapshot"]["counters"]["recordedFailures"] == 1;
            }
            "event" => {
                let event = &message["event"];
                assert!(event["atMs"].is_u64(), "{message}");
                has_failure |= event["kind"] == "failure" && event["loanId"] == loan_id(9);
            }
            "tasks" => {}
            _ => panic!("{message}"),
        }
    }

    let upgrade = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Origin", "http://elsewhere.example"),
    ];
    let answer = http::request(address, "GET", "/ws", &upgrade, b"")
        .await
        .unwrap();
    assert_problem(&answer, 403, "foreign_origin");
    let answer = http::get(address, "/ws").await.unwrap();
    assert_problem(&answer, 426, "not_a_web_socket");
    assert_eq!(answer.header("upgrade"), Some("websocket"), "{answer:?}");
    let version = answer.header("sec-websocket-version");
    assert_eq!(version, Some("13"), "{answer:?}");
}

/// Calls of admission that Redis has received, of which it holds the first one back: they are longer than any other call here,
/// and share a connection.
async fn admissions_held(stack: &Stack) -> usize {
    let clients: String = redis(&stack.redis, &["CLIENT", "LIST"]).await;
    let held = clients.lines().map(|client| {
        let value_of = |name: &str| {
            client
                .split(' ')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let is_long = |name: &str| {
            let bytes = value_of(name).and_then(|bytes| bytes.parse::<u64>().ok());
            bytes.is_some_and(|bytes| bytes > 10_000)
        };
        let is_held = value_of("flags").is_some_and(|flags| flags.contains('b'));
        // The one that is held back, and what came behind it.
        if is_held && is_long("argv-mem") {
            1 + usize::from(is_long("qbuf"))
        } else {
            0
        }
    });
    held.sum()
}

/// Redis holds calls back again and again, until two of admission were there at once. The first time the second one may still
/// have to connect, which Redis holds back as well.
#[tokio::test]
async fn a_loan_need_not_wait_until_the_one_before_it_is_answered() {
    let mut arguments = quick();
    arguments.extend(["--role", "api", "--admission-timeout", "60s"].map(String::from));
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    let mut sent = 0;
    wait_until("two calls were there at once", async || {
        let _: String = redis(&stack.redis, &["CLIENT", "PAUSE", "1000", "WRITE"]).await;
        let mut answers = Vec::new();
        let mut most = 0;
        while answers.len() < 2 || !answers.iter().all(JoinHandle::is_finished) {
            let held = admissions_held(&stack).await;
            most = most.max(held);
            // The second one comes when the first is there, or was.
            let is_due = match &answers[..] {
                [] => true,
                [first] => held > 0 || first.is_finished(),
                _ => false,
            };
            if is_due {
                let mut long = loan(sent);
                long["purpose"] = "radio/television".repeat(1_000).into();
                sent += 1;
                answers.push(tokio::spawn(async move { post(address, &long).await }));
            }
        }
        for answer in answers {
            assert_eq!(answer.await.unwrap().status, 202);
        }
        most == 2
    })
    .await;
    assert_eq!(redis_counters(&stack.redis).await["queued"], sent);
}
