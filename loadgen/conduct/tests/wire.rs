//! The two ends of a conducted run over loopback: what is handed over arrives, and what does not belong there is refused.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use conduct::conductor::{Conductor, LEAD, Terms};
use conduct::link::{Address, Link, LinkError};
use conduct::live::Live;
use conduct::message::{Assignment, REQUEST_BYTES_MAX, Start};
use conduct::server::{Desk, Server};
use plan::shard::Shard;
use snapshot::Snapshot;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TOKEN: &str = "a-token";

fn serve(folder: &Path) -> Server {
    let terms = Terms {
        count: 1,
        join_within: Duration::from_secs(600),
        length: Duration::from_secs(1),
        deliver_within: Duration::from_secs(600),
        commit: String::new(),
        is_other_commit_allowed: false,
    };
    let assignment = Assignment {
        shard: Shard { index: 1, count: 1 },
        run_id: "a1".to_owned(),
        scenario: "name = \"a\"".to_owned(),
        scenario_path: "a.toml".to_owned(),
        scenario_sha256: String::new(),
        seed: Some(7),
        duration: None,
        urls: vec!["http://127.0.0.1:1".to_owned()],
        clients_only: true,
    };
    let desk = Desk::new(
        Conductor::new(terms),
        Live::new(1, 1, 60),
        assignment,
        folder.to_owned(),
    );
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    Server::start(door, desk, Some(TOKEN.to_owned())).expect("it is served")
}

fn address(server: &Server, token: Option<&str>) -> Address {
    let url = format!("http://{}", server.address());
    Address::new(&url, token.map(str::to_owned)).expect("a good address")
}

async fn join(server: &Server, token: Option<&str>) -> Result<Link, LinkError> {
    let within = Duration::from_secs(60);
    Link::join(address(server, token), (None, None), "", within).await
}

/// The start that the conductor sets once the shard is ready.
async fn start(server: &Server, link: &Link) -> Start {
    let begin = async {
        while !server.desk().conductor.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut desk = server.desk();
        let at = desk.now() + LEAD;
        desk.conductor.start(
            at,
            Start {
                at_us: 42,
                snapshot_before: Snapshot::default(),
                redis_memory_start_bytes: Some(9),
                provenance: Box::default(),
            },
        );
    };
    let (start, ()) = tokio::join!(link.ready(), begin);
    start.expect("it is started")
}

/// The status and body of the answer to a request as it stands.
async fn asked(at: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(at).await.expect("it is served");
    let head = format!(
        "{head} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n",
        body.len()
    );
    let head = if head.contains("sluice-instance") {
        head
    } else {
        head + "sluice-instance: somebody\r\n"
    };
    stream
        .write_all((head + "\r\n").as_bytes())
        .await
        .expect("it is heard");
    // It may be refused before it has been read to its end.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.unwrap_or(0), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_arrive_as_they_are() {
    let (theirs, ours) = (tempfile::tempdir(), tempfile::tempdir());
    let (theirs, ours) = (theirs.expect("a folder"), ours.expect("a folder"));
    let server = serve(theirs.path());
    let link = join(&server, Some(TOKEN)).await.expect("a seat");
    assert_eq!(link.assignment().seed, Some(7));
    let begun = start(&server, &link).await;
    assert_eq!((begun.at_us, begun.redis_memory_start_bytes), (42, Some(9)));
    // Both clocks are this machine's.
    assert!(link.clock_ahead_us().abs() < 100_000);
    // More than fits into one request, a piece to the byte, and nothing.
    let long: Vec<u8> = (0..3 * REQUEST_BYTES_MAX + 7).map(|at| at as u8).collect();
    let files = [
        ("shard.json", long),
        ("heard.zlib", vec![6; REQUEST_BYTES_MAX / 2]),
        ("latencies.hlog", Vec::new()),
    ];
    for (name, bytes) in &files {
        std::fs::write(ours.path().join(name), bytes).expect("it is written");
    }
    link.sent();
    link.deliver(ours.path()).await.expect("it is taken");
    let kept = server.desk().folder_of(1);
    for (name, bytes) in &files {
        let kept = std::fs::read(kept.join(name)).unwrap_or_default();
        assert!(kept == *bytes, "{name}: {} bytes", kept.len());
    }
    let desk = server.desk();
    assert_eq!(desk.conductor.delivered(), [1]);
    assert!(desk.conductor.is_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_belong_there_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path());
    let at = server.address();
    for token in [None, Some("another")] {
        let refused = join(&server, token).await.err();
        assert!(
            matches!(&refused, Some(LinkError::Refused(why)) if why.contains("token")),
            "{refused:?}"
        );
    }
    let large = vec![b' '; REQUEST_BYTES_MAX + 1];
    for (head, body, status) in [
        ("GET /", &b""[..], 404),
        ("GET /shards", b"", 404),
        ("POST /shards", b"nonsense", 400),
        ("POST /shards", &large, 413),
        ("POST /shards/1/beat", b"{}", 400),
        ("POST /shards/x/beat", b"{}", 404),
        ("PUT /shards/1/shard.json?at=0", b"a", 409),
        ("PUT /shards/1/../../etc?at=0", b"a", 404),
        ("PUT /shards/1/other.txt?at=0", b"a", 404),
        ("PUT /shards/1/shard.json", b"a", 404),
    ] {
        let (answered, answer) = asked(at, head, body).await;
        assert_eq!(answered, status, "{head}: {answer}");
    }
    // A page of a browser has no such header.
    let without = "POST /shards HTTP/1.1\r\nsluice-instance: \r\nX: ";
    let (status, answer) = asked(at, without, b"{}").await;
    assert_eq!(status, 400, "{answer}");

    let link = join(&server, Some(TOKEN)).await.expect("a seat");
    // Nobody else may speak for it, and nothing is kept before the start.
    let beat = br#"{"stage":"ready","clock":null,"stopped":null,"hopeless":null,"figures":{}}"#;
    let (status, answer) = asked(at, "POST /shards/1/beat", beat).await;
    assert_eq!(status, 409, "{answer}");
    start(&server, &link).await;
    let (status, answer) = asked(at, "PUT /shards/1/shard.json?at=0", b"a").await;
    assert_eq!(status, 409, "{answer}");
    assert!(!folder.path().join("shards").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_not_whole_is_not_taken() {
    let (theirs, ours) = (tempfile::tempdir(), tempfile::tempdir());
    let (theirs, ours) = (theirs.expect("a folder"), ours.expect("a folder"));
    let server = serve(theirs.path());
    let link = join(&server, Some(TOKEN)).await.expect("a seat");
    start(&server, &link).await;
    std::fs::write(ours.path().join("shard.json"), "{}").expect("it is written");
    // Two files are missing.
    let error = link.deliver(ours.path()).await.err();
    assert!(
        matches!(error, Some(LinkError::Unreadable { .. })),
        "{error:?}"
    );
    assert_eq!(server.desk().conductor.delivered(), [] as [u32; 0]);
}

#[test]
fn an_address_is_plain_http() {
    for good in [
        "http://a",
        "http://a:7070",
        "http://127.0.0.1:1/",
        "http://[::1]:7070",
    ] {
        assert!(Address::new(good, None).is_ok(), "{good}");
    }
    for bad in [
        "a:7070",
        "https://a:7070",
        "http://",
        "http://u@a",
        "http://a/b",
        "http://a\n",
    ] {
        assert!(Address::new(bad, None).is_err(), "{bad:?}");
    }
}
