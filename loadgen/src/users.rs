//! Goose users: each takes an arrival that is due, sends it, reads the whole answer and notes the instants.
//!
//! Goose brings the users, the client and its own request counts. The schedule, the instants and the histograms are
//! ours, because goose's response time ends at the headers and counts whole milliseconds.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{
    GooseMethod, GooseRequest, GooseUser, Scenario as GooseScenario, Transaction,
    TransactionFunction, TransactionResult,
};
use goose::{GooseAttack, GooseError};
use serde::Deserialize;

use crate::histogram::Recorder;
use crate::pace::Due;
use crate::payload::{Kind, Outcome};
use crate::sample::{Answer, RunClock, Sample, Unknown};

/// Where loans are sent.
const PATH: &str = "/api/loans/request";
/// Pause before a request with an unknown outcome is sent again.
const RESEND_PAUSE: Duration = Duration::from_millis(100);
/// How fast goose starts its users, before the load begins.
const USERS_STARTED_PER_SECOND: usize = 1000;

/// How requests are made.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// After this long without an answer the outcome is unknown.
    pub request_timeout: Duration,
    /// How often a request with an unknown outcome is sent again.
    pub resends: u32,
}

/// What the users, the pacing thread and the display share.
#[derive(Debug)]
pub struct Shared {
    /// The clock, set when all users are ready.
    pub clock: OnceLock<RunClock>,
    /// Users that wait for arrivals.
    pub ready: AtomicUsize,
    /// Requests in flight.
    pub in_flight: AtomicUsize,
    /// Requests that goose has seen to their end.
    pub requests: AtomicU64,
    /// Set to stop the load.
    pub stop: Arc<AtomicBool>,
    asking: Asking,
    arrivals: flume::Receiver<Due>,
    recorder: Mutex<Recorder>,
}

impl Shared {
    /// Users that take from `arrivals` and count in `recorder`.
    pub fn new(
        asking: Asking,
        arrivals: flume::Receiver<Due>,
        recorder: Recorder,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            clock: OnceLock::new(),
            ready: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            stop,
            asking,
            arrivals,
            recorder: Mutex::new(recorder),
        }
    }

    /// Arrivals that are due and wait for a user.
    pub fn waiting(&self) -> usize {
        self.arrivals.len()
    }

    /// The counts so far. Hold it briefly: every answer waits for it.
    pub fn recorder(&self) -> MutexGuard<'_, Recorder> {
        // A panic while counting leaves counts that are at most one sample short.
        self.recorder
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Runs `users` goose users against `url` until the arrivals end. Returns goose's own count of requests.
///
/// # Errors
/// When goose refuses its settings or cannot start.
pub async fn attack(url: &str, users: usize, shared: Arc<Shared>) -> Result<u64, GooseError> {
    // Each user runs one transaction once, which takes arrivals until there are no more.
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(url.to_owned());
    configuration.users = Some(users);
    configuration.increase_rate = Some(USERS_STARTED_PER_SECOND.to_string());
    configuration.iterations = Some(1);
    configuration.no_telnet = true;
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.no_transaction_metrics = true;
    configuration.no_scenario_metrics = true;
    configuration.no_gzip = true;
    configuration.quiet = 3;
    let timeout = shared.asking.request_timeout;
    let function: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
        let shared = Arc::clone(&shared);
        Box::pin(async move { work(user, &shared).await })
    });
    let metrics = GooseAttack::initialize_with_config(configuration)?
        .set_client_builder_without_cookies(
            GooseClientBuilder::new()
                .without_cookies()
                .timeout(timeout)
                .user_agent(concat!("sluice-loadgen/", env!("CARGO_PKG_VERSION"))),
        )?
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
    shared.ready.fetch_add(1, Ordering::Relaxed);
    while let Ok(due) = shared.arrivals.recv_async().await {
        let Some(clock) = shared.clock.get().copied() else {
            break;
        };
        if shared.stop.load(Ordering::Relaxed) {
            // Not sent, and so counted as unsent.
            continue;
        }
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        let sample = send_arrival(user, shared, clock, due).await;
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        shared.recorder().note(&sample);
    }
    Ok(())
}

async fn send_arrival(user: &mut GooseUser, shared: &Shared, clock: RunClock, due: Due) -> Sample {
    let arrival = due.arrival;
    let body = Bytes::from(arrival.body);
    let sent = clock.now();
    let mut resent = 0;
    if arrival.kind == Kind::Retry {
        let drop_after = due.drop_after;
        // Dropping the future closes the connection; what the service made of the request is not known.
        let first = tokio::time::timeout(drop_after, send(user, shared, body.clone())).await;
        resent += 1;
        if first.is_err() {
            shared.recorder().dropped += 1;
        }
    }
    loop {
        let last_sent = if resent == 0 { sent } else { clock.now() };
        let (answer, detail) = send(user, shared, body.clone()).await;
        let done = clock.now();
        if answer.is_unknown() || is_surprising(answer, arrival.outcome, arrival.kind) {
            let label = detail.error_type.as_ref().map_or_else(
                || answer.label(),
                |error_type| format!("{} {error_type}", answer.label()),
            );
            shared.recorder().error(label, || {
                format!(
                    "{} ({}), sent at {:.3} s: {}",
                    arrival.loan_id,
                    arrival.kind,
                    last_sent.as_secs_f64(),
                    detail.text
                )
            });
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
            sent,
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    replayed: Option<bool>,
    error_type: Option<String>,
}

/// Sends one request and reads the whole answer.
async fn send(user: &mut GooseUser, shared: &Shared, body: Bytes) -> (Answer, Detail) {
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
        Ok(response) => (response.status().as_u16(), response.bytes().await),
        Err(error) => (0, Err(error)),
    };
    match bytes {
        Ok(bytes) => read(status, &bytes),
        Err(error) => {
            let unknown = if error.is_timeout() {
                Unknown::Timeout
            } else if error.is_connect() {
                Unknown::Connect
            } else {
                Unknown::Reset
            };
            (Answer::Unknown(unknown), chain(&error))
        }
    }
}

fn read(status: u16, bytes: &[u8]) -> (Answer, Detail) {
    let body = serde_json::from_slice::<Body>(bytes).ok();
    let answer = match (status, body.as_ref().and_then(|body| body.replayed)) {
        (202, Some(false)) => Answer::Queued,
        (202, Some(true)) => Answer::Replayed,
        (400..=499, _) => Answer::Refused(status),
        (500.., _) => Answer::Unknown(Unknown::Status(status)),
        _ => Answer::Unknown(Unknown::Strange(status)),
    };
    // Only what is told needs the text.
    let text = if matches!(answer, Answer::Queued | Answer::Replayed) {
        String::new()
    } else {
        String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
    };
    let error_type = body.and_then(|body| body.error_type);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        for (status, body, expected) in [
            (
                202,
                r#"{"loanId":"a","status":"queued","replayed":false}"#,
                Answer::Queued,
            ),
            (202, r#"{"replayed":true}"#, Answer::Replayed),
            (202, "nonsense", Answer::Unknown(Unknown::Strange(202))),
            (200, "{}", Answer::Unknown(Unknown::Strange(200))),
            (
                422,
                r#"{"errorType":"loan_id_conflict"}"#,
                Answer::Refused(422),
            ),
            (503, "", Answer::Unknown(Unknown::Status(503))),
        ] {
            assert_eq!(read(status, body.as_bytes()).0, expected, "{status} {body}");
        }
    }
}
