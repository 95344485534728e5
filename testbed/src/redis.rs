//! A private Redis.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisResult, Value};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::error::TestbedError;
use crate::process::{Kind, Launch, Server, pairs};
use crate::servers::Servers;

/// How long a Redis that answers at all may take. A MIGRATE of many keys takes longest.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The folder of the append-only files, in the data folder.
const DATA: &str = "appendonlydir";
/// The folder of a copy of them.
const KEPT: &str = "kept";

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
        Self::start_at(servers, options, Ipv4Addr::LOCALHOST, None).await
    }

    pub(crate) async fn start_at(
        servers: &Servers,
        options: RedisOptions,
        host: Ipv4Addr,
        port: Option<u16>,
    ) -> Result<Self, TestbedError> {
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
            arguments: Box::new(move |address, folder| arguments(&options, address, folder)),
            hides_settings: false,
            log_file: None,
            host,
            port,
        };
        Self::launch(launch).await
    }

    /// `redis://127.0.0.1:PORT/0`.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address())
    }

    /// Keeps a copy of its data as its files have it now, in the place of an earlier copy. What is being written at this
    /// moment may be cut short in it. For a Redis without a data folder of the caller's.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn keep_data(&self) -> Result<(), TestbedError> {
        copy_files(&self.folder().join(DATA), &self.folder().join(KEPT))
    }

    /// Kills it and starts it with the data of the last copy.
    ///
    /// # Errors
    /// When there is no copy, or as [`RedisServer::restart`](crate::process::Server::restart).
    pub async fn restart_with_kept_data(&mut self) -> Result<(), TestbedError> {
        self.kill();
        copy_files(&self.folder().join(KEPT), &self.folder().join(DATA))?;
        self.restart().await
    }

    /// Sends one command over a connection of its own.
    ///
    /// # Errors
    /// What Redis or the connection says; also when there is no answer within a few seconds.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connect().await?).await
    }

    /// Sends commands together over a connection of its own. Answers what each that is not ignored was answered.
    ///
    /// # Errors
    /// As [`RedisServer::query`].
    pub async fn query_all(&self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        pipeline.query_async(&mut self.connect().await?).await
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        redis::Client::open(self.url())?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

fn arguments(options: &RedisOptions, address: SocketAddr, folder: &Path) -> Vec<OsString> {
    let host = address.ip().to_string();
    let port = address.port().to_string();
    let mut arguments: Vec<OsString> = [
        ["--bind", &host],
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

/// Copies the files of one folder, and of no folder in it. What was in the other is gone.
fn copy_files(from: &Path, to: &Path) -> Result<(), TestbedError> {
    let copied = || {
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        fs::create_dir_all(to)?;
        for file in fs::read_dir(from)? {
            let file = file?;
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
        Ok(())
    };
    copied().map_err(TestbedError::io(format!("copy {}", from.display())))
}

pub(crate) fn make_folder(folder: &Path) -> Result<(), TestbedError> {
    std::fs::create_dir_all(folder).map_err(TestbedError::io(format!("make {}", folder.display())))
}

impl Kind for Redis {
    const END_WITHIN: Duration = Duration::from_secs(20);
    // While it writes its first append-only file, as a replica does after it has been given all data, it drops the signal.
    const FORGETS_SIGTERM: bool = true;

    async fn is_ready(address: SocketAddr, pid: u32) -> bool {
        tokio::time::timeout(Duration::from_secs(2), ask(address))
            .await
            .is_ok_and(|answer| answer.is_ok_and(|(ready, answering)| ready && answering == pid))
    }
}

/// Whether Redis has loaded its data, and its process id.
async fn ask(address: SocketAddr) -> io::Result<(bool, u32)> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
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
