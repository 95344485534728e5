//! Follows the service's live metrics over its WebSocket while the load runs.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use record::followed::Followed;
use snapshot::Snapshot;
use tokio::task::JoinHandle;
use url::{Position, Url};

use crate::address::reach;

/// Pause before another attempt to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// How long the service may take to answer with a snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of one snapshot.
const SNAPSHOT_BYTES_MAX: usize = 1 << 20;

/// A follower in the background. Dropping it ends it.
#[derive(Debug)]
pub struct Follower {
    followed: Arc<Mutex<Followed>>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Follows the service at `url` (`http://host:port`) until dropped. Connects again when the connection breaks.
    pub fn start(url: &str) -> Self {
        let followed = Arc::new(Mutex::new(Followed::default()));
        let address = format!(
            "ws{}/ws",
            url.trim_end_matches('/').trim_start_matches("http")
        );
        let shared = Arc::clone(&followed);
        let task = tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                if let Ok((mut socket, _)) = tokio_tungstenite::connect_async(&address).await {
                    lock(&shared).clock.round_trip_ms = asked.elapsed().as_millis() as u64;
                    while let Some(Ok(frame)) = socket.next().await {
                        // A message that is not known, from a newer service, is not ours to judge.
                        if let Some(message) = frame
                            .to_text()
                            .ok()
                            .and_then(|text| serde_json::from_str(text).ok())
                        {
                            lock(&shared).take(message);
                        }
                    }
                }
                lock(&shared).reconnects += 1;
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        });
        Self { followed, task }
    }

    /// What was followed so far.
    pub fn followed(&self) -> MutexGuard<'_, Followed> {
        lock(&self.followed)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(followed: &Mutex<Followed>) -> MutexGuard<'_, Followed> {
    followed
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Why no snapshot could be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The address is not `http://host:port`.
    #[error("{0} is not an address of the form http://host:port")]
    Address(String),
    /// Nothing answers there.
    #[error("nothing answers at {0}")]
    Connect(String, #[source] std::io::Error),
    /// The answer broke off.
    #[error("the answer broke off")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There was no whole answer in time.
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    /// The service sends whoever asks to another address.
    #[error("it redirects to another address (status {0}): name that one")]
    Redirect(u16),
    /// The answer is not a snapshot.
    #[error("the answer is not a snapshot (status {0})")]
    NotOne(u16),
}

/// Reads `GET /api/metrics` of the service at `url`.
///
/// # Errors
/// When there is no snapshot to be had within five seconds.
pub async fn snapshot(url: &str) -> Result<Snapshot, SnapshotError> {
    tokio::time::timeout(SNAPSHOT_TIMEOUT, read_snapshot(url))
        .await
        .map_err(|_| SnapshotError::Timeout(SNAPSHOT_TIMEOUT))?
}

async fn read_snapshot(url: &str) -> Result<Snapshot, SnapshotError> {
    let parsed = Url::parse(url)
        .ok()
        .filter(|url| url.scheme() == "http" && matches!(&url[Position::BeforePath..], "" | "/"))
        .ok_or_else(|| SnapshotError::Address(url.to_owned()))?;
    let unheard = |error| SnapshotError::Connect(url.to_owned(), error);
    let address = reach(&parsed)
        .await
        .ok_or_else(|| unheard(std::io::ErrorKind::NotFound.into()))?;
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .map_err(unheard)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| SnapshotError::Http(error.into()))?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("/api/metrics")
        .header(
            hyper::header::HOST,
            &parsed[Position::BeforeHost..Position::AfterPort],
        )
        .body(Empty::<Bytes>::new())
        .map_err(|error| SnapshotError::Http(error.into()))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| SnapshotError::Http(error.into()))?;
    let status = response.status().as_u16();
    if response.status().is_redirection() {
        return Err(SnapshotError::Redirect(status));
    }
    let body = Limited::new(response.into_body(), SNAPSHOT_BYTES_MAX)
        .collect()
        .await
        .map_err(SnapshotError::Http)?
        .to_bytes();
    connection.abort();
    serde_json::from_slice(&body).map_err(|_| SnapshotError::NotOne(status))
}
