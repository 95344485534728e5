//! Redis and MongoDB read directly, past the service: what is left, what is stored, how they are set.
//!
//! The one place that knows the keys of the queue and the documents of the records.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use mongodb::error::ErrorKind;
use mongodb::options::{
    Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use plan::faults::REFUSED_AMOUNT_MINOR;
use plan::payload::{FIELDS, Form, Kept};
use record::stored::{Record, StoredFailure, StoredFault, StoredLoan};
use redis::aio::{ConnectionLike, ConnectionManager};
use serde_json::Value;
use snapshot::Counters;
use tokio_rustls::rustls::crypto::ring;
use url::Url;

use crate::masters::Masters;

/// How long one command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long MongoDB may take for the next records.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// What finds the partitions: each has one such key.
const PARTITIONS: &str = "{l:*}:about";
/// A ticket of a bundle begins with its place in the line; then come how often it was given out, since when it is held,
/// and by whom.
const PLACE_LEN: usize = 12 + 2 + 8;
/// The collection of accepted loans.
pub const LOANS: &str = "loans";
/// The collection of failures.
pub const FAILURES: &str = "failures";
/// The collection of what MongoDB knows of the queue.
const QUEUE: &str = "queue";
/// The collection of batches, with when each was confirmed.
const BATCHES: &str = "record_batches";
/// The most loans of one partition that are named when the drain did not end.
const STUCK_MAX: usize = 10_000;

/// Why a store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis: it does not answer, or it refuses.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// MongoDB: it does not answer, or it refuses.
    #[error("MongoDB: {0}")]
    Mongo(String),
    /// One of them cannot be reached at its address.
    #[error("{store} at {at}: {why}")]
    Unreached {
        /// `Redis` or `MongoDB`.
        store: &'static str,
        /// Its hosts, without a user's name and password.
        at: String,
        /// Why not.
        why: String,
    },
    /// MongoDB's address is none, or none that this build can use.
    #[error("MongoDB's address cannot be used: {0}")]
    Address(String),
    /// MongoDB keeps its connection and says nothing.
    #[error("MongoDB has said nothing for {0:?}")]
    Silent(Duration),
}

impl From<mongodb::error::Error> for StoreError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Mongo(match *error.kind {
            ErrorKind::ServerSelection { .. } => "none of its servers can be reached".to_owned(),
            ErrorKind::InvalidArgument { message, .. }
            | ErrorKind::Authentication { message, .. } => message,
            other => other.to_string(),
        })
    }
}

/// What is wrong with an address of MongoDB, without what stands there: a password may.
fn wrong_address(error: &mongodb::error::Error) -> StoreError {
    let words = match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. } => message.clone(),
        other => other.to_string(),
    };
    if words.contains("dns-resolver") {
        return StoreError::Address(
            "this build does not ask for the hosts of a mongodb+srv://: write them out, mongodb://HOST,HOST/?replicaSet=NAME"
                .to_owned(),
        );
    }
    let words = words.split(", got ").next().unwrap_or_default();
    let words = words.split("pair: ").next().unwrap_or_default();
    let about_host = words.strip_prefix("invalid server address ");
    let told = about_host.and_then(|told| told.rsplit(": ").next());
    StoreError::Address(told.unwrap_or(words).to_owned())
}

/// How MongoDB at `uri` is asked: of the primary, and of what a majority has, whatever the address says. Another member may not have
/// heard yet of what is recorded, and its loans would be taken for lost.
async fn options_of(uri: &str) -> Result<ClientOptions, StoreError> {
    let options = ClientOptions::parse(uri).await;
    let mut options = options.map_err(|error| wrong_address(&error))?;
    options.server_selection_timeout = Some(COMMAND_TIMEOUT);
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = Some(ReadConcern::majority());
    // A majority that is away is waited for no longer than a server that is away.
    options.write_concern = Some(
        WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .w_timeout(COMMAND_TIMEOUT)
            .build(),
    );
    Ok(options)
}

/// The hosts of one address of Redis, or of some with commas between. Nothing else that stands there is shown: a password may.
fn redis_hosts(urls: &str) -> String {
    // A password may hold a sign that parts the address in another place: then a piece is none, or an @ stands behind the host.
    let host = |url: &str| {
        let url = Url::parse(url.trim()).ok()?;
        let behind = [Some(url.path()), url.query(), url.fragment()];
        let is_whole = !behind.into_iter().flatten().any(|part| part.contains('@'));
        let port = url.port().unwrap_or(6379);
        is_whole.then_some(format!("{}:{port}", url.host_str()?))
    };
    let hosts: Option<Vec<String>> = urls.split(',').map(host).collect();
    hosts.map_or_else(|| "its address".to_owned(), |hosts| hosts.join(","))
}

/// What waits in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Loans, for a worker.
    Loans,
    /// Results, for MongoDB.
    Results,
}

impl Waits {
    /// The counters of these loans.
    fn states(self) -> &'static [&'static str] {
        match self {
            Self::Loans => &["queued", "claimed"],
            Self::Results => &["decided"],
        }
    }

    /// The sorted set of the bundles that somebody may hold.
    fn leases(self) -> &'static str {
        match self {
            Self::Loans => "claimed",
            Self::Results => "decided",
        }
    }
}

/// Puts what is no bundle's place in front of each partition's line. Answers how many there are.
pub(crate) async fn spoil_line(redis: &mut impl ConnectionLike) -> redis::RedisResult<u64> {
    let tags = tags(redis).await?;
    for tag in &tags {
        let _: u64 = redis::cmd("LPUSH")
            .arg(format!("{tag}waiting"))
            .arg("by another hand")
            .query_async(redis)
            .await?;
    }
    Ok(tags.len() as u64)
}

/// How many entries that are no bundle's place stand aside.
pub(crate) async fn places_set_aside(redis: &mut impl ConnectionLike) -> redis::RedisResult<u64> {
    let mut sum = 0;
    for tag in tags(redis).await? {
        let count: Option<u64> = redis::cmd("HGET")
            .arg(format!("{tag}counters"))
            .arg("set_aside_places")
            .query_async(redis)
            .await?;
        sum += count.unwrap_or(0);
    }
    Ok(sum)
}

/// The libraries of functions of the service that Redis has.
pub(crate) async fn libraries(redis: &mut impl ConnectionLike) -> redis::RedisResult<Vec<String>> {
    let list: Vec<HashMap<String, redis::Value>> = redis::cmd("FUNCTION")
        .arg("LIST")
        .arg("LIBRARYNAME")
        .arg("sluice_*")
        .query_async(redis)
        .await?;
    list.iter()
        .filter_map(|library| library.get("library_name"))
        .map(redis::from_redis_value_ref)
        .collect::<Result<_, _>>()
        .map_err(Into::into)
}

/// What the keys of each partition begin with.
async fn tags(redis: &mut impl ConnectionLike) -> redis::RedisResult<Vec<String>> {
    // A queue has few keys, however many loans it holds.
    let mut keys: Vec<String> = redis::cmd("KEYS")
        .arg(PARTITIONS)
        .query_async(redis)
        .await?;
    keys.sort_unstable();
    Ok(keys
        .into_iter()
        .filter_map(|key| Some(key.strip_suffix("about")?.to_owned()))
        .collect())
}

/// How many loans wait.
///
/// # Errors
/// When Redis does not answer.
pub async fn waiting(masters: &Masters, what: &[Waits]) -> redis::RedisResult<u64> {
    let mut sum = 0;
    for mut redis in masters.all().await? {
        sum += waiting_at(&mut redis, what).await?;
    }
    Ok(sum)
}

async fn waiting_at(redis: &mut impl ConnectionLike, what: &[Waits]) -> redis::RedisResult<u64> {
    let mut sum = 0;
    for tag in tags(redis).await? {
        for state in what.iter().flat_map(|waits| waits.states()) {
            let count: Option<i64> = redis::cmd("HGET")
                .arg(format!("{tag}counters"))
                .arg(state)
                .query_async(redis)
                .await?;
            sum += count.unwrap_or_default().max(0) as u64;
        }
    }
    Ok(sum)
}

/// How many bundles have been in someone's hands, untouched, for longer than `idle`.
///
/// # Errors
/// When Redis does not answer.
pub async fn in_hand(masters: &Masters, what: Waits, idle: Duration) -> redis::RedisResult<u64> {
    let mut held = 0;
    for mut redis in masters.all().await? {
        held += in_hand_at(&mut redis, what, idle).await?;
    }
    Ok(held)
}

async fn in_hand_at(
    redis: &mut impl ConnectionLike,
    what: Waits,
    idle: Duration,
) -> redis::RedisResult<u64> {
    let mut held = 0;
    for tag in tags(redis).await? {
        let (seconds, microseconds): (u64, u64) = redis::cmd("TIME").query_async(redis).await?;
        let now_ms = seconds * 1000 + microseconds / 1000;
        let names: Vec<Vec<u8>> = redis::cmd("ZRANGE")
            .arg(format!("{tag}{}", what.leases()))
            .arg(0)
            .arg(1000)
            .query_async(redis)
            .await?;
        for name in names {
            let ticket: Option<Vec<u8>> = redis::cmd("HGET")
                .arg(format!("{tag}tickets"))
                .arg(&name)
                .query_async(redis)
                .await?;
            held += u64::from(ticket.is_some_and(|ticket| {
                held_since_ms(&ticket)
                    .is_some_and(|since_ms| since_ms + idle.as_millis() as u64 <= now_ms)
            }));
        }
    }
    Ok(held)
}

/// A counter of each partition that a Redis holds, by what the partition's keys begin with.
///
/// # Errors
/// When Redis does not answer.
pub async fn counter_at(
    redis: &mut impl ConnectionLike,
    names: &[&str],
) -> redis::RedisResult<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for tag in tags(redis).await? {
        let counted: Vec<Option<u64>> = redis::cmd("HMGET")
            .arg(format!("{tag}counters"))
            .arg(names)
            .query_async(redis)
            .await?;
        counts.insert(tag, counted.into_iter().flatten().sum());
    }
    Ok(counts)
}

/// Since when the ticket's bundle is held, if somebody holds it.
fn held_since_ms(ticket: &[u8]) -> Option<u64> {
    let since = ticket.get(PLACE_LEN + 1..PLACE_LEN + 9)?;
    let since_ms = u64::from_be_bytes(since.try_into().ok()?);
    (since_ms > 0).then_some(since_ms)
}

/// The stores of one service.
#[derive(Clone)]
pub struct Stores {
    redis: Masters,
    database: mongodb::Database,
}

/// What Redis says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisFacts {
    /// Version, and of a cluster its shape. Where nodes differ all versions, with commas between.
    pub version: String,
    /// `always`, `everysec`, `no`, or `off`; where nodes differ all of them.
    pub appendfsync: String,
}

impl Stores {
    /// Connects to both and checks that they answer.
    ///
    /// # Errors
    /// When one of them does not.
    pub async fn connect(
        redis_url: &str,
        mongodb_uri: &str,
        database: &str,
    ) -> Result<Self, StoreError> {
        // Over TLS both take the process's own implementation of it, and panic where there is none. One may have been chosen.
        let _ = ring::default_provider().install_default();
        let options = options_of(mongodb_uri).await?;
        let redis = Masters::connect(redis_url)
            .await
            .map_err(|error| StoreError::Unreached {
                store: "Redis",
                at: redis_hosts(redis_url),
                why: error.to_string(),
            })?;
        let hosts: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
        let database = mongodb::Client::with_options(options)?.database(database);
        database
            .run_command(doc! { "ping": 1 })
            .await
            .map_err(|error| match StoreError::from(error) {
                StoreError::Mongo(why) => StoreError::Unreached {
                    store: "MongoDB",
                    at: hosts.join(","),
                    why,
                },
                other => other,
            })?;
        Ok(Self { redis, database })
    }

    /// What the keys of each partition begin with, and the Redis that holds it.
    async fn partitions(&self) -> Result<Vec<(ConnectionManager, String)>, StoreError> {
        let mut partitions = Vec::new();
        for mut redis in self.redis.all().await? {
            for tag in tags(&mut redis).await? {
                partitions.push((redis.clone(), tag));
            }
        }
        Ok(partitions)
    }

    /// Loans that are queued, in flight or not recorded yet. Zero when nothing is left.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn backlog(&self) -> Result<u64, StoreError> {
        let mut left = 0;
        for (mut redis, tag) in self.partitions().await? {
            let counted: Vec<Option<i64>> = redis::cmd("HMGET")
                .arg(format!("{tag}counters"))
                .arg(&["queued", "claimed", "decided"])
                .query_async(&mut redis)
                .await?;
            let counted: i64 = counted.into_iter().flatten().sum();
            // What is counted is not taken on trust: a bundle that is there is at least one loan.
            let mut there = 0;
            for (word, key) in [
                ("HLEN", "bundles"),
                ("LLEN", "waiting"),
                ("ZCARD", "claimed"),
                ("ZCARD", "decided"),
            ] {
                let len: u64 = redis::cmd(word)
                    .arg(format!("{tag}{key}"))
                    .query_async(&mut redis)
                    .await?;
                there = len.max(there);
            }
            left += there.max(counted.max(0) as u64);
        }
        Ok(left)
    }

    /// The ids of loans that Redis still holds, at most ten thousand of each partition.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn stuck(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut ids = BTreeSet::new();
        for (mut redis, tag) in self.partitions().await? {
            let held: Vec<String> = redis::cmd("HKEYS")
                .arg(format!("{tag}ids"))
                .query_async(&mut redis)
                .await?;
            ids.extend(held.into_iter().take(STUCK_MAX));
        }
        Ok(ids)
    }

    /// The counters that every instance adds to, as Redis holds them.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn counters(&self) -> Result<Counters, StoreError> {
        let mut counters = Counters::default();
        let mut unrecordable = 0;
        for (mut redis, tag) in self.partitions().await? {
            let all: BTreeMap<String, i64> = redis::cmd("HGETALL")
                .arg(format!("{tag}counters"))
                .query_async(&mut redis)
                .await?;
            for (name, count) in all {
                let sum = match name.as_str() {
                    "admitted" => &mut counters.admitted,
                    "replayed" => &mut counters.replayed,
                    "accepted" => &mut counters.accepted,
                    "unrecordable" => &mut unrecordable,
                    "retried" => &mut counters.retried,
                    "discarded" => &mut counters.discarded,
                    "recorded_loans" => &mut counters.recorded_loans,
                    "recorded_failures" => &mut counters.recorded_failures,
                    "redelivered" => &mut counters.redelivered,
                    "lost_commit_races" => &mut counters.lost_commit_races,
                    "duplicate_keys" => &mut counters.duplicate_keys,
                    "set_aside" => &mut counters.set_aside,
                    _ => match name.strip_prefix("failed:") {
                        Some(category) => counters.failed.entry(category.to_owned()).or_default(),
                        None => continue,
                    },
                };
                *sum += count.max(0) as u64;
            }
        }
        // What MongoDB refused for good is a failure in the end.
        counters.accepted = counters.accepted.saturating_sub(unrecordable);
        Ok(counters)
    }

    /// The ids of loans that Redis still holds and whose id begins with `prefix`. Cheap only while Redis holds few.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn backlog_of(&self, prefix: &str) -> Result<u64, StoreError> {
        let held = self.stuck().await?;
        Ok(held.iter().filter(|id| id.starts_with(prefix)).count() as u64)
    }

    /// Whether the instance of the service that calls itself `shown` says in this Redis that it is alive.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn has_instance(&self, shown: &str) -> Result<bool, StoreError> {
        for (mut redis, tag) in self.partitions().await? {
            let alive: Vec<Vec<u8>> = redis::cmd("HKEYS")
                .arg(format!("{tag}instances"))
                .query_async(&mut redis)
                .await?;
            let is_it = |id: &Vec<u8>| {
                let digits = id.iter().fold(String::new(), |mut digits, byte| {
                    let _ = write!(digits, "{byte:02x}");
                    digits
                });
                digits.contains(shown)
            };
            if alive.iter().any(is_it) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes a failure of a loan that nobody sent, for the service to be asked of it.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn put_marker(&self, loan_id: &str) -> Result<(), StoreError> {
        let mut marker = failure_document(loan_id, "poison");
        marker.insert("faults", Vec::<Bson>::new());
        for at in ["receivedAt", "failedAt"] {
            marker.insert(at, DateTime::now());
        }
        self.database
            .collection::<Document>(FAILURES)
            .insert_one(marker)
            .await?;
        Ok(())
    }

    /// Takes away what [`Stores::put_marker`] wrote.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn take_marker(&self, loan_id: &str) -> Result<(), StoreError> {
        self.database
            .collection::<Document>(FAILURES)
            .delete_one(doc! { "loanId": loan_id })
            .await?;
        Ok(())
    }

    /// Makes MongoDB refuse some loans for good, those whose amount is a multiple of [`REFUSED_AMOUNT_MINOR`], or none any
    /// more.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub(crate) async fn refuse_loans(&self, refuses: bool) -> Result<(), StoreError> {
        let validator = if refuses {
            doc! { "amountMinor": { "$not": { "$mod": [REFUSED_AMOUNT_MINOR, 0_i64] } } }
        } else {
            doc! {}
        };
        let change = doc! { "collMod": LOANS, "validator": validator };
        self.database.run_command(change).await?;
        Ok(())
    }

    /// How many loans stand among the failures since MongoDB refused them for good.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub(crate) async fn refused_count(&self) -> Result<u64, StoreError> {
        Ok(self
            .database
            .collection::<Document>(FAILURES)
            .count_documents(doc! { "errorType": "refused" })
            .await?)
    }

    /// What both stores say of the shape of the queue: version and number of partitions.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub(crate) async fn shape(&self) -> Result<Vec<String>, StoreError> {
        let mut shape = Vec::new();
        for (mut redis, tag) in self.partitions().await? {
            let about: Vec<Option<String>> = redis::cmd("HMGET")
                .arg(format!("{tag}about"))
                .arg(&["version", "partitions", "era"])
                .query_async(&mut redis)
                .await?;
            shape.push(format!("{tag} {about:?}"));
        }
        let queue = self.database.collection::<Document>(QUEUE);
        let noted = queue.find_one(doc! { "_id": "queue" }).await?;
        shape.push(noted.unwrap_or_default().to_string());
        Ok(shape)
    }

    /// About how many records there are, of loans and of failures, without counting them one by one.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn records_estimated(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for collection in [LOANS, FAILURES] {
            count += self
                .database
                .collection::<Document>(collection)
                .estimated_document_count()
                .await?;
        }
        Ok(count)
    }

    /// How many records there are, of loans and of failures.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn records_count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for collection in [LOANS, FAILURES] {
            count += self
                .database
                .collection::<Document>(collection)
                .count_documents(doc! {})
                .await?;
        }
        Ok(count)
    }

    /// `used_memory` of Redis, in a cluster of all masters, bytes.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn redis_memory_bytes(&self) -> Result<Option<u64>, StoreError> {
        let mut sum = 0;
        for redis in self.redis.all().await? {
            let info = info(redis, "memory").await?;
            let used = field(&info, "used_memory").and_then(|bytes| bytes.parse::<u64>().ok());
            let Some(used) = used else {
                return Ok(None);
            };
            sum += used;
        }
        Ok(Some(sum))
    }

    /// What Redis says of itself; in a cluster every node, replicas too.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn redis_facts(&self) -> Result<RedisFacts, StoreError> {
        let (mut versions, mut syncs) = (BTreeSet::new(), BTreeSet::new());
        for redis in self.redis.nodes().await? {
            let server = info(redis.clone(), "server").await?;
            let version = match field(&server, "valkey_version") {
                Some(valkey) => format!("Valkey {valkey}"),
                None => field(&server, "redis_version")
                    .unwrap_or_default()
                    .to_owned(),
            };
            versions.insert(version);
            syncs.insert(appendfsync(redis).await?);
        }
        let joined = |all: BTreeSet<String>| all.into_iter().collect::<Vec<_>>().join(", ");
        let mut version = joined(versions);
        if self.redis.is_cluster() {
            let members = self.redis.members().await?;
            let (masters, replicas) = (members.masters.len(), members.replicas.len());
            version = format!("{version}, a cluster of {masters} masters and {replicas} replicas");
        }
        Ok(RedisFacts {
            version,
            appendfsync: joined(syncs),
        })
    }

    /// Version of MongoDB, and of a replica set how many members it has.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn mongodb_version(&self) -> Result<String, StoreError> {
        let answer = self.database.run_command(doc! { "buildInfo": 1 }).await?;
        let version = answer.get_str("version").unwrap_or_default();
        let hello = self.database.run_command(doc! { "hello": 1 }).await?;
        let members = hello.get_array("hosts").map_or(0, Vec::len);
        Ok(if members > 0 {
            format!("{version}, a replica set of {members}")
        } else {
            version.to_owned()
        })
    }

    /// Whether MongoDB has a record, good or failed, of a loan whose id begins with `prefix`.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn has_records_of(&self, prefix: &str) -> Result<bool, StoreError> {
        for collection in [LOANS, FAILURES] {
            let mut records = self.records(collection, Some(prefix)).await?;
            if records.next().await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The records of `collection` one by one in the order of their ids, with their ids starting with `prefix` when one
    /// is given.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn records(
        &self,
        collection: &'static str,
        prefix: Option<&str>,
    ) -> Result<Records, StoreError> {
        let filter = prefix.map_or_else(
            || doc! {},
            // The character after '-' ends the range of the prefix.
            |prefix| doc! { "_id": { "$gte": prefix, "$lt": format!("{}.", prefix.trim_end_matches('-')) } },
        );
        Ok(Records {
            cursor: self
                .database
                .collection::<Document>(collection)
                .find(filter)
                .sort(doc! { "_id": 1 })
                .batch_size(RECORDS_AT_ONCE as u32)
                .await?,
            are_loans: collection == LOANS,
            read: VecDeque::new(),
            batches: None,
        })
    }
}

async fn info(mut redis: ConnectionManager, section: &str) -> Result<String, StoreError> {
    let mut info = redis::cmd("INFO");
    Ok(info.arg(section).query_async(&mut redis).await?)
}

async fn appendfsync(mut redis: ConnectionManager) -> Result<String, StoreError> {
    let persistence = info(redis.clone(), "persistence").await?;
    if field(&persistence, "aof_enabled") != Some("1") {
        return Ok("off".to_owned());
    }
    let answer: Vec<String> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("appendfsync")
        .query_async(&mut redis)
        .await
        // A managed Redis may forbid CONFIG.
        .unwrap_or_default();
    Ok(answer
        .get(1)
        .cloned()
        .unwrap_or_else(|| "unknown".to_owned()))
}

/// Records that are read at once.
const RECORDS_AT_ONCE: usize = 2_000;
/// Batches whose confirmation is remembered while the records are read: those of neighbours in time.
const BATCHES_MAX: usize = 50_000;

/// Records, one by one. A bounded number of them is in memory.
pub struct Records {
    cursor: mongodb::Cursor<Document>,
    are_loans: bool,
    read: VecDeque<Document>,
    batches: Option<Batches>,
}

/// When MongoDB confirmed batches, microseconds since the Unix epoch, as far as records ask for them.
struct Batches {
    collection: mongodb::Collection<Document>,
    known: HashMap<ObjectId, i64>,
}

impl Batches {
    /// Makes known what the records in `read` ask for.
    async fn look_up(&mut self, read: &VecDeque<Document>) -> Result<(), StoreError> {
        let wanted: BTreeSet<ObjectId> = read
            .iter()
            .filter_map(|record| record.get_object_id("batch").ok())
            .filter(|batch| !self.known.contains_key(batch))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        if self.known.len() > BATCHES_MAX {
            self.known.clear();
            // Those of this read that were known are forgotten with the others.
            return Box::pin(self.look_up(read)).await;
        }
        let wanted: Vec<Bson> = wanted.into_iter().map(Bson::ObjectId).collect();
        let mut found = self
            .collection
            .find(doc! { "_id": { "$in": wanted } })
            .projection(doc! { "confirmedAtUs": 1 })
            .await?;
        while let Some(batch) = found.try_next().await? {
            if let (Ok(id), Ok(confirmed_us)) =
                (batch.get_object_id("_id"), batch.get_i64("confirmedAtUs"))
            {
                self.known.insert(id, confirmed_us);
            }
        }
        Ok(())
    }

    /// Of the batch that holds a record. Without its batch, a record's confirmation was not seen: the service ended in
    /// between.
    fn of(&self, record: &Document) -> Option<i64> {
        self.known
            .get(&record.get_object_id("batch").ok()?)
            .copied()
    }
}

impl Records {
    /// Says of each record when MongoDB confirmed it.
    #[must_use]
    pub fn with_confirmations(mut self, stores: &Stores) -> Self {
        self.batches = Some(Batches {
            collection: stores.database.collection(BATCHES),
            known: HashMap::new(),
        });
        self
    }

    /// The next one.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn next(&mut self) -> Result<Option<Record>, StoreError> {
        if self.read.is_empty() {
            tokio::time::timeout(READ_TIMEOUT, self.read_on())
                .await
                .map_err(|_| StoreError::Silent(READ_TIMEOUT))??;
        }
        Ok(self.read.pop_front().map(|document| {
            let batches = self.batches.as_ref();
            let confirmed_us = batches.and_then(|batches| batches.of(&document));
            if self.are_loans {
                Record::Loan(loan(&document, confirmed_us))
            } else {
                Record::Failure(failure(&document, confirmed_us))
            }
        }))
    }

    async fn read_on(&mut self) -> Result<(), StoreError> {
        while self.read.len() < RECORDS_AT_ONCE
            && let Some(document) = self.cursor.try_next().await?
        {
            self.read.push_back(document);
        }
        match &mut self.batches {
            Some(batches) => batches.look_up(&self.read).await,
            None => Ok(()),
        }
    }
}

/// The applicant's fields stand in a document of their own.
const APPLICANT: &str = "applicant";

fn loan(document: &Document, confirmed_us: Option<i64>) -> StoredLoan {
    let nothing = Document::new();
    let applicant = document.get_document(APPLICANT).unwrap_or(&nothing);
    StoredLoan {
        id: text(document, "_id").unwrap_or_default(),
        attempt: whole(document, "attempt").unwrap_or(1),
        confirmed_us,
        fields: Box::new(FIELDS.map(|field| {
            let (document, key) = match field.stored.split_once('.') {
                Some((_, key)) => (applicant, key),
                None => (document, field.stored),
            };
            match field.form {
                Form::Text => text(document, key).map(|text| Kept::Text(text.into())),
                Form::Whole | Form::Money => whole(document, key).map(Kept::Whole),
            }
        })),
    }
}

fn failure(document: &Document, confirmed_us: Option<i64>) -> StoredFailure {
    StoredFailure {
        id: text(document, "_id").unwrap_or_default(),
        attempt: whole(document, "attempt").unwrap_or(1),
        confirmed_us,
        error_type: text(document, "errorType").unwrap_or_default(),
        faults: document
            .get_array("faults")
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(Bson::as_document)
            .map(|fault| StoredFault {
                error_type: text(fault, "errorType"),
                field: text(fault, "field"),
            })
            .collect(),
        discarded: document.contains_key("discarded"),
    }
}

fn text(document: &Document, key: &str) -> Option<String> {
    document.get_str(key).ok().map(str::to_owned)
}

/// An integer of any width.
fn whole(document: &Document, key: &str) -> Option<i64> {
    match document.get(key) {
        Some(Bson::Int32(value)) => Some(i64::from(*value)),
        Some(Bson::Int64(value)) => Some(*value),
        _ => None,
    }
}

/// Writes records as the service does, for a stand-in of it.
pub(crate) struct Recording(mongodb::Database);

impl Recording {
    /// Connects to MongoDB.
    pub(crate) async fn connect(uri: &str, database: &str) -> mongodb::error::Result<Self> {
        Ok(Self(
            mongodb::Client::with_uri_str(uri).await?.database(database),
        ))
    }

    /// One batch, confirmed at `confirmed_us`, microseconds since the Unix epoch.
    pub(crate) async fn record(
        &self,
        mut loans: Vec<Document>,
        failures: Vec<Document>,
        confirmed_us: i64,
    ) -> mongodb::error::Result<()> {
        let batch = ObjectId::new();
        for loan in &mut loans {
            loan.insert("batch", batch);
        }
        for (collection, documents) in [(LOANS, loans), (FAILURES, failures)] {
            if !documents.is_empty() {
                self.0
                    .collection::<Document>(collection)
                    .insert_many(documents)
                    .await?;
            }
        }
        self.0
            .collection::<Document>(BATCHES)
            .insert_one(
                doc! { "_id": batch, "confirmedAtUs": confirmed_us, "confirmedAt": DateTime::now() },
            )
            .await?;
        Ok(())
    }
}

/// The failure of a loan's first attempt.
pub(crate) fn failure_document(loan_id: &str, error_type: &str) -> Document {
    doc! { "_id": format!("{loan_id}#1"), "loanId": loan_id, "attempt": 1, "errorType": error_type }
}

/// The record of a good loan, as the contract has it; `None` for any other.
pub fn loan_document(loan: &Value) -> Option<Document> {
    let mut stored = doc! { "_id": loan["loanId"].as_str()?, "attempt": 1 };
    let mut applicant = Document::new();
    for field in FIELDS {
        let value = match field.sent.split_once('.') {
            Some((object, key)) => &loan[object][key],
            None => &loan[field.sent],
        };
        let kept = match field.form {
            Form::Text => value.as_str().map(Bson::from),
            Form::Whole => value.as_i64().map(Bson::from),
            Form::Money => value
                .as_f64()
                .map(|units| Bson::from((units * 100.0).round() as i64)),
        };
        match (kept, field.stored.split_once('.')) {
            (None, _) if field.is_required => return None,
            (None, _) => {}
            (Some(kept), Some((_, key))) => _ = applicant.insert(key, kept),
            (Some(kept), None) => _ = stored.insert(field.stored, kept),
        }
    }
    stored.insert(APPLICANT, applicant);
    Some(stored)
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_store_could_not_be_read_is_in_its_words() {
        let redis = redis::RedisError::from(std::io::Error::other("the network is down"));
        assert_eq!(
            StoreError::from(redis).to_string(),
            "Redis: the network is down"
        );
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (urls, shown) in [
            ("redis://127.0.0.1:9/", "127.0.0.1:9"),
            ("rediss://joe:secret@a", "a:6379"),
            ("redis://:secret@a:1, redis://:secret@b:2/0", "a:1,b:2"),
            ("redis://:se,cret@a:1", "its address"),
            ("redis://joe:12345,rest@a", "its address"),
            ("redis://joe:1234/x@a", "its address"),
            ("redis://joe:1234?x@a", "its address"),
            ("redis://joe@b:1,redis://a:1/?x=y", "b:1,a:1"),
            ("redis+unix:///run/redis?pass=secret", "its address"),
        ] {
            assert_eq!(redis_hosts(urls), shown, "{urls}");
        }
    }

    /// What an address asks for cannot make the audit look elsewhere.
    #[tokio::test]
    async fn the_audit_reads_what_a_majority_has_of_the_primary() {
        let uri = "mongodb://127.0.0.1:1/?readPreference=secondary&readConcernLevel=local&w=0&journal=false";
        let options = options_of(uri).await.expect("a good address");
        let client = mongodb::Client::with_options(options).expect("good options");
        let database = client.database("sluice");
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        assert_eq!(database.selection_criteria(), Some(&primary));
        assert_eq!(database.read_concern(), Some(&ReadConcern::majority()));
        let written = database.write_concern().expect("one is set");
        assert_eq!(written.w, Some(Acknowledgment::Majority));
        assert_eq!(written.journal, None);
    }

    #[test]
    fn info_is_read_by_whole_names() {
        let info = "used_memory_human:1M\r\nused_memory:17\r\n";
        assert_eq!(field(info, "used_memory"), Some("17"));
        assert_eq!(field(info, "memory"), None);
    }
}
