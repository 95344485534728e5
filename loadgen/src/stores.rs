//! Redis and MongoDB read directly, past the service: what is left, what is stored, how they are set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc, oid::ObjectId};
use redis::aio::ConnectionManager;
use service::snapshot::Counters;

/// How long one command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// The streams of a partition and the group that reads each.
const STREAMS: [(&str, &str); 3] = [("q", "w"), ("done", "m"), ("flog", "m")];
/// The most entries of one stream that are named when the drain did not end.
const STUCK_MAX: usize = 10_000;

/// Why a store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis.
    #[error("Redis does not answer")]
    Redis(#[from] redis::RedisError),
    /// MongoDB.
    #[error("MongoDB does not answer")]
    Mongo(#[from] mongodb::error::Error),
}

/// The stores of one service.
#[derive(Clone)]
pub struct Stores {
    redis: ConnectionManager,
    database: mongodb::Database,
    partitions: u32,
}

/// What Redis says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisFacts {
    /// Version.
    pub version: String,
    /// `always`, `everysec`, `no`, or `off`.
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
        partitions: u32,
    ) -> Result<Self, StoreError> {
        let config = redis::aio::ConnectionManagerConfig::new()
            .set_number_of_retries(2)
            .set_response_timeout(Some(COMMAND_TIMEOUT))
            .set_connection_timeout(Some(COMMAND_TIMEOUT));
        let redis = redis::Client::open(redis_url)?
            .get_connection_manager_with_config(config)
            .await?;
        let mut options = mongodb::options::ClientOptions::parse(mongodb_uri).await?;
        options.server_selection_timeout = Some(COMMAND_TIMEOUT);
        let database = mongodb::Client::with_options(options)?.database(database);
        database.run_command(doc! { "ping": 1 }).await?;
        Ok(Self {
            redis,
            database,
            partitions,
        })
    }

    /// Loans that are queued, in flight or not recorded yet. Zero when nothing is left.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn backlog(&self) -> Result<u64, StoreError> {
        let mut redis = self.redis.clone();
        let mut left = 0;
        for partition in 0..self.partitions {
            for (stream, group) in STREAMS {
                let key = format!("{{l:{partition}}}:{stream}");
                let length: u64 = redis::cmd("XLEN").arg(&key).query_async(&mut redis).await?;
                // An entry that is pending is still in the stream, unless something is wrong with the queue.
                let pending: Result<redis::Value, _> = redis::cmd("XPENDING")
                    .arg(&key)
                    .arg(group)
                    .query_async(&mut redis)
                    .await;
                let pending = match pending {
                    Ok(redis::Value::Array(summary)) => match summary.first() {
                        Some(redis::Value::Int(count)) => (*count).max(0) as u64,
                        _ => 0,
                    },
                    // A stream that was never written has no group.
                    Ok(_) => 0,
                    Err(error) if error.code() == Some("NOGROUP") => 0,
                    Err(error) => return Err(error.into()),
                };
                left += length.max(pending);
            }
        }
        Ok(left)
    }

    /// The ids of loans that are still in the streams, at most ten thousand of each.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn stuck(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut redis = self.redis.clone();
        let mut ids = BTreeSet::new();
        for partition in 0..self.partitions {
            for (stream, _) in STREAMS {
                let entries: redis::streams::StreamRangeReply = redis::cmd("XRANGE")
                    .arg(format!("{{l:{partition}}}:{stream}"))
                    .arg("-")
                    .arg("+")
                    .arg("COUNT")
                    .arg(STUCK_MAX)
                    .query_async(&mut redis)
                    .await?;
                ids.extend(
                    entries
                        .ids
                        .iter()
                        .filter_map(|entry| entry.get::<String>("i")),
                );
            }
        }
        Ok(ids)
    }

    /// The counters that every instance adds to, as Redis holds them.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn counters(&self) -> Result<Counters, StoreError> {
        let mut redis = self.redis.clone();
        let mut counters = Counters::default();
        for partition in 0..self.partitions {
            let all: BTreeMap<String, u64> = redis::cmd("HGETALL")
                .arg(format!("{{l:{partition}}}:m"))
                .query_async(&mut redis)
                .await?;
            for (name, count) in all {
                let sum = match name.as_str() {
                    "admitted" => &mut counters.admitted,
                    "replayed" => &mut counters.replayed,
                    "accepted" => &mut counters.accepted,
                    "retried" => &mut counters.retried,
                    "recorded_loans" => &mut counters.recorded_loans,
                    "recorded_failures" => &mut counters.recorded_failures,
                    "redelivered" => &mut counters.redelivered,
                    "lost_commit_races" => &mut counters.lost_commit_races,
                    "duplicate_keys" => &mut counters.duplicate_keys,
                    _ => match name.strip_prefix("failed:") {
                        Some(category) => counters.failed.entry(category.to_owned()).or_default(),
                        None => continue,
                    },
                };
                *sum += count;
            }
        }
        Ok(counters)
    }

    /// How many records there are, of loans and of failures.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn records(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for collection in ["loans", "failures"] {
            count += self
                .database
                .collection::<Document>(collection)
                .count_documents(doc! {})
                .await?;
        }
        Ok(count)
    }

    /// `used_memory` of Redis, bytes.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn redis_memory_bytes(&self) -> Result<Option<u64>, StoreError> {
        let info = self.info("memory").await?;
        Ok(field(&info, "used_memory").and_then(|bytes| bytes.parse().ok()))
    }

    /// What Redis says of itself.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn redis_facts(&self) -> Result<RedisFacts, StoreError> {
        let server = self.info("server").await?;
        let persistence = self.info("persistence").await?;
        let appendfsync = if field(&persistence, "aof_enabled") == Some("1") {
            let mut redis = self.redis.clone();
            let answer: Vec<String> = redis::cmd("CONFIG")
                .arg("GET")
                .arg("appendfsync")
                .query_async(&mut redis)
                .await
                // A managed Redis may forbid CONFIG.
                .unwrap_or_default();
            answer
                .get(1)
                .cloned()
                .unwrap_or_else(|| "unknown".to_owned())
        } else {
            "off".to_owned()
        };
        Ok(RedisFacts {
            version: field(&server, "redis_version")
                .unwrap_or_default()
                .to_owned(),
            appendfsync,
        })
    }

    async fn info(&self, section: &str) -> Result<String, StoreError> {
        let mut redis = self.redis.clone();
        Ok(redis::cmd("INFO")
            .arg(section)
            .query_async(&mut redis)
            .await?)
    }

    /// Version of MongoDB.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn mongodb_version(&self) -> Result<String, StoreError> {
        let answer = self.database.run_command(doc! { "buildInfo": 1 }).await?;
        Ok(answer.get_str("version").unwrap_or_default().to_owned())
    }

    /// When MongoDB confirmed each batch, microseconds since the Unix epoch.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn batches(&self) -> Result<std::collections::HashMap<ObjectId, i64>, StoreError> {
        let batches = self
            .database
            .collection::<Document>("record_batches")
            .find(doc! {})
            .projection(doc! { "confirmedAtUs": 1 })
            .await?;
        Ok(batches
            .try_filter_map(|batch| {
                let entry = batch
                    .get_object_id("_id")
                    .ok()
                    .zip(batch.get_i64("confirmedAtUs").ok());
                std::future::ready(Ok(entry))
            })
            .try_collect()
            .await?)
    }

    /// The documents of `collection` one by one in the order of their ids, with their ids starting with `prefix` when one is given.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn documents(
        &self,
        collection: &str,
        prefix: Option<&str>,
    ) -> Result<mongodb::Cursor<Document>, StoreError> {
        let filter = prefix.map_or_else(
            || doc! {},
            // The character after '-' ends the range of the prefix.
            |prefix| doc! { "_id": { "$gte": prefix, "$lt": format!("{}.", prefix.trim_end_matches('-')) } },
        );
        Ok(self
            .database
            .collection::<Document>(collection)
            .find(filter)
            .sort(doc! { "_id": 1 })
            .batch_size(2000)
            .await?)
    }
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
    fn info_is_read_by_whole_names() {
        let info = "used_memory_human:1M\r\nused_memory:17\r\n";
        assert_eq!(field(info, "used_memory"), Some("17"));
        assert_eq!(field(info, "memory"), None);
    }
}
