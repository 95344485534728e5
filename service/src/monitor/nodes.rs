//! Watches the nodes of Redis: how each is set, and how full it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::queue::Queue;
use crate::queue::nodes::{NodeLook, ServerState};
use crate::task;

/// How often a node's memory is looked at, where it is bounded: a full one is told in time.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Looks between two at the settings.
const SETTINGS_EVERY: u32 = 5;
/// How often it is looked for new nodes.
const FIND_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeSeen {
    /// What it said last; none before it has answered once.
    pub(super) server: Option<ServerState>,
    /// Why it does not answer, if it does not.
    pub(super) trouble: Option<String>,
}

/// What is known of each node, by its address.
#[derive(Debug)]
pub(super) struct Nodes(watch::Receiver<BTreeMap<Arc<str>, watch::Receiver<NodeSeen>>>);

impl Nodes {
    /// Starts watching, until this is dropped.
    pub(super) fn watch(queue: &Queue) -> Self {
        let (sender, nodes) = watch::channel(BTreeMap::new());
        task::spawn("nodes", find(queue.clone(), sender));
        Self(nodes)
    }

    /// Returns when each node that is known has answered or failed once, or after `limit`: before, a node that was not
    /// asked yet would look like one that does not answer.
    pub(super) async fn settle(&self, limit: Duration) {
        let settled = async {
            loop {
                let nodes = self.latest();
                let is_known = |seen: &NodeSeen| seen.server.is_some() || seen.trouble.is_some();
                if !nodes.is_empty() && nodes.values().all(is_known) {
                    return;
                }
                tokio::time::sleep(LOOK_INTERVAL / 20).await;
            }
        };
        let _ = tokio::time::timeout(limit, settled).await;
    }

    /// What is known now.
    pub(super) fn latest(&self) -> BTreeMap<Arc<str>, NodeSeen> {
        let nodes = self.0.borrow();
        nodes
            .iter()
            .map(|(name, seen)| (Arc::clone(name), seen.borrow().clone()))
            .collect()
    }
}

/// Keeps a task at each node that there is.
async fn find(queue: Queue, nodes: watch::Sender<BTreeMap<Arc<str>, watch::Receiver<NodeSeen>>>) {
    let mut looks: BTreeMap<Arc<str>, JoinHandle<()>> = BTreeMap::new();
    let mut find = interval(FIND_INTERVAL);
    find.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !nodes.is_closed() {
        find.tick().await;
        if let Err(error) = queue.find_nodes().await {
            tracing::debug!(%error, "the cluster says nothing of its nodes");
        }
        let found: BTreeMap<_, _> = queue
            .nodes()
            .into_iter()
            .map(|node| (node.name(), node))
            .collect();
        looks.retain(|name, look| {
            let is_there = found.contains_key(name);
            if !is_there {
                look.abort();
                nodes.send_modify(|nodes| drop(nodes.remove(name)));
            }
            is_there
        });
        for (name, node) in found {
            looks.entry(Arc::clone(&name)).or_insert_with(|| {
                let (sender, seen) = watch::channel(NodeSeen::default());
                nodes.send_modify(|nodes| drop(nodes.insert(name, seen)));
                task::spawn("node", look(node, sender))
            });
        }
    }
    for look in looks.into_values() {
        look.abort();
    }
}

async fn look(mut node: NodeLook, sender: watch::Sender<NodeSeen>) {
    let mut looks: u32 = 0;
    let mut tick = interval(LOOK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !sender.is_closed() {
        tick.tick().await;
        let mut seen = sender.borrow().clone();
        let is_settings_turn = looks.is_multiple_of(SETTINGS_EVERY) || seen.server.is_none();
        looks = looks.wrapping_add(1);
        let answer = match &mut seen.server {
            Some(server) if !is_settings_turn => {
                if server.max_memory_bytes == 0 {
                    continue;
                }
                let used = node.used_memory().await;
                used.map(|used| server.used_memory_bytes = used)
            }
            server => node.server().await.map(|answer| *server = Some(answer)),
        };
        seen.trouble = answer.err().map(|error| error.to_string());
        sender.send_replace(seen);
    }
}
