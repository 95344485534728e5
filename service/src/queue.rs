//! The queue: the only place that knows Redis.
//!
//! The transitions themselves are Redis Functions, in `queue/functions.lua`: each is atomic, and each touches the keys of
//! one partition, which share a hash tag.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisResult, Value,
};
use tokio::sync::Mutex;

use crate::error::ServiceError;
use crate::limits::{CACHE_LEN_MAX, REDIS_CONNECT_TIMEOUT, REDIS_TIMEOUT};
use crate::loan::LoanId;

pub mod admission;
pub mod bundle;
mod cache;
pub mod claim;
pub mod control;
pub mod depths;
pub mod filter;
pub mod keys;
mod library;
pub mod recording;
pub mod refusal;
mod repartition;
pub mod results;
pub mod state;
pub mod tls;
mod value;

use bundle::IdHash;
use cache::Cache;
pub use depths::Depths;
use keys::Keys;
use library::LIBRARY;
use refusal::{Refusal, is_unprepared, told};
use tls::TlsFiles;

/// The queue's address and partitions.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    keys: Arc<[Keys]>,
    /// For each partition the connection that those share who only read.
    shared: Arc<[Mutex<Option<MultiplexedConnection>>]>,
    /// What this process has admitted and no worker of it has claimed yet.
    cache: Arc<Cache>,
    depths: Arc<Depths>,
    /// For each partition the most admissions that Redis has confirmed to this process.
    admissions: Arc<[AtomicU64]>,
    timeout: Duration,
}

impl Queue {
    /// A queue of `partitions` partitions at `url`. Nothing is connected yet.
    ///
    /// # Errors
    /// If `url` is not a Redis URL, or asks for RESP3.
    pub fn new(url: &str, partitions: u32) -> Result<Self, ServiceError> {
        Self::with_tls(url, partitions, &TlsFiles::default())
    }

    /// The same, with files for TLS to a Redis at `rediss://`.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if the files are not what they have to be.
    pub fn with_tls(url: &str, partitions: u32, files: &TlsFiles) -> Result<Self, ServiceError> {
        Ok(Self {
            client: tls::client(connection_info(url)?, files)?,
            keys: (0..partitions)
                .map(|number| Keys::new(number, partitions))
                .collect(),
            shared: (0..partitions).map(|_| Mutex::default()).collect(),
            cache: Arc::new(Cache::new(CACHE_LEN_MAX)),
            depths: Arc::new(Depths::new(partitions as usize)),
            admissions: (0..partitions).map(|_| AtomicU64::default()).collect(),
            timeout: REDIS_TIMEOUT,
        })
    }

    /// The same queue, where Redis has this long to answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        self.keys.len()
    }

    /// How full the partitions are, and the wake-up of who waits for loans.
    pub fn depths(&self) -> Arc<Depths> {
        Arc::clone(&self.depths)
    }

    /// The partition that a loan belongs to, for good.
    pub fn partition_of(&self, loan_id: &LoanId) -> usize {
        self.partition_of_hash(IdHash::of(loan_id.as_str()))
    }

    /// The partition that a loan belongs to, by its id's hash.
    pub fn partition_of_hash(&self, hash: IdHash) -> usize {
        hash.partition(self.keys.len())
    }

    /// A partition over a connection of one's own, not connected yet: for who writes.
    pub fn partition(&self, number: usize) -> Partition {
        Partition {
            queue: self.clone(),
            number,
            connection: None,
            is_shared: false,
            timeout: self.timeout,
        }
    }

    /// A partition over the one connection of all who only read.
    pub fn reader(&self, number: usize) -> Partition {
        Partition {
            is_shared: true,
            ..self.partition(number)
        }
    }
}

fn connection_info(url: &str) -> Result<ConnectionInfo, ServiceError> {
    // A peer that vanished without a word is noticed by keep-alive and by unacknowledged data.
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(
            redis::io::tcp::socket2::TcpKeepalive::new()
                .with_time(Duration::from_secs(10))
                .with_interval(Duration::from_secs(5)),
        )
        .set_user_timeout(REDIS_TIMEOUT);
    let info = url
        .into_connection_info()
        .map_err(told)?
        .set_tcp_settings(tcp);
    if info.redis_settings().protocol() != ProtocolVersion::RESP2 {
        return Err(ServiceError::RedisReply(
            "protocol=resp3 is not spoken here; leave it out of the URL",
        ));
    }
    Ok(info)
}

/// One partition, over a connection that comes back by itself.
///
/// A call that failed is not repeated here, since it may have run: each caller knows what a repetition means. The next
/// call connects anew. Where Redis has lost the functions or the partition's keys (`FUNCTION FLUSH`, an empty Redis), the
/// call did not run; they are made again and it is sent once more.
#[derive(Debug)]
pub struct Partition {
    queue: Queue,
    number: usize,
    connection: Option<MultiplexedConnection>,
    is_shared: bool,
    timeout: Duration,
}

impl Partition {
    /// Which partition it is.
    pub fn number(&self) -> usize {
        self.number
    }

    fn keys(&self) -> &Keys {
        &self.queue.keys[self.number]
    }

    /// A call of a function, with the keys that every function takes.
    fn function(&self, name: &str) -> Cmd {
        let mut call = library::call(name);
        let keys = self.keys().all();
        call.arg(keys.len());
        for key in keys {
            call.arg(key);
        }
        call
    }

    /// A connection whose functions are loaded and whose partition is set up.
    async fn ready(&mut self) -> Result<MultiplexedConnection, ServiceError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let connection = if self.is_shared {
            let shared = Arc::clone(&self.queue.shared);
            let mut shared = shared[self.number].lock().await;
            match &*shared {
                Some(connection) => connection.clone(),
                None => shared.insert(self.connect().await?).clone(),
            }
        } else {
            self.connect().await?
        };
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, ServiceError> {
        let unreachable = |why: String| ServiceError::RedisRefused(Refusal::Unreachable(why));
        let limit = REDIS_CONNECT_TIMEOUT.min(self.timeout);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(None);
        let connecting = async {
            let mut connection = self
                .queue
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map_err(|error| match Refusal::of(&error) {
                    Some(refusal) => ServiceError::RedisRefused(refusal),
                    None => unreachable(error.to_string()),
                })?;
            self.prepare(&mut connection).await?;
            Ok(connection)
        };
        // A Redis that stands still accepts connections and says nothing on them.
        match tokio::time::timeout(limit, connecting).await {
            Ok(connection) => connection,
            Err(_) => Err(unreachable(format!("no answer within {limit:?}"))),
        }
    }

    /// Makes what the functions rely on.
    async fn prepare(&self, connection: &mut MultiplexedConnection) -> Result<(), ServiceError> {
        let mut prepare = self.function("prepare");
        prepare.arg(self.queue.keys.len());
        prepare.arg(uuid::Uuid::new_v4().simple().to_string());
        match run(connection, &prepare).await {
            Err(error) if is_unprepared(&error) => {
                let mut load = redis::cmd("FUNCTION");
                load.arg("LOAD").arg("REPLACE").arg(&LIBRARY.text);
                run(connection, &load).await.map_err(told)?;
                run(connection, &prepare).await.map_err(told).map(drop)
            }
            answer => answer.map_err(told).map(drop),
        }
    }

    /// Runs one command, within the time that Redis has.
    async fn call(&mut self, command: &Cmd) -> Result<Value, ServiceError> {
        let is_first_use = self.is_shared && self.connection.is_none();
        let answer = self.call_within(self.timeout, command).await;
        if is_first_use && is_broken(&answer) {
            // The shared connection was another's, and broke while nobody used it. Who only reads may ask again.
            return self.call_within(self.timeout, command).await;
        }
        answer
    }

    /// Runs one command, within `limit`.
    async fn call_within(&mut self, limit: Duration, command: &Cmd) -> Result<Value, ServiceError> {
        let mut connection = self.ready().await?;
        let called = async {
            match run(&mut connection, command).await {
                Err(error) if is_unprepared(&error) => {
                    self.prepare(&mut connection).await?;
                    run(&mut connection, command).await.map_err(told)
                }
                answer => answer.map_err(told),
            }
        };
        let answer = tokio::time::timeout(limit, called)
            .await
            .unwrap_or(Err(ServiceError::RedisTimeout(limit)));
        self.keep_or_drop(answer).await
    }

    /// Runs commands of a pipeline, each for itself.
    async fn call_all(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, ServiceError> {
        let is_first_use = self.is_shared && self.connection.is_none();
        let answer = self.call_all_once(pipeline).await;
        if is_first_use && is_broken(&answer) {
            return self.call_all_once(pipeline).await;
        }
        answer
    }

    async fn call_all_once(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, ServiceError> {
        let mut connection = self.ready().await?;
        let called = async {
            let answer: RedisResult<Vec<Value>> = pipeline.query_async(&mut connection).await;
            answer.map_err(told)
        };
        let answer = tokio::time::timeout(self.timeout, called)
            .await
            .unwrap_or(Err(ServiceError::RedisTimeout(self.timeout)));
        self.keep_or_drop(answer).await
    }

    /// After a time-out the connection still waits for the answer, and a Redis that has become a replica stays one: the
    /// next call connects afresh, to whoever stands behind the address then.
    async fn keep_or_drop<T>(
        &mut self,
        answer: Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let is_lost = match &answer {
            Ok(_) => false,
            Err(ServiceError::Redis(error)) => {
                error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
            }
            Err(ServiceError::RedisRefused(refusal)) => {
                matches!(refusal, Refusal::Elsewhere(_) | Refusal::Unreachable(_))
            }
            Err(_) => true,
        };
        if is_lost {
            self.connection = None;
            if self.is_shared {
                *self.queue.shared[self.number].lock().await = None;
            }
        }
        answer
    }
}

/// Whether the connection broke.
fn is_broken<T>(answer: &Result<T, ServiceError>) -> bool {
    matches!(answer, Err(ServiceError::Redis(error)) if error.is_io_error())
}

/// Runs a command; an error that stands inside the answer is an error.
async fn run(connection: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    connection
        .send_packed_command(command)
        .await?
        .extract_error()
}
