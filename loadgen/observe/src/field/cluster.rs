//! A Redis Cluster and a replica set under faults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use plan::faults::{ClusterFault, StackPlan};
use record::clock::RunClock;
use testbed::{
    ClusterOptions, NodeRole, RedisCluster, RedisOptions, ReplicaSet, ReplicaSetOptions, Servers,
    Signal, TestbedError, slot,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{COMMAND_TIMEOUT, Effect, LOOK_EVERY, StrikeError};
use crate::{follow, stores};

/// Admission calls of one partition whose answers may be on their way when their master is lost: they are confirmed to
/// nobody.
const UNDER_WAY_MAX: u64 = 2;
/// How long a step-down lasts.
const STEPPED_DOWN: Duration = Duration::from_secs(60);

/// The stores of a deployment on several machines.
pub(super) struct Cluster {
    redis: Mutex<RedisCluster>,
    mongodb: Mutex<ReplicaSet>,
    shards: usize,
}

/// Counters by partition.
type Counts = BTreeMap<String, u64>;

impl Cluster {
    pub(super) async fn start(servers: &Servers, plan: &StackPlan) -> Result<Self, TestbedError> {
        let layout = plan.redis.parse().map_err(TestbedError::Layout)?;
        let testbed::RedisLayout::Cluster { masters, replicas } = layout else {
            return Err(TestbedError::Layout(format!("{layout} is no cluster")));
        };
        let (redis, mongodb) = tokio::try_join!(
            RedisCluster::start(
                servers,
                ClusterOptions {
                    masters,
                    replicas,
                    node: RedisOptions {
                        append_fsync: plan.appendfsync.clone(),
                        arguments: plan.redis_arguments.clone(),
                        ..RedisOptions::default()
                    },
                    node_timeout: Duration::from_secs(1),
                    fails_over: plan.fails_over,
                    can_part: true,
                }
            ),
            ReplicaSet::start(
                servers,
                ReplicaSetOptions {
                    can_part: true,
                    ..ReplicaSetOptions::default()
                }
            ),
        )?;
        Ok(Self {
            redis: Mutex::new(redis),
            mongodb: Mutex::new(mongodb),
            shards: masters,
        })
    }

    /// Where Redis and MongoDB are.
    pub(super) async fn urls(&self) -> (String, String) {
        let nodes = self.redis.lock().await.addresses().into_iter();
        let urls: Vec<_> = nodes.map(|address| format!("redis://{address}")).collect();
        (urls.join(","), self.mongodb.lock().await.uri())
    }

    /// Every node runs and is seen by all.
    pub(super) async fn heal(&self) -> Result<(), TestbedError> {
        let mut redis = self.redis.lock().await;
        redis.heal();
        for number in redis.numbers() {
            let node = redis.node_mut(number)?;
            if node.pid() == 0 || node.try_wait()?.is_some() {
                node.restart().await?;
            }
        }
        redis.wait_whole().await?;
        drop(redis);
        let mut mongodb = self.mongodb.lock().await;
        mongodb.heal();
        for number in mongodb.numbers() {
            let member = mongodb.member_mut(number)?;
            if member.pid() == 0 || member.try_wait()?.is_some() {
                member.restart().await?;
            }
        }
        mongodb.wait_whole().await.map(drop)
    }

    pub(super) async fn make(
        &self,
        fault: ClusterFault,
        instances: &[SocketAddr],
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        match fault {
            ClusterFault::StepDown
            | ClusterFault::KillPrimary { .. }
            | ClusterFault::PartPrimary { .. } => self.make_in_set(fault, clock, hit).await,
            _ => self.make_in_cluster(fault, instances, clock, hit).await,
        }
    }

    async fn make_in_cluster(
        &self,
        fault: ClusterFault,
        instances: &[SocketAddr],
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        let mut redis = self.redis.lock().await;
        // The one before may still be coming back.
        redis.wait_whole().await?;
        *hit = clock.now();
        match fault {
            ClusterFault::KillMaster { shard, lasts } => {
                let (master, _) = self.nodes_of(&redis, shard).await?;
                let pid = redis.node(master)?.pid();
                let before = recorded_beside(&redis, master).await?;
                redis.node_mut(master)?.kill();
                tokio::time::sleep(lasts).await;
                let grown = recorded_beside(&redis, master)
                    .await?
                    .saturating_sub(before);
                redis.node_mut(master)?.restart().await?;
                redis.wait_whole().await?;
                let words = format!("process {pid} killed");
                Ok(others_went_on(grown, &words).seen_by_clients())
            }
            ClusterFault::StopMaster { shard, lasts } => {
                let (master, _) = self.nodes_of(&redis, shard).await?;
                let before = recorded_beside(&redis, master).await?;
                redis.node(master)?.signal(Signal::SIGSTOP)?;
                tokio::time::sleep(lasts).await;
                let grown = recorded_beside(&redis, master)
                    .await?
                    .saturating_sub(before);
                redis.node(master)?.signal(Signal::SIGCONT)?;
                redis.wait_whole().await?;
                let words = format!("process {} stood still", redis.node(master)?.pid());
                Ok(others_went_on(grown, &words).seen_by_clients())
            }
            ClusterFault::PartMaster { shard, lasts } => {
                let (master, replica) = self.nodes_of(&redis, shard).await?;
                let before = recorded_beside(&redis, master).await?;
                let others: Vec<_> = redis
                    .numbers()
                    .into_iter()
                    .filter(|number| ![master, replica].contains(number))
                    .collect();
                redis.part(&[master], &others)?;
                redis.wait_state(master, false).await?;
                tokio::time::sleep(lasts).await;
                let grown = recorded_beside(&redis, master)
                    .await?
                    .saturating_sub(before);
                let held = redis.held(master);
                redis.heal();
                redis.wait_whole().await?;
                let words = format!("{held} chunks held back, it saw no majority");
                Ok(others_went_on(grown, &words).seen_by_clients())
            }
            ClusterFault::KillReplica { shard, lasts } => {
                let (master, replica) = self.nodes_of(&redis, shard).await?;
                let pid = redis.node(replica)?.pid();
                redis.node_mut(replica)?.kill();
                redis.wait_failed(master, replica, true).await?;
                tokio::time::sleep(lasts).await;
                redis.node_mut(replica)?.restart().await?;
                redis.wait_whole().await?;
                let words = format!("process {pid} killed, its master held it for failed");
                Ok(Effect::new(true, words).figure("replicas_killed", 1))
            }
            ClusterFault::FailOver { shard } => {
                let (master, replica) = self.nodes_of(&redis, shard).await?;
                redis.fail_over(replica).await?;
                let role = redis.role(master).await?;
                let words = format!("node {replica} is the master in the place of node {master}");
                let is_replica = role == NodeRole::Replica { of: replica };
                Ok(Effect::new(is_replica, words).figure("failovers", 1))
            }
            ClusterFault::RestartNodes => {
                let pids = |redis: &RedisCluster| {
                    let numbers = redis.numbers().into_iter();
                    numbers
                        .filter_map(|number| Some(redis.node(number).ok()?.pid()))
                        .collect::<Vec<_>>()
                };
                let before = pids(&redis);
                redis.restart_in_turn().await?;
                let after = pids(&redis);
                let changed = before.iter().filter(|pid| !after.contains(pid)).count();
                let is_all = changed == before.len();
                let words = format!("{changed} of {} processes are new", before.len());
                Ok(Effect::new(is_all, words).figure("nodes_restarted", changed as u64))
            }
            ClusterFault::MoveSlots { shard } => {
                let (master, _) = self.nodes_of(&redis, shard).await?;
                let (next, _) = self.nodes_of(&redis, (shard + 1) % self.shards).await?;
                let Some(slot) = partition_at(&redis, master).await? else {
                    return Ok(Effect::new(false, "the shard has no partition"));
                };
                let keys = keys_in(&redis, master, slot).await?;
                redis.move_slots([slot], next).await?;
                let arrived = keys_in(&redis, next, slot).await?;
                redis.move_slots([slot], master).await?;
                redis.wait_whole().await?;
                let words = format!("slot {slot} moved with {keys} keys, and back");
                Ok(Effect::new(keys > 0 && arrived > 0, words).figure("keys_moved", keys))
            }
            ClusterFault::AddNode { shard } => {
                let (master, _) = self.nodes_of(&redis, shard).await?;
                let added = redis.add_master().await?;
                let slot = partition_at(&redis, master).await?;
                let Some(slot) = slot else {
                    return Ok(Effect::new(false, "the shard has no partition"));
                };
                redis.move_slots([slot], added).await?;
                let admissions = async |redis: &RedisCluster| -> Result<u64, StrikeError> {
                    Ok(counts(redis, added, &["admissions"]).await?.values().sum())
                };
                // The service has to bring its functions. The load goes on until the faults are over, where the plan says so:
                // however late this one strikes, somebody sends.
                let before = admissions(&redis).await?;
                let begun = Instant::now();
                let mut after = before;
                while after == before && begun.elapsed() < COMMAND_TIMEOUT {
                    tokio::time::sleep(LOOK_EVERY).await;
                    after = admissions(&redis).await?;
                }
                redis.move_slots([slot], master).await?;
                redis.remove_node(added).await?;
                let words = format!(
                    "node {added} joined, admitted {} times, and left",
                    after - before
                );
                // A node that admitted nothing proves nothing.
                Ok(Effect::new(after > before, words).figure("nodes_added", 1))
            }
            ClusterFault::LoseByFailOver { shard, lasts } => {
                self.lose(&redis, shard, lasts, instances).await
            }
            ClusterFault::StepDown
            | ClusterFault::KillPrimary { .. }
            | ClusterFault::PartPrimary { .. } => Err(StrikeError::OtherGround),
        }
    }

    /// A replica that hears nothing of its master takes over; the service has to say what is gone.
    async fn lose(
        &self,
        redis: &RedisCluster,
        shard: usize,
        lasts: Duration,
        instances: &[SocketAddr],
    ) -> Result<Effect, StrikeError> {
        let (master, replica) = self.nodes_of(redis, shard).await?;
        let others: Vec<_> = redis
            .numbers()
            .into_iter()
            .filter(|number| ![master, replica].contains(number))
            .collect();
        let declared_before = declared(instances).await;
        redis.part(&[master], &[replica])?;
        tokio::time::sleep(lasts).await;
        // Now nobody hears of it any more, and so nothing more is confirmed.
        redis.part_from_clients(master)?;
        let there = counts(redis, master, &["admissions"]).await?;
        redis.part(&[master], &others)?;
        redis.wait_role(replica, NodeRole::Master).await?;
        let left = counts(redis, replica, &["admissions"]).await?;
        let lost = |tag: &String, count: &u64| {
            count.saturating_sub(left.get(tag).copied().unwrap_or_default())
        };
        let lost_all: u64 = there.iter().map(|(tag, count)| lost(tag, count)).sum();
        let sure: u64 = there
            .iter()
            .map(|(tag, count)| lost(tag, count).saturating_sub(UNDER_WAY_MAX))
            .sum();
        redis.heal();
        redis.wait_whole().await?;
        let begun = Instant::now();
        let mut told = 0;
        while told < sure && begun.elapsed() < COMMAND_TIMEOUT {
            tokio::time::sleep(LOOK_EVERY).await;
            told = declared(instances).await.saturating_sub(declared_before);
        }
        let words = format!(
            "node {replica} took over without {lost_all} admissions of node {master}; the service told of {told}"
        );
        let mut effect = Effect::new(sure > 0, words)
            .figure("admissions_lost", lost_all)
            .figure("admissions_declared_lost", told);
        if told < sure {
            effect.wrong = Some(format!(
                "{sure} confirmed admissions or more are gone, and the service told of {told}"
            ));
        }
        Ok(effect)
    }

    async fn make_in_set(
        &self,
        fault: ClusterFault,
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        let mut set = self.mongodb.lock().await;
        let primary = set.wait_whole().await?;
        let others: Vec<_> = set
            .numbers()
            .into_iter()
            .filter(|number| *number != primary)
            .collect();
        *hit = clock.now();
        let (next, words) = match fault {
            ClusterFault::KillPrimary { lasts } => {
                set.member_mut(primary)?.kill();
                let next = set.wait_primary_of(&others).await?;
                tokio::time::sleep(lasts).await;
                set.member_mut(primary)?.restart().await?;
                (next, "was killed")
            }
            ClusterFault::PartPrimary { lasts } => {
                set.part(&[primary], &others)?;
                let next = set.wait_primary_of(&others).await?;
                tokio::time::sleep(lasts).await;
                set.heal();
                (next, "was parted from the others")
            }
            _ => (set.step_down(STEPPED_DOWN).await?, "stepped down"),
        };
        set.wait_whole().await?;
        let words = format!("member {primary} {words}, member {next} took its place");
        Ok(Effect::new(next != primary, words).figure("primaries_changed", 1))
    }

    /// The master of a shard, and its replica.
    async fn nodes_of(
        &self,
        redis: &RedisCluster,
        shard: usize,
    ) -> Result<(usize, usize), StrikeError> {
        let (one, other) = (shard, shard + self.shards);
        Ok(match redis.role(one).await? {
            NodeRole::Master => (one, other),
            NodeRole::Replica { .. } => (other, one),
        })
    }
}

/// The effect of a master's absence: it has none if nobody could see that the others go on.
fn others_went_on(grown: u64, words: &str) -> Effect {
    let words = format!("{words}; the other shards had {grown} loans recorded meanwhile");
    Effect::new(grown > 0, words).figure("recorded_beside", grown)
}

/// Counters of the partitions at a node, past the proxies.
async fn counts(redis: &RedisCluster, node: usize, names: &[&str]) -> Result<Counts, StrikeError> {
    let url = redis.node(node)?.url();
    super::within(async {
        let mut connection = redis::Client::open(url)?
            .get_multiplexed_async_connection()
            .await?;
        stores::counter_at(&mut connection, names).await
    })
    .await
}

/// How many loans the other masters have had recorded.
async fn recorded_beside(redis: &RedisCluster, master: usize) -> Result<u64, StrikeError> {
    let mut sum = 0;
    for number in redis.numbers() {
        if number != master && redis.role(number).await? == NodeRole::Master {
            let counts = counts(redis, number, &["recorded_loans", "recorded_failures"]).await?;
            sum += counts.values().sum::<u64>();
        }
    }
    Ok(sum)
}

/// The slot of a partition that a node serves.
async fn partition_at(redis: &RedisCluster, node: usize) -> Result<Option<u16>, StrikeError> {
    let tags = counts(redis, node, &["admissions"]).await?;
    Ok(tags.keys().next().map(|tag| slot(tag.as_bytes())))
}

async fn keys_in(redis: &RedisCluster, node: usize, slot: u16) -> Result<u64, StrikeError> {
    let mut count = redis::cmd("CLUSTER");
    count.arg("COUNTKEYSINSLOT").arg(slot);
    Ok(redis.query(node, &count).await?)
}

/// How many admissions the instances say are gone: the most that one of them says.
pub(super) async fn declared(instances: &[SocketAddr]) -> u64 {
    let mut most = 0;
    for address in instances {
        if let Ok(snapshot) = follow::snapshot(&format!("http://{address}"), None).await {
            most = snapshot.counters.rolled_back.max(most);
        }
    }
    most
}
