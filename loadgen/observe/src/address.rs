//! Where a URL leads.

use std::net::SocketAddr;

/// Where `url` leads, if it is one of plain HTTP.
pub async fn resolve(url: &str) -> Option<SocketAddr> {
    let host = url.strip_prefix("http://")?.split('/').next()?;
    let host = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    tokio::net::lookup_host(host).await.ok()?.next()
}
