//! The types of the JSON files.

pub mod capacity;
pub mod chaos;
pub mod comparison;
pub mod gate;
pub mod hotpath;
pub mod power;
pub mod run;
pub mod self_test;

pub use schema::{chaos_schema, run_schema};

mod schema;
