//! Looks at the service and its stores from outside.
//!
//! [`stack`] starts a private one. [`stores`] alone knows how Redis and MongoDB hold loans, and [`masters`]
//! where in a Redis Cluster they are. [`follow`] reads the service's live figures, [`markers`] tells it where the run is,
//! [`otlp`] pushes its figures to a collector, [`drain`] waits until nothing is left. [`proof`] shows that service and stores
//! belong together. [`provenance`]
//! says what was measured, on what. The [`field`] is a stack under faults; [`rounds`] measure builds; a [`stub`] stands in
//! for the service where its truth must be known.

pub mod drain;
pub mod field;
pub mod follow;
pub mod markers;
pub mod masters;
pub mod otlp;
pub mod proof;
pub mod provenance;
pub mod rounds;
pub mod stack;
pub mod stores;
pub mod stub;
