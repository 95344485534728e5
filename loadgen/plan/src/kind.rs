//! What an arrival is for, and what should become of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an arrival is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A good loan.
    Valid,
    /// A loan without a field that must be there.
    MissingField,
    /// A loan with a field of the wrong JSON type.
    WrongType,
    /// A loan with a value outside its range.
    OutOfRange,
    /// A loan with a text that is not of its format.
    InvalidFormat,
    /// A body that is not JSON.
    Malformed,
    /// An earlier good loan again, byte for byte.
    Duplicate,
    /// The id of an earlier good loan with another amount.
    Conflict,
    /// A good loan whose first request is dropped shortly after the send, then sent again.
    Retry,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Valid,
        Self::MissingField,
        Self::WrongType,
        Self::OutOfRange,
        Self::InvalidFormat,
        Self::Malformed,
        Self::Duplicate,
        Self::Conflict,
        Self::Retry,
    ];

    /// The name in scenario files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::InvalidFormat => "invalid_format",
            Self::Malformed => "malformed",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Retry => "retry",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What should happen, in words.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Valid => "202, then accepted",
            Self::MissingField | Self::WrongType | Self::OutOfRange | Self::InvalidFormat => {
                "202, then failed in this category"
            }
            Self::Malformed => "400, never stored",
            Self::Duplicate => "202 replayed, stored once",
            Self::Conflict => "422, the first one stays",
            Self::Retry => "202 to the second send, stored once",
        }
    }

    /// The answer that it must get, in words; which of several with one id and one content is new, chance decides.
    pub const fn answer(self) -> &'static str {
        match self {
            Self::Malformed => "400",
            Self::Duplicate => "202 replayed",
            Self::Conflict => "422 loan_id_conflict",
            _ => "202",
        }
    }

    /// Whether the arrival brings an id of its own, and not an earlier one's.
    pub const fn owns_its_id(self) -> bool {
        !matches!(self, Self::Duplicate | Self::Conflict)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What the service should make of a loan once it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored in `loans`.
    Accepted,
    /// Stored in `failures`, with a fault of this type in this field.
    Failed {
        /// The category.
        error_type: &'static str,
        /// The field, with a dot for what is inside the applicant.
        field: &'static str,
    },
    /// Refused by the API, never queued.
    Refused,
}
