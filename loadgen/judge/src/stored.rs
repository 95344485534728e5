//! Records as the service writes them, for tests.

use plan::payload::{Arrival, FIELDS, Kept};
use record::stored::StoredLoan;

/// The record of a loan that was stored as it was sent.
pub(crate) fn record_of(arrival: &Arrival) -> StoredLoan {
    let loan = &arrival.loan;
    StoredLoan {
        id: arrival.loan_id.clone(),
        attempt: 1,
        confirmed_us: None,
        fields: Box::new(FIELDS.map(|field| (field.of)(loan))),
    }
}

/// Gives the record another value of the field that a request calls `sent`.
pub(crate) fn alter(record: &mut StoredLoan, sent: &str, number: i64) {
    let field = FIELDS.iter().position(|field| field.sent == sent);
    record.fields[field.expect("a field of a loan")] = Some(Kept::Whole(number));
}
