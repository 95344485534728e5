//! One run over several generators, conducted over HTTP.
//!
//! The conductor gives each generator its shard, compares its clock, tells all of them when to start, adds up what they
//! count, and takes the files that each of them keeps. The files stay the truth: whoever has them can join them, also when
//! the conductor is gone.
//!
//! [`message`] is what the two say to each other, with its bounds. Pure: [`conductor`] decides what becomes of the run,
//! `conducted` what a shard makes
//! of it, [`comparison`] how far two clocks are apart, [`live`] what all shards have counted so far. [`server`] is the conductor
//! on the network, [`link`] a shard's way to it.

mod conducted;

pub mod comparison;
pub mod conductor;
pub mod link;
pub mod live;
pub mod message;
pub mod server;
