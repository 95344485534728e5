//! Sluice, the service.
pub mod snapshot;
