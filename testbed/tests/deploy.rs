//! The manifests of `deploy/` and `compose.cluster.yaml`: rendered by kubectl, validated against the schemas of
//! Kubernetes, judged by the rules of `deploy.py`, and refused when one of them is broken.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

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
    command.current_dir(project());
    command
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "each caller has just got it")]
fn good(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn fed(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has seen enough closes its input early.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What the binaries beside this test say of their settings.
fn help_texts() -> String {
    let folder = std::env::current_exe().unwrap();
    let folder = folder.ancestors().nth(2).unwrap();
    let help = |binary: &str, arguments: &[&str]| {
        let binary = folder.join(binary);
        assert!(
            binary.exists(),
            "{} is not there: `cargo build --workspace` makes it",
            binary.display()
        );
        good(Command::new(binary).args(arguments).output().unwrap())
    };
    help("service", &["--help"])
        + &help("loadgen", &["run", "--help"])
        + &help("loadgen", &["conduct", "--help"])
}

fn rendered(folder: &str) -> String {
    let output = tool("kubectl")
        .args(["kustomize", &format!("deploy/{folder}")])
        .output();
    good(output.unwrap())
}

fn judged(overlay: &str, text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let help = folder.path().join("help");
    std::fs::write(&help, help_texts()).unwrap();
    let mut command = tool("python");
    command
        .args(["testbed/tests/deploy.py", overlay])
        .arg(&help);
    fed(&mut command, text)
}

/// Validates against the schemas. KEDA's kind is none of Kubernetes: its schema is not there.
fn validated(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rendered.yaml");
    std::fs::write(&file, text).unwrap();
    tool("kubernetes-validate")
        .arg("--strict")
        .arg(&file)
        .output()
        .unwrap()
}

#[test]
fn every_overlay_is_valid_and_keeps_the_rules() {
    for (folder, overlay) in [
        ("overlays/small", "small"),
        ("overlays/cluster", "cluster"),
        ("generators", "generators"),
    ] {
        let text = rendered(folder);
        good(validated(&text));
        good(judged(overlay, &text));
    }
}

#[test]
fn what_breaks_a_rule_is_refused_by_name() {
    let text = rendered("overlays/cluster");
    for (right, wrong, rule) in [
        ("- always", "- everysec", "Redis has --appendfsync always"),
        (
            "terminationGracePeriodSeconds: 45",
            "terminationGracePeriodSeconds: 30",
            "api has time to drain",
        ),
        ("SLUICE_LOG: json", "SLUICE_LOGG: json", "SLUICE_LOGG"),
        ("value: \"3\"", "value: \"1\"", "the set has all members"),
        (
            "maxUnavailable: 1\n",
            "maxUnavailable: 2\n",
            "one disruption",
        ),
        (
            "path: /healthz",
            "path: /readyz",
            "lives without the stores",
        ),
        ("name: sluice\n", "name: other\n", "is in the secret"),
        (
            "runAsNonRoot: true",
            "runAsNonRoot: false",
            "nobody special",
        ),
    ] {
        assert!(text.contains(right), "{right}");
        let output = judged("cluster", &text.replace(right, wrong));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{wrong}");
        assert!(said.contains(rule), "{wrong}: {said}");
    }
    let unknown = text.replace("backoffLimit: 20", "backofLimit: 20");
    assert_ne!(unknown, text);
    assert!(!validated(&unknown).status.success());
}

#[test]
fn the_clustered_composition_keeps_the_promise() {
    let script = r#"
import re, sys, yaml
services = yaml.safe_load(open("compose.cluster.yaml"))["services"]
known = set(re.findall(r"SLUICE_\w+", sys.stdin.read()))
for number in range(1, 7):
    redis = services[f"redis-{number}"]
    text = redis["entrypoint"][-1]
    for setting in ["--appendonly yes", "--appendfsync always", "--no-appendfsync-on-rewrite no",
                    "--maxmemory-policy noeviction", "--cluster-require-full-coverage no", "--cluster-replica-no-failover yes"]:
        assert setting in text, setting
    assert redis["volumes"] == [f"redis-{number}:/data"]
for number in range(1, 4):
    assert "--replSet sluice" in " ".join(services[f"mongodb-{number}"]["command"])
    assert services[f"mongodb-{number}"]["volumes"] == [f"mongodb-{number}:/data/db"]
for name in ["api-1", "api-2", "worker-1", "worker-2"]:
    environment = services[name]["environment"]
    assert environment["SLUICE_REQUIRE_DURABLE"] == "true"
    assert environment["SLUICE_MONGODB_URI"].count("mongodb-") == 3
    assert set(environment) <= known, set(environment) - known
    assert all(one["condition"] == "service_completed_successfully" for one in services[name]["depends_on"].values())
for name, service in services.items():
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), (name, port)
"#;
    let help = help_texts();
    good(fed(tool("python").args(["-c", script]), &help));
    let less = help.replace("SLUICE_REQUIRE_DURABLE", "");
    assert!(
        !fed(tool("python").args(["-c", script]), &less)
            .status
            .success()
    );
}
