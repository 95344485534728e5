//! The queue: the only place that knows Redis.
//!
//! The transitions themselves are Redis Functions, in `queue/functions.lua`: each is atomic, and
//! each touches the keys of one partition, which share a hash tag.

use std::borrow::Cow;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Pipeline, RedisResult, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::ServiceError;
use crate::failpoint::Guard;
use crate::limits::{REDIS_CONNECT_TIMEOUT, REDIS_TIMEOUT};
use crate::loan::LoanId;

pub mod admission;
pub mod claim;
pub mod control;
mod packed;
pub mod record;
pub mod retry;
pub mod state;
mod value;

/// The library of Redis Functions. Its functions carry its version in their names, so that two
/// versions of the service can share one Redis during a rolling restart.
const LIBRARY: &str = include_str!("queue/functions.lua");
/// Group of the workers on `q`.
const WORKERS: &str = "w";
/// Group of the recorders on `done` and `flog`.
const RECORDERS: &str = "m";

/// The keys of one partition.
#[derive(Clone, Debug)]
pub struct Keys {
    tag: String,
    queued: String,
    done: String,
    failures: String,
    counters: String,
    control: String,
    seen: String,
    failed: String,
    applicants: String,
}

impl Keys {
    fn new(partition: u32) -> Self {
        let tag = format!("{{l:{partition}}}");
        Self {
            queued: format!("{tag}:q"),
            done: format!("{tag}:done"),
            failures: format!("{tag}:flog"),
            counters: format!("{tag}:m"),
            control: format!("{tag}:ctl"),
            seen: format!("{tag}:seen:"),
            failed: format!("{tag}:failed:"),
            applicants: format!("{tag}:who"),
            tag,
        }
    }

    fn id(&self, loan_id: &str) -> String {
        format!("{}:id:{loan_id}", self.tag)
    }
}

/// The queue's address and partitions.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    partitions: std::sync::Arc<[Keys]>,
    timeout: Duration,
}

impl Queue {
    /// A queue of `partitions` partitions at `url`. Nothing is connected yet.
    ///
    /// # Errors
    /// If `url` is not a Redis URL.
    pub fn new(url: &str, partitions: u32) -> Result<Self, ServiceError> {
        // A peer that vanished without a word is noticed by keep-alive and by unacknowledged data.
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(
                redis::io::tcp::socket2::TcpKeepalive::new()
                    .with_time(Duration::from_secs(10))
                    .with_interval(Duration::from_secs(5)),
            )
            .set_user_timeout(REDIS_TIMEOUT);
        Ok(Self {
            client: Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?,
            partitions: (0..partitions).map(Keys::new).collect(),
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
        self.partitions.len()
    }

    /// The partition that a loan belongs to, for good.
    pub fn partition_of(&self, loan_id: &LoanId) -> usize {
        let hash = xxh3_128(loan_id.as_str().as_bytes());
        ((hash >> 96) % self.partitions.len() as u128) as usize
    }

    /// A link of one's own, not connected yet. Commands that block need one for themselves.
    pub fn link(&self, partition: usize) -> Link {
        Link {
            queue: self.clone(),
            keys: self.partitions[partition].clone(),
            connection: None,
            timeout: self.timeout,
        }
    }
}

/// When a stream took an entry, in milliseconds since the Unix epoch: its name tells.
fn entry_ms(entry: &str) -> Option<u64> {
    entry.split('-').next()?.parse().ok()
}

/// 12 bytes that place an id in the filters of recorded loans.
fn filter_hash(loan_id: &str) -> [u8; 12] {
    let hash = xxh3_128(loan_id.as_bytes()).to_le_bytes();
    hash[..12].try_into().expect("16 bytes hold 12")
}

/// A connection to one partition that comes back by itself.
///
/// A command that failed is not repeated here, since it may have run: each caller knows what a
/// repetition means. The next command connects anew. Where Redis has lost the functions or the
/// groups (`FUNCTION FLUSH`, an empty Redis), the command did not run; they are made again and it
/// is sent once more.
#[derive(Debug)]
pub struct Link {
    queue: Queue,
    keys: Keys,
    connection: Option<MultiplexedConnection>,
    timeout: Duration,
}

impl Link {
    /// A connection that is ready: functions loaded, groups made.
    async fn ready(&mut self) -> Result<MultiplexedConnection, ServiceError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.timeout));
        let mut connection = self
            .queue
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        self.prepare(&mut connection, false).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// Makes what the functions rely on. With `reload` the library is loaded even if it is there.
    async fn prepare(
        &self,
        connection: &mut MultiplexedConnection,
        reload: bool,
    ) -> Result<(), ServiceError> {
        let mut setup = function("sluice1_setup");
        setup
            .arg(5)
            .arg(&self.keys.queued)
            .arg(&self.keys.done)
            .arg(&self.keys.failures)
            .arg(&self.keys.counters)
            .arg(&self.keys.seen);
        if !reload && run(connection, &setup).await.is_ok() {
            return Ok(());
        }
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(&*library());
        run(connection, &load).await?;
        run(connection, &setup).await?;
        Ok(())
    }

    /// Runs one command.
    async fn call(&mut self, command: &Cmd) -> Result<Value, ServiceError> {
        let mut connection = self.ready().await?;
        match run(&mut connection, command).await {
            Err(error) if has_lost_its_ground(&error) => {
                self.prepare(&mut connection, true).await?;
                Ok(run(&mut connection, command).await?)
            }
            Err(error) => {
                // After a time-out the connection still waits for the answer: start afresh.
                if error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() {
                    self.connection = None;
                }
                Err(error.into())
            }
            Ok(value) => Ok(value),
        }
    }

    /// Runs commands of a pipeline, each for itself.
    async fn call_all(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, ServiceError> {
        let mut connection = self.ready().await?;
        let answer: RedisResult<Vec<Value>> = pipeline.query_async(&mut connection).await;
        answer.map_err(|error| {
            self.connection = None;
            error.into()
        })
    }
}

/// Runs a command; an error that stands inside the answer is an error.
async fn run(connection: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    connection
        .send_packed_command(command)
        .await?
        .extract_error()
}

/// The library; with a guard switched off, without that guard's condition.
fn library() -> Cow<'static, str> {
    let mut library = Cow::Borrowed(LIBRARY);
    for (guard, condition, instead) in [
        (
            Guard::CommitFirst,
            "if held[id] == fingerprint .. 'q' .. entry then",
            "if true then",
        ),
        (
            Guard::IdRemembered,
            "if state and state ~= '?' then",
            "if false then",
        ),
    ] {
        if guard.is_off() {
            assert!(LIBRARY.contains(condition), "{guard:?} has another form");
            library = library.replace(condition, instead).into();
        }
    }
    library
}

/// A call of a function of the library.
fn function(name: &str) -> Cmd {
    let mut command = redis::cmd("FCALL");
    command.arg(name);
    command
}

/// Whether Redis said that the functions or the groups are not there, so that nothing has run.
fn has_lost_its_ground(error: &redis::RedisError) -> bool {
    error.code() == Some("NOGROUP")
        || error.detail().is_some_and(|detail| {
            detail.contains("Function not found") || detail.contains("NOGROUP")
        })
        || error.to_string().contains("Function not found")
}
