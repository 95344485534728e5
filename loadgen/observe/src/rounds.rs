//! Two builds of the service, measured in turn.

pub mod build;
pub mod client;
pub mod hotpath;
pub mod round;
