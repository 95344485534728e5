//! Tokens with names and roles, what is hidden from whoever has none, and the record of what operators change.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;
use std::process::Command;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use support::{
    ADMIN_TOKEN, admin, assert_problem, body, documents, drained, loan, loan_id, post, quick,
    service_options, start, start_with, wait_until,
};
use testbed::http::{self, Answer};

/// A new token and its line, as the program makes them.
fn token(name: &str, role: &str) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_service"))
        .args(["token", name, "--role", role])
        .output()
        .unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    let token = said.lines().next().unwrap().rsplit(' ').next().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(!line.contains(token), "{line}");
    (token.to_owned(), line)
}

/// A line is added to a file whatever its last one ends with.
#[test]
fn a_line_stands_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, token("ada", "viewer").1.trim_end()).unwrap();
    for name in ["grace", "mary"] {
        let added = std::fs::OpenOptions::new()
            .append(true)
            .open(&file)
            .unwrap();
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_service"))
            .args(["token", name])
            .stdout(added)
            .stderr(std::process::Stdio::null())
            .status();
        assert!(status.unwrap().success());
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["ada", "grace", "mary"], "{text}");
    assert!(service::tokens::Tokens::parse(&text).is_ok(), "{text}");
}

async fn call(address: SocketAddr, token: Option<&str>, method: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let headers = [("Authorization", &*bearer)];
    let headers = if token.is_some() { &headers[..] } else { &[] };
    http::request(address, method, path, headers, b"")
        .await
        .unwrap()
}

const READING: [&str; 7] = [
    "/api/errors",
    "/api/metrics",
    "/api/history",
    "/api/control",
    "/api/activity",
    "/metrics",
    "/api/loans/GC-000000",
];

/// 1. With a file, reading needs a token; a viewer reads and changes nothing, an operator does, the token of today too.
/// 2. Loans, probes and the description stay open.
/// 3. The file is read again: who is taken out is out, who is put in is in; a broken file changes nothing.
/// 4. Each change is recorded in MongoDB, with name, address, instant and effect, and told by `/api/activity`.
#[tokio::test]
async fn tokens_have_names_and_roles() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let (ada, ada_line) = token("ada", "viewer");
    let (grace, grace_line) = token("grace", "operator");
    std::fs::write(&file, format!("# people\n{ada_line}{grace_line}")).unwrap();
    let mut arguments = quick();
    arguments.extend([
        "--tokens-file".to_owned(),
        file.to_str().unwrap().to_owned(),
    ]);
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    assert_eq!(post(address, &loan(0)).await.status, 202);
    drained(&stack.redis).await;
    for path in READING {
        assert_problem(&call(address, None, "GET", path).await, 401, "unauthorized");
        for token in [&*ada, &grace, ADMIN_TOKEN] {
            let answer = call(address, Some(token), "GET", path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
    }
    for path in ["/healthz", "/readyz", "/openapi.json", "/"] {
        assert_eq!(call(address, None, "GET", path).await.status, 200, "{path}");
    }
    let session =
        async |token: &str| body(&call(address, Some(token), "GET", "/api/session").await);
    let expected = json!({ "admin": false, "name": "ada", "role": "viewer" });
    assert_eq!(session(&ada).await, expected);
    let expected = json!({ "admin": true, "name": "grace", "role": "operator" });
    assert_eq!(session(&grace).await, expected);
    let pause = "/api/control/pause";
    let refused = call(address, Some(&ada), "POST", pause).await;
    assert_problem(&refused, 403, "role_forbids");
    assert!(refused.body.contains("operator"), "{refused:?}");
    let refused = call(address, Some("token-of-nobody"), "GET", "/api/errors").await;
    assert_problem(&refused, 403, "forbidden");
    assert_eq!(call(address, Some(&grace), "POST", pause).await.status, 200);
    let resume = "/api/control/resume";
    assert_eq!(
        call(address, Some(ADMIN_TOKEN), "POST", resume)
            .await
            .status,
        200
    );

    let mut listening = {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        let bearer = format!("Bearer {grace}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        tokio_tungstenite::connect_async(request).await.unwrap().0
    };
    std::fs::write(&file, "nonsense\n").unwrap();
    wait_until("the fault is logged", async || {
        stack
            .service
            .log()
            .contains("the file of tokens stays as it was: line 1")
    })
    .await;
    assert_eq!(session(&grace).await["role"], "operator");
    let (alan, alan_line) = token("alan", "operator");
    std::fs::write(&file, format!("{alan_line}{ada_line}")).unwrap();
    wait_until("the new one is known", async || {
        call(address, Some(&alan), "GET", "/api/session")
            .await
            .status
            == 200
    })
    .await;
    let answer = call(address, Some(&grace), "GET", "/api/session").await;
    assert_problem(&answer, 403, "forbidden");
    // Whoever listens by a token that is taken back hears no more.
    loop {
        let frame = tokio::time::timeout(support::PATIENCE, listening.next()).await;
        match frame.unwrap() {
            Some(Ok(frame)) if !frame.is_close() => {}
            _ => break,
        }
    }

    wait_until("both changes are recorded", async || {
        documents(&stack.mongodb, "activity").await.len() == 2
    })
    .await;
    let page = body(&call(address, Some(&ada), "GET", "/api/activity?limit=1").await);
    let entry = &page["entries"][0];
    assert_eq!(entry["name"], "administrator");
    assert_eq!(entry["action"], "resume");
    assert_eq!(entry["effect"], "ingestion goes on");
    assert_eq!(entry["address"], "127.0.0.1");
    assert!(
        entry["at"].is_string() && entry["requestId"].is_string(),
        "{entry}"
    );
    let cursor = page["nextCursor"].as_str().unwrap();
    let path = format!("/api/activity?cursor={cursor}");
    let page = body(&call(address, Some(&ada), "GET", &path).await);
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
    assert_eq!(page["entries"][0]["name"], "grace");
    assert_eq!(page["nextCursor"], Value::Null);
    let log = stack.service.log();
    for secret in [&ada, &grace, &alan] {
        assert!(!log.contains(&**secret), "{log}");
    }
}

/// Without a file everybody may look; who somebody is sees only whoever has the token: in the log of errors, in a loan, in
/// snapshots and in events. Also where an address stands in a field that is not for it, or in what an operator has written.
/// No log has it.
#[tokio::test]
async fn personal_data_needs_a_token() {
    let stack = start().await;
    let address = stack.service.address();
    let mut anonymous = {
        let url = format!("ws://{address}/ws");
        tokio_tungstenite::connect_async(url).await.unwrap().0
    };
    assert_eq!(post(address, &loan(0)).await.status, 202);
    let mut failing = loan(9);
    failing["applicant"]["email"] = "ada9@example.org".into();
    failing["applicant"]["ageYears"] = 7.into();
    failing["applicant"]["phone"] = "+49 30 1234567".into();
    assert_eq!(post(address, &failing).await.status, 202);
    let mut mixed_up = loan(1);
    for field in ["amount", "termMonths", "currency"] {
        mixed_up[field] = "ada9@example.org".into();
    }
    let mut free = loan(2);
    free["purpose"] = "for ada9@example.org".into();
    for loan in [&mixed_up, &free] {
        assert_eq!(post(address, loan).await.status, 202);
    }
    drained(&stack.redis).await;
    let personal = ["ada9@example.org", "ada0@example.org", "1234567", "\"Ada\""];
    let holds = |text: &str| personal.iter().any(|word| text.contains(word));
    let task = json!({ "kind": "discard", "loanIds": [loan_id(1)], "reason": "ada9@example.org asked for it" });
    let begun = admin(address, "POST", "/api/tasks", &task).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let task = format!("/api/tasks/{}", body(&begun)["taskId"].as_str().unwrap());
    wait_until("it is discarded", async || {
        let task = admin(address, "GET", &task, &Value::Null).await;
        body(&task)["phase"] == "done"
    })
    .await;
    wait_until("the change is recorded", async || {
        let activity = admin(address, "GET", "/api/activity", &Value::Null).await;
        activity.body.contains("1 discarded")
    })
    .await;
    let paths = [
        "/api/errors".to_owned(),
        format!("/api/loans/{}", loan_id(0)),
        format!("/api/loans/{}", loan_id(9)),
        format!("/api/loans/{}", loan_id(1)),
        format!("/api/loans/{}", loan_id(2)),
        format!("/api/errors?loanId={}", loan_id(1)),
        "/api/metrics".to_owned(),
        "/api/tasks".to_owned(),
        task,
        "/api/activity".to_owned(),
    ];
    wait_until("the applicant is counted", async || {
        let answer = admin(address, "GET", "/api/metrics", &Value::Null).await;
        answer.body.contains("ada9@example.org")
    })
    .await;
    for path in &paths {
        let shown = admin(address, "GET", path, &Value::Null).await;
        assert!(
            shown.status == 200 && holds(&shown.body),
            "{path}: {shown:?}"
        );
        let hidden = call(address, None, "GET", path).await;
        assert_eq!(hidden.status, 200, "{path}: {hidden:?}");
        assert!(!holds(&hidden.body), "{path}: {hidden:?}");
    }
    let errors = body(&call(address, None, "GET", "/api/errors").await);
    let masked = errors["errors"][0]["applicantEmail"].as_str().unwrap();
    assert!(masked.starts_with("a…@e…"), "{masked}");
    let history = call(address, None, "GET", "/api/history?minutes=30").await;
    assert!(!holds(&history.body), "{history:?}");
    let log = stack.service.log();
    assert!(!holds(&log), "{log}");
    // What is told as it happens.
    let (mut has_failure, mut has_snapshot, mut has_task, mut has_discard) = <_>::default();
    while !(has_failure && has_snapshot && has_task && has_discard) {
        let frame = tokio::time::timeout(support::PATIENCE, anonymous.next()).await;
        let text = frame.unwrap().unwrap().unwrap().into_text().unwrap();
        assert!(!holds(text.as_str()), "{text}");
        has_failure |= text.contains("\"kind\":\"failure\"");
        has_snapshot |= text.contains("a…@e…");
        has_task |= text.contains("\"kind\":\"tasks\"") || text.contains("\"tasks\":[{");
        has_discard |= text.contains("\"kind\":\"discard\"") && text.contains("\"discarded\":1");
    }
}

/// A change is recorded with its effect; one that is made while MongoDB is away is recorded later.
#[tokio::test]
async fn changes_are_recorded() {
    let mut stack = start().await;
    let address = stack.service.address();
    assert_eq!(post(address, &loan(9)).await.status, 202);
    drained(&stack.redis).await;
    let retry = json!({ "loanIds": [loan_id(9)] });
    let answer = admin(address, "PATCH", "/api/loans/retry", &retry).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    drained(&stack.redis).await;
    let retry = json!({ "loanIds": [loan_id(9)], "correction": loan(9) });
    let answer = admin(address, "PATCH", "/api/loans/retry", &retry).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    drained(&stack.redis).await;
    stack.mongodb.kill();
    let answer = admin(address, "POST", "/api/control/pause", &Value::Null).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    stack.mongodb.restart().await.unwrap();
    let entries = async || {
        let answer = admin(address, "GET", "/api/activity", &Value::Null).await;
        let entries = body(&answer)["entries"].clone();
        entries.as_array().cloned().unwrap_or_default()
    };
    wait_until("all three are recorded", async || {
        entries().await.len() == 3
    })
    .await;
    let told: Vec<_> = entries()
        .await
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            format!("{}: {}", text("action"), text("effect"))
        })
        .collect();
    let id = loan_id(9);
    assert_eq!(
        told,
        [
            "pause: ingestion is paused".to_owned(),
            format!("correction: loan {id}: 1 queued again, 0 skipped, 0 left"),
            "retry: 1 loans by id: 1 queued again, 0 skipped, 0 left".to_owned(),
        ]
    );
}

/// Many wrong tokens at once: some are not even looked at, and loans are taken meanwhile.
#[tokio::test]
async fn guessing_is_slow() {
    let stack = start().await;
    let address = stack.service.address();
    let guesses: Vec<_> = (0..100)
        .map(|number| {
            tokio::spawn(async move {
                let guess = format!("guess-{number}");
                call(address, Some(&guess), "GET", "/api/session")
                    .await
                    .status
            })
        })
        .collect();
    assert_eq!(post(address, &loan(0)).await.status, 202);
    let mut refused = 0;
    for guess in guesses {
        let status = guess.await.unwrap();
        assert!([403, 429].contains(&status), "{status}");
        refused += u32::from(status == 429);
    }
    assert!(refused > 0);
    let answer = admin(address, "GET", "/api/session", &Value::Null).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}
