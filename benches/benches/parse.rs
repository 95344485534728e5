//! Admission's work on one body: parse in place, check, fingerprint.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use serde_json::Number;
use service::validate::validate;

const BODY: &[u8] = br#"{"loanId":"GC-000001","amount":1169.00,"currency":"DEM","termMonths":6,"purpose":"radio/television","creditScore":712,"applicant":{"name":"Elke Hartmann","email":"elke.hartmann.17@example.org","phone":"+49 30 1234567","annualIncome":42000.00,"ageYears":67}}"#;

/// The fields that validation reads, without its rules; amounts become floats.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "what is measured is filling them")]
struct Application {
    loan_id: String,
    amount: Number,
    currency: String,
    term_months: u32,
    purpose: String,
    credit_score: u32,
    applicant: Applicant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "what is measured is filling them")]
struct Applicant {
    name: String,
    email: String,
    phone: Option<String>,
    annual_income: Option<Number>,
    age_years: Option<u32>,
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Bytes(BODY.len() as u64));
    group.bench_function("envelope", |bencher| {
        bencher.iter(|| service::parse::envelope(black_box(BODY)));
    });
    group.bench_function("validate", |bencher| {
        bencher.iter(|| validate(black_box(BODY)));
    });
    group.bench_function("serde_json into a struct, for comparison", |bencher| {
        bencher.iter(|| serde_json::from_slice::<Application>(black_box(BODY)));
    });
    group.bench_function("serde_json to a tree, for comparison", |bencher| {
        bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(BODY)));
    });
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
