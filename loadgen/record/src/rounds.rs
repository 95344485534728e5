//! Rounds of the gate that were recorded, one a line.

use std::path::{Path, PathBuf};

use crate::result::power::Recorded;

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
    let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(|error| cannot(error.to_string())))
        .collect()
}
