//! How many connections one client may have.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::peer::Proxies;

/// The clients that are connected.
#[derive(Debug)]
pub(crate) struct Clients {
    len_max: usize,
    counts_loopback: bool,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Guest {
    clients: Arc<Clients>,
    /// `None` where it is not counted.
    address: Option<IpAddr>,
}

impl Clients {
    /// Unless `set`, a client may have a tenth of `connections_max`, and those on this machine all of them: a proxy here
    /// has many clients.
    pub(crate) fn new(set: Option<usize>, connections_max: usize) -> Arc<Self> {
        Arc::new(Self {
            len_max: set.unwrap_or((connections_max / 10).max(8)),
            counts_loopback: set.is_some(),
            open: Mutex::default(),
        })
    }

    /// Lets a connection in, unless its client has too many. What a trusted proxy connects is not one client's.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, proxies: &Proxies) -> Option<Guest> {
        let peer = peer.to_canonical();
        let is_free = (peer.is_loopback() && !self.counts_loopback) || proxies.is_trusted(peer);
        let address = (!is_free).then(|| one_client(peer));
        if let Some(address) = address {
            let mut open = self.open();
            let count = open.entry(address).or_default();
            if *count >= self.len_max {
                return None;
            }
            *count += 1;
        }
        Some(Guest {
            clients: Arc::clone(self),
            address,
        })
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Each critical section leaves the map whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client has as a rule one IPv4 address, or 2^64 of IPv6.
pub(super) fn one_client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.clients.open();
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(clients: &Arc<Clients>, peer: &str) -> Option<Guest> {
        let proxies = Proxies::new(&["10.0.0.1".parse().unwrap()]);
        clients.enter(peer.parse().unwrap(), &proxies)
    }

    #[test]
    fn one_client_cannot_have_all() {
        let clients = Clients::new(None, 80);
        let mut held: Vec<_> = (0..8)
            .map(|_| enter(&clients, "192.0.2.1").unwrap())
            .collect();
        assert!(enter(&clients, "192.0.2.1").is_none());
        assert!(enter(&clients, "::ffff:192.0.2.1").is_none());
        assert!(enter(&clients, "192.0.2.2").is_some());
        held.pop();
        assert!(enter(&clients, "192.0.2.1").is_some());
        drop(held);
        assert!(clients.open().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let clients = Clients::new(Some(1), 80);
        let held = enter(&clients, "2001:db8::1");
        assert!(held.is_some());
        assert!(enter(&clients, "2001:db8::2").is_none());
        assert!(enter(&clients, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn proxies_and_this_machine_are_not_counted() {
        let clients = Clients::new(None, 80);
        for free in ["10.0.0.1", "127.0.0.1", "::1"] {
            let held: Vec<_> = (0..100).map(|_| enter(&clients, free)).collect();
            assert!(held.iter().all(Option::is_some), "{free}");
        }
        let set = Clients::new(Some(1), 80);
        let held = enter(&set, "127.0.0.1");
        assert!(held.is_some() && enter(&set, "127.0.0.1").is_none());
    }
}
