//! Programs of others judge what the service says: schemathesis its description and its answers,
//! the parser of prometheus-client its figures, PyYAML and a few rules `compose.yaml`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::PathBuf;
use std::process::{Output, Stdio};

use support::{ADMIN_TOKEN, audit, loan, post, start};
use testbed::http;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A program of `.sluice/venv`.
fn tool(name: &str) -> Command {
    let program = project().join(".sluice/venv/bin").join(name);
    assert!(
        program.exists(),
        "{} is not there: scripts/python-tools.sh fetches it, as `make test` does",
        program.display()
    );
    let mut command = Command::new(program);
    command.current_dir(project()).kill_on_drop(true);
    command
}

#[track_caller]
fn assert_good(output: &Output) {
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn python(script: &str, input: &str) -> Output {
    let mut child = tool("python")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

/// schemathesis makes requests from the description, good ones and bad ones, and finds no server
/// error, no answer that is not described, and none of another shape than described.
#[tokio::test]
async fn schemathesis_finds_nothing() {
    let stack = start().await;
    let address = stack.service.address();
    for number in 0..20 {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    let folder = tempfile::tempdir().unwrap();
    let output = tool("schemathesis")
        .current_dir(folder.path())
        .arg("run")
        .arg(format!("{}/openapi.json", stack.service.url()))
        .args(["--header", &format!("Authorization: Bearer {ADMIN_TOKEN}")])
        // Not `negative_data_rejection`: a loan that breaks rules is taken, and fails later. Nor
        // `positive_data_acceptance`: a schema cannot say that an id is taken already.
        .args(["--checks", "status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,unsupported_method,allow_header_conformance,ignored_auth,not_a_server_error"])
        // A connection that becomes a WebSocket is no answer.
        .args(["--exclude-path", "/ws"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "40", "--seed", "1", "--generation-database", "none", "--no-color"])
        .args(["--continue-on-failure", "--request-timeout", "30"])
        .env("HYPOTHESIS_STORAGE_DIRECTORY", folder.path())
        .output()
        .await
        .unwrap();
    assert_good(&output);
    // It has got through to the routes: a run in which everything was refused proves nothing.
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        !text.contains("Missing test data") || text.contains("passed"),
        "{text}"
    );
    assert_eq!(http::get(address, "/healthz").await.unwrap().status, 200);
    let log = stack.service.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// The parser that the Prometheus project wrote for OpenMetrics reads every line.
#[tokio::test]
async fn the_figures_are_open_metrics() {
    let stack = start().await;
    let address = stack.service.address();
    for number in 0..10 {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    audit(&stack, 10).await;
    let text = http::get(address, "/metrics").await.unwrap().body;
    let script = r#"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = {family.name: family for family in text_string_to_metric_families(sys.stdin.read())}
assert len(families) > 30, sorted(families)
def value(family, sample, **labels):
    found = [s.value for s in families[family].samples if s.name == sample and s.labels == labels]
    assert len(found) == 1, (family, sample, labels, families[family].samples)
    return found[0]
assert value("sluice_cluster_loans_admitted", "sluice_cluster_loans_admitted_total") == 10
assert value("sluice_cluster_loans_failed", "sluice_cluster_loans_failed_total", error_type="out_of_range") == 1
assert value("sluice_latency_seconds", "sluice_latency_seconds_count", step="admit") == 10
assert families["sluice_latency_seconds"].type == "histogram"
assert families["sluice_cluster_redis_used_memory_bytes"].unit == "bytes"
assert value("sluice_redis_up", "sluice_redis_up") == 1
"#;
    assert_good(&python(script, &text).await);
    // The parser can say no.
    let broken = text.replace("# EOF", "");
    assert!(!python(script, &broken).await.status.success());
}

/// `compose.yaml` starts what the promise needs.
#[tokio::test]
async fn the_composition_is_right() {
    let script = r#"
import sys, yaml
services = yaml.safe_load(sys.stdin)["services"]
assert set(services) == {"redis", "mongodb", "api-1", "api-2", "worker-1", "worker-2"}, sorted(services)
redis = " ".join(services["redis"]["command"])
for setting in ["--appendonly yes", "--appendfsync always", "--no-appendfsync-on-rewrite no", "--maxmemory-policy noeviction"]:
    assert setting in redis, setting
assert "--replSet sluice" in " ".join(services["mongodb"]["command"])
assert "rs.initiate" in " ".join(services["mongodb"]["healthcheck"]["test"])
for name, service in services.items():
    assert service["restart"] == "unless-stopped", name
    assert service["healthcheck"]["test"], name
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), (name, port)
roles = []
for name in ["api-1", "api-2", "worker-1", "worker-2"]:
    environment = services[name]["environment"]
    assert environment["SLUICE_REQUIRE_DURABLE"] == "true", name
    assert "replicaSet=sluice" in environment["SLUICE_MONGODB_URI"], name
    assert all(services[name]["depends_on"][other]["condition"] == "service_healthy" for other in ["redis", "mongodb"]), name
    roles.append(environment["SLUICE_ROLE"])
assert roles == ["api,dashboard"] * 2 + ["worker,persister"] * 2, roles
for name in ["redis", "mongodb"]:
    assert any(volume.startswith(name + ":") for volume in services[name]["volumes"]), name
settings = {key for service in services.values() for key in service.get("environment", {}) if key.startswith("SLUICE_")}
print("\n".join(sorted(settings)))
"#;
    let text = std::fs::read_to_string(project().join("compose.yaml")).unwrap();
    let output = python(script, &text).await;
    assert_good(&output);
    // Every setting in it is one that the service knows.
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_service"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for setting in String::from_utf8(output.stdout).unwrap().lines() {
        assert!(help.contains(setting), "{setting}");
    }
    let weak = text.replace("- always", "- everysec");
    assert!(!python(script, &weak).await.status.success());
}
