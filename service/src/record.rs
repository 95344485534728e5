//! What is stored of a loan: the documents of MongoDB's collections. Pure.

use std::ffi::CStr;

use bson::oid::ObjectId;
use bson::spec::ElementType;
use bson::{DateTime, RawBsonRef, RawDocument};
use serde::Deserialize;
use thiserror::Error;

use crate::api::FaultView;
use crate::applicant::Applicant;
use crate::enrich::Enrichment;
use crate::loan::{Category, Cents, Fingerprint, Loan};
use crate::validate::Failure;

pub(crate) mod encode;

use encode::{Fields, document};

/// A document of `loans`, as it is read.
#[derive(Debug, Deserialize)]
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
    pub applicant: Applicant,
    pub risk_band: String,
    pub annual_rate_basis_points: u32,
    pub monthly_instalment_minor: Cents,
    pub debt_to_income_basis_points: Option<i64>,
    pub decision: String,
    pub received_at: DateTime,
    pub queued_at: Option<DateTime>,
    pub claimed_at: Option<DateTime>,
    pub processed_at: DateTime,
    pub batch: Option<ObjectId>,
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
    pub error_type: Category,
    pub faults: Vec<FaultView>,
    pub applicant_email: Option<String>,
    pub received_at: DateTime,
    pub queued_at: Option<DateTime>,
    pub claimed_at: Option<DateTime>,
    pub failed_at: DateTime,
    pub batch: Option<ObjectId>,
    #[serde(default)]
    pub waiting: bool,
    pub discarded: Option<DiscardDocument>,
}

impl FailureDocument {
    /// What a document of `failures` says. One that was changed by hand and cannot be read stands as that, with what can
    /// be read of it: nobody else's failures are hidden by it.
    pub(crate) fn read(document: &RawDocument) -> Self {
        bson::deserialize_from_slice(document.as_bytes())
            .unwrap_or_else(|_| Self::unreadable(document))
    }

    fn unreadable(document: &RawDocument) -> Self {
        let text = |key: &str| document.get_str(key).unwrap_or_default().to_owned();
        let instant = |key: &str| {
            let instant = document.get_datetime(key);
            instant.unwrap_or_else(|_| DateTime::from_millis(0))
        };
        Self {
            id: text("_id"),
            loan_id: text("loanId"),
            attempt: number(document, "attempt"),
            error_type: Category::Unreadable,
            faults: vec![FaultView {
                field: "$".to_owned(),
                rule: "this record was changed in MongoDB and cannot be read".to_owned(),
                error_type: Category::Unreadable,
                value: String::new(),
            }],
            applicant_email: None,
            received_at: instant("receivedAt"),
            queued_at: None,
            claimed_at: None,
            failed_at: instant("failedAt"),
            batch: None,
            waiting: document.get_bool("waiting").unwrap_or_default(),
            discarded: None,
        }
    }
}

/// A number that is not negative, however it was written; 0 where there is none.
fn number(document: &RawDocument, key: &str) -> u32 {
    let number = match document.get(key) {
        Ok(Some(RawBsonRef::Int32(number))) => i64::from(number),
        Ok(Some(RawBsonRef::Int64(number))) => number,
        Ok(Some(RawBsonRef::Double(number))) => number as i64,
        _ => 0,
    };
    u32::try_from(number).unwrap_or_default()
}

/// How a failed loan was finished by hand, in a document of `failures`.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DiscardDocument {
    pub by: String,
    pub at: DateTime,
    pub reason: String,
}

/// An attempt's way, up to its result.
#[derive(Clone, Copy, Debug)]
pub struct Journey<'a> {
    /// The loan's id.
    pub loan_id: &'a str,
    /// Its content's fingerprint.
    pub fingerprint: Fingerprint,
    /// 1 the first time, one more after each retry.
    pub attempt: u32,
    /// When its body was whole.
    pub received_at: DateTime,
    /// When Redis put it in the queue, where that is known.
    pub queued_at: Option<DateTime>,
    /// When a worker took it.
    pub claimed_at: Option<DateTime>,
    /// When its result was found.
    pub processed_at: DateTime,
}

/// Appends the record of an accepted loan, a document of `loans`, to `bytes`.
pub fn accepted(
    bytes: &mut Vec<u8>,
    journey: &Journey<'_>,
    loan: &Loan,
    enrichment: &Enrichment,
    batch: ObjectId,
) {
    document(bytes, |record| {
        record.text(c"_id", journey.loan_id);
        record.object_id(BATCH, batch);
        record.text(c"fingerprint", journey.fingerprint.hex().as_str());
        record.integer(c"attempt", journey.attempt);
        record.integer(c"amountMinor", loan.amount.0);
        record.text(c"currency", loan.currency());
        record.integer(c"termMonths", loan.term_months);
        record.text(c"purpose", &loan.purpose);
        record.integer(c"creditScore", loan.credit_score);
        record.document(c"applicant", |applicant| loan.applicant.write(applicant));
        let band = enrichment.risk_band;
        record.text(c"riskBand", band.name());
        record.integer(c"annualRateBasisPoints", band.annual_rate_basis_points());
        record.integer(c"monthlyInstalmentMinor", enrichment.monthly_instalment.0);
        if let Some(basis_points) = enrichment.debt_to_income_basis_points {
            record.integer(c"debtToIncomeBasisPoints", basis_points);
        }
        record.text(c"decision", enrichment.decision.name());
        journey.write(record, c"processedAt");
    });
}

/// Appends the record of a failed attempt, a document of `failures`, to `bytes`. It keeps the body as it came; one that
/// is not UTF-8 (admission lets none in) is left out.
pub fn failed(
    bytes: &mut Vec<u8>,
    journey: &Journey<'_>,
    failure: &Failure,
    body: &[u8],
    batch: ObjectId,
) {
    let mut attempt = itoa::Buffer::new();
    document(bytes, |record| {
        record.texts(
            c"_id",
            &[journey.loan_id, "#", attempt.format(journey.attempt)],
        );
        record.object_id(BATCH, batch);
        record.text(c"loanId", journey.loan_id);
        record.integer(c"attempt", journey.attempt);
        record.text(c"fingerprint", journey.fingerprint.hex().as_str());
        record.text(c"errorType", failure.category.name());
        record.documents(c"faults", &failure.faults, |record, fault| {
            record.text(c"field", &fault.field);
            record.text(c"rule", &fault.rule);
            record.text(c"errorType", fault.category.name());
            record.text(c"value", &fault.value);
        });
        if let Some(email) = &failure.applicant_email {
            record.text(c"applicantEmail", email);
        }
        journey.write(record, c"failedAt");
        if let Ok(body) = str::from_utf8(body) {
            record.text(c"body", body);
        }
        // What MongoDB holds with other content will not pass a second time either.
        if failure.category == Category::Conflict {
            record.instant(ENDED_AT, journey.processed_at);
        } else {
            record.boolean(WAITING, true);
        }
    });
}

impl Journey<'_> {
    /// Its instants, the last of them by the name `processed`.
    fn write(&self, record: &mut Fields<'_>, processed: &CStr) {
        record.instant(c"receivedAt", self.received_at);
        if let Some(at) = self.queued_at {
            record.instant(c"queuedAt", at);
        }
        if let Some(at) = self.claimed_at {
            record.instant(c"claimedAt", at);
        }
        record.instant(processed, self.processed_at);
    }
}

/// The field of a failed attempt that waits: for a retry, a correction or a discard.
pub const WAITING: &CStr = c"waiting";

/// The field of a failed attempt that waits no longer: since when. From then on the time counts that it is kept.
pub const ENDED_AT: &CStr = c"endedAt";

/// The field that tells with which batch a record was written. It stands right behind `_id`, so that it is found without
/// reading the record.
const BATCH: &CStr = c"batch";

/// The batch of a record that is in none yet.
pub const NO_BATCH: ObjectId = ObjectId::from_bytes([0; 12]);

/// Bytes that are no record of [`accepted`] or [`failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("these bytes are not a record")]
pub struct NotARecord;

/// Puts `batch` into one record that [`accepted`] or [`failed`] has written.
///
/// # Errors
/// `NotARecord`; its bytes are as they were.
pub fn set_batch(record: &mut [u8], batch: ObjectId) -> Result<(), NotARecord> {
    *batch_of(record).ok_or(NotARecord)? = batch.bytes();
    Ok(())
}

fn batch_of(record: &mut [u8]) -> Option<&mut [u8; 12]> {
    let (_, rest) = record.split_at_mut_checked(4)?;
    let rest = strip(rest, ElementType::String, c"_id")?;
    let (id_len, rest) = rest.split_first_chunk_mut::<4>()?;
    let id_len = usize::try_from(i32::from_le_bytes(*id_len)).ok()?;
    let (_, rest) = rest.split_at_mut_checked(id_len)?;
    strip(rest, ElementType::ObjectId, BATCH)?.first_chunk_mut()
}

/// What follows a field's type and name, if these are at the start of `bytes`.
fn strip<'a>(bytes: &'a mut [u8], element: ElementType, name: &CStr) -> Option<&'a mut [u8]> {
    let (found, rest) = bytes.split_first_mut()?;
    let name = name.to_bytes_with_nul();
    (*found == element as u8 && rest.starts_with(name)).then(|| &mut rest[name.len()..])
}

/// An instant of [`crate::clock`] in MongoDB's form.
pub fn at(us: u64) -> DateTime {
    DateTime::from_millis((us / 1000) as i64)
}

#[cfg(test)]
mod tests;
