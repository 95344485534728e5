//! The limit of open files: each connection is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::DriveError;

/// Files that are open beside the connections of the load: the stores, logs, the report.
pub(crate) const BESIDE: u64 = 64;

/// With fewer no load is sent, and nothing else here gets far.
const LEAST: u64 = 2 * BESIDE;

/// Refuses a limit that is too low for anything, after it was raised as far as the system permits.
///
/// # Errors
/// When it is.
pub fn are_enough() -> Result<(), DriveError> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    if limit < LEAST {
        allow_for_load()?;
    }
    Ok(())
}

/// Raises the limit as far as the system permits, and tells it if it is enough for a load.
pub(crate) fn allow_for_load() -> Result<u64, DriveError> {
    match allow() {
        files if files < LEAST => Err(DriveError::Files(files)),
        files => Ok(files),
    }
}

/// Raises the limit as far as the system permits, and tells it.
pub fn allow() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return u64::MAX;
    };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return hard;
    }
    soft
}
