//! What can go wrong, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a private server could not be found, started or stopped. Each message says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// No binary of this name was found.
    #[error(
        "no {name} found: run `make servers`, or name one in {variable}, or start Redis and MongoDB with compose.yaml"
    )]
    ServerMissing {
        /// The binary's name.
        name: &'static str,
        /// The environment variable that can name it.
        variable: &'static str,
    },
    /// The environment names a binary that is not there.
    #[error("{variable} names {path}, which is not a file", path = .path.display())]
    NamedFileMissing {
        /// The environment variable.
        variable: &'static str,
        /// What it says.
        path: PathBuf,
    },
    /// The service has not been built.
    #[error("no service binary found: run `cargo build -p service`, or name one in SLUICE_SERVICE")]
    ServiceMissing,
    /// The operating system refused something.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// No free loopback port was found.
    #[error("no free loopback port between {0} and {1}")]
    NoFreePort(u16, u16),
    /// A server ended before it answered.
    #[error("{name} ended with {status} before it was ready; its last lines:\n{log}")]
    EarlyExit {
        /// Which server.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The end of its output.
        log: String,
    },
    /// A server did not answer in time.
    #[error("{name} was not ready within {waited:?}; its last lines:\n{log}")]
    NotReady {
        /// Which server.
        name: &'static str,
        /// How long it was given.
        waited: Duration,
        /// The end of its output.
        log: String,
    },
    /// A server did not end in time.
    #[error("{name} did not end within {waited:?}; its last lines:\n{log}")]
    NotEnded {
        /// Which server.
        name: &'static str,
        /// How long it was given.
        waited: Duration,
        /// The end of its output.
        log: String,
    },
    /// No C compiler for the disk that can be slow.
    #[error("no C compiler found: install gcc (Debian: apt-get install gcc libc6-dev)")]
    NoCompiler,
    /// The C compiler refused the disk that can be slow.
    #[error("the C compiler refused disk.c: {0}")]
    Compiler(String),
    /// The server is not running at the moment.
    #[error("{0} is not running")]
    NotRunning(&'static str),
}

impl TestbedError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
