//! Sluice, the service: takes loan requests in bursts, loses none, processes each exactly once.
//!
//! The modules stand in the order of one loan's way.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod currency;
pub mod enrich;
pub mod limits;
pub mod loan;
pub mod parse;
pub mod snapshot;
pub mod validate;
