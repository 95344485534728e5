//! The limit of memory: where it is reached the process ends in the middle, without a word.

use nix::sys::resource::{Resource, getrlimit};

use crate::error::DriveError;

/// A generator of a few hundred users does not come near it.
const LEAST_BYTES: u64 = 512 << 20;

/// Refuses a limit of this process's address space that is too low for a load.
///
/// # Errors
/// When it is.
pub fn is_enough() -> Result<(), DriveError> {
    match getrlimit(Resource::RLIMIT_AS) {
        Ok((soft, _)) if soft < LEAST_BYTES => Err(DriveError::Memory(soft >> 20)),
        _ => Ok(()),
    }
}
