//! Sluice, the load generator and judge.
//!
//! One load run reads top to bottom: a [`scenario`] file becomes a [`schedule`]; each arrival's [`payload`] is made
//! and handed over on time by [`pace`]; goose [`users`] send it; every answer is a [`sample`], counted in
//! [`histogram`]s. Meanwhile [`follow`] reads the service's live metrics, and a [`crowd`] may misbehave beside the load. When nothing is left to do, [`audit`] reads
//! the stored records, [`checks`] judge, [`verdict`] decides, and [`report`] tells it. [`run`] ties them together.
//! [`chaos`] does the same while servers, disks and networks fail.

pub mod scenario;

pub mod schedule;

pub mod payload;

pub mod pace;
pub mod priority;
pub mod timer;

pub mod users;

pub mod sample;

pub mod histogram;

mod markers;

pub mod interval;

pub mod follow;

pub mod crowd;

pub mod stores;

pub mod audit;

pub mod checks;

pub mod verdict;

pub mod account;
pub mod flatness;
pub mod progress;
pub mod provenance;

pub mod report;

pub mod run;

pub mod bootstrap;
pub mod capacity;
pub mod chaos;
pub mod compare;
pub mod gate;
pub mod selftest;
pub mod shard;
