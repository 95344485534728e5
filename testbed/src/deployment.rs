//! A whole deployment run as processes: Redis or a Redis Cluster, mongod or a replica set, several instances of the
//! service.

use std::fmt;
use std::str::FromStr;

use crate::cluster::{ClusterOptions, RedisCluster};
use crate::error::TestbedError;
use crate::mongodb::{MongoOptions, MongoServer};
use crate::redis::{RedisOptions, RedisServer};
use crate::replica_set::{ReplicaSet, ReplicaSetOptions};
use crate::servers::Servers;
use crate::service::{ServiceOptions, ServiceProcess};

/// Which Redis: `single`, or `cluster:3+3` for three masters and three replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedisLayout {
    /// One server.
    #[default]
    Single,
    /// A Redis Cluster.
    Cluster {
        /// Masters.
        masters: usize,
        /// Replicas of all masters together.
        replicas: usize,
    },
}

/// Which MongoDB: `single`, or `replica-set:3` for a set of three members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MongoLayout {
    /// One server that is no set.
    #[default]
    Single,
    /// A replica set.
    ReplicaSet {
        /// Members.
        members: usize,
    },
}

/// The most servers of one kind: each is a process on this machine.
const SERVERS_MAX: usize = 50;

fn count(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| *count <= SERVERS_MAX)
}

impl FromStr for RedisLayout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "single" {
            return Ok(Self::Single);
        }
        let parts = text.strip_prefix("cluster:").and_then(|counts| {
            let (masters, replicas) = counts.split_once('+').unwrap_or((counts, "0"));
            Some((
                count(masters).filter(|masters| *masters > 0)?,
                count(replicas)?,
            ))
        });
        parts
            .map(|(masters, replicas)| Self::Cluster { masters, replicas })
            .ok_or_else(|| {
                format!(
                    "{text:?} is no layout of Redis: write single, or cluster:3+3 for three masters and three \
                     replicas (1 to {SERVERS_MAX} masters, at most {SERVERS_MAX} replicas)"
                )
            })
    }
}

impl fmt::Display for RedisLayout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => write!(out, "single"),
            Self::Cluster { masters, replicas } => write!(out, "cluster:{masters}+{replicas}"),
        }
    }
}

impl FromStr for MongoLayout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "single" {
            return Ok(Self::Single);
        }
        text.strip_prefix("replica-set:")
            .and_then(count)
            .filter(|members| *members > 0)
            .map(|members| Self::ReplicaSet { members })
            .ok_or_else(|| {
                format!(
                    "{text:?} is no layout of MongoDB: write single, or replica-set:3 for three members \
                     (1 to {SERVERS_MAX})"
                )
            })
    }
}

impl fmt::Display for MongoLayout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => write!(out, "single"),
            Self::ReplicaSet { members } => write!(out, "replica-set:{members}"),
        }
    }
}

/// How a deployment is set.
#[derive(Debug, Clone)]
pub struct DeploymentOptions {
    /// The server binaries; [`Servers::discover`] when `None`.
    pub servers: Option<Servers>,
    /// Which Redis.
    pub redis: RedisLayout,
    /// For each Redis.
    pub redis_options: RedisOptions,
    /// Which MongoDB.
    pub mongodb: MongoLayout,
    /// For each mongod. The members of a set get a cache of 0.25 GB when there are several.
    pub mongodb_options: MongoOptions,
    /// Whether nodes of a cluster and members of a set can be parted.
    pub can_part: bool,
    /// Instances of the service.
    pub instances: usize,
    /// Partitions of the queue, passed as `--partitions`; the service's own number when `None`.
    pub partitions: Option<u32>,
    /// For each instance. The addresses of Redis and MongoDB are replaced. A port or a log file is the first one's.
    pub service: ServiceOptions,
}

impl Default for DeploymentOptions {
    fn default() -> Self {
        Self {
            servers: None,
            redis: RedisLayout::Single,
            redis_options: RedisOptions::default(),
            mongodb: MongoLayout::Single,
            mongodb_options: MongoOptions::default(),
            can_part: false,
            instances: 1,
            partitions: None,
            service: ServiceOptions::default(),
        }
    }
}

/// The Redis of a deployment.
pub enum RedisStore {
    /// One server.
    Single(RedisServer),
    /// A Redis Cluster.
    Cluster(RedisCluster),
}

/// The MongoDB of a deployment.
pub enum MongoStore {
    /// One server.
    Single(MongoServer),
    /// A replica set.
    ReplicaSet(ReplicaSet),
}

impl RedisStore {
    /// Starts the Redis of a layout.
    ///
    /// # Errors
    /// As [`RedisServer::start`] and [`RedisCluster::start`].
    pub async fn start(
        servers: &Servers,
        layout: RedisLayout,
        node: RedisOptions,
        can_part: bool,
    ) -> Result<Self, TestbedError> {
        match layout {
            RedisLayout::Single => RedisServer::start(servers, node).await.map(Self::Single),
            RedisLayout::Cluster { masters, replicas } => {
                let options = ClusterOptions {
                    masters,
                    replicas,
                    node,
                    can_part,
                    ..ClusterOptions::default()
                };
                RedisCluster::start(servers, options)
                    .await
                    .map(Self::Cluster)
            }
        }
    }

    /// The address of the server, or of every node.
    pub fn urls(&self) -> Vec<String> {
        match self {
            Self::Single(server) => vec![server.url()],
            Self::Cluster(cluster) => {
                let addresses = cluster.addresses().into_iter();
                addresses
                    .map(|address| format!("redis://{address}"))
                    .collect()
            }
        }
    }

    /// What tells the service where its Redis is.
    fn service_options(&self, options: ServiceOptions) -> ServiceOptions {
        let mut options = ServiceOptions {
            redis_url: self.urls().join(","),
            ..options
        };
        if matches!(self, Self::Cluster(_)) {
            options.arguments.insert(0, "--redis-cluster".into());
        }
        options
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When a server does not end in time.
    pub async fn stop(self) -> Result<(), TestbedError> {
        match self {
            Self::Single(server) => server.stop().await,
            Self::Cluster(cluster) => cluster.stop().await,
        }
    }
}

impl MongoStore {
    /// Starts the MongoDB of a layout.
    ///
    /// # Errors
    /// As [`MongoServer::start`] and [`ReplicaSet::start`].
    pub async fn start(
        servers: &Servers,
        layout: MongoLayout,
        mut member: MongoOptions,
        can_part: bool,
    ) -> Result<Self, TestbedError> {
        match layout {
            MongoLayout::Single => MongoServer::start(servers, member).await.map(Self::Single),
            MongoLayout::ReplicaSet { members } => {
                let defaults = ReplicaSetOptions::default();
                if members > 1 {
                    member.cache_gb = defaults.member.cache_gb;
                }
                let options = ReplicaSetOptions {
                    members,
                    member,
                    can_part,
                    ..defaults
                };
                ReplicaSet::start(servers, options)
                    .await
                    .map(Self::ReplicaSet)
            }
        }
    }

    /// The connection string.
    pub fn uri(&self) -> String {
        match self {
            Self::Single(server) => server.uri(),
            Self::ReplicaSet(set) => set.uri(),
        }
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When a server does not end in time.
    pub async fn stop(self) -> Result<(), TestbedError> {
        match self {
            Self::Single(server) => server.stop().await,
            Self::ReplicaSet(set) => set.stop().await,
        }
    }
}

/// A deployment that runs. Dropping it kills all servers and removes their temporary folders.
pub struct Deployment {
    // In the order of dropping: the instances go before what they need.
    /// The instances of the service.
    pub instances: Vec<ServiceProcess>,
    /// Their MongoDB.
    pub mongodb: MongoStore,
    /// Their Redis.
    pub redis: RedisStore,
}

impl Deployment {
    /// Starts the stores, then the instances, and waits until all are ready.
    ///
    /// # Errors
    /// Fails with the last lines of the one that ends or does not answer; the others are killed.
    pub async fn start(options: DeploymentOptions) -> Result<Self, TestbedError> {
        let servers = match options.servers {
            Some(servers) => servers,
            None => Servers::discover()?,
        };
        let (redis, mongodb) = tokio::try_join!(
            RedisStore::start(
                &servers,
                options.redis,
                options.redis_options,
                options.can_part
            ),
            MongoStore::start(
                &servers,
                options.mongodb,
                options.mongodb_options,
                options.can_part
            ),
        )?;
        let mut service = redis.service_options(ServiceOptions {
            mongodb_uri: mongodb.uri(),
            ..options.service
        });
        if let Some(partitions) = options.partitions {
            let partitions = ["--partitions".to_owned(), partitions.to_string()];
            service.arguments.splice(0..0, partitions);
        }
        let mut instances = Vec::new();
        for _ in 0..options.instances {
            instances.push(ServiceProcess::start(service.clone()).await?);
            service.port = None;
            service.log_file = None;
        }
        Ok(Self {
            instances,
            mongodb,
            redis,
        })
    }

    /// Lets the instances drain and end, then ends the stores in order.
    ///
    /// # Errors
    /// When one does not end in time; what still runs is killed then.
    pub async fn stop(self) -> Result<(), TestbedError> {
        for mut instance in self.instances {
            if instance.pid() != 0 {
                instance.terminate().await?;
            }
        }
        self.mongodb.stop().await?;
        self.redis.stop().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_read_and_written() {
        for (text, layout) in [
            ("single", RedisLayout::Single),
            (
                "cluster:3+3",
                RedisLayout::Cluster {
                    masters: 3,
                    replicas: 3,
                },
            ),
            (
                "cluster:1+0",
                RedisLayout::Cluster {
                    masters: 1,
                    replicas: 0,
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(layout));
            assert_eq!(layout.to_string(), text);
        }
        assert_eq!(
            "cluster:4".parse(),
            Ok(RedisLayout::Cluster {
                masters: 4,
                replicas: 0
            })
        );
        for wrong in [
            "",
            "cluster",
            "cluster:",
            "cluster:0+3",
            "cluster:3+",
            "cluster:51+0",
            "sentinel",
        ] {
            let error = wrong.parse::<RedisLayout>().expect_err(wrong);
            assert!(error.contains("cluster:3+3"), "{error}");
        }
        let set = MongoLayout::ReplicaSet { members: 3 };
        assert_eq!("replica-set:3".parse(), Ok(set));
        assert_eq!(set.to_string(), "replica-set:3");
        assert_eq!("single".parse(), Ok(MongoLayout::Single));
        for wrong in [
            "",
            "replica-set",
            "replica-set:0",
            "replica-set:-1",
            "sharded:3",
        ] {
            let error = wrong.parse::<MongoLayout>().expect_err(wrong);
            assert!(error.contains("replica-set:3"), "{error}");
        }
    }
}
