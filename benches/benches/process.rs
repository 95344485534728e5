//! A worker's work on one loan: validate, enrich.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use service::enrich::enrich;
use service::validate::validate;

const BODY: &[u8] = br#"{"loanId":"GC-000001","amount":1169.00,"currency":"DEM","termMonths":6,"purpose":"radio/television","creditScore":712,"applicant":{"name":"Elke Hartmann","email":"elke.hartmann.17@example.org","phone":"+49 30 1234567","annualIncome":42000.00,"ageYears":67}}"#;

fn process(criterion: &mut Criterion) {
    criterion.bench_function("validate", |bencher| {
        bencher.iter(|| validate(black_box(BODY)));
    });
    let loan = validate(BODY).expect("the loan is good");
    criterion.bench_function("enrich", |bencher| {
        bencher.iter(|| enrich(black_box(&loan)));
    });
}

criterion_group!(benches, process);
criterion_main!(benches);
