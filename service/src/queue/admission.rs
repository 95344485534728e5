//! Admission: many loans, one call, one flush to disk.

use bytes::Bytes;

use super::packed::PackedLoan;
use super::{Link, function, value};
use crate::error::ServiceError;
use crate::loan::{Fingerprint, LoanId};

/// A loan at the door.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its id.
    pub loan_id: LoanId,
    /// Its content's fingerprint.
    pub fingerprint: Fingerprint,
    /// When its body was whole, in microseconds since the Unix epoch.
    pub received_us: u64,
    /// The body as it came.
    pub body: Bytes,
}

/// What Redis made of an arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// In the queue now, durably.
    Admitted,
    /// The same loan is known already.
    Replayed,
    /// The id is known with other content.
    Conflict,
    /// The id may stand in MongoDB: look there, then answer with the token.
    MayBeRecorded(LookUp),
    /// Ingestion is paused.
    Paused,
    /// The backlog is full.
    Full,
}

/// Stands for one look-up in MongoDB. Worthless once anyone else has looked the id up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookUp(String);

impl Link {
    /// Admits `arrivals`, each with the token of its look-up if it had one.
    ///
    /// On `Ok` there is an outcome for each, in order, and Redis has made it durable. On `Err`
    /// any of them may be in the queue: the same arrival again is answered `Replayed`.
    ///
    /// # Errors
    /// Redis out of reach, out of memory or silent.
    pub async fn admit(
        &mut self,
        arrivals: &[(Arrival, Option<LookUp>)],
        backlog_max: u64,
    ) -> Result<Vec<Admission>, ServiceError> {
        let mut call = function("sluice1_admit");
        call.arg(4 + arrivals.len())
            .arg(&self.keys.queued)
            .arg(&self.keys.counters)
            .arg(&self.keys.control)
            .arg(&self.keys.seen);
        for (arrival, _) in arrivals {
            call.arg(self.keys.id(arrival.loan_id.as_str()));
        }
        call.arg(backlog_max);
        let mut packed = Vec::new();
        for (arrival, _) in arrivals {
            PackedLoan::pack(
                &mut packed,
                arrival.loan_id.as_str(),
                arrival.fingerprint,
                arrival.received_us,
                1,
                &arrival.body,
            );
            call.arg(arrival.loan_id.as_str()).arg(&packed[..]);
        }
        if arrivals.iter().any(|(_, look_up)| look_up.is_some()) {
            for (_, look_up) in arrivals {
                call.arg(look_up.as_ref().map_or("", |token| &token.0));
            }
        }
        let mut reply = value::array(self.call(&call).await?)?.into_iter().skip(1);
        let token = value::text(
            reply
                .next()
                .ok_or(ServiceError::RedisReply("admit: no token"))?,
        )?;
        let outcomes = reply
            .map(|outcome| {
                Ok(match value::integer(&outcome)? {
                    1 => Admission::Admitted,
                    0 => Admission::Replayed,
                    -1 => Admission::Conflict,
                    2 => Admission::MayBeRecorded(LookUp(token.clone())),
                    -2 => Admission::Paused,
                    -3 => Admission::Full,
                    _ => return Err(ServiceError::RedisReply("admit: unknown outcome")),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if outcomes.len() == arrivals.len() {
            Ok(outcomes)
        } else {
            Err(ServiceError::RedisReply("admit: outcomes are missing"))
        }
    }

    /// Says that a look-up found the loan in MongoDB, and whether with the same content.
    ///
    /// # Errors
    /// Redis out of reach. The marker then expires by itself.
    pub async fn found_recorded(
        &mut self,
        loan_id: &LoanId,
        look_up: &LookUp,
        is_same: bool,
    ) -> Result<(), ServiceError> {
        let mut call = function("sluice1_looked_up");
        call.arg(2)
            .arg(&self.keys.counters)
            .arg(self.keys.id(loan_id.as_str()))
            .arg(&look_up.0)
            .arg(u8::from(is_same));
        self.call(&call).await.map(drop)
    }
}
