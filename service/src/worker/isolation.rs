//! A loan whose bundle's holders were lost several times is tried in a process of its own.
//!
//! A holder may be lost to a `kill -9`, a full machine, a Redis that was away: nothing of that is the loan's doing. What
//! ends a process that does nothing but this one loan is.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::loan::{Category, Fault};
use crate::validate::Failure;

/// A loan takes microseconds.
const TIME_MAX: Duration = Duration::from_secs(10);
/// The hidden flag of the binary that makes it try one loan, from its standard input.
pub const FLAG: &str = "--try-loan";

/// Tries loans in processes of their own.
#[derive(Debug)]
pub(super) struct Isolation {
    binary: Option<PathBuf>,
}

impl Isolation {
    pub(super) fn new() -> Self {
        Self {
            binary: std::env::current_exe().ok(),
        }
    }

    /// Processes a body in a process of its own. `Err` says what it did to that process. Where no process can be
    /// started, nothing is held against the loan.
    pub(super) async fn try_alone(&self, body: &[u8]) -> Result<(), Failure> {
        let Some(binary) = &self.binary else {
            return Ok(());
        };
        let child = Command::new(binary)
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!(%error, "a loan cannot be tried apart");
                return Ok(());
            }
        };
        let tried = async {
            if let Some(mut stdin) = child.stdin.take() {
                // A process that has ended reads nothing; how it ended is what counts.
                let _ = stdin.write_all(body).await;
            }
            child.wait().await
        };
        match tokio::time::timeout(TIME_MAX, tried).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(poison(&format!("a process that tried it ended: {status}"))),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a loan cannot be tried apart");
                Ok(())
            }
            Err(_) => Err(poison("its processing did not end within 10 s")),
        }
    }
}

/// The failure of a loan that cannot be processed.
pub(super) fn poison(what_happened: &str) -> Failure {
    Failure {
        category: Category::Poison,
        faults: vec![Fault {
            field: "$".into(),
            rule: "can be processed".into(),
            category: Category::Poison,
            value: what_happened.to_owned(),
        }],
        applicant_email: None,
    }
}

/// The other side: processes the body that stands on standard input, and ends as that ends.
pub fn try_loan() -> ExitCode {
    let mut body = Vec::new();
    if std::io::stdin().read_to_end(&mut body).is_err() {
        return ExitCode::SUCCESS;
    }
    // Whether it is a good loan is decided later, by the worker.
    drop(super::judge(&body));
    ExitCode::SUCCESS
}
