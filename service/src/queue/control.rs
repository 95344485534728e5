//! What the instances share beside the loans: pause, who is alive, events.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use redis::Value;

use super::bundle::Instance;
use super::library::{LIBRARY, PREFIX};
use super::refusal::told;
use super::{Partition, Queue, value};
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

impl Partition {
    /// Pauses or resumes ingestion in this partition. Answers whether that changed anything.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn set_paused(&mut self, paused: bool) -> Result<bool, ServiceError> {
        let mut call = self.function("control");
        call.arg(if paused { "pause" } else { "resume" })
            .arg(now_ms());
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
            since => value::count(&since).map(Some),
        }
    }

    /// Says that `instance` is alive, and answers who is. Instances that were silent for `kept`, or that another start
    /// at the same place has followed, lose their leases: what they held is given out again at once.
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
    ) -> Result<Vec<Alive>, ServiceError> {
        let mut call = self.function("beat");
        call.arg(&instance.as_bytes()[..])
            .arg(workers)
            .arg(workers_max)
            .arg(kept.as_millis() as u64)
            .arg(facts);
        let mut parts = value::array(self.call(&call).await?)?.into_iter();
        let now = parts.next().map_or(Ok(0), |now| value::count(&now))?;
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
                facts: value::text(facts)?,
            });
        }
        Ok(alive)
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
            let used = value::count(&Value::BulkString(used))?;
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

    /// Tells every instance that listens.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn publish(&mut self, message: &str) -> Result<(), ServiceError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.queue.channel()).arg(message);
        self.call(&publish).await.map(drop)
    }
}

impl Queue {
    /// What any instance publishes from now on, until the connection breaks.
    ///
    /// # Errors
    /// Redis out of reach.
    pub async fn subscribe(&self) -> Result<impl Stream<Item = Vec<u8>> + use<>, ServiceError> {
        let mut subscription = self.client.get_async_pubsub().await.map_err(told)?;
        subscription.subscribe(self.channel()).await.map_err(told)?;
        Ok(subscription
            .into_on_message()
            .map(|message| message.get_payload_bytes().to_vec()))
    }

    /// Channels know no databases, so the name does.
    fn channel(&self) -> String {
        let database = self.client.get_connection_info().redis_settings().db();
        format!("sluice:{database}:events")
    }
}
