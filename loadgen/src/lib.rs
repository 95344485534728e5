//! Sluice, the load generator and judge.

pub mod report;
