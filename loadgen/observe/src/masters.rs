//! The Redis that holds the queue: one server, or the masters of a Redis Cluster, each read at what it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::Mutex;
use url::Url;

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
        let (info, _): (String, &str) = masters
            .any(async |mut node| {
                let mut info = redis::cmd("INFO");
                info.arg("cluster").query_async(&mut node).await
            })
            .await?;
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
        let (slots, asked): (Vec<Vec<Value>>, &str) = self
            .any(async |mut node| {
                let mut slots = redis::cmd("CLUSTER");
                slots.arg("SLOTS").query_async(&mut node).await
            })
            .await?;
        let asked = Url::parse(asked).map_err(|_| no_url())?;
        let mut members = Members::default();
        for range in slots {
            let nodes = range.into_iter().skip(2);
            let nodes = nodes.filter_map(|node| url_of(node, &asked));
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

    /// What the first node says that answers, and its URL.
    async fn any<T>(
        &self,
        ask: impl AsyncFn(ConnectionManager) -> RedisResult<T>,
    ) -> RedisResult<(T, &str)> {
        let mut failed = None;
        for url in &self.urls {
            let answer = match self.at(url).await {
                Ok(node) => ask(node).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return Ok((answer, url.as_str())),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(no_url))
    }
}

fn no_url() -> RedisError {
    RedisError::from((ErrorKind::Client, "no URL"))
}

/// The URL of a node of CLUSTER SLOTS: it is reached as the node that was `asked`, by the same user, password and TLS, but for
/// host and port. Nothing when the answer names no node. Pure.
fn url_of(node: Value, asked: &Url) -> Option<String> {
    let Value::Array(parts) = node else {
        return None;
    };
    let mut parts = parts.into_iter();
    let host: Option<String> = redis::from_redis_value(parts.next()?).ok()?;
    let port: u16 = redis::from_redis_value(parts.next()?).ok()?;
    let mut url = asked.clone();
    match host.as_deref() {
        // A node that knows no address of its own means: where you have asked me.
        None | Some("" | "?") => {}
        Some(host) if host.contains(':') => url.set_host(Some(&format!("[{host}]"))).ok()?,
        Some(host) => url.set_host(Some(host)).ok()?,
    }
    url.set_port(Some(port)).ok()?;
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_reached_as_the_one_that_was_asked() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let asked = Url::parse("rediss://user:word@first:7000/0#insecure").expect("a good URL");
        for (host, told) in [
            (text("10.0.0.2"), "10.0.0.2"),
            (text("second.example"), "second.example"),
            (text("fd00::2"), "[fd00::2]"),
            (text(""), "first"),
            (text("?"), "first"),
            (Value::Nil, "first"),
        ] {
            let node = Value::Array(vec![host, Value::Int(7001), text("its id")]);
            let url = format!("rediss://user:word@{told}:7001/0#insecure");
            assert_eq!(url_of(node, &asked), Some(url));
        }
        let plain = Url::parse("redis://first:7000").expect("a good URL");
        let node = Value::Array(vec![text("10.0.0.2"), Value::Int(7001)]);
        let url = "redis://10.0.0.2:7001".to_owned();
        assert_eq!(url_of(node, &plain), Some(url));
        assert_eq!(url_of(Value::Nil, &plain), None);
        assert_eq!(url_of(Value::Array(Vec::new()), &plain), None);
    }
}
