//! Reading the queue's state: depths, counters, control, and where one loan is.

use std::collections::BTreeMap;

use redis::Value;

use super::{Link, WORKERS, value};
use crate::error::ServiceError;
use crate::loan::{Category, LoanId};

/// One partition's state at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Loans that wait for a worker.
    pub queued: u64,
    /// Loans that a worker holds.
    pub in_flight: u64,
    /// Results that MongoDB has not confirmed.
    pub unrecorded: u64,
    /// Failed loans kept for a retry.
    pub failed_waiting: u64,
    /// Whether ingestion is paused.
    pub paused: bool,
    /// The counters of `functions.lua`.
    pub counters: BTreeMap<String, u64>,
}

impl QueueState {
    /// Adds another partition's state.
    pub fn add(&mut self, other: Self) {
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.unrecorded += other.unrecorded;
        self.failed_waiting += other.failed_waiting;
        self.paused |= other.paused;
        for (name, count) in other.counters {
            *self.counters.entry(name).or_default() += count;
        }
    }
}

/// What Redis says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerState {
    /// Its version.
    pub version: String,
    /// `always`, `everysec`, `no`, or `off` without an append-only file.
    pub appendfsync: String,
    /// `used_memory`.
    pub used_memory_bytes: u64,
    /// `maxmemory`, 0 for none.
    pub max_memory_bytes: u64,
}

/// Where a loan stands in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Waits for a worker.
    Queued,
    /// A worker holds it.
    Processing,
    /// Accepted, with its record as BSON; MongoDB has not confirmed it.
    Accepted(Vec<u8>),
    /// Failed, by category.
    Failed(String),
    /// Not in Redis.
    Elsewhere,
}

impl Link {
    /// Reads the partition's state.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn state(&mut self) -> Result<QueueState, ServiceError> {
        let keys = &self.keys;
        let mut pipeline = redis::pipe();
        pipeline.cmd("XLEN").arg(&keys.queued);
        pipeline.cmd("XPENDING").arg(&keys.queued).arg(WORKERS);
        pipeline.cmd("XLEN").arg(&keys.done);
        pipeline.cmd("XLEN").arg(&keys.failures);
        pipeline.cmd("HGET").arg(&keys.control).arg("paused");
        pipeline.cmd("HGETALL").arg(&keys.counters);
        for category in Category::ALL {
            pipeline
                .cmd("XLEN")
                .arg(format!("{}{}", keys.failed, category.name()));
        }
        let mut answers = self.call_all(&pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let length = value::count(&next())?;
        let pending = value::array(next())?;
        let in_flight = pending.first().map_or(Ok(0), value::count)?;
        let unrecorded = value::count(&next())? + value::count(&next())?;
        let paused = !matches!(next(), Value::Nil);
        let mut counters = BTreeMap::new();
        for (name, count) in value::pairs(next())? {
            let name = value::text(Value::BulkString(name))?;
            counters.insert(name, value::count(&Value::BulkString(count))?);
        }
        let mut failed_waiting = 0;
        for _ in Category::ALL {
            failed_waiting += value::count(&next())?;
        }
        Ok(QueueState {
            queued: length.saturating_sub(in_flight),
            in_flight,
            unrecorded,
            failed_waiting,
            paused,
            counters,
        })
    }

    /// Asks Redis how it is set and how full it is.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn server(&mut self) -> Result<ServerState, ServiceError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("server");
        pipeline.cmd("INFO").arg("memory");
        pipeline.cmd("INFO").arg("persistence");
        let info = self
            .call_all(&pipeline)
            .await?
            .into_iter()
            .map(value::text)
            .collect::<Result<String, _>>()?;
        let line = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .unwrap_or_default()
        };
        let appendfsync = if line("aof_enabled") == "1" {
            // A managed Redis may refuse CONFIG: then the setting is unknown, which is not safe.
            let mut config = redis::cmd("CONFIG");
            config.arg("GET").arg("appendfsync");
            match self.call(&config).await.and_then(value::array) {
                Ok(pair) => pair
                    .into_iter()
                    .nth(1)
                    .map_or(Ok(String::new()), value::text)?,
                Err(_) => "unknown".to_owned(),
            }
        } else {
            "off".to_owned()
        };
        Ok(ServerState {
            version: line("redis_version").to_owned(),
            appendfsync,
            used_memory_bytes: line("used_memory").parse().unwrap_or_default(),
            max_memory_bytes: line("maxmemory").parse().unwrap_or_default(),
        })
    }

    /// Finds a loan.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn find(&mut self, loan_id: &LoanId) -> Result<Whereabouts, ServiceError> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys.id(loan_id.as_str()));
        let held = match self.call(&get).await? {
            Value::Nil => return Ok(Whereabouts::Elsewhere),
            held => value::bytes(held)?,
        };
        let (Some(state), Some(entry)) = (held.get(16), held.get(17..)) else {
            return Err(ServiceError::RedisReply("an id key is too short"));
        };
        let entry = String::from_utf8_lossy(entry).into_owned();
        match state {
            b'q' => {
                let mut pending = redis::cmd("XPENDING");
                pending.arg(&self.keys.queued).arg(WORKERS);
                pending.arg(&entry).arg(&entry).arg(1);
                let is_held = !value::array(self.call(&pending).await?)?.is_empty();
                Ok(if is_held {
                    Whereabouts::Processing
                } else {
                    Whereabouts::Queued
                })
            }
            b'a' => {
                let mut range = redis::cmd("XRANGE");
                range.arg(&self.keys.done).arg(&entry).arg(&entry);
                let Some(found) = value::array(self.call(&range).await?)?.into_iter().next() else {
                    return Ok(Whereabouts::Elsewhere);
                };
                let [_, fields] = super::claim::two(found)?;
                let (_, packed) = super::claim::id_and(b"r", fields)?;
                Ok(Whereabouts::Accepted(
                    super::packed::unpack_result(packed)?.1,
                ))
            }
            b'f' => Ok(Whereabouts::Failed(
                entry.split(':').next().unwrap_or_default().to_owned(),
            )),
            // A look-up is under way: MongoDB knows, or nobody does.
            _ => Ok(Whereabouts::Elsewhere),
        }
    }
}
