//! Where a URL leads.

use std::net::SocketAddr;

use url::{Host, Url};

/// Where `url` leads, if it is one of plain HTTP.
pub async fn resolve(url: &str) -> Option<SocketAddr> {
    let url = Url::parse(url).ok().filter(|url| url.scheme() == "http")?;
    reach(&url).await
}

/// Where `url` leads, whatever its scheme.
pub async fn reach(url: &Url) -> Option<SocketAddr> {
    let port = url.port_or_known_default()?;
    match url.host()? {
        Host::Ipv4(address) => Some((address, port).into()),
        Host::Ipv6(address) => Some((address, port).into()),
        Host::Domain(name) => tokio::net::lookup_host((name, port)).await.ok()?.next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_found_with_and_without_a_port() {
        for (url, address) in [
            ("http://127.0.0.1", Some("127.0.0.1:80")),
            ("http://127.0.0.1:81/path", Some("127.0.0.1:81")),
            ("http://[::1]", Some("[::1]:80")),
            ("http://user:secret@127.0.0.1:82", Some("127.0.0.1:82")),
            ("https://127.0.0.1", None),
            ("nonsense", None),
        ] {
            let found = resolve(url).await.map(|address| address.to_string());
            assert_eq!(found.as_deref(), address, "{url}");
        }
    }
}
