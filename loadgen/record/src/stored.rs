//! What is stored of a loan, as far as the audit looks at it.
//!
//! A field that is missing, or of another type than it must be, is `None`.

use plan::payload::{FIELDS, Kept};

/// One record, of either collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An accepted loan.
    Loan(StoredLoan),
    /// A failure.
    Failure(StoredFailure),
}

impl Record {
    /// When MongoDB confirmed the batch that holds it, microseconds since the Unix epoch, where that is known.
    pub const fn confirmed_us(&self) -> Option<i64> {
        match self {
            Self::Loan(loan) => loan.confirmed_us,
            Self::Failure(failure) => failure.confirmed_us,
        }
    }
}

/// A record of an accepted loan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredLoan {
    /// Its id; a second copy may carry something after a `#`.
    pub id: String,
    /// Which attempt, 1 first.
    pub attempt: i64,
    /// When MongoDB confirmed the batch that holds it, microseconds since the Unix epoch, where that is known.
    pub confirmed_us: Option<i64>,
    /// The loan's fields, in the order of [`FIELDS`].
    pub fields: Box<[Option<Kept>; FIELDS.len()]>,
}

/// A record of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredFailure {
    /// Id of the loan, with something after a `#`.
    pub id: String,
    /// Which attempt, 1 first.
    pub attempt: i64,
    /// When MongoDB confirmed the batch that holds it, microseconds since the Unix epoch, where that is known.
    pub confirmed_us: Option<i64>,
    /// The category, empty when there is none.
    pub error_type: String,
    /// What is wrong with the loan.
    pub faults: Vec<StoredFault>,
    /// Whether an operator has finished the loan with this attempt.
    pub discarded: bool,
}

/// One fault of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredFault {
    /// The category.
    pub error_type: Option<String>,
    /// The field that has it.
    pub field: Option<String>,
}
