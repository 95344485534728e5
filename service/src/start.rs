//! What is checked before anything is served: that Redis keeps what it confirms, and that Redis and MongoDB belong to a
//! queue of this shape.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::{join, join_all};

use crate::StartError;
use crate::config::Config;
use crate::error::ServiceError;
use crate::pairing::{Move, pair};
use crate::queue::Queue;
use crate::queue::bundle::Instance;
use crate::queue::nodes::NodeLook;
use crate::queue::refusal::Refusal;
use crate::store::Store;

/// Redis and MongoDB need not be there: so long they are waited for.
const STORES_AWAITED: Duration = Duration::from_secs(2);
/// A Redis that must be durable has to say so.
const DURABILITY_AWAITED: Duration = Duration::from_secs(10);
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// Where this instance runs: the next start at the same place takes over what this one held.
pub(crate) fn place(address: SocketAddr) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {address}", host.trim())
}

/// Checks what can be checked now.
pub(crate) async fn check(
    config: &Config,
    queue: &Queue,
    store: &Store,
    instance: Instance,
) -> Result<(), StartError> {
    match within_patience(queue.is_as_set()).await {
        Some(Ok(false)) => {
            return Err(StartError::NotAsSet(if config.redis_cluster {
                "--redis-cluster (SLUICE_REDIS_CLUSTER) is set, and the Redis at --redis-url belongs to no cluster: leave it out"
            } else {
                "the Redis at --redis-url belongs to a Redis Cluster: start with --redis-cluster (SLUICE_REDIS_CLUSTER=yes)"
            }.to_owned()));
        }
        Some(Err(ServiceError::RedisAddress(fault))) => {
            return Err(StartError::NotAsSet(format!(
                "--redis-url (SLUICE_REDIS_URL): {fault}"
            )));
        }
        _ => {}
    }
    if config.require_durable {
        require_durable(queue).await?;
    }
    if config.repartition {
        repartition(config, queue, store).await?;
    }
    // A store that does not answer is waited for once, not once for each question.
    let (wrong, unfit) = join(
        within_patience(store.wrong_shard_keys()),
        within_patience(store.unfit_collections()),
    )
    .await;
    if let Some(Ok(wrong)) = wrong
        && !wrong.is_empty()
    {
        return Err(StartError::WrongShardKey(wrong.join("; ")));
    }
    if let Some(Ok(unfit)) = unfit
        && !unfit.is_empty()
    {
        return Err(StartError::UnfitCollection(unfit.join("; ")));
    }
    let mut first = queue.partition(0);
    match within_patience(first.probe(STORES_AWAITED)).await {
        Some(Err(ServiceError::RedisRefused(refusal @ Refusal::OtherQueue { .. }))) => {
            Err(StartError::OtherQueue(format!(
                "--partitions is {}, and Redis says: {refusal}",
                config.partitions
            )))
        }
        Some(Err(ServiceError::RedisRefused(refusal @ Refusal::FormerQueue { .. }))) => {
            Err(StartError::OtherQueue(format!("Redis says: {refusal}")))
        }
        Some(Ok(())) => {
            let may_move = if config.repartition {
                Move::Told
            } else {
                Move::AtRest
            };
            match within_patience(pair(queue, store, instance, None, may_move)).await {
                Some(Err(error @ ServiceError::OtherRecord(_))) => {
                    Err(StartError::OtherQueue(error.to_string()))
                }
                // Who does not answer now is asked again before anything is recorded.
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// What a store answers, if it answers soon.
async fn within_patience<T>(
    question: impl Future<Output = Result<T, ServiceError>>,
) -> Option<Result<T, ServiceError>> {
    tokio::time::timeout(STORES_AWAITED, question).await.ok()
}

/// Waits for Redis, and refuses one that is not durable: in a cluster any node of it.
async fn require_durable(queue: &Queue) -> Result<(), StartError> {
    let mut last = "Redis does not answer".to_owned();
    let until = tokio::time::Instant::now() + DURABILITY_AWAITED;
    while tokio::time::Instant::now() < until {
        match weaknesses(queue).await {
            Ok(weaknesses) if weaknesses.is_empty() => return Ok(()),
            Ok(weaknesses) => return Err(StartError::NotDurable(weaknesses.join("; "))),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
    Err(StartError::DurabilityUnknown(last))
}

/// What is weak at the nodes that answer. Those that do not are looked at when they do.
async fn weaknesses(queue: &Queue) -> Result<Vec<String>, ServiceError> {
    queue.find_nodes().await?;
    let mut nodes = queue.nodes();
    let looks = join_all(nodes.iter_mut().map(NodeLook::server)).await;
    let mut found = Vec::new();
    let mut answered = false;
    let mut failed = ServiceError::RedisReply("no node is known");
    for (node, look) in nodes.iter().zip(looks) {
        match look {
            Ok(server) => {
                answered = true;
                found.extend(server.weaknesses.into_iter().map(|weakness| {
                    if queue.is_in_cluster() {
                        format!("{}: {weakness}", node.name())
                    } else {
                        weakness
                    }
                }));
            }
            Err(error) => failed = error,
        }
    }
    if answered { Ok(found) } else { Err(failed) }
}

/// Changes the number of partitions, of an empty queue.
async fn repartition(config: &Config, queue: &Queue, store: &Store) -> Result<(), StartError> {
    let refuse = |why: String| StartError::OtherQueue(format!("--repartition: {why}"));
    let left = queue
        .clear_other_partitions()
        .await
        .map_err(|error| refuse(error.to_string()))?;
    if left > 0 {
        return Err(refuse(format!(
            "{left} loans are not recorded yet: let the instances with the former number of partitions drain first"
        )));
    }
    store
        .set_partitions(config.partitions)
        .await
        .map_err(|error| refuse(error.to_string()))?;
    tracing::info!(
        partitions = config.partitions,
        "the queue has another number of partitions"
    );
    Ok(())
}
