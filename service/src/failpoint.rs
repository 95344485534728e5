//! Crash points for tests: `failpoint!("name")` ends the process as `kill -9` would, when the
//! environment's `FAILPOINTS` says `name=return`. Compiled to nothing without the `failpoints`
//! feature.

macro_rules! failpoint {
    ($name:literal) => {
        fail::fail_point!($name, |_| std::process::abort())
    };
}
pub(crate) use failpoint;
