//! Who is at the other end: the client itself, or a proxy that says for whom it asks.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// The address that the client has reached.
    pub(super) reached: IpAddr,
    /// The address that it came from.
    pub(super) peer: IpAddr,
}

/// A proxy whose word about its clients counts: an address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl FromStr for TrustedProxy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "not an address and not a network: write 10.0.0.7, or 10.0.0.0/8";
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self(address.to_canonical().into())),
            Err(_) => text.parse().map(Self).map_err(|_| rule),
        }
    }
}

/// Tells clients apart.
#[derive(Clone, Debug)]
pub(crate) struct Proxies(Vec<TrustedProxy>);

impl Proxies {
    pub(crate) fn new(trusted: &[TrustedProxy]) -> Self {
        Self(trusted.to_vec())
    }

    pub(super) fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|proxy| proxy.0.contains(&address))
    }

    /// The client's address: the peer's, or the one that the nearest proxies, all of them trusted, have passed on.
    ///
    /// What a proxy does not set itself it may pass on from its client. So where both headers are there and disagree,
    /// neither is believed.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.is_trusted(peer) {
            return peer;
        }
        let values = |name: HeaderName| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .collect();
            (!values.is_empty()).then_some(values)
        };
        let passed_on =
            values(X_FORWARDED_FOR).map(|values| self.nearest(peer, &values, plain_hop));
        let forwarded = values(FORWARDED).map(|values| self.nearest(peer, &values, forwarded_hop));
        match (passed_on, forwarded) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(client), _) | (None, Some(client)) => client,
            (None, None) => peer,
        }
    }

    /// The first address from the right that is no trusted proxy's; the last one known, where one cannot be read.
    fn nearest(
        &self,
        peer: IpAddr,
        values: &[&str],
        read: impl Fn(&str) -> Option<IpAddr>,
    ) -> IpAddr {
        let hops = values.iter().rev().flat_map(|value| value.rsplit(','));
        let mut client = peer;
        for hop in hops {
            let Some(address) = read(hop.trim()) else {
                break;
            };
            client = address.to_canonical();
            if !self.is_trusted(client) {
                break;
            }
        }
        client
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`.
fn plain_hop(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    text.parse().ok().or_else(|| {
        let (address, _) = text.split_once(':')?;
        address.parse().ok()
    })
}

/// `for=192.0.2.1;proto=https`, `for="[2001:db8::1]:4711"`.
fn forwarded_hop(text: &str) -> Option<IpAddr> {
    let node = text.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.trim())
    })?;
    let node = node
        .strip_prefix('"')
        .and_then(|node| node.strip_suffix('"'))
        .unwrap_or(node);
    plain_hop(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[(&str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "127.0.0.1"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        Proxies::new(&trusted)
            .client(peer.parse().unwrap(), &headers)
            .to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let says = [
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
        ];
        for line in says {
            assert_eq!(client("198.51.100.9", &[line]), "198.51.100.9");
            assert_eq!(client("127.0.0.1", &[line]), "192.0.2.1");
            assert_eq!(client("::ffff:127.0.0.1", &[line]), "192.0.2.1");
        }
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &says), "192.0.2.1");
    }

    #[test]
    fn what_a_client_writes_itself_counts_for_nothing() {
        for (lines, expected) in [
            (
                &[("x-forwarded-for", "203.0.113.1, 192.0.2.1, 10.1.1.1")][..],
                "192.0.2.1",
            ),
            (
                &[
                    ("x-forwarded-for", "203.0.113.1"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                "192.0.2.1",
            ),
            (
                &[("forwarded", "for=203.0.113.1, for=192.0.2.1;proto=https")],
                "192.0.2.1",
            ),
            // The one that the proxy did not set is the client's own.
            (
                &[
                    ("x-forwarded-for", "192.0.2.1"),
                    ("forwarded", "for=203.0.113.1"),
                ],
                "127.0.0.1",
            ),
            (&[("x-forwarded-for", "203.0.113.1, nonsense")], "127.0.0.1"),
            (&[("x-forwarded-for", "10.2.2.2")], "10.2.2.2"),
            (&[("forwarded", "for=unknown, for=10.1.1.1")], "10.1.1.1"),
            (&[("forwarded", "for=_hidden")], "127.0.0.1"),
            (&[("forwarded", "proto=https")], "127.0.0.1"),
        ] {
            assert_eq!(client("127.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (line, expected) in [
            (("x-forwarded-for", "192.0.2.1:4711"), "192.0.2.1"),
            (("x-forwarded-for", "2001:db8::1"), "2001:db8::1"),
            (("x-forwarded-for", "[2001:db8::1]:4711"), "2001:db8::1"),
            (("forwarded", "For=\"[2001:db8::1]:4711\""), "2001:db8::1"),
            (
                ("forwarded", "proto=http;by=10.0.0.1;for=192.0.2.1"),
                "192.0.2.1",
            ),
        ] {
            assert_eq!(client("10.9.9.9", &[line]), expected, "{line:?}");
        }
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        for wrong in ["", "proxy.example", "10.0.0.0/33", "10.0.0"] {
            assert!(wrong.parse::<TrustedProxy>().is_err(), "{wrong}");
        }
    }
}
