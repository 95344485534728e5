//! Answers: the only place that writes status codes.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::Reply;
use crate::loan::LoanId;
use crate::parse::ParseError;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Unreadable(ParseError),
    Conflict(LoanId),
    TooLarge(usize),
    Truncated,
    Timeout,
    UnsupportedMediaType,
    Paused,
    Overloaded,
    QueueUnavailable,
    Draining,
    NotReady {
        redis: bool,
        mongodb: bool,
        draining: bool,
    },
    BadQuery(&'static str),
    NotFound(&'static str),
    MethodNotAllowed(&'static str),
    ForeignOrigin,
    NotAWebSocket,
    TooManyWebSockets,
}

impl Problem {
    /// Its stable name.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::Unreadable(ParseError::InvalidUtf8) => "invalid_utf8",
            Self::Unreadable(ParseError::Malformed(_)) => "malformed_json",
            Self::Unreadable(ParseError::TooDeep) => "too_deep",
            Self::Unreadable(ParseError::NotAnObject) => "not_an_object",
            Self::Unreadable(ParseError::DuplicateKey(_)) => "duplicate_key",
            Self::Unreadable(ParseError::InvalidLoanId) => "invalid_loan_id",
            Self::Conflict(_) => "loan_id_conflict",
            Self::TooLarge(_) => "body_too_large",
            Self::Truncated => "truncated_body",
            Self::Timeout => "request_timeout",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Paused => "paused",
            Self::Overloaded => "overloaded",
            Self::QueueUnavailable => "queue_unavailable",
            Self::Draining => "draining",
            Self::NotReady { .. } => "not_ready",
            Self::BadQuery(_) => "bad_query",
            Self::NotFound(_) => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::ForeignOrigin => "foreign_origin",
            Self::NotAWebSocket => "not_a_web_socket",
            Self::TooManyWebSockets => "too_many_web_sockets",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unreadable(_) | Self::Truncated | Self::BadQuery(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Paused
            | Self::Overloaded
            | Self::QueueUnavailable
            | Self::Draining
            | Self::NotReady { .. }
            | Self::TooManyWebSockets => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NotAWebSocket => StatusCode::UPGRADE_REQUIRED,
        }
    }

    /// What happened and what to do, for a person.
    fn detail(&self) -> String {
        match self {
            Self::Unreadable(error) => error.to_string(),
            Self::Conflict(loan_id) => format!(
                "a loan {loan_id} with other content is known already; use another loanId for another loan"
            ),
            Self::TooLarge(len_max) => format!("the body must not exceed {len_max} bytes"),
            Self::Truncated => "the body ended before its announced length".to_owned(),
            Self::Timeout => "the body did not arrive in time".to_owned(),
            Self::UnsupportedMediaType => "send the loan as application/json".to_owned(),
            Self::Paused => "ingestion is paused; try again later".to_owned(),
            Self::Overloaded => "the backlog is full; try again later".to_owned(),
            Self::QueueUnavailable => {
                "the queue gave no answer; the loan may or may not be queued: send the same loan again".to_owned()
            }
            Self::Draining => "this instance is stopping; try again".to_owned(),
            Self::NotReady { redis, mongodb, draining } => format!(
                "Redis {}, MongoDB {}, {}",
                if *redis { "up" } else { "down" },
                if *mongodb { "up" } else { "down" },
                if *draining { "draining" } else { "not draining" },
            ),
            Self::BadQuery(what) | Self::NotFound(what) => (*what).to_owned(),
            Self::MethodNotAllowed(allowed) => format!("use {allowed}"),
            Self::ForeignOrigin => "this page's origin may not connect here".to_owned(),
            Self::NotAWebSocket => "this path speaks WebSocket, version 13".to_owned(),
            Self::TooManyWebSockets => "too many WebSocket clients; try again later".to_owned(),
        }
    }

    /// Seconds after which a repetition makes sense.
    fn retry_after(&self) -> Option<&'static str> {
        match self {
            Self::Paused => Some("5"),
            Self::Overloaded | Self::TooManyWebSockets => Some("2"),
            Self::QueueUnavailable | Self::Draining | Self::NotReady { .. } => Some("1"),
            _ => None,
        }
    }
}

/// 202: durable in the queue.
pub(super) fn queued(loan_id: &LoanId, is_replayed: bool) -> Reply {
    // The id's alphabet needs no escaping.
    let body = format!(r#"{{"loanId":"{loan_id}","status":"queued","replayed":{is_replayed}}}"#);
    reply(StatusCode::ACCEPTED, "application/json", body.into())
}

/// 200 with a JSON body, never cached: every answer here is of this instant.
pub(super) fn json(value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).expect("plain data serialises");
    let mut reply = reply(StatusCode::OK, "application/json", body.into());
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Problem details, RFC 9457.
pub(super) fn problem(problem: &Problem) -> Reply {
    let status = problem.status();
    let body = serde_json::json!({
        "type": format!("urn:sluice:problem:{}", problem.error_type()),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": problem.detail(),
        "errorType": problem.error_type(),
    });
    let mut reply = reply(status, "application/problem+json", body.to_string().into());
    if let Some(seconds) = problem.retry_after() {
        reply
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    if let Problem::MethodNotAllowed(allowed) = problem {
        reply
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allowed));
    }
    reply
}

/// How a file of the dashboard is sent.
pub(super) struct PageHead {
    pub(super) content_type: &'static str,
    pub(super) encoding: Option<&'static str>,
    /// Whether its name changes with its content.
    pub(super) is_immutable: bool,
}

/// What the dashboard's pages may do: load from here and talk to here, and nothing else. `'self'`
/// in `connect-src` covers the WebSocket.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// 200 with a file of the dashboard.
pub(super) fn page(head: &PageHead, body: Bytes) -> Reply {
    let mut reply = reply(StatusCode::OK, head.content_type, body);
    let cache = if head.is_immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    let headers = reply.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, cache),
        (VARY, "accept-encoding"),
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (opener, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(encoding) = head.encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    reply
}

/// 101, with the handshake's answer.
pub(super) fn switching(accept: &str) -> Option<Reply> {
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", accept)
        .body(Full::default())
        .ok()
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
