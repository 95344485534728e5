//! The network between servers that run together, which can be parted.
//!
//! Each server has a loopback address of its own and makes its connections from it, so a connection says who made it.
//! Where the network can be parted, the server listens behind its public address, and a [`Proxy`] listens at that
//! one. It passes everything on, but for the sources that it was told to part.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::error::TestbedError;
use crate::port;
use crate::proxy::Proxy;

/// The first node has 127.0.0.2: clients come from 127.0.0.1.
const FIRST_HOST: usize = 2;
/// How many nodes have an address.
const NODES_MAX: usize = 250;
/// How many ports are tried for one node.
pub(crate) const PORT_ATTEMPTS: usize = 10;

/// The address under which the others and the clients know a node.
pub(crate) fn public_host(node: usize) -> Result<Ipv4Addr, TestbedError> {
    host(0, node)
}

fn host(net: u8, node: usize) -> Result<Ipv4Addr, TestbedError> {
    if node >= NODES_MAX {
        let what = format!("at most {NODES_MAX} nodes have an address of their own");
        return Err(TestbedError::Layout(what));
    }
    Ok(Ipv4Addr::new(127, 0, net, (FIRST_HOST + node) as u8))
}

/// The network of one group of servers.
pub(crate) struct Network {
    can_part: bool,
    /// The proxies in front of each node; none where the network cannot be parted.
    doors: BTreeMap<usize, Vec<Proxy>>,
}

impl Network {
    pub(crate) fn new(can_part: bool) -> Self {
        Self {
            can_part,
            doors: BTreeMap::new(),
        }
    }

    /// Where the node's server itself listens.
    pub(crate) fn server_host(&self, node: usize) -> Result<Ipv4Addr, TestbedError> {
        host(u8::from(self.can_part), node)
    }

    /// A port that is free at both addresses of a node.
    pub(crate) fn free_port(node: usize) -> Result<u16, TestbedError> {
        // The server's own address is tried by the server.
        port::free(public_host(node)?)
    }

    /// Opens the node's public ports, which lead to the same ports of its server.
    pub(crate) async fn open(&mut self, node: usize, ports: &[u16]) -> Result<(), TestbedError> {
        self.doors.remove(&node);
        if !self.can_part {
            return Ok(());
        }
        let (public, server) = (public_host(node)?, self.server_host(node)?);
        let mut doors = Vec::new();
        for port in ports {
            let public = SocketAddr::from((public, *port));
            doors.push(Proxy::start_at(public, (server, *port).into()).await?);
        }
        self.doors.insert(node, doors);
        Ok(())
    }

    /// Closes the public ports of a node that is gone.
    pub(crate) fn close(&mut self, node: usize) {
        self.doors.remove(&node);
    }

    /// From now on nothing passes between a node of `one` and a node of `other`, in either direction.
    pub(crate) fn part(&self, one: &[usize], other: &[usize]) -> Result<(), TestbedError> {
        for a in one {
            for b in other {
                self.shut(*a, public_host(*b)?.into())?;
                self.shut(*b, public_host(*a)?.into())?;
            }
        }
        Ok(())
    }

    /// From now on nothing passes between this node and clients.
    pub(crate) fn part_from_clients(&self, node: usize) -> Result<(), TestbedError> {
        self.shut(node, Ipv4Addr::LOCALHOST.into())
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        self.doors.values().flatten().for_each(Proxy::join);
    }

    /// How much has been held back at a node's public ports so far.
    pub(crate) fn held(&self, node: usize) -> u64 {
        let doors = self.doors.get(&node).into_iter().flatten();
        doors.map(|proxy| proxy.counts().held).sum()
    }

    fn shut(&self, node: usize, source: IpAddr) -> Result<(), TestbedError> {
        if !self.can_part {
            let what = "this network cannot be parted: set can_part in the options";
            return Err(TestbedError::Layout(what.into()));
        }
        let doors = self
            .doors
            .get(&node)
            .ok_or(TestbedError::NoSuchNode(node))?;
        for proxy in doors {
            proxy.part(source);
        }
        Ok(())
    }
}
