//! What became of one fault.

use std::collections::BTreeMap;
use std::time::Duration;

use snapshot::Counters;

/// What became of one fault.
#[derive(Clone, Debug)]
pub struct Struck {
    /// What it was, in words.
    pub words: String,
    /// When it was planned.
    pub planned: Duration,
    /// When it struck.
    pub hit: Duration,
    /// When it was over.
    pub over: Duration,
    /// Whether it is seen to have taken effect.
    pub took_effect: bool,
    /// By what that is seen.
    pub evidence: String,
    /// What it must not have led to.
    pub wrong: Option<String>,
    /// Whether clients must have seen it too.
    pub needs_clients: bool,
    /// What Redis's counters lost by it, where a Redis with older data took over.
    pub forgotten: Counters,
    /// Figures for `expect.at_least`, summed over the faults.
    pub figures: BTreeMap<&'static str, u64>,
}
