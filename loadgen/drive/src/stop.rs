//! A stop that was asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often goose's switch is looked at.
const TICK: Duration = Duration::from_millis(100);

/// A stop that was asked for, by Ctrl-C (which goose catches) or by SIGTERM.
pub struct Stop {
    pub(crate) flag: Arc<AtomicBool>,
    reason: Arc<Mutex<Option<&'static str>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Stop {
    /// Begins to watch.
    pub fn watch() -> Self {
        let flag = Arc::new(AtomicBool::new(false));
        let reason = Arc::new(Mutex::new(None));
        let (task_flag, task_reason) = (Arc::clone(&flag), Arc::clone(&reason));
        let task = tokio::spawn(async move {
            let terminate = async {
                match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                    Ok(mut signal) => {
                        signal.recv().await;
                    }
                    Err(_) => std::future::pending().await,
                }
            };
            let why = tokio::select! {
                () = terminate => "SIGTERM",
                () = interrupted() => "Ctrl-C",
            };
            *task_reason
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(why);
            task_flag.store(true, Ordering::Relaxed);
        });
        Self { flag, reason, task }
    }

    /// Why it stops, once it was asked to.
    pub fn reason(&self) -> Option<&'static str> {
        *self
            .reason
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for Ctrl-C. Goose catches it, so its switch is what tells.
pub async fn interrupted() {
    while !goose::is_killswitch_triggered() {
        tokio::time::sleep(TICK).await;
    }
}
