//! The pool: starts and stops workers as the rule says.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::scale::{Memory, Rule};
use super::{Worker, stopped};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::snapshot::EventKind;

/// How often the rule looks at the queue.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// A consumer that is gone this long and holds nothing is forgotten.
const CONSUMER_KEPT: Duration = Duration::from_secs(600);

/// What the pool needs.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) queue: Queue,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) rule: Rule,
    pub(crate) claim_timeout: Duration,
    /// Names the consumers of this process: unique for each start.
    pub(crate) instance: String,
}

struct Slot {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Pool {
    /// Runs until `stop` is true, then until every worker has committed what it held.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut slots: Vec<Option<Slot>> = (0..self.rule.max).map(|_| None).collect();
        let mut wanted = self.rule.min;
        let mut memory = Memory::default();
        let mut links: Vec<_> = (0..self.queue.partitions())
            .map(|partition| self.queue.link(partition))
            .collect();
        let started = Instant::now();
        let mut next_tidy = started;
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            self.adjust(&mut slots, wanted);
            tokio::select! {
                _ = look.tick() => {}
                () = stopped(&mut stop) => break,
            }
            let mut depth = 0;
            let mut is_known = true;
            for link in &mut links {
                match link.state().await {
                    Ok(state) => depth += state.queued,
                    Err(_) => is_known = false,
                }
            }
            if !is_known {
                continue;
            }
            if let Some(step) = self
                .rule
                .step(&mut memory, started.elapsed(), depth, wanted)
            {
                tracing::info!(
                    from = wanted,
                    to = step.workers,
                    reason = step.reason,
                    "workers"
                );
                self.metrics.tell(EventKind::Scale {
                    instance: self.instance.clone(),
                    from: wanted,
                    to: step.workers,
                    reason: step.reason,
                });
                wanted = step.workers;
            }
            if Instant::now() >= next_tidy {
                next_tidy = Instant::now() + CONSUMER_KEPT / 10;
                for link in &mut links {
                    if let Err(error) = link.forget_idle_consumers(CONSUMER_KEPT).await {
                        tracing::debug!(%error, "idle consumers stay for now");
                    }
                }
            }
        }
        for slot in slots.iter().flatten() {
            slot.stop.send_replace(true);
        }
        for slot in slots.into_iter().flatten() {
            let _ = slot.task.await;
        }
    }

    /// Starts workers in the free slots below `wanted` and stops those above. A worker that died
    /// is started again under its name, so that its successor picks up what it held at once.
    fn adjust(&self, slots: &mut [Option<Slot>], wanted: u64) {
        for (number, place) in slots.iter_mut().enumerate() {
            let is_wanted = (number as u64) < wanted;
            if let Some(slot) = place {
                if slot.task.is_finished() {
                    *place = None;
                } else if !is_wanted {
                    slot.stop.send_replace(true);
                    continue;
                }
            }
            if is_wanted && place.is_none() {
                *place = Some(self.start(number));
            }
        }
    }

    fn start(&self, number: usize) -> Slot {
        let (stop, stopping) = watch::channel(false);
        let worker = Worker {
            consumer: format!("{}-{number}", self.instance),
            link: self.queue.link(number % self.queue.partitions()),
            metrics: Arc::clone(&self.metrics),
            claim_timeout: self.claim_timeout,
        };
        Slot {
            stop,
            task: tokio::spawn(worker.run(stopping)),
        }
    }
}
