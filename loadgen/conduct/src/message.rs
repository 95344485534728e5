//! What a conductor and its shards say to each other: JSON over HTTP, and bounds for all of it.
//!
//! | request | asks | answer |
//! |---|---|---|
//! | `POST /shards` | for a shard: [`Join`] | [`Assignment`] |
//! | `POST /shards/N/beat` | twice a second: what is next? [`Beat`] | [`Answer`] |
//! | `PUT /shards/N/FILE?at=BYTES` | to keep a piece of a file | nothing |
//!
//! Each request names its process in [`INSTANCE_HEADER`], and has the token, where there is one, as a bearer. What is
//! refused is answered with a status of 4xx and a [`Refused`].

use std::time::Duration;

use plan::shard::Shard;
use record::result::run::Provenance;
use record::sparse::Sparse;
use serde::{Deserialize, Serialize};
use snapshot::Snapshot;

use crate::comparison::Comparison;

/// Names the process that asks. No page of a browser can send it unasked.
pub const INSTANCE_HEADER: &str = "sluice-instance";
/// The version of this exchange.
pub const PROTOCOL: u32 = 1;
/// How often a shard asks what is next.
pub const BEAT_EVERY: Duration = Duration::from_millis(500);
/// After this long without a word the other one is lost.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// The most bytes of a request: of a piece of a file too.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// The most bytes of an answer: the scenario and what was known before the load are in it.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The most bytes of one file of a part.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// The most bytes of the files of all parts.
pub const FILES_BYTES_MAX: u64 = 8 << 30;
/// The most seconds that one beat tells of.
pub const SECONDS_MAX: usize = 60;
/// The most characters of a reason in words.
const WHY_LEN_MAX: usize = 500;

/// Asks for a shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Version of the generator.
    pub version: String,
    /// The commit that it was built from; empty when the build was not told.
    pub commit: String,
    /// The number that it wants, if it wants one.
    pub number: Option<u32>,
    /// How many shards it believes that there are, if it does.
    pub count: Option<u32>,
}

/// One shard, and what it sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// Its share.
    pub shard: Shard,
    /// The name of the run.
    pub run_id: String,
    /// The text of the scenario's file.
    pub scenario: String,
    /// Its path on the conductor's machine, to be named in errors.
    pub scenario_path: String,
    /// SHA-256 of the text.
    pub scenario_sha256: String,
    /// The seed, in place of the scenario's.
    pub seed: Option<u64>,
    /// Length of the longest phase, in place of the scenario's.
    pub duration: Option<Duration>,
    /// Where to send: all instances of the service.
    pub urls: Vec<String>,
    /// Only the clients' half is judged.
    pub clients_only: bool,
}

/// How far a shard is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "stage")]
pub enum Stage {
    /// It makes ready.
    Preparing,
    /// It waits for the start.
    Ready,
    /// It sends, or knows when it will.
    Sending,
    /// Everything is sent and answered.
    Sent,
    /// Its files were handed over; their lengths in bytes.
    Delivered {
        /// By name.
        files: Vec<(String, u64)>,
    },
    /// It cannot go on.
    Failed {
        /// Why not.
        why: String,
    },
}

/// What a shard says twice a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beat {
    /// How far it is.
    #[serde(flatten)]
    pub stage: Stage,
    /// Its clock beside the conductor's, as far as it is known.
    pub clock: Option<Comparison>,
    /// The signal that asked it to stop.
    pub stopped: Option<String>,
    /// Why a check can no longer hold.
    pub hopeless: Option<String>,
    /// What it has counted, where that has changed since the last beat that was answered.
    pub figures: Figures,
}

/// What one shard has counted so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Figures {
    /// Phases, each from its start on.
    pub phases: Vec<PhaseFigures>,
    /// Seconds that are over, each once.
    pub seconds: Vec<SecondFigures>,
}

/// One phase from its start on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseFigures {
    /// Its place.
    pub phase: u16,
    /// Arrivals sent.
    pub sent: u64,
    /// Arrivals with a definite answer.
    pub completed: u64,
    /// Arrivals without one.
    pub failed: u64,
    /// Response times of definite answers.
    pub response: Sparse,
    /// Service times of the same.
    pub service: Sparse,
}

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecondFigures {
    /// Which one, after the start.
    pub index: u32,
    /// Arrivals that were due in it.
    pub planned: u64,
    /// Requests that left in it.
    pub sent: u64,
    /// Definite answers in it.
    pub completed: u64,
    /// Arrivals that ended in it without a definite answer.
    pub failed: u64,
}

/// What the conductor answers to a beat.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The conductor's clock, microseconds since the Unix epoch.
    pub now_us: i64,
    /// What to do.
    pub order: Order,
}

/// What a shard has to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "order")]
pub enum Order {
    /// What it does already.
    GoOn,
    /// Start.
    Start(Box<Start>),
    /// Send nothing more, and hand over what was seen.
    End(End),
}

/// When to start, and what was known before.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// By the conductor's clock, microseconds since the Unix epoch.
    pub at_us: i64,
    /// The service before the load.
    pub snapshot_before: Snapshot,
    /// Redis's memory before the load.
    pub redis_memory_start_bytes: Option<u64>,
    /// What is known of the service and of the command line.
    pub provenance: Box<Provenance>,
}

/// Why the load ends before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// In words.
    pub why: String,
    /// Whether somebody asked for it. Otherwise nothing can come of the run any more.
    pub is_stop: bool,
}

/// What a request is refused with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Why, in words.
    pub error: String,
}

/// Words of a peer, cut to what is bearable, without what would spoil a terminal.
pub(crate) fn bounded(words: &str) -> String {
    let mut left = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut bounded: String = left.by_ref().take(WHY_LEN_MAX).collect();
    if left.next().is_some() {
        bounded.push('…');
    }
    bounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_long_is_cut() {
        let whole = "é".repeat(WHY_LEN_MAX);
        assert_eq!(bounded(&whole), whole);
        assert_eq!(bounded(&format!("{whole}é")), format!("{whole}…"));
        // A control character of two bytes becomes a space of one, and nothing was cut.
        assert_eq!(bounded("a\u{85}b"), "a b");
    }
}
