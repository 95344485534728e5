//! The limit of open files: each connection is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that are open beside the connections of the load: the stores, logs, the report.
pub(crate) const BESIDE: u64 = 64;

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
