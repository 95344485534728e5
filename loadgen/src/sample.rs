//! One arrival's answer and its instants, and the compact ledger of all of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The one clock of a run: monotonic offsets from the start of the load, and the wall clock at that start.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    start_wall_us: i64,
}

impl RunClock {
    /// A clock whose load starts `ahead` from now.
    pub fn starting_in(ahead: Duration) -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + ahead;
        Self {
            start: Instant::now() + ahead,
            start_wall_us: wall.as_micros() as i64,
        }
    }

    /// A clock whose load started at `start_wall_us`, microseconds since the Unix epoch, as far as this process can
    /// reach back.
    pub fn of_the_past(start_wall_us: i64) -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ago = (wall.as_micros() as i64 - start_wall_us).max(0) as u64;
        let now = Instant::now();
        Self {
            start: now.checked_sub(Duration::from_micros(ago)).unwrap_or(now),
            start_wall_us,
        }
    }

    /// Time since the start of the load; zero before it.
    pub fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    /// How long until `offset`; zero when it has passed.
    pub fn until(&self, offset: Duration) -> Duration {
        (self.start + offset).saturating_duration_since(Instant::now())
    }

    /// The wall clock at `offset`, in microseconds since the Unix epoch.
    pub fn wall_us(&self, offset: Duration) -> i64 {
        self.start_wall_us + offset.as_micros() as i64
    }

    /// The offset of a wall-clock instant in milliseconds since the Unix epoch, in seconds; negative before the start.
    pub fn offset_seconds(&self, at_ms: u64) -> f64 {
        at_ms as f64 / 1e3 - self.start_wall_us as f64 / 1e6
    }
}

/// Why there was no definite answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unknown {
    /// No whole answer within the request timeout.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The connection broke.
    Reset,
    /// The run dropped the request on purpose.
    Dropped,
    /// A status of 500 or above.
    Status(u16),
    /// A 2xx that is not the documented answer.
    Strange(u16),
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
            Self::Unknown(Unknown::Connect) => "connect".to_owned(),
            Self::Unknown(Unknown::Reset) => "reset".to_owned(),
            Self::Unknown(Unknown::Dropped) => "dropped on purpose".to_owned(),
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
    pub kind: crate::payload::Kind,
    /// When it was due.
    pub intended: Duration,
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

/// What was heard about one arrival, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard(u8);

impl Heard {
    /// Never sent.
    pub const UNSENT: Self = Self(0);
    const QUEUED: u8 = 1;
    const REPLAYED: u8 = 2;
    const CONFLICT: u8 = 3;
    const MALFORMED: u8 = 4;
    const REFUSED: u8 = 5;
    const UNKNOWN: u8 = 6;
    /// Set when a request before the last one had no definite answer.
    const RESENT: u8 = 0x80;

    /// The byte for a final answer; `resent` when requests before it had no definite one.
    pub const fn new(answer: Answer, resent: bool) -> Self {
        let code = match answer {
            Answer::Queued => Self::QUEUED,
            Answer::Replayed => Self::REPLAYED,
            Answer::Refused(422) => Self::CONFLICT,
            Answer::Refused(400) => Self::MALFORMED,
            Answer::Refused(_) => Self::REFUSED,
            Answer::Unknown(_) => Self::UNKNOWN,
        };
        Self(if resent { code | Self::RESENT } else { code })
    }

    /// The byte itself.
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// The one that [`Heard::byte`] gave.
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    const fn code(self) -> u8 {
        self.0 & !Self::RESENT
    }

    /// Whether a request left.
    pub const fn is_sent(self) -> bool {
        self.0 != 0
    }

    /// Whether the last answer was a 202.
    pub const fn is_acknowledged(self) -> bool {
        matches!(self.code(), Self::QUEUED | Self::REPLAYED)
    }

    /// Whether the last answer was a 202 for a loan that was known.
    pub const fn is_replayed(self) -> bool {
        self.code() == Self::REPLAYED
    }

    /// Whether the last answer was 422.
    pub const fn is_conflict(self) -> bool {
        self.code() == Self::CONFLICT
    }

    /// Whether the last answer was 400.
    pub const fn is_malformed(self) -> bool {
        self.code() == Self::MALFORMED
    }

    /// Whether the last answer was a definite refusal.
    pub const fn is_refused(self) -> bool {
        matches!(
            self.code(),
            Self::CONFLICT | Self::MALFORMED | Self::REFUSED
        )
    }

    /// Whether the last answer was not definite.
    pub const fn is_unknown(self) -> bool {
        self.code() == Self::UNKNOWN
    }

    /// Whether any of its requests had no definite answer.
    pub const fn has_unknown(self) -> bool {
        self.is_unknown() || self.0 & Self::RESENT != 0
    }

    /// What was heard, in words.
    pub const fn words(self) -> &'static str {
        match self.code() {
            0 => "not sent",
            Self::QUEUED => "answered 202",
            Self::REPLAYED => "answered 202 replayed",
            Self::CONFLICT => "answered 422",
            Self::MALFORMED => "answered 400",
            Self::REFUSED => "refused",
            _ => "without a definite answer",
        }
    }
}

/// What is kept for each arrival: one byte. What it sent and when it was due are computed again.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// What was heard, by arrival number.
    pub heard: Vec<Heard>,
}

impl Ledger {
    /// An empty ledger for `arrivals`.
    pub fn new(arrivals: u32) -> Self {
        Self {
            heard: vec![Heard::UNSENT; arrivals as usize],
        }
    }

    /// Notes one answered arrival.
    pub fn note(&mut self, sample: &Sample) {
        self.heard[sample.number as usize] = Heard::new(sample.answer, sample.resent > 0);
    }
}
