//! Sluice, the service: takes loan requests in bursts, loses none, processes each exactly once.
//!
//! The modules stand in the order of one loan's way, then what is around it, as `ARCHITECTURE.md` tells it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

// One loan's way.
mod http;
pub mod parse;
pub mod admit;
pub mod queue;
pub mod worker;
pub mod validate;
pub mod loan;
pub mod applicant;
mod currency;
pub mod enrich;
pub mod decided;
pub mod record;
mod recorder;
pub mod store;

// A loan that failed, or that nobody can read.
pub mod retry;
mod discard;
mod tasks;
pub mod filter;
mod aside;

// Redis and MongoDB stay one queue and one record.
mod start;
mod pairing;
mod filter_rebuild;
mod rounds;

// What is told.
pub mod api;
pub mod metrics;
pub mod monitor;
mod health;
pub mod history;
mod events;
mod instances;
mod activity;
mod export;
pub mod figures;
pub mod telemetry;
pub mod log;
pub mod printable;

// One person's data, and the process.
pub mod forget;
mod mention;
pub mod config;
pub mod limits;
pub mod process;
mod shutdown;
mod task;
pub mod tokens;
pub mod tls;
mod files;
pub mod clock;
mod backoff;
pub mod error;
mod failpoint;
#[cfg(feature = "slowdown")]
mod slowdown;

pub use ::snapshot;
pub use http::openapi::document as openapi;

use config::{Config, Role};
use decided::Handover;
use http::Front;
use http::admin::AdminToken;
use metrics::Metrics;
use monitor::{Monitor, Watched};
use queue::Queue;
use queue::bundle::Instance;
use recorder::Recorders;
use store::Store;
use store::retention::Retention;
use telemetry::{Telemetry, Traces};
use tls::Tls;
use tokens::Tokens;
use worker::pool::Pool;
use worker::scale::Rule;

/// The commit that this build is of, where the build was told.
pub const GIT_COMMIT: &str = match option_env!("SLUICE_GIT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Whether this build can be crashed at its crash points, and its guards be switched off.
pub const HAS_CRASH_POINTS: bool = cfg!(feature = "failpoints");

/// Why the service could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Settings that contradict each other or a bound.
    #[error("{0}")]
    Settings(String),
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another with --listen (SLUICE_LISTEN)")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// An address that cannot be understood, or files that do not go with it.
    #[error("{flag}: {fault}")]
    Address {
        /// The flag with the fault, and its variable.
        flag: &'static str,
        /// What is wrong, or what it has to be.
        fault: String,
    },
    /// `--require-durable`, and Redis is not.
    #[error("Redis may lose loans that were answered 202: {0}; or leave --require-durable out")]
    NotDurable(String),
    /// `--require-durable`, and nobody says whether Redis is.
    #[error(
        "whether Redis keeps what it confirms is not known, and --require-durable must know it: {0}"
    )]
    DurabilityUnknown(String),
    /// What is at the address of Redis is not what the settings take it for.
    #[error("{0}")]
    NotAsSet(String),
    /// A sharded MongoDB, in which a loan could be recorded twice.
    #[error(
        "{0}: an id is then unique on each shard alone, and a loan could be recorded twice; shard by {{_id: \"hashed\"}}"
    )]
    WrongShardKey(String),
    /// A collection of MongoDB that loses records, or mixes ids up.
    #[error("{0}; drop it, if it is empty, or rename it: the service makes its own")]
    UnfitCollection(String),
    /// Redis or MongoDB belong to a queue of another shape.
    #[error("{0}")]
    OtherQueue(String),
}

/// Binds the address.
///
/// # Errors
/// `Listen`.
#[expect(clippy::unused_async, reason = "a listener needs the runtime")]
pub async fn bind(config: &Config) -> Result<TcpListener, StartError> {
    let listen = |address: SocketAddr| {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        // Accepted connections inherit it. What a client does not read, the kernel would keep by
        // the megabyte.
        socket.set_send_buffer_size(limits::SEND_BUFFER_LEN)?;
        socket.bind(address)?;
        socket.listen(limits::ACCEPT_BACKLOG)
    };
    let fail = |source| StartError::Listen {
        address: config.listen.to_string(),
        source,
    };
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in config.listen.resolve().map_err(fail)? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(fail(last))
}

/// Runs the service on `listener` until `stop` turns true, then drains: no new connections, the
/// requests in flight answered, claimed loans committed, results recorded.
///
/// Redis and MongoDB need not be there: the service takes up its work when they are.
///
/// # Errors
/// [`StartError`], before anything is served.
pub async fn run(
    config: &Config,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    config.check().map_err(StartError::Settings)?;
    let address = listener.local_addr().map_err(|source| StartError::Listen {
        address: config.listen.to_string(),
        source,
    })?;
    let queue = queue_of(config)?;
    let store = store_of(config)
        .await?
        .with_timeout(config.mongodb_timeout.0);
    let instance = Instance::new(&start::place(address));
    start::check(config, &queue, &store, instance).await?;
    let tokens = match &config.tokens_file {
        Some(file) => Some(Tokens::follow(file).await.map_err(|why| {
            StartError::Settings(format!("--tokens-file (SLUICE_TOKENS_FILE): {why}"))
        })?),
        None => None,
    };
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(Tls::follow(cert, key).await.map_err(|why| {
            StartError::Settings(format!(
                "--tls-cert, --tls-key (SLUICE_TLS_CERT, SLUICE_TLS_KEY): {why}"
            ))
        })?),
        _ => None,
    };
    let name = instance.to_string();
    let telemetry = match config.telemetry().map_err(StartError::Settings)? {
        Some(settings) => Some(Telemetry::new(settings, &name).map_err(|why| {
            StartError::Settings(format!("--otlp-endpoint (SLUICE_OTLP_ENDPOINT): {why}"))
        })?),
        None => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let connections_max = room_for(config);
    // Only now: a service that cannot start says one line, why.
    tracing::info!("listening on {scheme}://{address}");
    let admin_token = match (&config.admin_token, &tokens) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(_)) => None,
        (None, None) => {
            let token = AdminToken::random();
            print_login(scheme, address, &token);
            Some(token)
        }
    };
    let traces = telemetry
        .as_ref()
        .map_or_else(Traces::default, Telemetry::traces);
    let metrics = Arc::new(Metrics::traced(traces));
    events::exchange(&queue, &metrics, &name);
    let monitor = Monitor::start(Watched {
        queue: queue.clone(),
        store: store.clone(),
        metrics: Arc::clone(&metrics),
        instance,
        roles: config.roles(),
        host: start::place(address),
        workers_max: if config.has(Role::Worker) {
            config.workers_max
        } else {
            0
        },
    });

    // Each stage is stopped only after the one before it has nothing more to hand over.
    let (stop_workers, workers_stop) = watch::channel(false);
    let (stop_recorders, recorders_stop) = watch::channel(false);
    let handover = Arc::new(Handover::new(limits::HANDOVER_LEN_MAX));
    let pool = config.has(Role::Worker).then(|| {
        let pool = Pool {
            queue: queue.clone(),
            metrics: Arc::clone(&metrics),
            handover: Arc::clone(&handover),
            rule: Rule {
                min: 1,
                max: config.workers_max,
                loans_per_worker: config.loans_per_worker,
                cool_down: config.scale_cool_down.0,
            },
            lease: config.claim_timeout.0,
            instance,
        };
        task::spawn("pool", pool.run(workers_stop))
    });
    let recorders = if config.has(Role::Persister) {
        let recorders = Recorders {
            queue: queue.clone(),
            store: store.clone(),
            metrics: Arc::clone(&metrics),
            handover: Arc::clone(&handover),
            interval: config.record_interval.0,
            lease: config.claim_timeout.0.max(config.mongodb_timeout.0),
            instance,
        };
        recorders.start(&recorders_stop)
    } else {
        Vec::new()
    };
    task::spawn(
        "filter",
        filter_rebuild::watch(queue.clone(), store.clone(), Arc::clone(&metrics)),
    );

    let door = config.has(Role::Api).then(|| {
        admit::Door::open(
            &queue,
            &store,
            &metrics,
            config.backlog_max,
            config.admission_timeout.0,
        )
    });
    let activity = activity::Activity::start(store.database());
    let exports = http::exports::Exports::new(limits::EXPORTS_MAX);
    let feed = http::feed::Feed::start(&monitor, &metrics, &store, &exports);
    let snapshots = monitor.follow();
    task::spawn("history", history::keep(monitor.clone(), store.clone()));
    if config.has(Role::Persister) {
        task::spawn("retention", keep_records(store.clone(), config.retention()));
        task::spawn("aside", aside::tell(queue.clone(), store.clone()));
    }
    let tasks = tasks::Tasks::start(
        &tasks::Works {
            queue: queue.clone(),
            store: store.clone(),
            metrics: Arc::clone(&metrics),
            monitor: monitor.clone(),
            activity: activity.clone(),
            backlog_max: config.backlog_max / u64::from(config.partitions),
            instance: name.clone(),
        },
        &stop,
    );
    let front = Arc::new(Front {
        door,
        queue: queue.clone(),
        store,
        metrics,
        monitor,
        roles: config.roles(),
        tls,
        access: http::access::Access::new(admin_token, tokens),
        tasks,
        exports,
        activity: activity.clone(),
        feed,
        clients: http::clients::Clients::new(config.connections_per_client_max, connections_max),
        followers: http::clients::Clients::new(None, limits::WEB_SOCKET_CLIENTS_MAX),
        unsent: http::Sum::of(limits::UNSENT_LEN_MAX),
        gathered: http::Sum::of(limits::GATHERED_LEN_MAX),
        names: http::names::Names::new(
            &config.public_urls(),
            &config.listen.to_string(),
            config.tls_cert.is_some(),
        ),
        proxies: http::peer::Proxies::new(&config.trusted_proxies()),
        body_max: config.body_max,
        backlog_max: config.backlog_max / u64::from(config.partitions),
        connections: http::Connections::new(connections_max, config.keep_alive.0),
        request_ids: Arc::new(http::RequestIds::new(&name)),
        is_draining: AtomicBool::new(false),
        stop: stop.clone(),
    });
    let sending = telemetry.map(|telemetry| {
        let front = Arc::clone(&front);
        telemetry.start(move || http::figures(&front))
    });
    let drain = {
        let front = Arc::clone(&front);
        let mut stop = stop.clone();
        tokio::spawn(async move {
            shutdown::stopped(&mut stop).await;
            front.is_draining.store(true, Ordering::Relaxed);
        })
    };
    http::serve(listener, front, stop, limits::DRAIN_TIMEOUT / 3).await;
    drain.abort();

    let rest = async {
        stop_workers.send_replace(true);
        if let Some(pool) = pool {
            let _ = pool.await;
        }
        stop_recorders.send_replace(true);
        for recorder in recorders {
            let _ = recorder.await;
        }
    };
    if tokio::time::timeout(limits::DRAIN_TIMEOUT, rest)
        .await
        .is_err()
    {
        tracing::warn!("the drain took too long; what is left stays in Redis");
    }
    tell_what_is_left(&snapshots).await;
    if let Some(sending) = sending {
        sending.finish().await;
    }
    let unwritten = activity.written(Duration::from_secs(3)).await;
    if unwritten > 0 {
        tracing::warn!(unwritten, "changes by operators stand in the log alone");
    }
    // The others need not wait until it is missed, and what it still holds is free.
    let leaving = async {
        let partitions = (0..queue.partitions()).map(|number| queue.partition(number));
        join_all(partitions.map(async |mut partition| partition.leave(instance).await)).await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), leaving).await;
    Ok(())
}

/// The queue that the settings name. Nothing is connected yet.
pub(crate) fn queue_of(config: &Config) -> Result<Queue, StartError> {
    let (url, tls_files) = (&config.redis_url, config.redis_tls());
    let queue = if config.redis_cluster {
        Queue::in_cluster(url, config.partitions, &tls_files)
    } else {
        Queue::with_tls(url, config.partitions, &tls_files)
    };
    let queue = queue.map(|queue| queue.with_timeout(config.redis_timeout.0));
    queue.map_err(|error| StartError::Address {
        flag: match error {
            error::ServiceError::RedisTls(_) => {
                "--redis-tls-ca (SLUICE_REDIS_TLS_CA), --redis-tls-cert (SLUICE_REDIS_TLS_CERT) and --redis-tls-key (SLUICE_REDIS_TLS_KEY)"
            }
            _ => "--redis-url (SLUICE_REDIS_URL)",
        },
        fault: error.to_string(),
    })
}

/// The record that the settings name. Nothing is connected yet.
pub(crate) async fn store_of(config: &Config) -> Result<Store, StartError> {
    let uri = &config.mongodb_uri;
    Store::new(uri, &config.mongodb_database)
        .await
        .map_err(|error| {
            let rule = "must be mongodb://HOST:PORT, such as mongodb://127.0.0.1:27017, or mongodb://HOST,HOST/?replicaSet=NAME for a replica set, with USER:PASSWORD@ before the first host where they are needed, signs such as @ / : in them written %40 %2F %3A";
            StartError::Address {
                flag: "--mongodb-uri (SLUICE_MONGODB_URI)",
                fault: match error.argument_fault() {
                    // The driver may repeat what it could not read: not where a password may be in it.
                    Some(fault) if !uri.contains('@') => format!("{rule}; {fault}"),
                    _ => rule.to_owned(),
                },
            }
        })
}

/// Has MongoDB keep records for as long as is set, once it is there.
async fn keep_records(store: Store, retention: Retention) {
    let mut backoff = backoff::Backoff::default();
    let mut is_told = false;
    while let Err(error) = store.set_retention(retention).await {
        if !std::mem::replace(&mut is_told, true) {
            tracing::warn!(%error, "how long records are kept is not set in MongoDB yet");
        }
        backoff.wait().await;
    }
}

/// Says at the end of a drain what is left, and that it is safe.
async fn tell_what_is_left(snapshots: &watch::Receiver<Arc<snapshot::Snapshot>>) {
    let mut snapshots = snapshots.clone();
    snapshots.mark_unchanged();
    let fresh = async {
        // The next one may have been begun before the drain was over.
        snapshots.changed().await?;
        snapshots.changed().await
    };
    let is_fresh = tokio::time::timeout(Duration::from_secs(2), fresh).await;
    let snapshot = Arc::clone(&snapshots.borrow());
    if !matches!(is_fresh, Ok(Ok(()))) || !snapshot.redis.up {
        tracing::warn!(
            "Redis does not answer: what was admitted and not recorded waits in it, and is taken up when an instance starts again"
        );
        return;
    }
    let left = &snapshot.gauges;
    let queued = left.queue_depth + left.in_flight;
    if queued + left.unrecorded > 0 {
        tracing::info!(
            queued,
            unrecorded = left.unrecorded,
            "what is left waits in Redis, safe, for another instance or the next start"
        );
    }
}

/// How many connections there can be: each is an open file, and Redis and MongoDB must not run out
/// of them.
fn room_for(config: &Config) -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let connections_max = config.connections_max;
    let reserved = limits::files_reserved(config.partitions, config.workers_max);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return connections_max;
    };
    let wanted = (connections_max + reserved) as u64;
    if soft < wanted {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
    if hard >= wanted {
        return connections_max;
    }
    let room = (hard as usize).saturating_sub(reserved).max(1);
    tracing::warn!(
        open_files_max = hard,
        connections_max = room,
        "the limit of open files leaves room for fewer connections"
    );
    room
}

/// Prints the administrator's token once, apart from the log. The part of an address after `#` is
/// never sent, so it reaches no log of a proxy either.
fn print_login(scheme: &str, address: SocketAddr, token: &AdminToken) {
    use std::io::Write as _;
    let host = if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    let token = token.expose();
    let line = format!("dashboard with administrator's access: {scheme}://{host}/#token={token}");
    // Nobody may be reading, and a full pipe would hold the start up: the token can be set instead.
    std::thread::spawn(move || writeln!(std::io::stdout(), "{line}"));
}
