//! TLS to Redis: an authority of its own, a certificate of the service, and what is said when one is wrong.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use support::{audit, key, loan, post, quick, redis, service_options, wait_until};
use tempfile::TempDir;
use testbed::{RedisOptions, ServiceOptions, ServiceProcess, Stack, StackOptions, http};

/// An authority, and the certificates that it has given.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // By their names Redis sees who has given which.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for `name`, in `NAME.pem` and `NAME.key`.
    fn give(&self, name: &str) -> [PathBuf; 2] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let files = ["pem", "key"].map(|end| self.file(&format!("{name}.{end}")));
        std::fs::write(&files[0], cert.pem()).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        files
    }
}

fn text(file: &Path) -> String {
    file.to_str().unwrap().to_owned()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A stack whose Redis also speaks TLS, at the port that comes with it, to whoever has a certificate of `authority`.
async fn stack(authority: &Authority) -> (Stack, u16) {
    let [cert, key] = authority.give("localhost");
    let port = free_port();
    let arguments = [
        ["--tls-port".to_owned(), port.to_string()],
        ["--tls-cert-file".to_owned(), text(&cert)],
        ["--tls-key-file".to_owned(), text(&key)],
        [
            "--tls-ca-cert-file".to_owned(),
            text(&authority.file("ca.pem")),
        ],
        ["--tls-auth-clients".to_owned(), "yes".to_owned()],
    ];
    let stack = Stack::start(StackOptions {
        redis: RedisOptions {
            arguments: arguments.concat(),
            ..RedisOptions::default()
        },
        service: service_options(quick()),
        ..StackOptions::default()
    })
    .await
    .expect("this Redis speaks TLS");
    (stack, port)
}

fn options(stack: &Stack, port: u16, files: &[(&str, PathBuf)]) -> ServiceOptions {
    let mut arguments = quick();
    for (flag, file) in files {
        arguments.extend([(*flag).to_owned(), text(file)]);
    }
    ServiceOptions {
        redis_url: format!("rediss://localhost:{port}/0"),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options(arguments)
    }
}

/// A service that need not become ready. Ends however the test ends.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(options: &ServiceOptions) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_service"))
            .args(["--listen", "127.0.0.1:0", "--redis-url", &options.redis_url])
            .args(["--mongodb-uri", &options.mongodb_uri])
            .args(&options.arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut link = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut link)
            .unwrap();
        let (_, rest) = link.split_once("http://").unwrap();
        let (address, _) = rest.split_once('/').unwrap();
        let address = address.parse().unwrap();
        Self { child, address }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// 1. An instance that has the authority and a certificate takes loans over TLS; they are recorded, and events reach it.
/// 2. One that trusts another authority is not ready, and says that the certificate is why; so does one without a
///    certificate of its own.
#[tokio::test]
async fn loans_go_to_redis_over_tls() {
    let authority = Authority::new();
    let (stack, port) = stack(&authority).await;
    let [cert, private] = authority.give("service");
    let ca = ("--redis-tls-ca", authority.file("ca.pem"));
    let mine = [("--redis-tls-cert", cert), ("--redis-tls-key", private)];
    let files = [std::slice::from_ref(&ca), &mine[..]].concat();
    let over_tls = ServiceProcess::start(options(&stack, port, &files))
        .await
        .unwrap();
    for number in 0..20 {
        assert_eq!(post(over_tls.address(), &loan(number)).await.status, 202);
    }
    audit(&stack, 20).await;
    let snapshot = support::metrics(over_tls.address()).await;
    assert!(
        snapshot.redis.up && snapshot.redis.durable,
        "{:?}",
        snapshot.redis
    );
    // Without TLS it would not be that one.
    let clients: String = redis(&stack.redis, &["CLIENT", "LIST"]).await;
    let over = clients
        .lines()
        .filter(|line| line.contains(&format!(":{port} ")));
    assert!(over.count() > 0, "{clients}");
    key(&stack.redis, "counters").await;

    let other = Authority::new();
    let trusts_another = [&[("--redis-tls-ca", other.file("ca.pem"))], &mine[..]].concat();
    for (files, why) in [
        (&trusts_another[..], "certificate"),
        (&[ca][..], "certificate"),
    ] {
        let refused = Running::start(&options(&stack, port, files));
        wait_until("it says why it is not ready", async || {
            let ready = http::get(refused.address, "/readyz").await.unwrap();
            let trouble = support::metrics(refused.address).await.redis.trouble;
            let trouble = trouble.unwrap_or_default().to_lowercase();
            ready.status == 503 && trouble.contains(why)
        })
        .await;
    }
}

/// Files that cannot be used are refused at start, in one line that names the flag.
#[test]
fn wrong_files_are_refused() {
    let authority = Authority::new();
    let [cert, private] = authority.give("service");
    let [cert, private] = [text(&cert), text(&private)];
    for (url, files, why) in [
        (
            "rediss://127.0.0.1:1/0",
            &["--redis-tls-ca", "/nowhere/at/all"][..],
            "cannot be read",
        ),
        (
            "rediss://127.0.0.1:1/0",
            &["--redis-tls-ca", &private],
            "no PEM section CERTIFICATE",
        ),
        (
            "rediss://127.0.0.1:1/0",
            &["--redis-tls-cert", &cert],
            "both or neither",
        ),
        (
            "rediss://127.0.0.1:1/0",
            &["--redis-tls-cert", &cert, "--redis-tls-key", &cert],
            "no PEM section PRIVATE KEY",
        ),
        (
            "redis://127.0.0.1:1/0",
            &["--redis-tls-ca", &cert],
            "rediss://",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_service"))
            .args(["--listen", "127.0.0.1:0", "--redis-url", url])
            .args(files)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("--redis-tls-") && said.contains(why),
            "{said}"
        );
    }
}
