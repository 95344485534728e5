//! A private Redis.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::Signal;
use crate::error::TestbedError;
use crate::process::{Launch, Process, Readiness, pairs};
use crate::servers::Servers;

const STOP_WITHIN: Duration = Duration::from_secs(20);

/// How a private Redis is set.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `always`, `everysec` or `no`. The promise of the service needs `always`.
    pub append_fsync: String,
    /// Memory limit in bytes; none when `None`. Redis refuses writes at the limit and evicts nothing.
    pub memory_bytes_max: Option<u64>,
    /// Where the data is kept; in the temporary folder, and removed with it, when `None`.
    pub data_folder: Option<PathBuf>,
    /// More arguments for `redis-server`, after the ones from here.
    pub arguments: Vec<String>,
    /// More environment, for example that of a [`Disk`](crate::Disk).
    pub environment: Vec<(String, String)>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            append_fsync: "always".into(),
            memory_bytes_max: None,
            data_folder: None,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// A private Redis on a free loopback port. Dropping it kills it and removes its temporary folder.
pub struct RedisServer(Process);

impl RedisServer {
    /// Starts Redis and waits until it answers, with its data loaded.
    ///
    /// # Errors
    /// Fails with the server's last lines when it ends or does not answer.
    pub async fn start(servers: &Servers, options: RedisOptions) -> Result<Self, TestbedError> {
        if let Some(folder) = &options.data_folder {
            make_folder(folder)?;
        }
        let launch = Launch {
            name: "redis-server",
            program: servers.redis_server.clone(),
            environment: {
                let mut environment = servers.environment();
                environment.extend(pairs(options.environment.clone()));
                environment
            },
            arguments: Box::new(move |port, folder| arguments(&options, port, folder)),
            hides_settings: false,
            log_file: None,
            port: None,
        };
        Process::start(launch, &RedisReadiness).await.map(Self)
    }

    /// `redis://127.0.0.1:PORT/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port())
    }

    /// The port it listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// The process id; 0 while it is not running.
    pub fn pid(&self) -> u32 {
        self.0.pid().unwrap_or(0)
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// Kills it with SIGKILL and waits for its end. The data stays.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again, on the same port and data. Kills it first when it runs.
    ///
    /// # Errors
    /// As for [`RedisServer::start`].
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        self.0.restart(&RedisReadiness).await
    }

    /// Sends a signal, for example SIGSTOP and SIGCONT for a server that hangs.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn signal(&self, signal: Signal) -> Result<(), TestbedError> {
        self.0.signal(signal)
    }

    /// How it ended, when it has ended by itself since it was started.
    ///
    /// # Errors
    /// Fails when its end has been seen already.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, TestbedError> {
        self.0.try_wait()
    }

    /// Waits until it ends by itself, for example when its disk fails.
    ///
    /// # Errors
    /// Fails when it is not running or does not end in time; it runs on then.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus, TestbedError> {
        self.0.wait(within).await
    }

    /// Ends it in order, and removes its temporary folder.
    ///
    /// # Errors
    /// Fails when it is not running or does not end in time; it is killed then.
    pub async fn stop(mut self) -> Result<(), TestbedError> {
        self.0.terminate(STOP_WITHIN).await.map(drop)
    }
}

fn arguments(options: &RedisOptions, port: u16, folder: &Path) -> Vec<OsString> {
    let port = port.to_string();
    let mut arguments: Vec<OsString> = [
        ["--bind", "127.0.0.1"],
        ["--port", &port],
        ["--appendonly", "yes"],
        ["--appendfsync", &options.append_fsync],
        // An AOF rewrite must not weaken the promise.
        ["--no-appendfsync-on-rewrite", "no"],
        // Rewriting forks: not for a file that is read back in seconds anyway.
        ["--auto-aof-rewrite-min-size", "512mb"],
        // A write that SIGKILL cut short was never confirmed, so it may go.
        ["--aof-load-truncated", "yes"],
        ["--maxmemory-policy", "noeviction"],
        ["--save", ""],
    ]
    .iter()
    .flatten()
    .map(OsString::from)
    .collect();
    if let Some(bytes) = options.memory_bytes_max {
        arguments.extend(["--maxmemory".into(), bytes.to_string().into()]);
    }
    let data = options.data_folder.as_deref().unwrap_or(folder);
    arguments.extend(["--dir".into(), data.into()]);
    arguments.extend(options.arguments.iter().map(OsString::from));
    arguments
}

pub(crate) fn make_folder(folder: &Path) -> Result<(), TestbedError> {
    std::fs::create_dir_all(folder).map_err(TestbedError::io(format!("make {}", folder.display())))
}

struct RedisReadiness;

impl Readiness for RedisReadiness {
    async fn is_ready(&self, port: u16, pid: u32) -> bool {
        tokio::time::timeout(Duration::from_secs(2), ask(port))
            .await
            .is_ok_and(|answer| answer.is_ok_and(|(ready, answering)| ready && answering == pid))
    }
}

/// Whether Redis has loaded its data, and its process id.
async fn ask(port: u16) -> io::Result<(bool, u32)> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    stream.write_all(b"PING\r\nINFO server\r\n").await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let ready = line == "+PONG\r\n";
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(pid) = line.strip_prefix("process_id:") {
            let pid = pid.trim().parse().map_err(io::Error::other)?;
            return Ok((ready, pid));
        }
    }
}
