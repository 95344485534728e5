//! A private Redis.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::error::TestbedError;
use crate::process::{Kind, Launch, Server, pairs};
use crate::servers::Servers;

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

/// What sets a Redis apart from the other servers.
pub enum Redis {}

/// A private Redis on a free loopback port. Dropping it kills it and removes its temporary folder.
pub type RedisServer = Server<Redis>;

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
        Self::launch(launch).await
    }

    /// `redis://127.0.0.1:PORT/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port())
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

impl Kind for Redis {
    const END_WITHIN: Duration = Duration::from_secs(20);

    async fn is_ready(port: u16, pid: u32) -> bool {
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
