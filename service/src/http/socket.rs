//! `GET /ws`: the history, then snapshots five times a second, and events as they happen.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::Request;
use hyper::body::Incoming;
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

use super::response::{Problem, switching};
use super::{Front, Link, Reply};
use crate::limits::WEB_SOCKET_CLIENTS_MAX;
use crate::metrics::Metrics;
use crate::shutdown::stopped;
use crate::snapshot::Message;

/// How far back the first message reaches.
const HISTORY_SENT: Duration = Duration::from_secs(5 * 60);
/// A client that takes nothing for this long is let go.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients have nothing to say but control frames.
const INCOMING_LEN_MAX: usize = 4 * 1024;
/// Unsent bytes for one client: enough for the history.
const UNSENT_LEN_MAX: usize = 1024 * 1024;

pub(super) fn upgrade(
    front: &Arc<Front>,
    mut request: Request<Incoming>,
) -> Result<Reply, Problem> {
    let headers = request.headers();
    let has = |name: &str, token: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                value
                    .split(',')
                    .any(|part| part.trim().eq_ignore_ascii_case(token))
            })
    };
    let key = headers
        .get("sec-websocket-key")
        .map(|key| derive_accept_key(key.as_bytes()));
    let (true, true, true, Some(accept)) = (
        has("upgrade", "websocket"),
        has("connection", "upgrade"),
        has("sec-websocket-version", "13"),
        key,
    ) else {
        return Err(Problem::NotAWebSocket);
    };
    let clients = front.metrics.web_socket_clients.load(Ordering::Relaxed);
    if clients >= WEB_SOCKET_CLIENTS_MAX as u64 {
        return Err(Problem::TooManyWebSockets);
    }
    let upgraded = hyper::upgrade::on(&mut request);
    let front = Arc::clone(front);
    tokio::spawn(async move {
        let _held = Metrics::hold(&front.metrics.web_socket_clients);
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
        if let Err(error) = talk(&front, socket).await {
            tracing::debug!(%error, "a WebSocket client is gone");
        }
    });
    switching(&accept).ok_or(Problem::NotAWebSocket)
}

async fn talk<S>(front: &Front, mut socket: WebSocketStream<S>) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut snapshots = front.monitor.follow();
    let mut events = front.metrics.listen();
    let mut stop = front.stop.clone();
    let points = front.monitor.history(HISTORY_SENT).points;
    send(&mut socket, &Message::History { points }).await?;
    loop {
        tokio::select! {
            changed = snapshots.changed() => {
                if changed.is_err() {
                    break;
                }
                // Always the newest: a slow client misses snapshots, never falls behind.
                let snapshot = snapshots.borrow_and_update().as_ref().clone();
                send(&mut socket, &Message::Snapshot { snapshot: Box::new(snapshot) }).await?;
            }
            event = events.recv() => match event {
                Ok(event) => send(&mut socket, &Message::Event { event }).await?,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
            frame = socket.next() => match frame {
                Some(Ok(frame)) if !frame.is_close() => {}
                Some(Err(error)) => return Err(error),
                _ => return Ok(()),
            },
            () = stopped(&mut stop) => break,
        }
    }
    socket.close(None).await
}

async fn send<S>(socket: &mut WebSocketStream<S>, message: &Message) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let text = serde_json::to_string(message).expect("plain data serialises");
    tokio::time::timeout(SEND_TIMEOUT, socket.send(Frame::text(text)))
        .await
        .unwrap_or(Err(Error::ConnectionClosed))
}
