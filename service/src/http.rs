//! The HTTP front: accepts connections within bounds and routes requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::admit::{Answer, Door};
use crate::clock::now_us;
use crate::limits::HEADER_READ_TIMEOUT;
use crate::loan::LoanId;
use crate::metrics::Metrics;
use crate::monitor::Monitor;
use crate::parse;
use crate::queue::Queue;
use crate::queue::admission::Arrival;
use crate::queue::state::Whereabouts;
use crate::store::Store;
use crate::worker::stopped;

mod body;
mod json;
mod response;
mod socket;

use response::Problem;

/// What the routes need.
#[derive(Debug)]
pub(crate) struct Front {
    /// Open where this process has the role `api`.
    pub(crate) door: Option<Door>,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) monitor: Monitor,
    pub(crate) body_max: usize,
    pub(crate) is_draining: AtomicBool,
    pub(crate) stop: watch::Receiver<bool>,
}

type Reply = Response<Full<Bytes>>;

/// Accepts connections until `stop` is true; then lets each finish the request it is in, for at
/// most `grace`.
pub(crate) async fn serve(
    listener: TcpListener,
    front: Arc<Front>,
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let free = Arc::new(Semaphore::new(connections_max));
    loop {
        // Beyond the bound, connections wait in the kernel's backlog.
        let permit = tokio::select! {
            permit = Arc::clone(&free).acquire_owned() => permit.expect("never closed"),
            () = stopped(&mut stop) => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of files, or the client gave up first: neither ends the service.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => break,
        };
        let _ = stream.set_nodelay(true);
        let front = Arc::clone(&front);
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let metrics = Arc::clone(&front.metrics);
            let _held = Metrics::hold(&metrics.connections);
            let service = service_fn(|request| {
                let front = Arc::clone(&front);
                async move { Ok::<_, Infallible>(route(&front, request).await) }
            });
            let mut connection = std::pin::pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_READ_TIMEOUT)
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
            );
            let result = tokio::select! {
                result = &mut connection => result,
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    let all = free.acquire_many(u32::try_from(connections_max).unwrap_or(u32::MAX));
    if tokio::time::timeout(grace, all).await.is_err() {
        tracing::warn!(?grace, "some connections did not end in time");
    }
}

async fn route(front: &Arc<Front>, request: Request<Incoming>) -> Reply {
    let path = request.uri().path();
    let reply = if path != "/api/loans/request" {
        // Boxed: each connection keeps room for this future, and MongoDB's are large.
        Box::pin(read_only(front, request)).await
    } else if request.method() != Method::POST {
        Err(Problem::MethodNotAllowed("POST"))
    } else {
        front.metrics.received.fetch_add(1, Ordering::Relaxed);
        let reply = request_loan(front, request).await;
        if let Err(problem) = &reply {
            front.metrics.reject(problem.error_type());
        }
        reply
    };
    reply.unwrap_or_else(|problem| response::problem(&problem))
}

async fn read_only(front: &Arc<Front>, request: Request<Incoming>) -> Result<Reply, Problem> {
    let path = request.uri().path();
    let loan_id = path.strip_prefix("/api/loans/");
    let is_known =
        loan_id.is_some() || matches!(path, "/api/metrics" | "/healthz" | "/readyz" | "/ws");
    if !is_known {
        return Err(Problem::NotFound("no such path"));
    }
    if request.method() != Method::GET {
        return Err(Problem::MethodNotAllowed("GET"));
    }
    match path {
        "/healthz" => Ok(response::json(&serde_json::json!({ "status": "up" }))),
        "/readyz" => ready(front),
        "/api/metrics" => Ok(response::json(&*front.monitor.latest())),
        "/ws" => socket::upgrade(front, request),
        _ => find_loan(front, loan_id.unwrap_or_default()).await,
    }
}

/// `POST /api/loans/request`: parse, admit, answer.
async fn request_loan(front: &Front, request: Request<Incoming>) -> Result<Reply, Problem> {
    let Some(door) = &front.door else {
        return Err(Problem::NotFound("this instance does not take loans"));
    };
    if front.is_draining.load(Ordering::Relaxed) {
        return Err(Problem::Draining);
    }
    if !is_json(request.headers()) {
        return Err(Problem::UnsupportedMediaType);
    }
    let body = body::read(request.into_body(), front.body_max).await?;
    let received_us = now_us();
    let envelope = parse::envelope(&body).map_err(Problem::Unreadable)?;
    let arrival = Arrival {
        loan_id: envelope.loan_id.clone(),
        fingerprint: envelope.fingerprint,
        received_us,
        body,
    };
    match door.admit(arrival).await {
        Answer::Admitted => Ok(response::queued(&envelope.loan_id, false)),
        Answer::Replayed => Ok(response::queued(&envelope.loan_id, true)),
        Answer::Conflict => Err(Problem::Conflict(envelope.loan_id)),
        Answer::Paused => Err(Problem::Paused),
        Answer::Full => Err(Problem::Overloaded),
        Answer::Unknown => Err(Problem::QueueUnavailable),
    }
}

/// `GET /api/loans/{loanId}`.
async fn find_loan(front: &Front, loan_id: &str) -> Result<Reply, Problem> {
    let loan_id = LoanId::new(loan_id).ok_or(Problem::NotFound("no loan can have this id"))?;
    let unavailable = |error: crate::error::ServiceError| {
        tracing::warn!(%error, "a loan cannot be looked up");
        Problem::QueueUnavailable
    };
    let mut link = front.queue.link(front.queue.partition_of(&loan_id));
    let answer = |status: &str, key: &str, value: serde_json::Value| {
        let mut body = serde_json::json!({ "loanId": loan_id.as_str(), "status": status });
        if !value.is_null() {
            body[key] = value;
        }
        Ok(response::json(&body))
    };
    match link.find(&loan_id).await.map_err(unavailable)? {
        Whereabouts::Queued => answer("queued", "", serde_json::Value::Null),
        Whereabouts::Processing => answer("processing", "", serde_json::Value::Null),
        Whereabouts::Accepted(document) => {
            answer("accepted", "result", json::from_bson_bytes(&document))
        }
        Whereabouts::Failed(category) => {
            let failure = front
                .store
                .latest_failure(&loan_id)
                .await
                .map_err(unavailable)?;
            let failure = failure.map_or_else(
                || serde_json::json!({ "errorType": category }),
                |failure| json::from_bson(failure.into()),
            );
            answer("failed", "failure", failure)
        }
        Whereabouts::Elsewhere => match front.store.loan(&loan_id).await.map_err(unavailable)? {
            Some(record) => answer("recorded", "result", json::from_bson(record.into())),
            None => Err(Problem::NotFound("no loan with this id")),
        },
    }
}

fn ready(front: &Front) -> Result<Reply, Problem> {
    let snapshot = front.monitor.latest();
    let draining = front.is_draining.load(Ordering::Relaxed);
    if snapshot.redis.up && snapshot.mongodb.up && !draining {
        Ok(response::json(&serde_json::json!({ "status": "ready" })))
    } else {
        Err(Problem::NotReady {
            redis: snapshot.redis.up,
            mongodb: snapshot.mongodb.up,
            draining,
        })
    }
}

/// A missing type counts as JSON; another type is refused.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let kind = value.as_bytes().split(|&byte| byte == b';').next();
    let kind = kind.unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/json")
        || (kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case(b"+json"))
}
