//! What the load generator does, a module for each command.

pub mod capacity;
pub mod chaos;
pub mod gate;
pub mod run;
pub mod self_test;
