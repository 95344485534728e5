//! What hyper refuses by itself, because it is no request yet, is explained as every other refusal.
//!
//! hyper answers bytes that are no HTTP and heads that are too long with a status and nothing else, before any of our
//! code is called, and offers no way to say more. So the stream beneath it recognises such an answer and sends ours in
//! its place.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::request_id::RequestIds;
use super::response;

/// hyper's own answers are shorter: a status, a length, a date, whether the connection stays.
const BARE_LEN_MAX: usize = 192;

/// How a client begins that speaks HTTP/2 without being asked. hyper leaves it without a word.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream on which no refusal is sent without its reason.
///
/// It must see whole answers: hyper's `writev` is to be off. It must see nothing but HTTP: after an upgrade, go on with
/// [`Explain::into_inner`].
#[derive(Debug)]
pub(super) struct Explain<S> {
    stream: S,
    request_ids: Arc<RequestIds>,
    /// What goes out in place of hyper's answer, as far as it is not sent, and how long hyper's was.
    explained: Option<(Bytes, usize)>,
    has_read: bool,
}

impl<S> Explain<S> {
    pub(super) fn new(stream: S, request_ids: Arc<RequestIds>) -> Self {
        Self {
            stream,
            request_ids,
            explained: None,
            has_read: false,
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

/// An answer of hyper's own.
#[derive(Debug, PartialEq, Eq)]
struct Bare<'a> {
    /// Where it begins.
    at: usize,
    status: &'a str,
    date: Option<&'a str>,
}

impl<'a> Bare<'a> {
    /// The answer in which `bytes` end, if it is hyper's own.
    ///
    /// It is told by its whole form, from the status line to the empty line, since an answer of ours may quote anything: a
    /// file of exported rows holds line breaks of HTTP and what clients wrote, and so does the frame of a streamed body.
    /// No line of these is a field of hyper's alone, and each head of ours has more fields.
    fn find(bytes: &'a [u8]) -> Option<Self> {
        if !bytes.ends_with(b"\r\n\r\n") {
            return None;
        }
        let tail_at = bytes.len().saturating_sub(BARE_LEN_MAX);
        let version = b"HTTP/1.";
        let head_at = bytes[tail_at..]
            .windows(version.len())
            .rposition(|window| window == version)?;
        let at = tail_at + head_at;
        let head = str::from_utf8(&bytes[at..]).ok()?;
        let mut lines = head.strip_suffix("\r\n\r\n")?.split("\r\n");
        let (_, status) = lines.next()?.split_once(' ')?;
        let (status, reason) = status.split_once(' ')?;
        let code = StatusCode::from_bytes(status.as_bytes()).ok()?;
        if !code.is_client_error() || code.canonical_reason() != Some(reason) {
            return None;
        }
        let (mut is_empty, mut date) = (false, None);
        for line in lines {
            match line.split_once(": ")? {
                ("content-length", "0") => is_empty = true,
                ("connection", "close") => {}
                ("date", value) => date = Some(value),
                _ => return None,
            }
        }
        is_empty.then_some(Self { at, status, date })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explain<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = &mut buffer.filled_mut()[before..];
        if !self.has_read && read.starts_with(HTTP2_PREFACE) {
            // So it is nonsense to hyper as any other, which is refused aloud.
            read[0] = 0;
        }
        self.has_read = true;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explain<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let stream = Pin::new(&mut this.stream);
        let (refusal, bare_len) = match &mut this.explained {
            Some(explained) => explained,
            None => match Bare::find(bytes) {
                None => return stream.poll_write(cx, bytes),
                // First the answers before it, so that it is seen alone, and whole.
                Some(Bare { at: at @ 1.., .. }) => return stream.poll_write(cx, &bytes[..at]),
                Some(Bare { status, date, .. }) => {
                    let refusal = response::refusal(status, date, &this.request_ids.make());
                    this.explained.insert((refusal, bytes.len()))
                }
            },
        };
        while refusal.has_remaining() {
            let sent = ready!(Pin::new(&mut this.stream).poll_write(cx, refusal))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            refusal.advance(sent);
        }
        let bare_len = *bare_len;
        this.explained = None;
        Poll::Ready(Ok(bare_len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BARE: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                        content-length: 0\r\ndate: Wed, 25 Nov 2026 03:00:00 GMT\r\n\r\n";
    const OURS: &str = "HTTP/1.1 202 Accepted\r\nx-request-id: a-1\r\ncontent-length: 2\r\n\r\n{}";

    /// What a client reads when hyper writes `text` into a stream that takes so few bytes at once.
    async fn sent(text: &str, capacity: usize) -> String {
        let (near, mut far) = tokio::io::duplex(capacity);
        let mut stream = Explain::new(near, Arc::new(RequestIds::new("0123456789ab")));
        let write = async {
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let mut read = String::new();
        let ((), len) = tokio::join!(write, far.read_to_string(&mut read));
        len.unwrap();
        read
    }

    #[tokio::test]
    async fn a_bare_refusal_is_replaced_and_what_stands_before_it_is_not() {
        for capacity in [1, 7, 64, 4096] {
            let alone = sent(BARE, capacity).await;
            let (head, body) = alone.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
            for line in [
                "connection: close",
                "date: Wed, 25 Nov 2026 03:00:00 GMT",
                "content-type: application/problem+json",
                "x-request-id: 0123456789ab-0",
                &format!("content-length: {}", body.len()),
            ] {
                assert!(
                    head.split("\r\n").any(|found| found == line),
                    "{line}: {head}"
                );
            }
            let problem: crate::api::ProblemDetails = serde_json::from_str(body).unwrap();
            assert_eq!(
                (problem.status, &*problem.error_type),
                (431, "head_too_large")
            );

            let behind = sent(&format!("{OURS}{BARE}"), capacity).await;
            assert_eq!(behind, format!("{OURS}{alone}"));
        }
    }

    #[tokio::test]
    async fn every_other_answer_goes_out_as_it_is() {
        for text in [
            OURS,
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nx-request-id: a-1\r\ncontent-length: 90\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nallow: GET\r\nx-request-id: a-1\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-request-id: a-1\r\n\r\n",
            "no HTTP\r\n\r\n",
            // The ends of streamed bodies, with what a client wrote.
            "1f\r\n7,HTTP/1.1 400 Bad Request,x,y\r\n\r\n0\r\n\r\n",
            "1c\r\n7,HTTP/1.1 400 Bad Request\r\n\r\n",
            "27\r\n7,\"HTTP/1.1 400 Bad Request\r\ndate: now\"\r\n\r\n",
            "1c\r\n7,HTTP/1.1 400 Bad Request\r\n\r\n0\r\n\r\n",
            "\r\n\r\n",
            &format!("{BARE}and more"),
        ] {
            assert_eq!(sent(text, 4096).await, text);
        }
    }

    #[test]
    fn text_of_any_language_may_stand_before_it() {
        for pad in 0..4 {
            let text = format!("{}{}{BARE}", "x".repeat(pad), "\u{fc}\u{20ac}".repeat(100));
            let at = text.len() - BARE.len();
            assert_eq!(Bare::find(text.as_bytes()).map(|bare| bare.at), Some(at));
        }
    }
}
