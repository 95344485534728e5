//! Says what was seen means. Pure: nothing here reads, writes or waits.
//!
//! [`loan`] judges one loan, [`audit`] all of a run's, [`end_to_end`] how long they took, and [`answers`] what each must have been
//! answered. [`checks`] hold the figures against the scenario's bounds,
//! [`verdict`] decides, [`account`] puts the report together. [`faults`] does the same for a fault run. [`compare`] and
//! [`search`] look at several runs, [`gate`] at two builds; [`power`] says how often the gate is wrong.

pub mod account;
pub mod answers;
pub mod audit;
pub mod bootstrap;
pub mod checks;
pub mod compare;
pub mod crowd;
pub mod end_to_end;
pub mod faults;
pub mod flatness;
pub mod gate;
pub mod loan;
pub mod others;
pub mod power;
pub mod search;
pub mod sending;
#[cfg(test)]
mod stored;
pub mod verdict;
