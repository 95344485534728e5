//! Reading the queue's state: counts, control, how Redis is set, and where one loan is.

use std::collections::BTreeMap;

use redis::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::bundle::{Bundle, HELD_LEN, Name, QueuedLoan, Ticket, Unreadable, loans_of};
use super::keys::ASIDE_MAX;
use super::results::{Decision, Results};
use super::{Partition, value};
use crate::clock::now_ms;
use crate::error::ServiceError;
use crate::loan::LoanId;

/// One partition's state at one instant. Loans are counted, not bundles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Loans that wait for a worker.
    pub queued: u64,
    /// Loans that a worker holds.
    pub claimed: u64,
    /// Decided loans that MongoDB has not confirmed.
    pub decided: u64,
    /// Failed loans that wait for a retry, a correction or a discard.
    pub failed_waiting: u64,
    /// Whether ingestion is paused.
    pub paused: bool,
    /// When that was last decided, in milliseconds since the Unix epoch; 0 if never.
    pub pause_decided_ms: u64,
    /// Whether the filter of recorded ids is complete.
    pub is_filter_complete: bool,
    /// The sums that only grow, by the names in `functions.lua`.
    pub counters: BTreeMap<String, u64>,
}

impl QueueState {
    /// Adds another partition's state.
    pub fn add(&mut self, other: Self) {
        self.queued += other.queued;
        self.claimed += other.claimed;
        self.decided += other.decided;
        self.failed_waiting += other.failed_waiting;
        self.paused |= other.paused;
        self.pause_decided_ms = self.pause_decided_ms.max(other.pause_decided_ms);
        self.is_filter_complete &= other.is_filter_complete;
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
    /// Whether so much stands aside that no more is set aside: see `functions.lua`.
    pub is_aside_full: bool,
}

/// Where a loan stands in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Waits for a worker.
    Queued(Kept),
    /// A worker holds it, since this instant in milliseconds since the Unix epoch.
    Processing(Kept, u64),
    /// A worker has decided it; MongoDB has not confirmed that.
    Decided {
        /// The loan.
        kept: Kept,
        /// Since when the worker held it, in milliseconds since the Unix epoch.
        claimed_ms: u64,
        /// When it was decided, in milliseconds since the Unix epoch.
        processed_ms: u64,
        /// What was decided.
        decision: Decision,
    },
    /// Nobody can read its bundle.
    Aside {
        /// Why not.
        reason: String,
        /// Since when it stands aside, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// Not in Redis.
    Elsewhere,
}

/// What stands aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aside {
    /// The bundle's name, or what tells another entry from the others.
    pub(crate) name: String,
    /// Loans in it; 0 if that cannot be read.
    pub(crate) loans: usize,
    /// Why it does.
    pub(crate) reason: String,
}

impl Aside {
    /// Reads an entry, as `functions.lua` writes it: why, when, the length of the content, and that.
    fn read(name: &[u8], entry: &[u8]) -> Self {
        let mut parts = entry.splitn(3, |&byte| byte == b'\n');
        let reason = parts.next().unwrap_or_default();
        let content = parts.nth(1).and_then(|rest| rest.get(4..));
        Self {
            name: match Name::from_bytes(name) {
                Some(name) => name.to_string(),
                // It may be of any length.
                None => format!("{:016x}", xxh3_64(name)),
            },
            loans: content.and_then(loans_of).unwrap_or_default(),
            reason: String::from_utf8_lossy(reason).into_owned(),
        }
    }
}

/// A loan as its bundle keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Since when it is there, in milliseconds since the Unix epoch.
    pub queued_ms: u64,
    /// The loan.
    pub loan: QueuedLoan,
}

impl Partition {
    /// The names of all that stands aside.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub(crate) async fn names_aside(&mut self) -> Result<Vec<Vec<u8>>, ServiceError> {
        let mut keys = redis::cmd("HKEYS");
        keys.arg(self.keys().aside());
        let names = value::array(self.call(&keys).await?)?;
        names.into_iter().map(value::bytes).collect()
    }

    /// What stands aside under a name.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub(crate) async fn aside(&mut self, name: &[u8]) -> Result<Option<Aside>, ServiceError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys().aside()).arg(name);
        match self.call(&get).await? {
            Value::Nil => Ok(None),
            entry => Ok(Some(Aside::read(name, &value::bytes(entry)?))),
        }
    }

    /// Reads the partition's state.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn state(&mut self) -> Result<QueueState, ServiceError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(self.keys().counters());
        let control = self.keys().control();
        pipeline
            .cmd("HMGET")
            .arg(control)
            .arg("paused")
            .arg("decided");
        let mut answers = self.call_all(&pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let mut counters = BTreeMap::new();
        for (name, count) in value::pairs(next())? {
            // By another hand some may be none, or below zero; the next beat mends them.
            if let Ok(name) = String::from_utf8(name) {
                counters.insert(name, value::count_or_zero(&Value::BulkString(count)));
            }
        }
        let mut control = value::array(next())?.into_iter();
        let mut control = || control.next().unwrap_or(Value::Nil);
        let paused = control() != Value::Nil;
        let pause_decided_ms = value::count_or_zero(&control());
        let mut take = |name: &str| counters.remove(name).unwrap_or_default();
        Ok(QueueState {
            queued: take("queued"),
            claimed: take("claimed"),
            decided: take("decided"),
            failed_waiting: take("failed_waiting"),
            is_filter_complete: take("filter_complete") == 1,
            paused,
            pause_decided_ms,
            counters,
        })
    }

    /// The attempts of these loans that are on their way, 255 for each later one; `None` for loans that are not.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub(crate) async fn attempts_on_their_way(
        &mut self,
        loan_ids: &[&str],
    ) -> Result<Vec<Option<u8>>, ServiceError> {
        let mut get = redis::cmd("HMGET");
        get.arg(self.keys().ids());
        for loan_id in loan_ids {
            get.arg(loan_id);
        }
        let held = value::array(self.call(&get).await?)?;
        let attempt = |held: Value| match held {
            Value::Nil => Ok(None),
            held => {
                let held = value::bytes(held)?;
                Ok((held.len() == HELD_LEN).then(|| held[16]))
            }
        };
        held.into_iter().map(attempt).collect()
    }

    /// How many loans wait for a worker.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn queued(&mut self) -> Result<u64, ServiceError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys().counters()).arg("queued");
        Ok(value::count_or_zero(&self.call(&get).await?))
    }

    /// Reads what changes slowly, with up to `applicants_max` applicants.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn slow_state(&mut self, applicants_max: usize) -> Result<SlowState, ServiceError> {
        let keys = self.keys();
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        pipeline.cmd("LINDEX").arg(keys.waiting()).arg(0);
        pipeline.cmd("ZRANGE").arg(keys.claimed()).arg(0).arg(0);
        pipeline.cmd("ZREVRANGE").arg(keys.applicants());
        pipeline.arg(0).arg(applicants_max - 1).arg("WITHSCORES");
        pipeline.cmd("HLEN").arg(keys.aside());
        let tickets = keys.tickets().to_owned();
        let mut answers = self.call_all(&pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        // By the clock of Redis, which has noted when they were queued.
        let seconds = value::array(next())?.first().map_or(Ok(0), value::count)?;
        let waiting = match next() {
            Value::Nil => None,
            place => Ticket::read(value::bytes(place)?),
        };
        let claimed = value::array(next())?.into_iter().next();
        let applicants = value::pairs(next())?
            .filter_map(|(applicant, count)| {
                let applicant = String::from_utf8_lossy(&applicant).into_owned();
                // By another hand a score may be no count.
                let count = value::count(&Value::BulkString(count)).ok()?;
                Some((applicant, count))
            })
            .collect();
        let aside = value::count(&next())?;
        let claimed = match claimed.map(value::bytes).transpose()? {
            Some(name) => match Name::from_bytes(&name) {
                Some(name) => {
                    let ticket = self.values(&tickets, &[name]).await?.pop().flatten();
                    ticket.and_then(Ticket::read)
                }
                None => None,
            },
            None => None,
        };
        let oldest_ms = [waiting, claimed]
            .into_iter()
            .flatten()
            .map(|ticket| ticket.queued_ms)
            .min();
        Ok(SlowState {
            oldest_waiting_ms: oldest_ms
                .map_or(0, |oldest_ms| (seconds * 1000).saturating_sub(oldest_ms)),
            applicants,
            is_aside_full: aside >= ASIDE_MAX,
        })
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
        let keys = self.keys();
        let mut get = redis::cmd("HGET");
        get.arg(keys.ids()).arg(loan_id.as_str());
        let (bundles, results) = (keys.bundles().to_owned(), keys.results().to_owned());
        let (tickets, aside) = (keys.tickets().to_owned(), keys.aside().to_owned());
        let held = match self.call(&get).await? {
            Value::Nil => return Ok(Some(Whereabouts::Elsewhere)),
            held => value::bytes(held)?,
        };
        // A look-up is under way: MongoDB knows, or nobody does.
        if held.len() != HELD_LEN {
            return Ok(Some(Whereabouts::Elsewhere));
        }
        let name = Name::from_bytes(&held[17..])
            .ok_or(ServiceError::RedisReply("an id names no bundle"))?;
        let mut pipeline = redis::pipe();
        for key in [&bundles, &results, &tickets, &aside] {
            pipeline.cmd("HGET").arg(key).arg(&name.as_bytes()[..]);
        }
        let mut answers = self.call_all(&pipeline).await?.into_iter();
        let mut next = || match answers.next() {
            None | Some(Value::Nil) => Ok(None),
            Some(value) => value::bytes(value).map(Some),
        };
        let (content, results, ticket, aside) = (next()?, next()?, next()?, next()?);
        if let Some(aside) = aside {
            let mut lines = aside.split(|&byte| byte == b'\n');
            let mut line =
                || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
            let (reason, since) = (line(), line());
            let since_ms = since.parse().unwrap_or_else(|_| now_ms());
            return Ok(Some(Whereabouts::Aside { reason, since_ms }));
        }
        let unreadable = |unreadable: Unreadable| Whereabouts::Aside {
            reason: unreadable.to_string(),
            since_ms: now_ms(),
        };
        let Some(content) = content else {
            return Ok(None);
        };
        let bundle = match Bundle::read(name, content) {
            Ok(bundle) => bundle,
            Err(error) => return Ok(Some(unreadable(error))),
        };
        let queued_ms = bundle.queued_ms;
        let len = bundle.loans.len();
        let found = bundle
            .loans
            .into_iter()
            .enumerate()
            .find(|(_, loan)| &*loan.loan_id == loan_id.as_str());
        let Some((number, loan)) = found else {
            return Ok(Some(Whereabouts::Elsewhere));
        };
        let kept = Kept { queued_ms, loan };
        if let Some(results) = results {
            return Ok(Some(match Results::read(&results, len) {
                Ok(mut results) => Whereabouts::Decided {
                    kept,
                    claimed_ms: results.claimed_ms,
                    processed_ms: results.processed_ms,
                    decision: results.decisions.swap_remove(number),
                },
                Err(error) => unreadable(error),
            }));
        }
        Ok(Some(match ticket.and_then(Ticket::read) {
            Some(ticket) if ticket.since_ms > 0 => Whereabouts::Processing(kept, ticket.since_ms),
            _ => Whereabouts::Queued(kept),
        }))
    }
}
