//! The HTTP front: raw bytes to a running service whose stores are out of reach.
//!
//! Whatever comes, each answer is a whole HTTP answer with a documented status, nothing panics, and the service is
//! there for the next client. A well-formed loan is answered 503, for Redis is away; a body that the parser refuses, 400.
#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use clap::Parser as _;
use libfuzzer_sys::fuzz_target;
use service::config::Config;

/// Statuses that the service documents, and 100 when a client expects it.
const STATUSES: [u16; 18] = [
    100, 101, 200, 202, 204, 400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 426, 431, 503,
];
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(20);

static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();

/// Starts the service in this process, on stores that are not there.
fn address() -> SocketAddr {
    *ADDRESS.get_or_init(|| {
        // A panic in a task of the service would end that task only.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            hook(panic);
            std::process::abort();
        }));
        let gone = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = gone.local_addr().expect("bound").port();
        drop(gone);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let config = Config::parse_from([
                    "service".to_owned(),
                    format!("--redis-url=redis://127.0.0.1:{port}/0"),
                    format!("--mongodb-uri=mongodb://127.0.0.1:{port}/"),
                    "--role=api,dashboard".to_owned(),
                ]);
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let (_stop, stopping) = tokio::sync::watch::channel(false);
                service::run(&config, listener, stopping)
                    .await
                    .expect("it runs");
            });
        });
        address
    })
}

/// What comes back for `bytes`, until the service closes. Bytes that may be no whole request end with the client's end
/// of the connection; a client that wants an answer leaves it open.
fn exchange(bytes: &[u8], half_close: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address()).expect("the service listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    // The service may answer and close before it has taken everything.
    let _ = stream.write_all(bytes);
    if half_close {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ne!(
            error.kind(),
            std::io::ErrorKind::WouldBlock,
            "no end of the answer within {PATIENCE:?}"
        );
    }
    answer
}

fn status(answer: &[u8]) -> Option<u16> {
    let head = std::str::from_utf8(answer.get(..12)?).ok()?;
    head.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

/// Whether the first answer is a problem by its type.
fn is_problem(answer: &[u8]) -> bool {
    let head_len = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let head = &answer[..head_len.unwrap_or(answer.len())];
    String::from_utf8_lossy(head).contains("content-type: application/problem+json")
}

fuzz_target!(|input: &[u8]| {
    // The first byte chooses: the bytes as they are, or as the body of a good request, whole or in chunks.
    let Some((&form, bytes)) = input.split_first() else {
        return;
    };
    let head = "POST /api/loans/request HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let message = match form % 4 {
        0 | 1 => bytes.to_vec(),
        2 => [
            format!("{head}content-length: {}\r\n\r\n", bytes.len()).as_bytes(),
            bytes,
        ]
        .concat(),
        _ => {
            let mut message = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
            for chunk in bytes.chunks(1 + usize::from(form) / 4) {
                message.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                message.extend_from_slice(chunk);
                message.extend_from_slice(b"\r\n");
            }
            message.extend_from_slice(b"0\r\n\r\n");
            message
        }
    };
    let answer = exchange(&message, form % 4 < 2);
    if answer.is_empty() {
        assert!(form % 4 < 2, "a good request has an answer");
    } else {
        let status = status(&answer)
            .unwrap_or_else(|| panic!("no HTTP: {:?}", String::from_utf8_lossy(&answer)));
        assert!(STATUSES.contains(&status), "status {status}");
        assert_eq!(
            status >= 400,
            is_problem(&answer),
            "a refusal says why: {:?}",
            String::from_utf8_lossy(&answer)
        );
        if form % 4 >= 2 {
            let body = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
            let expected = match service::parse::envelope(body) {
                Ok(_) => 503,
                Err(_) => 400,
            };
            assert_eq!(status, expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
    let healthy = exchange(
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        false,
    );
    assert_eq!(
        status(&healthy),
        Some(200),
        "the service is there for the next client"
    );
});
