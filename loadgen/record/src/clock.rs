//! The one clock of a run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The one clock of a run: monotonic offsets from the start of the load, and the wall clock at that start.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    start_wall_us: i64,
}

impl RunClock {
    /// A clock whose load starts `ahead` from now.
    pub fn starting_in(ahead: Duration) -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + ahead;
        Self {
            start: Instant::now() + ahead,
            start_wall_us: wall.as_micros() as i64,
        }
    }

    /// A clock whose load started at `start_wall_us`, microseconds since the Unix epoch, as far as this process can
    /// reach back.
    pub fn of_the_past(start_wall_us: i64) -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ago = (wall.as_micros() as i64 - start_wall_us).max(0) as u64;
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
