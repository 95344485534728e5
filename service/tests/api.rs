//! The interface as a whole: its description is true, and odd requests get orderly answers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use support::{
    REQUEST, assert_problem, body, exchange, loan, loan_id, logged, post, quick, service_options,
    start, start_with,
};
use testbed::http;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The description that the service serves is the one that it prints, and every call in it is
/// there, with those methods and no others.
#[tokio::test]
async fn the_description_is_true() {
    let stack = start().await;
    let address = stack.service.address();
    let served = body(&http::get(address, "/openapi.json").await.unwrap());
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_service"))
        .arg("--openapi")
        .output()
        .unwrap();
    assert!(printed.status.success());
    assert_eq!(
        serde_json::from_slice::<Value>(&printed.stdout).unwrap(),
        served
    );
    assert_eq!(
        served["openapi"].as_str().unwrap().split('.').next(),
        Some("3")
    );

    for (path, item) in served["paths"].as_object().unwrap() {
        let url = path.replace("{loanId}", "GC-000001");
        let documented: BTreeSet<_> = item
            .as_object()
            .unwrap()
            .keys()
            .map(|key| key.to_uppercase())
            .collect();
        assert!(!documented.is_empty());
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
            let answer = http::request(address, method, &url, &[], b"")
                .await
                .unwrap();
            if documented.contains(method) {
                let operation = &item[method.to_lowercase()];
                let answers = operation["responses"].as_object().unwrap();
                assert!(
                    answers.contains_key(&answer.status.to_string()),
                    "{method} {path}: {answer:?}"
                );
                let is_admin = operation["security"].is_array();
                assert_eq!(
                    answer.status == 401,
                    is_admin,
                    "{method} {path}: {answer:?}"
                );
            } else {
                assert_problem(&answer, 405, "method_not_allowed");
                let allowed = answer.header("allow").unwrap();
                let allowed: BTreeSet<_> = allowed.split(", ").map(str::to_owned).collect();
                let implied = BTreeSet::from(["HEAD".to_owned(), "OPTIONS".to_owned()]);
                assert_eq!(&allowed - &implied, documented, "{method} {path}");
            }
        }
        let answer = http::request(address, "OPTIONS", &url, &[], b"")
            .await
            .unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        assert!(answer.header("allow").is_some());
    }
    for schema in ["Snapshot", "Message", "Event", "Point", "ProblemDetails"] {
        assert!(
            served["components"]["schemas"][schema].is_object(),
            "{schema}"
        );
    }
}

/// Odd requests get orderly answers, and the service goes on.
#[tokio::test]
async fn odd_requests_are_answered() {
    let stack = start().await;
    let address = stack.service.address();
    assert_eq!(post(address, &loan(0)).await.status, 202);
    let get = async |path: &str| http::get(address, path).await.unwrap();

    // Escapes in a path mean what they stand for; an escaped slash is no slash.
    let id = loan_id(0);
    let escaped = format!("/api/loans/%47{}", &id[1..]);
    assert_eq!(body(&get(&escaped).await)["loanId"], id);
    for path in [
        format!("/api/loans/{id}%2F"),
        format!("/api/loans/{id}/"),
        format!("/api/loans/{id}%00"),
        "/api/loans/".to_owned(),
        "/api/loans/%".to_owned(),
        "/api/loans/%ff%fe".to_owned(),
        "/api/loans/..%2f..%2fetc".to_owned(),
        format!("/api/loans/{}", "x".repeat(8_000)),
        "/API/metrics".to_owned(),
        "//api/metrics".to_owned(),
        "/api/metrics/".to_owned(),
    ] {
        assert_problem(&get(&path).await, 404, "not_found");
    }
    // A query that a path does not know is ignored, also in a form that nobody can read.
    assert_eq!(get("/healthz?a=1&a=2&%ff").await.status, 200);

    // HEAD is GET without its body.
    let answer = http::request(address, "HEAD", "/api/metrics", &[], b"")
        .await
        .unwrap();
    assert_eq!((answer.status, &*answer.body), (200, ""));
    assert_ne!(answer.header("content-length"), Some("0"));
    let answer = http::request(address, "HEAD", "/api/nothing", &[], b"")
        .await
        .unwrap();
    assert_eq!((answer.status, &*answer.body), (404, ""));
    for method in ["BREW", "get", "CONNECT", "TRACE"] {
        let target = if method == "CONNECT" {
            "a.example:80"
        } else {
            "/healthz"
        };
        let answer = http::request(address, method, target, &[], b"")
            .await
            .unwrap();
        assert!([400, 404, 405, 421].contains(&answer.status), "{answer:?}");
    }
    // A body where none belongs is not looked at.
    let answer = http::request(
        address,
        "GET",
        "/healthz",
        &[],
        "x".repeat(70_000).as_bytes(),
    )
    .await
    .unwrap();
    assert_eq!(answer.status, 200);

    // Bytes that are no text, in the query and in the path.
    for (target, status, error_type) in [
        ("/api/errors?loanId=\u{e9}", 400, "malformed_request"),
        ("/api/loans/\u{e9}", 400, "malformed_request"),
        ("/api/errors?loanId=%E9", 400, "invalid_parameter"),
        ("/api/loans/%E9", 404, "not_found"),
    ] {
        let mut message = b"GET ".to_vec();
        message.extend(target.chars().map(|c| c as u8));
        message.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = exchange(address, &message, false).await.unwrap();
        assert_problem(&answer, status, error_type);
    }
    // A target beyond every bound is refused, for what it says or by its length.
    for (len, status, error_type) in [
        (10_000, 400, "invalid_parameter"),
        (17_000, 431, "head_too_large"),
        (66_000, 431, "head_too_large"),
    ] {
        let target = format!("/api/errors?loanId={}", "x".repeat(len));
        let message =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = exchange(address, message.as_bytes(), false).await.unwrap();
        assert_problem(&answer, status, error_type);
    }
    let mut heads = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    for number in 0..1_000 {
        heads.extend(["X-", &number.to_string(), ": y\r\n"]);
    }
    heads.push_str("\r\n");
    let answer = exchange(address, heads.as_bytes(), false).await.unwrap();
    assert_problem(&answer, 431, "head_too_large");
    for nonsense in [
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno header\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = exchange(address, nonsense.as_bytes(), true).await;
        let answer = answer.unwrap_or_else(|| panic!("no answer to {nonsense:?}"));
        assert_problem(&answer, 400, "malformed_request");
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        assert!(answer.header("date").is_some(), "{answer:?}");
        assert!(answer.header("x-request-id").is_some(), "{answer:?}");
    }
    // Nothing to answer.
    let answer = exchange(address, b"\r\n\r\n\r\n", true).await;
    assert!(answer.is_none(), "{answer:?}");
    // Behind a good request, the nonsense is refused and the answer to the request is whole.
    let both = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n";
    let first = exchange(address, both.as_bytes(), false).await.unwrap();
    assert_eq!(first.status, 200, "{first:?}");
    let (health, second) = first.body.split_once("HTTP/1.1 400 Bad Request").unwrap();
    assert_eq!(health, r#"{"status":"up"}"#);
    let (_, problem) = second.split_once("\r\n\r\n").unwrap();
    let problem: Value = serde_json::from_str(problem).unwrap();
    assert_eq!(problem["errorType"], "malformed_request");
    let smuggled = format!(
        "POST {REQUEST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    );
    let answer = exchange(address, smuggled.as_bytes(), true).await.unwrap();
    assert_problem(&answer, 400, "malformed_json");
    assert!(!answer.body.contains("HTTP/1.1 200"), "{answer:?}");

    assert_eq!(get("/healthz").await.status, 200);
    let log = stack.service.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// What a WebSocket carries is not read as HTTP: a client gets its own bytes back, whatever they say.
#[tokio::test]
async fn a_ping_is_answered_by_its_own_bytes() {
    let stack = start().await;
    let url = format!("ws://{}/ws", stack.service.address());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let payload = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    socket.send(Message::Ping(payload.into())).await.unwrap();
    let answer = async {
        loop {
            if let Message::Pong(echo) = socket.next().await.unwrap().unwrap() {
                return echo;
            }
        }
    };
    let echo = tokio::time::timeout(support::PATIENCE, answer)
        .await
        .unwrap();
    assert_eq!(echo, payload.as_bytes());
}

/// Whoever closes a WebSocket gets a close frame back, and whoever breaks the protocol is told so by its code (RFC 6455, 7.4.1).
#[tokio::test]
async fn the_end_of_a_websocket_is_said() {
    let stack = start().await;
    let closed_with = async |frame: Option<Message>, raw: &[u8]| {
        let url = format!("ws://{}/ws", stack.service.address());
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        if let Some(frame) = frame {
            socket.send(frame).await.unwrap();
        }
        let stream = socket.get_mut();
        stream.write_all(raw).await.unwrap();
        let answer = async {
            loop {
                match socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    end => panic!("without a word: {end:?}"),
                }
            }
        };
        let answer = tokio::time::timeout(support::PATIENCE, answer);
        answer.await.expect("an end")
    };
    let bye = CloseFrame {
        code: CloseCode::Normal,
        reason: "bye".into(),
    };
    let bye = Message::Close(Some(bye));
    assert_eq!(closed_with(Some(bye), b"").await, Some(1000));
    let long = Message::Binary(vec![0; 8 * 1024].into());
    assert_eq!(closed_with(Some(long), b"").await, Some(1009));
    // A text of one byte under a mask of zeros, and one without any mask.
    assert_eq!(closed_with(None, b"\x81\x81\0\0\0\0\xff").await, Some(1007));
    assert_eq!(closed_with(None, b"\x81\x01a").await, Some(1002));

    // An older HTTP knows no upgrade.
    let mut stream = TcpStream::connect(stack.service.address()).await.unwrap();
    let request = "GET /ws HTTP/1.0\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 426 "), "{answer}");
}

/// A request's id is the client's or a new one; the answer and the log name it, and the log is JSON
/// by the line.
#[tokio::test]
async fn a_request_is_found_by_its_id() {
    let mut arguments = quick();
    arguments.extend(["--log", "json"].map(String::from));
    let mut options = service_options(arguments);
    let level = (
        "SLUICE_LOG_LEVEL".to_owned(),
        "debug,mongodb=off".to_owned(),
    );
    options.environment.push(level);
    let stack = start_with(options).await;
    let address = stack.service.address();
    let ask = async |id: &str| {
        let headers = [("X-Request-Id", id)];
        let answer = http::request(address, "GET", "/api/loans/nobody", &headers, b"").await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 404);
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask("client-17").await, "client-17");
    let made = [ask("").await, ask("a b").await, ask(&"x".repeat(65)).await];
    let unique: BTreeSet<_> = made.iter().collect();
    assert_eq!(unique.len(), 3);
    assert!(
        made.iter().all(|id| !id.contains(' ') && id.len() < 64),
        "{made:?}"
    );

    for id in [&*made[0], "client-17"] {
        logged(&stack.service, &[id]).await;
    }
    let log = stack.service.log();
    let entries: Vec<Value> = log
        .split_inclusive('\n')
        .filter(|line| line.len() > 1 && line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for id in [&*made[0], "client-17"] {
        let entry = entries
            .iter()
            .find(|entry| entry["fields"]["request_id"] == id);
        let fields = &entry.unwrap()["fields"];
        assert_eq!(fields["path"], "/api/loans/nobody", "{fields}");
        assert_eq!(fields["status"], 404, "{fields}");
    }
}
