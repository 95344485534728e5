//! The parser against serde_json.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| service_fuzz::check::parse(body));
