//! The manifests of `deploy/`: rendered by kubectl, validated against the schemas of Kubernetes, judged by the rules of
//! `deploy.py`, and refused when one of them is broken. The compositions by those of `compose.py`.

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

/// Judges `text` as the composition of that name.
fn judged_composition(name: &str, text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let help = folder.path().join("help");
    std::fs::write(&help, help_texts()).unwrap();
    let mut command = tool("python");
    command.args(["testbed/tests/compose.py", name]).arg(&help);
    fed(&mut command, text)
}

#[test]
fn every_composition_keeps_the_promise() {
    for name in ["compose.yaml", "compose.cluster.yaml"] {
        let text = std::fs::read_to_string(project().join(name)).unwrap();
        good(judged_composition(name, &text));
    }
}

#[test]
fn what_breaks_a_rule_of_a_composition_is_refused_by_name() {
    let name = "compose.cluster.yaml";
    let text = std::fs::read_to_string(project().join(name)).unwrap();
    for (right, wrong, rule) in [
        ("--maxmemory 512mb ", "", "memory of redis-1 is bounded"),
        ("always", "everysec", "redis-1 has --appendfsync always"),
        ("SLUICE_LOG: json", "SLUICE_LOGG: json", "SLUICE_LOGG"),
        (
            "--reports /reports",
            "--reports reports",
            "where it is kept",
        ),
        ("redis-5 redis-6", "redis-5", "the cluster has all nodes"),
        ("cluster/form.sh:", "cluster/forms.sh:", "which is there"),
        ("\"127.0.0.1:8080", "\"8080", "this machine's alone"),
    ] {
        assert!(text.contains(right), "{right}");
        let output = judged_composition(name, &text.replace(right, wrong));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{wrong}");
        assert!(said.contains(rule), "{wrong}: {said}");
    }
}
