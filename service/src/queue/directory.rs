//! Which node of a Redis Cluster serves which slot, as the nodes themselves say.
//!
//! Pure: the questions are asked in `topology.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use redis::Value;

use super::value;
use crate::error::ServiceError;

/// Where a node listens for clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What one or more nodes say of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    claims: Vec<Claim>,
    /// Every node that has slots or follows one that has: whether it is a master.
    nodes: BTreeMap<Address, bool>,
}

/// A master's claim on slots.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    slots: RangeInclusive<u32>,
    /// Of two claims on a slot the one of the higher epoch holds: each change of hands raises it.
    epoch: u64,
    master: Address,
}

impl Directory {
    /// Reads a node's answers to CLUSTER SLOTS, which has the addresses that clients are to use, and to CLUSTER NODES,
    /// which has the epochs. `asked` is where it was asked.
    pub(super) fn read(slots: Value, nodes: Value, asked: &Address) -> Result<Self, ServiceError> {
        let nodes = value::text(nodes)?;
        let epochs = epochs(&nodes);
        let mut directory = Self::default();
        for entry in value::array(slots)? {
            let mut parts = value::array(entry)?.into_iter();
            let (Some(first), Some(last), Some(master)) =
                (parts.next(), parts.next(), parts.next())
            else {
                return Err(ServiceError::RedisReply("CLUSTER SLOTS: parts are missing"));
            };
            let slot = |slot: &Value| value::count(slot).map(|slot| slot as u32);
            let (master, id) = node(master, asked)?;
            directory.claims.push(Claim {
                slots: slot(&first)?..=slot(&last)?,
                epoch: epochs.get(&*id).copied().unwrap_or_default(),
                master: master.clone(),
            });
            directory.nodes.insert(master, true);
            for replica in parts {
                let (replica, _) = node(replica, asked)?;
                directory.nodes.entry(replica).or_insert(false);
            }
        }
        Ok(directory)
    }

    /// Adds what another node says.
    pub(super) fn add(&mut self, other: Self) {
        for claim in other.claims {
            if !self.claims.contains(&claim) {
                self.claims.push(claim);
            }
        }
        for (address, is_master) in other.nodes {
            *self.nodes.entry(address).or_default() |= is_master;
        }
    }

    /// The master of a slot.
    pub(super) fn owner(&self, slot: u32) -> Option<&Address> {
        self.claims
            .iter()
            .filter(|claim| claim.slots.contains(&slot))
            .max_by_key(|claim| claim.epoch)
            .map(|claim| &claim.master)
    }

    /// Every node that was named.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.nodes.keys()
    }
}

/// A node of CLUSTER SLOTS: its address and its id.
fn node(node: Value, asked: &Address) -> Result<(Address, String), ServiceError> {
    let mut parts = value::array(node)?.into_iter();
    let (Some(host), Some(port), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ServiceError::RedisReply("CLUSTER SLOTS: a node is cut"));
    };
    let host: Arc<str> = match host {
        // A node that knows no address of its own means: where you have asked me.
        Value::Nil => Arc::clone(&asked.host),
        host => match &*value::text(host)? {
            "" | "?" => Arc::clone(&asked.host),
            host => host.into(),
        },
    };
    let port = u16::try_from(value::count(&port)?)
        .map_err(|_| ServiceError::RedisReply("CLUSTER SLOTS: a port is none"))?;
    Ok((Address { host, port }, value::text(id)?))
}

/// The epochs of CLUSTER NODES by the nodes' ids. `id address flags master ping pong epoch state slots ...`
fn epochs(nodes: &str) -> BTreeMap<&str, u64> {
    nodes
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let id = words.next()?;
            Some((id, words.nth(5)?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node_value(host: Value, port: i64, id: &str) -> Value {
        Value::Array(vec![host, Value::Int(port), text(id), Value::Array(vec![])])
    }

    fn address(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    fn read(slots: Vec<Value>, nodes: &str) -> Directory {
        let asked = address("10.0.0.9", 7009);
        Directory::read(Value::Array(slots), text(nodes), &asked).unwrap()
    }

    fn claim(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
    }

    #[test]
    fn owners_and_nodes_are_read() {
        let directory = read(
            vec![
                claim(
                    0,
                    5,
                    vec![
                        node_value(text("redis-1"), 7001, "a"),
                        node_value(text("redis-4"), 7004, "d"),
                    ],
                ),
                claim(6, 6, vec![node_value(Value::Nil, 7009, "b")]),
            ],
            "a 10.0.0.1:7001@17001,redis-1 master - 0 0 3 connected 0-5\n\
             b :7009@17009 myself,master - 0 0 4 connected 6\n",
        );
        assert_eq!(directory.owner(0), Some(&address("redis-1", 7001)));
        assert_eq!(directory.owner(6), Some(&address("10.0.0.9", 7009)));
        assert_eq!(directory.owner(7), None);
        assert_eq!(directory.nodes().count(), 3);
    }

    #[test]
    fn of_two_claims_the_newer_one_holds() {
        let old = read(
            vec![claim(0, 9, vec![node_value(text("old"), 1, "a")])],
            "a x master - 0 0 3 connected 0-9",
        );
        let new = read(
            vec![claim(0, 9, vec![node_value(text("new"), 1, "b")])],
            "a x slave b 0 0 3 connected\nb y master - 0 0 7 connected 0-9",
        );
        for (mut first, second) in [(old.clone(), new.clone()), (new, old)] {
            first.add(second);
            assert_eq!(first.owner(4), Some(&address("new", 1)));
            assert_eq!(first.nodes().count(), 2);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let asked = address("a", 1);
        for slots in [
            Value::Int(1),
            Value::Array(vec![Value::Array(vec![Value::Int(1)])]),
            Value::Array(vec![claim(0, 1, vec![Value::Array(vec![text("a")])])]),
            Value::Array(vec![claim(0, 1, vec![node_value(text("a"), 70_000, "b")])]),
        ] {
            let read = Directory::read(slots.clone(), text(""), &asked);
            assert!(read.is_err(), "{slots:?}");
        }
    }
}
