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
        "no {name} found: run `{fetch}`, or name one in {variable}, or start Redis and MongoDB with compose.yaml"
    )]
    ServerMissing {
        /// The binary's name.
        name: &'static str,
        /// The environment variable that can name it.
        variable: &'static str,
        /// The command that fetches it.
        fetch: &'static str,
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
    /// No C compiler for the libraries that are preloaded into servers.
    #[error("no C compiler found: install gcc (Debian: apt-get install gcc libc6-dev)")]
    NoCompiler,
    /// The C compiler refused a library that is preloaded into servers.
    #[error("the C compiler refused {name}.c: {said}")]
    Compiler {
        /// The library.
        name: String,
        /// What the compiler said.
        said: String,
    },
    /// Redis refused a command or did not answer it.
    #[error("cannot {action}")]
    Redis {
        /// What was tried.
        action: String,
        /// What Redis or the connection said.
        source: redis::RedisError,
    },
    /// MongoDB refused a command or did not answer it.
    #[error("cannot {action}")]
    Mongo {
        /// What was tried.
        action: String,
        /// What MongoDB or the driver said.
        source: Box<mongodb::error::Error>,
    },
    /// Servers that run together did not come into the state that was waited for.
    #[error("waited {waited:?} in vain until {what}; at last: {last}")]
    NotReached {
        /// The state.
        what: String,
        /// How long it was waited for.
        waited: Duration,
        /// What was seen instead.
        last: String,
    },
    /// What was asked for cannot be built, or does not fit the servers as they are.
    #[error("{0}")]
    Layout(String),
    /// There is no node or member of this number, or not any more.
    #[error("there is no node {0}")]
    NoSuchNode(usize),
    /// The server is not running at the moment.
    #[error("{0} is not running")]
    NotRunning(&'static str),
}

impl TestbedError {
    pub(crate) fn redis(action: impl Into<String>) -> impl FnOnce(redis::RedisError) -> Self {
        let action = action.into();
        move |source| Self::Redis { action, source }
    }

    pub(crate) fn mongodb(action: impl Into<String>) -> impl FnOnce(mongodb::error::Error) -> Self {
        let action = action.into();
        move |source| Self::Mongo {
            action,
            source: Box::new(source),
        }
    }

    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
