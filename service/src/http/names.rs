//! The names that the service answers to, and whose pages may change something.
//!
//! A name that a stranger points at this machine (DNS rebinding) would make a stranger's page one of the service's own in
//! a browser's eyes. So a request must name one of: `localhost`, a loopback address, the address that the client has
//! reached, the host of `--listen`, or that of a `--public-url`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::{Method, Uri, Version};

use super::response::Problem;

/// An address under which browsers reach the service, such as `https://loans.example`: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    is_https: bool,
    /// In lower case, IPv6 without brackets.
    host: String,
    port: u16,
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule =
            "not the address of a site: write scheme, host and port, such as https://loans.example";
        let text = text.trim();
        let origin = Origin::parse(text.strip_suffix('/').unwrap_or(text)).ok_or(rule)?;
        let is_sane = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if !origin.host.chars().all(is_sane) {
            return Err(rule);
        }
        Ok(Self {
            is_https: origin.is_https,
            host: origin.host.to_ascii_lowercase(),
            port: origin.port,
        })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        let is_ipv6 = self.host.contains(':');
        let (open, close) = if is_ipv6 { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}", self.host)?;
        if self.port != default_port(self.is_https) {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

/// Every name that the service answers to.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    public: Vec<PublicUrl>,
    /// The host of `--listen`.
    listen: String,
    /// Whether the service speaks HTTPS itself.
    has_tls: bool,
}

impl Names {
    pub(crate) fn new(public: &[PublicUrl], listen: &str, has_tls: bool) -> Self {
        let listen = Authority::parse(listen).map_or_else(String::new, |own| own.host.to_owned());
        Self {
            public: public.to_vec(),
            listen,
            has_tls,
        }
    }

    /// Whether a request names this service. `reached` is the address of this end of its connection.
    ///
    /// # Errors
    /// `NoHost` where an HTTP/1.1 request does not name exactly one host, `UnknownHost` where it names another.
    pub(super) fn check_host(
        &self,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
        reached: IpAddr,
    ) -> Result<(), Problem> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() || (host.is_none() && version == Version::HTTP_11) {
            return Err(Problem::NoHost);
        }
        // The target names it where it is a whole address.
        let named = match (uri.authority(), host) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().map_err(|_| Problem::NoHost)?,
            // HTTP/1.0 knows no Host, and no browser speaks it.
            (None, None) => return Ok(()),
        };
        let is_known =
            Authority::parse(named).is_some_and(|authority| self.knows(authority.host, reached));
        if is_known {
            Ok(())
        } else {
            Err(Problem::UnknownHost(crate::parse::shortened(named)))
        }
    }

    /// Whether a request comes from a page of the service's own, or from no page. A browser says where its page came
    /// from; other clients send no origin.
    ///
    /// # Errors
    /// `ForeignOrigin`.
    pub(super) fn check_origin(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        reached: IpAddr,
    ) -> Result<(), Problem> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Ok(());
        };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let named = uri.authority().map(hyper::http::uri::Authority::as_str);
        let text = origin.to_str().unwrap_or_default();
        let is_own = origins.next().is_none()
            && Origin::parse(text).is_some_and(|origin| {
                // Where a public address tells the scheme, a page that came by another one may be anybody's.
                if self.is_public(origin.host) {
                    return self.public.iter().any(|public| origin.is(public));
                }
                let host = named.or(host).and_then(Authority::parse);
                (origin.is_https || !self.has_tls)
                    && host
                        .is_some_and(|host| self.knows(host.host, reached) && origin.is_at(&host))
            });
        if is_own {
            Ok(())
        } else {
            Err(Problem::ForeignOrigin(crate::parse::shortened(text)))
        }
    }

    fn knows(&self, host: &str, reached: IpAddr) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback()
                || address == reached.to_canonical()
                || self.is_public(host);
        }
        host.eq_ignore_ascii_case("localhost")
            || host
                .len()
                .checked_sub(".localhost".len())
                .and_then(|at| host.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(".localhost"))
            || host.eq_ignore_ascii_case(&self.listen)
            || self.is_public(host)
    }

    fn is_public(&self, host: &str) -> bool {
        let mut public = self.public.iter();
        public.any(|public| is_same_host(&public.host, host))
    }
}

/// Whether two hosts are one: names in any case, addresses in any form.
fn is_same_host(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one.to_canonical() == other.to_canonical(),
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// Whether a method changes nothing: a page of any origin may make a browser send it.
pub(super) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A host with or without a port.
#[derive(Debug, PartialEq, Eq)]
struct Authority<'a> {
    /// IPv6 without brackets, a name without the dot that may end it.
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(text) => text.split_once(']')?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match rest {
            // By RFC 3986 there may be a colon and no port.
            "" | ":" => None,
            rest => Some(port(rest.strip_prefix(':')?)?),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        (!host.is_empty()).then_some(Self { host, port })
    }
}

/// Digits alone: no sign.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Where a page came from.
#[derive(Debug)]
struct Origin<'a> {
    is_https: bool,
    host: &'a str,
    port: u16,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let authority = Authority::parse(rest)?;
        Some(Self {
            is_https,
            host: authority.host,
            port: authority.port.unwrap_or(default_port(is_https)),
        })
    }

    fn is(&self, public: &PublicUrl) -> bool {
        self.is_https == public.is_https
            && self.port == public.port
            && is_same_host(self.host, &public.host)
    }

    /// Whether it is at the host and the port that the request names. A proxy may have ended TLS, so the port is by the
    /// origin's scheme.
    fn is_at(&self, host: &Authority<'_>) -> bool {
        is_same_host(self.host, host.host)
            && self.port == host.port.unwrap_or(default_port(self.is_https))
    }
}

const fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACHED: [u8; 4] = [192, 0, 2, 7];

    fn names() -> Names {
        let public = [
            "https://loans.example",
            "http://Intern.example:8080/",
            "https://[2001:DB8:0::1]",
        ];
        let public: Vec<_> = public.iter().map(|url| url.parse().unwrap()).collect();
        Names::new(&public, "box.example:8080", false)
    }

    fn headers(host: &[&str], origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for host in host {
            headers.append(HOST, host.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    fn host(named: &[&str]) -> Result<(), Problem> {
        let headers = headers(named, None);
        let uri = Uri::from_static("/");
        names().check_host(Version::HTTP_11, &uri, &headers, REACHED.into())
    }

    fn origin(host: &str, origin: &str) -> Result<(), Problem> {
        let headers = headers(&[host], Some(origin));
        names().check_origin(&Uri::from_static("/ws"), &headers, REACHED.into())
    }

    #[test]
    fn known_names_pass() {
        for known in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.:8080",
            "app.localhost",
            "localhost:",
            "127.0.0.1:8080",
            "127.0.0.1.:",
            "127.9.8.7",
            "[::1]:",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "192.0.2.7:1",
            "loans.example",
            "Loans.Example:443",
            "loans.example:",
            "loans.example.",
            "intern.example",
            "box.example:8080",
            "[2001:db8::1]",
            "[2001:DB8:0:0::1]:443",
        ] {
            assert_eq!(host(&[known]), Ok(()), "{known}");
        }
        let uri = Uri::from_static("/");
        let none = HeaderMap::new();
        let old = names().check_host(Version::HTTP_10, &uri, &none, REACHED.into());
        assert_eq!(old, Ok(()), "HTTP/1.0 has no Host");
    }

    #[test]
    fn other_names_are_refused() {
        for other in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "notlocalhost",
            "xlocalhost",
            "192.0.2.8",
            "[2001:db8::2]",
            "loans.example.evil.example",
            "loans.example@evil.example",
            "loans.example:x",
            "loans.example:+443",
            "127.0.0.1.evil.example",
            "a,localhost",
            "",
            ".",
            ":",
            ":80",
            "[::1",
        ] {
            assert!(host(&[other]).is_err(), "{other}");
        }
        assert_eq!(host(&[]), Err(Problem::NoHost));
        assert_eq!(host(&["localhost", "localhost"]), Err(Problem::NoHost));
        let uri = Uri::from_static("http://evil.example/");
        let named = headers(&["localhost"], None);
        let absolute = names().check_host(Version::HTTP_11, &uri, &named, REACHED.into());
        assert!(absolute.is_err(), "the target counts, not the header");
    }

    #[test]
    fn own_pages_pass() {
        for (host, own) in [
            ("localhost:8080", "http://localhost:8080"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("192.0.2.7", "http://192.0.2.7"),
            // A proxy names itself, or what it forwards to.
            ("127.0.0.1:8080", "https://loans.example"),
            ("loans.example", "https://loans.example"),
            ("loans.example:443", "https://loans.example"),
            ("loans.example", "https://loans.example:443"),
            ("localhost", "http://intern.example:8080"),
            ("box.example:8443", "https://box.example:8443"),
            ("localhost:", "http://localhost"),
            ("[2001:db8::1]", "https://[2001:db8::1]"),
            ("127.0.0.1", "https://[2001:db8:0::1]"),
            ("loans.example.", "https://loans.example."),
        ] {
            assert_eq!(origin(host, own), Ok(()), "{own} at {host}");
        }
        let none = headers(&["localhost"], None);
        let uri = Uri::from_static("/ws");
        assert_eq!(names().check_origin(&uri, &none, REACHED.into()), Ok(()));
    }

    #[test]
    fn foreign_pages_are_refused() {
        for (host, foreign) in [
            ("localhost:8080", "http://evil.example"),
            ("evil.example", "http://evil.example"),
            ("localhost:8080", "http://localhost:3000"),
            ("localhost:8080", "http://localhost"),
            ("loans.example", "http://intern.example"),
            // A page that came over plain HTTP may be anybody's.
            ("loans.example", "http://loans.example"),
            ("loans.example:80", "http://loans.example"),
            ("loans.example:8080", "http://loans.example:8080"),
            ("[2001:db8::1]", "http://[2001:db8::1]"),
            ("127.0.0.1:8080", "http://loans.example"),
            ("localhost:8080", "null"),
            ("localhost:8080", ""),
            ("localhost:8080", "localhost:8080"),
            ("localhost:8080", "ftp://localhost:8080"),
            ("localhost:8080", "http://localhost:8080/"),
        ] {
            assert!(origin(host, foreign).is_err(), "{foreign} at {host}");
        }
    }

    #[test]
    fn pages_of_a_service_with_tls_came_by_it() {
        let names = Names::new(&[], "box.example:8443", true);
        let uri = Uri::from_static("/ws");
        for (page, is_own) in [
            ("https://localhost:8443", true),
            ("http://localhost:8443", false),
        ] {
            let headers = headers(&["localhost:8443"], Some(page));
            let checked = names.check_origin(&uri, &headers, REACHED.into());
            assert_eq!(checked.is_ok(), is_own, "{page}");
        }
    }

    #[test]
    fn a_public_url_is_a_site() {
        for (good, shown) in [
            ("https://loans.example", "https://loans.example"),
            ("http://Loans.Example:8080/", "http://loans.example:8080"),
            ("https://[2001:db8::1]:443", "https://[2001:db8::1]"),
            ("HTTPS://Loans.Example", "https://loans.example"),
            ("https://loans.example.", "https://loans.example"),
            ("https://loans.example.:8443/", "https://loans.example:8443"),
            (" https://loans.example: ", "https://loans.example"),
        ] {
            assert_eq!(good.parse::<PublicUrl>().unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "loans.example",
            "ftp://loans.example",
            "https://",
            "https://loans.example/path",
            "https://user@loans.example",
            "https://loans.example:99999",
            "https://*.example",
        ] {
            assert!(wrong.parse::<PublicUrl>().is_err(), "{wrong}");
        }
    }
}
