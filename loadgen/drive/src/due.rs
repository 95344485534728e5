//! The way of an arrival from the pacing to a user.
//!
//! Thousands of users wait for arrivals, and each arrival may wake one of them only. Channels that many tasks read wake all who
//! wait as soon as two items are queued, which cost the sending thread milliseconds at the very moment of a burst.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use plan::payload::Arrival;
use tokio::sync::Notify;

/// The most arrivals that may wait for a user. Beyond it the pacing itself waits, and what it hands over is late.
const WAITING_MAX: usize = 4096;

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
    /// How late it was handed over by the generator itself; set when it is.
    pub generator_lag: Duration,
    /// When it was handed over, if a user was free then.
    pub handed_to_free_user: Option<Duration>,
}

/// The pacing's end. Dropping it ends the users when they have taken what waits.
#[derive(Debug)]
pub struct DueSender {
    /// None only while this is dropped.
    arrivals: Option<flume::Sender<Due>>,
    users: Arc<Notify>,
}

/// The users' end: each arrival goes to one of them.
#[derive(Debug)]
pub struct DueReceiver {
    arrivals: flume::Receiver<Due>,
    users: Arc<Notify>,
}

/// Nobody takes arrivals any more.
#[derive(Debug)]
pub(crate) struct NobodyTakes;

/// A way for arrivals.
pub fn channel() -> (DueSender, DueReceiver) {
    let (sender, receiver) = flume::bounded(WAITING_MAX);
    let users = Arc::new(Notify::new());
    let due = DueSender {
        arrivals: Some(sender),
        users: Arc::clone(&users),
    };
    let arrivals = DueReceiver {
        arrivals: receiver,
        users,
    };
    (due, arrivals)
}

impl DueSender {
    /// Hands one over, and wakes the user that waits for the shortest time: what it needs is still in the processor's caches.
    /// The answer is whether there was room at once.
    pub(crate) async fn send(&self, due: Due) -> Result<bool, NobodyTakes> {
        let arrivals = self.arrivals.as_ref().ok_or(NobodyTakes)?;
        let had_room = match arrivals.try_send(due) {
            Ok(()) => true,
            Err(flume::TrySendError::Full(due)) => {
                arrivals.send_async(due).await.map_err(|_| NobodyTakes)?;
                false
            }
            Err(flume::TrySendError::Disconnected(_)) => return Err(NobodyTakes),
        };
        self.users.notify_last();
        Ok(had_room)
    }
}

impl Drop for DueSender {
    fn drop(&mut self) {
        self.arrivals = None;
        self.users.notify_waiters();
    }
}

impl DueReceiver {
    /// The next arrival that is due; none when there are no more.
    pub(crate) async fn next(&self) -> Option<Due> {
        loop {
            // Waits from here on, so that what is sent after the look wakes this user or another.
            let mut woken = pin!(self.users.notified());
            woken.as_mut().enable();
            match self.arrivals.try_recv() {
                Ok(due) => return Some(due),
                Err(flume::TryRecvError::Disconnected) => return None,
                Err(flume::TryRecvError::Empty) => woken.await,
            }
        }
    }

    /// Whether the pacing has ended, and nothing waits.
    pub(crate) fn is_over(&self) -> bool {
        self.arrivals.is_disconnected()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use plan::mix::Mix;
    use plan::payload::Payloads;

    use super::*;

    const USERS: usize = 1_000;

    fn due(number: u32) -> Due {
        Due {
            arrival: Payloads::new(1, "t", &Mix::default()).arrival(number),
            phase: 0,
            intended: Duration::ZERO,
            drop_after: Duration::ZERO,
            generator_lag: Duration::ZERO,
            handed_to_free_user: None,
        }
    }

    /// Users that take arrivals until there are no more; each answers how many it took. `polls` counts how often any was woken.
    fn users(
        arrivals: &Arc<DueReceiver>,
        polls: &Arc<AtomicUsize>,
    ) -> tokio::task::JoinSet<Vec<u32>> {
        let mut users = tokio::task::JoinSet::new();
        for _ in 0..USERS {
            let (arrivals, polls) = (Arc::clone(arrivals), Arc::clone(polls));
            users.spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let mut next = pin!(arrivals.next());
                    let next = poll_fn(|context| {
                        polls.fetch_add(1, Ordering::Relaxed);
                        next.as_mut().poll(context)
                    });
                    match next.await {
                        Some(due) => taken.push(due.arrival.number),
                        None => return taken,
                    }
                    // Busy, until the others had a turn.
                    tokio::task::yield_now().await;
                }
            });
        }
        users
    }

    #[tokio::test]
    async fn each_arrival_wakes_one_user() {
        let (due_sender, arrivals) = channel();
        let (arrivals, polls) = (Arc::new(arrivals), Arc::new(AtomicUsize::new(0)));
        let users = users(&arrivals, &polls);
        while polls.load(Ordering::Relaxed) < USERS {
            tokio::task::yield_now().await;
        }
        // A burst: all of it waits before any user runs.
        for number in 0..100 {
            assert!(due_sender.send(due(number)).await.is_ok());
        }
        // Long enough for every user that was woken.
        for _ in 0..10 * USERS {
            tokio::task::yield_now().await;
        }
        let woken = polls.load(Ordering::Relaxed) - USERS;
        assert!(woken <= 200, "100 arrivals woke users {woken} times");
        drop(due_sender);
        let mut taken = users.join_all().await.concat();
        taken.sort_unstable();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_waits_is_taken_after_the_end() {
        let (due_sender, arrivals) = channel();
        for number in 0..10 {
            assert!(due_sender.send(due(number)).await.is_ok());
        }
        drop(due_sender);
        let users = users(&Arc::new(arrivals), &Arc::default());
        assert_eq!(users.join_all().await.concat().len(), 10);
    }
}
