//! Who is at the other end: the client itself, or a proxy that says for whom it asks.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

/// The bits that IPv4 addresses in the form of IPv6 have in common.
const MAPPED_PREFIX_LEN: u8 = 96;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// The address that the client has reached.
    pub(super) reached: IpAddr,
    /// The address that it came from.
    pub(super) peer: IpAddr,
    /// The service speaks TLS, and this client does not: it is told so, and nothing else.
    pub(super) lacks_tls: bool,
}

/// A proxy whose word about its clients counts: an address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl FromStr for TrustedProxy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "not an address and not a network: write 10.0.0.7, or 10.0.0.0/8";
        let text = text.trim();
        let network = match text.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => text.parse().map_err(|_| rule)?,
        };
        Ok(Self(canonical(network)))
    }
}

/// A network of IPv4 addresses in the form that they are compared in, also where it is written as one of IPv6
/// (`::ffff:10.0.0.0/104`).
fn canonical(network: IpNet) -> IpNet {
    let mapped = network.prefix_len().checked_sub(MAPPED_PREFIX_LEN);
    match (network.addr().to_canonical(), mapped) {
        (address @ IpAddr::V4(_), Some(len)) if network.addr().is_ipv6() => {
            IpNet::new(address, len).unwrap_or(network)
        }
        _ => network,
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
        let lines = |name: HeaderName| {
            let lines = headers.get_all(name).iter();
            // A client may write what is no text, and the proxy's own words stand behind it.
            let lines = lines.map(|line| String::from_utf8_lossy(line.as_bytes()));
            let lines: Vec<_> = lines.collect();
            (!lines.is_empty()).then_some(lines)
        };
        let passed_on = lines(X_FORWARDED_FOR).map(|lines| self.nearest(peer, &lines, plain_hops));
        let forwarded = lines(FORWARDED).map(|lines| self.nearest(peer, &lines, forwarded_hops));
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
        lines: &[Cow<'_, str>],
        read: fn(&str) -> Vec<Option<IpAddr>>,
    ) -> IpAddr {
        let lines = lines.iter().rev();
        let hops = lines.flat_map(|line| read(line).into_iter().rev());
        let mut client = peer;
        for hop in hops {
            let Some(address) = hop else {
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

/// The hops of a line; `None` for each that cannot be read.
fn plain_hops(line: &str) -> Vec<Option<IpAddr>> {
    elements(line.split(',')).map(plain_hop).collect()
}

/// The hops of a line; `None` for each that cannot be read.
fn forwarded_hops(line: &str) -> Vec<Option<IpAddr>> {
    match split_outside_quotes(line, ',') {
        Some(parts) => elements(parts).map(forwarded_hop).collect(),
        None => vec![None],
    }
}

/// An empty element of a list stands for nothing.
fn elements<'a>(parts: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let parts = parts.into_iter().map(str::trim);
    parts.filter(|part| !part.is_empty())
}

/// The parts of a text between separators that do not stand in quotes. `None` where a quote does not end: nobody knows what
/// of it is whose.
fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(|c| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c => return c == separator && !is_quoted,
        }
        false
    });
    let parts = parts.collect();
    (!is_quoted).then_some(parts)
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
    let pairs = split_outside_quotes(text, ';')?;
    let mut nodes = pairs.into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.trim())
    });
    // Of two nobody knows which one counts.
    let (Some(node), None) = (nodes.next(), nodes.next()) else {
        return None;
    };
    let node = node
        .strip_prefix('"')
        .and_then(|node| node.strip_suffix('"'))
        .unwrap_or(node);
    plain_hop(node)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[(&str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "127.0.0.1"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
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

    /// No byte of a client's makes what the proxy has written unread, or part of what it has not.
    #[test]
    fn a_client_neither_hides_nor_forges_its_address() {
        for (lines, expected) in [
            (&[("x-forwarded-for", "é, 192.0.2.1")][..], "192.0.2.1"),
            (&[("forwarded", "for=é, for=192.0.2.1")], "192.0.2.1"),
            (
                &[
                    ("x-forwarded-for", "é, 192.0.2.1"),
                    ("forwarded", "for=203.0.113.66"),
                ],
                "127.0.0.1",
            ),
            (
                &[
                    ("x-forwarded-for", "203.0.113.66"),
                    ("x-forwarded-for", "é, 192.0.2.1"),
                ],
                "192.0.2.1",
            ),
            (
                &[
                    ("x-forwarded-for", "203.0.113.66"),
                    ("x-forwarded-for", "é"),
                ],
                "127.0.0.1",
            ),
            // An empty element of a list stands for nothing.
            (&[("x-forwarded-for", "192.0.2.1,")], "192.0.2.1"),
            (
                &[("x-forwarded-for", "192.0.2.1, ,10.1.1.1,,")],
                "192.0.2.1",
            ),
            (&[("forwarded", "for=192.0.2.1, ,")], "192.0.2.1"),
            // What stands in quotes is text.
            (
                &[("forwarded", "for=192.0.2.1;host=\"a,for=203.0.113.66;x=\"")],
                "192.0.2.1",
            ),
            (
                &[("forwarded", "for=\"192.0.2.1\";by=\"x,y\"")],
                "192.0.2.1",
            ),
            (
                &[(
                    "forwarded",
                    "host=\"a\\\",for=203.0.113.66;x=\";for=192.0.2.1",
                )],
                "192.0.2.1",
            ),
            (
                &[("forwarded", "for=203.0.113.66;a=\", for=\"192.0.2.1\"")],
                "127.0.0.1",
            ),
            (
                &[("forwarded", "for=203.0.113.66;for=192.0.2.1")],
                "127.0.0.1",
            ),
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
        for (network, address) in [
            ("::ffff:10.0.0.0/104", "10.1.2.3"),
            ("::ffff:10.0.0.1/128", "10.0.0.1"),
            (" 10.0.0.0/8 ", "::ffff:10.1.2.3"),
            ("2001:db8::/32", "2001:db8::1"),
        ] {
            let proxies = Proxies::new(&[network.parse().unwrap()]);
            assert!(proxies.is_trusted(address.parse().unwrap()), "{network}");
        }
        for wrong in ["", "proxy.example", "10.0.0.0/33", "10.0.0"] {
            assert!(wrong.parse::<TrustedProxy>().is_err(), "{wrong}");
        }
    }
}
