//! Test only, behind the feature `slowdown`: makes admission slower by a known time.
//!
//! The performance gate is judged by whether it notices. A release build has none of this.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The environment variable that says how much longer each admission takes, in nanoseconds.
const VARIABLE: &str = "SLUICE_SLOWDOWN_NS";

static SLOWDOWN: LazyLock<Duration> = LazyLock::new(|| {
    let nanoseconds = std::env::var(VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
});

/// Keeps the processor busy for the time that is set.
pub(crate) fn spin() {
    if SLOWDOWN.is_zero() {
        return;
    }
    let until = Instant::now() + *SLOWDOWN;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
