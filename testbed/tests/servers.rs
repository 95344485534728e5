//! The private servers, on the real binaries: what is acknowledged survives, what is dropped is gone.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use testbed::{
    MongoOptions, MongoServer, RedisOptions, RedisServer, Servers, ServiceOptions, ServiceProcess,
    TestbedError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn servers() -> Servers {
    Servers::discover().unwrap()
}

/// Whether a process runs. One that has ended and waits for its parent to notice does not.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit(')').next().unwrap_or_default();
        !state.trim_start().starts_with(['Z', 'X'])
    })
}

/// Waits for something that must come true. The bound only keeps a failing test from hanging.
fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn redis_call(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream
        .write_all(format!("{command}\r\nQUIT\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn redis_keeps_acknowledged_data_through_sigkill() {
    let mut redis = RedisServer::start(&servers(), RedisOptions::default())
        .await
        .unwrap();
    let (port, pid) = (redis.port(), redis.pid());
    assert!(redis_call(port, "SET loan queued").await.starts_with("+OK"));
    redis.kill();
    assert!(!runs(pid));
    assert_eq!(redis.pid(), 0);
    redis.restart().await.unwrap();
    assert_eq!(redis.port(), port);
    assert_ne!(redis.pid(), pid);
    assert!(
        redis_call(port, "GET loan")
            .await
            .starts_with("$6\r\nqueued")
    );
    assert!(
        redis_call(port, "CONFIG GET appendfsync")
            .await
            .contains("always")
    );
}

#[tokio::test]
async fn mongod_keeps_acknowledged_data_through_sigkill() {
    let mut server = MongoServer::start(&servers(), MongoOptions::default())
        .await
        .unwrap();
    let (uri, pid) = (server.uri(), server.pid());
    let client = mongodb::Client::with_uri_str(format!("{uri}?w=majority&journal=true"))
        .await
        .unwrap();
    let loans = client.database("sluice").collection::<Document>("loans");
    loans.insert_one(doc! { "_id": "GC-000001" }).await.unwrap();
    server.kill();
    assert!(!runs(pid));
    server.restart().await.unwrap();
    assert_eq!(server.uri(), uri);
    assert_eq!(loans.count_documents(doc! {}).await.unwrap(), 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stopped_server_goes_on_when_it_is_continued() {
    let redis = RedisServer::start(&servers(), RedisOptions::default())
        .await
        .unwrap();
    redis.signal(Signal::SIGSTOP).unwrap();
    redis.signal(Signal::SIGCONT).unwrap();
    assert!(redis_call(redis.port(), "PING").await.starts_with("+PONG"));
}

#[tokio::test]
async fn dropping_leaves_no_process_and_no_folder() {
    let redis = RedisServer::start(&servers(), RedisOptions::default())
        .await
        .unwrap();
    let mongodb = MongoServer::start(&servers(), MongoOptions::default())
        .await
        .unwrap();
    // Also one that hangs.
    redis.signal(Signal::SIGSTOP).unwrap();
    let left = [
        (redis.pid(), redis.folder().to_owned()),
        (mongodb.pid(), mongodb.folder().to_owned()),
    ];
    assert!(
        left.iter()
            .all(|(pid, folder)| runs(*pid) && folder.is_dir())
    );
    drop((redis, mongodb));
    for (pid, folder) in left {
        assert!(!runs(pid));
        assert!(!folder.exists());
    }
}

#[tokio::test]
async fn two_servers_are_apart() {
    let servers = servers();
    let (one, other) = tokio::try_join!(
        RedisServer::start(&servers, RedisOptions::default()),
        RedisServer::start(&servers, RedisOptions::default()),
    )
    .unwrap();
    assert_ne!(one.port(), other.port());
    assert_ne!(one.folder(), other.folder());
    redis_call(one.port(), "SET loan queued").await;
    assert!(
        redis_call(other.port(), "GET loan")
            .await
            .starts_with("$-1")
    );
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let options = RedisOptions {
        append_fsync: "sometimes".into(),
        ..RedisOptions::default()
    };
    let error = RedisServer::start(&servers(), options).await.err().unwrap();
    assert!(matches!(error, TestbedError::EarlyExit { .. }));
    assert!(error.to_string().contains("appendfsync"), "{error}");
}

#[tokio::test]
async fn a_service_that_ends_early_is_reported_with_its_last_lines() {
    let options = ServiceOptions {
        // Takes the service's arguments, and ends at once.
        binary: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ending-service.sh").into()),
        environment: vec![("FAILPOINTS".into(), "commit=panic".into())],
        ..ServiceOptions::default()
    };
    let error = ServiceProcess::start(options).await.err().unwrap();
    let TestbedError::EarlyExit { status, log, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(status.code(), Some(2));
    assert!(log.starts_with("bad setting: 127.0.0.1:"), "{log}");
    assert!(log.ends_with("commit=panic"), "{log}");
}

#[tokio::test]
async fn a_missing_service_binary_is_reported() {
    let options = ServiceOptions {
        binary: Some("no/such/service".into()),
        ..ServiceOptions::default()
    };
    let error = ServiceProcess::start(options).await.err().unwrap();
    assert!(error.to_string().contains("no/such/service"), "{error}");
}

/// Starts `testbed servers` in a process group of its own; gives its id and the (id, folder) of each of its servers.
fn held_servers() -> (std::process::Child, Vec<(u32, PathBuf)>) {
    let mut parent = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg("servers")
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let children = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .take_while(|line| !line.starts_with("# Ctrl-C"))
        .filter_map(|line| {
            let (_, rest) = line.split_once(": process ")?;
            let (pid, folder) = rest.split_once(", folder ")?;
            Some((pid.parse().unwrap(), PathBuf::from(folder)))
        })
        .collect::<Vec<_>>();
    assert_eq!(children.len(), 2);
    assert!(children.iter().all(|(pid, _)| runs(*pid)));
    (parent, children)
}

fn nothing_is_left(children: &[(u32, PathBuf)]) {
    for (pid, folder) in children {
        eventually("the server ends", || !runs(*pid));
        // The folder above holds all servers of that process.
        let root = folder.parent().unwrap();
        eventually("the root folder goes", || !root.exists());
    }
}

#[test]
fn a_killed_parent_leaves_nothing() {
    let (mut parent, children) = held_servers();
    kill(Pid::from_raw(parent.id() as i32), Signal::SIGKILL).unwrap();
    parent.wait().unwrap();
    nothing_is_left(&children);
}

#[test]
fn a_killed_process_group_leaves_nothing() {
    let (mut parent, children) = held_servers();
    killpg(Pid::from_raw(parent.id() as i32), Signal::SIGKILL).unwrap();
    parent.wait().unwrap();
    nothing_is_left(&children);
}

#[test]
fn ctrl_c_leaves_nothing() {
    let (mut parent, children) = held_servers();
    killpg(Pid::from_raw(parent.id() as i32), Signal::SIGINT).unwrap();
    assert!(parent.wait().unwrap().success());
    nothing_is_left(&children);
}
