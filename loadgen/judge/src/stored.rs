//! Records as the service writes them, for tests.

use plan::payload::Arrival;
use record::stored::StoredLoan;

/// The record of a loan that was stored as it was sent.
pub(crate) fn record_of(arrival: &Arrival) -> StoredLoan {
    let loan = &arrival.loan;
    StoredLoan {
        id: arrival.loan_id.clone(),
        attempt: 1,
        confirmed_us: None,
        amount_minor: Some(loan.amount_minor),
        term_months: Some(i64::from(loan.term_months)),
        credit_score: Some(i64::from(loan.credit_score)),
        currency: Some(loan.currency.to_owned()),
        purpose: Some(loan.purpose.clone()),
        name: Some(loan.name.clone()),
        email: Some(loan.email.clone()),
        phone: loan.phone.clone(),
        annual_income_minor: loan.annual_income_minor,
        age_years: loan.age_years.map(i64::from),
    }
}
