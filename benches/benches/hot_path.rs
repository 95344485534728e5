//! Instructions and allocations of the steps that every loan takes, counted by gungraun under valgrind.
//!
//! Counts, not times: they hardly vary, so `loadgen gate` compares them with narrow bounds. The system's allocator is used,
//! so that every allocation is seen. Run it by itself with `cargo bench -p benches --bench hot_path`.

#![allow(missing_docs, reason = "gungraun makes items of its own")]

use std::hint::black_box;

use gungraun::prelude::*;
use gungraun::{Callgrind, Dhat};
use service::enrich::enrich;
use service::loan::Loan;
use service::parse::envelope;
use service::validate::validate;

const BODY: &[u8] = br#"{"loanId":"GC-000001","amount":1169.00,"currency":"DEM","termMonths":6,"purpose":"radio/television","creditScore":712,"applicant":{"name":"Elke Hartmann","email":"elke.hartmann.17@example.org","phone":"+49 30 1234567","annualIncome":42000.00,"ageYears":67}}"#;
/// A step is done this often: what it does once and for all hardly counts.
const TIMES: usize = 1_000;

fn loan() -> Loan {
    validate(BODY).expect("the loan is valid")
}

#[library_benchmark]
fn parse() {
    for _ in 0..TIMES {
        let _ = black_box(envelope(black_box(BODY)));
    }
}

#[library_benchmark]
fn validation() {
    for _ in 0..TIMES {
        let _ = black_box(validate(black_box(BODY)));
    }
}

#[library_benchmark]
#[bench::valid(loan())]
fn enrichment(loan: Loan) {
    for _ in 0..TIMES {
        black_box(enrich(black_box(&loan)));
    }
}

library_benchmark_group!(
    name = steps;
    benchmarks = parse, validation, enrichment
);

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]))
        .tool(Dhat::default());
    library_benchmark_groups = steps
);
