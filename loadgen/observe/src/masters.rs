//! The Redis that holds the queue: one server, or the masters of a Redis Cluster, each read at what it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, RedisResult, Value};
use tokio::sync::Mutex;

/// How long one command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// One Redis, or a cluster.
#[derive(Clone)]
pub struct Masters {
    urls: Vec<String>,
    is_cluster: bool,
    /// Connections by URL.
    open: Arc<Mutex<BTreeMap<String, ConnectionManager>>>,
}

/// Who is in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Nodes that serve slots.
    pub masters: BTreeSet<String>,
    /// Nodes that follow one.
    pub replicas: BTreeSet<String>,
}

impl Masters {
    /// Finds out what is at `urls`: one URL, or those of some nodes of a cluster with commas between.
    ///
    /// # Errors
    /// When none of them answers.
    pub async fn connect(urls: &str) -> RedisResult<Self> {
        let mut masters = Self {
            urls: urls.split(',').map(|url| url.trim().to_owned()).collect(),
            is_cluster: false,
            open: Arc::default(),
        };
        let info = masters
            .any(async |mut node| {
                let mut info = redis::cmd("INFO");
                info.arg("cluster").query_async(&mut node).await
            })
            .await?;
        let info: String = info;
        masters.is_cluster = info.contains("cluster_enabled:1");
        Ok(masters)
    }

    /// Whether it is a cluster.
    pub fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// A connection to each Redis that serves a part of the queue.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub async fn all(&self) -> RedisResult<Vec<ConnectionManager>> {
        if !self.is_cluster {
            return Ok(vec![self.at(&self.urls[0]).await?]);
        }
        self.at_all(&self.members().await?.masters).await
    }

    /// A connection to each node, replicas too.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub async fn nodes(&self) -> RedisResult<Vec<ConnectionManager>> {
        if !self.is_cluster {
            return self.all().await;
        }
        let Members { masters, replicas } = self.members().await?;
        self.at_all(&masters.union(&replicas).cloned().collect())
            .await
    }

    /// Who is in the cluster, by the word of the first node that answers.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn members(&self) -> RedisResult<Members> {
        let slots: Vec<Vec<Value>> = self
            .any(async |mut node| {
                let mut slots = redis::cmd("CLUSTER");
                slots.arg("SLOTS").query_async(&mut node).await
            })
            .await?;
        let mut members = Members::default();
        for range in slots {
            let nodes = range.into_iter().skip(2).filter_map(url);
            for (number, url) in nodes.enumerate() {
                if number == 0 {
                    members.masters.insert(url);
                } else {
                    members.replicas.insert(url);
                }
            }
        }
        Ok(members)
    }

    async fn at_all(&self, urls: &BTreeSet<String>) -> RedisResult<Vec<ConnectionManager>> {
        let mut nodes = Vec::new();
        for url in urls {
            nodes.push(self.at(url).await?);
        }
        Ok(nodes)
    }

    async fn at(&self, url: &str) -> RedisResult<ConnectionManager> {
        let mut open = self.open.lock().await;
        if let Some(node) = open.get(url) {
            return Ok(node.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(2)
            .set_response_timeout(Some(COMMAND_TIMEOUT))
            .set_connection_timeout(Some(COMMAND_TIMEOUT));
        let node = Client::open(url)?
            .get_connection_manager_with_config(config)
            .await?;
        open.insert(url.to_owned(), node.clone());
        Ok(node)
    }

    /// What the first node says that answers.
    async fn any<T>(
        &self,
        ask: impl AsyncFn(ConnectionManager) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let mut failed = None;
        for url in &self.urls {
            let answer = match self.at(url).await {
                Ok(node) => ask(node).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| RedisError::from((redis::ErrorKind::Client, "no URL"))))
    }
}

/// The URL of a node of CLUSTER SLOTS.
fn url(node: Value) -> Option<String> {
    let (host, port): (String, u16) = match node {
        Value::Array(parts) => {
            let mut parts = parts.into_iter();
            let host = redis::from_redis_value(parts.next()?).ok()?;
            (host, redis::from_redis_value(parts.next()?).ok()?)
        }
        _ => return None,
    };
    Some(format!("redis://{host}:{port}"))
}
