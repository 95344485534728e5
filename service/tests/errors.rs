//! The log of failures: filters, pages, indexes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bson::{DateTime, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{Client, Database};
use serde_json::Value;
use support::{admin, assert_problem, body, start};
use testbed::http;

/// The instant of the first failure.
const BASE_MS: i64 = 1_700_000_000_000;
const CATEGORIES: [&str; 3] = ["out_of_range", "wrong_type", "missing_field"];
const FIELDS: [&str; 2] = ["amount", "applicant.email"];

/// Many fail in the same millisecond, as batches do.
fn failure(number: i64) -> Document {
    failure_at(
        &format!("GC-{:06}", number / 2),
        number % 2 + 1,
        number,
        BASE_MS + number / 7,
    )
}

fn failure_at(loan_id: &str, attempt: i64, number: i64, at_ms: i64) -> Document {
    let category = CATEGORIES[number as usize % 3];
    doc! {
        "_id": format!("{loan_id}#{attempt}"), "loanId": loan_id, "attempt": attempt as i32,
        "fingerprint": "00", "errorType": category,
        "faults": [{ "field": FIELDS[number as usize % 2], "rule": "a rule", "errorType": category, "value": "x" }],
        "applicantEmail": "ada@example.org",
        "receivedAt": DateTime::from_millis(BASE_MS), "failedAt": DateTime::from_millis(at_ms),
    }
}

fn field_of(failure: &Document) -> &str {
    let faults = failure.get_array("faults").unwrap();
    faults[0].as_document().unwrap().get_str("field").unwrap()
}

fn name(error: &Value) -> String {
    format!("{}#{}", error["loanId"].as_str().unwrap(), error["attempt"])
}

async fn page(address: SocketAddr, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = http::get(address, &format!("/api/errors?{query}"))
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let page = body(&answer);
    let cursor = page["nextCursor"].as_str().map(str::to_owned);
    (page["errors"].as_array().unwrap().clone(), cursor)
}

/// Every page, `between` being awaited before each further one.
async fn all_pages(
    address: SocketAddr,
    query: &str,
    mut between: impl AsyncFnMut(usize),
) -> Vec<Value> {
    let (mut errors, mut cursor) = page(address, query).await;
    let mut pages = 1;
    while let Some(after) = cursor {
        between(pages).await;
        let more;
        (more, cursor) = page(address, &format!("{query}&cursor={after}")).await;
        assert!(!more.is_empty(), "a cursor leads to something");
        errors.extend(more);
        pages += 1;
    }
    errors
}

async fn database(stack: &testbed::Stack) -> Database {
    Client::with_uri_str(stack.mongodb.uri())
        .await
        .unwrap()
        .database("sluice")
}

/// 1. Every filter and combination answers what a plain look through the list finds, in order,
///    in whatever pages.
/// 2. MongoDB says that each came from an index, in order, with hardly a look too many.
#[tokio::test]
async fn filters_answer_from_an_index() {
    let stack = start().await;
    let address = stack.service.address();
    let database = database(&stack).await;
    let failures = database.collection::<Document>("failures");
    let all: Vec<_> = (0..700).map(failure).collect();
    failures.insert_many(&all).await.unwrap();
    let expected = |query: &str| -> Vec<String> {
        let mut kept: Vec<_> = all
            .iter()
            .filter(|failure| {
                form_urlencoded::parse(query.as_bytes()).all(|(key, value)| {
                    let at_ms = failure.get_datetime("failedAt").unwrap().timestamp_millis();
                    match &*key {
                        "loanId" => failure.get_str("loanId").unwrap().starts_with(&*value),
                        "errorType" => failure.get_str(&*key).unwrap() == value,
                        "field" => field_of(failure) == value,
                        "from" => at_ms >= value.parse().unwrap(),
                        "to" => at_ms < value.parse().unwrap(),
                        _ => true,
                    }
                })
            })
            .collect();
        kept.sort_by_key(|failure| {
            let at_ms = failure.get_datetime("failedAt").unwrap().timestamp_millis();
            std::cmp::Reverse((at_ms, failure.get_str("_id").unwrap()))
        });
        let name = |failure: &&Document| failure.get_str("_id").unwrap().to_owned();
        kept.iter().map(name).collect()
    };
    // The first page may come before the indexes stand: then the service makes them and asks again.
    page(address, "limit=1").await;
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let (from, to) = (
        format!("from={}", BASE_MS + 20),
        format!("to={}", BASE_MS + 70),
    );
    let parts = [
        "loanId=GC-000091",
        "errorType=wrong_type",
        "field=amount",
        &from,
        &to,
    ];
    for choice in 0..1 << parts.len() {
        let chosen = (0..parts.len()).filter(|part| choice >> part & 1 == 1);
        let query = chosen.map(|part| parts[part]).collect::<Vec<_>>().join("&");
        let expected = expected(&query);
        for limit in [1, 7, 200] {
            if expected.len() > 100 && limit == 1 {
                continue;
            }
            let query = format!("{query}&limit={limit}");
            let found = all_pages(address, &query, async |_| {}).await;
            let found: Vec<_> = found.iter().map(name).collect();
            assert_eq!(found, expected, "{query}");
        }
    }
    database.run_command(doc! { "profile": 0 }).await.unwrap();

    let profile: Vec<Document> = database
        .collection("system.profile")
        .find(doc! { "ns": "sluice.failures", "op": "query" })
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert!(profile.len() > 100, "{}", profile.len());
    let number = |entry: &Document, key: &str| -> i64 {
        entry
            .get_i32(key)
            .map(i64::from)
            .or_else(|_| entry.get_i64(key))
            .unwrap()
    };
    for entry in &profile {
        let plan = entry
            .get_str("planSummary")
            .unwrap_or_else(|_| panic!("no plan: {entry}"));
        assert!(
            plan.starts_with("IXSCAN") && !plan.contains("COLLSCAN"),
            "{plan}"
        );
        let filter = entry.get_document("command").unwrap().get("filter");
        let asks = filter.unwrap().to_string();
        // A loan has few attempts: those are sorted, or what failed when they did is looked through.
        let by_loan = asks.contains("loanId");
        let by_two = asks.contains("errorType") && asks.contains("faults");
        assert!(
            by_loan || by_two || !entry.contains_key("hasSortStage"),
            "{entry}"
        );
        // Beside what is answered: what failed in the cursor's millisecond.
        let spare = if by_loan || by_two { 1_000 } else { 7 };
        assert!(
            number(entry, "docsExamined") <= number(entry, "nreturned") + spare,
            "{entry}"
        );
    }
}

/// While pages are read, failures come: newer ones, ones of the same instant, ones that were late.
/// What was there at first is seen once each.
#[tokio::test]
async fn pages_have_neither_gaps_nor_repeats() {
    let stack = start().await;
    let address = stack.service.address();
    let failures = database(&stack).await.collection::<Document>("failures");
    let first: Vec<_> = (0..300).map(failure).collect();
    failures.insert_many(&first).await.unwrap();
    let seen = all_pages(address, "limit=11", async |page| {
        let page = page as i64;
        let new = [
            failure_at(&format!("new-{page}"), 1, page, BASE_MS + 1_000 + page),
            failure_at(&format!("same-{page}"), 1, page, BASE_MS + page % 43),
            failure_at(
                &format!("late-{page}"),
                1,
                page,
                BASE_MS + (42 - 2 * page).max(0),
            ),
        ];
        failures.insert_many(new).await.unwrap();
    })
    .await;
    let names: Vec<_> = seen.iter().map(name).collect();
    let unique: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(names.len(), unique.len(), "nothing is repeated");
    for document in &first {
        assert!(
            unique.contains(document.get_str("_id").unwrap()),
            "{document}"
        );
    }
    assert!(
        unique.iter().any(|name| name.starts_with("late")),
        "the test has inserted among them"
    );
    assert!(!unique.iter().any(|name| name.starts_with("new")));
    let at = |error: &Value| error["failedAt"].as_str().unwrap().to_owned();
    assert!(
        seen.iter()
            .map(at)
            .collect::<Vec<_>>()
            .is_sorted_by(|a, b| a >= b)
    );
}

/// What a query may not say is refused by name.
#[tokio::test]
async fn wrong_parameters_are_named() {
    let stack = start().await;
    let address = stack.service.address();
    for (query, name) in [
        ("loanId=", "loanId"),
        ("loanId=a%20b", "loanId"),
        ("loanId=%ff", "loanId"),
        ("loanId=A&loanId=A", "loanId"),
        ("errorType=", "errorType"),
        ("applicant=", "applicant"),
        ("field=%00", "field"),
        ("rule=a%0Ab", "rule"),
        ("waiting=yes", "waiting"),
        ("errorType=Poison", "errorType"),
        ("from=yesterday", "from"),
        ("to=-1", "to"),
        ("from=2026-01-31", "from"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=", "cursor"),
        ("loanid=A", "loanid"),
        ("a=1", "a"),
    ] {
        let answer = http::get(address, &format!("/api/errors?{query}"))
            .await
            .unwrap();
        assert_problem(&answer, 400, "invalid_parameter");
        assert_eq!(body(&answer)["parameter"], name, "{answer:?}");
    }
    let (errors, cursor) = page(
        address,
        "from=2026-01-31T00:00:00Z&to=2026-01-31T00:00:00%2B01:00",
    )
    .await;
    assert_eq!((errors.len(), cursor), (0, None));
    let (errors, _) = page(address, "").await;
    assert!(errors.is_empty());
    // Another version may know it.
    let (errors, _) = page(address, "errorType=boredom").await;
    assert!(errors.is_empty());
}

/// 1. A loan's beginning, an address in another case, a rule, and what waits are found; characters that mean something in
///    a pattern mean themselves.
/// 2. The count is of the same.
/// 3. Whoever may not see addresses may not look for them.
#[tokio::test]
async fn texts_are_found_by_their_beginning() {
    let stack = start().await;
    let address = stack.service.address();
    let failures = database(&stack).await.collection::<Document>("failures");
    let one = |id: &str, email: &str, rule: &str, waiting: bool| {
        let mut failure = failure_at(id, 1, 0, BASE_MS);
        failure.insert("applicantEmail", email);
        failure.insert(
            "faults",
            vec![
                doc! { "field": "amount", "rule": rule, "errorType": "out_of_range", "value": "x" },
                doc! { "field": "purpose", "rule": "other", "errorType": "out_of_range", "value": "" },
            ],
        );
        if waiting {
            failure.insert("waiting", true);
        }
        failure
    };
    failures
        .insert_many([
            one("A.1", "Ada@Example.org", "above 0", true),
            one(
                "A.12",
                "ada+2@example.org",
                "above 0 (at most 2 decimals)",
                false,
            ),
            one("AX1", "adam@example.org", "a number", true),
            one("a.1", "bob@example.org", "above 1", true),
        ])
        .await
        .unwrap();
    page(address, "limit=1").await;
    for (query, expected) in [
        ("loanId=A.1", &["A.12", "A.1"][..]),
        ("loanId=A.12", &["A.12"]),
        ("applicant=ADA%40", &["A.1"]),
        ("applicant=ada", &["AX1", "A.12", "A.1"]),
        ("applicant=ada%2B", &["A.12"]),
        ("applicant=.", &[]),
        ("rule=above%200", &["A.12", "A.1"]),
        ("rule=above%200%20(", &["A.12"]),
        ("field=amount&rule=other", &[]),
        ("field=purpose&rule=other&loanId=AX", &["AX1"]),
        ("waiting=true", &["a.1", "AX1", "A.1"]),
        ("waiting=true&applicant=ADA", &["AX1", "A.1"]),
        ("waiting=false&loanId=a", &["a.1"]),
    ] {
        let path = format!("/api/errors?{query}");
        let answer = admin(address, "GET", &path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let found = body(&answer);
        let ids = found["errors"].as_array().unwrap().iter();
        let ids: Vec<_> = ids.map(|error| error["loanId"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
        let path = format!("/api/errors/count?{query}");
        let count = body(&admin(address, "GET", &path, &Value::Null).await);
        let waiting = found["errors"].as_array().unwrap().iter();
        let waiting = waiting.filter(|error| error["isWaiting"] == true).count();
        let expected = serde_json::json!({ "attempts": expected.len(), "loans": expected.len(),
                                           "waiting": waiting, "isExact": true });
        assert_eq!(count, expected, "{query}");
    }
    for path in ["/api/errors?applicant=a", "/api/errors/count?applicant=a"] {
        let answer = http::get(address, path).await.unwrap();
        assert_problem(&answer, 401, "unauthorized");
    }
}
