//! The pool: starts and stops workers as the rule says.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Worker;
use super::scale::{Memory, Rule};
use crate::decided::Handover;
use crate::limits::{RECORDER_TASK, SILENT_AFTER};
use crate::metrics::Metrics;
use crate::queue::bundle::Instance;
use crate::queue::{Partition, Queue};
use crate::rounds::{Look, Rounds};
use crate::shutdown::stopped;
use crate::snapshot::EventKind;

/// How often the rule looks at the queue.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How many loans wait in a partition.
struct Depth(Queue);

impl Look for Depth {
    type Seen = ();

    async fn look(&mut self, _round: u64, partition: &mut Partition, (): &mut ()) {
        let queued = partition.queued().await;
        self.0.depths().note(partition.number(), queued.ok());
    }
}

/// What the pool needs.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) queue: Queue,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) rule: Rule,
    pub(crate) lease: Duration,
    pub(crate) instance: Instance,
}

struct Slot {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Pool {
    /// Runs until `stop` is true, then until every worker has decided what it held.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut slots: Vec<Option<Slot>> = (0..self.rule.max).map(|_| None).collect();
        let mut wanted = self.rule.min;
        let mut memory = Memory::default();
        let depths = self.queue.depths();
        let queue = self.queue.clone().with_timeout(SILENT_AFTER);
        let mut rounds = Rounds::start(&queue, || Depth(queue.clone()));
        let started = Instant::now();
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            self.adjust(&mut slots, wanted);
            tokio::select! {
                _ = look.tick() => {}
                () = stopped(&mut stop) => break,
            }
            rounds.next(LOOK_INTERVAL).await;
            if let Some(step) = self
                .rule
                .step(&mut memory, started.elapsed(), depths.sum(), wanted)
            {
                tracing::info!(
                    from = wanted,
                    to = step.workers,
                    reason = step.reason,
                    "workers"
                );
                self.metrics.tell(EventKind::Scale {
                    instance: self.instance.to_string(),
                    from: wanted,
                    to: step.workers,
                    reason: step.reason,
                });
                wanted = step.workers;
            }
        }
        for slot in slots.iter().flatten() {
            slot.stop.send_replace(true);
        }
        for slot in slots.into_iter().flatten() {
            let _ = slot.task.await;
        }
    }

    /// Starts workers in the free slots below `wanted` and stops those above. A worker that died is started again; its
    /// successor gives back first what it held.
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
            holder: self.instance.holder(task_of(number)),
            number: number as u64 + 1,
            partitions: (0..self.queue.partitions())
                .map(|number| self.queue.partition(number))
                .collect(),
            depths: self.queue.depths(),
            metrics: Arc::clone(&self.metrics),
            handover: Arc::clone(&self.handover),
            lease: self.lease,
        };
        Slot {
            stop,
            task: tokio::spawn(worker.run(stopping)),
        }
    }
}

/// The number of a worker among the tasks that hold leases: no other task here has it.
fn task_of(number: usize) -> u8 {
    let task = u8::try_from(number).ok();
    task.filter(|task| *task < RECORDER_TASK)
        .expect("the settings allow no more workers")
}
