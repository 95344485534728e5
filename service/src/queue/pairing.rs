//! Which record in MongoDB a queue belongs to: each partition bears the name of the pair.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;

use super::bundle::Instance;
use super::control::any_of;
use super::{Partition, Queue, value};
use crate::error::ServiceError;

/// The field of `about` that the name stands in.
const PAIR: &str = "pair";

impl Queue {
    /// The names of the pairs that the partitions which can be reached belong to: one, or none in a new queue.
    ///
    /// # Errors
    /// No partition can be reached.
    pub async fn pair_names(&self) -> Result<BTreeSet<String>, ServiceError> {
        let names = self.of_all(|mut partition| async move { partition.pair().await });
        Ok(names.await?.into_iter().flatten().collect())
    }

    /// Notes in each partition that can be reached that it belongs to the pair of this name. Where it belonged to another,
    /// its filter says nothing of the record of this one, and is doubted. Answers whether there was such a one.
    ///
    /// # Errors
    /// No partition can be reached.
    pub async fn note_pair(&self, name: &str) -> Result<bool, ServiceError> {
        let noted = self.of_all(|mut partition| async move { partition.note_pair(name).await });
        Ok(noted.await?.contains(&true))
    }

    /// How many loans in the partitions that can be reached are not recorded.
    ///
    /// # Errors
    /// No partition can be reached.
    pub async fn unrecorded(&self) -> Result<u64, ServiceError> {
        let states = self.of_all(|mut partition| async move { partition.state().await });
        let loans = states.await?;
        Ok(loans
            .iter()
            .map(|state| state.queued + state.claimed + state.decided)
            .sum())
    }

    /// How many other instances than those at the place of `me` were heard of within `kept`.
    ///
    /// # Errors
    /// No partition can be reached.
    pub async fn others_alive(&self, me: Instance, kept: Duration) -> Result<usize, ServiceError> {
        let others =
            self.of_all(|mut partition| async move { partition.others_alive(me, kept).await });
        Ok(others
            .await?
            .into_iter()
            .flatten()
            .collect::<BTreeSet<_>>()
            .len())
    }

    /// What the partitions answer that can be reached.
    async fn of_all<T, F: Future<Output = Result<T, ServiceError>>>(
        &self,
        ask: impl Fn(Partition) -> F,
    ) -> Result<Vec<T>, ServiceError> {
        let asked = (0..self.partitions()).map(|number| ask(self.reader(number)));
        any_of(join_all(asked).await, |found| found)
    }
}

impl Partition {
    async fn pair(&mut self) -> Result<Option<String>, ServiceError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys().about()).arg(PAIR);
        match self.call(&get).await? {
            Value::Nil => Ok(None),
            name => value::text(name).map(Some),
        }
    }

    async fn note_pair(&mut self, name: &str) -> Result<bool, ServiceError> {
        let before = self.pair().await?;
        if before.as_deref() == Some(name) {
            return Ok(false);
        }
        if before.is_some() {
            self.doubt_filter().await?;
        }
        let mut set = redis::cmd("HSET");
        set.arg(self.keys().about()).arg(PAIR).arg(name);
        self.call(&set).await?;
        Ok(before.is_some())
    }

    async fn others_alive(
        &mut self,
        me: Instance,
        kept: Duration,
    ) -> Result<Vec<Vec<u8>>, ServiceError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        pipeline.cmd("HGETALL").arg(self.keys().instances());
        let mut answers = self.call_all(&pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let seconds = value::array(next())?.first().map_or(Ok(0), value::count)?;
        let (now_ms, kept_ms) = (seconds * 1000, kept.as_millis() as u64 + 1000);
        let instances = value::pairs(next())?;
        let others = instances.filter_map(|(id, facts)| {
            // When it was heard of stands first.
            let heard = facts.split(|&byte| byte == b' ').next()?.to_vec();
            let heard_ms = value::count(&Value::BulkString(heard)).ok()?;
            let is_alive = now_ms.abs_diff(heard_ms) <= kept_ms;
            (is_alive && !me.is_at_place_of(&id)).then_some(id)
        });
        Ok(others.collect())
    }
}
