//! The order to stop, as every task waits for it.

use tokio::sync::watch;

/// Returns once `stop` is true, or its sender is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
