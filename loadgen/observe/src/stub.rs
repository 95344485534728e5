//! A stub of the service with a known behaviour, on a thread of its own: it delays answers as told, or stores loans in
//! MongoDB and spoils one of them. Its figures can be asked for and followed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::SinkExt as _;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use mongodb::bson::Document;
use snapshot::{Message as Told, Snapshot};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::stores::{Recording, failure_document, loan_document};

/// How often a stub tells its figures to whoever follows them.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How a stub delays its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delays {
    /// Not at all.
    None,
    /// All requests from this one on wait until the stall is over.
    Stall {
        /// Number of the first request that waits.
        from: u64,
        /// How long the stall lasts.
        length: Duration,
    },
    /// Not at all, but these requests are refused with 503 at once.
    Refuse {
        /// Number of the first one.
        from: u64,
        /// Number of the first one that is answered again.
        to: u64,
    },
    /// Each by another time of 1 to 4 s, evenly on a logarithmic scale, in no order.
    ///
    /// So long that the way to the stub and back is less than what a histogram can tell.
    Spread,
}

/// What a stub does to one loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoils {
    /// Promises it and does not store it.
    Loses,
    /// Stores it and a failure of the same attempt.
    Doubles,
    /// Stores it with the content of the next one, and that one with its content.
    Swaps,
    /// Stores it with another amount.
    Alters,
}

/// How far a stub's wall clock is ahead, in milliseconds; below zero it is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// At first.
    pub first_ms: i64,
    /// From the loan request with this number on, by how much more.
    pub step: Option<(u64, i64)>,
}

/// The stores of a stub, and what it does to the loan with this number.
#[derive(Clone, Debug)]
pub struct Storing {
    /// Address of MongoDB.
    pub mongodb_uri: String,
    /// The database in it.
    pub database: String,
    /// The fault, and the number of its loan.
    pub fault: Option<(Spoils, u64)>,
    /// Its clock.
    pub ahead: Ahead,
}

/// A running stub. It ends with the process or when it is dropped.
pub struct Stub {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct State {
    delays: Delays,
    ahead: Ahead,
    requests: AtomicU64,
    stored: AtomicU64,
    stall_ends: Mutex<Option<Instant>>,
    /// The delays that were really imposed.
    imposed: Mutex<Vec<Duration>>,
    records: Option<flume::Sender<Pending>>,
}

/// A record that waits for MongoDB.
struct Pending {
    record: Document,
    number: u64,
    done: oneshot::Sender<()>,
}

impl Stub {
    /// Starts a stub on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is no port or no thread.
    pub fn start(delays: Delays, storing: Option<Storing>) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (records, pending) = flume::unbounded();
        let state = Arc::new(State {
            delays,
            ahead: storing
                .as_ref()
                .map(|storing| storing.ahead)
                .unwrap_or_default(),
            requests: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            stall_ends: Mutex::new(None),
            imposed: Mutex::default(),
            records: storing.is_some().then_some(records),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("stub".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    if let Some(storing) = storing {
                        let clock = Arc::clone(&serving);
                        tokio::spawn(async move { keep(&storing, &pending, &clock).await });
                    }
                    tokio::select! {
                        () = serve(listener, serving) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The delays that were really imposed on loan requests, by the stub's own clock, the shortest first.
    pub fn imposed(&self) -> Vec<Duration> {
        let mut imposed = lock(&self.state.imposed).clone();
        imposed.sort_unstable();
        imposed
    }

    /// Loan requests that it has answered.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A stub that panicked has been noticed by its client.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: std::net::TcpListener, state: Arc<State>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        let service = service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(answer(&state, request).await) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades(),
        );
    }
}

async fn answer(state: &Arc<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/api/metrics") => json(
            StatusCode::OK,
            serde_json::to_vec(&state.snapshot()).expect("plain data serialises"),
        ),
        (&Method::GET, "/ws") => be_followed(Arc::clone(state), request),
        (&Method::POST, "/api/loans/request") => {
            let arrived = Instant::now();
            let Ok(body) = request.into_body().collect().await else {
                return json(StatusCode::BAD_REQUEST, b"{}".to_vec());
            };
            let number = state.requests.fetch_add(1, Ordering::SeqCst);
            if let Delays::Refuse { from, to } = state.delays
                && (from..to).contains(&number)
            {
                return json(StatusCode::SERVICE_UNAVAILABLE, b"{}".to_vec());
            }
            if !state.store(number, &body.to_bytes()).await {
                return json(StatusCode::BAD_REQUEST, b"{}".to_vec());
            }
            state.delay(number).await;
            lock(&state.imposed).push(arrived.elapsed());
            json(
                StatusCode::ACCEPTED,
                br#"{"status":"queued","replayed":false}"#.to_vec(),
            )
        }
        _ => json(StatusCode::NOT_FOUND, b"{}".to_vec()),
    }
}

/// Tells the figures to whoever asks for a WebSocket, until that ends.
fn be_followed(state: Arc<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let accepted = request
        .headers()
        .get(SEC_WEBSOCKET_KEY)
        .and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
    let Some(accepted) = accepted else {
        return json(StatusCode::BAD_REQUEST, b"{}".to_vec());
    };
    tokio::spawn(async move {
        let Ok(connection) = hyper::upgrade::on(request).await else {
            return;
        };
        let connection = TokioIo::new(connection);
        let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
        loop {
            let told = Told::Snapshot {
                snapshot: Box::new(state.snapshot()),
            };
            let told = serde_json::to_string(&told).expect("plain data serialises");
            if socket.send(Message::text(told)).await.is_err() {
                return;
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    response
}

impl State {
    /// Its figures as of now.
    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            at_ms: (self.now_us() / 1000) as u64,
            ..Snapshot::default()
        };
        let stored = self.stored.load(Ordering::SeqCst);
        snapshot.counters.received = self.requests.load(Ordering::SeqCst);
        snapshot.counters.admitted = stored;
        snapshot.counters.accepted = stored;
        snapshot.counters.recorded_loans = stored;
        snapshot
    }

    /// Stores the loan, if this stub stores. False when the body is no good loan.
    async fn store(&self, number: u64, body: &[u8]) -> bool {
        let Some(records) = &self.records else {
            return true;
        };
        let record = serde_json::from_slice(body)
            .ok()
            .and_then(|loan| loan_document(&loan));
        let Some(record) = record else {
            return false;
        };
        self.stored.fetch_add(1, Ordering::SeqCst);
        let (done, stored) = oneshot::channel();
        let pending = Pending {
            record,
            number,
            done,
        };
        records.send(pending).is_ok() && stored.await.is_ok()
    }

    /// The wall clock as the stub has it, microseconds since the Unix epoch.
    fn now_us(&self) -> i64 {
        let stepped_ms = match self.ahead.step {
            Some((from, ms)) if self.requests.load(Ordering::SeqCst) > from => ms,
            _ => 0,
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        now.as_micros() as i64 + (self.ahead.first_ms + stepped_ms) * 1000
    }

    async fn delay(&self, number: u64) {
        match self.delays {
            Delays::None | Delays::Refuse { .. } => {}
            Delays::Stall { from, length } => {
                let ends = {
                    let mut ends = lock(&self.stall_ends);
                    if number >= from && ends.is_none() {
                        *ends = Some(Instant::now() + length);
                    }
                    *ends
                };
                if let Some(ends) = ends {
                    tokio::time::sleep_until(ends.into()).await;
                }
            }
            Delays::Spread => {
                tokio::time::sleep(spread(number)).await;
            }
        }
    }
}

/// The delay of a number: 1 s times 4 to the power of a share of 0 to 1.
fn spread(number: u64) -> Duration {
    // Multiples of the golden ratio, without their whole part, fill the range evenly, however many there are.
    let share = (number as f64 * 0.618_033_988_749_894_9).fract();
    Duration::from_secs_f64(4f64.powf(share))
}

/// Writes what waits, all of it at once, and tells who waits for it.
async fn keep(storing: &Storing, pending: &flume::Receiver<Pending>, clock: &State) {
    let Ok(recording) = Recording::connect(&storing.mongodb_uri, &storing.database).await else {
        return;
    };
    let mut swapped: Option<Document> = None;
    while let Ok(first) = pending.recv_async().await {
        let mut loans = Vec::new();
        let mut failures = Vec::new();
        let mut waiting = Vec::new();
        for next in std::iter::once(first).chain(pending.drain()) {
            let Pending {
                mut record,
                number,
                done,
            } = next;
            waiting.push(done);
            let fault = storing.fault.filter(|(_, chosen)| *chosen == number);
            match fault.map(|(fault, _)| fault) {
                Some(Spoils::Loses) => continue,
                Some(Spoils::Doubles) => {
                    let id = record.get_str("_id").unwrap_or_default().to_owned();
                    failures.push(failure_document(&id, "poison"));
                }
                Some(Spoils::Swaps) => {
                    swapped = Some(record);
                    continue;
                }
                Some(Spoils::Alters) => {
                    let amount_minor = record.get_i64("amountMinor").unwrap_or_default();
                    record.insert("amountMinor", amount_minor + 1);
                }
                None => {}
            }
            if let Some(mut other) = swapped.take() {
                // Each takes the other's id.
                let (here, there) = (record.get("_id").cloned(), other.get("_id").cloned());
                if let (Some(here), Some(there)) = (here, there) {
                    record.insert("_id", there);
                    other.insert("_id", here);
                }
                loans.push(other);
            }
            loans.push(record);
        }
        if recording
            .record(loans, failures, clock.now_us())
            .await
            .is_err()
        {
            // Who waits is told by the closed channel.
            continue;
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
