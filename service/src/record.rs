//! What is stored of a loan: the documents of MongoDB's collections. Pure.

use bson::DateTime;
use serde::{Deserialize, Serialize};

use crate::enrich::Enrichment;
use crate::loan::{Category, Cents, Loan};
use crate::queue::claim::Claimed;
use crate::validate::Failure;

/// A document of `loans`, without its `batch`, which recording adds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoanRecord {
    #[serde(rename = "_id")]
    loan_id: String,
    fingerprint: String,
    attempt: u32,
    amount_minor: Cents,
    currency: String,
    term_months: u32,
    purpose: String,
    credit_score: u32,
    applicant: ApplicantRecord,
    risk_band: String,
    annual_rate_basis_points: u32,
    monthly_instalment_minor: Cents,
    #[serde(skip_serializing_if = "Option::is_none")]
    debt_to_income_basis_points: Option<i64>,
    decision: String,
    received_at: DateTime,
    processed_at: DateTime,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApplicantRecord {
    name: String,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annual_income_minor: Option<Cents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_years: Option<u32>,
}

/// A document of `failures`, without its `batch`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureRecord<'a> {
    #[serde(rename = "_id")]
    id: String,
    loan_id: &'a str,
    attempt: u32,
    fingerprint: String,
    error_type: &'static str,
    faults: Vec<FaultRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applicant_email: Option<&'a str>,
    received_at: DateTime,
    failed_at: DateTime,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FaultRecord<'a> {
    field: &'static str,
    rule: &'static str,
    error_type: &'static str,
    value: &'a str,
}

/// The record of an accepted loan, as BSON.
pub fn accepted(
    claimed: &Claimed,
    loan: Loan,
    enrichment: &Enrichment,
    processed_at: DateTime,
) -> Vec<u8> {
    let currency = loan.currency().to_owned();
    let record = LoanRecord {
        loan_id: claimed.loan_id.clone(),
        fingerprint: claimed.fingerprint.to_string(),
        attempt: claimed.attempt,
        amount_minor: loan.amount,
        currency,
        term_months: loan.term_months,
        purpose: loan.purpose,
        credit_score: loan.credit_score,
        applicant: ApplicantRecord {
            name: loan.applicant.name,
            email: loan.applicant.email,
            phone: loan.applicant.phone,
            annual_income_minor: loan.applicant.annual_income,
            age_years: loan.applicant.age_years,
        },
        risk_band: enrichment.risk_band.name().to_owned(),
        annual_rate_basis_points: enrichment.risk_band.annual_rate_basis_points(),
        monthly_instalment_minor: enrichment.monthly_instalment,
        debt_to_income_basis_points: enrichment.debt_to_income_basis_points,
        decision: enrichment.decision.name().to_owned(),
        received_at: at(claimed.received_us),
        processed_at,
    };
    bson::serialize_to_vec(&record).expect("a record of plain fields is valid BSON")
}

/// The record of a failed attempt, as BSON.
pub fn failed(claimed: &Claimed, failure: &Failure, failed_at: DateTime) -> Vec<u8> {
    let record = FailureRecord {
        id: format!("{}#{}", claimed.loan_id, claimed.attempt),
        loan_id: &claimed.loan_id,
        attempt: claimed.attempt,
        fingerprint: claimed.fingerprint.to_string(),
        error_type: failure.category.name(),
        faults: failure
            .faults
            .iter()
            .map(|fault| FaultRecord {
                field: fault.field,
                rule: fault.rule,
                error_type: fault.category.name(),
                value: &fault.value,
            })
            .collect(),
        applicant_email: failure.applicant_email.as_deref(),
        received_at: at(claimed.received_us),
        failed_at,
    };
    bson::serialize_to_vec(&record).expect("a record of plain fields is valid BSON")
}

/// The failure of a loan that was delivered too often without a result.
pub fn poison(claimed: &Claimed) -> Failure {
    Failure {
        category: Category::Poison,
        faults: vec![crate::loan::Fault {
            field: "$",
            rule: "processed within 5 deliveries",
            category: Category::Poison,
            value: claimed.deliveries.to_string(),
        }],
        applicant_email: None,
    }
}

fn at(us: u64) -> DateTime {
    DateTime::from_millis((us / 1000) as i64)
}
