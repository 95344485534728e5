//! HTTPS of the service's own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{REQUEST, audit, exchange, loan, start, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Ends the service however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn make_certificate(cert: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    // Renamed into place, as careful tools do: the service never sees half of a file.
    for (file, text) in [
        (key, made.signing_key.serialize_pem()),
        (cert, made.cert.pem()),
    ] {
        let new = file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, file).unwrap();
    }
}

/// The answer to `message`, of a service whose certificate is the one in `cert`.
async fn ask(address: SocketAddr, cert: &Path, message: &str) -> std::io::Result<String> {
    let config = service::tls::client_of(cert).unwrap();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    stream.write_all(message.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// 1. A loan is taken over TLS, the probe finds the service ready, and without TLS nothing is said but that.
/// 2. Another certificate takes the place of the first, without a restart.
#[tokio::test]
async fn it_speaks_https() {
    let stack = start().await;
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    make_certificate(&cert, &key);
    let first = folder.path().join("first.pem");
    std::fs::copy(&cert, &first).unwrap();
    let files = [
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let mut running = Running(
        Command::new(env!("CARGO_BIN_EXE_service"))
            .args(["--listen", "127.0.0.1:0", "--record-interval", "20ms"])
            .args([
                "--redis-url",
                &stack.redis.url(),
                "--mongodb-uri",
                &stack.mongodb.uri(),
            ])
            .args(files)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut link = String::new();
    BufReader::new(running.0.stdout.take().unwrap())
        .read_line(&mut link)
        .unwrap();
    let (_, rest) = link.split_once("https://").unwrap();
    let (address, _) = rest.trim().split_once('/').unwrap();
    let listen = address.to_owned();
    let address: SocketAddr = address.parse().unwrap();

    let body = loan(0).to_string();
    let message = format!(
        "POST {REQUEST} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(address, &cert, &message).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    audit(&stack, 1).await;
    for request in [
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        &message,
    ] {
        let plain = exchange(address, request.as_bytes(), true).await;
        let plain = plain.expect("an answer that can be read");
        assert_eq!(plain.status, 400, "{plain:?}");
        assert!(
            plain.body.contains("this address speaks HTTPS"),
            "{plain:?}"
        );
    }
    audit(&stack, 1).await;
    let probe = async || {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_service"));
        command.args(["--probe", "--listen", &listen]).args(files);
        command.output().await.unwrap().status.code()
    };
    assert_eq!(probe().await, Some(0));

    make_certificate(&cert, &key);
    let health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    wait_until("the other certificate counts", async || {
        ask(address, &cert, health)
            .await
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    })
    .await;
    assert!(ask(address, &first, health).await.is_err());
    assert_eq!(probe().await, Some(0));
}

/// Files that make no pair are refused at start, in one line.
#[test]
fn a_pair_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a.pem", "a.key", "b.pem", "b.key"].map(|name| folder.path().join(name));
    make_certificate(&names[0], &names[1]);
    make_certificate(&names[2], &names[3]);
    let start = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_service"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("--tls-cert") && said.contains("SLUICE_TLS_CERT"),
            "{said}"
        );
    };
    let name = |index: usize| names[index].to_str().unwrap();
    start(&["--tls-cert", name(0)]);
    start(&["--tls-cert", name(0), "--tls-key", name(3)]);
    start(&["--tls-cert", name(1), "--tls-key", name(1)]);
    start(&["--tls-cert", "/nowhere/at/all", "--tls-key", name(1)]);
}
