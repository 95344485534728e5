//! Joins what is known of partitions and nodes into how Redis is, as a whole and shard by shard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Seen;
use super::nodes::NodeSeen;
use crate::limits::is_filling;
use crate::queue::Queue;
use crate::queue::nodes::ServerState;
use crate::snapshot::{RedisState, Replica, Shard};

/// How Redis is. Notes for each partition whether its Redis is filling up.
pub(super) fn join(
    partitions: &[Arc<Seen>],
    nodes: &BTreeMap<Arc<str>, NodeSeen>,
    queue: &Queue,
) -> RedisState {
    let unknown = NodeSeen::default();
    let seen_at = |name: &str| nodes.get(name).unwrap_or(&unknown);
    let mut shards: BTreeMap<&str, Shard> = BTreeMap::new();
    for (number, seen) in partitions.iter().enumerate() {
        let Some(name) = seen.node.as_deref() else {
            continue;
        };
        let known = &seen_at(name).server;
        let server = known.clone().unwrap_or_default();
        let shard = shards.entry(name).or_insert_with(|| Shard {
            address: name.to_owned(),
            up: true,
            durable: known.is_some() && server.weaknesses.is_empty(),
            version: server.version.clone(),
            used_memory_bytes: server.used_memory_bytes,
            max_memory_bytes: server.max_memory_bytes,
            ..Shard::default()
        });
        shard.partitions.push(number as u64);
        shard.queue_depth += seen.state.queued;
        shard.unrecorded += seen.state.decided;
        shard.oldest_waiting_ms = shard.oldest_waiting_ms.max(seen.slow.oldest_waiting_ms);
        if let Some(trouble) = seen.trouble() {
            shard.up = false;
            shard.trouble.get_or_insert_with(|| trouble.clone());
        }
        let is_filling = is_filling(server.used_memory_bytes, server.max_memory_bytes);
        queue.depths().note_filling(number, is_filling);
    }
    let answered: Vec<_> = nodes
        .iter()
        .filter_map(|(name, seen)| Some((name, seen.server.as_ref()?)))
        .collect();
    let weaknesses: Vec<String> = answered
        .iter()
        .flat_map(|(name, server)| {
            server.weaknesses.iter().map(move |weakness| {
                if queue.is_in_cluster() {
                    format!("{name}: {weakness}")
                } else {
                    weakness.clone()
                }
            })
        })
        .collect();
    let distinct = |of: fn(&ServerState) -> &str| {
        let all: BTreeSet<&str> = answered.iter().map(|(_, server)| of(server)).collect();
        all.into_iter().collect::<Vec<_>>().join(", ")
    };
    let replicas = nodes
        .iter()
        .filter(|(name, seen)| {
            !shards.contains_key(&***name)
                && seen.server.as_ref().is_some_and(|server| server.is_replica)
        })
        .map(|(name, seen)| Replica {
            address: name.to_string(),
            up: seen.trouble.is_none(),
        })
        .collect();
    let is_bounded = !shards.is_empty() && shards.values().all(|shard| shard.max_memory_bytes > 0);
    let trouble = partitions.iter().find_map(|seen| seen.trouble());
    RedisState {
        // One shard that is down is an outage of its partitions, not of all.
        up: partitions
            .iter()
            .any(|seen| seen.trouble().is_none() && seen.node.is_some()),
        version: distinct(|server| &server.version),
        appendfsync: distinct(|server| &server.appendfsync),
        durable: !answered.is_empty() && weaknesses.is_empty(),
        weaknesses,
        trouble: trouble.cloned(),
        used_memory_bytes: shards.values().map(|shard| shard.used_memory_bytes).sum(),
        max_memory_bytes: if is_bounded {
            shards.values().map(|shard| shard.max_memory_bytes).sum()
        } else {
            0
        },
        is_cluster: queue.is_in_cluster(),
        shards: shards.into_values().collect(),
        replicas,
    }
}

/// Says what is weak when that changes.
pub(super) fn tell_changes(before: &RedisState, now: &RedisState) {
    if before.weaknesses != now.weaknesses && !now.weaknesses.is_empty() {
        tracing::warn!(
            settings = now.weaknesses.join("; "),
            "Redis may lose loans that were answered 202"
        );
    }
}
