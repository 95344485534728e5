//! A shard's way to its conductor.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use call::{CallError, Remote, shown};
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderName};
use plan::shard::Shard;
use record::clock::own_us;
use record::part;
use record::recorder::Recorder;
use record::sparse::Sparse;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::conducted::{Conducted, Fate};
use crate::message::{
    ANSWER_BYTES_MAX, Answer, Assignment, BEAT_EVERY, Beat, End, Figures, INSTANCE_HEADER, Join,
    PROTOCOL, PhaseFigures, REQUEST_BYTES_MAX, Refused, SECONDS_MAX, SILENCE_MAX, SecondFigures,
    Stage, Start,
};

/// How long one request may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// How often a conductor that is not there yet is looked for.
const JOIN_EVERY: Duration = Duration::from_millis(250);
/// The port of a conductor that names none.
pub const PORT: u16 = 7070;
/// How long a last word may take.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(2);
/// The most bytes of a piece of a file.
const PIECE_BYTES: u64 = (REQUEST_BYTES_MAX / 2) as u64;
/// How often the figures are made ready to be told.
const FIGURES_EVERY: Duration = Duration::from_millis(500);

/// Why a shard has no conductor.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address is none.
    #[error("--conductor must be http://host:port, not {0}")]
    Address(String),
    /// It was not there in time.
    #[error("no conductor answers at {url} within {} s: {why}", within.as_secs())]
    Nobody {
        /// Where.
        url: String,
        /// How long it was looked for.
        within: Duration,
        /// What the last attempt said.
        why: String,
    },
    /// It refuses this process.
    #[error("the conductor refuses: {0}")]
    Refused(String),
    /// It does not answer any more.
    #[error("the conductor was lost: {0}")]
    Lost(String),
    /// The start was heard of too late.
    #[error("the conductor's start had passed when it was heard of")]
    Late,
    /// The run ends before its start.
    #[error("the run was called off: {0}")]
    CalledOff(String),
    /// The run is stopped before its start.
    #[error("stopped before the load began: {0}")]
    Stopped(String),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// Where a conductor is, and what it asks for.
#[derive(Clone, Debug)]
pub struct Address {
    url: String,
    authority: String,
    token: Option<String>,
}

impl Address {
    /// Of `url`, `http://host:port`; without a port it is [`PORT`].
    ///
    /// # Errors
    /// When it is none.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, LinkError> {
        let refused = || LinkError::Address(shown(url));
        let authority = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|rest| !rest.is_empty() && !rest.contains(['/', '@', '?', '#', ' ']))
            .ok_or_else(refused)?;
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:{PORT}")
        };
        // What cannot stand in a header is no address.
        hyper::header::HeaderValue::from_str(&authority).map_err(|_| refused())?;
        Ok(Self {
            url: url.to_owned(),
            authority,
            token,
        })
    }
}

/// Why a request was not answered.
#[derive(Debug)]
enum Unanswered {
    /// It may be tried again.
    Silence(String),
    /// It may not.
    Refused(String),
}

/// The way to the conductor, for one of this shard's tasks.
struct Way {
    remote: Remote,
    url: String,
}

impl Way {
    fn new(address: &Address, instance: &str) -> Result<Self, LinkError> {
        let wrong = |_| LinkError::Address(shown(&address.url));
        let mut remote = Remote::at(&format!("http://{}", address.authority))
            .and_then(|remote| {
                remote.with_header(HeaderName::from_static(INSTANCE_HEADER), instance)
            })
            .map_err(wrong)?
            .within(REQUEST_WITHIN)
            .taking(ANSWER_BYTES_MAX);
        if let Some(token) = &address.token {
            remote = remote
                .with_header(AUTHORIZATION, &format!("Bearer {token}"))
                .map_err(wrong)?;
        }
        Ok(Self {
            remote,
            url: address.url.clone(),
        })
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, Unanswered> {
        let answer = self.remote.call(method, path, body).await?;
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.body)
                .map_err(|_| Unanswered::Refused(format!("{} is no conductor", self.url)));
        }
        let why = serde_json::from_slice::<Refused>(&answer.body).map_or_else(
            |_| format!("it answers {}", answer.status),
            |refused| refused.error,
        );
        Err(if answer.status.is_client_error() {
            Unanswered::Refused(why)
        } else {
            Unanswered::Silence(why)
        })
    }
}

impl From<CallError> for Unanswered {
    fn from(error: CallError) -> Self {
        let mut words = error.to_string();
        if let Some(cause) = error.source() {
            words = format!("{words}: {cause}");
        }
        match error {
            CallError::Request(_) | CallError::Address(_) => Self::Refused(words),
            _ => Self::Silence(words),
        }
    }
}

/// What is told to the conductor, and what it said.
struct State {
    conducted: Conducted,
    stopped: Option<String>,
    hopeless: Option<String>,
    phases: BTreeMap<u16, PhaseFigures>,
    /// Arrivals that the conductor knows of, by phase.
    known: BTreeMap<u16, u64>,
    seconds: Vec<SecondFigures>,
    /// The seconds before this one are in `seconds` or were told.
    next_second: usize,
    figures_at: Option<Instant>,
    began: Instant,
}

impl State {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn beat(&self) -> Beat {
        Beat {
            stage: self.conducted.stage.clone(),
            clock: self.conducted.clock(),
            stopped: self.stopped.clone(),
            hopeless: self.hopeless.clone(),
            figures: Figures {
                phases: self
                    .phases
                    .values()
                    .filter(|phase| self.known.get(&phase.phase) != Some(&ended(phase)))
                    .cloned()
                    .collect(),
                seconds: self.seconds.iter().take(SECONDS_MAX).copied().collect(),
            },
        }
    }

    /// The conductor knows what stood in `beat`.
    fn is_told(&mut self, beat: &Beat) {
        for phase in &beat.figures.phases {
            self.known.insert(phase.phase, ended(phase));
        }
        if let Some(last) = beat.figures.seconds.last() {
            self.seconds.retain(|second| second.index > last.index);
        }
    }
}

const fn ended(phase: &PhaseFigures) -> u64 {
    phase.completed + phase.failed
}

struct Shared {
    state: Mutex<State>,
    /// There is something to say at once.
    urgent: Notify,
    /// Something was heard.
    heard: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what came of a beat that left and was heard at these `instants`; whether it was refused.
    fn take(&self, beat: Beat, instants: (i64, i64), answer: Result<Answer, Unanswered>) -> bool {
        let mut state = self.lock();
        let now = state.now();
        match answer {
            Ok(answer) => {
                state.is_told(&beat);
                state.conducted.heard(now, instants, beat.stage, answer);
                false
            }
            Err(Unanswered::Silence(_)) => {
                state.conducted.unheard(now);
                false
            }
            Err(Unanswered::Refused(why)) => {
                state.conducted.refused(why);
                true
            }
        }
    }
}

/// A seat in a run, held by beats in the background until it is dropped.
pub struct Link {
    address: Address,
    instance: String,
    assignment: Assignment,
    shared: Arc<Shared>,
    beating: JoinHandle<()>,
}

impl Link {
    /// Asks the conductor for a shard, of this number if one is given. A conductor that is not there yet is waited for.
    ///
    /// # Errors
    /// When there is none within `within`, or it refuses.
    pub async fn join(
        address: Address,
        (number, count): (Option<u32>, Option<u32>),
        commit: &str,
        within: Duration,
    ) -> Result<Self, LinkError> {
        let instance = uuid::Uuid::new_v4().simple().to_string();
        let mut way = Way::new(&address, &instance)?;
        let join = Join {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit.to_owned(),
            number,
            count,
        };
        let asked = Instant::now();
        let assignment: Assignment = loop {
            match way.ask(Method::POST, "/shards", encoded(&join)).await {
                Ok(assignment) => break assignment,
                Err(Unanswered::Refused(why)) => return Err(LinkError::Refused(why)),
                Err(Unanswered::Silence(why)) if asked.elapsed() >= within => {
                    return Err(LinkError::Nobody {
                        url: address.url,
                        within,
                        why,
                    });
                }
                Err(Unanswered::Silence(_)) => tokio::time::sleep(JOIN_EVERY).await,
            }
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                conducted: Conducted::new(Duration::ZERO),
                stopped: None,
                hopeless: None,
                phases: BTreeMap::new(),
                known: BTreeMap::new(),
                seconds: Vec::new(),
                next_second: 0,
                figures_at: None,
                began: Instant::now(),
            }),
            urgent: Notify::new(),
            heard: Notify::new(),
        });
        let beating = tokio::spawn(beat(way, assignment.shard, Arc::clone(&shared)));
        Ok(Self {
            address,
            instance,
            assignment,
            shared,
            beating,
        })
    }

    /// What this shard sends.
    pub const fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Says that this shard is ready, and waits until it is told to start. From then on the clocks are as
    /// [`Link::clock_ahead_us`] says.
    ///
    /// # Errors
    /// When the run ends before its start, or the conductor is lost.
    pub async fn ready(&self) -> Result<Start, LinkError> {
        self.set(Stage::Ready);
        loop {
            let heard = self.shared.heard.notified();
            // The lock must be free again: what follows takes it.
            let fate = self.shared.lock().conducted.fate();
            match fate {
                Fate::Wait => {}
                Fate::Start(start) => {
                    self.set(Stage::Sending);
                    return Ok(*start);
                }
                Fate::Over(end) if end.is_stop => return Err(LinkError::Stopped(end.why)),
                Fate::Over(end) => return Err(LinkError::CalledOff(end.why)),
                Fate::Lost(loss) => return Err(loss),
            }
            // Time may pass without a word.
            let _ = tokio::time::timeout(BEAT_EVERY, heard).await;
        }
    }

    /// How far the conductor's clock is ahead of this machine's, microseconds.
    pub fn clock_ahead_us(&self) -> i64 {
        let clock = self.shared.lock().conducted.clock();
        clock.map_or(0, |clock| clock.ahead_us)
    }

    /// Tells what was counted at `now` after the start, for whoever watches.
    pub fn tell(&self, now: Duration, recorder: &Recorder) {
        let mut state = self.shared.lock();
        if state
            .figures_at
            .is_some_and(|at| at.elapsed() < FIGURES_EVERY)
        {
            return;
        }
        state.figures_at = Some(Instant::now());
        for (phase, latencies) in (0u16..).zip(&recorder.phases) {
            let ended = latencies.completed + latencies.failed;
            if ended == 0 || state.known.get(&phase) == Some(&ended) {
                continue;
            }
            let figures = PhaseFigures {
                phase,
                sent: latencies.sent,
                completed: latencies.completed,
                failed: latencies.failed,
                response: Sparse::of(&latencies.response),
                service: Sparse::of(&latencies.service),
            };
            state.phases.insert(phase, figures);
        }
        // The current second is not over.
        let over = (now.as_secs() as usize).min(recorder.seconds.len());
        let from = state.next_second.min(over);
        for (index, second) in recorder.seconds[from..over].iter().enumerate() {
            state.seconds.push(SecondFigures {
                index: (from + index) as u32,
                planned: second.planned,
                sent: second.sent,
                completed: second.completed,
                failed: second.failed,
            });
        }
        state.next_second = over;
        // While nobody hears it the oldest are dropped.
        let surplus = state.seconds.len().saturating_sub(SECONDS_MAX);
        state.seconds.drain(..surplus);
    }

    /// Says that this shard was stopped by `signal`: so is the whole run.
    pub fn stopped(&self, signal: &str) {
        self.shared.lock().stopped = Some(signal.to_owned());
        self.shared.urgent.notify_one();
    }

    /// Says that a check can no longer hold.
    pub fn hopeless(&self, why: &str) {
        self.shared.lock().hopeless = Some(why.to_owned());
        self.shared.urgent.notify_one();
    }

    /// Why the load is to end before its end, if it is.
    pub fn end(&self) -> Option<End> {
        self.shared.lock().conducted.end().cloned()
    }

    /// Why the conductor takes nothing from this shard any more: it is lost, or it refuses.
    pub fn loss(&self) -> Option<LinkError> {
        self.shared.lock().conducted.loss()
    }

    /// Says that everything is sent and answered.
    pub fn sent(&self) {
        self.set(Stage::Sent);
    }

    /// Says that this shard cannot go on.
    pub async fn failed(&self, why: &str) {
        let why = why.to_owned();
        self.set(Stage::Failed { why });
        let _ = tokio::time::timeout(LAST_WORD_WITHIN, self.known()).await;
    }

    /// Hands over the files in `folder`.
    ///
    /// # Errors
    /// When the conductor is lost or refuses; the files stay where they are.
    pub async fn deliver(&self, folder: &Path) -> Result<(), LinkError> {
        if let Some(loss) = self.loss() {
            return Err(loss);
        }
        let mut way = Way::new(&self.address, &self.instance)?;
        let mut files = Vec::new();
        for name in part::FILES {
            let path = folder.join(name);
            let unreadable = |source| LinkError::Unreadable {
                path: path.display().to_string(),
                source,
            };
            let file = File::open(&path).map_err(unreadable)?;
            let length = file.metadata().map_err(unreadable)?.len();
            let mut at = 0;
            while at < length {
                let mut piece = vec![0; PIECE_BYTES.min(length - at) as usize];
                file.read_exact_at(&mut piece, at).map_err(unreadable)?;
                let end = at + piece.len() as u64;
                let path = format!("/shards/{}/{name}?at={at}", self.assignment.shard.index);
                self.hand_over(&mut way, &path, Bytes::from(piece)).await?;
                at = end;
            }
            files.push((name.to_owned(), length));
        }
        self.set(Stage::Delivered { files });
        self.known().await
    }

    async fn hand_over(&self, way: &mut Way, path: &str, piece: Bytes) -> Result<(), LinkError> {
        let since = Instant::now();
        loop {
            match way.ask::<()>(Method::PUT, path, piece.clone()).await {
                Ok(()) => return Ok(()),
                Err(Unanswered::Refused(why)) => return Err(LinkError::Refused(why)),
                Err(Unanswered::Silence(why)) if since.elapsed() > SILENCE_MAX => {
                    return Err(LinkError::Lost(why));
                }
                Err(Unanswered::Silence(_)) => tokio::time::sleep(JOIN_EVERY).await,
            }
        }
    }

    /// Waits until the conductor knows how far this shard is.
    async fn known(&self) -> Result<(), LinkError> {
        loop {
            let heard = self.shared.heard.notified();
            {
                let state = self.shared.lock();
                if state.conducted.is_known() {
                    return Ok(());
                }
                if let Some(loss) = state.conducted.loss() {
                    return Err(loss);
                }
            }
            let _ = tokio::time::timeout(BEAT_EVERY, heard).await;
        }
    }

    fn set(&self, stage: Stage) {
        self.shared.lock().conducted.stage = stage;
        self.shared.urgent.notify_one();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

fn encoded(message: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(message)
        .expect("a message is a plain struct with text for keys")
        .into()
}

/// Says how this shard is, and hears what to do, until it is refused.
async fn beat(mut way: Way, shard: Shard, shared: Arc<Shared>) {
    let path = format!("/shards/{}/beat", shard.index);
    loop {
        let beat = shared.lock().beat();
        // The connection first: what it takes is no part of the way.
        let connected = way.remote.connect().await;
        let asked_us = own_us();
        let answer = match connected {
            Ok(()) => way.ask::<Answer>(Method::POST, &path, encoded(&beat)).await,
            Err(error) => Err(error.into()),
        };
        let heard_us = own_us();
        let is_refused = shared.take(beat, (asked_us, heard_us), answer);
        shared.heard.notify_waiters();
        if is_refused {
            return;
        }
        let _ = tokio::time::timeout(BEAT_EVERY, shared.urgent.notified()).await;
    }
}
