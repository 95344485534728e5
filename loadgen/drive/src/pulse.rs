//! Feels the pulse of the sending thread, so that a pause of the generator itself is known, and not taken for the service's.

use std::time::Duration;

use record::clock::RunClock;
use record::pause::Pause;

use crate::handover::{Note, Shared};

/// Between two beats.
const BEAT: Duration = Duration::from_millis(20);
/// A beat that is this much late is a pause.
const PAUSE_MIN: Duration = Duration::from_millis(30);

/// Leaves a note of each pause, until the task is dropped. To be run on the sending thread.
pub(crate) async fn feel(clock: RunClock, shared: &Shared) {
    let mut last = clock.now();
    let mut waited = waited_for_a_processor();
    loop {
        tokio::time::sleep(BEAT).await;
        let now = clock.now();
        let waited_now = waited_for_a_processor();
        if now.saturating_sub(last) > BEAT + PAUSE_MIN {
            let starved = waited
                .zip(waited_now)
                .map(|(before, now)| now.saturating_sub(before));
            shared.leave(Note::Pause(Pause {
                from: last,
                to: now,
                is_starved: starved.is_some_and(|starved| starved * 2 > now - last),
            }));
        }
        last = now;
        waited = waited_now;
    }
}

/// How long the calling thread was ready to run and had no processor, since it began. `None` where the system does not say.
fn waited_for_a_processor() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}
