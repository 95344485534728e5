//! Sleeps to the microsecond inside the runtime that sends.
//!
//! An async timer ticks in whole milliseconds, more than the latency that is measured. A timer file descriptor wakes
//! the event loop itself, so that there is one wake-up from the instant to the send and no hand-over between threads.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

/// A timer of the system, registered with the current runtime.
#[derive(Debug)]
pub struct Timer(AsyncFd<Descriptor>);

/// nix lends the descriptor; tokio wants its number.
#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// A timer of the current runtime.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        // The other constructor takes an unsafe promise, which this type keeps: it owns its descriptor.
        #[expect(deprecated, reason = "this crate has no unsafe code")]
        let registered = AsyncFd::new(Descriptor(timer))?;
        Ok(Self(registered))
    }

    /// Sleeps for about `length`: it may wake early, so the caller looks at its clock again.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn sleep(&self, length: Duration) -> io::Result<()> {
        // Zero would disarm it.
        let length = length.max(Duration::from_nanos(1));
        self.0.get_ref().0.set(
            Expiration::OneShot(TimeSpec::from_duration(length)),
            TimerSetTimeFlags::empty(),
        )?;
        let mut ready = self.0.readable().await?;
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_wakes_after_its_time_again_and_again() {
        let timer = Timer::new().expect("a timer");
        for _ in 0..3 {
            let before = std::time::Instant::now();
            let length = Duration::from_micros(1500);
            while before.elapsed() < length {
                timer
                    .sleep(length.saturating_sub(before.elapsed()))
                    .await
                    .expect("it sleeps");
            }
        }
    }
}
