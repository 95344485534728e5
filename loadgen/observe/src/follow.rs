//! Follows the service's live metrics over its WebSocket while the load runs.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use call::{CallError, Remote};
use futures_util::StreamExt;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderValue};
use record::followed::Followed;
use snapshot::Snapshot;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::markers::{TOKEN_VARIABLE, bearer};
use crate::stack::Target;

/// Pause before another attempt to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// How long a connection may take.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// The service tells five snapshots a second: a connection that says nothing for so long is none.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// A follower in the background. Dropping it ends it.
#[derive(Debug)]
pub struct Follower {
    followed: Arc<Mutex<Followed>>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Follows the service at `url` (`http://host:port`) until dropped, with the token of whoever may read, where one is known.
    /// Connects again when the connection breaks or falls silent.
    pub fn start(url: &str, token: Option<&str>) -> Self {
        let followed = Arc::new(Mutex::new(Followed::default()));
        let address = format!(
            "ws{}/ws",
            url.trim_end_matches('/').trim_start_matches("http")
        );
        let token = token.map(str::to_owned);
        let shared = Arc::clone(&followed);
        let task = tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                let opening = open(&address, token.as_deref());
                if let Ok(Some(mut socket)) = timeout(CONNECTED_WITHIN, opening).await {
                    lock(&shared).clock.round_trip_ms = asked.elapsed().as_millis() as u64;
                    while let Ok(Some(Ok(frame))) = timeout(SILENCE_MAX, socket.next()).await {
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
                lock(&shared).broke_off();
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

/// The live figures at `address`; nothing when they are not to be had.
async fn open(
    address: &str,
    token: Option<&str>,
) -> Option<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    let (socket, _) = connect_async(request(address, token)?).await.ok()?;
    Some(socket)
}

/// What asks for the live figures at `address`; nothing when that is no address, or no header may hold the token.
fn request(address: &str, token: Option<&str>) -> Option<Request> {
    let mut request = address.into_client_request().ok()?;
    if let Some(token) = token {
        let bearer = HeaderValue::from_str(&bearer(token)).ok()?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Some(request)
}

/// The service at `url`, asked with the token of whoever may read, where one is known.
pub(crate) fn reader(url: &str, token: Option<&str>) -> Result<Remote, CallError> {
    let service = Remote::at(url)?;
    match token {
        Some(token) => service.with_header(AUTHORIZATION, &bearer(token)),
        None => Ok(service),
    }
}

/// Whether an answer says that whoever reads must show a token that is known.
pub(crate) fn needs_token(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Why no snapshot could be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no whole answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Whoever reads must show a token. It is not told.
    #[error(
        "reading needs a token: set {} to one that the service knows",
        TOKEN_VARIABLE
    )]
    Token,
    /// The service sends whoever asks to another address.
    #[error("it redirects to another address (status {0}): name that one")]
    Redirect(u16),
    /// The answer is not a snapshot.
    #[error("the answer is not a snapshot (status {0})")]
    NotOne(u16),
}

/// Reads `GET /api/metrics` of the service at `url`, with the token of whoever may read, where one is known.
///
/// # Errors
/// When there is no snapshot to be had within five seconds.
pub async fn snapshot(url: &str, token: Option<&str>) -> Result<Snapshot, SnapshotError> {
    let answer = reader(url, token)?.get("/api/metrics").await?;
    let status = answer.status.as_u16();
    if needs_token(answer.status) {
        return Err(SnapshotError::Token);
    }
    if answer.status.is_redirection() {
        return Err(SnapshotError::Redirect(status));
    }
    serde_json::from_slice(&answer.body).map_err(|_| SnapshotError::NotOne(status))
}

/// The token that reading the service at `target` takes, if it takes the one that is `known`: none where anybody may read. Who somebody
/// is a service tells only to whoever shows a token, and a run need not know it.
pub async fn token_to_read(target: &Target, known: Option<&str>) -> Option<String> {
    let known = known?;
    for instance in target.each() {
        if let Err(SnapshotError::Token) = snapshot(&instance.url, None).await {
            return Some(known.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_falls_silent_is_left_for_another() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let follower = Follower::start(&format!("http://{address}"), None);
        let (first, _) = listener.accept().await.expect("it connects");
        let silent = accept_async(first).await.expect("it asks for a WebSocket");
        // While the first one is open and says nothing.
        let again = timeout(Duration::from_secs(60), listener.accept()).await;
        assert!(again.is_ok_and(|accepted| accepted.is_ok()));
        assert_eq!(follower.followed().reconnects, 1);
        drop(silent);
    }

    /// A service that lets only some read says so by the name of the variable, and the token goes along in both ways.
    #[tokio::test]
    async fn a_token_is_shown_where_one_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let known = serde_json::to_string(&Snapshot::default()).expect("plain data");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 2048];
                let length = stream.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]);
                let (status, body) = if head.contains("Bearer known") {
                    ("200 OK", known.as_str())
                } else if head.contains("Bearer ") {
                    ("403 Forbidden", "")
                } else {
                    ("401 Unauthorized", "")
                };
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        for token in [None, Some("another")] {
            let error = snapshot(&url, token).await.expect_err("it is refused");
            let told = error.to_string();
            assert!(told.contains("set SLUICE_ADMIN_TOKEN"), "{told}");
            assert!(!told.contains("another"), "{told}");
        }
        assert!(snapshot(&url, Some("known")).await.is_ok());
        let target = Target {
            url: url.clone(),
            other_urls: Vec::new(),
            redis_url: String::new(),
            mongodb_uri: String::new(),
            mongodb_database: String::new(),
            private: false,
        };
        assert_eq!(token_to_read(&target, None).await, None);
        let token = token_to_read(&target, Some("known")).await;
        assert_eq!(token.as_deref(), Some("known"));
        let request = request("ws://127.0.0.1:1/ws", Some("known")).expect("a good address");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer known");
        let shown = format!("{:?}", reader(&url, Some("known")));
        assert!(!shown.contains("known"), "{shown}");
    }
}
