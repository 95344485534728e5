//! Sluice, the load generator and judge.
