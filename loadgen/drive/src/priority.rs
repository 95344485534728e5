//! Asks the system to run the sending thread as soon as it is due.
//!
//! The generator shares the processor with what it measures. A client on another machine would not wait for the
//! service's threads, so the sending thread goes before them where the system permits that. What it got is told in
//! the report, and how late the requests left is measured in any case.

use std::fmt;

use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// The lowest real-time priority: it goes before all ordinary threads and after every other real-time one.
const REAL_TIME_PRIORITY: u8 = 1;
/// The niceness that is tried where real time is not permitted.
const NICENESS: i32 = -10;

/// How the sending thread is scheduled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Before all ordinary threads.
    RealTime,
    /// With a larger share than others.
    Nice,
    /// Like any other thread.
    #[default]
    Ordinary,
}

impl fmt::Display for Priority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RealTime => write!(formatter, "real time (SCHED_FIFO {REAL_TIME_PRIORITY})"),
            Self::Nice => write!(formatter, "niceness {NICENESS}"),
            Self::Ordinary => formatter.write_str("ordinary"),
        }
    }
}

/// Raises the calling thread as far as the system permits, and asks for exact wake-ups.
pub fn raise() -> Priority {
    // The system may delay a wake-up by 50 us to join it with others; ask for none of that.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_timerslack(1);
    let real_time = ThreadPriorityValue::try_from(REAL_TIME_PRIORITY).is_ok_and(|value| {
        set_thread_priority_and_policy(
            thread_native_id(),
            ThreadPriority::Crossplatform(value),
            ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
        )
        .is_ok()
    });
    if real_time {
        return Priority::RealTime;
    }
    // On Linux a niceness belongs to the thread.
    if rustix::process::setpriority_process(None, NICENESS).is_ok() {
        return Priority::Nice;
    }
    Priority::Ordinary
}
