//! One arrival, its answer and its instants.

use std::time::Duration;

use plan::kind::Kind;
use serde::{Deserialize, Serialize};

/// Why there was no definite answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unknown {
    /// No whole answer within the request timeout.
    Timeout,
    /// Nobody listens where the request was sent.
    ConnectionRefused,
    /// No connection could be made, for any other reason.
    Connect,
    /// The connection was reset.
    Reset,
    /// The connection ended before the answer was whole.
    Closed,
    /// What came is not HTTP, or longer than any answer may be.
    Garbled,
    /// The run dropped the request on purpose, or was stopped before the answer.
    Dropped,
    /// A status of 500 or above.
    Status(u16),
    /// A 2xx or a 422 that is not the documented answer, or a 3xx.
    Strange(u16),
}

impl Unknown {
    /// What was met instead of a definite answer, in words that follow a number of times.
    pub fn in_words(self) -> String {
        match self {
            Self::Timeout => "timed out".to_owned(),
            Self::Garbled => "answered with something else than HTTP, or without an end".to_owned(),
            Self::Dropped => "not waited for".to_owned(),
            Self::Status(status) => format!("answered {status}"),
            Self::Strange(status @ 300..=399) => format!("redirected ({status})"),
            Self::Strange(status) => format!("answered {status} without the documented content"),
            Self::ConnectionRefused | Self::Connect | Self::Reset | Self::Closed => {
                Answer::Unknown(self).label()
            }
        }
    }
}

/// The answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// 202 for a new loan.
    Queued,
    /// 202 for a loan that was known.
    Replayed,
    /// A definite refusal with this status.
    Refused(u16),
    /// Nothing definite.
    Unknown(Unknown),
}

impl Answer {
    /// Whether the loan is promised.
    pub const fn is_acknowledged(self) -> bool {
        matches!(self, Self::Queued | Self::Replayed)
    }

    /// Whether the outcome is open.
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// Short text, such as `202 replayed` or `timeout`.
    pub fn label(self) -> String {
        match self {
            Self::Queued => "202".to_owned(),
            Self::Replayed => "202 replayed".to_owned(),
            Self::Refused(status) | Self::Unknown(Unknown::Status(status)) => status.to_string(),
            Self::Unknown(Unknown::Timeout) => "timeout".to_owned(),
            Self::Unknown(Unknown::ConnectionRefused) => "connection refused".to_owned(),
            Self::Unknown(Unknown::Connect) => "no connection".to_owned(),
            Self::Unknown(Unknown::Reset) => "connection reset".to_owned(),
            Self::Unknown(Unknown::Closed) => "connection closed".to_owned(),
            Self::Unknown(Unknown::Garbled) => "garbled".to_owned(),
            Self::Unknown(Unknown::Dropped) => "dropped on purpose".to_owned(),
            Self::Unknown(Unknown::Strange(status @ 300..=399)) => format!("{status} redirect"),
            Self::Unknown(Unknown::Strange(status)) => format!("{status} unreadable"),
        }
    }
}

/// One arrival, sent and answered. Offsets are from the start of the load.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Number of the arrival.
    pub number: u32,
    /// Index of its phase.
    pub phase: u16,
    /// What it is for.
    pub kind: Kind,
    /// When it was due.
    pub intended: Duration,
    /// How late the generator itself was: from the instant it was due until it was handed to a user. The wait for a free user
    /// is not in it.
    pub generator_lag: Duration,
    /// When its first request left.
    pub sent: Duration,
    /// When its last request left.
    pub last_sent: Duration,
    /// When the last byte of the last answer was read, or when the wait ended.
    pub done: Duration,
    /// The last answer.
    pub answer: Answer,
    /// Requests before the last one, each without a definite answer.
    pub resent: u32,
}
