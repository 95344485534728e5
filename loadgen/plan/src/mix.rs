//! What is sent, by kind.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::kind::Kind;

/// Shares of the arrivals by kind, 0 to 1. What is left is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// Loans without a field that must be there.
    pub missing_field: f64,
    /// Loans with a field of the wrong JSON type.
    pub wrong_type: f64,
    /// Loans with a value outside its range.
    pub out_of_range: f64,
    /// Loans with a text that is not of its format.
    pub invalid_format: f64,
    /// Bodies that are not JSON.
    pub malformed: f64,
    /// The same loan again, byte for byte.
    pub duplicate: f64,
    /// The id of an earlier loan with another amount.
    pub conflict: f64,
    /// Requests dropped shortly after the send, then sent again.
    pub retry: f64,
}

impl Mix {
    /// The share of each kind except valid.
    pub const fn shares(&self) -> [(Kind, f64); 8] {
        [
            (Kind::MissingField, self.missing_field),
            (Kind::WrongType, self.wrong_type),
            (Kind::OutOfRange, self.out_of_range),
            (Kind::InvalidFormat, self.invalid_format),
            (Kind::Malformed, self.malformed),
            (Kind::Duplicate, self.duplicate),
            (Kind::Conflict, self.conflict),
            (Kind::Retry, self.retry),
        ]
    }

    /// Whether the shares are shares. If not: of which kind, where it is one alone, and what is wrong.
    pub(crate) fn check(&self) -> Result<(), (Option<Kind>, String)> {
        let mut sum = 0.0;
        for (kind, share) in self.shares() {
            if !(0.0..=1.0).contains(&share) {
                let what = format!("the share of {kind} in [mix] must be 0 to 1, not {share}");
                return Err((Some(kind), what));
            }
            sum += share;
        }
        if sum > 1.0 + 1e-9 {
            let what = format!("the shares in [mix] sum to {sum:.3}, more than 1");
            return Err((None, what));
        }
        Ok(())
    }
}
