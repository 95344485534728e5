//! The binary itself, as a shell or a CI calls it: what it refuses, what it says, and the code it ends with. Most runs go to a stub and
//! judge the clients' half only, so that they take a moment.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use observe::stub::{Delays, Stub};
use record::result::run::{Report, Verdict};

const SCENARIO: &str = r#"
name = "short"
description = "A hundred loans in a second"
send_lag_max = "1h"

[[phase]]
name = "all"
duration = "1s"
rate = 100

[[check]]
metric = "error_ratio"
equals = 0
"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        place.scenario(SCENARIO);
        place
    }

    fn scenario(&self, text: &str) {
        fs::write(self.0.path().join("short.toml"), text).expect("it is written");
    }

    fn loadgen(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn said(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        said(&self.loadgen(arguments).output().expect("it runs"))
    }

    fn report(&self) -> Report {
        let path = self.0.path().join("reports/latest/report.json");
        let text = fs::read_to_string(path).expect("a report");
        serde_json::from_str(&text).expect("the report's form")
    }
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn to_stub<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["run", "short.toml", "--target", url, "--no-stores"];
    arguments.extend(more);
    arguments
}

fn stub(delays: Delays) -> Stub {
    Stub::start(delays, None).expect("a free port")
}

/// Answers every request on a free port with these bytes, for as long as the test's process lives. Each connection ends after so many
/// answers.
fn answering(bytes: Vec<u8>, answers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let bytes = bytes.clone();
            std::thread::spawn(move || {
                let mut requests = BufReader::new(&stream);
                for _ in 0..answers {
                    let mut length = 0;
                    let mut line = String::new();
                    while requests.read_line(&mut line)? > 2 {
                        let head = line.to_ascii_lowercase();
                        if let Some(value) = head.strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap_or(0);
                        }
                        line.clear();
                    }
                    requests.read_exact(&mut vec![0; length])?;
                    (&stream).write_all(&bytes)?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    url
}

#[test]
fn what_came_instead_of_an_answer_is_among_the_reasons() {
    let head = |more: &str| format!("HTTP/1.1 202 Accepted\r\n{more}\r\n").into_bytes();
    let of_another = r#"{"loanId":"somebody-elses","status":"queued","replayed":false}"#;
    let length = format!("Content-Length: {}\r\n", of_another.len());
    let of_another = [head(&length), of_another.as_bytes().to_vec()].concat();
    let endless = [
        head("Content-Length: 1000000000000\r\n"),
        vec![b'a'; 4 << 20],
    ]
    .concat();
    for (bytes, answers, why) in [
        (Vec::new(), 1, "100 × connection closed"),
        (
            b"+PONG\r\n\r\n".to_vec(),
            usize::MAX,
            "100 × answered with something else than HTTP",
        ),
        (
            b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
            usize::MAX,
            "100 × redirected (307)",
        ),
        (
            b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n".to_vec(),
            usize::MAX,
            "100 × answered 503",
        ),
        // An answer for another loan says nothing of this one.
        (
            of_another,
            usize::MAX,
            "100 × answered 202 without the documented content",
        ),
        // It is not read to its end, which does not come.
        (endless, usize::MAX, "or without an end"),
    ] {
        let place = Place::new();
        let url = answering(bytes, answers);
        let (code, screen, error) = place.said(&to_stub(&url, &["--quiet"]));
        assert_eq!(code, Some(1), "{why}: {screen}{error}");
        // On a terminal's lines.
        let words: Vec<&str> = screen.split_whitespace().collect();
        assert!(words.join(" ").contains(why), "{why}: {screen}");
        let (code, _, error) = place.said(&["send", "short.toml", &url]);
        assert_eq!(code, Some(1), "{why}: {error}");
    }
}

/// One answer to everything, as a status and its JSON.
fn answering_json(status: &str, json: &str) -> String {
    let length = json.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{json}");
    answering(text.into_bytes(), usize::MAX)
}

/// Whoever takes everything, or knows everything already, gives a wrong answer to some kinds, whether or not its stores are looked at.
#[test]
fn a_wrong_answer_to_a_kind_fails_every_mode_that_sends() {
    let place = Place::new();
    place.scenario(&format!(
        "{SCENARIO}\n[mix]\nmalformed = 0.2\nduplicate = 0.2\nconflict = 0.2\n"
    ));
    for (answer, kinds) in [
        (
            r#"{"status":"queued","replayed":false}"#,
            [
                "malformed must be answered 400, and came otherwise",
                "duplicate must be answered 202 replayed, and",
                "conflict must be answered 422 loan_id_conflict, and",
            ],
        ),
        (
            r#"{"status":"queued","replayed":true}"#,
            [
                "malformed must be answered 400, and came otherwise",
                "valid must be answered 202, and came otherwise",
                "conflict must be answered 422 loan_id_conflict, and",
            ],
        ),
    ] {
        let url = answering_json("202 Accepted", answer);
        let (code, screen, error) = place.said(&to_stub(&url, &["--quiet"]));
        assert_eq!(code, Some(1), "{screen}{error}");
        let run = place.report().why.join("\n");
        let (code, _, sent) = place.said(&["send", "short.toml", &url]);
        assert_eq!(code, Some(1), "{sent}");
        for kind in kinds {
            assert!(run.contains(kind), "{kind}: {run}");
            assert!(sent.contains(kind), "{kind}: {sent}");
        }
    }
}

#[test]
fn a_generator_that_was_stopped_says_so_when_it_only_sends() {
    let place = Place::new();
    place.scenario(&SCENARIO.replace("send_lag_max = \"1h\"", "send_lag_max = \"300ms\""));
    let stub = stub(Delays::None);
    let url = stub.url();
    let mut command = place.loadgen(&["send", "short.toml", &url]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    while stub.requests() < 20 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let process = Pid::from_raw(child.id() as i32);
    kill(process, Signal::SIGSTOP).expect("it is there");
    std::thread::sleep(Duration::from_millis(1_500));
    kill(process, Signal::SIGCONT).expect("it is there");
    let (code, _, error) = said(&child.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains("discarded: The generator stood still"),
        "{error}"
    );
}

#[test]
fn what_a_file_or_a_service_says_does_not_steer_a_terminal() {
    let place = Place::new();
    let described = "description = \"A hundred loans in a second\"";
    for (text, part) in [
        (
            SCENARIO.replace(described, r#"description = "a\u001b[2J""#),
            "description must be plain text",
        ),
        (
            SCENARIO.replace(r#"name = "all""#, r#"name = "\u001b[2J""#),
            "none of them a control character",
        ),
        (format!("{SCENARIO}\u{1b}[2J = 1"), ""),
    ] {
        place.scenario(&text);
        let (code, _, error) = place.said(&["check", "short.toml"]);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(part), "{error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
    place.scenario(SCENARIO);
    for body in [r#"{"errorType":"\u001b[2J"}"#, "\u{1b}[2J"] {
        let answer = format!(
            "HTTP/1.1 503 X\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let url = answering(answer.into_bytes(), usize::MAX);
        let (code, screen, error) = place.said(&["send", "short.toml", &url]);
        assert_eq!(code, Some(1), "{error}");
        assert!(!(screen + &error).contains('\u{1b}'));
    }
}

#[test]
fn a_number_out_of_its_bounds_is_refused_in_one_line() {
    let place = Place::new();
    for (duration, part) in [
        ("0s", "--duration must be longer than \"0s\""),
        ("0h 0m", "--duration must be longer than \"0h 0m\""),
        ("nan", "--duration \"nan\" is not a duration"),
        ("20000h", "duration"),
    ] {
        let (code, _, error) = place.said(&["run", "short.toml", "--duration", duration]);
        assert_eq!(code, Some(2), "{duration}: {error}");
        assert!(error.contains(part), "{duration}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for (arguments, part) in [
        (&["--start", "nan"][..], "--start must be 10 to 100,000"),
        (&["--start", "0"], "--start must be 10 to 100,000"),
        (&["--start", "inf"], "--start must be"),
        (&["--rate-max", "nan"], "--rate-max must be 10 to 100,000"),
        (&["--precision", "0"], "--precision must be 0.5 to 50"),
        (&["--hold", "0"], "--hold must be 1 to 3,600 seconds"),
        (&["--confirmations", "0"], "--confirmations must be 1 to 20"),
        (&["--start", "500", "--rate-max", "100"], "above --rate-max"),
    ] {
        let mut all = vec!["capacity", "short.toml"];
        all.extend(arguments);
        let (code, _, error) = place.said(&all);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for arguments in [
        &["gate", "--base", "HEAD", "--blocks", "1"][..],
        &["chaos", "--seeds", "0"],
        &["run", "nowhere.toml"],
        &["send", "short.toml", "ftp://somewhere"],
        &[
            "run",
            "short.toml",
            "--target",
            "https://somewhere",
            "--redis",
            "redis://x",
            "--mongodb",
            "mongodb://x",
        ],
    ] {
        let (code, _, error) = place.said(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    }
    // Nothing was begun.
    assert!(!place.0.path().join("reports").exists());
}

#[test]
fn a_flag_without_effect_is_refused() {
    let place = Place::new();
    for flags in [
        &["--run-id", "a"][..],
        &["--start-at", "2030-01-01T00:00:00Z"],
        &["--redis", "redis://127.0.0.1:1/"],
        &["--mongodb-database", "other"],
        &["--no-stores"],
        &[
            "--target",
            "http://127.0.0.1:1",
            "--no-stores",
            "--keep-stack",
        ],
        &[
            "--target",
            "http://127.0.0.1:1",
            "--no-stores",
            "--redis",
            "redis://127.0.0.1:1/",
        ],
    ] {
        let mut arguments = vec!["run", "short.toml"];
        arguments.extend(flags);
        let (code, _, error) = place.said(&arguments);
        assert_eq!(code, Some(2), "{flags:?}: {error}");
    }
}

#[test]
fn what_is_no_scenario_is_told_in_one_line_whoever_reads_it() {
    let place = Place::new();
    let folder = place.0.path();
    fs::create_dir(folder.join("folder")).expect("a folder");
    fs::write(folder.join("binary.toml"), [0xff, 0xfe, 0x00, 0x01]).expect("it is written");
    fs::write(folder.join("empty.toml"), "").expect("it is written");
    fs::write(
        folder.join("plan.toml"),
        "name = \"x\"\n[load]\nrate = 100\n",
    )
    .expect("it is written");
    for (file, part) in [
        ("nowhere.toml", "there is no such file"),
        ("folder", "folder"),
        ("binary.toml", "it is not a text"),
        ("empty.toml", "the key \"name\" is missing"),
        ("plan.toml", "loadgen chaos takes it"),
        ("/dev/zero", "it is longer than"),
    ] {
        for arguments in [
            &["run", file][..],
            &["capacity", file],
            &["check", file],
            &["send", file, "http://127.0.0.1:9"],
            &["chaos", file],
        ] {
            if matches!((arguments[0], file), ("chaos" | "check", "plan.toml")) {
                continue;
            }
            let (code, _, error) = place.said(arguments);
            assert_eq!(code, Some(2), "{arguments:?}: {error}");
            assert!(error.contains(part), "{arguments:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
        }
    }
    let (code, _, error) = place.said(&["chaos", "short.toml"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("loadgen run takes it"), "{error}");
    // Nothing was begun.
    assert!(!folder.join("reports").exists());
}

#[test]
fn an_address_that_leads_nowhere_is_refused_before_anything_is_sent() {
    let place = Place::new();
    for address in [
        "",
        "http://",
        "http://:80",
        "127.0.0.1:80",
        "http://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        "http://a b",
        "http://[::1",
        "http://127.0.0.1:80/path",
        "http://127.0.0.1:80?query",
        "http://127.0.0.1:80,",
        "http://no-host-has-this-name.invalid:80",
    ] {
        let (code, _, error) = place.said(&to_stub(address, &["--quiet"]));
        assert_eq!(code, Some(2), "{address}: {error}");
        assert_eq!(error.lines().count(), 1, "{address}: {error}");
        assert!(
            error.contains("--target must be http://host:port") || error.contains("leads nowhere"),
            "{address}: {error}"
        );
    }
    for (redis, mongodb, part) in [
        ("nonsense", "mongodb://x", "--redis must be redis://host"),
        ("redis://", "mongodb://x", "--redis must be redis://host"),
        ("redis://x,y", "mongodb://x", "--redis must be redis://host"),
        ("rediss://x", "http://x", "--mongodb must be mongodb://host"),
    ] {
        let target = "http://127.0.0.1:9";
        let arguments = [
            "run",
            "short.toml",
            "--target",
            target,
            "--redis",
            redis,
            "--mongodb",
            mongodb,
        ];
        let (code, _, error) = place.said(&arguments);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(part), "{error}");
    }
    // What a build cannot do is told in words of ours, with what would do.
    let target = ["run", "short.toml", "--target", "http://127.0.0.1:9"];
    let stores = [
        "--redis",
        "redis://127.0.0.1:9",
        "--mongodb",
        "mongodb+srv://a.b.invalid",
    ];
    let (code, _, error) = place.said(&[target, stores].concat());
    assert_eq!(code, Some(2), "{error}");
    assert!(!error.contains("feature"), "{error}");
    let runs = place.0.path().join("reports/runs");
    assert_eq!(fs::read_dir(runs).map_or(0, Iterator::count), 0);
}

#[test]
fn an_empty_variable_names_nothing() {
    let place = Place::new();
    for arguments in [
        &["run", "nowhere.toml"][..],
        &["merge", "nowhere.toml", "--shards", "x"],
        &["chaos", "nowhere.toml"],
    ] {
        let mut command = place.loadgen(arguments);
        for name in [
            "SLUICE_TARGET",
            "SLUICE_SERVICE",
            "SLUICE_REDIS_URL",
            "SLUICE_MONGODB_URI",
            "SLUICE_ADMIN_TOKEN",
        ] {
            command.env(name, "");
        }
        let (code, _, error) = said(&command.output().expect("it runs"));
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains("there is no such file"), "{error}");
    }
}

/// What a variable says is told by its name, and one that is no text is not as good as none.
#[test]
fn what_is_wrong_in_the_environment_is_told_by_its_name() {
    let place = Place::new();
    let target = ("SLUICE_TARGET", "http://127.0.0.1:9");
    let no_text = std::ffi::OsStr::from_bytes(b"http://\xff");
    let run = ["run", "short.toml"];
    for (variables, arguments, part) in [
        (
            &[("SLUICE_TARGET", "ftp://x")][..],
            &run[..],
            "SLUICE_TARGET must be http://host:port",
        ),
        (&[target], &run, "SLUICE_TARGET needs the service's stores"),
        (
            &[
                target,
                ("SLUICE_REDIS_URL", "x"),
                ("SLUICE_MONGODB_URI", "mongodb://x"),
            ],
            &run,
            "SLUICE_REDIS_URL must be redis://host",
        ),
        (
            &[target],
            &["run", "short.toml", "--no-stores", "--keep-stack"],
            "--keep-stack has no effect beside SLUICE_TARGET",
        ),
        (
            &[("SLUICE_CONDUCTOR_TOKEN", "a b")],
            &["run", "--conductor", "http://127.0.0.1:9"],
            "SLUICE_CONDUCTOR_TOKEN must be 1 to 256",
        ),
    ] {
        let mut command = place.loadgen(arguments);
        command.envs(variables.iter().copied());
        let (code, _, error) = said(&command.output().expect("it runs"));
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    }
    let stores = ["--target", "http://127.0.0.1:9"];
    for (name, more) in [
        ("SLUICE_TARGET", &[][..]),
        ("SLUICE_REDIS_URL", &stores),
        ("SLUICE_ADMIN_TOKEN", &stores),
        (
            "SLUICE_CONDUCTOR_TOKEN",
            &["--conductor", "http://127.0.0.1:9"],
        ),
    ] {
        let mut arguments = if name == "SLUICE_CONDUCTOR_TOKEN" {
            vec!["run"]
        } else {
            run.to_vec()
        };
        arguments.extend(more);
        let mut command = place.loadgen(&arguments);
        command.env(name, no_text);
        let (code, _, error) = said(&command.output().expect("it runs"));
        assert_eq!(code, Some(2), "{name}: {error}");
        assert!(
            error.contains(&format!("variable {name} is no text")),
            "{error}"
        );
    }
    assert!(!place.0.path().join("reports").exists());
}

/// A plan of faults is told from a scenario by its tables, however they are written.
#[test]
fn check_knows_a_plan_of_faults_however_it_is_written() {
    let place = Place::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let plan = root.join("scenarios/chaos/21-redis-kill.toml");
    let plan = fs::read_to_string(plan).expect("the plan");
    for table in ["[load]", "[load] # how it is sent", "[ load ]"] {
        place.scenario(&plan.replace("[load]", table));
        let (code, screen, error) = place.said(&["check", "short.toml"]);
        assert_eq!(code, Some(0), "{table}: {error}");
        assert!(screen.contains("loadgen chaos"), "{table}: {screen}");
    }
}

/// The command that makes it is one that a shell takes.
#[test]
fn check_names_a_plan_as_a_shell_takes_it() {
    let place = Place::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = place.0.path().join("my plans");
    fs::create_dir(&folder).expect("a folder");
    fs::copy(
        root.join("scenarios/chaos/21-redis-kill.toml"),
        folder.join("a.toml"),
    )
    .expect("the plan");
    let (code, screen, error) = place.said(&["check", "my plans/a.toml"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        screen.contains("`loadgen chaos 'my plans/a.toml'`"),
        "{screen}"
    );
}

/// A pipe can be read once only.
#[test]
fn check_takes_what_a_pipe_says() {
    let place = Place::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (file, part) in [
        ("scenarios/smoke.toml", "arrivals"),
        ("scenarios/chaos/21-redis-kill.toml", "loadgen chaos"),
    ] {
        let text = fs::read(root.join(file)).expect("the file");
        let mut check = place
            .loadgen(&["check", "/dev/stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut pipe = check.stdin.take().expect("a pipe");
        pipe.write_all(&text).expect("it is read");
        drop(pipe);
        let (code, screen, error) = said(&check.wait_with_output().expect("it ends"));
        assert_eq!(code, Some(0), "{file}: {error}");
        assert!(screen.contains(part), "{file}: {screen}");
    }
}

#[test]
fn seeds_are_refused_where_no_seed_draws_anything() {
    let place = Place::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let plan = root.join("scenarios/chaos/21-redis-kill.toml");
    let plan = plan.display().to_string();
    let (code, _, error) = place.said(&["chaos", &plan, "--seeds", "5"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("--seeds has no effect"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    // Nothing was begun.
    assert!(!place.0.path().join("reports").exists());
}

#[test]
fn merge_offers_only_what_it_takes() {
    let place = Place::new();
    let (_, help, _) = place.said(&["merge", "--help"]);
    assert!(
        !help.contains("no-stores") && !help.contains("private stack"),
        "{help}"
    );
    let merge = ["merge", "short.toml", "--shards", "x"];
    let (code, _, error) = place.said(&[&merge[..], &["--target", "http://127.0.0.1:9"]].concat());
    assert_eq!(code, Some(2));
    assert!(
        error.contains("--redis") && !error.contains("no-stores"),
        "{error}"
    );
    let (code, _, error) = place.said(&merge);
    assert_eq!(code, Some(2));
    assert!(error.contains("merge needs the --target"), "{error}");
}

#[test]
fn a_number_below_zero_is_taken_for_a_number() {
    let place = Place::new();
    for arguments in [
        &["run", "short.toml", "--seed", "-1"][..],
        &["run", "short.toml", "--duration", "-5s"],
        &["capacity", "short.toml", "--hold", "-1"],
        &["capacity", "short.toml", "--start", "-1"],
        &["gate", "--base", "HEAD", "--blocks", "-1"],
        &["chaos", "--seeds", "-1"],
        &["capacity", "short.toml", "--rate-max", "-inf"],
        &["capacity", "short.toml", "--precision", "-nan"],
        &["gate-power", "--gates", "-1"],
        &[
            "conduct",
            "short.toml",
            "--shards",
            "2",
            "--duration",
            "-5s",
        ],
        &[
            "conduct",
            "short.toml",
            "--shards",
            "2",
            "--join-within",
            "-1s",
        ],
        &[
            "run",
            "--conductor",
            "http://127.0.0.1:9",
            "--join-within",
            "-1s",
        ],
    ] {
        let (code, _, error) = place.said(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(!error.contains("unexpected argument"), "{error}");
        assert!(error.contains(arguments[arguments.len() - 2]), "{error}");
    }
}

#[test]
fn what_cannot_be_written_says_where_and_why_once() {
    let place = Place::new();
    fs::write(place.0.path().join("file"), "").expect("it is written");
    let stub = stub(Delays::None);
    for (arguments, part) in [
        (
            to_stub(&stub.url(), &["--samples", "none/x.csv"]),
            "cannot write none/x.csv: its folder is not there; name another place",
        ),
        (
            to_stub(&stub.url(), &["--reports", "file"]),
            "cannot write file/runs: a file stands where its folder should be",
        ),
        (vec!["self-test", "--reports", "file"], "cannot write file"),
        (
            vec!["gate", "--base", "HEAD", "--reports", "file"],
            "cannot write file/runs",
        ),
    ] {
        let (code, _, error) = place.said(&arguments);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("os error"), "{error}");
    }
    assert_eq!(stub.requests(), 0);
}

#[test]
fn a_gate_and_a_self_test_that_are_stopped_say_so_and_end_with_4() {
    let place = Place::new();
    let folder = place.0.path();
    let git = |arguments: &[&str]| {
        let status = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .status()
            .expect("git");
        assert!(status.success(), "{arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "short.toml"]);
    git(&["commit", "--quiet", "-m", "first"]);
    // A build that takes as long as nobody stops it.
    fs::create_dir(folder.join("tools")).expect("a folder");
    let cargo = folder.join("tools/cargo");
    fs::write(&cargo, "#!/bin/sh\n: > \"$MARK\"\nsleep 3600\n").expect("it is written");
    fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it may be run");
    let mark = folder.join("building");
    let path = format!(
        "{}:{}",
        folder.join("tools").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut child = place
        .loadgen(&["gate", "--base", "HEAD"])
        .env("PATH", path)
        .env("MARK", &mark)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("it runs");
    while !mark.exists() && child.try_wait().is_ok_and(|end| end.is_none()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("it is there");
    let (code, screen, _) = said(&child.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(4), "{screen}");
    assert!(screen.contains("aborted"), "{screen}");
    let (_, page) = screen.trim().rsplit_once("report: ").expect("the page");
    let page = fs::read_to_string(folder.join(page)).expect("the page");
    assert!(page.contains("stopped by SIGTERM"), "{page}");

    let mut child = place
        .loadgen(&["self-test"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("it runs");
    let mut told = std::io::BufReader::new(child.stderr.take().expect("its output"));
    let mut line = String::new();
    while !line.contains("stall") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut told, &mut line).is_ok_and(|bytes| bytes > 0));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it is there");
    let (code, screen, _) = said(&child.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(4), "{screen}");
    assert!(screen.contains("1 known truth, 0 missed"), "{screen}");
    assert!(screen.contains("stopped by Ctrl-C"), "{screen}");
    let kept = fs::read_to_string(folder.join("reports/self-test.json")).expect("it is kept");
    assert!(kept.contains("\"stopped\": \"Ctrl-C\""), "{kept}");
}

#[test]
fn the_services_own_settings_in_the_environment_name_no_target() {
    let place = Place::new();
    // With a file that is not there, a private run says so; it used to ask for --target first.
    let output = place
        .loadgen(&["run", "nowhere.toml"])
        .env("SLUICE_REDIS_URL", "redis://127.0.0.1:1/")
        .env("SLUICE_MONGODB_URI", "mongodb://127.0.0.1:1/")
        .env("SLUICE_MONGODB_DATABASE", "other")
        .output()
        .expect("it runs");
    let (code, _, error) = said(&output);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("cannot read the scenario nowhere.toml"),
        "{error}"
    );
    let (code, _, error) = place.said(&["run", "short.toml", "--target", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("SLUICE_REDIS_URL") && error.contains("--no-stores"),
        "{error}"
    );
}

#[test]
fn nothing_to_send_to_is_no_success() {
    let place = Place::new();
    let (code, screen, error) = place.said(&["send", "short.toml", "http://127.0.0.1:9"]);
    assert_eq!(code, Some(1), "{error}");
    // What was never answered has no response time of zero.
    assert!(screen.contains("response  no data"), "{screen}");
    assert!(error.contains("100 times connection refused"), "{error}");
    // One line for all of them.
    assert!(error.lines().count() <= 3, "{error}");
    let (code, screen, error) = place.said(&to_stub("http://127.0.0.1:9", &["--quiet"]));
    assert_eq!(code, Some(1), "{error}");
    let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains(
            "100 of 100 arrivals have no definite answer, and the scenario allows none: 100 ×"
        ),
        "{screen}"
    );
    assert!(error.lines().count() <= 1, "{error}");
    // Why not, too.
    assert!(
        screen.contains("errors     100 × connection refused"),
        "{screen}"
    );
    assert!(screen.contains("such as: "), "{screen}");
    let page = fs::read_to_string(place.0.path().join("reports/latest/report.html"));
    let page = page.expect("a page");
    assert!(
        page.contains("100 × connection refused"),
        "the page's reasons"
    );
}

#[test]
fn a_store_over_tls_that_is_not_there_is_told_and_nothing_panics() {
    let place = Place::new();
    let target = ["run", "short.toml", "--target", "http://127.0.0.1:9"];
    let arguments = [
        &target[..],
        &[
            "--redis",
            "rediss://127.0.0.1:9/",
            "--mongodb",
            "mongodb://x/?tls=true",
        ],
    ]
    .concat();
    let (code, _, error) = place.said(&arguments);
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.starts_with("loadgen: Redis at 127.0.0.1:9: "),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_report_from_anywhere_does_not_steer_the_terminal() {
    let place = Place::new();
    let stub = stub(Delays::None);
    let (code, _, error) = place.said(&to_stub(&stub.url(), &["--quiet"]));
    assert_eq!(code, Some(0), "{error}");
    let report = place.0.path().join("reports/latest/report.json");
    let report = fs::read_to_string(report).expect("a report");
    assert!(report.contains("\"short\""), "{report}");
    let hostile = report.replace("\"short\"", r#""\u001b[2J\u202eshort""#);
    fs::write(place.0.path().join("hostile.json"), hostile).expect("it is written");
    let (code, screen, error) = place.said(&["compare", "reports/latest", "hostile.json"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(screen.contains("[2J short"), "{screen}");
    assert!(!screen.contains(['\u{1b}', '\u{202e}']), "{screen}");
}

#[test]
fn the_load_goes_to_all_targets_in_turn() {
    let place = Place::new();
    let (first, second) = (stub(Delays::None), stub(Delays::None));
    let both = format!("{},{}", first.url(), second.url());
    let (code, screen, error) = place.said(&to_stub(&both, &[]));
    assert_eq!(code, Some(0), "{screen}{error}");
    assert_eq!((first.requests(), second.requests()), (50, 50));
    // One that is named twice would be taken for two.
    let twice = format!("{0},{0}/", first.url());
    let (code, _, error) = place.said(&to_stub(&twice, &[]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("names one instance twice"), "{error}");
    // Of one that is dead half of the load says so.
    let dead = format!("{},http://127.0.0.1:9", first.url());
    let (code, screen, _) = place.said(&to_stub(&dead, &[]));
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("50 × connection refused"), "{screen}");
}

#[test]
fn the_clients_half_passes_and_says_what_was_not_judged() {
    let place = Place::new();
    place.scenario(&format!(
        "{SCENARIO}\n[[check]]\nmetric = \"lost\"\nequals = 0\n[[check]]\nmetric = \"end_to_end_ms.p99\"\nmax = 5\n"
    ));
    let stub = stub(Delays::None);
    let samples = place.0.path().join("samples.ndjson");
    let path = samples.display().to_string();
    let (code, screen, error) = place.said(&to_stub(&stub.url(), &["--samples", &path]));
    assert_eq!(code, Some(0), "{screen}{error}");
    assert!(
        error.contains("not judged without the stores: lost, end_to_end_ms.p99"),
        "{error}"
    );
    assert!(screen.contains("The one check held"), "{screen}");
    assert!(screen.contains("Not judged"), "{screen}");
    assert!(
        screen.contains("no data: the run was made without a look at the stores"),
        "{screen}"
    );
    let report = place.report();
    assert_eq!(report.verdict, Verdict::Pass);
    assert_eq!(report.provenance.target, stub.url());
    assert!(report.repeat.contains("--no-stores"), "{}", report.repeat);
    let lines = fs::read_to_string(samples).expect("the samples");
    assert_eq!(lines.lines().count(), 100);
}

#[test]
fn a_proxy_of_the_environment_is_passed_by() {
    let place = Place::new();
    let stub = stub(Delays::None);
    let mut command = place.loadgen(&to_stub(&stub.url(), &["--quiet"]));
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let (code, screen, _) = said(&command.output().expect("it runs"));
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(stub.requests(), 100);
}

#[test]
fn a_service_that_refuses_for_half_of_the_run_fails_it() {
    let place = Place::new();
    place.scenario(&format!(
        "{SCENARIO}\n[[check]]\nmetric = \"response_ms.p99\"\nmax = 60000\n"
    ));
    let stub = stub(Delays::Refuse { from: 25, to: 75 });
    let (code, screen, _) = place.said(&to_stub(&stub.url(), &["--json", "--quiet"]));
    assert_eq!(code, Some(1), "{screen}");
    let report: Report = serde_json::from_str(&screen).expect("the report, and nothing else");
    assert_eq!((report.load.completed, report.load.failed), (50, 50));
    // Only what was answered has a response time; what was not is slower than any bound.
    assert_eq!(
        (report.load.response_us.count, report.load.refused_us.count),
        (50, 50)
    );
    let p99 = report
        .checks
        .iter()
        .find(|check| check.name == "response_ms.p99");
    assert!(p99.is_some_and(|check| !check.pass && check.observed.contains("50 requests")));
}

#[test]
fn an_output_that_nobody_reads_changes_nothing() {
    let place = Place::new();
    let stub = stub(Delays::None);
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let status = place
        .loadgen(&to_stub(&stub.url(), &[]))
        .stdout(full.try_clone().expect("a copy"))
        .stderr(full)
        .status()
        .expect("it runs");
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.report().verdict, Verdict::Pass);
}

#[test]
fn what_cannot_be_written_is_a_warning_after_the_verdict() {
    let place = Place::new();
    let stub = stub(Delays::None);
    fs::create_dir_all(place.0.path().join("reports/latest/inside")).expect("a folder");
    let (code, screen, error) = place.said(&to_stub(&stub.url(), &["--quiet"]));
    assert_eq!(code, Some(0), "{error}");
    assert!(screen.contains("PASS"), "{screen}");
    assert!(
        error.contains("warning: cannot write reports/latest"),
        "{error}"
    );
    // The list and the report are there all the same.
    assert!(place.0.path().join("reports/index.html").is_file());
    let (_, path) = screen.trim().rsplit_once("report: ").expect("the path");
    assert!(place.0.path().join(path).is_file(), "{path}");
}

#[test]
fn a_limit_of_file_sizes_leaves_the_verdict_and_no_half_file() {
    let place = Place::new();
    let stub = stub(Delays::None);
    let program = env!("CARGO_BIN_EXE_loadgen");
    let line = format!(
        "ulimit -f 8; exec {program} {}",
        to_stub(&stub.url(), &["--quiet"]).join(" ")
    );
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.0.path())
        .output()
        .expect("it runs");
    let (code, screen, error) = said(&output);
    assert_eq!(code, Some(0), "{error}");
    assert!(screen.contains("PASS"), "{screen}");
    assert!(error.contains("report.html"), "{error}");
    let runs = fs::read_dir(place.0.path().join("reports/runs")).expect("the runs");
    for run in runs {
        for file in fs::read_dir(run.expect("a run").path()).expect("its files") {
            let path = file.expect("a file").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            assert!(
                !["report.html", "report.json.part", "report.html.part"].contains(&name.as_str()),
                "{name}"
            );
            if let Some(curve) = name.strip_suffix(".hgrm") {
                let text = fs::read_to_string(&path).expect("a text");
                assert!(text.contains("#[Max"), "{curve} is not whole");
            }
            if name == "report.json" {
                let text = fs::read_to_string(&path).expect("a text");
                serde_json::from_str::<Report>(&text).expect("a whole report");
            }
        }
    }
}

/// Under a limit of the shell; the rest of the line is the command's.
fn limited(place: &Place, limit: &str, arguments: &str) -> (Option<i32>, String, String) {
    let program = env!("CARGO_BIN_EXE_loadgen");
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit {limit}; exec {program} {arguments}")])
        .current_dir(place.0.path())
        .output()
        .expect("it runs");
    said(&output)
}

/// Every file below the place that is not whole, or was to be.
fn parts(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(parts(&path));
        } else if path.extension().is_some_and(|ending| ending == "part") {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn no_command_is_ended_by_a_limit_of_file_sizes_and_none_leaves_half_a_file() {
    let place = Place::new();
    let stub = stub(Delays::None);
    let (code, _, error) = place.said(&to_stub(&stub.url(), &["--quiet"]));
    assert_eq!(code, Some(0), "{error}");
    // The page is longer than the limit; what is printed is all the same.
    let (code, screen, error) = limited(
        &place,
        "-f 4",
        "compare reports/latest reports/latest --reports there",
    );
    assert_eq!(code, Some(0), "{screen}{error}");
    assert!(error.contains("warning: cannot write"), "{error}");
    for arguments in [
        "check short.toml >told",
        "schema >told",
        "completions bash >told",
        "--help >told",
        "man pages",
    ] {
        let (code, _, error) = limited(&place, "-f 0", arguments);
        assert_eq!(code, Some(2), "{arguments}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments}: {error}");
    }
    let pages = fs::read_dir(place.0.path().join("pages")).expect("a folder");
    assert_eq!(pages.count(), 0);
    let samples = format!(
        "{} --samples s.csv",
        to_stub(&stub.url(), &["--quiet"]).join(" ")
    );
    let (code, _, error) = limited(&place, "-f 4", &samples);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        error.contains("samples cannot be written to s.csv"),
        "{error}"
    );
    assert!(!place.0.path().join("s.csv").exists());
    assert_eq!(parts(place.0.path()), [""; 0]);
}

#[test]
fn too_few_files_and_too_little_memory_are_told_in_one_line() {
    let place = Place::new();
    for (limit, part) in [
        ("-n 8", "ulimit -n"),
        ("-n 20", "ulimit -n"),
        ("-v 400000", "ulimit -v"),
    ] {
        for arguments in [
            "send short.toml http://127.0.0.1:9",
            "run short.toml --target http://127.0.0.1:9 --no-stores",
            "conduct short.toml --shards 1 --listen 127.0.0.1:0 --target http://127.0.0.1:9 --no-stores",
            "chaos --service none --short short-plan.toml",
        ] {
            if arguments.starts_with("chaos") {
                let plan = "name = \"x\"\ndescription = \"x\"\nseed = 1\n[load]\nduration = \"1s\"\nrate = 100\n";
                fs::write(place.0.path().join("short-plan.toml"), plan).expect("it is written");
            }
            let (code, _, error) = limited(&place, limit, arguments);
            assert_eq!(code, Some(2), "{limit} {arguments}: {error}");
            assert!(!error.contains("panicked"), "{limit} {arguments}: {error}");
            if !arguments.starts_with("chaos") {
                assert!(error.contains(part), "{limit} {arguments}: {error}");
                assert_eq!(error.lines().count(), 1, "{limit} {arguments}: {error}");
            }
        }
    }
}

#[test]
fn samples_write_over_nothing_that_is_no_sample() {
    let place = Place::new();
    let stub = stub(Delays::None);
    for (file, part) in [
        ("short.toml", "it holds something else"),
        ("./short.toml", "it holds something else"),
        ("/dev/stdout", "it is no file"),
        ("/dev/null", "it is no file"),
        (".", "it is a folder"),
        ("nowhere/s.csv", "its folder is not there"),
    ] {
        let (code, _, error) = place.said(&to_stub(&stub.url(), &["--quiet", "--samples", file]));
        assert_eq!(code, Some(2), "{file}: {error}");
        assert!(error.contains(part), "{file}: {error}");
    }
    assert_eq!(stub.requests(), 0);
    let scenario = fs::read_to_string(place.0.path().join("short.toml")).expect("the scenario");
    assert_eq!(scenario, SCENARIO);
}

#[test]
fn what_a_command_cannot_do_is_refused_before_anything_starts() {
    let place = Place::new();
    place.scenario(&format!("{SCENARIO}[crowd]\nidle = 1\n"));
    let stub = stub(Delays::None);
    let url = stub.url();
    let (code, _, error) = place.said(&["send", "short.toml", &url]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("send takes no [crowd]"), "{error}");
    assert_eq!(stub.requests(), 0);
    let many = [
        "capacity",
        "short.toml",
        "--rate-max",
        "100000",
        "--hold",
        "3600",
    ];
    let (code, _, error) = place.said(&many);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("lower one of them"), "{error}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_built() {
    let place = Place::new();
    for arguments in [
        &[
            "gate-rounds",
            "--slowdown-ns",
            "1",
            "--file",
            "nowhere/rounds.jsonl",
        ][..],
        &["gate-rounds", "--slowdown-ns", "1", "--file", "."],
        &["gate-hot-path", "--file", "nowhere/baseline.json"],
        &["gate-hot-path", "--file", "."],
    ] {
        let (code, _, error) = place.said(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains("cannot write"), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    }
}

#[test]
fn a_stop_ends_with_a_report_and_its_own_code() {
    // The last one comes when a terminal is closed.
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let place = Place::new();
        place.scenario(&SCENARIO.replace("1s", "1h"));
        let stub = stub(Delays::None);
        // Under `nohup` the tests have SIGHUP ignored, and a run obeys that; here it must not be so.
        let mut child = Command::new("env")
            .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_loadgen")])
            .args(to_stub(&stub.url(), &["--quiet"]))
            .current_dir(place.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("it runs");
        while stub.requests() < 50 {
            std::thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(child.id() as i32), signal).expect("it is there");
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(4), "{signal}");
        let report = place.report();
        assert_eq!(report.verdict, Verdict::Aborted);
        // Drawn and summed as far as it came.
        let reached = report.reached_seconds.expect("it was cut short");
        assert!(report.phases[0].end_seconds <= reached + 1e-6, "{reached}");
        assert!(
            report.load.rate_per_second > 20.0,
            "{}",
            report.load.rate_per_second
        );
        assert!(report.load.planned_rate_per_second < 150.0);
        assert!(
            report
                .time_series
                .iter()
                .map(|point| point.planned)
                .sum::<u64>()
                < 3_600
        );
        assert!(!place.0.path().join("reports/latest/running.json").exists());
    }
}

#[test]
fn a_load_that_is_only_sent_is_told_as_far_as_it_came() {
    let place = Place::new();
    place.scenario(&SCENARIO.replace("1s", "1h"));
    let stub = stub(Delays::None);
    let url = stub.url();
    let mut command = place.loadgen(&["send", "short.toml", &url]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    while stub.requests() < 50 {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("it is there");
    let (code, screen, error) = said(&child.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(4), "{screen}{error}");
    // Over the hour that was planned it would be next to nothing.
    assert!(screen.starts_with("sent "), "{screen}");
    assert!(
        !screen.contains(" 0/s") && !screen.contains(" 0.0/s"),
        "{screen}"
    );
    let rate = screen
        .split(", ")
        .nth(1)
        .and_then(|words| words.split("/s").next());
    let rate = rate.and_then(|rate| rate.parse::<f64>().ok());
    assert!(rate.is_some_and(|rate| rate > 10.0), "{screen}");
}

/// A server that takes connections and says nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
    (listener, url)
}

#[test]
fn a_stop_before_the_load_is_one_and_tells_what_it_was_to_be() {
    let place = Place::new();
    for only_sends in [true, false] {
        // Of its own: what waits for an answer of the first is not the second's.
        let (listener, url) = silent();
        let run = to_stub(&url, &["--quiet", "--seed", "7"]);
        let send = vec!["send", "short.toml", &url];
        let arguments = if only_sends { send } else { run };
        let child = place
            .loadgen(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        // It has asked something, and nothing answers.
        let asked = listener.accept().expect("it connects");
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it is there");
        let (code, screen, error) = said(&child.wait_with_output().expect("it ends"));
        assert_eq!(code, Some(4), "{arguments:?}: {screen}{error}");
        assert!(!screen.contains("none in the scenario"), "{screen}");
        drop(asked);
    }
    let report = place.report();
    assert_eq!(report.verdict, Verdict::Aborted);
    assert!(
        report.why[0].contains("before its load began"),
        "{:?}",
        report.why
    );
    assert_eq!(
        (report.load.scheduled, report.load.unsent, report.load.sent),
        (100, 100, 0)
    );
    assert!(report.load.planned_rate_per_second > 90.0);
    assert_eq!(report.checks.len(), 1);
    assert!(report.provenance.target.starts_with("http://127.0.0.1:"));
    assert!(report.repeat.contains("--seed 7"), "{}", report.repeat);
}

/// Whoever wants it to outlive its terminal is obeyed.
#[test]
fn a_run_under_nohup_goes_on_when_its_terminal_is_closed() {
    let place = Place::new();
    let stub = stub(Delays::None);
    let program = env!("CARGO_BIN_EXE_loadgen");
    let line = format!(
        "trap '' HUP; exec {program} {}",
        to_stub(&stub.url(), &["--quiet"]).join(" ")
    );
    let mut child = Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.0.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    while stub.requests() < 10 {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).expect("it is there");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(place.report().verdict, Verdict::Pass);
}

/// Of some commands what they print is all that comes of them; a run has its verdict all the same.
#[test]
fn what_cannot_be_printed_is_told() {
    let place = Place::new();
    let stub = stub(Delays::None);
    let full = || {
        fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("the system has one")
    };
    let (code, _, error) = place.said(&to_stub(&stub.url(), &["--quiet"]));
    assert_eq!(code, Some(0), "{error}");
    for arguments in [
        &["compare", "reports/latest", "reports/latest", "--json"][..],
        &["compare", "reports/latest", "reports/latest"],
        &["check", "short.toml"],
        &["schema"],
        &["completions", "bash"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
    ] {
        let output = place.loadgen(arguments).stdout(full()).output();
        let (code, _, error) = said(&output.expect("it runs"));
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
        assert!(error.contains("standard output"), "{arguments:?}: {error}");
    }
    let mut run = place.loadgen(&to_stub(&stub.url(), &["--json", "--quiet"]));
    let (code, _, error) = said(&run.stdout(full()).output().expect("it runs"));
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("standard output"), "{error}");
}

/// What a flag takes is said in words that need no Rust.
#[test]
fn a_number_that_is_none_is_told_in_plain_words() {
    let place = Place::new();
    for (arguments, told) in [
        (&["run", "short.toml", "--seed", "x"][..], "a whole number"),
        (&["run", "short.toml", "--seed", "-1"], "a whole number"),
        (&["chaos", "--seeds", "1.5"], "a whole number"),
        (
            &["gate", "--base", "HEAD", "--blocks", "nan"],
            "a whole number",
        ),
        (
            &["gate-power", "--gates", "99999999999999999999"],
            "the number is too large",
        ),
        (&["capacity", "short.toml", "--start", "fast"], "a number"),
        (
            &["conduct", "short.toml", "--shards", "two"],
            "a whole number",
        ),
        (
            &["conduct", "short.toml", "--shards", "2", "--listen", "here"],
            "an address and a port",
        ),
    ] {
        let (code, _, error) = place.said(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
}

#[test]
fn a_run_that_was_killed_is_in_the_list() {
    let place = Place::new();
    place.scenario(&SCENARIO.replace("1s", "1h"));
    let stub = stub(Delays::None);
    let mut child = place
        .loadgen(&to_stub(&stub.url(), &["--quiet"]))
        .spawn()
        .expect("it runs");
    while stub.requests() < 10 {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    place.scenario(SCENARIO);
    place.said(&to_stub(&stub.url(), &["--quiet"]));
    let list = fs::read_to_string(place.0.path().join("reports/index.html")).expect("the list");
    assert!(list.contains("was killed before its end"), "{list}");
}

#[test]
fn a_secret_of_the_user_is_not_printed() {
    let place = Place::new();
    let stub = stub(Delays::None);
    let url = stub.url().replace("http://", "http://user:hunter2@");
    let output = place
        .loadgen(&to_stub(&url, &[]))
        .env("SLUICE_ADMIN_TOKEN", "a-secret-token")
        .output()
        .expect("it runs");
    let (_, screen, error) = said(&output);
    for secret in ["a-secret-token", "hunter2"] {
        assert!(
            !screen.contains(secret) && !error.contains(secret),
            "{screen}{error}"
        );
        let report = fs::read_to_string(place.0.path().join("reports/latest/report.json"));
        assert!(!report.unwrap_or_default().contains(secret));
    }
}

/// Whoever mistypes an address has typed its secret all the same.
#[test]
fn a_secret_in_an_address_that_is_refused_is_not_printed() {
    const SECRET: &str = "hunter2";
    let place = Place::new();
    let stores = |redis, mongodb| ["--redis", redis, "--mongodb", mongodb];
    let target = ["run", "short.toml", "--target", "http://127.0.0.1:9"];
    for address in [
        "http://user:hunter2@127.0.0.1:9/",
        "https://user:hunter2@127.0.0.1:9",
        "http://:hunter2@127.0.0.1:9",
        "http://user:hun/hunter2@127.0.0.1:9",
        "http//user:hunter2@127.0.0.1",
        "user:hunter2@127.0.0.1:9",
        "http://127.0.0.1:9/path?key=hunter2",
        "ftp://127.0.0.1:9#hunter2",
    ] {
        let no_stores = |flag| {
            [
                "run",
                "short.toml",
                "--target",
                "http://127.0.0.1:9",
                "--no-stores",
                flag,
                address,
            ]
        };
        let with_stores = [
            "run",
            "short.toml",
            "--target",
            address,
            "--redis",
            "redis://127.0.0.1:9",
            "--mongodb",
            "mongodb://127.0.0.1:9",
        ];
        let mut refused = vec![
            with_stores.to_vec(),
            vec!["run", "--join-within", "1s", "--conductor", address],
        ];
        // A collector may have a key behind its path.
        if !address.starts_with("http://127") {
            refused.push(no_stores("--otlp").to_vec());
        }
        for arguments in refused {
            let (code, screen, error) = place.said(&arguments);
            assert_eq!(code, Some(2), "{arguments:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
            assert!(
                !screen.contains(SECRET) && !error.contains(SECRET),
                "{arguments:?}: {error}"
            );
        }
    }
    for stores in [
        stores("redis:/user:hunter2@x", "mongodb://x"),
        stores("redis://user:hunter2@127.0.0.1:x", "mongodb://x"),
        stores("redis://user:hunter2", "mongodb://x"),
        stores("redis://127.0.0.1:9", "mongo://user:hunter2@x"),
        stores("redis://127.0.0.1:9", "mongodb://user:hunter2"),
    ] {
        let (code, _, error) = place.said(&[&target[..], &stores[..]].concat());
        assert_eq!(code, Some(2), "{stores:?}: {error}");
        assert!(!error.contains(SECRET), "{stores:?}: {error}");
    }
}

#[test]
fn check_says_what_would_be_sent() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let place = Place::new();
    let path = root.join("scenarios/mixed.toml").display().to_string();
    let (code, screen, _) = place.said(&["check", &path]);
    assert_eq!(code, Some(0));
    for part in [
        "warm-up",
        "constant 300/s, Poisson",
        "duplicate",
        "422, the first one stays",
        "response_ms.p99, phase mixed: at most 20 ms",
    ] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
}

#[test]
fn every_command_says_its_exit_codes_and_has_a_page() {
    let place = Place::new();
    let (_, help, _) = place.said(&["help"]);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in &commands {
        let (code, text, _) = place.said(&[command, "--help"]);
        assert_eq!(code, Some(0));
        assert!(text.contains("Exit code: 0"), "{command}: {text}");
    }
    let (code, _, error) = place.said(&["man", "pages"]);
    assert_eq!(code, Some(0), "{error}");
    for command in commands {
        let page = place.0.path().join(format!("pages/loadgen-{command}.1"));
        let text = fs::read_to_string(&page).expect("a page");
        assert!(text.contains("Exit code: 0"), "{command}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let (code, text, _) = place.said(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(text.contains("gate-power"), "{shell}");
    }
}
