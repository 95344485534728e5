//! Claiming queued loans and committing what became of them.

use std::time::Duration;

use bson::DateTime;
use bytes::Bytes;
use redis::{Cmd, Value};

use super::packed::{PackedLoan, pack_result};
use super::{Link, WORKERS, function, value};
use crate::error::ServiceError;
use crate::loan::{Category, Fingerprint};

/// A loan that a worker holds.
#[derive(Clone, Debug)]
pub struct Claimed {
    entry: String,
    /// Its id.
    pub loan_id: String,
    /// Its content's fingerprint, 16 bytes.
    pub fingerprint: Fingerprint,
    /// When its body was whole, in microseconds since the Unix epoch.
    pub received_us: u64,
    /// The body as it came.
    pub body: Bytes,
    /// 1 the first time, one more after each retry.
    pub attempt: u32,
    /// How often it has been delivered, this time included, where that is known.
    pub deliveries: u64,
}

impl Claimed {
    /// When Redis put it in the queue.
    pub fn queued_at(&self) -> Option<DateTime> {
        super::entry_ms(&self.entry).map(|at_ms| DateTime::from_millis(at_ms as i64))
    }
}

/// What became of a claimed loan, with its record as a BSON document.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It passed.
    Accepted(Vec<u8>),
    /// It failed.
    Failed(Category, Vec<u8>),
}

/// Which loans a worker asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Those that this consumer was given before and never committed.
    Mine,
    /// New ones, waiting up to this long for the first.
    New(Duration),
}

impl Link {
    /// Claims up to `len_max` loans for `consumer`.
    ///
    /// # Errors
    /// Redis out of reach or silent. What was claimed is given out again by `Ask::Mine`.
    pub async fn claim(
        &mut self,
        consumer: &str,
        ask: Ask,
        len_max: usize,
    ) -> Result<Vec<Claimed>, ServiceError> {
        let reply = self.call(&self.read(consumer, ask, len_max)).await?;
        decode_all(reply)
    }

    fn read(&self, consumer: &str, ask: Ask, len_max: usize) -> Cmd {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(WORKERS).arg(consumer);
        read.arg("COUNT").arg(len_max);
        // The answer must come before the time-out. `BLOCK 0` would wait for ever.
        if let Ask::New(wait) = ask
            && wait.as_millis() > 0
        {
            let wait = wait.min(self.timeout / 2);
            read.arg("BLOCK").arg(wait.as_millis() as u64);
        }
        read.arg("STREAMS").arg(&self.keys.queued);
        read.arg(if ask == Ask::Mine { "0" } else { ">" });
        read
    }

    /// Takes over up to `len_max` loans that other workers have held for longer than `idle`.
    ///
    /// # Errors
    /// Redis out of reach or silent. What was taken over is given out again by `Ask::Mine`.
    pub async fn take_over(
        &mut self,
        consumer: &str,
        idle: Duration,
        len_max: usize,
    ) -> Result<Vec<Claimed>, ServiceError> {
        let stream = self.keys.queued.clone();
        self.reap(&stream, WORKERS, consumer, idle, len_max)
            .await?
            .into_iter()
            .map(|(entry, deliveries, fields)| decode(entry, fields, deliveries))
            .collect()
    }

    pub(super) async fn reap(
        &mut self,
        stream: &str,
        group: &str,
        consumer: &str,
        idle: Duration,
        len_max: usize,
    ) -> Result<Vec<(Value, u64, Value)>, ServiceError> {
        let mut call = function("sluice1_reap");
        call.arg(2)
            .arg(stream)
            .arg(&self.keys.counters)
            .arg(group)
            .arg(consumer)
            .arg(idle.as_millis() as u64)
            .arg(len_max);
        value::array(self.call(&call).await?)?
            .into_iter()
            .map(|item| {
                let mut parts = value::array(item)?.into_iter();
                match (parts.next(), parts.next(), parts.next()) {
                    (Some(entry), Some(deliveries), Some(fields)) => {
                        Ok((entry, value::count(&deliveries)?, fields))
                    }
                    _ => Err(ServiceError::RedisReply("reap: a part is missing")),
                }
            })
            .collect()
    }

    /// [`Link::commit_counting`] without applicants.
    ///
    /// # Errors
    /// Redis out of reach or silent; any of the commits may have taken effect.
    pub async fn commit(
        &mut self,
        outcomes: &[(Claimed, Outcome)],
    ) -> Result<Vec<bool>, ServiceError> {
        self.commit_counting(outcomes, &[]).await
    }

    /// Commits outcomes, as [`Link::commit`]. `applicants` names who asked, by the index of a failed outcome.
    ///
    /// # Errors
    /// As for [`Link::commit`].
    pub async fn commit_counting(
        &mut self,
        outcomes: &[(Claimed, Outcome)],
        applicants: &[(usize, String)],
    ) -> Result<Vec<bool>, ServiceError> {
        let reply = self.call(&self.commitment(outcomes, applicants)).await?;
        wins(reply)
    }

    /// Commits outcomes as [`Link::commit_counting`] and claims up to `len_max` loans more, in one
    /// round trip and with one flush to disk. Never waits for loans. The commit is done when the
    /// claim runs, so `Ask::Mine` brings none of its loans again.
    ///
    /// # Errors
    /// As for [`Link::commit`] and [`Link::claim`]. Either may have taken effect.
    pub async fn commit_and_claim(
        &mut self,
        outcomes: &[(Claimed, Outcome)],
        applicants: &[(usize, String)],
        consumer: &str,
        ask: Ask,
        len_max: usize,
    ) -> Result<(Vec<bool>, Vec<Claimed>), ServiceError> {
        let ask = match ask {
            Ask::Mine => Ask::Mine,
            Ask::New(_) => Ask::New(Duration::ZERO),
        };
        let mut pipeline = redis::pipe();
        pipeline
            .add_command(self.commitment(outcomes, applicants))
            .add_command(self.read(consumer, ask, len_max));
        let mut replies = self.call_all(&pipeline).await?.into_iter();
        let mut next = || replies.next().unwrap_or(Value::Nil);
        Ok((wins(next())?, decode_all(next())?))
    }

    fn commitment(&self, outcomes: &[(Claimed, Outcome)], applicants: &[(usize, String)]) -> Cmd {
        let mut call = function("sluice1_commit");
        call.arg(5 + outcomes.len())
            .arg(&self.keys.queued)
            .arg(&self.keys.done)
            .arg(&self.keys.failures)
            .arg(&self.keys.counters)
            .arg(&self.keys.failed);
        for (claimed, _) in outcomes {
            call.arg(self.keys.id(&claimed.loan_id));
        }
        let mut packed = Vec::new();
        for (claimed, outcome) in outcomes {
            call.arg(&claimed.entry)
                .arg(&claimed.loan_id)
                .arg(&claimed.fingerprint.as_bytes()[..]);
            let (category, document) = match outcome {
                Outcome::Accepted(document) => ("", document),
                Outcome::Failed(category, document) => (category.name(), document),
            };
            // How long a retry took says nothing about the service: 0 keeps it out of the latencies.
            let received_us = if claimed.attempt == 1 {
                claimed.received_us
            } else {
                0
            };
            pack_result(&mut packed, received_us, document);
            call.arg(category).arg(&packed[..]);
            packed.clear();
            if let Outcome::Failed(..) = outcome {
                PackedLoan::pack(
                    &mut packed,
                    &claimed.loan_id,
                    claimed.fingerprint,
                    claimed.received_us,
                    claimed.attempt,
                    &claimed.body,
                );
            }
            call.arg(&packed[..]);
        }
        for (number, applicant) in applicants {
            call.arg(number + 1).arg(applicant);
        }
        call
    }

    /// Forgets consumers of all groups that hold nothing and were silent for longer than `idle`.
    ///
    /// # Errors
    /// Redis out of reach.
    pub async fn forget_idle_consumers(&mut self, idle: Duration) -> Result<u64, ServiceError> {
        let mut dropped = 0;
        for (stream, group) in [
            (self.keys.queued.clone(), WORKERS),
            (self.keys.done.clone(), super::RECORDERS),
            (self.keys.failures.clone(), super::RECORDERS),
        ] {
            let mut call = function("sluice1_tidy");
            call.arg(1)
                .arg(stream)
                .arg(group)
                .arg(idle.as_millis() as u64);
            dropped += value::count(&self.call(&call).await?)?;
        }
        Ok(dropped)
    }
}

/// The entries of an `XREADGROUP` answer on one stream.
pub(super) fn entries(reply: Value) -> Result<Vec<Value>, ServiceError> {
    match value::array(reply)?.into_iter().next() {
        Some(stream) => {
            let [_, entries] = two(stream)?;
            value::array(entries)
        }
        None => Ok(Vec::new()),
    }
}

pub(super) fn two(pair: Value) -> Result<[Value; 2], ServiceError> {
    value::array(pair)?
        .try_into()
        .map_err(|_| ServiceError::RedisReply("a pair was expected"))
}

fn wins(reply: Value) -> Result<Vec<bool>, ServiceError> {
    value::array(reply)?
        .iter()
        .map(|won| Ok(value::integer(won)? == 1))
        .collect()
}

fn decode_all(reply: Value) -> Result<Vec<Claimed>, ServiceError> {
    let mut claimed = Vec::new();
    for entry in entries(reply)? {
        let [entry, fields] = two(entry)?;
        // An entry that was deleted while it was pending has no fields.
        if !matches!(fields, Value::Nil) {
            claimed.push(decode(entry, fields, 1)?);
        }
    }
    Ok(claimed)
}

fn decode(entry: Value, fields: Value, deliveries: u64) -> Result<Claimed, ServiceError> {
    let (loan_id, packed) = id_and(b"l", fields)?;
    let loan = PackedLoan::unpack(packed)?;
    Ok(Claimed {
        entry: value::text(entry)?,
        loan_id,
        fingerprint: loan.fingerprint,
        received_us: loan.received_us,
        body: loan.body,
        attempt: loan.attempt,
        deliveries,
    })
}

/// An entry's `loanId` and its field of this name.
pub(super) fn id_and(name: &[u8], fields: Value) -> Result<(String, Vec<u8>), ServiceError> {
    let (mut loan_id, mut packed) = (None, None);
    for (field, content) in value::pairs(fields)? {
        if field == b"i" {
            loan_id = Some(value::text(Value::BulkString(content))?);
        } else if field == name {
            packed = Some(content);
        }
    }
    loan_id
        .zip(packed)
        .ok_or(ServiceError::RedisReply("an entry lacks a field"))
}
