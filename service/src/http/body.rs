//! Frames -> one bounded buffer.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::parts::{Share, Sum};
use super::response::Problem;
use crate::limits::BODY_READ_TIMEOUT;

/// Reads a whole body. A body that comes in one frame, as nearly all do, is not copied.
///
/// # Errors
/// `TooLarge` (also by the announced length, before reading), `Timeout`, `Truncated`, `BrokenChunks`, or `TooManySlowSenders` where
/// there is no room among `gathered`.
pub(super) async fn read(
    mut body: Incoming,
    len_max: usize,
    gathered: &Arc<Sum>,
) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > len_max as u64 {
        return Err(Problem::TooLarge(len_max));
    }
    let gathered = pin!(gather(&mut body, len_max, gathered));
    within(BODY_READ_TIMEOUT, gathered)
        .await
        .unwrap_or(Err(Problem::Timeout))
}

/// As [`tokio::time::timeout`], but sets no timer before `work` has been asked twice. hyper hands over a body only once it
/// was asked for, and then asks again: nearly every body has come by then.
///
/// # Errors
/// `work` was asked for so long, and had nothing.
async fn within<T>(
    limit: Duration,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Elapsed> {
    let mut was_asked = false;
    let early = poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if was_asked => Poll::Ready(None),
        Poll::Pending => {
            was_asked = true;
            Poll::Pending
        }
    });
    match early.await {
        Some(done) => Ok(done),
        None => timeout(limit, work).await,
    }
}

/// What some editors and libraries put before a text: RFC 8259 lets a reader pass over it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a body begins that is in another form than UTF-8, though no header says so: text by its byte order mark, the longer
/// ones first, or what is compressed.
const OTHER_CHARSETS: [(&[u8], &str); 4] = [
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];
const GZIP: &[u8] = b"\x1f\x8b";

/// Reads a whole body that is JSON by its type, without a byte order mark before it.
///
/// # Errors
/// As [`read`], [`of_json`] and [`in_utf8`].
pub(super) async fn read_json(
    request: Request<Incoming>,
    len_max: usize,
    gathered: &Arc<Sum>,
) -> Result<Bytes, Problem> {
    let body = read(of_json(request)?, len_max, gathered).await?;
    in_utf8(body)
}

/// The body of a request, where it is JSON by its type.
///
/// # Errors
/// `UnsupportedMediaType`, `UnsupportedCoding` or `UnsupportedCharset`.
pub(super) fn of_json(request: Request<Incoming>) -> Result<Incoming, Problem> {
    check_form(request.headers())?;
    Ok(request.into_body())
}

/// A body without the byte order marks that may stand before it: files that were joined have several.
///
/// # Errors
/// `UnsupportedCharset` or `UnsupportedCoding`, where it begins as no text in UTF-8 does.
pub(super) fn in_utf8(mut body: Bytes) -> Result<Bytes, Problem> {
    while body.starts_with(BYTE_ORDER_MARK) {
        body = body.slice(BYTE_ORDER_MARK.len()..);
    }
    let mut others = OTHER_CHARSETS.iter();
    if let Some((_, charset)) = others.find(|(mark, _)| body.starts_with(mark)) {
        return Err(Problem::UnsupportedCharset((*charset).to_owned()));
    }
    if body.starts_with(GZIP) {
        return Err(Problem::UnsupportedCoding {
            header: None,
            coding: "gzip".to_owned(),
        });
    }
    Ok(body)
}

/// Lets pass what is JSON in UTF-8, as it is.
///
/// A page of another origin can make a browser send a body without a type, or with one of a few others, but JSON by its
/// type only when it may.
fn check_form(headers: &HeaderMap) -> Result<(), Problem> {
    // hyper undoes `chunked`, and hands over what is below it.
    for (header, plain) in [
        (CONTENT_ENCODING, &b"identity"[..]),
        (TRANSFER_ENCODING, b"chunked"),
    ] {
        let mut applied = 0;
        for codings in headers.get_all(&header) {
            let all = codings.as_bytes().split(|&byte| byte == b',');
            // An empty element of a list stands for nothing. Chunks within chunks there are none (RFC 9112, section 6.1).
            let is_none = |coding: &[u8]| {
                applied += usize::from(!coding.is_empty());
                coding.is_empty() || coding.eq_ignore_ascii_case(plain)
            };
            let is_plain = all.map(<[u8]>::trim_ascii).all(is_none);
            if !is_plain || (header == TRANSFER_ENCODING && applied > 1) {
                return Err(Problem::UnsupportedCoding {
                    header: Some(header),
                    coding: named(codings.as_bytes()),
                });
            }
        }
    }
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return Err(Problem::UnsupportedMediaType);
    };
    let mut parts = kind.as_bytes().split(|&byte| byte == b';');
    let name = parts.next().unwrap_or_default().trim_ascii();
    let is_json = name.eq_ignore_ascii_case(b"application/json")
        || (name.len() > 5 && name[name.len() - 5..].eq_ignore_ascii_case(b"+json"));
    if !is_json {
        return Err(Problem::UnsupportedMediaType);
    }
    for parameter in parts {
        let Some((name, value)) = str::from_utf8(parameter)
            .ok()
            .and_then(|parameter| parameter.split_once('='))
        else {
            continue;
        };
        let charset = value.trim().trim_matches('"');
        let is_utf8 = ["utf-8", "utf8", "us-ascii"]
            .iter()
            .any(|known| charset.eq_ignore_ascii_case(known));
        if name.trim().eq_ignore_ascii_case("charset") && !is_utf8 {
            return Err(Problem::UnsupportedCharset(named(charset.as_bytes())));
        }
    }
    Ok(())
}

/// A header's value as a message may repeat it.
fn named(value: &[u8]) -> String {
    crate::parse::shortened(&String::from_utf8_lossy(value))
}

/// Why a body has no further frame.
fn ended(error: &hyper::Error) -> Problem {
    let source = error.source().and_then(|source| source.downcast_ref());
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Problem::BrokenChunks,
        _ => Problem::Truncated,
    }
}

/// Joins the frames of a body. One that comes in several counts among `gathered` until it is whole.
async fn gather(
    body: &mut Incoming,
    len_max: usize,
    gathered: &Arc<Sum>,
) -> Result<Bytes, Problem> {
    let mut share: Option<Share> = None;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| ended(&error))?.into_data() else {
            continue; // trailers
        };
        if first.len() + rest.len() + data.len() > len_max {
            return Err(Problem::TooLarge(len_max));
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
            let share = share.get_or_insert_with(|| Share::new(gathered));
            if share.set(rest.capacity()).is_err() {
                return Err(Problem::TooManySlowSenders);
            }
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is ready when it is asked for the last of so many times, and wants to be asked again until then.
    async fn ready_after(asked: usize) {
        let mut left = asked;
        poll_fn(|cx| {
            left = left.saturating_sub(1);
            if left == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test]
    async fn what_does_not_come_is_given_up() {
        let long = Duration::from_secs(600);
        for asked in 1..=4 {
            assert_eq!(within(long, pin!(ready_after(asked))).await, Ok(()));
        }
        let never = async {
            ready_after(2).await;
            std::future::pending::<()>().await;
        };
        assert!(within(Duration::from_millis(1), pin!(never)).await.is_err());
    }

    fn check(lines: &[(&'static str, &str)]) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        check_form(&headers).map_err(|problem| match problem {
            Problem::UnsupportedMediaType => "type".to_owned(),
            Problem::UnsupportedCoding { coding, .. } => format!("coding {coding}"),
            Problem::UnsupportedCharset(charset) => format!("charset {charset}"),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn json_in_utf8_passes() {
        for kind in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;Charset=\"UTF-8\"",
            "application/json; charset=us-ascii; profile=x",
            "application/vnd.loan+json",
            "application/json;",
        ] {
            assert_eq!(check(&[("content-type", kind)]), Ok(()), "{kind}");
            let chunked = [("content-type", kind), ("transfer-encoding", "Chunked")];
            assert_eq!(check(&chunked), Ok(()), "{kind}");
            for coding in ["identity", "", "identity, Identity"] {
                let plain = [("content-type", kind), ("content-encoding", coding)];
                assert_eq!(check(&plain), Ok(()), "{kind} {coding}");
            }
        }
    }

    #[test]
    fn another_form_is_refused_by_name() {
        let json = ("content-type", "application/json");
        for (lines, why) in [
            (&[][..], "type"),
            (&[("content-type", "")], "type"),
            (&[("content-type", "text/json")], "type"),
            (&[("content-type", "+json")], "type"),
            (&[json, json], "type"),
            (&[json, ("content-encoding", "gzip")], "coding gzip"),
            (
                &[json, ("transfer-encoding", "gzip, chunked")],
                "coding gzip, chunked",
            ),
            (
                &[json, ("transfer-encoding", "chunked, chunked")],
                "coding chunked, chunked",
            ),
            (&[json, ("content-encoding", "gzip, br")], "coding gzip, br"),
            (
                &[
                    json,
                    ("content-encoding", "identity"),
                    ("content-encoding", "br"),
                ],
                "coding br",
            ),
            (
                &[("content-type", "application/json; charset=utf-16")],
                "charset utf-16",
            ),
            (
                &[("content-type", "application/json; a=b; charset=\"latin1\"")],
                "charset latin1",
            ),
        ] {
            assert_eq!(check(lines), Err(why.to_owned()), "{lines:?}");
        }
    }
}
