//! The conductor on the network.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use plan::shard::Shard;
use record::clock::steady_us;
use record::part;
use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::conductor::{Conductor, Refusal};
use crate::live::Live;
use crate::message::{
    Answer, Assignment, Beat, FILE_BYTES_MAX, FILES_BYTES_MAX, INSTANCE_HEADER, Join,
    REQUEST_BYTES_MAX, Refused, Stage,
};

/// How long a request may take to come.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// The most connections for each shard, and beside them.
const CONNECTIONS: (usize, usize) = (2, 16);
/// The most bytes of the name of a process.
const INSTANCE_BYTES_MAX: usize = 64;

/// What the conductor knows and decides, and where the files go.
#[derive(Debug)]
pub struct Desk {
    /// What becomes of the run.
    pub conductor: Conductor,
    /// What all shards have counted so far.
    pub live: Live,
    /// What each shard gets, but for its number.
    assignment: Assignment,
    folder: PathBuf,
    began: Instant,
    /// Bytes of the files, by shard and name.
    files: BTreeMap<(u32, &'static str), u64>,
}

impl Desk {
    /// A desk whose files go to `folder`. The shard in `assignment` is replaced by that of each who asks.
    pub fn new(conductor: Conductor, live: Live, assignment: Assignment, folder: PathBuf) -> Self {
        Self {
            conductor,
            live,
            assignment,
            folder,
            began: Instant::now(),
            files: BTreeMap::new(),
        }
    }

    /// The conductor's time.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Where the files of a shard go.
    pub fn folder_of(&self, number: u32) -> PathBuf {
        folder_of(&self.folder, number)
    }
}

fn folder_of(folder: &Path, number: u32) -> PathBuf {
    folder.join("shards").join(number.to_string())
}

/// A conductor that is served. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Serves `desk` to whoever comes to `door` and has the token, if there is one. To be called within a runtime.
    ///
    /// # Errors
    /// When the door cannot be used.
    pub fn start(
        door: std::net::TcpListener,
        desk: Desk,
        token: Option<String>,
    ) -> std::io::Result<Self> {
        door.set_nonblocking(true)?;
        let listener = TcpListener::from_std(door)?;
        let address = listener.local_addr()?;
        let shards = desk.assignment.shard.count as usize;
        let connections = Arc::new(Semaphore::new(CONNECTIONS.0 * shards + CONNECTIONS.1));
        let desk = Arc::new(Mutex::new(desk));
        let serving = Arc::clone(&desk);
        let token: Option<Arc<str>> = token.map(Arc::from);
        let serving = tokio::spawn(async move {
            // With the door its connections end.
            let mut open = JoinSet::new();
            loop {
                while open.try_join_next().is_some() {}
                let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
                    return;
                };
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of files, perhaps: others will end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let (desk, token) = (Arc::clone(&serving), token.clone());
                open.spawn(async move {
                    let service = service_fn(|request| {
                        let (desk, token) = (Arc::clone(&desk), token.clone());
                        async move {
                            Ok::<_, Infallible>(answer(&desk, token.as_deref(), request).await)
                        }
                    });
                    // A peer that breaks off asks again.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(REQUEST_WITHIN)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    drop(permit);
                });
            }
        });
        Ok(Self {
            address,
            desk,
            serving,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the conductor knows.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the token is missing or another one: give the conductor's with --conductor-token")]
    Token,
    #[error("the header {INSTANCE_HEADER} is missing")]
    Instance,
    #[error("there is nothing here")]
    Nowhere,
    #[error("the request is not one of a shard: {0}")]
    NotOne(String),
    #[error("the request did not come within {} s", REQUEST_WITHIN.as_secs())]
    Slow,
    #[error("{0}")]
    TooLarge(String),
    #[error("of {file} came {come} bytes, not {at}")]
    Gap {
        file: &'static str,
        come: u64,
        at: u64,
    },
    #[error("the conductor cannot keep it: {0}")]
    Unwritable(std::io::Error),
}

impl Fault {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Refused(_) | Self::Gap { .. } => StatusCode::CONFLICT,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Instance | Self::NotOne(_) => StatusCode::BAD_REQUEST,
            Self::Nowhere => StatusCode::NOT_FOUND,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unwritable(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

async fn answer(
    desk: &Mutex<Desk>,
    token: Option<&str>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    match carry_out(desk, token, request).await {
        Ok(body) => json(StatusCode::OK, body),
        Err(fault) => json(
            fault.status(),
            encoded(&Refused {
                error: fault.to_string(),
            }),
        ),
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn encoded(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("a message is a plain struct with text for keys")
}

async fn carry_out(
    desk: &Mutex<Desk>,
    token: Option<&str>,
    request: Request<Incoming>,
) -> Result<Vec<u8>, Fault> {
    if !is_allowed(token, request.headers().get(AUTHORIZATION)) {
        return Err(Fault::Token);
    }
    let instance = request
        .headers()
        .get(INSTANCE_HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|name| (1..=INSTANCE_BYTES_MAX).contains(&name.len()))
        .ok_or(Fault::Instance)?
        .to_owned();
    let (path, query) = (request.uri().path().to_owned(), request.uri().query());
    let at = query.and_then(|query| query.strip_prefix("at=")?.parse::<u64>().ok());
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method().clone(), &parts[..], at) {
        (Method::POST, ["shards"], None) => {
            let join: Join = read(request).await?;
            let mut desk = lock(desk);
            let now = desk.now();
            let shard: Shard = desk.conductor.join(now, &instance, &join)?;
            Ok(encoded(&Assignment {
                shard,
                ..desk.assignment.clone()
            }))
        }
        (Method::POST, ["shards", number, "beat"], None) => {
            let number = number.parse().map_err(|_| Fault::Nowhere)?;
            let beat: Beat = read(request).await?;
            let mut desk = lock(desk);
            if let Stage::Delivered { files } = &beat.stage {
                desk.conductor.is_seated(number, &instance)?;
                desk.are_whole(number, files)?;
            }
            let now = desk.now();
            let order = desk.conductor.beat(now, number, &instance, &beat)?;
            desk.live.take(number, beat.figures);
            Ok(encoded(&Answer {
                now_us: steady_us(),
                order,
            }))
        }
        (Method::PUT, ["shards", number, file], Some(at)) => {
            let number = number.parse().map_err(|_| Fault::Nowhere)?;
            let file = part::FILES
                .into_iter()
                .find(|name| name == file)
                .ok_or(Fault::Nowhere)?;
            lock(desk).conductor.is_seated(number, &instance)?;
            let piece = body(request).await?;
            keep(desk, (number, &instance), file, at, piece).await?;
            Ok(b"null".to_vec())
        }
        _ => Err(Fault::Nowhere),
    }
}

/// Whether the header has the token, where one is wanted. It takes as long whatever is wrong with it.
fn is_allowed(token: Option<&str>, header: Option<&HeaderValue>) -> bool {
    let Some(token) = token else { return true };
    let given = header
        .and_then(|header| header.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    token.as_bytes().ct_eq(given).into()
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Fault> {
    let limited = Limited::new(request.into_body(), REQUEST_BYTES_MAX);
    match tokio::time::timeout(REQUEST_WITHIN, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Fault::TooLarge(
            format!("a request may have {REQUEST_BYTES_MAX} bytes"),
        )),
        Ok(Err(error)) => Err(Fault::NotOne(error.to_string())),
        Err(_) => Err(Fault::Slow),
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Fault> {
    let body = body(request).await?;
    serde_json::from_slice(&body).map_err(|error| Fault::NotOne(error.to_string()))
}

/// Keeps a piece of a file. One that is there already is there.
async fn keep(
    desk: &Mutex<Desk>,
    (number, instance): (u32, &str),
    file: &'static str,
    at: u64,
    piece: Bytes,
) -> Result<(), Fault> {
    let folder = {
        let mut desk = lock(desk);
        desk.conductor.is_seated(number, instance)?;
        if !desk.make_room(number, file, at, piece.len() as u64)? {
            return Ok(());
        }
        desk.folder_of(number)
    };
    let written = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(file))?
            .write_all_at(&piece, at)
    })
    .await
    .map_err(|error| Fault::Unwritable(std::io::Error::other(error)))?;
    written.map_err(|error| {
        // So that it can be sent again.
        lock(desk).files.insert((number, file), at);
        Fault::Unwritable(error)
    })
}

impl Desk {
    /// Counts `length` bytes more of a file, behind `at`; false when they are there already.
    fn make_room(
        &mut self,
        number: u32,
        file: &'static str,
        at: u64,
        length: u64,
    ) -> Result<bool, Fault> {
        if !self.conductor.has_started() {
            return Err(Fault::Nowhere);
        }
        let come = self.files.get(&(number, file)).copied().unwrap_or(0);
        if at.saturating_add(length) <= come && length > 0 {
            return Ok(false);
        }
        if at != come {
            return Err(Fault::Gap { file, come, at });
        }
        let all: u64 = self.files.values().sum();
        if come + length > FILE_BYTES_MAX || all + length > FILES_BYTES_MAX {
            return Err(Fault::TooLarge(format!(
                "a file may have {FILE_BYTES_MAX} bytes, and all of them {FILES_BYTES_MAX}"
            )));
        }
        self.files.insert((number, file), come + length);
        Ok(true)
    }

    /// Whether all files of a shard are there as long as it says.
    fn are_whole(&self, number: u32, files: &[(String, u64)]) -> Result<(), Fault> {
        for file in part::FILES {
            let come = self.files.get(&(number, file)).copied().unwrap_or(0);
            let said = files.iter().find(|(name, _)| name == file);
            let at = said.map_or(0, |(_, length)| *length);
            if said.is_none() || come != at {
                return Err(Fault::Gap { file, come, at });
            }
        }
        Ok(())
    }
}
