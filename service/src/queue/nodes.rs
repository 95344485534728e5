//! The nodes that the partitions are at: how each is set, and how full it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use super::refusal::told;
use super::topology::{Link, Node, Topology, unreachable};
use super::{Queue, run, value};
use crate::error::ServiceError;

/// What a Redis says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerState {
    /// Its version; that of Valkey is its own and not that of the Redis that it speaks like.
    pub version: String,
    /// `always`, `everysec`, `no`, or `off` without an append-only file.
    pub appendfsync: String,
    /// Each setting by which a confirmed loan could be lost, with what it has to be. Empty: durable.
    pub weaknesses: Vec<String>,
    /// Whether it follows another.
    pub is_replica: bool,
    /// `used_memory`.
    pub used_memory_bytes: u64,
    /// `maxmemory`, 0 for none.
    pub max_memory_bytes: u64,
}

/// The settings by which Redis keeps what it has confirmed: each other value may lose a loan that was answered 202.
const SETTINGS: [(&str, &str); 4] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    // `yes` skips the flush while the file is rewritten, also under `always`.
    ("no-appendfsync-on-rewrite", "no"),
    // Any other policy may drop keys of the queue.
    ("maxmemory-policy", "noeviction"),
];
/// In a cluster also this: a replica that takes over by itself may lack what its master had confirmed.
const CLUSTER_SETTINGS: [(&str, &str); 1] = [("cluster-replica-no-failover", "yes")];

impl Queue {
    /// Every node that is known, replicas too.
    pub fn nodes(&self) -> Vec<NodeLook> {
        let nodes = self.topology.nodes().into_iter();
        nodes
            .map(|node| NodeLook {
                topology: Arc::clone(&self.topology),
                timeout: self.timeout,
                node,
                link: None,
            })
            .collect()
    }

    /// Asks a cluster which nodes it has, and which of them serves which partition.
    ///
    /// # Errors
    /// No node answers.
    pub async fn find_nodes(&self) -> Result<(), ServiceError> {
        self.topology.ask_again().await
    }

    /// Whether the partitions are in a Redis Cluster.
    pub fn is_in_cluster(&self) -> bool {
        self.topology.is_cluster()
    }

    /// Whether what is at the address is what the settings take it for, one Redis or a node of a cluster.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn is_as_set(&self) -> Result<bool, ServiceError> {
        let Some(mut node) = self.nodes().into_iter().next() else {
            // A cluster is not known before it was asked.
            return match self.find_nodes().await {
                Err(ServiceError::Redis(error))
                    if error.to_string().contains("cluster support") =>
                {
                    Ok(false)
                }
                answer => answer.map(|()| true),
            };
        };
        let mut info = redis::cmd("INFO");
        info.arg("cluster");
        let info = value::text(node.ask(&info).await?)?;
        Ok(info.contains("cluster_enabled:1") == self.is_in_cluster())
    }
}

/// One node, over a connection that comes back by itself.
#[derive(Debug)]
pub struct NodeLook {
    topology: Arc<Topology>,
    timeout: Duration,
    node: Node,
    link: Option<Link>,
}

impl NodeLook {
    /// Its address.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.node.name)
    }

    /// Asks it how it is set and how full it is. What it refuses to say is unknown, and what is unknown is not safe.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn server(&mut self) -> Result<ServerState, ServiceError> {
        let mut info = String::new();
        for section in ["server", "memory", "persistence", "replication"] {
            let mut command = redis::cmd("INFO");
            command.arg(section);
            if let Some(said) = self.ask_if_allowed(&command).await? {
                info += &value::text(said)?;
            }
        }
        let line = |name: &str| line(&info, name).unwrap_or_default();
        let needed = SETTINGS.iter().chain(if self.topology.is_cluster() {
            &CLUSTER_SETTINGS[..]
        } else {
            &[]
        });
        let mut config = redis::cmd("CONFIG");
        config.arg("GET");
        for (name, _) in needed.clone() {
            config.arg(name);
        }
        let settings: BTreeMap<String, String> = match self.ask_if_allowed(&config).await? {
            Some(pairs) => value::pairs(pairs)?
                .map(|(name, value)| {
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    (text(name), text(value))
                })
                .collect(),
            None => BTreeMap::new(),
        };
        let setting = |name: &str| settings.get(name).map_or("unknown", String::as_str);
        let mut weaknesses: Vec<_> = needed
            .filter(|(name, needed)| setting(name) != *needed)
            .map(|(name, needed)| format!("{name} is {}, set it to {needed}", setting(name)))
            .collect();
        if info.is_empty() {
            weaknesses.push(
                "INFO is refused, allow it: how full Redis is, and whether it follows another, is unknown"
                    .to_owned(),
            );
        }
        let has_file = line("aof_enabled") == "1";
        let version = match line("valkey_version") {
            "" => line("redis_version").to_owned(),
            valkey => format!("Valkey {valkey}"),
        };
        Ok(ServerState {
            version,
            appendfsync: if has_file {
                setting("appendfsync").to_owned()
            } else {
                "off".to_owned()
            },
            weaknesses,
            is_replica: line("role") == "slave",
            used_memory_bytes: line("used_memory").parse().unwrap_or_default(),
            max_memory_bytes: line("maxmemory").parse().unwrap_or_default(),
        })
    }

    /// `used_memory`, in bytes.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn used_memory(&mut self) -> Result<u64, ServiceError> {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let info = value::text(self.ask(&info).await?)?;
        line(&info, "used_memory")
            .and_then(|used| used.parse().ok())
            .ok_or(ServiceError::RedisReply("INFO: no used_memory"))
    }

    /// What it answers; `None` if it refuses to, as a managed Redis does.
    async fn ask_if_allowed(&mut self, command: &Cmd) -> Result<Option<Value>, ServiceError> {
        match self.ask(command).await {
            Ok(answer) => Ok(Some(answer)),
            Err(ServiceError::Redis(error)) if !error.is_io_error() => Ok(None),
            Err(ServiceError::RedisRefused(refusal))
                if !matches!(refusal, super::Refusal::Unreachable(_)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(&mut self, command: &Cmd) -> Result<Value, ServiceError> {
        let asking = async {
            if let Some(link) = &mut self.link
                && !link.is_open()
            {
                self.link = None;
            }
            let link = match &mut self.link {
                Some(link) => link,
                None => self.link.insert(self.topology.connect(&self.node).await?),
            };
            run(&mut link.connection, command).await.map_err(told)
        };
        let answer = tokio::time::timeout(self.timeout, asking)
            .await
            .unwrap_or_else(|_| Err(unreachable(format!("no answer within {:?}", self.timeout))));
        let is_lost = match &answer {
            Ok(_) => false,
            Err(ServiceError::Redis(error)) => error.is_io_error(),
            Err(ServiceError::RedisRefused(refusal)) => {
                matches!(refusal, super::Refusal::Unreachable(_))
            }
            Err(_) => true,
        };
        if is_lost {
            self.link = None;
        }
        answer
    }
}

/// A line of INFO.
fn line<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}
