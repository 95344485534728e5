//! Admission: many loans, one bundle, one call, one flush to disk.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use redis::{Cmd, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::bundle::{Bundle, HELD_LEN, IdHash, Name, VERSION, put_loan};
use super::{Partition, Queue, value};
use crate::error::ServiceError;
use crate::failpoint::Guard;
use crate::loan::{Fingerprint, LoanId};
use crate::telemetry::Context;

/// Bytes of a bundle before its loans: version, when it was queued, how many.
const HEAD_LEN: usize = 11;

/// A loan at the door.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its id.
    pub loan_id: LoanId,
    /// Its id's hash.
    pub hash: IdHash,
    /// Its content's fingerprint.
    pub fingerprint: Fingerprint,
    /// When its body was whole, in microseconds since the Unix epoch.
    pub received_us: u64,
    /// 1, or one more than the attempt that failed.
    pub attempt: u32,
    /// The span of its request, where it is traced.
    pub trace: Option<Box<Context>>,
    /// The body as it came.
    pub body: Bytes,
}

/// What was found out about an arrival before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// MongoDB does not hold it: a look-up that counts is asked for.
    NotRecorded,
    /// The same, and the look-up has a name: who asks for it once more has it already.
    NotRecordedFor(Marker),
    /// MongoDB did not hold it during this look-up.
    LookedUp(LookUp),
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
    /// The id is known with other content, and an earlier attempt of it may have had this one: MongoDB knows.
    ConflictUnlessReplaced,
    /// The id may stand in MongoDB: look there, and if it does not, call again with [`Known::NotRecorded`].
    MayBeRecorded,
    /// The id may stand in MongoDB: look there, and if it does not, call again with this.
    LookUp(LookUp),
    /// Another retry is at it. Only a retry is told so.
    Busy,
    /// Ingestion is paused.
    Paused,
    /// The backlog is full.
    Full,
}

/// Stands for one look-up in MongoDB. Worthless once anyone else has looked the id up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookUp(String);

/// Names the look-ups of one step of a task, so that the same step, done again after a crash, is not kept away by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker(u64);

impl Marker {
    /// The name for a step of a task.
    pub fn of(task: &str, step: i64) -> Self {
        Self(xxh3_64(format!("{task}/{step}").as_bytes()))
    }
}

/// Under which rule loans are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// New loans, from clients. Not while ingestion is paused.
    New,
    /// Failed loans, again.
    Retry,
}

/// The answer to one call of admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The bundle of those that were admitted.
    pub bundle: Name,
    /// An outcome for each arrival, in order.
    pub outcomes: Vec<Admission>,
    /// How many admissions Redis had confirmed to this process and does not know any more: it went back in time.
    pub rolled_back: u64,
}

impl Partition {
    /// Admits `arrivals`, with what is known of each.
    ///
    /// On `Ok`, Redis has made each outcome durable. On `Err` any of them may be in the queue, unless the error says that
    /// nothing has run: the same arrival again is answered `Replayed`.
    ///
    /// `backlog_max` bounds the loans in Redis that are not recorded.
    ///
    /// # Errors
    /// Redis out of reach, unwilling, or silent for `limit`.
    pub async fn admit(
        &mut self,
        entry: Entry,
        arrivals: &[(Arrival, Known)],
        backlog_max: u64,
        limit: Duration,
    ) -> Result<Admitted, ServiceError> {
        let name = if Guard::NameRandom.is_off() {
            Name::numbered(self.admissions_seen().await? + 1)
        } else {
            Name::random()
        };
        let content = pack(arrivals);
        let seen = self.queue.admissions_known(self.number);
        let call = self.admission("admit", name, entry, arrivals, &content, backlog_max);
        let answer = self.call_within(limit, &call).await?;
        let reply = Reply::read(answer, arrivals.len())?;
        if reply.outcomes.contains(&Admission::Admitted) {
            self.remember(name, content, arrivals, &reply);
        }
        Ok(Admitted {
            bundle: name,
            rolled_back: self.see_admissions(seen, &reply),
            outcomes: reply.outcomes,
        })
    }

    /// What [`Partition::admit`] would answer, and nothing is admitted: for a Redis that is full. Replays are counted.
    ///
    /// # Errors
    /// As for `admit`; nothing is queued.
    pub async fn recognise(
        &mut self,
        arrivals: &[(Arrival, Known)],
        limit: Duration,
    ) -> Result<Vec<Admission>, ServiceError> {
        let call = self.admission(
            "recognise",
            Name::numbered(0),
            Entry::New,
            arrivals,
            &[0; HEAD_LEN],
            0,
        );
        let answer = self.call_within(limit, &call).await?;
        let outcomes = Reply::read(answer, arrivals.len())?.outcomes;
        let is_replay = |outcome: &&Admission| **outcome == Admission::Replayed;
        let replayed = outcomes.iter().filter(is_replay).count();
        if replayed > 0 {
            // Whoever is told that it is a replay finds it counted.
            let mut count = self.function("found");
            count.arg(replayed);
            self.call_within(limit, &count).await?;
        }
        Ok(outcomes)
    }

    /// Says that MongoDB has answered for loans: `replayed` of them were replays, and those of `marked` had been given a
    /// [`LookUp`] that is not needed any more.
    ///
    /// # Errors
    /// Redis out of reach, or silent for `limit`. Then the markers are forgotten by themselves, and the replays are not counted.
    pub async fn answered(
        &mut self,
        replayed: usize,
        marked: &[&LoanId],
        limit: Duration,
    ) -> Result<(), ServiceError> {
        let mut call = self.function("found");
        call.arg(replayed);
        for loan_id in marked {
            call.arg(loan_id.as_str());
        }
        self.call_within(limit, &call).await.map(drop)
    }

    /// Whether this Redis would take a write now.
    ///
    /// # Errors
    /// The reason why not.
    pub async fn probe(&mut self, limit: Duration) -> Result<(), ServiceError> {
        // A function that may write and, without ids, does not.
        let mut call = self.function("found");
        call.arg(0);
        self.call_within(limit, &call).await.map(drop)
    }

    fn admission(
        &self,
        function: &str,
        name: Name,
        entry: Entry,
        arrivals: &[(Arrival, Known)],
        content: &[u8],
        backlog_max: u64,
    ) -> Cmd {
        let mut heads = Vec::with_capacity(8 * arrivals.len());
        for (arrival, _) in arrivals {
            arrival.hash.put(&mut heads);
        }
        let has_tokens = arrivals.iter().any(|(_, known)| *known != Known::Nothing);
        let ids_len: usize = arrivals
            .iter()
            .map(|(arrival, _)| arrival.loan_id.as_str().len())
            .sum();
        let bytes = 64 + content.len() + heads.len() + ids_len + arrivals.len() * HELD_LEN;
        let mut call = self.function_with_room(function, 8 + 3 * arrivals.len(), bytes);
        call.arg(backlog_max)
            .arg(&name.as_bytes()[..])
            .arg(match entry {
                Entry::New => "new",
                Entry::Retry => "retry",
            })
            .arg(&content[HEAD_LEN..])
            .arg(&heads)
            .arg(arrivals.len())
            .arg(if has_tokens {
                "tokens"
            } else if may_have_twins(&heads) {
                "twins"
            } else {
                ""
            })
            .arg(self.queue.admissions_known(self.number));
        for (arrival, _) in arrivals {
            call.arg(arrival.loan_id.as_str());
        }
        for (arrival, _) in arrivals {
            let mut value = [0; HELD_LEN];
            value[..16].copy_from_slice(arrival.fingerprint.as_bytes());
            value[16] = u8::try_from(arrival.attempt).unwrap_or(u8::MAX);
            value[17..].copy_from_slice(name.as_bytes());
            call.arg(&value[..]);
        }
        if has_tokens {
            for (_, known) in arrivals {
                match known {
                    Known::Nothing => call.arg(""),
                    Known::NotRecorded => call.arg("?"),
                    // No number, as the tokens are that Redis gives.
                    Known::NotRecordedFor(Marker(name)) => call.arg(format!("?step{name:016x}")),
                    Known::LookedUp(LookUp(token)) => call.arg(token),
                };
            }
        }
        call
    }

    /// Keeps what was admitted, as Redis has it.
    fn remember(
        &self,
        name: Name,
        mut content: Vec<u8>,
        arrivals: &[(Arrival, Known)],
        reply: &Reply,
    ) {
        let is_admitted = |outcome: &&Admission| **outcome == Admission::Admitted;
        let admitted = reply.outcomes.iter().filter(is_admitted).count();
        if admitted < arrivals.len() {
            content.truncate(HEAD_LEN);
            for ((arrival, _), _) in arrivals
                .iter()
                .zip(&reply.outcomes)
                .filter(|(_, outcome)| is_admitted(outcome))
            {
                put_arrival(&mut content, arrival);
            }
        }
        content[1..9].copy_from_slice(&reply.now_ms.to_be_bytes());
        content[9..HEAD_LEN].copy_from_slice(&(admitted as u16).to_be_bytes());
        if let Ok(bundle) = Bundle::read(name, content) {
            self.queue.cache.keep(bundle);
        }
        self.queue.depths.admitted(self.number, admitted);
    }

    /// Notes how many admissions there were. `seen` is what was known before the call. Answers how many of those are gone.
    fn see_admissions(&self, seen: u64, reply: &Reply) -> u64 {
        let ours = u64::from(reply.outcomes.contains(&Admission::Admitted));
        let before = reply.admissions.saturating_sub(ours);
        let lost = self.queue.admissions_lost(self.number, seen, before);
        self.queue.admissions[self.number].fetch_max(reply.admissions, Ordering::Relaxed);
        lost
    }

    async fn admissions_seen(&mut self) -> Result<u64, ServiceError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys().counters()).arg("admissions");
        match self.call(&get).await? {
            Value::Nil => Ok(0),
            count => value::count(&count),
        }
    }
}

/// Whether an id may stand twice among those with these heads: equal ids have equal heads.
fn may_have_twins(heads: &[u8]) -> bool {
    let mut all: Vec<&[u8]> = heads.chunks_exact(8).collect();
    all.sort_unstable();
    all.windows(2).any(|pair| pair[0] == pair[1])
}

impl Queue {
    /// The most admissions to a partition that Redis has confirmed to this process.
    pub fn admissions_known(&self, partition: usize) -> u64 {
        self.admissions[partition].load(Ordering::Relaxed)
    }

    /// How many of the `known` admissions are gone, if there are only `there`. They are told once.
    pub fn admissions_lost(&self, partition: usize, known: u64, there: u64) -> u64 {
        if there >= known {
            return 0;
        }
        // Where another has told meanwhile, or more was confirmed, the next one who looks sees what is left to tell.
        let told = self.admissions[partition].compare_exchange(
            known,
            there,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        told.map_or(0, |_| known - there)
    }
}

/// The content of the bundle that all of `arrivals` would make, with an empty head.
pub fn pack(arrivals: &[(Arrival, Known)]) -> Vec<u8> {
    let len = arrivals
        .iter()
        .map(|(arrival, _)| 32 + arrival.loan_id.as_str().len() + arrival.body.len())
        .sum::<usize>();
    let mut content = Vec::with_capacity(HEAD_LEN + len);
    content.put_u8(VERSION);
    content.put_bytes(0, HEAD_LEN - 1);
    for (arrival, _) in arrivals {
        put_arrival(&mut content, arrival);
    }
    content
}

fn put_arrival(content: &mut Vec<u8>, arrival: &Arrival) {
    put_loan(
        content,
        arrival.loan_id.as_str(),
        arrival.fingerprint,
        arrival.received_us,
        arrival.attempt,
        arrival.trace.as_deref(),
        &arrival.body,
    );
}

struct Reply {
    now_ms: u64,
    admissions: u64,
    outcomes: Vec<Admission>,
}

impl Reply {
    fn read(answer: Value, arrivals: usize) -> Result<Self, ServiceError> {
        let Ok([now, admissions, token, letters]) = <[Value; 4]>::try_from(value::array(answer)?)
        else {
            return Err(ServiceError::RedisReply("admit: four parts were expected"));
        };
        let token = value::text(token)?;
        let outcomes = value::bytes(letters)?
            .into_iter()
            .map(|letter| {
                Ok(match letter {
                    b'a' => Admission::Admitted,
                    b'r' => Admission::Replayed,
                    b'c' => Admission::Conflict,
                    b'e' => Admission::ConflictUnlessReplaced,
                    b's' => Admission::MayBeRecorded,
                    b'l' => Admission::LookUp(LookUp(token.clone())),
                    b'b' => Admission::Busy,
                    b'p' => Admission::Paused,
                    b'f' => Admission::Full,
                    _ => return Err(ServiceError::RedisReply("admit: unknown outcome")),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if outcomes.len() != arrivals {
            return Err(ServiceError::RedisReply("admit: outcomes are missing"));
        }
        Ok(Self {
            now_ms: value::count(&now)?,
            admissions: value::count(&admissions)?,
            outcomes,
        })
    }
}
