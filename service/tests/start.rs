//! A service that cannot start says why, in one line, and ends with code 2.

use std::net::TcpListener;
use std::process::Command;

/// Starts the service with `arguments` and answers its exit code and its output.
fn start(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SLUICE_") {
            command.env_remove(name);
        }
    }
    let output = command.args(arguments).output().expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(said).expect("it speaks UTF-8"),
    )
}

#[track_caller]
fn refuses(arguments: &[&str], words: &[&str]) {
    let (code, said) = start(arguments);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

#[test]
fn a_taken_port_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("bound").to_string();
    refuses(&["--listen", &address], &[&address, "--listen"]);
}

#[test]
fn all_bad_settings_are_told_at_once() {
    refuses(
        &[
            "--listen",
            "127.0.0.1:0",
            "--workers-max",
            "0",
            "--loans-per-worker",
            "0",
            "--body-max",
            "1",
        ],
        &["--workers-max", "--loans-per-worker", "--body-max"],
    );
}

#[test]
fn bad_addresses_of_the_stores_are_named() {
    let listen = ["--listen", "127.0.0.1:0"];
    let with = |rest: [&'static str; 2]| [listen[0], listen[1], rest[0], rest[1]];
    refuses(&with(["--redis-url", "nonsense"]), &["--redis-url"]);
    refuses(&with(["--mongodb-uri", "nonsense"]), &["--mongodb-uri"]);
}

#[test]
fn a_value_that_cannot_be_read_is_named() {
    let (code, said) = start(&["--record-interval", "250"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--record-interval"), "{said}");
}

/// A probe of nothing fails, in one line.
#[test]
fn a_probe_of_nothing_fails() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("bound").to_string();
    drop(holder);
    let (code, said) = start(&["--probe", "--listen", &address]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
}

/// A token that is too short is refused, and does not stand in the message.
#[test]
fn a_bad_token_is_not_repeated() {
    let (code, said) = start(&["--listen", "127.0.0.1:0", "--admin-token", "tiny"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--admin-token"), "{said}");
    assert!(!said.contains("tiny"), "{said}");
}
