//! `GET /ws`: the history, then snapshots five times a second, and events as they happen.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::{Request, Version};
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Frame, Utf8Bytes};

use super::access::{Caller, LeaveToStay, PROTOCOL, asks_for_protocol};
use super::clients::Guest;
use super::feed::Both;
use super::response::{Problem, switching};
use super::{Front, Link, Reply};
use crate::limits::{WEB_SOCKET_CLIENTS_KEPT, WEB_SOCKET_CLIENTS_MAX};
use crate::shutdown::stopped;

/// How far back the first message reaches.
const HISTORY_SENT: Duration = Duration::from_secs(5 * 60);
/// A client that takes nothing for this long is let go.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients have nothing to say but control frames.
const INCOMING_LEN_MAX: usize = 4 * 1024;
/// Unsent bytes for one client: enough for the history.
const UNSENT_LEN_MAX: usize = 256 * 1024;

pub(super) fn upgrade(
    front: &Arc<Front>,
    mut request: Request<Incoming>,
    caller: &Caller,
) -> Result<Reply, Problem> {
    let headers = request.headers();
    let has = |name: &str, token: &str| {
        // A list may be written in several lines.
        let values = headers.get_all(name).iter();
        let mut parts = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        parts.any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    let key = headers
        .get("sec-websocket-key")
        .filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16))
        .map(|key| derive_accept_key(key.as_bytes()));
    let (true, true, true, true, Some(accept)) = (
        // An older one must not be asked for another protocol (RFC 9110, section 7.8).
        request.version() == Version::HTTP_11,
        has("upgrade", "websocket"),
        has("connection", "upgrade"),
        has("sec-websocket-version", "13"),
        key,
    ) else {
        return Err(Problem::NotAWebSocket);
    };
    let protocol = asks_for_protocol(headers).then_some(PROTOCOL);
    let leave = front.access.leave_to_stay(headers);
    // Before it is let in: many at once are not more than there is room for.
    let seat = Seat::take(front, caller).ok_or(Problem::TooManyWebSockets)?;
    let sees_personal = caller.sees_personal();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let front = &seat.front;
        let Ok(upgraded) = upgraded.await else { return };
        let Ok(parts) = upgraded.downcast::<Link>() else {
            return;
        };
        let config = WebSocketConfig::default()
            .max_message_size(Some(INCOMING_LEN_MAX))
            .max_frame_size(Some(INCOMING_LEN_MAX))
            .write_buffer_size(0)
            .max_write_buffer_size(UNSENT_LEN_MAX);
        let socket = WebSocketStream::from_partially_read(
            parts.io.into_inner().into_inner(),
            parts.read_buf.into(),
            Role::Server,
            Some(config),
        )
        .await;
        if let Err(error) = talk(front, socket, sees_personal, leave).await {
            tracing::debug!(%error, "a WebSocket client is gone");
        }
    });
    switching(&accept, protocol).ok_or(Problem::NotAWebSocket)
}

/// One client among those that there may be, and among those that there may be of its address.
struct Seat {
    front: Arc<Front>,
    _of_its_address: Guest,
}

impl Seat {
    fn take(front: &Arc<Front>, caller: &Caller) -> Option<Self> {
        let of_its_address = front.followers.enter(caller.client, &front.proxies)?;
        let clients = &front.metrics.web_socket_clients;
        // Some places are kept for whoever has a token.
        let places = if caller.sees_personal() {
            WEB_SOCKET_CLIENTS_MAX
        } else {
            WEB_SOCKET_CLIENTS_MAX - WEB_SOCKET_CLIENTS_KEPT
        };
        let step = |count| (count < places as u64).then_some(count + 1);
        clients
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .ok()?;
        front.feed.look_for_tasks();
        Some(Self {
            front: Arc::clone(front),
            _of_its_address: of_its_address,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let clients = &self.front.metrics.web_socket_clients;
        clients.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn talk<S>(
    front: &Front,
    mut socket: WebSocketStream<S>,
    sees_personal: bool,
    mut leave: Option<LeaveToStay>,
) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut snapshots = front.feed.snapshots();
    let mut events = front.feed.events();
    let mut tasks = front.feed.tasks();
    let mut stop = front.stop.clone();
    let history = front.feed.history_message(HISTORY_SENT);
    send(&mut socket, [history].into_iter()).await?;
    loop {
        tokio::select! {
            changed = snapshots.changed() => {
                if changed.is_err() {
                    break;
                }
                // Always the newest: a slow client misses snapshots, never falls behind.
                let snapshot = snapshots.borrow_and_update().clone();
                let snapshot = snapshot.map(|both| both.of(sees_personal));
                send(&mut socket, snapshot.into_iter()).await?;
            }
            changed = tasks.changed() => {
                if changed.is_err() {
                    break;
                }
                let told = tasks.borrow_and_update().clone();
                let told = told.map(|both| both.of(sees_personal));
                send(&mut socket, told.into_iter()).await?;
            }
            batch = events.recv() => match batch {
                Ok(batch) => {
                    let texts = batch.iter().map(|both: &Both| both.of(sees_personal));
                    send(&mut socket, texts).await?;
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
            frame = socket.next() => match frame {
                // The answer to it waits to be sent.
                Some(Ok(frame)) if frame.is_close() => return within(socket.flush()).await,
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    if let Some(code) = code_of(&error) {
                        close(&mut socket, code, "").await?;
                    }
                    return Err(error);
                }
                None => return Ok(()),
            },
            () = front.access.taken_back(&mut leave) => {
                let reason = "this token is not known any more";
                return close(&mut socket, CloseCode::Policy, reason).await;
            }
            () = stopped(&mut stop) => break,
        }
    }
    close(&mut socket, CloseCode::Away, "").await
}

/// What a client that breaks the protocol is told, if it can be told anything (RFC 6455, section 7.4.1).
fn code_of(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}

/// Says that the connection ends, and why.
async fn close<S>(
    socket: &mut WebSocketStream<S>,
    code: CloseCode,
    reason: &'static str,
) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let reason = reason.into();
    within(socket.close(Some(CloseFrame { code, reason }))).await
}

/// Sends texts, and the last of them on its way.
async fn send<S>(
    socket: &mut WebSocketStream<S>,
    texts: impl Iterator<Item = Utf8Bytes>,
) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let sending = async {
        for text in texts {
            socket.feed(Frame::Text(text)).await?;
        }
        socket.flush().await
    };
    within(sending).await
}

/// A client that takes nothing meanwhile is let go.
async fn within(sending: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::time::timeout(SEND_TIMEOUT, sending)
        .await
        .unwrap_or(Err(Error::ConnectionClosed))
}
