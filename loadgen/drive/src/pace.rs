//! Hands each arrival over when it is due.
//!
//! [`prepare`] makes the bodies ahead on a thread of its own. [`pace`] is a task of the runtime that sends: it sleeps
//! until just before an arrival is due, polls for the rest, and hands the arrival to a user of the same thread. So
//! from the instant to the send there is no other thread to wake.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plan::payload::Payloads;
use plan::schedule::{Schedule, Slot};
use plan::shard::Shard;
use record::clock::RunClock;

use crate::due::{Due, DueSender, NobodyTakes};
use crate::handover::Shared;
use crate::timer::Timer;

/// Arrivals that are made and handed over together, so that the two threads seldom wake each other.
const CHUNK_LEN: usize = 64;
/// The most chunks that are made ahead.
const CHUNKS_MAX: usize = 16;
/// How soon a stop is noticed.
const STOP_WITHIN: Duration = Duration::from_millis(50);
/// The longest poll before an arrival is due. A sleeping processor takes about this long to wake.
const POLL_MAX: Duration = Duration::from_micros(100);
/// The poll takes at most this share of the time between two arrivals: one part in ...
const POLL_SHARE: u32 = 20;

/// Arrivals that are made ahead, in order.
pub type Prepared = flume::Receiver<Vec<Due>>;

/// Makes the arrivals of `schedule` (those of `shard`) ahead, on a thread of its own, until the end or until nobody takes them.
///
/// # Errors
/// When the system gives no thread.
pub fn prepare(
    schedule: Schedule,
    payloads: Payloads,
    shard: Option<Shard>,
) -> std::io::Result<Prepared> {
    let (made, prepared) = flume::bounded(CHUNKS_MAX);
    std::thread::Builder::new()
        .name("prepare".to_owned())
        .spawn(move || {
            let ours = |slot: &Slot| shard.is_none_or(|shard| shard.holds(slot.number));
            let mut slots = schedule.slots().filter(ours).map(|slot| Due {
                arrival: payloads.arrival(slot.number),
                phase: slot.phase,
                intended: slot.offset,
                drop_after: payloads.drop_after(slot.number),
                generator_lag: Duration::ZERO,
                handed_to_free_user: None,
            });
            loop {
                let chunk: Vec<Due> = slots.by_ref().take(CHUNK_LEN).collect();
                if chunk.is_empty() || made.send(chunk).is_err() {
                    return;
                }
            }
        })?;
    Ok(prepared)
}

/// Hands every arrival to `users` when it is due, until the end or until a stop.
pub async fn pace(prepared: Prepared, clock: RunClock, users: DueSender, shared: &Shared) {
    let timer = Timer::new().ok();
    let mut previous = Duration::ZERO;
    // Until then the users took nothing more: what was due meanwhile is not late by this task.
    let mut held_until = Duration::ZERO;
    while let Ok(chunk) = prepared.recv_async().await {
        for mut due in chunk {
            let gap = due.intended.saturating_sub(previous);
            previous = due.intended;
            if !wait(timer.as_ref(), clock, due.intended, gap, &shared.stop).await {
                return;
            }
            let now = clock.now();
            due.generator_lag = now.saturating_sub(due.intended.max(held_until));
            due.handed_to_free_user = shared.hand_over().then_some(now);
            match users.send(due).await {
                Ok(true) => {}
                Ok(false) => held_until = clock.now(),
                Err(NobodyTakes) => return,
            }
        }
    }
}

/// Waits until `offset`. False when a stop came first.
async fn wait(
    timer: Option<&Timer>,
    clock: RunClock,
    offset: Duration,
    gap: Duration,
    stop: &AtomicBool,
) -> bool {
    let poll = POLL_MAX.min(gap / POLL_SHARE);
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = clock.until(offset);
        if left.is_zero() {
            return true;
        }
        let slept = match timer {
            Some(timer) if left > poll => timer.sleep((left - poll).min(STOP_WITHIN)).await.is_ok(),
            _ => false,
        };
        if !slept {
            // Everything else that is ready has its turn, answers above all.
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use plan::mix::Mix;
    use plan::scenario::Scenario;

    use super::*;
    use crate::due;
    use crate::handover::Asking;

    fn shared(stop: bool) -> (Arc<Shared>, DueSender) {
        let (due, arrivals) = due::channel();
        let asking = Asking {
            request_timeout: Duration::from_secs(1),
            resends: 0,
            users: 1,
            targets: Vec::new(),
        };
        let shared = Shared::new(asking, arrivals, Arc::new(AtomicBool::new(stop)));
        (Arc::new(shared), due)
    }

    fn prepared(phase: &str) -> Prepared {
        let text = format!("name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\n{phase}");
        let scenario = Scenario::parse(&text, "t.toml".as_ref()).expect("a good scenario");
        prepare(
            Schedule::new(&scenario.phases, 1),
            Payloads::new(1, "t", &Mix::default()),
            None,
        )
        .expect("a thread")
    }

    #[tokio::test]
    async fn everything_is_handed_over_in_order_and_not_early() {
        let (shared, due) = shared(false);
        let clock = RunClock::starting_in(Duration::ZERO);
        let pacing = pace(
            prepared("duration = \"100ms\"\nrate = 2000"),
            clock,
            due,
            &shared,
        );
        let taking = async {
            let mut numbers = Vec::new();
            while let Some(due) = shared.arrivals.next().await {
                assert!(clock.now() >= due.intended);
                numbers.push(due.arrival.number);
            }
            numbers
        };
        let ((), numbers) = tokio::join!(pacing, taking);
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_stop_ends_it() {
        let (shared, due) = shared(true);
        let clock = RunClock::starting_in(Duration::from_secs(60));
        pace(prepared("duration = \"1h\"\nrate = 1"), clock, due, &shared).await;
    }
}
