//! What the instances share beside the loans: pause, who is alive, events.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};

use super::bundle::Instance;
use super::library::{LIBRARY, PREFIX};
use super::refusal::told;
use super::topology::unreachable;
use super::{Partition, Queue, run, value};
use crate::clock::now_ms;
use crate::error::ServiceError;

/// A library of functions that nobody has used for this long is removed.
const LIBRARY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// What stands before a library's name in the hash `about`, with when it was last used.
const USED: &str = "used:";

/// An instance that was heard of lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// Its id, as the other instances see it.
    pub id: Vec<u8>,
    /// How long ago it was heard of, by the clock of Redis.
    pub silent: Duration,
    /// Workers that it runs.
    pub workers: u64,
    /// The most workers that it may run.
    pub workers_max: u64,
    /// What it says about itself, as JSON.
    pub facts: String,
}

/// What of a partition did not fit together, and does now: another hand was at its keys, or Redis has lost one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Bundles that stood in no line and are in line again.
    pub bundles: u64,
    /// Counts that were no numbers, by name, and begin anew.
    pub counts: Vec<String>,
}

impl Mended {
    fn read(answer: Value) -> Result<Self, ServiceError> {
        let mut parts = value::array(answer)?.into_iter();
        let bundles = parts.next().map_or(Ok(0), |part| value::count(&part))?;
        let counts = parts
            .map(|name| Ok(value::bytes(name)?.escape_ascii().to_string()))
            .collect::<Result<_, ServiceError>>()?;
        Ok(Self { bundles, counts })
    }
}

/// What an operator decided last about ingestion: when, in milliseconds since the Unix epoch, and whether it is paused.
#[derive(Debug, Default)]
pub(super) struct LastDecision(Mutex<(u64, bool)>);

impl LastDecision {
    fn get(&self) -> (u64, bool) {
        *self.lock()
    }

    fn note(&self, decided_ms: u64, paused: bool) {
        let mut last = self.lock();
        if decided_ms > last.0 {
            *last = (decided_ms, paused);
        }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, bool)> {
        // Each critical section leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partition {
    /// Tells a partition that was out of reach when an operator decided: before anything else is asked of it.
    pub(super) async fn follow_pause(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), ServiceError> {
        let (decided_ms, paused) = self.queue.pause.get();
        if decided_ms == 0 {
            return Ok(());
        }
        let mut get = redis::cmd("HMGET");
        get.arg(self.keys().control()).arg("paused").arg("decided");
        let answer = run(connection, &get).await.map_err(told)?;
        let mut fields = value::array(answer)?.into_iter();
        let is_paused = fields.next().is_some_and(|since| since != Value::Nil);
        let known_ms = fields
            .next()
            .map_or(0, |decided| value::count_or_zero(&decided));
        if is_paused == paused || known_ms >= decided_ms {
            return Ok(());
        }
        let call = self.deciding_pause(paused, decided_ms);
        run(connection, &call).await.map_err(told).map(drop)
    }

    fn deciding_pause(&self, paused: bool, decided_ms: u64) -> Cmd {
        let mut call = self.function("control");
        call.arg(if paused { "pause" } else { "resume" })
            .arg(decided_ms);
        call
    }

    /// Pauses or resumes ingestion in this partition, as was decided at `decided_ms`, in milliseconds since the Unix
    /// epoch. Answers whether that changed anything.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn set_paused(
        &mut self,
        paused: bool,
        decided_ms: u64,
    ) -> Result<bool, ServiceError> {
        let call = self.deciding_pause(paused, decided_ms);
        Ok(value::count(&self.call(&call).await?)? == 1)
    }

    /// Since when ingestion is paused in this partition, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn paused_ms(&mut self) -> Result<Option<u64>, ServiceError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys().control()).arg("paused");
        match self.call(&get).await? {
            Value::Nil => Ok(None),
            since => Ok(Some(value::count_or_zero(&since))),
        }
    }

    /// Says that `instance` is alive, and answers who is. Instances that were silent for `kept`, or that another start
    /// at the same place has followed, lose their leases: what they held is given out again at once. What of the partition
    /// does not fit together is mended.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn beat(
        &mut self,
        instance: Instance,
        workers: u64,
        workers_max: u64,
        facts: &str,
        kept: Duration,
    ) -> Result<(Vec<Alive>, Mended), ServiceError> {
        let mut call = self.function("beat");
        call.arg(&instance.as_bytes()[..])
            .arg(workers)
            .arg(workers_max)
            .arg(kept.as_millis() as u64)
            .arg(facts);
        let mut parts = value::array(self.call(&call).await?)?.into_iter();
        let now = parts.next().map_or(Ok(0), |now| value::count(&now))?;
        let mended = parts.next().map_or(Ok(Mended::default()), Mended::read)?;
        let mut alive = Vec::new();
        while let (Some(id), Some(at), Some(workers), Some(most), Some(facts)) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) {
            alive.push(Alive {
                id: value::bytes(id)?,
                silent: Duration::from_millis(now.saturating_sub(value::count(&at)?)),
                workers: value::count(&workers)?,
                workers_max: value::count(&most)?,
                facts: String::from_utf8_lossy(&value::bytes(facts)?).into_owned(),
            });
        }
        Ok((alive, mended))
    }

    /// Says that `instance` is no longer alive; its leases are free.
    ///
    /// # Errors
    /// Redis out of reach or silent; it is forgotten by itself then.
    pub async fn leave(&mut self, instance: Instance) -> Result<(), ServiceError> {
        self.beat(instance, 0, 0, "", Duration::ZERO)
            .await
            .map(drop)
    }

    /// Notes that this build's functions are in use, and removes those that nobody has used for a day.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn tidy_libraries(&mut self) -> Result<(), ServiceError> {
        let about = self.keys().about().to_owned();
        let now = now_ms();
        let mut note = redis::cmd("HSET");
        note.arg(&about)
            .arg(format!("{USED}{}", LIBRARY.name))
            .arg(now);
        self.call(&note).await?;
        let mut read = redis::cmd("HGETALL");
        read.arg(&about);
        let about_now = value::pairs(self.call(&read).await?)?;
        for (field, used) in about_now {
            let field = String::from_utf8_lossy(&field).into_owned();
            let Some(library) = field.strip_prefix(USED) else {
                continue;
            };
            let used = value::count_or_zero(&Value::BulkString(used));
            let is_old = now.saturating_sub(used) > LIBRARY_KEPT.as_millis() as u64;
            if !is_old || !library.starts_with(PREFIX) || library == LIBRARY.name {
                continue;
            }
            let mut delete = redis::cmd("FUNCTION");
            delete.arg("DELETE").arg(library);
            match self.call(&delete).await {
                // It may have gone already.
                Ok(_) | Err(ServiceError::Redis(_)) => {
                    let mut forget = redis::cmd("HDEL");
                    forget.arg(&about).arg(&field);
                    self.call(&forget).await?;
                    tracing::info!(library, "functions that nobody used for a day are removed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Queue {
    /// Pauses or resumes ingestion in every partition that can be reached; the monitor tells the others when they are
    /// back. Answers whether that changed anything.
    ///
    /// # Errors
    /// No partition could be reached.
    pub async fn set_paused(&self, paused: bool) -> Result<bool, ServiceError> {
        // Later than what is known, whoever's clock that is of.
        let decided_ms = now_ms().max(self.pause.get().0 + 1);
        self.pause.note(decided_ms, paused);
        let told = (0..self.partitions()).map(|number| async move {
            let mut partition = self.reader(number);
            partition.set_paused(paused, decided_ms).await
        });
        any_of(join_all(told).await, |all| {
            all.into_iter().any(|changed| changed)
        })
    }

    /// What an operator decided last, as far as this process knows: when, in milliseconds since the Unix epoch, and whether
    /// ingestion is paused.
    pub fn last_decision(&self) -> (u64, bool) {
        self.pause.get()
    }

    /// Notes what a partition says of the last decision.
    pub fn note_pause(&self, decided_ms: u64, paused: bool) {
        self.pause.note(decided_ms, paused);
    }

    /// Since when ingestion is paused, in milliseconds since the Unix epoch, by the partitions that can be reached.
    ///
    /// # Errors
    /// No partition could be reached.
    pub async fn paused_ms(&self) -> Result<Option<u64>, ServiceError> {
        let told = (0..self.partitions())
            .map(|number| async move { self.reader(number).paused_ms().await });
        any_of(join_all(told).await, |all| all.into_iter().flatten().min())
    }

    /// Tells every instance that listens.
    ///
    /// # Errors
    /// No partition's Redis could be reached.
    pub async fn publish(&self, message: &str) -> Result<(), ServiceError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.channel()).arg(message);
        let mut failed = unreachable("there is no partition".to_owned());
        // Any node of a cluster carries a message to all.
        for number in self.depths.open() {
            match self.reader(number).call(&publish).await {
                Ok(_) => return Ok(()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// What any instance publishes from now on, until the connection breaks.
    ///
    /// # Errors
    /// Redis out of reach.
    pub async fn subscribe(&self) -> Result<impl Stream<Item = Vec<u8>> + use<>, ServiceError> {
        let mut subscription = self.topology.subscription().await?;
        subscription.subscribe(self.channel()).await.map_err(told)?;
        Ok(subscription
            .into_on_message()
            .map(|message| message.get_payload_bytes().to_vec()))
    }

    /// Channels know no databases, so the name does.
    fn channel(&self) -> String {
        format!("sluice:{}:events", self.topology.database())
    }
}

/// What those answered that answered at all; the error if nobody did.
pub(super) fn any_of<T, U>(
    answers: Vec<Result<T, ServiceError>>,
    join: impl FnOnce(Vec<T>) -> U,
) -> Result<U, ServiceError> {
    let mut good = Vec::new();
    let mut failed = None;
    for answer in answers {
        match answer {
            Ok(answer) => good.push(answer),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if good.is_empty() => Err(error),
        _ => Ok(join(good)),
    }
}
