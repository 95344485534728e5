//! Frames -> one bounded buffer.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::response::Problem;
use crate::limits::BODY_READ_TIMEOUT;

/// Reads a whole body. A body that comes in one frame, as nearly all do, is not copied.
///
/// # Errors
/// `TooLarge` (also by the announced length, before reading), `Timeout`, or `Truncated`.
pub(super) async fn read(body: Incoming, len_max: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > len_max as u64 {
        return Err(Problem::TooLarge(len_max));
    }
    tokio::time::timeout(BODY_READ_TIMEOUT, gather(body, len_max))
        .await
        .unwrap_or(Err(Problem::Timeout))
}

/// Reads a whole body that is JSON by its type.
///
/// # Errors
/// As [`read`], and `UnsupportedMediaType`.
pub(super) async fn read_json(
    request: Request<Incoming>,
    len_max: usize,
) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::UnsupportedMediaType);
    }
    read(request.into_body(), len_max).await
}

/// A page of another origin can make a browser send a body without a type, or with one of a few others, but JSON by its
/// type only when it may.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let kind = value.as_bytes().split(|&byte| byte == b';').next();
    let kind = kind.unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/json")
        || (kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case(b"+json"))
}

async fn gather(mut body: Incoming, len_max: usize) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::Truncated)?.into_data() else {
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
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}
