//! The queue: the only place that knows Redis.
//!
//! The transitions themselves are Redis Functions, in `queue/functions.lua`: each is atomic, and each touches the keys of
//! one partition, which share a hash tag.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::ServiceError;
use crate::limits::{CACHE_LEN_MAX, REDIS_CONNECT_TIMEOUT, REDIS_TIMEOUT};
use crate::loan::LoanId;

pub mod admission;
pub mod bundle;
mod cache;
pub mod claim;
pub mod control;
pub mod depths;
mod directory;
mod discarding;
pub mod filter;
mod forgetting;
mod former;
pub mod keys;
mod library;
pub mod nodes;
mod pairing;
pub mod recording;
pub mod refusal;
mod repartition;
pub mod results;
pub mod state;
pub mod tls;
mod topology;
mod value;

use bundle::IdHash;
use cache::Cache;
use control::LastDecision;
pub use depths::Depths;
use keys::Keys;
use library::{is_loaded, load};
use refusal::{Refusal, is_unprepared, is_without_function, told, unsent};
use tls::TlsFiles;
use topology::{Link, Shares, Topology, unreachable};

/// The queue's place and partitions.
#[derive(Clone, Debug)]
pub struct Queue {
    topology: Arc<Topology>,
    keys: Arc<[Keys]>,
    /// What this process has admitted and no worker of it has claimed yet.
    cache: Arc<Cache>,
    depths: Arc<Depths>,
    /// For each partition the most admissions that Redis has confirmed to this process.
    admissions: Arc<[AtomicU64]>,
    /// What an operator decided last, as far as this process knows.
    pause: Arc<LastDecision>,
    /// Notified when this process has set a bundle aside.
    aside: Arc<Notify>,
    timeout: Duration,
}

impl Queue {
    /// A queue of `partitions` partitions in the one Redis at `url`. Nothing is connected yet.
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
        Ok(Self::at(Topology::single(url, files)?, partitions))
    }

    /// A queue of `partitions` partitions in a Redis Cluster, to which the nodes at `urls` belong, with commas between.
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// If one of them is not a Redis URL with a host, asks for RESP3, or names a database, and if the files are not what
    /// they have to be.
    pub fn in_cluster(urls: &str, partitions: u32, files: &TlsFiles) -> Result<Self, ServiceError> {
        Ok(Self::at(Topology::cluster(urls, files)?, partitions))
    }

    fn at(topology: Topology, partitions: u32) -> Self {
        Self {
            topology: Arc::new(topology),
            keys: (0..partitions)
                .map(|number| Keys::new(number, partitions))
                .collect(),
            cache: Arc::new(Cache::new(CACHE_LEN_MAX)),
            depths: Arc::new(Depths::new(partitions as usize)),
            admissions: (0..partitions).map(|_| AtomicU64::default()).collect(),
            pause: Arc::default(),
            aside: Arc::default(),
            timeout: REDIS_TIMEOUT,
        }
    }

    /// The same queue, where Redis has this long to answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long Redis has to answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        self.keys.len()
    }

    /// How full the partitions are, and the wake-up of who waits for loans.
    pub fn depths(&self) -> Arc<Depths> {
        Arc::clone(&self.depths)
    }

    /// Returns when this process has set a bundle aside. For one who waits.
    pub(crate) async fn set_aside_here(&self) {
        self.aside.notified().await;
    }

    /// The partition that a loan belongs to, for good.
    pub fn partition_of(&self, loan_id: &LoanId) -> usize {
        self.partition_of_hash(IdHash::of(loan_id.as_str()))
    }

    /// The partition that a loan belongs to, by its id's hash.
    pub fn partition_of_hash(&self, hash: IdHash) -> usize {
        hash.partition(self.keys.len())
    }

    /// The slot of a Redis Cluster that a partition lies in.
    pub fn slot(&self, partition: usize) -> u32 {
        self.keys[partition].slot()
    }

    /// A partition over a connection of its own, not connected yet: for who writes.
    pub fn partition(&self, number: usize) -> Partition {
        Partition {
            queue: self.clone(),
            number,
            link: None,
            in_vain: None,
            shares: None,
            timeout: self.timeout,
        }
    }

    /// A partition over the connection to its node that all share who only read.
    pub fn reader(&self, number: usize) -> Partition {
        Partition {
            shares: Some(Shares::Readers),
            ..self.partition(number)
        }
    }

    /// A partition over the connection to its node that the admissions to all partitions there share: what goes out together
    /// is read together, and flushed to disk together.
    pub(crate) fn entrance(&self, number: usize) -> Partition {
        Partition {
            shares: Some(Shares::Admissions),
            ..self.partition(number)
        }
    }
}

/// One partition, over a connection that comes back by itself.
///
/// A call that failed is not repeated here, since it may have run: each caller knows what a repetition means. The next
/// call connects anew. There are two exceptions, in which the call did not run: where Redis has lost the functions or the
/// partition's keys (`FUNCTION FLUSH`, an empty Redis, a new node), they are made again and it is sent once more; and
/// where the partition is at another node of the cluster by now, it is sent there.
#[derive(Debug)]
pub struct Partition {
    queue: Queue,
    number: usize,
    link: Option<Link>,
    /// When the last link was lost, or could not be made: what was known by then of who serves the partition is old.
    in_vain: Option<Instant>,
    /// With whom it shares the connection.
    shares: Option<Shares>,
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
        self.function_with_room(name, 8, 64)
    }

    /// The same, with room for so many arguments of so many bytes in all.
    fn function_with_room(&self, name: &str, arguments: usize, bytes: usize) -> Cmd {
        let keys = self.keys().all();
        let keys_len: usize = keys.iter().map(String::len).sum();
        let mut call = library::call(name, 1 + keys.len() + arguments, 8 + keys_len + bytes);
        call.arg(keys.len());
        for key in keys {
            call.arg(key);
        }
        call
    }

    fn reads_only(&self) -> bool {
        self.shares == Some(Shares::Readers)
    }

    /// The node that it is linked to, if it is.
    pub fn node(&self) -> Option<&Arc<str>> {
        self.link.as_ref().map(|link| &link.node)
    }

    /// Gives up the connection, for all who share it: whatever was asked over it and not answered has an unknown outcome.
    pub fn disconnect(&mut self) {
        if let Some(link) = self.link.take() {
            link.give_up();
        }
        self.in_vain = Some(Instant::now());
    }

    /// A connection to the node that serves the partition, set up for the functions unless it is only read over, by `until` at
    /// the latest. Whatever goes wrong here, the call that needs it was not sent.
    async fn ready(&mut self, until: Instant) -> Result<Link, ServiceError> {
        if let Some(link) = &mut self.link {
            if link.is_open() {
                return Ok(link.clone());
            }
            self.disconnect();
        }
        let started = Instant::now();
        let until = until.min(started + REDIS_CONNECT_TIMEOUT);
        let mut link = None;
        // A Redis that stands still accepts connections and says nothing on them.
        let connected = match tokio::time::timeout_at(until, self.connect(&mut link)).await {
            Ok(connected) => connected,
            Err(_) => Err(unreachable(format!(
                "no answer within {:?}",
                until.saturating_duration_since(started)
            ))),
        };
        if let Err(error) = connected {
            if let Some(link) = link {
                // The next attempt begins afresh.
                link.give_up();
            }
            self.in_vain = Some(Instant::now());
            return Err(unsent(error));
        }
        self.link = link;
        Ok(self.link.clone().expect("whoever has connected has a link"))
    }

    /// Puts a link to the node that serves the partition into `link`. If this fails, what is there is of no use.
    async fn connect(&self, link: &mut Option<Link>) -> Result<(), ServiceError> {
        let topology = &self.queue.topology;
        let node = topology.owner(self.keys().slot(), self.in_vain).await?;
        let link = link.insert(match self.shares {
            None => topology.connect(&node).await?,
            Some(shares) => topology.shared(&node, shares).await?,
        });
        if self.reads_only() {
            return Ok(());
        }
        self.prepare(link).await
    }

    /// Makes what the functions rely on, and tells the partition what an operator decided last: it may be a new one.
    async fn prepare(&self, link: &mut Link) -> Result<(), ServiceError> {
        let Link {
            connection, node, ..
        } = link;
        let mut is_set_up = redis::cmd("HEXISTS");
        is_set_up.arg(self.keys().about()).arg("version");
        if run(connection, &is_set_up).await.map_err(told)? == Value::Int(0) {
            self.may_be_set_up(connection).await?;
        }
        let topology = &self.queue.topology;
        if topology.is_new(node) {
            if !is_loaded(connection).await? {
                load(connection).await?;
            }
            topology.note_loaded(node);
        }
        let mut prepare = self.function("prepare");
        prepare.arg(self.queue.keys.len());
        prepare.arg(uuid::Uuid::new_v4().simple().to_string());
        match run(connection, &prepare).await {
            Err(error) if is_without_function(&error) => {
                load(connection).await?;
                run(connection, &prepare).await.map_err(told)?;
            }
            answer => drop(answer.map_err(told)?),
        }
        self.follow_pause(connection).await
    }

    /// A partition that is not there may be made, unless Redis holds a queue of another shape: the first partition tells,
    /// whose keys have the same names in every queue.
    fn may_be_set_up<'a>(
        &'a self,
        connection: &'a mut MultiplexedConnection,
    ) -> BoxFuture<'a, Result<(), ServiceError>> {
        // Setting up one partition may ask another to be set up: a future that holds itself has to be boxed.
        Box::pin(async move {
            if self.number > 0 {
                let until = Instant::now() + REDIS_CONNECT_TIMEOUT;
                return self.queue.partition(0).ready(until).await.map(drop);
            }
            match former::loans(connection).await? {
                0 => Ok(()),
                loans => Err(ServiceError::RedisRefused(Refusal::FormerQueue { loans })),
            }
        })
    }

    /// Runs one command, within the time that Redis has.
    async fn call(&mut self, command: &Cmd) -> Result<Value, ServiceError> {
        let is_first_use = self.reads_only() && self.link.is_none();
        let answer = self.call_within(self.timeout, command).await;
        if is_first_use && is_broken(&answer) {
            // The shared connection was another's, and broke while nobody used it. Who only reads may ask again.
            return self.call_within(self.timeout, command).await;
        }
        answer
    }

    /// Runs one command, within `limit`.
    async fn call_within(&mut self, limit: Duration, command: &Cmd) -> Result<Value, ServiceError> {
        let until = Instant::now() + limit;
        let answer = self.call_once(until, limit, command).await;
        let is_elsewhere = matches!(
            answer,
            Err(ServiceError::RedisRefused(Refusal::Elsewhere(_)))
        );
        if is_elsewhere && self.queue.topology.is_cluster() && Instant::now() < until {
            // It did not run, and the cluster says who serves the partition now.
            return self.call_once(until, limit, command).await;
        }
        answer
    }

    /// Runs one command by `until`, the end of `limit`: a connection that has to be made first is part of it.
    async fn call_once(
        &mut self,
        until: Instant,
        limit: Duration,
        command: &Cmd,
    ) -> Result<Value, ServiceError> {
        let mut link = self.ready(until).await?;
        let called = async {
            match run(&mut link.connection, command).await {
                Err(error) if is_unprepared(&error) => {
                    let again = async {
                        if is_without_function(&error) {
                            load(&mut link.connection).await?;
                        }
                        self.prepare(&mut link).await
                    };
                    again.await.map_err(unsent)?;
                    run(&mut link.connection, command).await.map_err(told)
                }
                answer => answer.map_err(told),
            }
        };
        let answer = tokio::time::timeout_at(until, called)
            .await
            .unwrap_or(Err(ServiceError::RedisTimeout(limit)));
        self.keep_or_drop(answer)
    }

    /// Runs commands of a pipeline, each for itself. The first one that failed is the error.
    async fn call_all(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, ServiceError> {
        let is_first_use = self.reads_only() && self.link.is_none();
        let answer = self.call_all_once(pipeline).await;
        if is_first_use && is_broken(&answer) {
            return self.call_all_once(pipeline).await;
        }
        answer
    }

    async fn call_all_once(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, ServiceError> {
        let until = Instant::now() + self.timeout;
        let mut link = self.ready(until).await?;
        let called = async {
            link.connection
                .send_packed_commands(pipeline, 0, pipeline.len())
                .await
                .map_err(told)?
                .into_iter()
                // Of a single error more is known than of a pipeline's.
                .map(|answer| answer.extract_error().map_err(told))
                .collect()
        };
        let answer = tokio::time::timeout_at(until, called)
            .await
            .unwrap_or(Err(ServiceError::RedisTimeout(self.timeout)));
        self.keep_or_drop(answer)
    }

    /// After a time-out the connection still waits for the answer, and a Redis that has become a replica stays one: the
    /// next call connects afresh, to whoever serves the partition then.
    fn keep_or_drop<T>(&mut self, answer: Result<T, ServiceError>) -> Result<T, ServiceError> {
        let is_lost = match &answer {
            Ok(_) => false,
            Err(ServiceError::Redis(error)) => {
                error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
            }
            Err(ServiceError::RedisRefused(refusal)) => {
                matches!(
                    refusal,
                    Refusal::Elsewhere(_) | Refusal::Unreachable(_) | Refusal::Unprepared(_)
                )
            }
            Err(_) => true,
        };
        if is_lost {
            self.disconnect();
        } else if let Some(link) = &mut self.link {
            link.note_open();
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
