//! The loan and its parts, each with its invariant.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::applicant::Applicant;

/// A loan's id: 1 to 64 characters of `A-Z a-z 0-9 . _ : -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoanId(Box<str>);

impl LoanId {
    /// The id, if it follows the rule.
    pub fn new(text: &str) -> Option<Self> {
        let good = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte));
        good.then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LoanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Stands for a loan's content, 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub(crate) fn new(digest: u128) -> Self {
        Self(digest.to_be_bytes())
    }

    /// From the 16 bytes that stand in Redis.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// From the hexadecimal digits that stand in MongoDB.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        if digits.len() != 32 || !digits.is_ascii() {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The 16 bytes that stand in Redis.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// In hexadecimal digits, as it stands in MongoDB.
    pub fn hex(&self) -> Hex {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Hex(digits)
    }
}

/// A fingerprint in hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Hex([u8; 32]);

impl Hex {
    /// As text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

/// Money in hundredths of the currency's unit. Never a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cents(pub i64);

/// Hundredths with a point before the last two digits.
pub(crate) fn hundredths(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let number = number.unsigned_abs();
    format!("{sign}{}.{:02}", number / 100, number % 100)
}

/// A loan that has passed every rule. Only [`crate::validate::validate`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loan {
    /// More than 0, at most 10,000,000.00.
    pub amount: Cents,
    /// An ISO 4217 code, in use or historic.
    pub currency: [u8; 3],
    /// 1 to 480.
    pub term_months: u32,
    /// 1 to 64 characters.
    pub purpose: String,
    /// 300 to 900.
    pub credit_score: u32,
    /// Who asks.
    pub applicant: Applicant,
}

impl Loan {
    /// The currency's code.
    pub fn currency(&self) -> &str {
        std::str::from_utf8(&self.currency).expect("currency codes are ASCII")
    }
}

/// Why a loan failed.
// The order is the rank: the first of a loan's faults by rank names it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = ErrorType)]
pub enum Category {
    /// A required field is not there.
    MissingField,
    /// A field is of another JSON type.
    WrongType,
    /// A number breaks its rule.
    OutOfRange,
    /// A text breaks its rule.
    InvalidFormat,
    /// Ended the process that tried it, alone.
    Poison,
    /// MongoDB holds the id already, with other content.
    Conflict,
    /// MongoDB refuses the record for good; a fault names its reason.
    Refused,
    /// Nobody can read what Redis keeps of it.
    Unreadable,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 8] = [
        Self::MissingField,
        Self::WrongType,
        Self::OutOfRange,
        Self::InvalidFormat,
        Self::Poison,
        Self::Conflict,
        Self::Refused,
        Self::Unreadable,
    ];

    /// The category of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|category| category.name() == name)
    }

    /// Its name in the API, in Redis and in MongoDB.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::InvalidFormat => "invalid_format",
            Self::Poison => "poison",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One broken rule of one loan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Which field, such as `applicant.email`.
    pub field: Cow<'static, str>,
    /// The rule, in words.
    pub rule: Cow<'static, str>,
    /// Of what kind.
    pub category: Category,
    /// The value that broke it, shortened; empty where there is none.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_categories_are_those_of_the_snapshot() {
        assert_eq!(
            Category::ALL.map(Category::name),
            snapshot::FAILURE_CATEGORIES
        );
    }

    #[test]
    fn hundredths_are_written_out() {
        for (number, text) in [
            (0, "0.00"),
            (7, "0.07"),
            (148_018, "1480.18"),
            (-150, "-1.50"),
        ] {
            assert_eq!(hundredths(number), text);
        }
    }
}
