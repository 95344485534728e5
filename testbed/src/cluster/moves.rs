//! Slots on their way from one master to another, as `redis-cli --cluster reshard` moves them.

use redis::{Value, cmd};

use super::RedisCluster;
use crate::error::TestbedError;
use crate::wait;

/// Keys that go in one MIGRATE. Both nodes stand still for as long as it takes.
const KEYS_IN_A_STEP: usize = 10;
/// Slots whose state is set in one pipeline: they share one write of the nodes' file.
const SLOTS_IN_A_STEP: usize = 512;
/// How long one MIGRATE may take.
const MIGRATE_WITHIN_MS: u64 = 10_000;

/// One slot on its way. Until [`SlotMove::finish`] both nodes serve it: the source the keys that it still has, the
/// target the others, for who asks with ASKING. Dropping it leaves the slot on its way.
pub struct SlotMove<'a> {
    cluster: &'a RedisCluster,
    /// The slot.
    pub slot: u16,
    /// The master that it leaves.
    pub from: usize,
    /// The master that it comes to.
    pub to: usize,
}

impl RedisCluster {
    /// Begins to move a slot: from now on its keys may go.
    ///
    /// # Errors
    /// When no node serves it, or a node refuses.
    pub async fn begin_move(&self, slot: u16, to: usize) -> Result<SlotMove<'_>, TestbedError> {
        let from = self.owner(slot).await?;
        if from == to {
            let what = format!("node {to} serves slot {slot} already");
            return Err(TestbedError::Layout(what));
        }
        self.set_on_the_way(&[slot], from, to).await?;
        Ok(SlotMove {
            cluster: self,
            slot,
            from,
            to,
        })
    }

    /// Moves slots with all their keys to a master, and waits until all nodes know it. Slots that it has stay.
    ///
    /// # Errors
    /// When a node refuses.
    pub async fn move_slots(
        &self,
        slots: impl IntoIterator<Item = u16>,
        to: usize,
    ) -> Result<(), TestbedError> {
        let mut by_owner = std::collections::BTreeMap::<usize, Vec<u16>>::new();
        let mut owners = Vec::new();
        for number in self.numbers() {
            owners.push((number, self.myself(number).await?));
        }
        for slot in slots {
            let owner = owners.iter().find(|(_, node)| node.serves(slot));
            let (owner, _) = owner.ok_or_else(|| {
                TestbedError::Layout(format!("no node says that it serves slot {slot}"))
            })?;
            by_owner.entry(*owner).or_default().push(slot);
        }
        by_owner.remove(&to);
        for (from, slots) in by_owner {
            for slots in slots.chunks(SLOTS_IN_A_STEP) {
                self.set_on_the_way(slots, from, to).await?;
                for slot in self.filled(slots, from).await? {
                    while self.migrate(slot, from, to, KEYS_IN_A_STEP).await? > 0 {}
                }
                self.set_owner(slots, from, to).await?;
            }
        }
        self.wait_agreed().await
    }

    /// Moves every slot of a master to the other masters, evenly.
    ///
    /// # Errors
    /// When there is no other master, or a node refuses.
    pub async fn empty(&self, from: usize) -> Result<(), TestbedError> {
        let mut others = Vec::new();
        for number in self.numbers() {
            let node = self.myself(number).await?;
            if number != from && node.master.is_none() && !node.slots.is_empty() {
                others.push(number);
            }
        }
        if others.is_empty() {
            let what = format!("no other master can take the slots of node {from}");
            return Err(TestbedError::Layout(what));
        }
        let slots: Vec<u16> = self
            .myself(from)
            .await?
            .slots
            .into_iter()
            .flatten()
            .collect();
        let share = slots.len().div_ceil(others.len()).max(1);
        for (slots, to) in slots.chunks(share).zip(others) {
            self.move_slots(slots.iter().copied(), to).await?;
        }
        Ok(())
    }

    /// Waits until all nodes agree who serves what.
    async fn wait_agreed(&self) -> Result<(), TestbedError> {
        wait::until("all nodes agree on the slots", async || {
            let mut first = None;
            for number in self.numbers() {
                let view = self.view(number).await.map_err(wait::seen)?;
                let mut slots: Vec<_> = view
                    .nodes
                    .into_iter()
                    .filter(|node| !node.slots.is_empty())
                    .map(|node| (node.id, node.slots))
                    .collect();
                slots.sort_by(|a, b| a.0.cmp(&b.0));
                match &first {
                    None => first = Some(slots),
                    Some(seen) if *seen == slots => {}
                    Some(_) => return Err(format!("node {number} sees others")),
                }
            }
            Ok(())
        })
        .await
    }

    async fn set_on_the_way(
        &self,
        slots: &[u16],
        from: usize,
        to: usize,
    ) -> Result<(), TestbedError> {
        // The target first: a client that is sent there must find it willing.
        self.set_slots(to, slots, "IMPORTING", from).await?;
        self.set_slots(from, slots, "MIGRATING", to).await
    }

    async fn set_owner(&self, slots: &[u16], from: usize, to: usize) -> Result<(), TestbedError> {
        // The target first: were it the source and that one died, nobody would have the slot.
        self.set_slots(to, slots, "NODE", to).await?;
        self.set_slots(from, slots, "NODE", to).await
    }

    async fn set_slots(
        &self,
        at: usize,
        slots: &[u16],
        state: &str,
        node: usize,
    ) -> Result<(), TestbedError> {
        let id = self.id(node)?;
        let mut pipeline = redis::pipe();
        for slot in slots {
            let command = pipeline.cmd("CLUSTER").arg("SETSLOT").arg(*slot);
            command.arg(state).arg(id).ignore();
        }
        self.query_all(at, &pipeline).await.map(drop)
    }

    /// Which of these slots have keys.
    async fn filled(&self, slots: &[u16], at: usize) -> Result<Vec<u16>, TestbedError> {
        let mut pipeline = redis::pipe();
        for slot in slots {
            pipeline.cmd("CLUSTER").arg("COUNTKEYSINSLOT").arg(*slot);
        }
        let counts = self.query_all(at, &pipeline).await?;
        Ok(slots
            .iter()
            .zip(counts)
            .filter(|(_, count)| *count != Value::Int(0))
            .map(|(slot, _)| *slot)
            .collect())
    }

    /// Sends keys of a slot from one master to another. Answers how many were there to be sent.
    async fn migrate(
        &self,
        slot: u16,
        from: usize,
        to: usize,
        keys_max: usize,
    ) -> Result<usize, TestbedError> {
        let mut command = cmd("CLUSTER");
        command.arg("GETKEYSINSLOT").arg(slot).arg(keys_max);
        let keys: Vec<Vec<u8>> = self.query(from, &command).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        let target = self.address(to)?;
        let mut command = cmd("MIGRATE");
        command
            .arg(target.ip().to_string())
            .arg(target.port())
            .arg("")
            .arg(0)
            .arg(MIGRATE_WITHIN_MS)
            .arg("KEYS")
            .arg(&keys);
        // NOKEY: they were deleted meanwhile.
        let _: String = self.query(from, &command).await?;
        Ok(keys.len())
    }
}

impl SlotMove<'_> {
    /// Sends at most so many keys, whichever the source names. Answers how many were there to be sent.
    ///
    /// # Errors
    /// When the source or the target fails.
    pub async fn step(&self, keys_max: usize) -> Result<usize, TestbedError> {
        let Self {
            cluster,
            slot,
            from,
            to,
        } = *self;
        cluster.migrate(slot, from, to, keys_max).await
    }

    /// Sends all keys that are left, gives the slot to the target, and waits until all nodes know it.
    ///
    /// # Errors
    /// When a node refuses or fails.
    pub async fn finish(self) -> Result<(), TestbedError> {
        while self.step(KEYS_IN_A_STEP).await? > 0 {}
        self.cluster
            .set_owner(&[self.slot], self.from, self.to)
            .await?;
        self.cluster.wait_agreed().await
    }
}
