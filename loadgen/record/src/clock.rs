//! The one clock of a run.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often the two clocks are read for the anchor.
const READINGS: u32 = 5;

/// The wall clock at one instant of this process.
static ANCHOR: LazyLock<(Instant, i64)> = LazyLock::new(|| {
    // Where the thread is held up between the two clocks they seem apart: the reading that took least is the truest.
    let readings = (0..READINGS).map(|_| {
        let at = Instant::now();
        let wall_us = wall_us();
        (at.elapsed(), at, wall_us)
    });
    let (_, at, wall_us) = readings
        .min_by_key(|(took, ..)| *took)
        .unwrap_or_else(|| (Duration::ZERO, Instant::now(), wall_us()));
    (at, wall_us)
});

/// The wall clock as the system has it now, microseconds since the Unix epoch.
fn wall_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros() as i64
}

/// How far the clock of the run is ahead of this machine's, microseconds: zero but where a conductor's clock holds.
static RUN_AHEAD_US: AtomicI64 = AtomicI64::new(0);

/// The wall clock of this process's beginning, carried on by the monotonic one: microseconds since the Unix epoch. Who sets
/// the clock meanwhile changes no length that is taken from it. Where another machine's clock holds, it is that one.
pub fn steady_us() -> i64 {
    own_us() + RUN_AHEAD_US.load(Ordering::Relaxed)
}

/// As [`steady_us`], always by this machine's clock.
pub fn own_us() -> i64 {
    let (at, wall_us) = *ANCHOR;
    wall_us + at.elapsed().as_micros() as i64
}

/// From now on a clock holds that is `ahead_us` ahead of this machine's. To be called before anything is measured.
pub fn hold_to(ahead_us: i64) {
    RUN_AHEAD_US.store(ahead_us, Ordering::Relaxed);
}

/// How far the wall clock was set ahead since the process began, microseconds; negative when it was set back.
pub fn set_ahead_us() -> i64 {
    let own_us = own_us();
    wall_us() - own_us
}

/// The one clock of a run: monotonic offsets from the start of the load, and the wall clock at that start.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    start_wall_us: i64,
}

impl RunClock {
    /// A clock whose load starts `ahead` from now.
    pub fn starting_in(ahead: Duration) -> Self {
        let wall_us = steady_us();
        Self {
            start: Instant::now() + ahead,
            start_wall_us: wall_us + ahead.as_micros() as i64,
        }
    }

    /// A clock whose load started at `start_wall_us`, microseconds since the Unix epoch, as far as this process can
    /// reach back.
    pub fn of_the_past(start_wall_us: i64) -> Self {
        let ago = (steady_us() - start_wall_us).max(0) as u64;
        let now = Instant::now();
        Self {
            start: now.checked_sub(Duration::from_micros(ago)).unwrap_or(now),
            start_wall_us,
        }
    }

    /// Time since the start of the load; zero before it.
    pub fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    /// How long until `offset`; zero when it has passed.
    pub fn until(&self, offset: Duration) -> Duration {
        (self.start + offset).saturating_duration_since(Instant::now())
    }

    /// The wall clock at `offset`, in microseconds since the Unix epoch.
    pub fn wall_us(&self, offset: Duration) -> i64 {
        self.start_wall_us + offset.as_micros() as i64
    }

    /// The offset of a wall-clock instant in milliseconds since the Unix epoch, in seconds; negative before the start.
    pub fn offset_seconds(&self, at_ms: u64) -> f64 {
        at_ms as f64 / 1e3 - self.start_wall_us as f64 / 1e6
    }
}
