//! One step of the hot path, a given number of times, for the gate to count under valgrind.
//!
//! `hotpath parse|validate|enrich COUNT`. It uses the system's allocator, so that valgrind sees every allocation.

use std::hint::black_box;
use std::process::ExitCode;

use service::enrich::enrich;
use service::parse::envelope;
use service::validate::validate;

const BODY: &[u8] = br#"{"loanId":"GC-000001","amount":1169.00,"currency":"DEM","termMonths":6,"purpose":"radio/television","creditScore":712,"applicant":{"name":"Elke Hartmann","email":"elke.hartmann.17@example.org","phone":"+49 30 1234567","annualIncome":42000.00,"ageYears":67}}"#;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let step = arguments.next().unwrap_or_default();
    let Some(count) = arguments.next().and_then(|count| count.parse::<u64>().ok()) else {
        return ExitCode::from(2);
    };
    match step.as_str() {
        "parse" => {
            for _ in 0..count {
                let _ = black_box(envelope(black_box(BODY)));
            }
        }
        "validate" => {
            for _ in 0..count {
                let _ = black_box(validate(black_box(BODY)));
            }
        }
        "enrich" => {
            let Ok(loan) = validate(BODY) else {
                return ExitCode::from(2);
            };
            for _ in 0..count {
                black_box(enrich(black_box(&loan)));
            }
        }
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}
