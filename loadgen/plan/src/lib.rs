//! What will be sent, and what must hold. Pure: nothing here waits, and only `file` reads.
//!
//! A [`scenario`] file has [`phase`]s, a [`mix`] of [`kind`]s, a [`crowd`] and checks on [`metric`]s. It becomes a
//! [`schedule`]: arrival number to intended instant. [`payload`] makes the loan of a number. A [`shard`] is one
//! generator's part of it. [`faults`] are the plans of fault runs. [`schema`] describes both sorts
//! of files to editors.

mod file;

pub mod crowd;
pub mod faults;
pub mod kind;
pub mod metric;
pub mod mix;
pub mod payload;
pub mod phase;
pub mod random;
pub mod scenario;
pub mod schedule;
pub mod schema;
pub mod shard;

pub use file::{ScenarioError, is_of_faults, parse_duration, read_text, text_of, unreadable};
