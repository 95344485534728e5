//! What the clients did and heard, written outside the service as it happens: one JSON object a line.
//!
//! A line `invoke` stands before the request leaves. `ok` is a 202, `fail` any 4xx. Everything else (time-out, reset,
//! no connection, 5xx) is `info`: nobody knows, now or later, and either outcome is legal. A request without a second
//! line is the same.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::RunClock;
use crate::sample::{Answer, Unknown};

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A request is about to leave.
    Invoke,
    /// It was answered 202.
    Ok,
    /// It was refused for good.
    Fail,
    /// Nobody knows.
    Info,
    /// A fault strikes.
    Strike,
    /// A fault is over.
    Over,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Microseconds after the start of the load.
    pub t_us: u64,
    /// What.
    pub event: Event,
    /// The client: one at a time uses a connection.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub client: u64,
    /// The request. Its two lines share the number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub request: u64,
    /// The arrival of the schedule that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<u32>,
    /// The loan.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub loan_id: String,
    /// Fingerprint of the body: the history's own, not the service's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fp: String,
    /// The status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether a 202 said that the loan was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<bool>,
    /// Why nobody knows, or what strikes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Line {
    fn bare(t_us: u64, event: Event) -> Self {
        Self {
            t_us,
            event,
            client: 0,
            request: 0,
            arrival: None,
            loan_id: String::new(),
            fp: String::new(),
            status: None,
            replayed: None,
            why: String::new(),
        }
    }
}

/// Writes the history of one run.
pub struct History {
    clock: RunClock,
    file: Mutex<BufWriter<File>>,
}

impl History {
    /// A new file at `path`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, clock: RunClock) -> io::Result<Self> {
        Ok(Self {
            clock,
            file: Mutex::new(BufWriter::new(File::create(path)?)),
        })
    }

    /// A request is about to leave.
    pub fn invoke(&self, client: u64, request: u64, arrival: u32, loan_id: &str, body: &[u8]) {
        self.write(&Line {
            client,
            request,
            arrival: Some(arrival),
            loan_id: loan_id.to_owned(),
            fp: format!("{:016x}", fingerprint(body)),
            ..Line::bare(self.now_us(), Event::Invoke)
        });
    }

    /// A request has its answer. `why` is the service's `errorType`, where it told one.
    pub fn answer(&self, client: u64, request: u64, answer: Answer, why: Option<&str>) {
        let (event, status, replayed) = match answer {
            Answer::Queued => (Event::Ok, Some(202), Some(false)),
            Answer::Replayed => (Event::Ok, Some(202), Some(true)),
            Answer::Refused(status) => (Event::Fail, Some(status), None),
            Answer::Unknown(Unknown::Status(status) | Unknown::Strange(status)) => {
                (Event::Info, Some(status), None)
            }
            Answer::Unknown(_) => (Event::Info, None, None),
        };
        let why = why.map_or_else(
            || {
                if event == Event::Info {
                    answer.label()
                } else {
                    String::new()
                }
            },
            str::to_owned,
        );
        self.write(&Line {
            client,
            request,
            status,
            replayed,
            why,
            ..Line::bare(self.now_us(), event)
        });
    }

    /// A fault strikes or is over.
    pub fn fault(&self, event: Event, words: &str) {
        self.write(&Line {
            why: words.to_owned(),
            ..Line::bare(self.now_us(), event)
        });
    }

    /// Everything so far is in the file.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn flush(&self) -> io::Result<()> {
        self.lock().flush()
    }

    fn now_us(&self) -> u64 {
        self.clock.now().as_micros() as u64
    }

    fn write(&self, line: &Line) {
        let mut text = serde_json::to_vec(line).expect("a line of plain fields is valid JSON");
        text.push(b'\n');
        // A history that cannot be written shows at the flush.
        let _ = self.lock().write_all(&text);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BufWriter<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a history back.
///
/// # Errors
/// When the file cannot be read or a line is not one.
pub fn read(path: &Path) -> io::Result<Vec<Line>> {
    BufReader::new(File::open(path)?)
        .lines()
        .map(|line| serde_json::from_str(&line?).map_err(io::Error::other))
        .collect()
}

/// FNV-1a. Enough to tell two bodies apart in a history.
fn fingerprint(body: &[u8]) -> u64 {
    body.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// One request as the history tells it: its two lines together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The arrival that it belongs to.
    pub arrival: u32,
    /// When it left.
    pub sent: Duration,
    /// When it was answered, if it was.
    pub done: Option<Duration>,
    /// The answer; `Info` when there is none.
    pub event: Event,
    /// The status, where there was one.
    pub status: Option<u16>,
    /// Whether a 202 said that the loan was known.
    pub replayed: bool,
    /// Why nobody knows.
    pub why: String,
}

/// The requests of a history, in the order in which they left.
pub fn requests(lines: &[Line]) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for line in lines {
        let at = Duration::from_micros(line.t_us);
        match line.event {
            Event::Invoke => {
                places.insert(line.request, requests.len());
                requests.push(Request {
                    arrival: line.arrival.unwrap_or_default(),
                    sent: at,
                    done: None,
                    event: Event::Info,
                    status: None,
                    replayed: false,
                    why: "no answer".to_owned(),
                });
            }
            Event::Ok | Event::Fail | Event::Info => {
                if let Some(&place) = places.get(&line.request) {
                    let request = &mut requests[place];
                    request.done = Some(at);
                    request.event = line.event;
                    request.status = line.status;
                    request.replayed = line.replayed.unwrap_or(false);
                    request.why.clone_from(&line.why);
                }
            }
            Event::Strike | Event::Over => {}
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_back_as_requests() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history.jsonl");
        let history =
            History::create(&path, RunClock::starting_in(Duration::ZERO)).expect("a file");
        history.invoke(1, 1, 7, "a-7", b"{}");
        history.invoke(2, 2, 8, "a-8", b"{}");
        history.fault(Event::Strike, "kill -9 Redis");
        history.answer(
            1,
            1,
            Answer::Unknown(Unknown::Status(503)),
            Some("queue_unavailable"),
        );
        history.invoke(1, 3, 7, "a-7", b"{}");
        history.answer(1, 3, Answer::Replayed, None);
        history.flush().expect("written");
        let lines = read(&path).expect("it is whole");
        assert_eq!(lines.len(), 6);
        let told: Vec<_> = requests(&lines)
            .into_iter()
            .map(|request| {
                (
                    request.arrival,
                    request.event,
                    request.status,
                    request.replayed,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (7, Event::Info, Some(503), false),
                (8, Event::Info, None, false),
                (7, Event::Ok, Some(202), true),
            ]
        );
    }
}
