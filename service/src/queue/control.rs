//! What holds for every instance at once: pause and resume, who is alive, what is told to all.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use redis::Value;

use super::{Link, Queue, function, value};
use crate::clock::now_ms;
use crate::error::ServiceError;

/// The instances that are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// How many.
    pub count: u64,
    /// Their workers.
    pub workers: u64,
    /// The most workers that they may run.
    pub workers_max: u64,
}

impl Link {
    /// Pauses or resumes ingestion in this partition. Answers whether that changed anything.
    ///
    /// # Errors
    /// Redis out of reach or silent; it may be done all the same.
    pub async fn set_paused(&mut self, is_paused: bool) -> Result<bool, ServiceError> {
        let mut call = function("sluice1_control");
        call.arg(1)
            .arg(&self.keys.control)
            .arg(if is_paused { "pause" } else { "resume" })
            .arg(now_ms());
        Ok(value::count(&self.call(&call).await?)? == 1)
    }

    /// Since when ingestion is paused in this partition, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn paused_ms(&mut self) -> Result<Option<u64>, ServiceError> {
        let mut get = redis::cmd("HGET");
        get.arg(&self.keys.control).arg("paused");
        match self.call(&get).await? {
            Value::Nil => Ok(None),
            since => value::count(&since).map(Some),
        }
    }

    /// Says that `instance` is alive, and answers who else is.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn beat(
        &mut self,
        instance: &str,
        workers: u64,
        workers_max: u64,
        kept: Duration,
    ) -> Result<Instances, ServiceError> {
        let mut call = function("sluice1_beat");
        call.arg(1)
            .arg(format!("{}:inst", self.keys.tag))
            .arg(instance)
            .arg(workers)
            .arg(workers_max)
            .arg(kept.as_millis() as u64);
        let sums = value::array(self.call(&call).await?)?;
        let sum = |at: usize| sums.get(at).map_or(Ok(0), value::count);
        Ok(Instances {
            count: sum(0)?,
            workers: sum(1)?,
            workers_max: sum(2)?,
        })
    }

    /// Says that `instance` is no longer alive.
    ///
    /// # Errors
    /// Redis out of reach or silent; it is forgotten by itself then.
    pub async fn leave(&mut self, instance: &str) -> Result<(), ServiceError> {
        self.beat(instance, 0, 0, Duration::ZERO).await.map(drop)
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
        let mut subscription = self.client.get_async_pubsub().await?;
        subscription.subscribe(self.channel()).await?;
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
