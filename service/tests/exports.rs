//! Exports: whole, safe for spreadsheets, by tickets that are good once.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use support::{admin, assert_problem, audit, body, drained, loan, post, start, wait_until};
use testbed::{Signal, Stack, http};

const BASE_MS: i64 = 1_700_000_000_000;

fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.records().map(Result::unwrap);
    rows.map(|row| row.iter().map(str::to_owned).collect())
        .collect()
}

async fn get(stack: &Stack, path: &str) -> http::Answer {
    admin(stack.service.address(), "GET", path, &Value::Null).await
}

/// What stands in a body is never taken for an answer of hyper's own, which is replaced: an export is whole whatever a
/// client wrote. Its frame and its rows hold the line breaks of HTTP.
#[tokio::test]
async fn what_a_client_wrote_is_no_answer() {
    let stack = start().await;
    let address = stack.service.address();
    let text = "HTTP/1.1 400 Bad Request";
    let (mut recorded, mut failed) = (loan(0), loan(1));
    recorded["applicant"]["name"] = json!(text);
    failed["applicant"]["email"] = json!(text);
    for loan in [&recorded, &failed] {
        assert_eq!(post(address, loan).await.status, 202);
    }
    drained(&stack.redis).await;
    for path in [
        "/api/exports/errors?format=csv",
        "/api/exports/errors?format=ndjson",
        "/api/exports/loans?format=csv",
        "/api/exports/loans?format=ndjson",
    ] {
        let export = get(&stack, path).await;
        assert_eq!(export.status, 200, "{path}: {export:?}");
        assert!(export.body.contains(text), "{path}: {export:?}");
        assert!(
            !export.body.contains("application/problem+json"),
            "{path}: {export:?}"
        );
    }
}

/// 1. Failures and loans are exported in both forms, by a filter, whole.
/// 2. A cell that a spreadsheet would take for a formula is none.
/// 3. Each export stands in the record of activity.
#[tokio::test]
async fn what_is_recorded_is_exported() {
    let stack = start().await;
    let address = stack.service.address();
    for number in 0..30 {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    let mut evil = loan(39);
    evil["loanId"] = json!("-evil");
    evil["applicant"]["email"] = json!("=cmd|'/c calc'!A1@example.org");
    assert_eq!(post(address, &evil).await.status, 202);
    drained(&stack.redis).await;

    let csv = get(&stack, "/api/exports/errors").await;
    assert_eq!(csv.status, 200, "{csv:?}");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(
        csv.header("content-disposition"),
        Some("attachment; filename=\"errors.csv\"")
    );
    let errors = rows(&csv.body);
    assert_eq!(errors.len(), 4, "{csv:?}");
    let evil = errors.iter().find(|row| row[0] == "'-evil").unwrap();
    assert!(evil[4].starts_with("'="), "{evil:?}");
    let some = get(&stack, "/api/exports/errors?format=ndjson&loanId=GC-00001").await;
    let lines: Vec<Value> = some
        .body
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{some:?}");
    assert_eq!(lines[0]["loanId"], "GC-000019");
    assert_eq!(lines[0]["isWaiting"], true);

    let csv = get(&stack, "/api/exports/loans").await;
    let mut loans = rows(&csv.body);
    loans.sort();
    assert_eq!(loans.len(), 27, "{csv:?}");
    assert_eq!(loans[0][..5], ["GC-000000", "1", "1169.50", "DEM", "6"]);
    let lines = get(
        &stack,
        "/api/exports/loans?format=ndjson&from=0&to=2999-01-01T00:00:00Z",
    )
    .await;
    assert_eq!(lines.body.lines().count(), 27);
    let none = get(&stack, "/api/exports/loans?format=ndjson&to=0").await;
    assert_eq!((none.status, &*none.body), (200, ""));

    wait_until("the record of activity tells it", async || {
        let told = body(&get(&stack, "/api/activity").await);
        let entries = told["entries"].as_array().unwrap();
        let effects: Vec<_> = entries
            .iter()
            .map(|entry| entry["effect"].as_str().unwrap())
            .collect();
        [
            "all failed loans as CSV: 4 rows",
            "failed loans with loanId GC-00001 as NDJSON: 1 rows",
            "loans as CSV: 27 rows",
        ]
        .iter()
        .all(|effect| effects.contains(effect))
    })
    .await;
    for path in ["/api/exports/errors", "/api/exports/loans"] {
        assert_problem(
            &http::get(address, path).await.unwrap(),
            401,
            "unauthorized",
        );
    }
    assert_problem(
        &get(&stack, "/api/exports/errors?format=xls").await,
        400,
        "invalid_parameter",
    );
    assert_problem(
        &get(&stack, "/api/exports/loans?loanId=A").await,
        400,
        "invalid_parameter",
    );
}

/// A ticket leads to one download, without a token; it is nobody's twice.
#[tokio::test]
async fn a_ticket_is_good_once() {
    let stack = start().await;
    let address = stack.service.address();
    for number in 0..20 {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    audit(&stack, 20).await;
    let asked = json!({ "of": "errors", "format": "csv", "filter": { "loanId": "GC-00001" } });
    let made = admin(address, "POST", "/api/exports", &asked).await;
    assert_eq!(made.status, 201, "{made:?}");
    let href = body(&made)["href"].as_str().unwrap().to_owned();
    let first = http::get(address, &href).await.unwrap();
    assert_eq!(
        (first.status, rows(&first.body).len()),
        (200, 1),
        "{first:?}"
    );
    assert_problem(
        &http::get(address, &href).await.unwrap(),
        410,
        "export_expired",
    );
    assert_problem(
        &http::get(address, "/api/downloads/nonsense").await.unwrap(),
        410,
        "export_expired",
    );
    for (asked, word) in [
        (
            json!({ "of": "loans", "format": "csv", "filter": { "loanId": "A" } }),
            "from",
        ),
        (
            json!({ "of": "errors", "format": "csv", "filter": { "from": "now" } }),
            "filter.from",
        ),
        (json!({ "of": "errors", "format": "xls" }), "xls"),
    ] {
        let answer = admin(address, "POST", "/api/exports", &asked).await;
        assert_problem(&answer, 400, "invalid_body");
        assert!(
            body(&answer)["detail"].as_str().unwrap().contains(word),
            "{answer:?}"
        );
    }
}

/// While MongoDB does not answer, no file is begun: the answer says so, and when to ask again. A link is good then.
#[tokio::test]
async fn what_cannot_be_read_is_no_file() {
    let stack = start().await;
    let address = stack.service.address();
    let asked = json!({ "of": "errors", "format": "csv", "filter": {} });
    let made = admin(address, "POST", "/api/exports", &asked).await;
    assert_eq!(made.status, 201, "{made:?}");
    let href = body(&made)["href"].as_str().unwrap().to_owned();
    stack.mongodb.signal(Signal::SIGSTOP).unwrap();
    for path in ["/api/exports/errors", "/api/exports/loans", &href] {
        let answer = get(&stack, path).await;
        assert_problem(&answer, 503, "store_unavailable");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert_eq!(answer.header("content-disposition"), None, "{answer:?}");
    }
    stack.mongodb.signal(Signal::SIGCONT).unwrap();
    wait_until("MongoDB answers", async || {
        get(&stack, "/api/exports/loans").await.status == 200
    })
    .await;
    assert_eq!(http::get(address, &href).await.unwrap().status, 200);
}

/// So many failures that an export of them does not fit into what lies between the service and a client that does not read.
async fn many_failures(stack: &Stack) {
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri())
        .await
        .unwrap();
    let failures = client.database("sluice").collection::<Document>("failures");
    let all = (0..40_000).map(|number| {
        doc! {
            "_id": format!("GC-{number:06}#1"), "loanId": format!("GC-{number:06}"), "attempt": 1_i64,
            "fingerprint": "00", "errorType": "out_of_range",
            "faults": [{ "field": "amount", "rule": "a rule ".repeat(20), "errorType": "out_of_range", "value": "x" }],
            "receivedAt": DateTime::from_millis(BASE_MS), "failedAt": DateTime::from_millis(BASE_MS + number),
        }
    });
    failures.insert_many(all.collect::<Vec<_>>()).await.unwrap();
}

/// Begins an export, and reads no more than the first line of its answer.
async fn begun(stack: &Stack) -> (tokio::net::TcpStream, String) {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    let head = format!(
        "GET /api/exports/errors HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        support::ADMIN_TOKEN
    );
    let mut stream = tokio::net::TcpStream::connect(stack.service.address())
        .await
        .unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut part = [0; 12];
    stream.read_exact(&mut part).await.unwrap();
    (stream, String::from_utf8_lossy(&part[9..]).into_owned())
}

/// A link for which there is no room now is good as soon as there is.
#[tokio::test]
async fn a_link_that_was_refused_for_now_is_good_later() {
    let stack = start().await;
    let address = stack.service.address();
    many_failures(&stack).await;
    let mut held = Vec::new();
    for _ in 0..service::limits::EXPORTS_MAX {
        let (stream, status) = begun(&stack).await;
        assert_eq!(status, "200");
        held.push(stream);
    }
    let asked = json!({ "of": "errors", "format": "csv", "filter": { "loanId": "GC-00001" } });
    let made = admin(address, "POST", "/api/exports", &asked).await;
    assert_eq!(made.status, 201, "{made:?}");
    let href = body(&made)["href"].as_str().unwrap().to_owned();
    let refused = http::get(address, &href).await.unwrap();
    assert_problem(&refused, 503, "too_many_exports");
    drop(held);
    wait_until("there is room", async || {
        let answer = http::get(address, &href).await.unwrap();
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        answer.status == 200
    })
    .await;
    let again = http::get(address, &href).await.unwrap();
    assert_problem(&again, 410, "export_expired");
}

/// A client that goes away ends the export, and gives back its room.
#[tokio::test]
async fn an_export_ends_with_its_client() {
    let stack = start().await;
    many_failures(&stack).await;
    // More than there is room for at once.
    for _ in 0..20 {
        wait_until("there is room", async || begun(&stack).await.1 == "200").await;
    }
    wait_until("that is told", async || {
        let told = body(&get(&stack, "/api/activity?limit=200").await);
        let entries = told["entries"].as_array().unwrap();
        let broken = entries.iter().filter(|entry| {
            entry["effect"]
                .as_str()
                .unwrap()
                .ends_with("broken off by the client")
        });
        broken.count() >= 20
    })
    .await;
    // Who stays gets all of it.
    let whole = get(&stack, "/api/exports/errors").await;
    assert_eq!(whole.body.matches("GC-0").count(), 40_000);
}
