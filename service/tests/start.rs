//! A service that cannot start says why, in one line, and ends with code 2.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// The service, without the settings of whoever runs the tests.
fn service() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SLUICE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Starts the service with `arguments` and answers its exit code and its output.
fn start(arguments: &[&str]) -> (Option<i32>, String) {
    start_in(&[], arguments)
}

/// The same with variables of the environment.
fn start_in(environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = service();
    // Another service on this machine may listen where this one would by default.
    command.env("SLUICE_LISTEN", "127.0.0.1:0");
    command.envs(environment.iter().copied()).args(arguments);
    let output = command.output().expect("it starts");
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
    // What to write instead, and nothing of the driver's, who also may repeat a password.
    for wrong in [
        "nonsense",
        "127.0.0.1:6379",
        "http://127.0.0.1:6379",
        "redis://",
        "redis://127.0.0.1:port",
        "redis://:s3cret@127.0.0.1:6379/first",
        "redis://a:1,redis://b:2",
        "redis://127.0.0.1:6379/0?protocol=resp3",
        "redis://127.0.0.1:6379/-1",
    ] {
        let (code, said) = start(&with(["--redis-url", wrong]));
        assert_eq!(code, Some(2), "{wrong}: {said}");
        assert_eq!(said.lines().count(), 1, "{wrong}: {said}");
        assert!(
            said.contains("--redis-url (SLUICE_REDIS_URL): "),
            "{wrong}: {said}"
        );
        assert!(
            said.contains("redis://HOST:PORT") || said.contains("leave it out of the URL"),
            "{wrong}: {said}"
        );
        assert!(
            !said.contains("s3cret") && !said.contains("InvalidClientConfig"),
            "{said}"
        );
    }
    let cluster = ["--redis-cluster", "--redis-url", "redis://a:1,b:2"];
    refuses(
        &[&listen[..], &cluster].concat(),
        &["--redis-url (SLUICE_REDIS_URL)", "HOST:PORT"],
    );
    for (wrong, words) in [
        ("nonsense", ""),
        ("127.0.0.1:27017", ""),
        ("http://127.0.0.1", ""),
        ("mongodb://", ""),
        ("mongodb://u:p@s3cret@h:1", ""),
        (
            "mongodb://h:1/?w=majority&readPreference=nonsense",
            "nonsense",
        ),
    ] {
        let (code, said) = start(&with(["--mongodb-uri", wrong]));
        assert_eq!(code, Some(2), "{wrong}: {said}");
        for word in [
            "--mongodb-uri (SLUICE_MONGODB_URI): ",
            "mongodb://HOST:PORT",
            words,
        ] {
            assert!(said.contains(word), "{wrong}: {said}");
        }
        assert!(
            !said.contains("s3cret") && !said.contains("labels"),
            "{said}"
        );
    }
    let (code, said) = start(&[
        "--redis-url",
        "foo",
        "forget",
        "--applicant",
        "a@example.org",
    ]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("--redis-url (SLUICE_REDIS_URL): must be redis://HOST:PORT"),
        "{said}"
    );
}

/// Every value that cannot be read is refused in one line, which names the flag and the variable, wherever it came from.
#[test]
fn a_value_that_cannot_be_read_is_named() {
    for (flag, variable, value) in [
        ("--record-interval", "SLUICE_RECORD_INTERVAL", "250"),
        ("--listen", "SLUICE_LISTEN", "8080"),
        ("--body-max", "SLUICE_BODY_MAX", "64 parsecs"),
        ("--require-durable", "SLUICE_REQUIRE_DURABLE", "maybe"),
        ("--role", "SLUICE_ROLE", "api,barista"),
        ("--workers-max", "SLUICE_WORKERS_MAX", "-1"),
        ("--log", "SLUICE_LOG", "xml"),
        ("--log-level", "SLUICE_LOG_LEVEL", "info,=,="),
        ("--public-url", "SLUICE_PUBLIC_URL", "loans.example"),
        ("--trusted-proxy", "SLUICE_TRUSTED_PROXY", "proxy.example"),
        ("--keep-alive", "SLUICE_KEEP_ALIVE", "2h"),
        ("--mongodb-database", "SLUICE_MONGODB_DATABASE", "a b"),
        (
            "--connections-max",
            "SLUICE_CONNECTIONS_MAX",
            "18446744073709551615",
        ),
        ("--claim-timeout", "SLUICE_CLAIM_TIMEOUT", "100years"),
        // A word that is no level would be a module's name, and everything else silent.
        ("--log-level", "SLUICE_LOG_LEVEL", "warning"),
        ("--log-level", "SLUICE_LOG_LEVEL", "info,mongodb"),
        // MongoDB's own: writes there are not replicated, or not taken.
        ("--mongodb-database", "SLUICE_MONGODB_DATABASE", "local"),
        (
            "--mongodb-database",
            "SLUICE_MONGODB_DATABASE",
            "\u{1b}[31m",
        ),
        ("--backlog-max", "SLUICE_BACKLOG_MAX", "+5"),
        ("--partitions", "SLUICE_PARTITIONS", "4294967296"),
        ("--otlp-sample-ratio", "SLUICE_OTLP_SAMPLE_RATIO", "nan"),
        (
            "--otlp-figures-interval",
            "SLUICE_OTLP_FIGURES_INTERVAL",
            "0s",
        ),
        ("--tls-key", "SLUICE_TLS_KEY", "alone"),
        ("--redis-tls-key", "SLUICE_REDIS_TLS_KEY", "alone"),
        ("--tokens-file", "SLUICE_TOKENS_FILE", "\u{1b}[31m\nred"),
    ] {
        let refused = |(code, said): (Option<i32>, String)| {
            assert_eq!(code, Some(2), "{flag}: {said}");
            assert_eq!(said.lines().count(), 1, "{flag}: {said}");
            assert!(said.contains(&format!("{flag} ({variable})")), "{said}");
            let is_plain = |c: char| c == '\n' || !c.is_control();
            assert!(said.chars().all(is_plain), "{said:?}");
            for jargon in ["invalid digit", "boolean", "is is", "must be one of\n"] {
                assert!(!said.contains(jargon), "{said}");
            }
        };
        refused(start(&[&format!("{flag}={value}")]));
        refused(start_in(&[(variable, value)], &[]));
    }
    for flag in [
        "--mongodb-database",
        "--redis-url",
        "--mongodb-uri",
        "--role",
        "--listen",
    ] {
        let (code, said) = start(&[&format!("{flag}=")]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(flag) && said.lines().count() == 1, "{said}");
    }
}

/// A password that stands in an address is not repeated, whatever the address is for.
#[test]
fn a_password_in_an_address_is_not_repeated() {
    for (flag, value) in [
        ("--otlp-endpoint", "http://ada:s3cret@collector:4318"),
        ("--otlp-endpoint", "grpc://ada:s3cret@collector"),
        ("--otlp-endpoint", "http://s3cret@collector:99999"),
        ("--public-url", "https://ada:s3cret@loans.example"),
        ("--listen", "ada:s3cret@127.0.0.1"),
        ("--trusted-proxy", "ada:s3@s3cret@proxy.example"),
    ] {
        let (code, said) = start(&[flag, value]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(flag) && !said.contains("s3cret"), "{said}");
    }
}

/// A limit on the size of files makes a write fail, and does not end the process in the middle of it.
#[test]
fn a_limit_on_files_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("bash")
        .args(["-c", "ulimit -f 1; exec \"$0\" --openapi > \"$1\""])
        .arg(env!("CARGO_BIN_EXE_service"))
        .arg(folder.path().join("openapi.json"))
        .output()
        .expect("bash");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("too large"), "{said}");
}

/// What is said of the command line is one line, however long what it repeats.
#[test]
fn a_wrong_command_line_is_told_in_one_line() {
    let long = "x".repeat(5_000);
    for (arguments, words) in [
        (&["--nope"][..], "--nope"),
        (&["nope"], "nope"),
        (&["--partitions", "1", "--partitions", "2"], "--partitions"),
        (&["--require-durable", "yes"], "yes"),
        (&["token"], "NAME"),
        (&["forget"], "--applicant"),
        (
            &["--backlog-max"],
            "--backlog-max (SLUICE_BACKLOG_MAX) needs a value",
        ),
        (
            &["--tls-cert="],
            "--tls-cert (SLUICE_TLS_CERT) needs a value",
        ),
        (&["--listen", &long], "--listen (SLUICE_LISTEN)"),
    ] {
        let (code, said) = start(arguments);
        assert_eq!(code, Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.starts_with("service: ") && said.contains(words),
            "{said}"
        );
        assert!(said.len() < 500, "{said}");
    }
}

/// A value that is no text is named by its flag and variable.
#[test]
fn what_is_not_utf_8_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let no_text = std::ffi::OsStr::from_bytes(b"\xff");
    for (flag, variable) in [
        ("--listen", "SLUICE_LISTEN"),
        ("--redis-url", "SLUICE_REDIS_URL"),
        ("--admin-token", "SLUICE_ADMIN_TOKEN"),
    ] {
        let output = service()
            .env(variable, no_text)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("{flag} ({variable}) is not UTF-8")),
            "{said}"
        );
    }
    let output = service()
        .arg("--listen")
        .arg(no_text)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), said.lines().count()),
        (Some(2), 1),
        "{said}"
    );
}

/// What is read again later must be a file: a pipe would hold the start up, and the end.
#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let long = folder.path().join("long");
    std::fs::write(&long, "#".repeat((1 << 20) + 1)).unwrap();
    let twice = folder.path().join("twice");
    let hash = service::tokens::hash(b"one");
    std::fs::write(&twice, format!("ada viewer {hash}\nalf operator {hash}\n")).unwrap();
    let name = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for (file, words) in [
        (name(folder.path()), "is a folder"),
        (name(&pipe), "is no file"),
        (name(&long), "is longer than"),
        (name(&twice), "this hash stands twice"),
    ] {
        for (flag, more) in [("--tokens-file", None), ("--tls-cert", Some("--tls-key"))] {
            if more.is_some() && words.contains("hash") {
                continue;
            }
            let mut arguments = vec![flag, &*file];
            arguments.extend(more.map(|more| [more, &*file]).into_iter().flatten());
            refuses(&arguments, &[flag, words]);
        }
    }
}

/// Each form that a person would write is taken: what is refused is the last setting alone.
#[test]
fn values_are_taken_as_people_write_them() {
    for (variable, value) in [
        ("SLUICE_LISTEN", "localhost:0"),
        ("SLUICE_RECORD_INTERVAL", "1.5s"),
        ("SLUICE_CLAIM_TIMEOUT", "1h"),
        ("SLUICE_KEEP_ALIVE", "5m"),
        ("SLUICE_BODY_MAX", "128KiB"),
        ("SLUICE_BODY_MAX", "65536"),
        ("SLUICE_REQUIRE_DURABLE", "0"),
        ("SLUICE_REQUIRE_DURABLE", "off"),
        ("SLUICE_REQUIRE_DURABLE", "NO"),
        ("SLUICE_LOG_LEVEL", "debug,mongodb=off"),
        (
            "SLUICE_PUBLIC_URL",
            "https://loans.example,http://localhost:81",
        ),
        ("SLUICE_TRUSTED_PROXY", "10.0.0.0/8,::1"),
        ("SLUICE_ROLE", "API, worker"),
        ("SLUICE_ROLE", "api,worker,"),
        (
            "SLUICE_PUBLIC_URL",
            " https://a.example, HTTPS://B.Example. ,",
        ),
        ("SLUICE_TRUSTED_PROXY", "10.0.0.1, ::ffff:10.0.0.0/104,"),
        ("SLUICE_LISTEN", " 127.0.0.1:0 "),
        ("SLUICE_BODY_MAX", " 64KiB "),
        ("SLUICE_LOG", " JSON "),
        ("SLUICE_LOG_LEVEL", " Debug "),
        ("SLUICE_LOANS_KEPT", " 365d "),
        ("SLUICE_MONGODB_URI", " MongoDB://127.0.0.1:27017/ "),
        ("SLUICE_MONGODB_DATABASE", " sluice "),
        ("SLUICE_ADMIN_TOKEN", " long-enough "),
        ("SLUICE_OTLP_ENDPOINT", " HTTP://Collector:4318 "),
        ("SLUICE_OTLP_SAMPLE_RATIO", " 0.5 "),
        ("SLUICE_WORKERS_MAX", " "),
        ("SLUICE_BACKLOG_MAX", " 500 "),
        ("SLUICE_LOG_LEVEL", "WARN,mongodb=off"),
    ] {
        let (code, said) = start_in(&[(variable, value)], &["--redis-url", "nonsense"]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.starts_with("service: --redis-url"), "{value}: {said}");
    }
    for yes in ["1", "true", "yes", "on", "TRUE"] {
        let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut child = service()
            .env("SLUICE_REQUIRE_DURABLE", yes)
            .args(["--listen", "127.0.0.1:0", "--redis-url"])
            .arg(format!("redis://{}/", gone.local_addr().expect("bound")))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // It asks Redis, and does not go on without an answer; whoever does not ask says where it listens.
        let (mut asking, _) = gone.accept().expect("it asks");
        let mut byte = [0];
        std::io::Read::read_exact(&mut asking, &mut byte).expect("it asks");
        child.kill().expect("it waits");
        let output = child.wait_with_output().expect("it has ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("listening"), "{yes}: {said}");
    }
}

/// A variable that begins as a setting does and is none is named once in the log. Those of the load generator and of
/// Kubernetes are not.
#[test]
fn a_variable_that_is_no_setting_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("bound").to_string();
    let environment = [
        ("SLUICE_REQUIRE_DURABEL", "1"),
        ("SLUICE_BOGUS", ""),
        // What is done once is a flag alone: a variable would stay.
        ("SLUICE_REPARTITION", "yes"),
        ("SLUICE_WORKERS_MAX", "3"),
        ("SLUICE_TARGET", "http://127.0.0.1:1"),
        ("SLUICE_SERVICE_HOST", "10.0.0.1"),
        ("SLUICE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
    ];
    let (code, said) = start_in(&environment, &["--listen", &address]);
    assert_eq!(code, Some(2), "{said}");
    let told = "variables=\"SLUICE_BOGUS, SLUICE_REPARTITION, SLUICE_REQUIRE_DURABEL\"";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    assert_eq!(said.matches("SLUICE_").count(), 4, "{said}");
}

/// An empty variable, as a compose file makes it, is none: every one of them.
#[test]
fn an_empty_variable_is_none() {
    let help = service().arg("--help").output().expect("it starts");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let empty: Vec<_> = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split(['=', ']']).next())
        .map(|name| (name, ""))
        .collect();
    assert!(empty.len() > 20, "{empty:?}");
    let (code, said) = start_in(&empty, &["--redis-url", "nonsense"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("service: --redis-url"), "{said}");
}

/// A secret may stand in a file; not in two places.
#[test]
fn a_secret_may_stand_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "nonsense\n").expect("written");
    let name = file.to_str().expect("UTF-8");
    let other = ["--listen", "127.0.0.1:0", "--mongodb-uri", "nonsense"];
    for (variable, flag) in [
        ("SLUICE_REDIS_URL_FILE", "--redis-url"),
        ("SLUICE_MONGODB_URI_FILE", "--mongodb-uri"),
    ] {
        let (code, said) = start_in(&[(variable, name)], &[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.starts_with(&format!("service: {flag}")), "{said}");
    }
    std::fs::write(&file, "tiny\r\n").expect("written");
    let (_, said) = start_in(&[("SLUICE_ADMIN_TOKEN_FILE", name)], &other);
    assert!(
        said.contains("--admin-token") && !said.contains("tiny"),
        "{said}"
    );
    let (code, said) = start(&["--admin-token", "long-enough", "--admin-token-file", name]);
    assert_eq!(code, Some(2), "{said}");
    for flag in ["--admin-token (", "--admin-token-file ("] {
        assert!(said.contains(flag), "{said}");
    }
    std::fs::write(&file, "\u{feff}long-enough\n").expect("written");
    let (_, said) = start_in(&[("SLUICE_ADMIN_TOKEN_FILE", name)], &other);
    assert!(said.starts_with("service: --mongodb-uri"), "{said}");
    std::fs::write(&file, "\n").expect("written");
    let (code, said) = start_in(&[("SLUICE_ADMIN_TOKEN_FILE", name)], &other);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("--admin-token-file") && said.contains("empty"),
        "{said}"
    );
    let (code, said) = start(&["--redis-url-file", "/nowhere/at/all"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/nowhere/at/all"), "{said}");
}

/// A name is as good as an address.
#[test]
fn it_listens_on_a_name() {
    let mut child = service()
        .args(["--listen", "localhost:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
    assert!(line.contains("http://127.0.0.1:"), "{line}");
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
