//! The one HTTP call that the testbed makes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The status code of `GET path`.
pub(crate) async fn status(address: SocketAddr, path: &str) -> io::Result<u16> {
    tokio::time::timeout(ANSWER_WITHIN, async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        parse_status(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    })
    .await?
}

fn parse_status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next()?.starts_with("HTTP/1.").then_some(())?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_status;

    #[test]
    fn reads_the_status_line() {
        assert_eq!(
            parse_status(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n"),
            Some(503)
        );
        assert_eq!(parse_status(b""), None);
        assert_eq!(parse_status(b"+PONG\r\n"), None);
    }
}
