//! Admission's work on one body: parse in place, check, fingerprint.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BODY: &[u8] = br#"{"loanId":"GC-000001","amount":1169.00,"currency":"DEM","termMonths":6,"purpose":"radio/television","creditScore":712,"applicant":{"name":"Elke Hartmann","email":"elke.hartmann.17@example.org","phone":"+49 30 1234567","annualIncome":42000.00,"ageYears":67}}"#;

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Bytes(BODY.len() as u64));
    group.bench_function("envelope", |bencher| {
        bencher.iter(|| service::parse::envelope(black_box(BODY)));
    });
    group.bench_function("serde_json to a tree, for comparison", |bencher| {
        bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(BODY)));
    });
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
