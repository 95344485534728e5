//! Where the partitions are: in one Redis, or in the slots of a Redis Cluster.
//!
//! A partition lies in one slot, so a link goes straight to the node that serves it. A call is never sent elsewhere by
//! itself: whoever loses a link, or is told that the node does not serve the slot, asks the cluster anew.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, Value,
};
use tokio::time::Instant;

use super::directory::{Address, Answer, Directory};
use super::refusal::{Refusal, told};
use super::tls::{self, TlsFiles};
use crate::error::ServiceError;
use crate::limits::{REDIS_CONNECT_TIMEOUT, REDIS_TIMEOUT};

/// A node has this long to say who serves what.
const DIRECTORY_TIMEOUT: Duration = Duration::from_millis(500);
/// A link that was not used so long may have been closed meanwhile.
const LINK_RESTS: Duration = Duration::from_millis(100);
/// What an address of Redis has to be.
const ADDRESS_RULE: &str = "must be redis://HOST:PORT, such as redis://127.0.0.1:6379, with USER:PASSWORD@ before the host and /NUMBER of a database behind the port where they are needed; rediss:// for TLS, unix:///PATH for a socket; several with commas between only with --redis-cluster";
/// The cluster is asked no sooner again.
const DIRECTORY_INTERVAL: Duration = Duration::from_millis(50);

/// A Redis that can be connected to.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its address, for people.
    pub(super) name: Arc<str>,
    info: ConnectionInfo,
}

/// A connection, and to whom.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) node: Arc<str>,
    /// Whether one of those who share it has given it up.
    is_given_up: Arc<AtomicBool>,
    /// When it was known to be open.
    open_at: Instant,
}

impl Link {
    /// Notes that an answer came over it now.
    pub(super) fn note_open(&mut self) {
        self.open_at = Instant::now();
    }

    /// Gives it up for all who share it: each connects afresh before its next call. What is under way over it may still be
    /// answered.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// Whether it is open, as far as this end knows. Redis closes links that rest, and all when it ends; that is found out
    /// before a call goes out, so that such a call need not count as sent.
    pub(super) fn is_open(&mut self) -> bool {
        if self.is_given_up.load(Ordering::Relaxed) {
            return false;
        }
        let now = Instant::now();
        if now - self.open_at < LINK_RESTS {
            return true;
        }
        // Nobody waits for the answer: the driver refuses the command at once if the connection has ended.
        let mut ping = redis::cmd("PING");
        ping.set_no_response(true);
        let sent = self.connection.send_packed_command(&ping).now_or_never();
        let is_open = !matches!(sent, Some(Err(_)));
        if is_open {
            self.open_at = now;
        }
        is_open
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.node)
    }
}

/// Who shares a connection to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shares {
    /// All who only read.
    Readers,
    /// The admissions to the partitions there.
    Admissions,
}

/// A connection to a node that several share.
type Shared = Arc<tokio::sync::Mutex<Option<Link>>>;

/// Where the partitions are.
#[derive(Debug)]
pub(super) struct Topology {
    /// How any node is reached, but for its address.
    info: ConnectionInfo,
    cluster: Option<Cluster>,
    shared: Mutex<HashMap<(Arc<str>, Shares), Shared>>,
    /// The nodes of which this process knows that they have the functions as they are here.
    loaded: Mutex<HashSet<Arc<str>>>,
}

#[derive(Debug)]
struct Cluster {
    /// The nodes that the settings name.
    seeds: Vec<Address>,
    known: RwLock<Known>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    directory: Arc<Directory>,
    /// When the question was sent.
    asked: Option<Instant>,
    /// Nodes that answered, and are of another cluster.
    foreign: Vec<Address>,
}

impl Topology {
    /// One Redis.
    pub(super) fn single(url: &str, files: &TlsFiles) -> Result<Self, ServiceError> {
        Ok(Self::new(connection_info(url, files)?, None))
    }

    /// The cluster that the nodes at `urls`, with commas between, belong to. All nodes are reached as the first of these,
    /// but for host and port.
    pub(super) fn cluster(urls: &str, files: &TlsFiles) -> Result<Self, ServiceError> {
        let infos = urls
            .split(',')
            .map(|url| connection_info(url.trim(), files))
            .collect::<Result<Vec<_>, _>>()?;
        let mut seeds = Vec::new();
        for info in &infos {
            if info.redis_settings().db() != 0 {
                return Err(ServiceError::RedisAddress(
                    "a cluster knows no database numbers: leave the number out of the URL",
                ));
            }
            let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) =
                info.addr()
            else {
                return Err(ServiceError::RedisAddress(
                    "the nodes of a cluster have hosts and ports: a socket's path is none",
                ));
            };
            seeds.push(Address {
                host: host.as_str().into(),
                port: *port,
            });
        }
        let cluster = Cluster {
            seeds,
            known: RwLock::default(),
            asking: tokio::sync::Mutex::default(),
        };
        let first = infos.into_iter().next();
        let first = first.ok_or(ServiceError::RedisAddress(ADDRESS_RULE))?;
        Ok(Self::new(first, Some(cluster)))
    }

    fn new(info: ConnectionInfo, cluster: Option<Cluster>) -> Self {
        Self {
            info,
            cluster,
            shared: Mutex::default(),
            loaded: Mutex::default(),
        }
    }

    /// Whether this process has not looked yet which functions a node has.
    pub(super) fn is_new(&self, node: &Arc<str>) -> bool {
        !lock(&self.loaded).contains(node)
    }

    /// Notes that it has those of this version.
    pub(super) fn note_loaded(&self, node: &Arc<str>) {
        lock(&self.loaded).insert(Arc::clone(node));
    }

    /// Whether it is a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// The number of the database; 0 in a cluster.
    pub(super) fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }

    /// The node that serves a slot, as far as is known. Whoever was there in vain says when: what was known by then does
    /// not count.
    pub(super) async fn owner(
        &self,
        slot: u32,
        in_vain: Option<Instant>,
    ) -> Result<Node, ServiceError> {
        let Some(cluster) = &self.cluster else {
            return Ok(self.only_node());
        };
        let known = self.known_since(cluster, in_vain).await?;
        match known.owner(slot) {
            Some(address) => Ok(self.node(address)),
            None => Err(unreachable(format!("no node serves slot {slot}"))),
        }
    }

    /// Every node, replicas too, as far as is known.
    pub(super) fn nodes(&self) -> Vec<Node> {
        match &self.cluster {
            None => vec![self.only_node()],
            Some(cluster) => {
                let known = cluster.known();
                known.directory.nodes().map(|at| self.node(at)).collect()
            }
        }
    }

    /// Asks the cluster who serves what.
    pub(super) async fn ask_again(&self) -> Result<(), ServiceError> {
        match &self.cluster {
            None => Ok(()),
            Some(cluster) => self
                .known_since(cluster, Some(Instant::now()))
                .await
                .map(drop),
        }
    }

    async fn known_since(
        &self,
        cluster: &Cluster,
        instant: Option<Instant>,
    ) -> Result<Arc<Directory>, ServiceError> {
        let is_good = |known: &Known| match (known.asked, instant) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(asked), Some(instant)) => asked > instant,
        };
        let known = cluster.known();
        if is_good(&known) {
            return Ok(known.directory);
        }
        // One asks for all who want to know.
        let _asking = cluster.asking.lock().await;
        let known = cluster.known();
        if is_good(&known) {
            return Ok(known.directory);
        }
        if let Some(asked) = known.asked {
            tokio::time::sleep_until(asked + DIRECTORY_INTERVAL).await;
        }
        let asked = Instant::now();
        let mut answer = self.ask(known.directory.nodes(), &known).await;
        if answer.is_err() {
            // All of them may have other addresses by now.
            answer = self.ask(cluster.seeds.iter(), &known).await;
        }
        let (directory, foreign) = answer?;
        for node in &foreign {
            if !known.foreign.contains(node) {
                tracing::warn!(%node, "a node belongs to another Redis Cluster: what it says is passed over");
            }
        }
        let known = Known {
            directory: Arc::new(directory),
            asked: Some(asked),
            foreign,
        };
        let directory = Arc::clone(&known.directory);
        *write(&cluster.known) = known;
        Ok(directory)
    }

    /// Asks these nodes at once, until more than half of them have answered: one that stands still holds nobody up. The first
    /// time all are heard out, since they may be of different clusters.
    async fn ask(
        &self,
        nodes: impl Iterator<Item = &Address>,
        known: &Known,
    ) -> Result<(Directory, Vec<Address>), ServiceError> {
        let mut asked: FuturesUnordered<_> = nodes.map(|address| self.ask_node(address)).collect();
        let all = asked.len();
        let needed = if known.asked.is_some() {
            all / 2 + 1
        } else {
            all
        };
        let mut answers = Vec::new();
        let mut failed = unreachable("no node of the cluster is known".to_owned());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(answer) => {
                    answers.push(answer);
                    if answers.len() == needed {
                        break;
                    }
                }
                Err(error) => failed = error,
            }
        }
        if answers.is_empty() {
            return Err(failed);
        }
        known.directory.join(answers, all)
    }

    async fn ask_node(&self, address: &Address) -> Result<Answer, ServiceError> {
        let silent = |_| unreachable(format!("{address} does not answer"));
        let node = self.node(address);
        let connecting =
            tokio::time::timeout(DIRECTORY_TIMEOUT, self.shared(&node, Shares::Readers));
        let mut link = connecting.await.map_err(silent)??;
        let mut pipeline = redis::pipe();
        pipeline.cmd("CLUSTER").arg("SLOTS");
        pipeline.cmd("CLUSTER").arg("NODES");
        let asked = link.connection.send_packed_commands(&pipeline, 0, 2);
        let answers = match tokio::time::timeout(DIRECTORY_TIMEOUT, asked).await {
            Ok(answers) => answers.map_err(told),
            Err(elapsed) => Err(silent(elapsed)),
        };
        if answers.is_err() {
            link.give_up();
        }
        let mut answers = answers?.into_iter();
        let mut next = || {
            let answer = answers.next().unwrap_or(Value::Nil);
            answer.extract_error().map_err(told)
        };
        Directory::read(next()?, next()?, address)
    }

    fn only_node(&self) -> Node {
        Node {
            name: self.info.addr().to_string().into(),
            info: self.info.clone(),
        }
    }

    fn node(&self, address: &Address) -> Node {
        let (host, port) = (address.host.to_string(), address.port);
        let addr = match self.info.addr() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        Node {
            name: address.to_string().into(),
            info: self.info.clone().set_addr(addr),
        }
    }

    /// A connection of one's own.
    pub(super) async fn connect(&self, node: &Node) -> Result<Link, ServiceError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let client = Client::open(node.info.clone()).map_err(told)?;
        // Boxed: the driver's futures nest deeper than the compiler follows through the tasks above them.
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .boxed()
            .await
            .map_err(|error| match Refusal::of(&error) {
                Some(refusal) => ServiceError::RedisRefused(refusal),
                None => unreachable(error.to_string()),
            })?;
        Ok(Link {
            connection,
            node: Arc::clone(&node.name),
            is_given_up: Arc::default(),
            open_at: Instant::now(),
        })
    }

    /// The connection to a node that these share. One connects for all who wait for it.
    pub(super) async fn shared(&self, node: &Node, shares: Shares) -> Result<Link, ServiceError> {
        let shared = Arc::clone(
            lock(&self.shared)
                .entry((Arc::clone(&node.name), shares))
                .or_default(),
        );
        let mut shared = shared.lock().await;
        if let Some(link) = &mut *shared
            && link.is_open()
        {
            return Ok(link.clone());
        }
        Ok(shared.insert(self.connect(node).await?).clone())
    }

    /// A connection for messages, to any node that takes one: each gets all messages.
    pub(super) async fn subscription(&self) -> Result<redis::aio::PubSub, ServiceError> {
        let mut nodes = self.nodes();
        if nodes.is_empty() {
            self.ask_again().await?;
            nodes = self.nodes();
        }
        let mut failed = unreachable("no node of the cluster is known".to_owned());
        for node in nodes {
            let client = Client::open(node.info).map_err(told)?;
            let connecting = client.get_async_pubsub();
            match tokio::time::timeout(REDIS_CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(subscription)) => return Ok(subscription),
                Ok(Err(error)) => failed = told(error),
                Err(_) => failed = unreachable(format!("{} does not answer", node.name)),
            }
        }
        Err(failed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    fn known(&self) -> Known {
        // Each critical section leaves it whole.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }
}

fn write(known: &RwLock<Known>) -> std::sync::RwLockWriteGuard<'_, Known> {
    known.write().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a call that did not run since nobody could be reached.
pub(super) fn unreachable(why: String) -> ServiceError {
    ServiceError::RedisRefused(Refusal::Unreachable(why))
}

fn connection_info(url: &str, files: &TlsFiles) -> Result<ConnectionInfo, ServiceError> {
    // A peer that vanished without a word is noticed by keep-alive and by unacknowledged data.
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(
            redis::io::tcp::socket2::TcpKeepalive::new()
                .with_time(Duration::from_secs(10))
                .with_interval(Duration::from_secs(5)),
        )
        .set_user_timeout(REDIS_TIMEOUT);
    let info = url
        .into_connection_info()
        // The driver's words name neither the fault nor what to write.
        .map_err(|_| ServiceError::RedisAddress(ADDRESS_RULE))?
        .set_tcp_settings(tcp);
    if info.redis_settings().db() < 0 {
        return Err(ServiceError::RedisAddress(
            "the number of the database must be 0 or more: leave it out of the URL for 0",
        ));
    }
    if info.redis_settings().protocol() != ProtocolVersion::RESP2 {
        return Err(ServiceError::RedisAddress(
            "protocol=resp3 is not spoken here; leave it out of the URL",
        ));
    }
    // The address then knows the files, and so does that of every other node.
    Ok(tls::client(info, files)?.get_connection_info().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_hosts_and_no_databases() {
        let cluster = Topology::cluster("redis://a:1, redis://b:2", &TlsFiles::default()).unwrap();
        assert!(cluster.is_cluster());
        for wrong in [
            "redis://a:1/2",
            "redis://a:1,redis://b:2/1",
            "redis+unix:///tmp/socket",
            "redis://a:1,",
            "",
        ] {
            assert!(
                Topology::cluster(wrong, &TlsFiles::default()).is_err(),
                "{wrong}"
            );
        }
    }

    /// Takes connections, and answers each command on them with OK.
    async fn answer_all(listener: tokio::net::TcpListener) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(len @ 1..) = stream.read(&mut bytes).await {
                    let commands = String::from_utf8_lossy(&bytes[..len]).matches('*').count();
                    let _ = stream
                        .write_all("+OK\r\n".repeat(commands).as_bytes())
                        .await;
                }
            });
        }
    }

    /// Whoever shares it would wait for the same answer that never comes.
    #[tokio::test]
    async fn what_one_gives_up_all_who_share_it_leave() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        tokio::spawn(answer_all(listener));
        let topology = Topology::single(&url, &TlsFiles::default()).unwrap();
        let node = topology.only_node();
        let shared = async || topology.shared(&node, Shares::Admissions).await.unwrap();
        let (mut one, mut other) = (shared().await, shared().await);
        assert!(one.is_open() && other.is_open());
        one.give_up();
        assert!(!one.is_open() && !other.is_open());
        let mut next = shared().await;
        assert!(next.is_open());
        // An old one that is given up late is not the new one.
        other.give_up();
        assert!(next.is_open());
    }

    #[test]
    fn nodes_are_reached_as_the_first_seed() {
        let cluster =
            Topology::cluster("redis://user:word@a:1,redis://b:2", &TlsFiles::default()).unwrap();
        let node = cluster.node(&Address {
            host: "c".into(),
            port: 3,
        });
        assert_eq!(&*node.name, "c:3");
        assert_eq!(node.info.redis_settings().password(), Some("word"));
        assert_eq!(node.info.addr(), &ConnectionAddr::Tcp("c".into(), 3));
    }
}
