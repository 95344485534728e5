//! A real Prometheus scrapes the service, and its own tool judges the alerts of `deploy/observability`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;
use std::process::{Output, Stdio};

use serde_json::Value;
use support::neighbours::{program, project};
use support::{audit, loan, post, second_instance, start, wait_until};
use testbed::http;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;

#[track_caller]
fn assert_good(output: &Output) {
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A Prometheus that scrapes `targets` once a second, and where it answers.
async fn prometheus(folder: &std::path::Path, targets: &[SocketAddr]) -> (Child, SocketAddr) {
    let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\nscrape_configs:\n  - job_name: sluice\n    static_configs: [{{ targets: {targets:?} }}]\n",
        project().join("deploy/observability/alerts.yml").display()
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let mut child = program("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg("--web.listen-address=127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut address = None;
    // It tells the port that it was given, and later that it serves.
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, rest)) = line.split_once("Listening on\" address=") {
            address = rest.split_whitespace().next().unwrap().parse().ok();
        }
        if line.contains("Server is ready to receive web requests") {
            break;
        }
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, address.expect("it listens"))
}

async fn ask(address: SocketAddr, path: &str) -> Value {
    let answer = http::get(address, path).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    // Its answers come in chunks: the JSON is the line between two lengths.
    let json = answer.body.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(json.unwrap()).unwrap()
}

/// 1. Two instances take loans, one of them of an applicant whose address would break a line.
/// 2. Prometheus scrapes both without an error, and its sums and maxima are the true ones.
/// 3. Each alert of the documentation can be evaluated, and asks for figures that there are.
#[tokio::test]
async fn a_real_prometheus_reads_it() {
    let stack = start().await;
    let second = second_instance(&stack).await;
    let addresses = [stack.service.address(), second.address()];
    for number in 0..20 {
        let mut loan = loan(number);
        if number == 19 {
            loan["applicant"]["email"] = "a\"b\\c\n# EOF\nsluice_forged 1\n@example.org".into();
        }
        let address = addresses[usize::from(number % 2 == 0)];
        assert_eq!(post(address, &loan).await.status, 202);
    }
    audit(&stack, 20).await;
    let folder = tempfile::tempdir().unwrap();
    let (mut child, prometheus) = prometheus(folder.path(), &addresses).await;
    let value = async |query: &str| {
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = ask(prometheus, &format!("/api/v1/query?query={query}")).await;
        answer["data"]["result"][0]["value"][1]
            .as_str()
            .and_then(|text| text.parse::<f64>().ok())
    };
    wait_until("both are scraped", async || {
        value("sum(up)").await == Some(2.0)
    })
    .await;
    for (query, expected) in [
        ("max(sluice_cluster_loans_admitted_total)", 20.0),
        ("sum(sluice_requests_received_total)", 20.0),
        ("sum(sluice_latency_seconds_count{step=\"admit\"})", 20.0),
        (
            "sum(sluice_latency_seconds_bucket{step=\"admit\",le=\"+Inf\"})",
            20.0,
        ),
        ("count(sluice_build_info{version!=\"\",commit!=\"\"})", 2.0),
    ] {
        wait_until(query, async || value(query).await == Some(expected)).await;
    }
    let rules = async || {
        let answer = ask(prometheus, "/api/v1/rules").await;
        answer["data"]["groups"][0]["rules"]
            .as_array()
            .unwrap()
            .clone()
    };
    wait_until("the alerts are evaluated", async || {
        rules().await.iter().all(|rule| rule["health"] != "unknown")
    })
    .await;
    let text = http::get(addresses[0], "/metrics").await.unwrap().body;
    for rule in rules().await {
        assert_eq!(rule["health"], "ok", "{rule}");
        let expression = rule["query"].as_str().unwrap();
        for name in expression
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|name| name.starts_with("sluice_"))
        {
            let name = name.trim_end_matches("_total").trim_end_matches("_bucket");
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
        }
    }
    child.kill().await.unwrap();
}

/// Prometheus's own tool reads what is told to who asks for the former form.
#[tokio::test]
async fn promtool_reads_it() {
    let stack = start().await;
    let address = stack.service.address();
    for number in [1, 9] {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    let accept = [("Accept", "text/plain")];
    let answer = http::request(address, "GET", "/metrics", &accept, b"")
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut checked = program("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = checked.stdin.take().unwrap();
    text.write_all(answer.body.as_bytes()).await.unwrap();
    drop(text);
    assert_good(&checked.wait_with_output().await.unwrap());
}

/// The alerts are well-formed, and fire when they should and only then.
#[tokio::test]
async fn promtool_finds_nothing() {
    for arguments in [["check", "alerts.yml"], ["test", "alerts.test.yml"]] {
        let output = program("promtool")
            .current_dir(project().join("deploy/observability"))
            .args([arguments[0], "rules", arguments[1]])
            .output()
            .await
            .unwrap();
        assert_good(&output);
    }
}
