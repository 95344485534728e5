//! Hands each arrival over when it is due.
//!
//! A thread of its own sleeps on the system's clock: an async timer ticks in whole milliseconds, which is more than the
//! latency that is measured. The thread makes the next body before it sleeps, so that only the hand-over is left when
//! the arrival is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::payload::{Arrival, Payloads};
use crate::sample::RunClock;
use crate::schedule::Schedule;

/// The most arrivals that may wait for a user. Beyond it the pacing thread itself waits, and what it hands over is late.
pub const WAITING_MAX: usize = 4096;
/// How soon a stop is noticed.
const STOP_WITHIN: Duration = Duration::from_millis(50);

/// An arrival that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// What to send.
    pub arrival: Arrival,
    /// Index of its phase.
    pub phase: u16,
    /// When it was due, after the start of the load.
    pub intended: Duration,
    /// After how long the first request of a retry is dropped.
    pub drop_after: Duration,
}

/// Hands every arrival of `schedule` to `users` when it is due, until the end or until `stop` is set.
/// Blocks the calling thread for the whole load.
pub fn pace(
    schedule: &Schedule,
    payloads: &Payloads,
    clock: RunClock,
    users: &flume::Sender<Due>,
    stop: &Arc<AtomicBool>,
) {
    // The system may delay a wake-up by 50 us to join it with others; ask for none of that. It is only a finer clock,
    // so a refusal changes nothing but the send lag, which is measured.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_timerslack(1);
    for slot in schedule.slots() {
        let mut due = Due {
            arrival: payloads.arrival(slot.number),
            phase: slot.phase,
            intended: slot.offset,
            drop_after: payloads.drop_after(slot.number),
        };
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let left = clock.until(slot.offset);
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(STOP_WITHIN));
        }
        while let Err(refused) = users.send_timeout(due, STOP_WITHIN) {
            due = match refused {
                flume::SendTimeoutError::Timeout(due) if !stop.load(Ordering::Relaxed) => due,
                _ => return,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Mix, Scenario};

    #[test]
    fn everything_is_handed_over_in_order_and_not_early() {
        let text = "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\nduration = \"100ms\"\nrate = 200";
        let scenario = Scenario::parse(text, "t.toml".as_ref()).expect("a good scenario");
        let schedule = Schedule::new(&scenario.phases, 1);
        let payloads = Payloads::new(1, "t", &Mix::default());
        let clock = RunClock::starting_in(Duration::ZERO);
        let (sender, receiver) = flume::bounded(WAITING_MAX);
        let thread = std::thread::spawn(move || {
            pace(&schedule, &payloads, clock, &sender, &Arc::default());
        });
        let mut numbers = Vec::new();
        while let Ok(due) = receiver.recv() {
            assert!(clock.now() >= due.intended);
            numbers.push(due.arrival.number);
        }
        thread.join().expect("the thread ends");
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_stop_ends_it() {
        let text = "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\nduration = \"1h\"\nrate = 1";
        let scenario = Scenario::parse(text, "t.toml".as_ref()).expect("a good scenario");
        let stop = Arc::new(AtomicBool::new(true));
        let (sender, _receiver) = flume::bounded(WAITING_MAX);
        pace(
            &Schedule::new(&scenario.phases, 1),
            &Payloads::new(1, "t", &Mix::default()),
            RunClock::starting_in(Duration::from_secs(60)),
            &sender,
            &stop,
        );
    }
}
