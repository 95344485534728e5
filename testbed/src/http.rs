//! A minimal HTTP/1.1 client: one request, one connection, the raw answer. For tests and benches
//! that must see exactly what a server said.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of a header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// `GET path`.
///
/// # Errors
/// If the server cannot be reached, cuts the connection, or is silent for 20 seconds.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    request(address, "GET", path, &[], b"").await
}

/// `POST path` with a JSON body.
///
/// # Errors
/// As [`get`].
pub async fn post(address: SocketAddr, path: &str, body: impl AsRef<[u8]>) -> io::Result<Answer> {
    let headers = [("Content-Type", "application/json")];
    request(address, "POST", path, &headers, body.as_ref()).await
}

/// Any request.
///
/// # Errors
/// As [`get`].
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut message = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        message.extend([name, ": ", value, "\r\n"]);
    }
    let mut message = (message + "\r\n").into_bytes();
    message.extend_from_slice(body);
    raw(address, &message).await
}

/// Sends bytes as they are and reads until the server closes.
///
/// # Errors
/// As [`get`]; `InvalidData` if the answer is not HTTP.
pub async fn raw(address: SocketAddr, message: &[u8]) -> io::Result<Answer> {
    tokio::time::timeout(ANSWER_WITHIN, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(message).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        parse(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    })
    .await?
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let body = &answer[end + 4..];
    let mut words = head.split(' ');
    words.next()?.starts_with("HTTP/1.").then_some(())?;
    let mut answer = Answer {
        status: words.next()?.parse().ok()?,
        head,
        body: String::new(),
    };
    let is_chunked = answer
        .header("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let body = if is_chunked {
        joined(body)?
    } else {
        body.to_vec()
    };
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Some(answer)
}

/// The chunks of a body, up to the last. `None` if that did not come.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = chunks.windows(2).position(|two| two == b"\r\n")?;
        let len = std::str::from_utf8(&chunks[..line]).ok()?;
        let len = usize::from_str_radix(len, 16).ok()?;
        if len == 0 {
            return Some(body);
        }
        let chunk = chunks.get(line + 2..)?;
        body.extend_from_slice(chunk.get(..len)?);
        chunks = chunk.get(len + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_the_status_and_headers() {
        let answer =
            parse(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\nlater").unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.body, "later");
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nb\r\ndefghijklmn\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().body, "abcdefghijklmn");
        assert_eq!(parse(&chunked[..chunked.len() - 9]), None, "cut off");
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"+PONG\r\n\r\n"), None);
    }
}
