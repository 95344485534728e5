//! Reading the queue's state: depths, counters, control, and where one loan is.

use std::collections::BTreeMap;

use bytes::Bytes;
use redis::Value;

use super::packed::PackedLoan;
use super::{Link, WORKERS, value};
use crate::clock::now_ms;
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

/// What of a partition's state changes slowly, or costs more to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlowState {
    /// Age of the oldest loan that no worker has decided, 0 if there is none.
    pub oldest_waiting_ms: u64,
    /// The applicants with the most failures.
    pub applicants: Vec<(String, u64)>,
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
    Queued(Kept),
    /// A worker holds it, since this instant in milliseconds since the Unix epoch.
    Processing(Kept, u64),
    /// Accepted, with its record as BSON; MongoDB has not confirmed it.
    Accepted(Vec<u8>),
    /// Failed, by category.
    Failed(String, Kept),
    /// Not in Redis.
    Elsewhere,
}

/// A loan as a stream of Redis keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Since when it is there, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When its body was whole, in microseconds since the Unix epoch.
    pub received_us: u64,
    /// The attempt that is under way, or has failed.
    pub attempt: u32,
    /// The body as it came.
    pub body: Bytes,
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

    /// Reads what changes slowly, with up to `applicants_max` applicants.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn slow_state(&mut self, applicants_max: usize) -> Result<SlowState, ServiceError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        pipeline.cmd("XRANGE").arg(&self.keys.queued);
        pipeline.arg("-").arg("+").arg("COUNT").arg(1);
        pipeline.cmd("ZREVRANGE").arg(&self.keys.applicants);
        pipeline.arg(0).arg(applicants_max - 1).arg("WITHSCORES");
        let mut answers = self.call_all(&pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        // By the clock of Redis, which has named the entry.
        let seconds = value::array(next())?.first().map_or(Ok(0), value::count)?;
        let oldest_waiting_ms = match value::array(next())?.into_iter().next() {
            Some(oldest) => {
                let [entry, _] = super::claim::two(oldest)?;
                let since_ms = super::entry_ms(&value::text(entry)?).unwrap_or_default();
                (seconds * 1000).saturating_sub(since_ms)
            }
            None => 0,
        };
        let mut applicants = Vec::new();
        for (applicant, count) in value::pairs(next())? {
            let applicant = String::from_utf8_lossy(&applicant).into_owned();
            applicants.push((applicant, value::count(&Value::BulkString(count))?));
        }
        Ok(SlowState {
            oldest_waiting_ms,
            applicants,
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

    /// `used_memory` of Redis, in bytes.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn used_memory(&mut self) -> Result<u64, ServiceError> {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let info = value::text(self.call(&info).await?)?;
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        used.and_then(|used| used.trim().parse().ok())
            .ok_or(ServiceError::RedisReply("INFO: no used_memory"))
    }

    /// Finds a loan.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn find(&mut self, loan_id: &LoanId) -> Result<Whereabouts, ServiceError> {
        // A loan may go on its way between two looks: then it is looked for again.
        for _ in 0..3 {
            if let Some(found) = self.find_once(loan_id).await? {
                return Ok(found);
            }
        }
        Ok(Whereabouts::Elsewhere)
    }

    async fn find_once(&mut self, loan_id: &LoanId) -> Result<Option<Whereabouts>, ServiceError> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys.id(loan_id.as_str()));
        let held = match self.call(&get).await? {
            Value::Nil => return Ok(Some(Whereabouts::Elsewhere)),
            held => value::bytes(held)?,
        };
        let (Some(state), Some(entry)) = (held.get(16), held.get(17..)) else {
            return Err(ServiceError::RedisReply("an id key is too short"));
        };
        let entry = String::from_utf8_lossy(entry).into_owned();
        match state {
            b'q' => {
                let queued = self.keys.queued.clone();
                let Some(kept) = self.kept(&queued, &entry).await? else {
                    return Ok(None);
                };
                let mut pending = redis::cmd("XPENDING");
                pending.arg(&queued).arg(WORKERS);
                pending.arg(&entry).arg(&entry).arg(1);
                let holder = value::array(self.call(&pending).await?)?.into_iter().next();
                Ok(Some(match holder {
                    Some(holder) => {
                        let idle = value::array(holder)?.get(2).map_or(Ok(0), value::count)?;
                        Whereabouts::Processing(kept, now_ms().saturating_sub(idle))
                    }
                    None => Whereabouts::Queued(kept),
                }))
            }
            b'a' => {
                let done = self.keys.done.clone();
                let found = self.entry(&done, &entry, b"r").await?;
                found
                    .map(|packed| {
                        Ok(Whereabouts::Accepted(
                            super::packed::unpack_result(packed)?.1,
                        ))
                    })
                    .transpose()
            }
            b'f' => {
                let (category, entry) = entry
                    .split_once(':')
                    .ok_or(ServiceError::RedisReply("a failed loan has no entry"))?;
                let failed = format!("{}{category}", self.keys.failed);
                let kept = self.kept(&failed, entry).await?;
                Ok(kept.map(|kept| Whereabouts::Failed(category.to_owned(), kept)))
            }
            // A look-up is under way: MongoDB knows, or nobody does.
            _ => Ok(Some(Whereabouts::Elsewhere)),
        }
    }

    async fn kept(&mut self, stream: &str, entry: &str) -> Result<Option<Kept>, ServiceError> {
        let Some(packed) = self.entry(stream, entry, b"l").await? else {
            return Ok(None);
        };
        let loan = PackedLoan::unpack(packed)?;
        Ok(Some(Kept {
            since_ms: super::entry_ms(entry).unwrap_or_default(),
            received_us: loan.received_us,
            attempt: loan.attempt,
            body: loan.body,
        }))
    }

    /// One field of one entry, if it is there.
    async fn entry(
        &mut self,
        stream: &str,
        entry: &str,
        field: &[u8],
    ) -> Result<Option<Vec<u8>>, ServiceError> {
        let mut range = redis::cmd("XRANGE");
        range.arg(stream).arg(entry).arg(entry);
        let Some(found) = value::array(self.call(&range).await?)?.into_iter().next() else {
            return Ok(None);
        };
        let [_, fields] = super::claim::two(found)?;
        Ok(Some(super::claim::id_and(field, fields)?.1))
    }
}
