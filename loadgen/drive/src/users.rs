//! Goose users: each takes an arrival that is due, sends it, reads the whole answer and notes the instants.
//!
//! Goose brings the users, the client and its own request counts. The schedule, the instants and the histograms are
//! ours, because goose's response time ends at the headers and counts whole milliseconds.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{
    GooseMethod, GooseRequest, GooseUser, Scenario as GooseScenario, Transaction,
    TransactionFunction, TransactionResult,
};
use goose::{GooseAttack, GooseError};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use plan::kind::{Kind, Outcome};
use record::clock::RunClock;
use record::sample::{Answer, Sample, Unknown};

use crate::due::{Due, DueSender};
use crate::handover::{Note, Shared};
use crate::pace::{self, Prepared};
use crate::wire::{ANSWER_BYTES_MAX, on_the_wire, shown};
use crate::{answer, priority, pulse};

/// Where loans are sent.
const PATH: &str = "/api/loans/request";
/// What is asked to open the connections before the load begins.
const WARM_PATH: &str = "/healthz";
/// How long that may take.
const WARM_WITHIN: Duration = Duration::from_secs(2);
/// The most connections that are opened before the load begins.
const WARM_CONNECTIONS_MAX: usize = 128;
/// Pause before a request with an unknown outcome is sent again.
const RESEND_PAUSE: Duration = Duration::from_millis(100);
/// The most characters of an answer that are told.
const TEXT_LEN_MAX: usize = 300;
/// The most characters of what a service calls its error.
const ERROR_TYPE_LEN_MAX: usize = 64;
/// How fast goose starts its users, before the load begins.
const USERS_STARTED_PER_SECOND: usize = 10_000;
/// Who asks.
const USER_AGENT: &str = concat!("sluice-loadgen/", env!("CARGO_PKG_VERSION"));

/// Goose logs each failed request by itself; the recorder counts them by kind.
struct Silent;

impl log::Log for Silent {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        false
    }

    fn log(&self, _: &log::Record<'_>) {}

    fn flush(&self) {}
}

/// Runs the users and the pacing on a thread of their own until the arrivals end. The answer is goose's own count of
/// requests.
///
/// One thread, so that an arrival goes from its instant to the socket without waking another one.
///
/// # Errors
/// When the system gives no thread. What goose refuses is in the answer.
pub fn start(
    shared: Arc<Shared>,
    prepared: Prepared,
    due: DueSender,
    clock: tokio::sync::oneshot::Receiver<RunClock>,
) -> std::io::Result<tokio::sync::oneshot::Receiver<Result<u64, GooseError>>> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("send".to_owned())
        .spawn(move || {
            let _ = shared.priority.set(priority::raise());
            let counted = runtime.block_on(async {
                let pacing = Arc::clone(&shared);
                tokio::spawn(async move {
                    // Without a clock the load is not to be sent; dropping `due` ends the users.
                    if let Ok(clock) = clock.await {
                        let felt = Arc::clone(&pacing);
                        tokio::spawn(async move { pulse::feel(clock, &felt).await });
                        pace::pace(prepared, clock, due, &pacing).await;
                    }
                });
                attack(shared).await
            });
            // Nobody waits for it when the run has failed.
            let _ = tell.send(counted);
        })?;
    Ok(told)
}

async fn attack(shared: Arc<Shared>) -> Result<u64, GooseError> {
    // A second load of this process finds it there.
    let _ = log::set_logger(&Silent);
    // Straight to the target, whatever the environment says, and no further than it: a loan that is sent to another place is
    // not answered.
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(shared.asking.request_timeout)
        .user_agent(USER_AGENT)
        .build()
        .map_err(GooseError::Reqwest)?;
    // Each user runs one transaction once, which takes arrivals until there are no more.
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(shared.asking.targets[0].to_string());
    configuration.users = Some(shared.asking.users);
    configuration.increase_rate = Some(USERS_STARTED_PER_SECOND.to_string());
    configuration.iterations = Some(1);
    configuration.no_telnet = true;
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.no_transaction_metrics = true;
    configuration.no_scenario_metrics = true;
    configuration.no_gzip = true;
    configuration.quiet = 3;
    let function: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
        let shared = Arc::clone(&shared);
        user.client = client.clone();
        Box::pin(async move { work(user, &shared).await })
    });
    let metrics = GooseAttack::initialize_with_config(configuration)?
        .set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())?
        .register_scenario(
            GooseScenario::new("loans")
                .register_transaction(Transaction::new(function).set_name("request")),
        )
        .execute()
        .await?;
    Ok(metrics
        .requests
        .values()
        .map(|request| (request.success_count + request.fail_count) as u64)
        .sum())
}

/// One user's whole life: arrivals until there are no more.
async fn work(user: &mut GooseUser, shared: &Shared) -> TransactionResult {
    let targets = &shared.asking.targets;
    user.base_url
        .clone_from(&targets[user.weighted_users_index % targets.len()]);
    warm_up(user, shared).await;
    while let Some(mut due) = shared.arrivals.next().await {
        // By the arrival, not by the user: of many users the same few are free first, and take most of the load.
        if targets.len() > 1 {
            user.base_url
                .clone_from(&targets[due.arrival.number as usize % targets.len()]);
        }
        // Without a clock or after a stop it is not sent, and so counted as unsent.
        if let Some(clock) = shared.clock.get().copied()
            && !shared.stop.load(Ordering::Relaxed)
        {
            if let Some(handed) = due.handed_to_free_user {
                due.generator_lag += clock.now().saturating_sub(handed);
            }
            let now = clock.now();
            shared.begin(Sample {
                number: due.arrival.number,
                phase: due.phase,
                kind: due.arrival.kind,
                intended: due.intended,
                generator_lag: due.generator_lag,
                sent: now,
                last_sent: now,
                done: now,
                answer: Answer::Unknown(Unknown::Dropped),
                resent: 0,
            });
            let sample = send_arrival(user, shared, clock, due).await;
            shared.end(sample);
        }
        shared.ended.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

/// Waits for the last user to start, then asks at the same time as the others, so that each opens a connection.
async fn warm_up(user: &GooseUser, shared: &Shared) {
    let warm = shared.warm.notified();
    let started = 1 + shared.started.fetch_add(1, Ordering::AcqRel);
    if started == shared.asking.users {
        shared.warm.notify_waiters();
    } else {
        warm.await;
    }
    if started <= WARM_CONNECTIONS_MAX
        && let Ok(address) = user.base_url.join(WARM_PATH)
    {
        // Whatever the answer is, and if there is none, the load itself will tell.
        let _ = tokio::time::timeout(WARM_WITHIN, async {
            whole(user.client.get(address).send().await?).await
        })
        .await;
    }
    shared.ready.fetch_add(1, Ordering::AcqRel);
}

/// A body that notes when the connection takes it: its bytes then go to the socket with the head.
struct Stamped {
    bytes: Option<Bytes>,
    length: u64,
    clock: RunClock,
    sent: Sent,
}

/// When the bytes left; nanoseconds after the start of the load, zero while they have not.
#[derive(Clone, Default)]
struct Sent(Arc<AtomicU64>);

impl Sent {
    /// When they left. A request that never reached a connection counts from `handed` to the client.
    fn at(&self, handed: Duration) -> Duration {
        match self.0.load(Ordering::Acquire) {
            0 => handed,
            nanoseconds => Duration::from_nanos(nanoseconds),
        }
    }
}

impl HttpBody for Stamped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.bytes.take();
        if bytes.is_some() {
            let now = self.clock.now().as_nanos() as u64;
            self.sent.0.store(now.max(1), Ordering::Release);
        }
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |_| self.length))
    }
}

async fn send_arrival(user: &mut GooseUser, shared: &Shared, clock: RunClock, due: Due) -> Sample {
    let arrival = due.arrival;
    let body = Bytes::from(arrival.body);
    let mut first_sent = None;
    let mut resent = 0;
    if arrival.kind == Kind::Retry {
        let handed = clock.now();
        let sent = Sent::default();
        // Dropping the future closes the connection; what the service made of the request is not known.
        let loan = (arrival.loan_id.as_str(), body.clone());
        let first = send(user, shared, loan, clock, &sent);
        let first = tokio::time::timeout(due.drop_after, first).await;
        first_sent = Some(sent.at(handed));
        resent += 1;
        if first.is_err() {
            shared.leave(Note::Dropped);
        }
    }
    loop {
        let handed = clock.now();
        let sent = Sent::default();
        let loan = (arrival.loan_id.as_str(), body.clone());
        let (answer, detail) = send(user, shared, loan, clock, &sent).await;
        let done = clock.now();
        let last_sent = sent.at(handed);
        let first_sent = *first_sent.get_or_insert(last_sent);
        if answer.is_unknown() || is_surprising(answer, arrival.outcome, arrival.kind) {
            let label = detail.error_type.as_ref().map_or_else(
                || answer.label(),
                |error_type| format!("{} {error_type}", answer.label()),
            );
            let example = format!(
                "{} ({}), sent at {:.3} s: {}",
                arrival.loan_id,
                arrival.kind,
                last_sent.as_secs_f64(),
                detail.text
            );
            shared.leave(Note::Error { label, example });
        }
        let resends = shared.asking.resends + u32::from(arrival.kind == Kind::Retry);
        if answer.is_unknown() && resent < resends && !shared.stop.load(Ordering::Relaxed) {
            resent += 1;
            tokio::time::sleep(RESEND_PAUSE).await;
            continue;
        }
        return Sample {
            number: arrival.number,
            phase: due.phase,
            kind: arrival.kind,
            intended: due.intended,
            generator_lag: due.generator_lag,
            sent: first_sent,
            last_sent,
            done,
            answer,
            resent,
        };
    }
}

/// Whether a definite answer is not the one that the arrival should get.
fn is_surprising(answer: Answer, outcome: Outcome, kind: Kind) -> bool {
    match outcome {
        Outcome::Refused if kind == Kind::Malformed => answer != Answer::Refused(400),
        // The first of two contents to arrive wins, whichever it is.
        Outcome::Refused => answer != Answer::Refused(422) && !answer.is_acknowledged(),
        _ => !answer.is_acknowledged(),
    }
}

/// What an answer says, as far as it is needed.
#[derive(Debug, Default)]
struct Detail {
    error_type: Option<String>,
    text: String,
}

/// Sends one request for the loan `loan_id` and reads the whole answer.
async fn send(
    user: &mut GooseUser,
    shared: &Shared,
    (loan_id, body): (&str, Bytes),
    clock: RunClock,
    sent: &Sent,
) -> (Answer, Detail) {
    let body = reqwest::Body::wrap(Stamped {
        length: body.len() as u64,
        bytes: Some(body),
        clock,
        sent: sent.clone(),
    });
    let builder = match user.get_request_builder(&GooseMethod::Post, PATH) {
        Ok(builder) => builder
            .header("content-type", "application/json")
            .body(body),
        Err(error) => return (Answer::Unknown(Unknown::Connect), text(error)),
    };
    let request = GooseRequest::builder()
        .method(GooseMethod::Post)
        .path(PATH)
        .name(PATH)
        .set_request_builder(builder)
        .build();
    let response = match user.request(request).await {
        Ok(goose) => {
            shared.requests.fetch_add(1, Ordering::Relaxed);
            goose.response
        }
        Err(error) => return (Answer::Unknown(Unknown::Connect), text(error)),
    };
    let (status, bytes) = match response {
        Ok(response) => (response.status().as_u16(), whole(response).await),
        Err(error) => (0, Err(error)),
    };
    match bytes {
        Ok(Some(bytes)) => read(status, &bytes, loan_id),
        Ok(None) => (
            Answer::Unknown(Unknown::Garbled),
            text(format!(
                "the answer with status {status} is longer than {ANSWER_BYTES_MAX} bytes"
            )),
        ),
        Err(error) => {
            let unknown = if error.is_timeout() {
                Unknown::Timeout
            } else {
                on_the_wire(&error, error.is_connect())
            };
            // The address may hold a password.
            (Answer::Unknown(unknown), chain(&error.without_url()))
        }
    }
}

/// The body of an answer; nothing if it is longer than any answer may be. The rest of it is not read then.
async fn whole(mut response: reqwest::Response) -> reqwest::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// What an answer to the request for `loan_id` says.
fn read(status: u16, bytes: &[u8], loan_id: &str) -> (Answer, Detail) {
    let (answer, error_type) = answer::read(status, bytes, loan_id);
    // Only what is told needs the text.
    let text = if matches!(answer, Answer::Queued | Answer::Replayed) {
        String::new()
    } else {
        shown(&String::from_utf8_lossy(bytes), TEXT_LEN_MAX)
    };
    let error_type = error_type.map(|kind| shown(&kind, ERROR_TYPE_LEN_MAX));
    (answer, Detail { error_type, text })
}

fn text(error: impl std::fmt::Display) -> Detail {
    Detail {
        error_type: None,
        text: error.to_string(),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> Detail {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        words = format!("{words}: {next}");
        cause = next.source();
    }
    text(words)
}
