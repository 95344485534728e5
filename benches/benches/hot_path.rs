//! Instructions and allocations of the steps that every loan takes, counted by gungraun under valgrind.
//!
//! Counts, not times: they hardly vary, so `loadgen gate` compares them with narrow bounds. The system's allocator is used,
//! so that every allocation is seen. Run it by itself with `cargo bench -p benches --bench hot_path`.

#![allow(missing_docs, reason = "gungraun makes items of its own")]

use std::hint::black_box;

use gungraun::prelude::*;
use gungraun::{Callgrind, Dhat};
use service::decided::{Documents, Way};
use service::enrich::enrich;
use service::loan::Loan;
use service::parse::{envelope, with_parser};
use service::queue::admission::{Arrival, Known, pack};
use service::queue::bundle::{Bundle, IdHash, Name, QueuedLoan};
use service::queue::results::{Decision, Results};
use service::validate::validate;

const BODY: &[u8] = br#"{"loanId":"GC-000001","amount":1169.00,"currency":"DEM","termMonths":6,"purpose":"radio/television","creditScore":712,"applicant":{"name":"Elke Hartmann","email":"elke.hartmann.17@example.org","phone":"+49 30 1234567","annualIncome":42000.00,"ageYears":67}}"#;
/// A step is done this often: what it does once and for all hardly counts.
const TIMES: usize = 1_000;
/// Loans of a bundle, where a step takes a whole one. It divides [`TIMES`].
const LOANS: usize = 100;
/// A bundle's content begins with its version, when it was queued, and how many loans are in it.
const QUEUED_MS: std::ops::Range<usize> = 1..9;
const COUNT: std::ops::Range<usize> = 9..11;

fn loan() -> Loan {
    validate(BODY).expect("the loan is valid")
}

/// Loans at the door, each with an id of its own.
fn arrivals() -> Vec<(Arrival, Known)> {
    let envelope = envelope(BODY).expect("the loan is valid");
    let arrival = |number: usize| {
        let loan_id = service::loan::LoanId::new(&format!("GC-{number:06}")).expect("an id");
        Arrival {
            hash: IdHash::of(loan_id.as_str()),
            loan_id,
            fingerprint: envelope.fingerprint,
            received_us: 1_700_000_000_000_000,
            attempt: 1,
            trace: None,
            body: bytes::Bytes::from_static(BODY),
        }
    };
    (0..LOANS)
        .map(|number| (arrival(number), Known::Nothing))
        .collect()
}

/// A bundle's content, as Redis holds it.
fn content() -> Vec<u8> {
    let mut content = pack(&arrivals());
    content[QUEUED_MS].copy_from_slice(&1_700_000_000_000_u64.to_be_bytes());
    content[COUNT].copy_from_slice(&(LOANS as u16).to_be_bytes());
    content
}

/// What was decided of a bundle in which every loan was accepted.
fn results() -> Results {
    Results {
        claimed_ms: 1_700_000_000_000,
        processed_ms: 1_700_000_000_001,
        decisions: vec![Decision::Accepted(enrich(&loan())); LOANS],
    }
}

/// A bundle of one loan.
fn bundle() -> Bundle {
    let envelope = envelope(BODY).expect("the loan is valid");
    let loan = QueuedLoan {
        loan_id: envelope.loan_id.as_str().into(),
        fingerprint: envelope.fingerprint,
        received_us: 1_700_000_000_000_000,
        attempt: 1,
        trace: None,
        body: bytes::Bytes::from_static(BODY),
    };
    Bundle::of_one(1_700_000_000_000, loan)
}

#[library_benchmark]
fn parse() {
    for _ in 0..TIMES {
        let _ = black_box(envelope(black_box(BODY)));
    }
}

// A part of `parse`: the content in its one form, and its hash.
#[library_benchmark]
fn fingerprint() {
    with_parser(|parser| {
        parser.parse(BODY, |document, canonical| {
            for _ in 0..TIMES {
                let _ = black_box(black_box(document).fingerprint(canonical));
            }
            Ok(())
        })
    })
    .expect("the loan is valid");
}

// Arrivals become the content of a bundle.
#[library_benchmark]
#[bench::hundred(arrivals())]
fn admission(arrivals: Vec<(Arrival, Known)>) {
    for _ in 0..TIMES / LOANS {
        black_box(pack(black_box(&arrivals)));
    }
}

// The content of a bundle becomes its loans.
#[library_benchmark]
#[bench::hundred(content())]
fn claim(content: Vec<u8>) {
    for _ in 0..TIMES / LOANS {
        let _ = black_box(Bundle::read(Name::random(), black_box(&content).clone()));
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

// What was decided of a bundle goes to Redis and comes back.
#[library_benchmark]
#[bench::hundred(results())]
fn decision(results: Results) {
    for _ in 0..TIMES / LOANS {
        let packed = black_box(&results).pack();
        let _ = black_box(Results::read(black_box(&packed), LOANS));
    }
}

// An accepted loan becomes the document that MongoDB is to hold.
#[library_benchmark]
#[bench::accepted(bundle(), loan())]
fn recording(bundle: Bundle, loan: Loan) {
    let enrichment = enrich(&loan);
    for _ in 0..TIMES {
        let mut documents = Documents::new(black_box(&bundle));
        let way = Way::new(
            &bundle,
            &bundle.loans[0],
            1_700_000_000_000,
            1_700_000_000_001,
        );
        documents.accept(way, black_box(&loan), &enrichment);
        black_box(documents);
    }
}

library_benchmark_group!(
    name = steps;
    benchmarks = parse, fingerprint, admission, claim, validation, enrichment, decision, recording
);

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]))
        .tool(Dhat::default());
    library_benchmark_groups = steps
);
