//! Which node of a Redis Cluster serves which slot, as the nodes themselves say, and which nodes are of one cluster at all.
//!
//! Pure: the questions are asked in `topology.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use redis::Value;

use super::topology::unreachable;
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

/// What one node says.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Where it was asked.
    asked: Address,
    /// Its own id.
    id: String,
    says: Directory,
}

impl Answer {
    /// Whether the two nodes know each other. One that was taken out of a cluster may still know those that stayed.
    fn is_kin(&self, other: &Self) -> bool {
        self.says.ids.contains(&other.id) && other.says.ids.contains(&self.id)
    }
}

/// What one or more nodes of a cluster say of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// The ids of all nodes.
    ids: BTreeSet<String>,
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
    pub(super) fn read(
        slots: Value,
        nodes: Value,
        asked: &Address,
    ) -> Result<Answer, ServiceError> {
        let nodes = value::text(nodes)?;
        let epochs = epochs(&nodes);
        let mut directory = Self {
            ids: epochs.keys().map(|id| (*id).to_owned()).collect(),
            ..Self::default()
        };
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
        Ok(Answer {
            asked: asked.clone(),
            id: own_id(&nodes).unwrap_or_default().to_owned(),
            says: directory,
        })
    }

    /// Joins the answers of nodes, of `asked` that were asked. They may be of different clusters: the one that was known
    /// before holds, and the second part of what is answered tells who is of another. Where none was known, answers that
    /// contradict each other in nothing are of one that is being made.
    ///
    /// # Errors
    /// If it cannot be told which cluster is meant.
    pub(super) fn join(
        &self,
        answers: Vec<Answer>,
        asked: usize,
    ) -> Result<(Self, Vec<Address>), ServiceError> {
        let mut clusters: Vec<Vec<Answer>> = Vec::new();
        for answer in answers {
            let is_kin = |cluster: &Vec<Answer>| cluster.iter().any(|other| other.is_kin(&answer));
            let (kin, others): (Vec<_>, Vec<_>) = clusters.into_iter().partition(is_kin);
            clusters = others;
            clusters.push(kin.into_iter().flatten().chain([answer]).collect());
        }
        let mut clusters: Vec<_> = clusters
            .into_iter()
            .map(|answers| {
                let known = answers
                    .iter()
                    .filter(|answer| self.ids.contains(&answer.id));
                let known = known.count();
                let mut nodes = Vec::new();
                let mut directory = Self::default();
                for answer in answers {
                    nodes.push(answer.asked);
                    directory.add(answer.says);
                }
                (known, nodes, directory)
            })
            .collect();
        clusters.sort_by_key(|(known, ..)| std::cmp::Reverse(*known));
        let mut clusters = clusters.into_iter();
        let (known, nodes, mut joined) = clusters.next().unwrap_or_default();
        if known > 0 {
            return Ok((joined, clusters.flat_map(|(_, nodes, _)| nodes).collect()));
        }
        if !self.ids.is_empty() && nodes.len() * 2 <= asked {
            return Err(unreachable(
                "the nodes of the cluster do not answer, and who does is of another".to_owned(),
            ));
        }
        for (_, _, other) in clusters {
            if joined.contradicts(&other) {
                return Err(ServiceError::RedisAddress(
                    "its nodes belong to different clusters, which claim the same slots: name the nodes of one",
                ));
            }
            joined.add(other);
        }
        Ok((joined, Vec::new()))
    }

    /// Whether both have masters of one slot.
    fn contradicts(&self, other: &Self) -> bool {
        self.claims.iter().any(|claim| {
            let mut others = other.claims.iter().map(|other| &other.slots);
            others.any(|slots| {
                claim.slots.start() <= slots.end() && slots.start() <= claim.slots.end()
            })
        })
    }

    /// Adds what another node says.
    fn add(&mut self, other: Self) {
        self.ids.extend(other.ids);
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

/// The id of the node that gave an answer to CLUSTER NODES.
fn own_id(nodes: &str) -> Option<&str> {
    nodes.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let id = words.next()?;
        let flags = words.nth(1)?;
        flags.split(',').any(|flag| flag == "myself").then_some(id)
    })
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

    fn read(slots: Vec<Value>, nodes: &str) -> Answer {
        let asked = address("10.0.0.9", 7009);
        Directory::read(Value::Array(slots), text(nodes), &asked).unwrap()
    }

    /// What a node with this id says that knows these, of which it names the first for the master of some slots.
    fn answer(id: &str, slots: (i64, i64), ids: &[&str]) -> Answer {
        let flags = |other| {
            if other == id {
                "myself,master"
            } else {
                "master"
            }
        };
        let nodes: Vec<_> = ids
            .iter()
            .map(|other| format!("{other} x {} - 0 0 3 connected", flags(*other)))
            .collect();
        let master = node_value(text(ids[0]), 1, ids[0]);
        read(
            vec![claim(slots.0, slots.1, vec![master])],
            &nodes.join("\n"),
        )
    }

    /// The host of the master of slot 4, and how many nodes are of another cluster.
    fn joined(
        known: &Directory,
        answers: Vec<Answer>,
        asked: usize,
    ) -> Result<(String, usize), ()> {
        let (directory, foreign) = known.join(answers, asked).map_err(drop)?;
        let owner = directory.owner(4).unwrap();
        Ok((owner.host.to_string(), foreign.len()))
    }

    #[test]
    fn nodes_of_different_clusters_are_told_apart() {
        let nobody = Directory::default();
        let x = || answer("x1", (0, 9), &["x1", "x2"]);
        let y = || answer("y1", (0, 9), &["y1"]);
        // A node that was taken out, and was not told.
        let former = || answer("x3", (0, 9), &["x3", "x1", "x2"]);
        assert_eq!(joined(&nobody, vec![x()], 1), Ok(("x1".to_owned(), 0)));
        assert_eq!(joined(&nobody, vec![x(), y()], 2), Err(()));
        assert_eq!(joined(&nobody, vec![former(), x()], 2), Err(()));
        let (known, _) = nobody.join(vec![x()], 1).unwrap();
        for answers in [vec![x(), y()], vec![y(), x()], vec![former(), x()]] {
            let told = joined(&known, answers, 2);
            assert_eq!(told, Ok(("x1".to_owned(), 1)));
        }
        // The known one is silent.
        assert_eq!(joined(&known, vec![y()], 2), Err(()));
        assert_eq!(joined(&known, vec![former()], 2), Err(()));
        // It was made anew, in the same place.
        assert_eq!(joined(&known, vec![y()], 1), Ok(("y1".to_owned(), 0)));
    }

    #[test]
    fn nodes_that_are_about_to_meet_are_one_cluster() {
        let one = answer("a", (0, 9), &["a"]);
        let other = answer("b", (10, 19), &["b"]);
        let (directory, _) = Directory::default().join(vec![one, other], 2).unwrap();
        assert_eq!(&*directory.owner(4).unwrap().host, "a");
        assert_eq!(&*directory.owner(14).unwrap().host, "b");
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
        assert_eq!(directory.id, "b");
        let directory = directory.says;
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
            first.says.add(second.says);
            assert_eq!(first.says.owner(4), Some(&address("new", 1)));
            assert_eq!(first.says.nodes().count(), 2);
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
