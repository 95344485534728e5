//! Tasks that the service cannot do without.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

/// How a process ends that has lost one of its tasks: EX_SOFTWARE.
const EXIT_CODE: i32 = 70;

/// Starts a task. If it panics, the process says so and ends: what runs it starts it again, and nothing that was
/// promised is lost. A process that lives on without one of its tasks looks healthy and is not.
pub(crate) fn spawn<F>(name: &'static str, task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(async move {
        if let Ok(output) = AssertUnwindSafe(task).catch_unwind().await {
            return output;
        }
        tracing::error!(task = name, "a task has died; the process ends");
        crate::log::finish();
        std::process::exit(EXIT_CODE);
    })
}
