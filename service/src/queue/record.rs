//! Results on their way to MongoDB.

use std::time::Duration;

use redis::Value;

use super::packed::unpack_result;
use super::{Link, RECORDERS, claim, filter_hash, function, value};
use crate::error::ServiceError;

/// Which results are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Accepted loans.
    Loans,
    /// Failures.
    Failures,
}

/// A result that waits for MongoDB.
#[derive(Clone, Debug)]
pub struct Unrecorded {
    entry: String,
    /// The loan's id.
    pub loan_id: String,
    /// When its body was whole, in microseconds since the Unix epoch; 0 after a retry.
    pub received_us: u64,
    /// The BSON document to record.
    pub document: Vec<u8>,
}

impl Link {
    /// Takes up to `len_max` results for `consumer`: new ones, or with `mine` those that it was
    /// given before. Never waits.
    ///
    /// # Errors
    /// Redis out of reach or silent. What was taken is given out again with `mine`.
    pub async fn take_unrecorded(
        &mut self,
        kind: Kind,
        consumer: &str,
        mine: bool,
        len_max: usize,
    ) -> Result<Vec<Unrecorded>, ServiceError> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(RECORDERS).arg(consumer);
        read.arg("COUNT").arg(len_max);
        read.arg("STREAMS").arg(self.stream(kind));
        read.arg(if mine { "0" } else { ">" });
        let mut taken = Vec::new();
        for entry in claim::entries(self.call(&read).await?)? {
            let [entry, fields] = claim::two(entry)?;
            if !matches!(fields, Value::Nil) {
                taken.push(decode(entry, fields)?);
            }
        }
        Ok(taken)
    }

    /// Takes over results that other recorders have held for longer than `idle`.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn take_over_unrecorded(
        &mut self,
        kind: Kind,
        consumer: &str,
        idle: Duration,
        len_max: usize,
    ) -> Result<Vec<Unrecorded>, ServiceError> {
        let stream = self.stream(kind).to_owned();
        self.reap(&stream, RECORDERS, consumer, idle, len_max)
            .await?
            .into_iter()
            .map(|(entry, _, fields)| decode(entry, fields))
            .collect()
    }

    /// Says that MongoDB has confirmed `results`, `duplicates` of which it held already: they
    /// leave Redis. A repetition is safe.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn recorded(
        &mut self,
        kind: Kind,
        results: &[Unrecorded],
        duplicates: u64,
    ) -> Result<(), ServiceError> {
        if results.is_empty() {
            return Ok(());
        }
        let call = match kind {
            Kind::Loans => {
                let mut call = function("sluice1_recorded");
                call.arg(3 + results.len())
                    .arg(&self.keys.done)
                    .arg(&self.keys.counters)
                    .arg(&self.keys.seen);
                for result in results {
                    call.arg(self.keys.id(&result.loan_id));
                }
                call.arg(duplicates);
                for result in results {
                    call.arg(&result.entry);
                }
                for result in results {
                    call.arg(&filter_hash(&result.loan_id)[..]);
                }
                call
            }
            Kind::Failures => {
                let mut call = function("sluice1_logged");
                call.arg(2)
                    .arg(&self.keys.failures)
                    .arg(&self.keys.counters)
                    .arg(duplicates);
                for result in results {
                    call.arg(&result.entry);
                }
                call
            }
        };
        self.call(&call).await.map(drop)
    }

    fn stream(&self, kind: Kind) -> &str {
        match kind {
            Kind::Loans => &self.keys.done,
            Kind::Failures => &self.keys.failures,
        }
    }
}

fn decode(entry: Value, fields: Value) -> Result<Unrecorded, ServiceError> {
    let (loan_id, packed) = claim::id_and(b"r", fields)?;
    let (received_us, document) = unpack_result(packed)?;
    Ok(Unrecorded {
        entry: value::text(entry)?,
        loan_id,
        received_us,
        document,
    })
}
