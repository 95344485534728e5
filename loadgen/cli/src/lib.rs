//! Sluice, the load generator and judge: its commands and its screen.
//!
//! What a person asks for is read in [`command_line`]. One load run reads top to bottom in [`commands::run`]: `plan` says what is sent and what must hold, `observe` makes the
//! stack ready and looks on, `drive` sends, `record` keeps what was seen, [`audit`] reads what is stored, `judge` says what
//! it means, and `report` tells it. [`commands::chaos`] does the same while servers, disks and networks fail.

pub mod audit;
pub mod command_line;
pub mod commands;
pub mod progress;

/// The commit that the load generator was built from, with `-dirty` behind it; empty when the build was not told.
pub const COMMIT: &str = match option_env!("SLUICE_GIT_COMMIT") {
    Some(commit) => commit,
    None => "",
};
