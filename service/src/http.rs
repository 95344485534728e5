//! The HTTP front: accepts connections within bounds and routes requests.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::activity::Activity;
use crate::admit::Door;
use crate::api::{Health, Session};
use crate::config::Role;
use crate::figures::{Family, families};
use crate::health;
use crate::limits::{CONNECTION_BUFFER_LEN_MAX, HEAD_LEN_MAX, HEADERS_MAX, SHED_GRACE};
use crate::metrics::Metrics;
use crate::monitor::{HISTORY_MAX, Monitor};
use crate::queue::Queue;
use crate::shutdown::stopped;
use crate::store::Store;
use crate::tasks::Tasks;
use crate::tls::{Accepted, Tls};
use crate::tokens::TokenRole;

pub(crate) mod access;
mod activity;
pub(crate) mod admin;
mod body;
pub(crate) mod clients;
mod connections;
mod control;
mod errors;
mod explain;
pub(crate) mod exports;
mod exposition;
pub(crate) mod feed;
mod loans;
pub(crate) mod names;
pub(crate) mod openapi;
mod pages;
pub(crate) mod parts;
pub(crate) mod peer;
mod personal;
mod query;
mod request_id;
mod response;
mod socket;
mod stream;
mod tasks;

use access::{Access, Caller, Needs};
use clients::{Clients, Guest};
pub(crate) use connections::Connections;
use connections::{Close, HeldSlot, Patient};
use explain::Explain;
use exports::Exports;
use feed::{Days, Feed};
use names::Names;
use parts::Parts;
pub(crate) use parts::Sum;
use peer::{Ends, Proxies};
use query::Query;
pub(crate) use request_id::RequestIds;
use response::Problem;
use stream::Stream;

/// What the routes need.
#[derive(Debug)]
pub(crate) struct Front {
    /// Open where this process has the role `api`.
    pub(crate) door: Option<Door>,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) monitor: Monitor,
    pub(crate) roles: Vec<Role>,
    pub(crate) tls: Option<Tls>,
    pub(crate) access: Access,
    pub(crate) activity: Activity,
    pub(crate) tasks: Tasks,
    pub(crate) exports: Arc<Exports>,
    pub(crate) feed: Feed,
    pub(crate) clients: Arc<Clients>,
    /// Those of them that follow by a WebSocket.
    pub(crate) followers: Arc<Clients>,
    pub(crate) unsent: Arc<Sum>,
    /// Bodies that have come in part.
    pub(crate) gathered: Arc<Sum>,
    pub(crate) names: Names,
    pub(crate) proxies: Proxies,
    pub(crate) body_max: usize,
    /// The most loans in Redis that are not recorded, of one partition.
    pub(crate) backlog_max: u64,
    pub(crate) connections: Arc<Connections>,
    /// Makes the ids of requests that bring none: the instance, and a number.
    pub(crate) request_ids: Arc<RequestIds>,
    pub(crate) is_draining: AtomicBool,
    pub(crate) stop: watch::Receiver<bool>,
}

type Reply = Response<Parts>;
/// The most bytes of the future that answers a request: see [`route`].
const ANSWERING_LEN_MAX: usize = 640;
/// What hyper reads from and writes to.
type Link = TokioIo<Explain<Patient<Stream>>>;

/// Accepts connections until `stop` is true; then lets each finish the request it is in, for at
/// most `grace`.
pub(crate) async fn serve(
    listener: TcpListener,
    front: Arc<Front>,
    stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let connections = Arc::clone(&front.connections);
    let all = async {
        accept(listener, &front, stop).await;
        if tokio::time::timeout(grace, connections.end())
            .await
            .is_err()
        {
            tracing::warn!(?grace, "some connections did not end in time");
        }
    };
    tokio::select! {
        () = all => {}
        () = connections.watch() => {}
    }
}

async fn accept(listener: TcpListener, front: &Arc<Front>, mut stop: watch::Receiver<bool>) {
    loop {
        // Beyond the bound, connections wait in the kernel's backlog until one is free.
        let slot = tokio::select! {
            slot = front.connections.take() => slot,
            () = stopped(&mut stop) => return,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of files, or the client gave up first: neither ends the service.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => return,
        };
        let _ = stream.set_nodelay(true);
        match front.clients.enter(peer.ip(), &front.proxies) {
            Some(guest) => drop(tokio::spawn(talk(
                stream,
                peer,
                Arc::clone(front),
                slot,
                guest,
            ))),
            // Without TLS nothing can be said.
            None if front.tls.is_some() => {}
            None => refuse(&stream, front),
        }
    }
}

/// Tells a client that it has too many connections, where it hears it.
fn refuse(stream: &TcpStream, front: &Front) {
    let refusal = response::bytes(
        &Problem::TooManyConnections,
        None,
        &front.request_ids.make(),
    );
    let _ = stream.try_write(&refusal);
}

/// One connection, from the first byte to the last.
async fn talk(
    stream: TcpStream,
    peer: SocketAddr,
    front: Arc<Front>,
    slot: HeldSlot,
    _guest: Guest,
) {
    let (front, slot) = (&front, &slot);
    let mut ends = Ends {
        reached: stream.local_addr().unwrap_or(peer).ip(),
        peer: peer.ip(),
        lacks_tls: false,
    };
    let _held = Metrics::hold(&front.metrics.connections);
    let stream = match &front.tls {
        None => Stream::Plain(stream),
        Some(tls) => {
            let accepted = tokio::select! {
                accepted = tls.accept(stream) => accepted,
                _ = slot.close() => return,
            };
            match accepted {
                Ok(Accepted::Tls(stream)) => Stream::Tls(stream),
                Ok(Accepted::Plain(stream)) => {
                    ends.lacks_tls = true;
                    Stream::Plain(stream)
                }
                Err(error) => {
                    tracing::debug!(%error, "no TLS");
                    return;
                }
            }
        }
    };
    let link: Link = TokioIo::new(Explain::new(
        Patient::new(stream, slot.slot(), &front.unsent),
        Arc::clone(&front.request_ids),
    ));
    let service = service_fn(|request| {
        slot.answering();
        let answered = route(front, request, ends);
        debug_assert!(size_of_val(&answered) <= ANSWERING_LEN_MAX);
        answered.map(|reply| {
            slot.waiting();
            Ok::<_, Infallible>(reply)
        })
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            // `Connections` bounds how long a head may take, for all of them at once: hyper would set a timer for each request.
            .header_read_timeout(None)
            // A client that has said all may still wait for its answer.
            .half_close(true)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_LEN_MAX)
            .max_buf_size(CONNECTION_BUFFER_LEN_MAX)
            // One buffer, so that its bound holds, and so that `Explain` sees whole answers. `pipeline_flush` would lift the bound: a client
            // that asks and asks and never reads would fill the memory.
            .writev(false)
            .serve_connection(link, service)
            .with_upgrades()
    );
    let result = tokio::select! {
        biased;
        result = &mut connection => result,
        close = slot.close() => {
            connection.as_mut().graceful_shutdown();
            match close {
                Close::Answered => connection.await,
                // An idle connection ends now; one that is half a request does not.
                Close::Now => match tokio::time::timeout(SHED_GRACE, connection).await {
                    Ok(result) => result,
                    Err(_) => return,
                },
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// What may be done with a file of the dashboard.
const PAGE_METHODS: &str = "GET, HEAD, OPTIONS";

/// The paths.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Request,
    Retry,
    Loan(String),
    Errors,
    ErrorCount,
    ErrorExport,
    LoanExport,
    Tasks,
    Task(String),
    StopTask(String),
    Exports,
    Export(String),
    Session,
    Control,
    Pause,
    Resume,
    Runs,
    Activity,
    Instances,
    Metrics,
    History,
    Exposition,
    WebSocket,
    Health,
    Ready,
    OpenApi,
}

/// One segment of a path: a slash that is escaped stays a part of it.
fn segment(text: &str) -> Option<String> {
    if text.contains('/') {
        return None;
    }
    let text = percent_encoding::percent_decode_str(text);
    Some(text.decode_utf8_lossy().into_owned())
}

impl Target {
    fn of(method: &Method, path: &str) -> Option<Self> {
        // Below `/api/loans/` every name that is read is a loan's: no call takes one away.
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        Some(match path {
            "/api/loans/request" if !is_read => Self::Request,
            "/api/loans/retry" if !is_read => Self::Retry,
            "/api/errors" => Self::Errors,
            "/api/errors/count" => Self::ErrorCount,
            "/api/tasks" => Self::Tasks,
            "/api/exports" => Self::Exports,
            "/api/exports/errors" => Self::ErrorExport,
            "/api/exports/loans" => Self::LoanExport,
            "/api/session" => Self::Session,
            "/api/control" => Self::Control,
            "/api/control/pause" => Self::Pause,
            "/api/control/resume" => Self::Resume,
            "/api/runs" => Self::Runs,
            "/api/activity" => Self::Activity,
            "/api/instances" => Self::Instances,
            "/api/metrics" => Self::Metrics,
            "/api/history" => Self::History,
            "/metrics" => Self::Exposition,
            "/ws" => Self::WebSocket,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/openapi.json" => Self::OpenApi,
            _ => {
                if let Some(rest) = path.strip_prefix("/api/tasks/") {
                    return match rest.strip_suffix("/stop") {
                        Some(id) => segment(id).map(Self::StopTask),
                        None => segment(rest).map(Self::Task),
                    };
                }
                if let Some(ticket) = path.strip_prefix("/api/downloads/") {
                    return segment(ticket).map(Self::Export);
                }
                Self::Loan(segment(path.strip_prefix("/api/loans/")?)?)
            }
        })
    }

    /// As `/openapi.json` writes the path.
    #[cfg(debug_assertions)]
    fn path(&self) -> &'static str {
        match self {
            Self::Request => "/api/loans/request",
            Self::Loan(_) => "/api/loans/{loanId}",
            Self::Retry => "/api/loans/retry",
            Self::Errors => "/api/errors",
            Self::ErrorCount => "/api/errors/count",
            Self::Tasks => "/api/tasks",
            Self::Task(_) => "/api/tasks/{taskId}",
            Self::StopTask(_) => "/api/tasks/{taskId}/stop",
            Self::Exports => "/api/exports",
            Self::ErrorExport => "/api/exports/errors",
            Self::LoanExport => "/api/exports/loans",
            Self::Export(_) => "/api/downloads/{ticket}",
            Self::Session => "/api/session",
            Self::Control => "/api/control",
            Self::Pause => "/api/control/pause",
            Self::Resume => "/api/control/resume",
            Self::Runs => "/api/runs",
            Self::Activity => "/api/activity",
            Self::Instances => "/api/instances",
            Self::Metrics => "/api/metrics",
            Self::History => "/api/history",
            Self::Exposition => "/metrics",
            Self::WebSocket => "/ws",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::OpenApi => "/openapi.json",
        }
    }

    /// The methods, as the header `Allow` lists them.
    fn allowed(&self) -> &'static str {
        match self {
            Self::Request | Self::Tasks => "GET, HEAD, POST, OPTIONS",
            Self::Retry => "GET, HEAD, PATCH, OPTIONS",
            Self::Pause | Self::Resume | Self::Runs | Self::StopTask(_) | Self::Exports => {
                "POST, OPTIONS"
            }
            // Without a body they would be made for nothing.
            Self::WebSocket | Self::ErrorExport | Self::LoanExport | Self::Export(_) => {
                "GET, OPTIONS"
            }
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// What it asks of its caller.
    fn needs(&self, method: &Method) -> Needs {
        match self {
            // Its path is its permission.
            Self::Request | Self::Health | Self::Ready | Self::OpenApi | Self::Export(_) => {
                Needs::Nothing
            }
            Self::Session => Needs::Role(TokenRole::Viewer),
            Self::Tasks if *method != Method::POST => Needs::ToRead,
            Self::Retry
            | Self::Pause
            | Self::Resume
            | Self::Runs
            | Self::Tasks
            | Self::StopTask(_)
            | Self::Exports
            | Self::ErrorExport
            | Self::LoanExport => Needs::Role(TokenRole::Operator),
            Self::Loan(_)
            | Self::Errors
            | Self::ErrorCount
            | Self::Task(_)
            | Self::Control
            | Self::Activity
            | Self::Instances
            | Self::Metrics
            | Self::History
            | Self::Exposition
            | Self::WebSocket => Needs::ToRead,
        }
    }

    fn allows(&self, method: &Method) -> bool {
        self.allowed()
            .split(", ")
            .any(|allowed| method.as_str() == allowed)
    }
}

/// Answers a request, under its id.
///
/// hyper moves the future that answers a request into its connection, and the connection keeps room for it: the way of a
/// loan is kept small, and all that is not on it has a place of its own.
fn route(
    front: &Arc<Front>,
    request: Request<Incoming>,
    ends: Ends,
) -> impl Future<Output = Reply> {
    let request_id = front.request_ids.of(&request);
    // Only where somebody reads it: most requests are answered within microseconds.
    let told = tracing::enabled!(tracing::Level::DEBUG)
        .then(|| Box::new((request.method().clone(), request.uri().path().to_owned())));
    direct(front, request, &request_id, ends).map(move |mut reply| {
        if let Some(told) = told {
            let (method, path) = *told;
            let status = reply.status().as_u16();
            tracing::debug!(request_id = request_id.to_str().unwrap_or_default(), %method, path, status, "request");
        }
        reply.headers_mut().insert(request_id::NAME, request_id);
        reply
    })
}

/// What is answered at once, or by work that is not on the way of a loan.
type Other<'f> = Either<Ready<Reply>, BoxFuture<'f, Reply>>;

fn direct<'f>(
    front: &'f Arc<Front>,
    request: Request<Incoming>,
    request_id: &HeaderValue,
    ends: Ends,
) -> Either<impl Future<Output = Reply> + use<'f>, Other<'f>> {
    let at_once = |reply| Either::Right(Either::Left(ready(reply)));
    let method = request.method().clone();
    let target = Target::of(&method, request.uri().path());
    if let Err(problem) = admit_sender(front, target.as_ref(), &request, ends) {
        if target == Some(Target::Request) {
            front.metrics.received.fetch_add(1, Ordering::Relaxed);
            front.metrics.reject(problem.error_type());
        }
        return at_once(response::problem(&problem));
    }
    let Some(target) = target else {
        let page = page(front, &request);
        return at_once(
            page.unwrap_or_else(|| response::problem(&Problem::NotFound("no such path"))),
        );
    };
    if !target.allows(&method) {
        let allowed = target.allowed();
        return at_once(response::problem(&Problem::MethodNotAllowed(allowed)));
    }
    if method == Method::OPTIONS {
        return at_once(response::options(target.allowed()));
    }
    if target == Target::Request {
        return Either::Left(take_loan(front, request));
    }
    let needs = target.needs(&method);
    if needs == Needs::Nothing && !matches!(target, Target::Export(_)) {
        return at_once(documented(&target, &method, answer(front, &target)));
    }
    let request_id = request_id.to_str().unwrap_or_default().to_owned();
    let client = front.proxies.client(ends.peer, request.headers());
    Either::Right(Either::Right(Box::pin(async move {
        let reply = if let Target::Export(ticket) = &target {
            exports::download(front, ticket, client.to_string(), request_id).await
        } else {
            let span = tracing::info_span!("request", id = request_id);
            answer_to_caller(front, &target, request, needs, client, request_id)
                .instrument(span)
                .await
        };
        documented(&target, &method, reply)
    })))
}

/// The answer, or the problem that takes its place. In tests, one that `/openapi.json` does not know is a panic.
#[cfg_attr(
    not(debug_assertions),
    expect(unused_variables, reason = "only tests look it up")
)]
fn documented(target: &Target, method: &Method, reply: Result<Reply, Problem>) -> Reply {
    let reply = reply.unwrap_or_else(|problem| response::problem(&problem));
    #[cfg(debug_assertions)]
    openapi::assert_documented(target.path(), method, reply.status().as_u16());
    reply
}

/// Lets a request pass that names this service, and that no foreign page has made a browser send.
fn admit_sender(
    front: &Front,
    target: Option<&Target>,
    request: &Request<Incoming>,
    ends: Ends,
) -> Result<(), Problem> {
    if ends.lacks_tls {
        return Err(Problem::NoTls);
    }
    // A probe asks by whatever address it has, and learns nothing but a state.
    if !matches!(target, Some(Target::Health | Target::Ready)) {
        let (version, uri, headers) = (request.version(), request.uri(), request.headers());
        front
            .names
            .check_host(version, uri, headers, ends.reached)?;
    }
    // A WebSocket is read by the page that opens it.
    if !names::is_safe(request.method()) || matches!(target, Some(Target::WebSocket)) {
        let (uri, headers) = (request.uri(), request.headers());
        front.names.check_origin(uri, headers, ends.reached)?;
    }
    Ok(())
}

/// Takes a loan, and says how that went in the counters and, where it is traced, in its trace.
fn take_loan(front: &Arc<Front>, request: Request<Incoming>) -> impl Future<Output = Reply> {
    front.metrics.received.fetch_add(1, Ordering::Relaxed);
    let traced = front.metrics.traces.begin(request.headers());
    let trace = traced.as_ref().map(|traced| Box::new(traced.context));
    loans::request(front, request, trace).map(move |reply| {
        if let Err(problem) = &reply {
            front.metrics.reject(problem.error_type());
        }
        let mut reply = documented(&Target::Request, &Method::POST, reply);
        if let Some(traced) = traced {
            let status = reply.status().as_u16();
            front.metrics.traces.answered(&traced, status);
            response::name_span(&mut reply, &traced.context);
        }
        reply
    })
}

/// Answers what asks nothing of its caller, and nothing of a store.
fn answer(front: &Front, target: &Target) -> Result<Reply, Problem> {
    match target {
        Target::Health => Ok(response::json(&Health {
            status: "up".to_owned(),
            degraded: Vec::new(),
        })),
        Target::Ready => readiness(front),
        Target::OpenApi => Ok(response::text("application/json", openapi::document())),
        _ => Err(Problem::Unauthorized),
    }
}

/// Answers a caller who may make this call.
async fn answer_to_caller(
    front: &Arc<Front>,
    target: &Target,
    request: Request<Incoming>,
    needs: Needs,
    client: IpAddr,
    request_id: String,
) -> Result<Reply, Problem> {
    let checked = front.access.check(needs, request.headers(), client).await;
    let caller = match checked {
        Ok(identity) => Caller {
            identity,
            client,
            request_id,
        },
        Err(problem) => {
            let error_type = problem.error_type();
            tracing::info!(%client, ?target, error_type, "a call was refused");
            return Err(problem);
        }
    };
    let reply = match target {
        Target::Loan(loan_id) => loans::find(front, loan_id, &caller).await,
        Target::Retry => control::retry_loans(front, request, &caller).await,
        Target::Errors => errors::list(front, request.uri().query(), caller.sees_personal()).await,
        Target::ErrorCount => {
            errors::count(front, request.uri().query(), caller.sees_personal()).await
        }
        Target::Tasks if *request.method() == Method::POST => {
            tasks::begin(front, request, &caller).await
        }
        Target::Tasks => tasks::list(front, &caller).await,
        Target::Task(id) => tasks::show(front, id, &caller).await,
        Target::StopTask(id) => tasks::stop(front, id, &caller).await,
        Target::Exports => exports::ticket(front, request, &caller).await,
        Target::ErrorExport => exports::errors(front, request.uri().query(), &caller).await,
        Target::LoanExport => exports::loans(front, request.uri().query(), &caller).await,
        Target::Session => Ok(response::json(&session(&caller))),
        Target::Control => control::show(front).await,
        Target::Pause => control::set(front, true, &caller).await,
        Target::Resume => control::set(front, false, &caller).await,
        Target::Runs => control::mark_run(front, request).await,
        Target::Instances => Ok(response::json(&*front.monitor.instances())),
        Target::Activity => {
            activity::list(front, request.uri().query(), caller.sees_personal()).await
        }
        Target::Metrics => Ok(response::json_bytes(
            front.feed.snapshot(caller.sees_personal()),
        )),
        Target::History => history(front, request.uri().query()).await,
        Target::Exposition => {
            let text = exposition::text(figures(front));
            Ok(if exposition::wants_plain(request.headers()) {
                response::text(exposition::PLAIN_CONTENT_TYPE, exposition::plain(&text))
            } else {
                response::text(exposition::CONTENT_TYPE, text)
            })
        }
        Target::WebSocket => socket::upgrade(front, request, &caller),
        Target::Request | Target::Health | Target::Ready | Target::OpenApi | Target::Export(_) => {
            answer(front, target)
        }
    };
    let mut reply = reply?;
    if reply.body_mut().hold(&front.unsent).is_err() {
        return Err(Problem::TooManySlowReaders);
    }
    Ok(reply)
}

fn session(caller: &Caller) -> Session {
    let identity = caller.identity.as_ref();
    Session {
        admin: caller.is_operator(),
        name: caller.name().to_owned(),
        role: identity.map_or(TokenRole::Viewer, |identity| identity.role),
    }
}

/// `GET /api/history?minutes=`: 1 to 30, all by default; or a day or seven.
async fn history(front: &Front, query: Option<&str>) -> Result<Reply, Problem> {
    let longest = HISTORY_MAX.as_secs() / 60;
    let days = [Days::One, Days::Seven];
    let minutes = Query::parse(query, &["minutes"])?.get("minutes", |text| {
        text.parse::<u64>()
            .ok()
            .filter(|minutes| {
                (1..=longest).contains(minutes)
                    || days.iter().any(|days| days.minutes() == *minutes)
            })
            .ok_or("must be 1 to 30, 1440 or 10080")
    })?;
    let minutes = minutes.unwrap_or(longest);
    let parts = match days.into_iter().find(|days| days.minutes() == minutes) {
        Some(days) => front
            .feed
            .days(days, &front.store)
            .await
            .map_err(control::unavailable)?,
        None => front.feed.history(Duration::from_secs(minutes * 60)),
    };
    Ok(response::json_parts(parts))
}

/// A file of the dashboard, where this process has that role and the path names one.
fn page(front: &Front, request: &Request<Incoming>) -> Option<Reply> {
    let page = front
        .roles
        .contains(&Role::Dashboard)
        .then(|| pages::find(request.uri().path(), request.headers()))
        .flatten()?;
    Some(match *request.method() {
        Method::GET | Method::HEAD => page,
        Method::OPTIONS => response::options(PAGE_METHODS),
        _ => response::problem(&Problem::MethodNotAllowed(PAGE_METHODS)),
    })
}

/// Whether this process can do what its roles are for, and is not stopping.
fn is_ready(front: &Front) -> bool {
    health::is_ready(&front.monitor.latest(), &front.roles)
        && !front.is_draining.load(Ordering::Relaxed)
}

/// What `/metrics` tells, and a collector is sent.
pub(crate) fn figures(front: &Front) -> Vec<Family> {
    let shed = front.connections.shed_count();
    families(
        &front.monitor.latest(),
        &front.metrics,
        shed,
        is_ready(front),
    )
}

/// Ready for what this process's roles do; what is amiss besides is told.
fn readiness(front: &Front) -> Result<Reply, Problem> {
    let snapshot = front.monitor.latest();
    if is_ready(front) {
        return Ok(response::json(&Health {
            status: "ready".to_owned(),
            degraded: snapshot.degraded.clone(),
        }));
    }
    let degraded = snapshot.degraded.iter();
    let mut words: Vec<_> = degraded
        .map(|degraded| format!("{} (since {})", degraded.detail, degraded.since))
        .collect();
    if !health::is_known(&snapshot) {
        words.push("this instance has just started".to_owned());
    }
    if front.is_draining.load(Ordering::Relaxed) {
        words.push("this instance is stopping".to_owned());
    }
    Err(Problem::NotReady(words.join("; ")))
}
