//! What was seen, as plain data, and the files that keep it.
//!
//! Each arrival is a [`sample`] on the run's [`clock`]; the [`recorder`] counts it in [`latencies`], by second in the
//! [`interval`] log, and in the [`ledger`]. [`followed`] is what the service told meanwhile, [`history`] what the clients
//! of a fault run wrote down, [`stored`] what was found in the stores. [`mod@pause`] says when the generator itself stood still.
//! [`part`] is one generator's share of a run.
//! [`mod@result`] holds the types of the JSON files.

pub mod cause;
pub mod clock;
pub mod folder;
pub mod followed;
pub mod heat;
pub mod history;
pub mod interval;
pub mod kept;
pub mod latencies;
pub mod ledger;
pub mod number;
pub mod part;
pub mod pause;
pub mod rank;
pub mod raw;
pub mod recorder;
pub mod result;
pub mod rounds;
pub mod sample;
pub mod sparse;
pub mod stored;
pub mod struck;
