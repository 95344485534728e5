//! One loan: what was heard, what is stored, what that means. Pure.

use plan::kind::Outcome;
use record::ledger::Heard;

/// What was heard about one content of a loan, over all arrivals that sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// A request left.
    pub sent: bool,
    /// At least one 202.
    pub acknowledged: bool,
    /// At least one request without a definite answer.
    pub unknown: bool,
    /// At least one 422.
    pub conflict: bool,
    /// At least one other refusal.
    pub refused: bool,
    /// At least one 400.
    pub malformed: bool,
}

impl Answers {
    /// Adds what one arrival heard.
    pub const fn add(&mut self, heard: Heard) {
        self.sent |= heard.is_sent();
        self.acknowledged |= heard.is_acknowledged();
        self.unknown |= heard.has_unknown();
        self.conflict |= heard.is_conflict();
        self.refused |= heard.is_refused() && !heard.is_conflict();
        self.malformed |= heard.is_malformed();
    }
}

/// Which content a record holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// As the original was sent.
    #[default]
    Original,
    /// As a conflict was sent.
    Changed,
    /// As nobody sent it.
    Foreign,
}

/// What is stored of one loan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Records in `loans`.
    pub loans: u8,
    /// Records in `failures`.
    pub failures: u8,
    /// Two records of the same attempt.
    pub doubled: bool,
    /// What the record in `loans` holds.
    pub content: Content,
    /// A failure names another category or field than the spoilt one.
    pub wrong_fault: bool,
    /// Still in Redis.
    pub stuck: bool,
    /// It went on after an operator had finished it.
    pub went_on: bool,
}

/// What is stored of one loan, in one byte: of more than three records in `loans` three are kept, of more than one in `failures`
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed(u8);

impl Packed {
    const LOANS_MAX: u8 = 3;

    /// The byte of `found`.
    pub(crate) fn of(found: Found) -> Self {
        let loans = found.loans.min(Self::LOANS_MAX);
        let content = match found.content {
            Content::Original => 0,
            Content::Changed => 1,
            Content::Foreign => 2,
        };
        Self(
            loans
                | u8::from(found.failures > 0) << 2
                | u8::from(found.doubled) << 3
                | content << 4
                | u8::from(found.wrong_fault) << 6
                | u8::from(found.stuck) << 7,
        )
    }

    /// What the byte says.
    pub(crate) fn unpack(self) -> Found {
        Found {
            loans: self.0 & 3,
            failures: (self.0 >> 2) & 1,
            doubled: (self.0 >> 3) & 1 == 1,
            content: match (self.0 >> 4) & 3 {
                0 => Content::Original,
                1 => Content::Changed,
                _ => Content::Foreign,
            },
            wrong_fault: (self.0 >> 6) & 1 == 1,
            stuck: self.0 >> 7 == 1,
            // `Findings` knows it of the few that somebody has finished.
            went_on: false,
        }
    }
}

/// What the answers promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing left.
    Unsent,
    /// Answered 202 at least once.
    Acknowledged,
    /// Definite refusals only.
    Rejected,
    /// No definite answer: stored or not, either is legal.
    Unknown,
}

/// The judgement on one loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the classes of the report")]
pub struct Judgement {
    pub standing: Standing,
    pub lost: bool,
    pub duplicated: bool,
    pub unexpected: bool,
    pub mismatched: bool,
    pub stuck: bool,
}

/// Judges one loan: `outcome` is what should become of the original, `original` and `changed` what was heard about
/// each content, `found` what is stored.
pub const fn classify(
    outcome: Outcome,
    original: Answers,
    changed: Answers,
    found: Found,
) -> Judgement {
    let stored = found.loans > 0 || found.failures > 0;
    let standing = if original.acknowledged || changed.acknowledged {
        Standing::Acknowledged
    } else if original.unknown || changed.unknown {
        Standing::Unknown
    } else if original.sent || changed.sent {
        Standing::Rejected
    } else {
        Standing::Unsent
    };
    let refusable = matches!(outcome, Outcome::Refused);
    // The wrong answer: a refusal of what must be taken, or a promise for what must be refused.
    let wrong_answer = if refusable {
        original.acknowledged || original.conflict || (original.refused && !original.malformed)
    } else {
        original.refused
            || changed.refused
            || (original.acknowledged && changed.acknowledged)
            || (original.conflict && !(changed.acknowledged || changed.unknown))
    };
    // With one content acknowledged, the record must hold that one; with none, one that may have arrived.
    let content_allowed = match found.content {
        Content::Original => original.acknowledged || (!changed.acknowledged && original.unknown),
        Content::Changed => changed.acknowledged || (!original.acknowledged && changed.unknown),
        Content::Foreign => false,
    };
    let wrong_record = match outcome {
        Outcome::Accepted => found.failures > 0 || (found.loans > 0 && !content_allowed),
        Outcome::Failed { .. } => found.loans > 0 || found.wrong_fault,
        Outcome::Refused => false,
    };
    let unexpected =
        stored && (refusable || matches!(standing, Standing::Rejected | Standing::Unsent));
    Judgement {
        standing,
        lost: matches!(standing, Standing::Acknowledged) && !refusable && !stored && !found.stuck,
        duplicated: found.doubled || found.loans > 1,
        unexpected,
        mismatched: wrong_answer || found.went_on || (wrong_record && !unexpected),
        stuck: found.stuck,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_judged_is_in_the_byte() {
        for byte in 0..=u8::MAX {
            let found = Packed(byte).unpack();
            assert_eq!(Packed::of(found).unpack(), found);
        }
        let found = Found {
            loans: 9,
            failures: 7,
            doubled: true,
            content: Content::Changed,
            wrong_fault: true,
            stuck: true,
            went_on: false,
        };
        let kept = Packed::of(found).unpack();
        assert_eq!((kept.loans, kept.failures), (3, 1));
        assert_eq!((kept.doubled, kept.content), (true, Content::Changed));
        assert!(kept.wrong_fault && kept.stuck);
    }
}
