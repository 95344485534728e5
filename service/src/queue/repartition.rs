//! Another number of partitions, for an empty queue: the former partitions go, and their filters are made anew from
//! MongoDB.

use redis::{Cmd, Value};

use super::keys::Keys;
use super::refusal::told;
use super::topology::Shares;
use super::{Queue, run, value};
use crate::error::ServiceError;

impl Queue {
    /// Removes the partitions of a queue of another number of partitions, if all its loans are recorded. Answers how many
    /// loans are not: then nothing was removed. No other instance may be running.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn clear_other_partitions(&self) -> Result<u64, ServiceError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys[0].about()).arg("partitions");
        let former = match self.run_at(&self.keys[0], &get).await? {
            Value::Nil => return Ok(0),
            former => value::count(&former)? as u32,
        };
        if former as usize == self.keys.len() {
            return Ok(0);
        }
        let former: Vec<_> = (0..former)
            .map(|number| Keys::new(number, former))
            .collect();
        let mut left = 0;
        for keys in &former {
            for state in ["queued", "claimed", "decided"] {
                let mut get = redis::cmd("HGET");
                get.arg(keys.counters()).arg(state);
                if let count @ Value::BulkString(_) = self.run_at(keys, &get).await? {
                    left += value::integer(&count)?.max(0) as u64;
                }
            }
        }
        if left > 0 {
            return Ok(left);
        }
        // The first one last: while it is there, a repetition finds the rest.
        for keys in former.iter().rev() {
            let mut unlink = redis::cmd("UNLINK");
            for key in keys.all() {
                unlink.arg(key);
            }
            self.run_at(keys, &unlink).await?;
        }
        Ok(0)
    }

    /// Runs a command where these keys are.
    async fn run_at(&self, keys: &Keys, command: &Cmd) -> Result<Value, ServiceError> {
        let node = self.topology.owner(keys.slot(), None).await?;
        let mut link = self.topology.shared(&node, Shares::Readers).await?;
        run(&mut link.connection, command).await.map_err(told)
    }
}
