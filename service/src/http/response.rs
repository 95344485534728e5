//! Answers: the only place that writes status codes.

use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE, HeaderName, HeaderValue,
    REFERRER_POLICY, RETRY_AFTER, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::parts::Parts;
use super::{Reply, request_id};
use crate::api::ProblemDetails;
use crate::limits::{HEAD_LEN_MAX, HEADERS_MAX};
use crate::loan::LoanId;
use crate::parse::ParseError;
use crate::printable;
use crate::telemetry::Context;
use crate::tokens::TokenRole;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    MalformedRequest,
    NoHost,
    NoTls,
    UnknownHost(String),
    HeadTooLarge,
    Unreadable(ParseError),
    Conflict(LoanId),
    TooLarge(usize),
    Truncated,
    BrokenChunks,
    Timeout,
    UnsupportedMediaType,
    UnsupportedCoding {
        header: Option<HeaderName>,
        coding: String,
    },
    UnsupportedCharset(String),
    Paused,
    Overloaded,
    QueueUnavailable,
    NotQueued,
    MaybeDone,
    NotDone,
    Draining,
    StoreUnavailable,
    UnreadableRecord,
    Unauthorized,
    Forbidden,
    InvalidBody(String),
    InvalidParameter {
        name: String,
        detail: String,
    },
    NotReady(String),
    NotFound(&'static str),
    MethodNotAllowed(&'static str),
    ForeignOrigin(String),
    NotAWebSocket,
    TooManyWebSockets,
    TooManyConnections,
    TooManySlowReaders,
    TooManySlowSenders,
    TooManyAttempts,
    RoleTooLow(TokenRole),
    TaskRunning,
    MoreThanConfirmed {
        expected: u64,
        found: u64,
    },
    TaskOver,
    ExportExpired,
    TooManyExports,
}

/// A kind of problem, as `/openapi.json` documents it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The `errorType`.
    pub(super) name: &'static str,
    pub(super) status: u16,
    /// When it is answered.
    pub(super) meaning: &'static str,
}

/// Every kind of problem.
pub(super) const KINDS: &[Kind] = &[
    kind(
        "malformed_request",
        400,
        "the head, or the frame of the body, is not HTTP/1.1",
    ),
    kind("invalid_utf8", 400, "the body is not UTF-8"),
    kind("malformed_json", 400, "the body is not JSON"),
    kind("too_deep", 400, "the body is nested too deep"),
    kind("not_an_object", 400, "the body is not a JSON object"),
    kind("duplicate_key", 400, "a key stands twice in one object"),
    kind(
        "invalid_loan_id",
        400,
        "`loanId` is missing or breaks its rule",
    ),
    kind(
        "truncated_body",
        400,
        "the body ended before its announced length",
    ),
    kind("invalid_body", 400, "the body says what cannot be done"),
    kind(
        "invalid_parameter",
        400,
        "a parameter of the query is unknown or breaks its rule; `parameter` names it",
    ),
    kind("unauthorized", 401, "there is no bearer token"),
    kind("forbidden", 403, "the token is not known"),
    kind("role_forbids", 403, "the token's role is too low"),
    kind(
        "too_many_attempts",
        429,
        "too many wrong tokens of this client wait for their answer",
    ),
    kind(
        "foreign_origin",
        403,
        "a page of another origin may neither change something nor follow",
    ),
    kind("not_found", 404, "there is nothing of this name"),
    kind("method_not_allowed", 405, "the path has other methods"),
    kind("request_timeout", 408, "the body did not come in time"),
    kind(
        "task_running",
        409,
        "another task of this kind is not over yet",
    ),
    kind(
        "more_than_confirmed",
        409,
        "there are more loans than were confirmed; `found` says how many",
    ),
    kind("task_over", 409, "the task has ended"),
    kind(
        "export_expired",
        410,
        "there is no such ticket, or it was used, or its time is over",
    ),
    kind("body_too_large", 413, "the body is too large"),
    kind(
        "unsupported_media_type",
        415,
        "the body is not JSON by its type, or not in UTF-8, or compressed",
    ),
    kind(
        "unknown_host",
        421,
        "the service does not answer to the name that the request gives",
    ),
    kind(
        "loan_id_conflict",
        422,
        "the id is known with other content",
    ),
    kind(
        "head_too_large",
        431,
        "the head of the request is too large",
    ),
    kind("not_a_web_socket", 426, "the path speaks WebSocket"),
    kind("paused", 503, "ingestion is paused"),
    kind("overloaded", 503, "the backlog is full"),
    kind("queue_unavailable", 503, "Redis gave no answer"),
    kind("store_unavailable", 503, "MongoDB gave no answer"),
    kind(
        "unreadable_record",
        500,
        "MongoDB holds a record that this version cannot read",
    ),
    kind("draining", 503, "this instance is stopping"),
    kind(
        "not_ready",
        503,
        "this instance cannot do its work; the detail says why",
    ),
    kind("too_many_web_sockets", 503, "too many WebSocket clients"),
    kind(
        "too_many_connections",
        503,
        "this client has too many connections",
    ),
    kind("too_many_exports", 503, "too many exports are under way"),
    kind(
        "too_many_slow_readers",
        503,
        "too many answers wait for clients that read slowly",
    ),
    kind(
        "too_many_slow_senders",
        503,
        "too many bodies are on their way from clients that send slowly",
    ),
];

const fn kind(name: &'static str, status: u16, meaning: &'static str) -> Kind {
    Kind {
        name,
        status,
        meaning,
    }
}

impl Problem {
    /// Its stable name.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::MalformedRequest | Self::NoHost | Self::NoTls | Self::BrokenChunks => {
                "malformed_request"
            }
            Self::UnknownHost(_) => "unknown_host",
            Self::HeadTooLarge => "head_too_large",
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
            Self::UnsupportedMediaType
            | Self::UnsupportedCoding { .. }
            | Self::UnsupportedCharset(_) => "unsupported_media_type",
            Self::Paused => "paused",
            Self::Overloaded => "overloaded",
            Self::QueueUnavailable | Self::NotQueued | Self::MaybeDone | Self::NotDone => {
                "queue_unavailable"
            }
            Self::StoreUnavailable => "store_unavailable",
            Self::UnreadableRecord => "unreadable_record",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RoleTooLow(_) => "role_forbids",
            Self::TaskRunning => "task_running",
            Self::MoreThanConfirmed { .. } => "more_than_confirmed",
            Self::TaskOver => "task_over",
            Self::ExportExpired => "export_expired",
            Self::TooManyExports => "too_many_exports",
            Self::TooManyAttempts => "too_many_attempts",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManySlowReaders => "too_many_slow_readers",
            Self::TooManySlowSenders => "too_many_slow_senders",
            Self::InvalidBody(_) => "invalid_body",
            Self::InvalidParameter { .. } => "invalid_parameter",
            Self::Draining => "draining",
            Self::NotReady(_) => "not_ready",
            Self::NotFound(_) => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::ForeignOrigin(_) => "foreign_origin",
            Self::NotAWebSocket => "not_a_web_socket",
            Self::TooManyWebSockets => "too_many_web_sockets",
        }
    }

    fn status(&self) -> StatusCode {
        let kind = KINDS.iter().find(|kind| kind.name == self.error_type());
        let status = kind.map_or(500, |kind| kind.status);
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What happened and what to do, for a person.
    fn detail(&self) -> String {
        match self {
            Self::MalformedRequest => {
                "the head of the request is not HTTP/1.1; nothing of it was read, and the connection is closed".to_owned()
            }
            Self::NoHost => "a request of HTTP/1.1 names its host, once: Host: NAME".to_owned(),
            Self::NoTls => "this address speaks HTTPS: send the request to https://, and a token that came without it is known to others now".to_owned(),
            Self::UnknownHost(name) => format!(
                "this service does not answer to the name {name:?}; if it should, start it with --public-url and the address that browsers use"
            ),
            Self::HeadTooLarge => format!(
                "the head of a request must not exceed {HEAD_LEN_MAX} bytes and {HEADERS_MAX} headers; the connection is closed"
            ),
            Self::Unreadable(error) => error.to_string(),
            Self::Conflict(loan_id) => format!(
                "a loan {loan_id} with other content is known already; use another loanId for another loan"
            ),
            Self::TooLarge(len_max) => format!("the body must not exceed {len_max} bytes"),
            Self::Truncated => "the body ended before its announced length".to_owned(),
            Self::BrokenChunks => {
                "the chunks of the body are not those of HTTP/1.1: a length or an end is wrong; the connection is closed".to_owned()
            }
            Self::Timeout => "the body did not arrive in time".to_owned(),
            Self::UnsupportedMediaType => "send JSON, with the header Content-Type: application/json".to_owned(),
            Self::UnsupportedCoding { header: None, coding } => {
                format!("the body is compressed by {coding}; send it uncompressed")
            }
            Self::UnsupportedCoding { header: Some(header), coding } => {
                let header = if header == TRANSFER_ENCODING { "Transfer-Encoding" } else { "Content-Encoding" };
                format!("the body's {header} is {coding:?}; send it uncompressed")
            }
            Self::UnsupportedCharset(charset) => {
                format!("the body's charset is {charset:?}; send it in UTF-8")
            }
            Self::Paused => "ingestion is paused; try again later".to_owned(),
            Self::Overloaded => "the backlog is full; the loan is not queued: send it again later".to_owned(),
            Self::NotQueued => {
                "Redis takes no loans now; the loan is not queued: send it again later".to_owned()
            }
            Self::NotDone => "Redis refuses this now; try again later".to_owned(),
            Self::MaybeDone => {
                "Redis gave no answer: it may or may not be done; look before you try again".to_owned()
            }
            Self::QueueUnavailable => {
                "the queue gave no answer; the loan may or may not be queued: send the same loan again".to_owned()
            }
            Self::StoreUnavailable => "MongoDB does not answer, or refuses to, and it is needed for this; send it again later".to_owned(),
            Self::UnreadableRecord => {
                "MongoDB holds a record of this that was changed by hand, or by another version, and that this version cannot read; sending it again does not help: the log says what it lacks, by the id of this request".to_owned()
            }
            Self::Unauthorized => {
                "this needs a token: Authorization: Bearer TOKEN".to_owned()
            }
            Self::Forbidden => "this token is not known here".to_owned(),
            Self::RoleTooLow(role) => format!("this needs a token with the role {}", role.name()),
            Self::TaskRunning => {
                "another task of this kind is under way; wait for its end, or stop it".to_owned()
            }
            Self::MoreThanConfirmed { expected, found } => format!(
                "{expected} loans were confirmed, and there are {found}; nothing was begun: confirm that number, or choose fewer"
            ),
            Self::TaskOver => "the task has ended already".to_owned(),
            Self::ExportExpired => {
                "this link was good for one download within a minute; ask for another".to_owned()
            }
            Self::TooManyExports => {
                "too many exports are under way here; try again later".to_owned()
            }
            Self::TooManyAttempts => {
                "too many wrong tokens; try again later, with the right one".to_owned()
            }
            Self::TooManyConnections => {
                "too many connections from your address; use those that are open".to_owned()
            }
            Self::TooManySlowSenders => {
                "too many bodies are on their way from clients that send slowly; send it whole, a little later".to_owned()
            }
            Self::TooManySlowReaders => {
                "too many answers wait for clients that read slowly; try again later".to_owned()
            }
            Self::InvalidBody(detail) => detail.clone(),
            Self::InvalidParameter { name, detail } => format!("{name:?}: {detail}"),
            Self::Draining => "this instance is stopping; try again".to_owned(),
            Self::NotReady(why) => why.clone(),
            Self::NotFound(what) => (*what).to_owned(),
            Self::MethodNotAllowed(allowed) => format!("use {allowed}"),
            Self::ForeignOrigin(origin) => format!(
                "a page of {origin:?} may not do this; if it is the service's own, start the service with --public-url and that address"
            ),
            Self::NotAWebSocket => "this path speaks WebSocket, version 13".to_owned(),
            Self::TooManyWebSockets => "too many WebSocket clients; try again later".to_owned(),
        }
    }

    /// Seconds after which a repetition makes sense.
    fn retry_after(&self) -> Option<&'static str> {
        match self {
            Self::Paused | Self::TooManyAttempts | Self::TooManyExports => Some("5"),
            Self::Overloaded
            | Self::TooManyWebSockets
            | Self::TooManySlowReaders
            | Self::TooManySlowSenders => Some("2"),
            Self::QueueUnavailable
            | Self::NotQueued
            | Self::MaybeDone
            | Self::NotDone
            | Self::StoreUnavailable
            | Self::Draining
            | Self::TooManyConnections
            | Self::NotReady(_) => Some("1"),
            _ => None,
        }
    }
}

/// 202: durable in the queue.
pub(super) fn queued(loan_id: &LoanId, is_replayed: bool) -> Reply {
    let replayed = if is_replayed { "true}" } else { "false}" };
    // The id's alphabet needs no escaping.
    let body = [
        r#"{"loanId":""#,
        loan_id.as_str(),
        r#"","status":"queued","replayed":"#,
        replayed,
    ]
    .concat();
    reply(StatusCode::ACCEPTED, "application/json", body.into())
}

/// Tells which span an answer is of: to clients that know the draft of W3C's answer, and to those that look for the header
/// they sent.
pub(super) fn name_span(reply: &mut Reply, span: &Context) {
    let span = HeaderValue::from_str(&span.to_string()).expect("digits and dashes");
    let headers = reply.headers_mut();
    headers.insert("traceresponse", span.clone());
    headers.insert("traceparent", span);
}

/// 202 with what was begun.
pub(super) fn accepted_with(value: &impl Serialize) -> Reply {
    with_status(StatusCode::ACCEPTED, value)
}

/// 201 with what was made.
pub(super) fn created(value: &impl Serialize) -> Reply {
    with_status(StatusCode::CREATED, value)
}

fn with_status(status: StatusCode, value: &impl Serialize) -> Reply {
    let mut reply = json(value);
    *reply.status_mut() = status;
    reply
}

/// 200 with a file that is made while it is sent, to be saved and not shown.
pub(super) fn download(
    content_type: &'static str,
    disposition: &'static str,
    body: Parts,
) -> Reply {
    let mut reply = reply(StatusCode::OK, content_type, Bytes::new()).map(|_| body);
    let headers = reply.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_DISPOSITION, disposition),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}

/// 202 for what is done once and for all.
pub(super) fn accepted() -> Reply {
    let mut reply = Response::new(Parts::default());
    *reply.status_mut() = StatusCode::ACCEPTED;
    reply
}

/// 200 with a JSON body, never cached: every answer here is of this instant.
pub(super) fn json(value: &impl Serialize) -> Reply {
    let body = printable::json(value);
    let mut reply = reply(StatusCode::OK, "application/json", body.into());
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// 200 with JSON that is serialised, never cached.
pub(super) fn json_bytes(body: Bytes) -> Reply {
    json_parts(Parts::shared([body].into()))
}

/// The same in several pieces.
pub(super) fn json_parts(body: Parts) -> Reply {
    let mut reply = reply(StatusCode::OK, "application/json", Bytes::new()).map(|_| body);
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// 200 with a text that is never cached.
pub(super) fn text(content_type: &'static str, body: String) -> Reply {
    let mut reply = reply(StatusCode::OK, content_type, body.into());
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// 204 with the methods of a path. It permits nothing to a page of another origin.
pub(super) fn options(allowed: &'static str) -> Reply {
    let mut reply = Response::new(Parts::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}

/// The bytes of a refusal in place of one of hyper's with the status `bare_status`.
pub(super) fn refusal(bare_status: &str, date: Option<&str>, request_id: &HeaderValue) -> Bytes {
    let problem = match bare_status {
        // 414: a target that is too long makes a head that is.
        "414" | "431" => Problem::HeadTooLarge,
        _ => Problem::MalformedRequest,
    };
    tracing::debug!(
        request_id = request_id.to_str().unwrap_or_default(),
        error_type = problem.error_type(),
        "no request"
    );
    bytes(&problem, date, request_id)
}

/// The bytes of a refusal after which the connection is closed.
pub(super) fn bytes(problem: &Problem, date: Option<&str>, request_id: &HeaderValue) -> Bytes {
    let mut refusal = details(problem);
    let len = refusal.body().len();
    let headers = refusal.headers_mut();
    headers.insert(CONTENT_LENGTH, len.into());
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(request_id::NAME, request_id.clone());
    if let Some(date) = date.and_then(|date| HeaderValue::from_str(date).ok()) {
        headers.insert(DATE, date);
    }
    let mut bytes = format!("HTTP/1.1 {}\r\n", refusal.status()).into_bytes();
    for (name, value) in refusal.headers() {
        bytes.extend_from_slice(name.as_ref());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(refusal.body());
    bytes.into()
}

/// Problem details, RFC 9457.
pub(super) fn problem(problem: &Problem) -> Reply {
    details(problem).map(Parts::new)
}

fn details(problem: &Problem) -> Response<Bytes> {
    let status = problem.status();
    let details = ProblemDetails {
        r#type: format!("urn:sluice:problem:{}", problem.error_type()),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        detail: problem.detail(),
        error_type: problem.error_type().to_owned(),
        parameter: match problem {
            Problem::InvalidParameter { name, .. } => Some(name.clone()),
            _ => None,
        },
        found: match problem {
            Problem::MoreThanConfirmed { found, .. } => Some(*found),
            _ => None,
        },
    };
    let body = printable::json(&details);
    let mut reply = response(status, "application/problem+json", body.into());
    if let Some(seconds) = problem.retry_after() {
        reply
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    if matches!(problem, Problem::UnsupportedCoding { .. }) {
        // By RFC 9110 this tells which codings would be taken.
        reply
            .headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if *problem == Problem::Unauthorized {
        reply
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if *problem == Problem::NotAWebSocket {
        // By RFC 9110 and RFC 6455 these tell what to speak.
        let headers = reply.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
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
pub(super) fn switching(accept: &str, protocol: Option<&str>) -> Option<Reply> {
    let mut builder = Response::builder();
    if let Some(protocol) = protocol {
        builder = builder.header("sec-websocket-protocol", protocol);
    }
    builder
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", accept)
        .body(Parts::default())
        .ok()
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    response(status, content_type, body).map(Parts::new)
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{LoanStatus, Queued};

    #[test]
    fn its_kinds_are_those_of_the_snapshot() {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names, snapshot::REJECTION_TYPES);
    }

    #[tokio::test]
    async fn the_fast_answer_is_the_documented_one() {
        use http_body_util::BodyExt as _;
        let loan_id = LoanId::new("GC-000001").unwrap();
        let body = queued(&loan_id, true).into_body().collect().await.unwrap();
        let answer: Queued = serde_json::from_slice(&body.to_bytes()).unwrap();
        assert_eq!(
            answer,
            Queued {
                loan_id: "GC-000001".to_owned(),
                status: LoanStatus::Queued,
                replayed: true,
            }
        );
    }
}
