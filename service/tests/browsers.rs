//! What pages of others can make a browser send, names that others point at the service, and a proxy in front.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;

use futures_util::StreamExt as _;
use support::neighbours::{program, project};
use support::{
    ADMIN_TOKEN, REQUEST, assert_problem, body, drained, lengths, loan, quick, redis_counters,
    service_options, start, start_with, wait_until,
};
use testbed::http::{self, Answer};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A request whose Host is what `headers` say, if they say one.
async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut message = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        message.extend([name, ": ", value, "\r\n"]);
    }
    let len = body.len().to_string();
    message.extend(["Content-Length: ", &len, "\r\n\r\n", body]);
    http::raw(address, message.as_bytes()).await.unwrap()
}

/// 1. A loan as a foreign page can send it: without a type, with one of the types that need no permission, with a
///    foreign origin or one that the browser hides. Each is refused.
/// 2. The same loan of the service's own page, or of a client that is no browser, is taken.
#[tokio::test]
async fn a_foreign_page_sends_no_loan() {
    let stack = start().await;
    let address = stack.service.address();
    let host = address.to_string();
    let loan = loan(0).to_string();
    let own = format!("http://{host}");
    let json = ("Content-Type", "application/json");
    for (headers, status, error_type) in [
        (&[][..], 415, "unsupported_media_type"),
        (&[("Content-Type", "")], 415, "unsupported_media_type"),
        (
            &[("Content-Type", "text/plain")],
            415,
            "unsupported_media_type",
        ),
        (
            &[("Content-Type", "application/x-www-form-urlencoded")],
            415,
            "unsupported_media_type",
        ),
        (&[("Origin", "https://evil.example")], 403, "foreign_origin"),
        (
            &[json, ("Origin", "https://evil.example")],
            403,
            "foreign_origin",
        ),
        (&[json, ("Origin", "null")], 403, "foreign_origin"),
        (
            &[json, ("Origin", "http://localhost:3000")],
            403,
            "foreign_origin",
        ),
        (
            &[
                json,
                ("Origin", own.as_str()),
                ("Origin", "https://evil.example"),
            ],
            403,
            "foreign_origin",
        ),
    ] {
        let headers: Vec<_> = [("Host", &*host)].iter().chain(headers).copied().collect();
        let answer = send(address, "POST", REQUEST, &headers, &loan).await;
        assert_problem(&answer, status, error_type);
    }
    assert_eq!(lengths(&stack.redis).await, [0; 3]);
    // Whoever watches the counters sees what was refused, for whatever reason.
    for line in [
        "sluice_requests_received_total 9",
        "sluice_requests_rejected_total{error_type=\"unsupported_media_type\"} 4",
        "sluice_requests_rejected_total{error_type=\"foreign_origin\"} 5",
    ] {
        wait_until(line, async || {
            let told = http::get(address, "/metrics").await.unwrap().body;
            told.contains(line)
        })
        .await;
    }
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    for (method, path) in [
        ("POST", "/api/control/pause"),
        ("PATCH", "/api/loans/retry"),
        ("POST", "/api/runs"),
        ("DELETE", "/api/metrics"),
        ("POST", "/nowhere"),
    ] {
        let headers = [
            ("Host", &*host),
            json,
            ("Authorization", &*bearer),
            ("Origin", "https://evil.example"),
        ];
        let answer = send(address, method, path, &headers, "{}").await;
        assert_problem(&answer, 403, "foreign_origin");
        // The reason names the origin and the remedy.
        let detail = body(&answer)["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("https://evil.example"), "{detail}");
        assert!(detail.contains("--public-url"), "{detail}");
    }
    let answer = send(
        address,
        "POST",
        REQUEST,
        &[("Host", &host), json, ("Origin", &own)],
        &loan,
    )
    .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let answer = send(
        address,
        "POST",
        REQUEST,
        &[
            ("Host", &host),
            ("Content-Type", "application/loan+json; charset=utf-8"),
        ],
        &loan,
    )
    .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    drained(&stack.redis).await;
    assert_eq!(redis_counters(&stack.redis).await["admitted"], 1);
}

/// A name that somebody else has pointed here opens nothing, for no call; probes may use any.
#[tokio::test]
async fn an_unknown_name_opens_nothing() {
    let stack = start().await;
    let address = stack.service.address();
    let evil = format!("evil.example:{}", address.port());
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/api/errors"),
        ("GET", "/api/loans/GC-000000"),
        ("GET", "/api/metrics"),
        ("GET", "/api/history"),
        ("GET", "/metrics"),
        ("GET", "/ws"),
        ("GET", "/nowhere"),
        ("OPTIONS", "/api/control/pause"),
        ("POST", REQUEST),
    ] {
        let answer = send(address, method, path, &[("Host", &evil)], "").await;
        assert_problem(&answer, 421, "unknown_host");
        assert!(answer.body.contains("evil.example"), "{answer:?}");
        let target = format!("http://{evil}{path}");
        let answer = send(address, method, &target, &[("Host", "localhost")], "").await;
        assert_problem(&answer, 421, "unknown_host");
    }
    let upgrade = websocket(address, &evil, Some(&format!("http://{evil}")));
    assert_eq!(refusal(connect(address, upgrade).await), Some(421));
    for path in ["/healthz", "/readyz"] {
        let answer = send(address, "GET", path, &[("Host", &evil)], "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for hosts in [&[][..], &[("Host", "localhost"), ("Host", "localhost")]] {
        let answer = send(address, "GET", "/api/metrics", hosts, "").await;
        assert_problem(&answer, 400, "malformed_request");
    }
    for known in ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:99"] {
        let answer = send(address, "GET", "/api/metrics", &[("Host", known)], "").await;
        assert_eq!(answer.status, 200, "{known}: {answer:?}");
    }
}

fn websocket(address: SocketAddr, host: &str, origin: Option<&str>) -> Request<()> {
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("host", host.parse().unwrap());
    if let Some(origin) = origin {
        headers.insert("origin", origin.parse().unwrap());
    }
    request
}

/// From 127.0.0.2, so that a proxy at 127.0.0.1 is told apart from its client.
async fn stream(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind((Ipv4Addr::new(127, 0, 0, 2), 0).into())
        .unwrap();
    socket.connect(address).await.unwrap()
}

type Opened = Result<tokio_tungstenite::WebSocketStream<TcpStream>, Error>;

async fn connect(address: SocketAddr, request: Request<()>) -> Opened {
    let stream = stream(address).await;
    tokio_tungstenite::client_async(request, stream)
        .await
        .map(|(socket, _)| socket)
}

fn refusal(opened: Opened) -> Option<u16> {
    match opened {
        Ok(_) => None,
        Err(Error::Http(answer)) => Some(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// The lines of nginx that the documentation shows, on another port and without TLS.
fn documented_lines(listen: SocketAddr, service: SocketAddr) -> String {
    let text = std::fs::read_to_string(project().join("docs/operations.md")).unwrap();
    let (_, rest) = text.split_once("```nginx\n").unwrap();
    let (lines, _) = rest.split_once("```").unwrap();
    let lines: Vec<_> = lines
        .lines()
        .filter(|line| !line.trim().starts_with("ssl_"))
        .map(|line| line.replace("listen 443 ssl;", &format!("listen {listen};")))
        .map(|line| line.replace("127.0.0.1:8080", &service.to_string()))
        .collect();
    lines.join("\n")
}

/// One client does not take all places of those who follow: another still finds one, and so does the first, when it has left
/// one.
#[tokio::test]
async fn one_client_leaves_others_a_place_to_follow() {
    let arguments = [quick(), vec!["--trusted-proxy=127.0.0.2".to_owned()]].concat();
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    let follow = async |client: &str| {
        let mut request = websocket(address, "localhost", None);
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", client.parse().unwrap());
        connect(address, request).await
    };
    let mut held = Vec::new();
    let refused = loop {
        match follow("192.0.2.1").await {
            Ok(socket) => held.push(socket),
            refused => break refusal(refused),
        }
    };
    assert_eq!(refused, Some(503));
    assert!(held.len() >= 8, "{}", held.len());
    for number in 1..=4 {
        let opened = follow(&format!("198.51.100.{number}")).await;
        assert_eq!(refusal(opened), None, "{}", held.len());
    }
    held.pop();
    wait_until("there is a place again", async || {
        refusal(follow("192.0.2.1").await).is_none()
    })
    .await;
}

/// nginx with `servers`, until the child is dropped.
async fn nginx(
    folder: &std::path::Path,
    listen: SocketAddr,
    servers: &str,
) -> tokio::process::Child {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
        .concat();
    let config = format!(
        "daemon off; worker_processes 1; pid {0}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{servers}\n}}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let mut child = program("nginx")
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&file)
        .args(["-e", "stderr"])
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    wait_until("nginx listens", async || {
        assert!(child.try_wait().unwrap().is_none(), "nginx ends");
        TcpStream::connect(listen).await.is_ok()
    })
    .await;
    child
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Ends nginx in an orderly way, so that its worker does not outlive it.
async fn end(mut child: tokio::process::Child) {
    let pid = nix::unistd::Pid::from_raw(child.id().unwrap() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    child.wait().await.unwrap();
}

/// 1. nginx by the documented lines, and by a bare `proxy_pass`: with `--public-url` the page's WebSocket opens through
///    both, loans come through, and a foreign page is refused through both.
/// 2. An operator's call is logged with the client's address, and what the client says about itself is not believed.
#[tokio::test]
async fn it_works_behind_nginx() {
    let mut arguments = quick();
    arguments.extend(
        [
            "--public-url",
            "https://loans.example",
            "--trusted-proxy",
            "127.0.0.1",
        ]
        .map(String::from),
    );
    let stack = start_with(service_options(arguments)).await;
    let service = stack.service.address();
    let folder = tempfile::tempdir().unwrap();
    let (documented, bare) = (free_address(), free_address());
    let servers = format!(
        "{}\nserver {{ listen {bare}; location / {{ proxy_pass http://{service}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }}",
        documented_lines(documented, service)
    );
    let nginx = nginx(folder.path(), bare, &servers).await;
    for address in [documented, bare] {
        for host in ["loans.example:443", "loans.example"] {
            let request = websocket(address, host, Some("https://loans.example"));
            let mut socket = connect(address, request).await.unwrap();
            let Message::Text(first) = socket.next().await.unwrap().unwrap() else {
                panic!("the history comes first")
            };
            assert!(first.as_str().contains("\"history\""), "{first}");
        }
        let foreign = websocket(address, "loans.example", Some("https://evil.example"));
        assert_eq!(refusal(connect(address, foreign).await), Some(403));
        let headers = [
            ("Host", "loans.example"),
            ("Content-Type", "application/json"),
            ("Origin", "https://loans.example"),
        ];
        let answer = send(address, "POST", REQUEST, &headers, &loan(0).to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    // How the page learns why: the same origin, by a call that is always sent with it.
    for (origin, status) in [
        ("https://loans.example", 405),
        ("https://evil.example", 403),
    ] {
        let headers = [("Host", "loans.example"), ("Origin", origin)];
        let answer = send(documented, "POST", "/ws", &headers, "").await;
        assert_eq!(answer.status, status, "{answer:?}");
    }

    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let message = format!(
        "POST /api/control/pause HTTP/1.1\r\nHost: loans.example\r\nConnection: close\r\nContent-Length: 0\r\nAuthorization: {bearer}\r\nX-Forwarded-For: 203.0.113.1\r\nForwarded: for=203.0.113.2\r\n\r\n"
    );
    let client = stream(documented).await;
    let peer: IpAddr = client.local_addr().unwrap().ip();
    assert_eq!(ask(client, &message).await, 200);
    let told = format!("address={peer}");
    wait_until(
        "the change is logged with the client's address",
        async || {
            let log = stack.service.log().replace('"', "");
            log.lines()
                .any(|line| line.contains("an operator's change") && line.contains(&told))
        },
    )
    .await;
    // Without the proxy the same words count for nothing.
    assert_eq!(ask(stream(service).await, &message).await, 200);
    let log = stack.service.log();
    assert!(!log.contains("203.0.113."), "{log}");
    end(nginx).await;
}

/// The status of an answer.
async fn ask(mut stream: TcpStream, message: &str) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(message.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
