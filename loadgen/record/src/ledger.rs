//! What was heard about every arrival, one byte each.

use crate::sample::{Answer, Sample};

/// What was heard about one arrival, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard(u8);

impl Heard {
    /// Never sent.
    pub const UNSENT: Self = Self(0);
    /// Sent or not, answered or not, by a generator whose part did not come.
    pub const LOST: Self = Self(Self::UNKNOWN);
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
