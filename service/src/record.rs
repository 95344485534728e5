//! What is stored of a loan: the documents of MongoDB's collections. Pure.

use bson::DateTime;
use bson::oid::ObjectId;
use serde::{Deserialize, Serialize};

use crate::api::{ErrorType, FaultView};
use crate::enrich::Enrichment;
use crate::loan::{Category, Cents, Loan};
use crate::queue::claim::Claimed;
use crate::validate::Failure;

/// A document of `loans`. Recording adds its `batch`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is the loan's of the same name")]
pub struct LoanDocument {
    #[serde(rename = "_id")]
    pub loan_id: String,
    pub fingerprint: String,
    pub attempt: u32,
    pub amount_minor: Cents,
    pub currency: String,
    pub term_months: u32,
    pub purpose: String,
    pub credit_score: u32,
    pub applicant: ApplicantDocument,
    pub risk_band: String,
    pub annual_rate_basis_points: u32,
    pub monthly_instalment_minor: Cents,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debt_to_income_basis_points: Option<i64>,
    pub decision: String,
    pub received_at: DateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<DateTime>,
    pub processed_at: DateTime,
    #[serde(skip_serializing)]
    pub batch: Option<ObjectId>,
}

/// Who asks, in a document of `loans`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "each field is the applicant's of the same name"
)]
pub struct ApplicantDocument {
    pub name: String,
    pub email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annual_income_minor: Option<Cents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_years: Option<u32>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_at: Option<DateTime>,
    claimed_at: DateTime,
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

/// A document of `failures`, as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is the attempt's of the same name")]
pub struct FailureDocument {
    #[serde(rename = "_id")]
    pub id: String,
    pub loan_id: String,
    pub attempt: u32,
    pub error_type: ErrorType,
    pub faults: Vec<FaultView>,
    pub applicant_email: Option<String>,
    pub received_at: DateTime,
    pub queued_at: Option<DateTime>,
    pub claimed_at: Option<DateTime>,
    pub failed_at: DateTime,
    pub batch: Option<ObjectId>,
}

/// The record of an accepted loan, as BSON.
pub fn accepted(
    claimed: &Claimed,
    loan: Loan,
    enrichment: &Enrichment,
    claimed_at: DateTime,
    processed_at: DateTime,
) -> Vec<u8> {
    let currency = loan.currency().to_owned();
    let record = LoanDocument {
        loan_id: claimed.loan_id.clone(),
        fingerprint: claimed.fingerprint.to_string(),
        attempt: claimed.attempt,
        amount_minor: loan.amount,
        currency,
        term_months: loan.term_months,
        purpose: loan.purpose,
        credit_score: loan.credit_score,
        applicant: ApplicantDocument {
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
        queued_at: claimed.queued_at(),
        claimed_at: Some(claimed_at),
        processed_at,
        batch: None,
    };
    bson::serialize_to_vec(&record).expect("a record of plain fields is valid BSON")
}

/// The record of a failed attempt, as BSON.
pub fn failed(
    claimed: &Claimed,
    failure: &Failure,
    claimed_at: DateTime,
    failed_at: DateTime,
) -> Vec<u8> {
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
        queued_at: claimed.queued_at(),
        claimed_at,
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

/// An instant of [`crate::clock`] in MongoDB's form.
pub fn at(us: u64) -> DateTime {
    DateTime::from_millis((us / 1000) as i64)
}
