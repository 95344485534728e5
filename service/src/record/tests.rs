use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::applicant::Applicant;
use crate::applicant::tests::any_applicant;
use crate::enrich::enrich;
use crate::loan::Fault;

/// A document of `loans` as serde writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoanBySerde<'a> {
    #[serde(rename = "_id")]
    loan_id: &'a str,
    batch: ObjectId,
    fingerprint: String,
    attempt: u32,
    amount_minor: Cents,
    currency: &'a str,
    term_months: u32,
    purpose: &'a str,
    credit_score: u32,
    applicant: &'a Applicant,
    risk_band: &'static str,
    annual_rate_basis_points: u32,
    monthly_instalment_minor: Cents,
    #[serde(skip_serializing_if = "Option::is_none")]
    debt_to_income_basis_points: Option<i64>,
    decision: &'static str,
    received_at: DateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_at: Option<DateTime>,
    processed_at: DateTime,
}

/// A document of `failures` as serde writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureBySerde<'a> {
    #[serde(rename = "_id")]
    id: String,
    batch: ObjectId,
    loan_id: &'a str,
    attempt: u32,
    fingerprint: String,
    error_type: &'static str,
    faults: Vec<FaultBySerde<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applicant_email: Option<&'a str>,
    received_at: DateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_at: Option<DateTime>,
    failed_at: DateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waiting: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FaultBySerde<'a> {
    field: &'a str,
    rule: &'a str,
    error_type: &'static str,
    value: &'a str,
}

const BATCH_ID: ObjectId = ObjectId::from_bytes([7; 12]);

fn instant() -> impl Strategy<Value = DateTime> {
    (0..4_000_000_000_000i64).prop_map(DateTime::from_millis)
}

prop_compose! {
    fn journey(loan_id: &'static str)(
        fingerprint: u128,
        attempt: u32,
        received_at in instant(),
        queued_at in prop::option::of(instant()),
        claimed_at in prop::option::of(instant()),
        processed_at in instant(),
    ) -> Journey<'static> {
        Journey {
            loan_id,
            fingerprint: Fingerprint::new(fingerprint),
            attempt,
            received_at,
            queued_at,
            claimed_at,
            processed_at,
        }
    }
}

prop_compose! {
    fn loan()(
        amount in 1..=1_000_000_000i64,
        term_months in 1..=480u32,
        purpose in ".{1,64}",
        credit_score in 300..=900u32,
        applicant in any_applicant(),
    ) -> Loan {
        Loan {
            amount: Cents(amount),
            currency: *b"DEM",
            term_months,
            purpose,
            credit_score,
            applicant,
        }
    }
}

prop_compose! {
    fn failure()(
        values in prop::collection::vec(".{0,64}", 0..12),
        applicant_email in prop::option::of(".{0,64}"),
    ) -> Failure {
        let faults = values.into_iter().map(|value| Fault {
            field: "applicant.email".into(),
            rule: "an e-mail address".into(),
            category: Category::InvalidFormat,
            value,
        });
        Failure {
            category: Category::InvalidFormat,
            faults: faults.collect(),
            applicant_email,
        }
    }
}

proptest! {
    /// What stands in MongoDB is what serde would have written.
    #[test]
    fn an_accepted_loan_is_written_as_serde_writes_it(journey in journey("GC-000001"), loan in loan()) {
        let enrichment = enrich(&loan);
        let by_serde = bson::serialize_to_vec(&LoanBySerde {
            loan_id: journey.loan_id,
            batch: BATCH_ID,
            fingerprint: journey.fingerprint.to_string(),
            attempt: journey.attempt,
            amount_minor: loan.amount,
            currency: loan.currency(),
            term_months: loan.term_months,
            purpose: &loan.purpose,
            credit_score: loan.credit_score,
            applicant: &loan.applicant,
            risk_band: enrichment.risk_band.name(),
            annual_rate_basis_points: enrichment.risk_band.annual_rate_basis_points(),
            monthly_instalment_minor: enrichment.monthly_instalment,
            debt_to_income_basis_points: enrichment.debt_to_income_basis_points,
            decision: enrichment.decision.name(),
            received_at: journey.received_at,
            queued_at: journey.queued_at,
            claimed_at: journey.claimed_at,
            processed_at: journey.processed_at,
        })
        .unwrap();
        let mut bytes = b"before".to_vec();
        accepted(&mut bytes, &journey, &loan, &enrichment, NO_BATCH);
        set_batch(&mut bytes[6..], BATCH_ID).unwrap();
        prop_assert_eq!(&bytes[6..], &by_serde[..]);

        let read: LoanDocument = bson::deserialize_from_slice(&bytes[6..]).unwrap();
        prop_assert_eq!(read.batch, Some(BATCH_ID));
        prop_assert_eq!(read.applicant.name, loan.applicant.name);
    }

    #[test]
    fn a_failed_attempt_is_written_as_serde_writes_it(
        journey in journey("GC-000002"),
        failure in failure(),
        body in prop::collection::vec(any::<u8>(), 0..4).prop_flat_map(|bytes| prop_oneof![
            Just(bytes),
            ".{0,300}".prop_map(String::into_bytes),
        ]),
    ) {
        let by_serde = bson::serialize_to_vec(&FailureBySerde {
            id: format!("{}#{}", journey.loan_id, journey.attempt),
            batch: BATCH_ID,
            loan_id: journey.loan_id,
            attempt: journey.attempt,
            fingerprint: journey.fingerprint.to_string(),
            error_type: failure.category.name(),
            faults: failure
                .faults
                .iter()
                .map(|fault| FaultBySerde {
                    field: &fault.field,
                    rule: &fault.rule,
                    error_type: fault.category.name(),
                    value: &fault.value,
                })
                .collect(),
            applicant_email: failure.applicant_email.as_deref(),
            received_at: journey.received_at,
            queued_at: journey.queued_at,
            claimed_at: journey.claimed_at,
            failed_at: journey.processed_at,
            body: str::from_utf8(&body).ok(),
            waiting: failure.category != Category::Conflict,
            ended_at: (failure.category == Category::Conflict).then_some(journey.processed_at),
        })
        .unwrap();
        let mut bytes = Vec::new();
        failed(&mut bytes, &journey, &failure, &body, BATCH_ID);
        prop_assert_eq!(&bytes, &by_serde);

        let read: FailureDocument = bson::deserialize_from_slice(&bytes).unwrap();
        let kept: bson::Document = bson::deserialize_from_slice(&bytes).unwrap();
        prop_assert_eq!(kept.get_str("body").ok(), str::from_utf8(&body).ok());
        prop_assert_eq!(read.faults.len(), failure.faults.len());
    }

    /// Only a record takes a batch, and nothing else in it changes.
    #[test]
    fn a_batch_is_put_into_records_alone(journey in journey("GC-000003"), loan in loan(), len in 0..60usize) {
        let mut record = Vec::new();
        accepted(&mut record, &journey, &loan, &enrich(&loan), NO_BATCH);
        let mut with_batch = record.clone();
        set_batch(&mut with_batch, BATCH_ID).unwrap();
        set_batch(&mut with_batch, NO_BATCH).unwrap();
        prop_assert_eq!(&with_batch, &record);

        // The length; type and name of `_id`; its length, text and end; type and name of `batch`; its value.
        let is_whole = len >= 4 + 5 + 4 + 10 + 7 + 12;
        let mut start = record[..len].to_vec();
        prop_assert_eq!(set_batch(&mut start, BATCH_ID).is_ok(), is_whole);
        let mut other = bson::serialize_to_vec(&bson::doc! { "_id": "A", "fingerprint": "", "batch": BATCH_ID }).unwrap();
        let before = other.clone();
        prop_assert_eq!(set_batch(&mut other, NO_BATCH), Err(NotARecord));
        prop_assert_eq!(other, before);
    }
}
