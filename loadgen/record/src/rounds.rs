//! Rounds of the gate that were recorded, one a line.

use std::path::{Path, PathBuf};

use crate::result::power::Recorded;

/// The most bytes of a file of rounds.
const BYTES_MAX: u64 = 256 << 20;

/// Recorded rounds could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot read recorded rounds from {}: {what}", path.display())]
pub struct RoundsError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub what: String,
}

/// The rounds in the file at `path`.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<Vec<Recorded>, RoundsError> {
    let cannot = |what: String| RoundsError {
        path: PathBuf::from(path),
        what,
    };
    let text = plan::read_text(path, BYTES_MAX).map_err(&cannot)?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(|error| cannot(error.to_string())))
        .collect()
}
