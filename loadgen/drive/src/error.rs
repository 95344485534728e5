//! Why a load could not be sent.

use record::folder::Unwritable;
use time::OffsetDateTime;

/// Why a load could not be sent. Each is told in one line.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Goose refused to start.
    #[error("goose cannot start: {0}")]
    Goose(String),
    /// The common start of the shards is over.
    #[error("the common start {0} has passed; give all shards a later --start-at")]
    Late(OffsetDateTime),
    /// A stop was asked for before the load began.
    #[error("stopped before the load began")]
    Stopped,
    /// Too few connections can be opened.
    #[error(
        "this process may open {0} files at once, too few for a load: raise the limit with ulimit -n"
    )]
    Files(u64),
    /// Too little memory can be had.
    #[error(
        "this process may use {0} MiB of memory, too little for a load: raise the limit with ulimit -v"
    )]
    Memory(u64),
    /// The latencies cannot be kept.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
}

impl From<goose::GooseError> for DriveError {
    fn from(error: goose::GooseError) -> Self {
        // Goose's own text does not say which setting it refuses.
        Self::Goose(match &error {
            goose::GooseError::InvalidOption {
                option,
                value,
                detail,
            } => format!("{option} = {value}: {detail}"),
            _ => error.to_string(),
        })
    }
}
