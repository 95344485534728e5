//! A private Redis Cluster, and the faults and changes that it lives through.
//!
//! A node is known by its number: first the masters, then the replicas; node `masters + i` is made a replica of node
//! `i % masters`. Roles change in failovers, numbers do not. Each node has an address of its own, 127.0.0.(number + 2),
//! and makes its connections from there (`bind-source-addr`), so that any two can be parted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, cmd};

use crate::error::TestbedError;
use crate::network::{self, Network};
use crate::process;
use crate::redis::{RedisOptions, RedisServer};
use crate::servers::Servers;
use crate::wait;

mod moves;
pub mod view;

pub use moves::SlotMove;
use view::{ClusterView, NodeView, even_shares};

/// The bus of a node listens this far below its port, and so below the range that Linux takes outgoing ports from.
const BUS_BELOW: u16 = 5_000;

/// How a private Redis Cluster is set.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Masters at the start; Redis wants three or more, one or two work as well.
    pub masters: usize,
    /// Replicas at the start, of all masters together.
    pub replicas: usize,
    /// For each node. A data folder gets a folder for each node, and must be new.
    pub node: RedisOptions,
    /// How long a node may be silent before the others hold it for failed.
    pub node_timeout: Duration,
    /// Whether a replica takes over by itself from a master that failed. Loans may be lost then: replication comes
    /// after the answer. When it does not, only [`RedisCluster::fail_over`] changes masters.
    pub fails_over: bool,
    /// Whether nodes can be parted. Everything between nodes and from clients passes a proxy then.
    pub can_part: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            masters: 3,
            replicas: 3,
            node: RedisOptions::default(),
            node_timeout: Duration::from_secs(2),
            fails_over: false,
            can_part: false,
        }
    }
}

/// What a node is, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// It serves slots, or could.
    Master,
    /// It follows the master of this number.
    Replica {
        /// The master.
        of: usize,
    },
}

/// What a node does: whom it follows, and which slots it serves.
type Part = (Option<String>, Vec<RangeInclusive<u16>>);

struct Node {
    server: RedisServer,
    id: String,
}

/// A private Redis Cluster. Dropping it kills all nodes and removes their temporary folders.
pub struct RedisCluster {
    servers: Servers,
    options: ClusterOptions,
    // Dropped before the network: no node should see its proxies go.
    nodes: BTreeMap<usize, Node>,
    network: Network,
}

impl RedisCluster {
    /// Starts all nodes, makes them a cluster with slots spread evenly, and waits until it is whole.
    ///
    /// # Errors
    /// When a node does not start, or the cluster does not come together.
    pub async fn start(servers: &Servers, options: ClusterOptions) -> Result<Self, TestbedError> {
        if options.masters == 0 {
            return Err(TestbedError::Layout("a cluster needs a master".into()));
        }
        let (masters, count) = (options.masters, options.masters + options.replicas);
        let mut cluster = Self {
            servers: servers.clone(),
            network: Network::new(options.can_part),
            options,
            nodes: BTreeMap::new(),
        };
        for number in 0..count {
            cluster.start_node(number).await?;
            // Before they meet, so that no two masters have the same one and none must give way.
            let mut command = cmd("CLUSTER");
            command.arg("SET-CONFIG-EPOCH").arg(number + 1);
            cluster.query::<()>(number, &command).await?;
        }
        for (number, share) in even_shares(masters).into_iter().enumerate() {
            let mut command = cmd("CLUSTER");
            command
                .arg("ADDSLOTSRANGE")
                .arg(*share.start())
                .arg(*share.end());
            cluster.query::<()>(number, &command).await?;
        }
        for number in 1..count {
            cluster.meet(0, number).await?;
        }
        cluster.wait_known().await?;
        for number in masters..count {
            cluster
                .replicate(number, (number - masters) % masters)
                .await?;
        }
        cluster.wait_whole().await?;
        Ok(cluster)
    }

    // ---- where everything is ----

    /// The numbers of all nodes, running or not.
    pub fn numbers(&self) -> Vec<usize> {
        self.nodes.keys().copied().collect()
    }

    /// The address under which the others and the clients know a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn address(&self, number: usize) -> Result<SocketAddr, TestbedError> {
        let port = self.node(number)?.port();
        Ok((network::public_host(number)?, port).into())
    }

    /// The public addresses of all nodes: any of them tells a client the others.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes
            .keys()
            .filter_map(|number| self.address(*number).ok())
            .collect()
    }

    /// A node's server, to read its log, signal it, or call it past the proxies at its own address.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node(&self, number: usize) -> Result<&RedisServer, TestbedError> {
        let node = self.nodes.get(&number);
        node.map(|node| &node.server)
            .ok_or(TestbedError::NoSuchNode(number))
    }

    /// As [`RedisCluster::node`], to kill it, stop it, or start it again.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node_mut(&mut self, number: usize) -> Result<&mut RedisServer, TestbedError> {
        let node = self.nodes.get_mut(&number);
        node.map(|node| &mut node.server)
            .ok_or(TestbedError::NoSuchNode(number))
    }

    /// A node's id, of 40 hexadecimal digits.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn id(&self, number: usize) -> Result<&str, TestbedError> {
        let node = self.nodes.get(&number);
        node.map(|node| &*node.id)
            .ok_or(TestbedError::NoSuchNode(number))
    }

    fn number(&self, id: &str) -> Option<usize> {
        self.nodes
            .iter()
            .find_map(|(number, node)| (node.id == id).then_some(*number))
    }

    /// Sends one command to one node, past the proxies.
    ///
    /// # Errors
    /// What the node or the connection says.
    pub async fn query<T: FromRedisValue>(
        &self,
        number: usize,
        command: &Cmd,
    ) -> Result<T, TestbedError> {
        self.node(number)?
            .query(command)
            .await
            .map_err(TestbedError::redis(format!("ask node {number}")))
    }

    async fn query_all(
        &self,
        number: usize,
        pipeline: &Pipeline,
    ) -> Result<Vec<redis::Value>, TestbedError> {
        self.node(number)?
            .query_all(pipeline)
            .await
            .map_err(TestbedError::redis(format!("ask node {number}")))
    }

    /// All nodes, as this one sees them.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn view(&self, number: usize) -> Result<ClusterView, TestbedError> {
        let mut command = cmd("CLUSTER");
        command.arg("NODES");
        let text: String = self.query(number, &command).await?;
        Ok(ClusterView::parse(&text))
    }

    async fn myself(&self, number: usize) -> Result<NodeView, TestbedError> {
        let view = self.view(number).await?;
        view.myself()
            .cloned()
            .ok_or_else(|| TestbedError::Layout(format!("node {number} does not know itself")))
    }

    /// What a node is, by its own word.
    ///
    /// # Errors
    /// When it does not answer, or follows a node that is gone.
    pub async fn role(&self, number: usize) -> Result<NodeRole, TestbedError> {
        let Some(master) = self.myself(number).await?.master else {
            return Ok(NodeRole::Master);
        };
        let of = self.number(&master).ok_or_else(|| {
            TestbedError::Layout(format!("node {number} follows {master}, which is gone"))
        })?;
        Ok(NodeRole::Replica { of })
    }

    /// The node that serves a slot: of those that answer and say so themselves, the one with the highest epoch.
    ///
    /// # Errors
    /// When none does.
    pub async fn owner(&self, slot: u16) -> Result<usize, TestbedError> {
        let mut owner = None;
        for number in self.numbers() {
            if let Ok(myself) = self.myself(number).await
                && myself.serves(slot)
                && owner.is_none_or(|(epoch, _)| myself.config_epoch > epoch)
            {
                owner = Some((myself.config_epoch, number));
            }
        }
        owner
            .map(|(_, number)| number)
            .ok_or_else(|| TestbedError::Layout(format!("no node says that it serves slot {slot}")))
    }

    /// The running replicas of a master.
    ///
    /// # Errors
    /// When the master does not answer.
    pub async fn replicas_of(&self, master: usize) -> Result<Vec<usize>, TestbedError> {
        let view = self.view(master).await?;
        let id = self.id(master)?;
        Ok(view
            .nodes
            .iter()
            .filter(|node| node.master.as_deref() == Some(id))
            .filter_map(|node| self.number(&node.id))
            .filter(|number| self.node(*number).is_ok_and(|node| node.pid() != 0))
            .collect())
    }

    // ---- waiting ----

    /// Waits until every node runs, knows all the others, is connected to them and holds none for failed, every
    /// slot has a master and every replica is known as that by all, and every replica has all that its master has.
    ///
    /// # Errors
    /// When that does not come true.
    pub async fn wait_whole(&self) -> Result<(), TestbedError> {
        wait::until("the cluster is whole", async || {
            let mut owners = None;
            for number in self.numbers() {
                let seen = self.look_whole(number).await?;
                match &owners {
                    None => owners = Some(seen),
                    Some(first) if *first == seen => {}
                    Some(_) => return Err(format!("node {number} sees other owners and replicas")),
                }
            }
            Ok(())
        })
        .await
    }

    /// Looks at one node for [`RedisCluster::wait_whole`]. Answers who serves what and who follows whom, as it sees it.
    async fn look_whole(&self, number: usize) -> Result<BTreeMap<String, Part>, String> {
        let view = self.view(number).await.map_err(wait::seen)?;
        if view.nodes.len() != self.nodes.len() {
            return Err(format!("node {number} knows {} nodes", view.nodes.len()));
        }
        for node in &view.nodes {
            let is_gone = ["fail", "fail?", "handshake", "noaddr"]
                .iter()
                .any(|flag| node.has(flag));
            if is_gone || !(node.is_connected || node.has("myself")) {
                return Err(format!("node {number} sees {node:?}"));
            }
        }
        let mut command = cmd("CLUSTER");
        command.arg("INFO");
        let info: String = self.query(number, &command).await.map_err(wait::seen)?;
        if field(&info, "cluster_state") != Some("ok")
            || field(&info, "cluster_slots_assigned") != Some("16384")
        {
            return Err(format!("node {number}: {info}"));
        }
        if view.myself().is_some_and(|myself| myself.master.is_some()) {
            self.look_synced(number).await?;
        }
        Ok(view
            .nodes
            .into_iter()
            .map(|node| (node.id, (node.master, node.slots)))
            .collect())
    }

    async fn look_synced(&self, replica: usize) -> Result<(), String> {
        let mut command = cmd("INFO");
        command.arg("replication");
        let info: String = self.query(replica, &command).await.map_err(wait::seen)?;
        if field(&info, "master_link_status") == Some("up") {
            Ok(())
        } else {
            Err(format!("replica {replica}: {info}"))
        }
    }

    async fn wait_known(&self) -> Result<(), TestbedError> {
        wait::until("all nodes know each other", async || {
            for number in self.numbers() {
                let view = self.view(number).await.map_err(wait::seen)?;
                let known = view
                    .nodes
                    .iter()
                    .filter(|node| self.number(&node.id).is_some() && !node.has("handshake"));
                if known.count() != self.nodes.len() {
                    return Err(format!("node {number} sees {view:?}"));
                }
            }
            Ok(())
        })
        .await
    }

    /// Waits until `observer` holds `node` for failed (`true`), or for alive and connected again.
    ///
    /// # Errors
    /// When that does not come true.
    pub async fn wait_failed(
        &self,
        observer: usize,
        node: usize,
        is_failed: bool,
    ) -> Result<(), TestbedError> {
        let id = self.id(node)?.to_owned();
        let what = format!("node {observer} sees node {node} failed: {is_failed}");
        wait::until(&what, async || {
            let view = self.view(observer).await.map_err(wait::seen)?;
            let seen = view.node(&id).ok_or("it does not know it")?;
            let is_good = !seen.has("fail") && !seen.has("fail?") && seen.is_connected;
            if (is_failed && seen.has("fail")) || (!is_failed && is_good) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await
    }

    /// Waits until `cluster_state` of a node is `ok`, or not.
    ///
    /// # Errors
    /// When that does not come true.
    pub async fn wait_state(&self, number: usize, is_ok: bool) -> Result<(), TestbedError> {
        let what = format!("the cluster's state at node {number} is ok: {is_ok}");
        wait::until(&what, async || {
            let mut command = cmd("CLUSTER");
            command.arg("INFO");
            let info: String = self.query(number, &command).await.map_err(wait::seen)?;
            if (field(&info, "cluster_state") == Some("ok")) == is_ok {
                Ok(())
            } else {
                Err(info)
            }
        })
        .await
    }

    /// Waits until a node has this role.
    ///
    /// # Errors
    /// When that does not come true.
    pub async fn wait_role(&self, number: usize, role: NodeRole) -> Result<(), TestbedError> {
        let what = format!("node {number} is {role:?}");
        wait::until(&what, async || match self.role(number).await {
            Ok(has) if has == role => Ok(()),
            Ok(has) => Err(format!("{has:?}")),
            Err(error) => Err(wait::seen(error)),
        })
        .await
    }

    // ---- faults of the network ----

    /// From now on nothing passes between a node of `one` and a node of `other`.
    ///
    /// # Errors
    /// When the options do not allow it, or there is no such node.
    pub fn part(&self, one: &[usize], other: &[usize]) -> Result<(), TestbedError> {
        self.network.part(one, other)
    }

    /// From now on nothing passes between a node and clients at 127.0.0.1.
    ///
    /// # Errors
    /// As [`RedisCluster::part`].
    pub fn part_from_clients(&self, node: usize) -> Result<(), TestbedError> {
        self.network.part_from_clients(node)
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.network.heal();
    }

    /// How much has been held back before a node so far: shows that a partition took effect.
    pub fn held(&self, node: usize) -> u64 {
        self.network.held(node)
    }

    // ---- planned changes ----

    /// Makes a replica the master in the place of its own, with nothing lost, and waits until all know it.
    ///
    /// # Errors
    /// When it is no replica, or its master does not hand over.
    pub async fn fail_over(&self, replica: usize) -> Result<(), TestbedError> {
        let NodeRole::Replica { of: master } = self.role(replica).await? else {
            let what = format!("node {replica} is a master already");
            return Err(TestbedError::Layout(what));
        };
        let mut command = cmd("CLUSTER");
        command.arg("FAILOVER");
        // A hand-over that takes too long is called off by the replica itself, so it is asked for again.
        wait::until(&format!("node {replica} takes over"), async || {
            self.query::<()>(replica, &command)
                .await
                .map_err(wait::seen)?;
            let mut last = String::new();
            for _ in 0..100 {
                match self.role(replica).await {
                    Ok(NodeRole::Master) => return Ok(()),
                    other => last = format!("{other:?}"),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(last)
        })
        .await?;
        self.wait_role(master, NodeRole::Replica { of: replica })
            .await
    }

    /// Restarts every node, one after the other, in order. A master that has a replica hands over to it before.
    /// Waits between them until the cluster is whole.
    ///
    /// # Errors
    /// When a step fails.
    pub async fn restart_in_turn(&mut self) -> Result<(), TestbedError> {
        for number in self.numbers() {
            if self.role(number).await? == NodeRole::Master
                && let Some(replica) = self.replicas_of(number).await?.first()
            {
                self.fail_over(*replica).await?;
                self.wait_whole().await?;
            }
            let node = self.node_mut(number)?;
            node.terminate().await?;
            node.restart().await?;
            self.wait_whole().await?;
        }
        Ok(())
    }

    /// Adds an empty master; answers its number. It has no slots and, unlike with `redis-cli --cluster add-node`, no
    /// functions: [`RedisCluster::copy_functions`].
    ///
    /// # Errors
    /// When it does not start, or the others do not meet it.
    pub async fn add_master(&mut self) -> Result<usize, TestbedError> {
        let number = self.numbers().last().map_or(0, |last| last + 1);
        let known = self.numbers();
        self.start_node(number).await?;
        self.meet(known[0], number).await?;
        self.wait_whole().await?;
        Ok(number)
    }

    /// Adds a replica of a master; answers its number.
    ///
    /// # Errors
    /// As [`RedisCluster::add_master`].
    pub async fn add_replica(&mut self, master: usize) -> Result<usize, TestbedError> {
        let number = self.add_master().await?;
        self.replicate(number, master).await?;
        self.wait_whole().await?;
        Ok(number)
    }

    /// Gives a node the functions that another has, in place of its own.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub async fn copy_functions(&self, from: usize, to: usize) -> Result<(), TestbedError> {
        let mut dump = cmd("FUNCTION");
        dump.arg("DUMP");
        let functions: Vec<u8> = self.query(from, &dump).await?;
        let mut restore = cmd("FUNCTION");
        restore.arg("RESTORE").arg(functions).arg("FLUSH");
        self.query(to, &restore).await
    }

    /// Takes a node without slots out of the cluster and ends it. The others forget it. Its replicas must be gone.
    ///
    /// # Errors
    /// When it still serves slots, or a node does not answer.
    pub async fn remove_node(&mut self, number: usize) -> Result<(), TestbedError> {
        let myself = self.myself(number).await?;
        if !myself.slots.is_empty() {
            let what = format!("node {number} serves {} slots", myself.slot_count());
            return Err(TestbedError::Layout(what));
        }
        let Some(mut node) = self.nodes.remove(&number) else {
            return Err(TestbedError::NoSuchNode(number));
        };
        // It goes first: as long as it talks, the others may hear of it again.
        node.server.terminate().await?;
        self.network.close(number);
        let mut forget = cmd("CLUSTER");
        forget.arg("FORGET").arg(&node.id);
        for other in self.numbers() {
            self.query::<()>(other, &forget).await?;
        }
        self.wait_whole().await
    }

    /// Ends all nodes in order.
    ///
    /// # Errors
    /// When one does not end in time; what still runs is killed then.
    pub async fn stop(mut self) -> Result<(), TestbedError> {
        for node in std::mem::take(&mut self.nodes).into_values() {
            node.server.stop().await?;
        }
        Ok(())
    }

    // ---- steps ----

    async fn start_node(&mut self, number: usize) -> Result<(), TestbedError> {
        let mut attempt = 1;
        let server = loop {
            let port = Network::free_port(number)?;
            match self.try_start(number, port).await {
                Ok(server) => break server,
                Err(error) if attempt < network::PORT_ATTEMPTS && process::was_taken(&error) => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let mut command = cmd("CLUSTER");
        command.arg("MYID");
        let id = server
            .query(&command)
            .await
            .map_err(TestbedError::redis(format!("ask node {number}")))?;
        self.nodes.insert(number, Node { server, id });
        Ok(())
    }

    async fn try_start(&mut self, number: usize, port: u16) -> Result<RedisServer, TestbedError> {
        let bus = port - BUS_BELOW;
        self.network.open(number, &[port, bus]).await?;
        let public = network::public_host(number)?.to_string();
        let yes_no = |yes| if yes { "yes" } else { "no" };
        let mut options = self.options.node.clone();
        options.data_folder = options
            .data_folder
            .map(|folder| folder.join(format!("node-{number}")));
        let more: Vec<String> = [
            ["--bind-source-addr", &public],
            // To Redis 7.0 only 127.0.0.1 is local; it would refuse its replicas.
            ["--protected-mode", "no"],
            ["--cluster-enabled", "yes"],
            ["--cluster-port", &bus.to_string()],
            ["--cluster-announce-ip", &public],
            [
                "--cluster-node-timeout",
                &self.options.node_timeout.as_millis().to_string(),
            ],
            // One dead shard must not stop the others.
            ["--cluster-require-full-coverage", "no"],
            [
                "--cluster-replica-no-failover",
                yes_no(!self.options.fails_over),
            ],
            // Roles change when they are told to, and not because a neighbour has a replica to spare.
            ["--cluster-allow-replica-migration", "no"],
            ["--repl-diskless-sync-delay", "0"],
        ]
        .iter()
        .flatten()
        .copied()
        .map(String::from)
        .collect();
        options.arguments.splice(0..0, more);
        let host = self.network.server_host(number)?;
        RedisServer::start_at(&self.servers, options, host, Some(port)).await
    }

    async fn meet(&self, one: usize, other: usize) -> Result<(), TestbedError> {
        let address = self.address(other)?;
        let mut command = cmd("CLUSTER");
        command
            .arg("MEET")
            .arg(address.ip().to_string())
            .arg(address.port())
            .arg(address.port() - BUS_BELOW);
        self.query(one, &command).await
    }

    async fn replicate(&self, replica: usize, master: usize) -> Result<(), TestbedError> {
        let mut command = cmd("CLUSTER");
        command.arg("REPLICATE").arg(self.id(master)?);
        self.query(replica, &command).await
    }
}

/// A field of INFO or CLUSTER INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}
