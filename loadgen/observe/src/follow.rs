//! Follows the service's live metrics over its WebSocket while the load runs.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use call::{CallError, Remote};
use futures_util::StreamExt;
use record::followed::Followed;
use snapshot::Snapshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

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
    /// Follows the service at `url` (`http://host:port`) until dropped. Connects again when the connection breaks or falls silent.
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
                let connecting = tokio_tungstenite::connect_async(&address);
                if let Ok(Ok((mut socket, _))) = timeout(CONNECTED_WITHIN, connecting).await {
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

/// Why no snapshot could be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no whole answer.
    #[error(transparent)]
    Call(#[from] CallError),
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
    let answer = Remote::at(url)?.get("/api/metrics").await?;
    let status = answer.status.as_u16();
    if answer.status.is_redirection() {
        return Err(SnapshotError::Redirect(status));
    }
    serde_json::from_slice(&answer.body).map_err(|_| SnapshotError::NotOne(status))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_falls_silent_is_left_for_another() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let follower = Follower::start(&format!("http://{address}"));
        let (first, _) = listener.accept().await.expect("it connects");
        let silent = accept_async(first).await.expect("it asks for a WebSocket");
        // While the first one is open and says nothing.
        let again = timeout(Duration::from_secs(60), listener.accept()).await;
        assert!(again.is_ok_and(|accepted| accepted.is_ok()));
        assert_eq!(follower.followed().reconnects, 1);
        drop(silent);
    }
}
