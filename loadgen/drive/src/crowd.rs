//! Clients beside the load that mean no good: some idle, some send by the byte, some never read, some send nonsense. The
//! load's own requests must stay within their bounds all the same.
//!
//! They have a thread of their own, so that they do not stand between the load and its schedule.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use plan::crowd::CrowdPlan;
use record::result::run::{CrowdGroup, CrowdReport, Nonsense};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use crate::files;

/// The whole crowd has come within this time.
const ARRIVAL: Duration = Duration::from_secs(3);
/// Who was let go comes back after this.
const BACK_AFTER: Duration = Duration::from_millis(500);
/// Between two bytes of a slow client.
const BYTE_EVERY: Duration = Duration::from_millis(500);
/// What a client that never reads can hold.
const RECEIVE_BUFFER_LEN: u32 = 4096;
/// Who never reads asks again after this.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Connections that the nonsense comes on.
const NONSENSE_CLIENTS: u32 = 8;
/// An answer to nonsense that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

const LOANS: &str = "/api/loans/request";
const JSON: &str = "application/json";
const ALIVE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LARGE: &[u8] = b"GET /api/history?minutes=30 HTTP/1.1\r\nHost: localhost\r\n\r\n";
const BY_THE_BYTE: &[u8] =
    b"POST /api/loans/request HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n";
/// Longer than any body that is taken.
const TOO_LONG: &[u8] = &[b' '; 256 * 1024];

/// A crowd that is there.
pub struct Crowd {
    plan: CrowdPlan,
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    idle: Group,
    slow: Group,
    never_read: Group,
    answers: Mutex<BTreeMap<String, u64>>,
}

#[derive(Default)]
struct Group {
    open: AtomicU64,
    open_peak: AtomicU64,
    opened: AtomicU64,
}

impl Crowd {
    /// The crowd begins to come to the service at `address`.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(address: SocketAddr, plan: &CrowdPlan) -> std::io::Result<Self> {
        files::allow();
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = {
            let (seen, plan) = (Arc::clone(&seen), plan.clone());
            std::thread::Builder::new()
                .name("crowd".to_owned())
                .spawn(move || runtime.block_on(come(address, &plan, &seen, stopped)))?
        };
        Ok(Self {
            plan: plan.clone(),
            stop,
            thread,
            seen,
        })
    }

    /// The crowd leaves; answers what became of it.
    pub fn end(self) -> CrowdReport {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
        let group = |name: &str, planned: u32, group: &Group| CrowdGroup {
            name: name.to_owned(),
            planned: planned.into(),
            open_peak: group.open_peak.load(Ordering::Relaxed),
            opened: group.opened.load(Ordering::Relaxed),
        };
        CrowdReport {
            groups: vec![
                group("idle", self.plan.idle, &self.seen.idle),
                group("slow", self.plan.slow, &self.seen.slow),
                group("never reading", self.plan.never_read, &self.seen.never_read),
            ],
            nonsense: Nonsense {
                per_second: self.plan.nonsense_per_second.into(),
                answers: self
                    .seen
                    .answers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
            },
        }
    }
}

async fn come(
    address: SocketAddr,
    plan: &CrowdPlan,
    seen: &Arc<Seen>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut clients = tokio::task::JoinSet::new();
    for (habit, count) in [
        (Habit::Idle, plan.idle),
        (Habit::Slow, plan.slow),
        (Habit::NeverRead, plan.never_read),
    ] {
        for number in 0..count {
            let seen = Arc::clone(seen);
            clients.spawn(async move {
                sleep(ARRIVAL * number / count).await;
                loop {
                    habit.hold_one(address, &seen).await;
                    sleep(BACK_AFTER).await;
                }
            });
        }
    }
    if plan.nonsense_per_second > 0 {
        let each = Duration::from_secs(1) * NONSENSE_CLIENTS / plan.nonsense_per_second;
        for number in 0..NONSENSE_CLIENTS {
            let seen = Arc::clone(seen);
            clients.spawn(async move { nonsense(address, number, each, &seen).await });
        }
    }
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// What a client does with the connection that it holds.
#[derive(Clone, Copy)]
enum Habit {
    Idle,
    Slow,
    NeverRead,
}

impl Habit {
    /// Holds one connection until it ends, or there was none.
    async fn hold_one(self, address: SocketAddr, seen: &Seen) {
        let _ = match self {
            Self::Idle => idle(address, &seen.idle).await,
            Self::Slow => slow(address, &seen.slow).await,
            Self::NeverRead => never_read(address, &seen.never_read).await,
        };
    }
}

impl Group {
    /// Connects, and counts the connection while it is held.
    async fn connect(&self, address: SocketAddr) -> Option<(TcpStream, Open<'_>)> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_LEN).ok()?;
        let stream = socket.connect(address).await.ok()?;
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.open_peak.fetch_max(open, Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed);
        Some((stream, Open(self)))
    }
}

struct Open<'a>(&'a Group);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn idle(address: SocketAddr, group: &Group) -> Option<()> {
    let (mut stream, _open) = group.connect(address).await?;
    stream.write_all(ALIVE).await.ok()?;
    let mut part = [0; 512];
    while stream.read(&mut part).await.ok()? > 0 {}
    Some(())
}

async fn slow(address: SocketAddr, group: &Group) -> Option<()> {
    let (mut stream, _open) = group.connect(address).await?;
    for byte in BY_THE_BYTE.iter().chain(std::iter::repeat(&b' ')) {
        stream.write_all(&[*byte]).await.ok()?;
        // Who is let go may be told why first; then the connection ends.
        let mut part = [0; 512];
        if let Ok(Ok(0) | Err(_)) = timeout(BYTE_EVERY, stream.read(&mut part)).await {
            return None;
        }
    }
    Some(())
}

async fn never_read(address: SocketAddr, group: &Group) -> Option<()> {
    let (mut stream, _open) = group.connect(address).await?;
    loop {
        // A full socket takes no more: only its end is waited for.
        if let Ok(written) = timeout(ASK_EVERY, stream.write_all(LARGE)).await {
            written.ok()?;
        }
        sleep(ASK_EVERY).await;
    }
}

async fn nonsense(address: SocketAddr, first: u32, each: Duration, seen: &Seen) {
    let mut ticks = interval(each.max(Duration::from_micros(1)));
    let mut connection: Option<SendRequest<Full<Bytes>>> = None;
    for number in u64::from(first).. {
        ticks.tick().await;
        let answer = timeout(ANSWER_WITHIN, ask(address, &mut connection, number)).await;
        let answer = answer.ok().flatten();
        if answer.is_none() {
            connection = None;
        }
        let answer = answer.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let mut answers = seen.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(answer).or_default() += 1;
    }
}

/// Sends one request that must be refused; answers the status.
async fn ask(
    address: SocketAddr,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    number: u64,
) -> Option<u16> {
    if let Some(open) = connection
        && open.ready().await.is_err()
    {
        *connection = None;
    }
    let sender = match connection {
        Some(sender) => sender,
        none => {
            let stream = TcpStream::connect(address).await.ok()?;
            let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            tokio::spawn(driver);
            none.insert(sender)
        }
    };
    let request = |method: &str, path: &str, kind: &str, body: &'static [u8]| {
        hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "localhost")
            .header("Content-Type", kind)
            .body(Full::new(Bytes::from_static(body)))
            .expect("the parts are valid")
    };
    // The long one is rare: it would be a flood of bytes rather than of requests.
    let request = match (number % 40, number % 6) {
        (39, _) => request("POST", LOANS, JSON, TOO_LONG),
        (_, 0) => request("POST", LOANS, JSON, b"{\"loanId\":"),
        (_, 1) => request("POST", LOANS, JSON, b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
        (_, 2) => request("POST", LOANS, "text/plain", b"a loan, please"),
        (_, 3) => request("POST", LOANS, JSON, b"{\"loanId\":\"\"}"),
        (_, 4) => request("GET", "/wp-login.php", JSON, b""),
        _ => request("DELETE", LOANS, JSON, b""),
    };
    let mut answer = sender.send_request(request).await.ok()?;
    while let Some(frame) = answer.body_mut().frame().await {
        frame.ok()?;
    }
    Some(answer.status().as_u16())
}
