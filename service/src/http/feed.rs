//! What all clients are told, serialised once for all of them: snapshots, events, the history.
//!
//! Each message exists in two forms, for those who may see personal data and for the others.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::exports::Exports;
use super::parts::Parts;
use super::personal::{mask_event, mask_snapshot, mask_task};
use crate::clock::now_ms;
use crate::error::ServiceError;
use crate::history::{MINUTE_MS, thinned};
use crate::metrics::Metrics;
use crate::monitor::{HISTORY_MAX, Monitor};
use crate::printable::json;
use crate::snapshot::{Event, EventKind, History, Message, Snapshot, Task, TaskPhase};
use crate::store::Store;
use crate::task;

/// Failures told in one tick; in a flood the rest is found in `/api/errors`.
const FAILURES_TOLD_MAX: usize = 100;
/// Batches of events that a slow client may be behind before it misses the oldest.
const BATCHES_KEPT: usize = 256;
/// How long a serialised history is good, unless something happens: it gains a point a second.
const HISTORY_GOOD: Duration = Duration::from_secs(1);
/// How long a history of days is good.
const DAYS_GOOD: Duration = Duration::from_secs(10);
/// While work is under way, and while there is none, MongoDB is asked this often how far it is, once for all clients.
const WORK_INTERVAL: Duration = Duration::from_millis(500);
const CALM_INTERVAL: Duration = Duration::from_secs(1);
/// Whoever asks for it sooner is told this often.
const WORK_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// What stands before and after a snapshot in its message.
const SNAPSHOT_MESSAGE: (&str, &str) = (r#"{"type":"snapshot","snapshot":"#, "}");

/// One text in both forms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Both {
    plain: Utf8Bytes,
    masked: Utf8Bytes,
}

impl Both {
    pub(super) fn of(&self, sees_personal: bool) -> Utf8Bytes {
        let text = if sees_personal {
            &self.plain
        } else {
            &self.masked
        };
        text.clone()
    }
}

/// The events of one tick.
pub(super) type Batch = Arc<[Both]>;

/// What is told, and what was.
#[derive(Debug)]
pub(crate) struct Feed {
    monitor: Monitor,
    snapshots: watch::Receiver<Option<Both>>,
    events: broadcast::Sender<Batch>,
    /// `None` while nobody listens.
    tasks: watch::Receiver<Option<Both>>,
    looked_for: Arc<Notify>,
    history: Mutex<Option<Arc<Past>>>,
    days: tokio::sync::Mutex<HashMap<Days, (Instant, Bytes)>>,
}

/// A history of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Days {
    One,
    Seven,
}

impl Days {
    /// How many minutes it reaches back.
    pub(super) fn minutes(self) -> u64 {
        match self {
            Self::One => 24 * 60,
            Self::Seven => 7 * 24 * 60,
        }
    }

    /// Seconds between two points.
    fn step_seconds(self) -> u64 {
        match self {
            Self::One => 60,
            Self::Seven => 10 * 60,
        }
    }
}

impl Feed {
    /// Starts telling, as long as snapshots come.
    pub(crate) fn start(
        monitor: &Monitor,
        metrics: &Arc<Metrics>,
        store: &Store,
        exports: &Arc<Exports>,
    ) -> Self {
        let (sender, snapshots) = watch::channel(None);
        let (tasks_sender, tasks) = watch::channel(None);
        let looked_for = Arc::new(Notify::new());
        let work = Work {
            store: store.clone(),
            exports: Arc::clone(exports),
            metrics: Arc::clone(metrics),
            looked_for: Arc::clone(&looked_for),
        };
        task::spawn("work", work.tell(tasks_sender));
        let events = broadcast::Sender::new(BATCHES_KEPT);
        task::spawn(
            "feed",
            tell(monitor.follow(), metrics.listen(), sender, events.clone()),
        );
        Self {
            monitor: monitor.clone(),
            snapshots,
            events,
            tasks,
            looked_for,
            history: Mutex::default(),
            days: tokio::sync::Mutex::default(),
        }
    }

    /// The history of days, from MongoDB, as the body of an answer; asked for once for all clients.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub(super) async fn days(&self, days: Days, store: &Store) -> Result<Parts, ServiceError> {
        let mut kept = self.days.lock().await;
        let text = match kept.get(&days) {
            Some((made_at, text)) if made_at.elapsed() < DAYS_GOOD => text.clone(),
            _ => {
                let from_ms = now_ms().saturating_sub(days.minutes() * MINUTE_MS);
                let history = store.minutes(from_ms).await?;
                let text: Bytes = json(&History {
                    step_seconds: days.step_seconds(),
                    points: thinned(&history.points, days.step_seconds() * 1000),
                    events: history.events,
                })
                .into();
                kept.insert(days, (Instant::now(), text.clone()));
                text
            }
        };
        Ok(Parts::shared([text].into()))
    }

    /// Follows the messages of snapshots: always the newest.
    pub(super) fn snapshots(&self) -> watch::Receiver<Option<Both>> {
        self.snapshots.clone()
    }

    /// Follows the messages of work on many loans, from what was told last.
    pub(super) fn tasks(&self) -> watch::Receiver<Option<Both>> {
        let mut tasks = self.tasks.clone();
        tasks.mark_changed();
        tasks
    }

    /// Work was begun or stopped, or somebody new listens: it is looked at soon.
    pub(super) fn look_for_tasks(&self) {
        self.looked_for.notify_one();
    }

    /// Listens to events from now on.
    pub(super) fn events(&self) -> broadcast::Receiver<Batch> {
        self.events.subscribe()
    }

    /// The newest snapshot, as JSON.
    pub(super) fn snapshot(&self, sees_personal: bool) -> Bytes {
        let newest = self.snapshots.borrow().clone();
        let Some(newest) = newest else {
            return json(&*self.monitor.latest()).into();
        };
        let text = newest.of(sees_personal);
        let message: &Bytes = text.as_ref();
        let (before, after) = SNAPSHOT_MESSAGE;
        message.slice(before.len()..message.len() - after.len())
    }

    /// The history that is not older than `reach`, as the body of an answer.
    pub(super) fn history(&self, reach: Duration) -> Parts {
        let past = self.past();
        let from_ms = now_ms().saturating_sub(reach.as_millis() as u64);
        Parts::shared(VecDeque::from([
            Bytes::from_static(br#"{"stepSeconds":1,"points":["#),
            past.points.since(from_ms),
            Bytes::from_static(br#"],"events":["#),
            past.events.since(from_ms),
            Bytes::from_static(b"]}"),
        ]))
    }

    /// The message with the points that are not older than `reach`.
    pub(super) fn history_message(&self, reach: Duration) -> Utf8Bytes {
        let past = self.past();
        let from_ms = now_ms().saturating_sub(reach.as_millis() as u64);
        let points = past.points.since(from_ms);
        let points = str::from_utf8(&points).expect("JSON is UTF-8");
        format!(r#"{{"type":"history","points":[{points}]}}"#).into()
    }

    /// The whole history, serialised at most once a second and for each event.
    fn past(&self) -> Arc<Past> {
        let mut kept = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let events_seen = self.monitor.events_seen();
        match &*kept {
            Some(past) if past.is_good(now, events_seen) => Arc::clone(past),
            _ => {
                let history = self.monitor.history(HISTORY_MAX);
                let past = Arc::new(Past {
                    made_at: now,
                    events_seen,
                    points: List::new(history.points.iter().map(|point| (point.at_ms, point))),
                    events: List::new(history.events.iter().map(|event| (event.at_ms, event))),
                });
                *kept = Some(Arc::clone(&past));
                past
            }
        }
    }
}

/// What is asked how far work on many loans is.
struct Work {
    store: Store,
    exports: Arc<Exports>,
    metrics: Arc<Metrics>,
    looked_for: Arc<Notify>,
}

impl Work {
    /// Tells it, as long as anybody listens, whenever it has gone on.
    async fn tell(self, told: watch::Sender<Option<Both>>) {
        while !told.is_closed() {
            let mut interval = CALM_INTERVAL;
            let has_listeners = self.metrics.web_socket_clients.load(Ordering::Relaxed) > 0;
            if !has_listeners {
                // Whoever comes next is not told what was then.
                told.send_replace(None);
            } else if let Some(tasks) = self.look().await {
                let is_over =
                    |task: &Task| !matches!(task.phase, TaskPhase::Running | TaskPhase::Stopping);
                if !tasks.iter().all(is_over) {
                    interval = WORK_INTERVAL;
                }
                let message = Some(tasks_message(tasks));
                told.send_if_modified(|before| {
                    let is_news = *before != message;
                    *before = message;
                    is_news
                });
            }
            tokio::time::sleep(WORK_INTERVAL_MIN).await;
            tokio::select! {
                () = tokio::time::sleep(interval - WORK_INTERVAL_MIN) => {}
                () = self.looked_for.notified() => {}
            }
        }
    }

    /// All work, the newest first; `None` while MongoDB does not answer.
    async fn look(&self) -> Option<Vec<Task>> {
        let mut tasks = self.exports.tasks();
        match self.store.tasks().await {
            Ok(stored) => tasks.extend(stored.into_iter().map(Task::from)),
            Err(error) => {
                tracing::debug!(%error, "how far tasks are is not known");
                return None;
            }
        }
        // By the same clocks as the lists are: both are written in one way, in which texts sort as instants do.
        tasks.sort_by(|a, b| b.started_at.cmp(&a.started_at));
        Some(tasks)
    }
}

/// The history, serialised.
#[derive(Debug)]
struct Past {
    made_at: Instant,
    /// Events that there were by then.
    events_seen: u64,
    points: List,
    events: List,
}

impl Past {
    /// Whether it may be told once more. A client hears what happens from the moment it connects, and has all before that from
    /// here: so nothing that has happened may be missing.
    fn is_good(&self, now: Instant, events_seen: u64) -> bool {
        now - self.made_at < HISTORY_GOOD && self.events_seen == events_seen
    }
}

/// Items with commas between, and where each begins, in the order of their time.
#[derive(Debug)]
struct List {
    text: Bytes,
    begins: Vec<(u64, u32)>,
}

impl List {
    fn new<T: Serialize>(items: impl Iterator<Item = (u64, T)>) -> Self {
        let mut text = Vec::new();
        let mut begins = Vec::new();
        for (at_ms, item) in items {
            if !text.is_empty() {
                text.push(b',');
            }
            begins.push((at_ms, text.len() as u32));
            text.extend_from_slice(json(&item).as_bytes());
        }
        Self {
            text: text.into(),
            begins,
        }
    }

    /// Those that are not older.
    fn since(&self, from_ms: u64) -> Bytes {
        let index = self.begins.partition_point(|(at_ms, _)| *at_ms < from_ms);
        let begin = self.begins.get(index).map(|(_, begin)| *begin as usize);
        self.text.slice(begin.unwrap_or(self.text.len())..)
    }
}

async fn tell(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    mut happening: broadcast::Receiver<Event>,
    sender: watch::Sender<Option<Both>>,
    events: broadcast::Sender<Batch>,
) {
    let mut failures: Vec<Both> = Vec::new();
    loop {
        tokio::select! {
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return;
                }
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                sender.send_replace(Some(snapshot_message(&snapshot)));
                if !failures.is_empty() {
                    // Nobody may be listening.
                    let _ = events.send(std::mem::take(&mut failures).into());
                }
            }
            event = happening.recv() => match event {
                Ok(_) if events.receiver_count() == 0 => {}
                Ok(event) if matches!(event.kind, EventKind::Failure { .. }) => {
                    if failures.len() < FAILURES_TOLD_MAX {
                        failures.push(event_message(event));
                    }
                }
                Ok(event) => drop(events.send([event_message(event)].into())),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

fn snapshot_message(snapshot: &Snapshot) -> Both {
    let (before, after) = SNAPSHOT_MESSAGE;
    let message =
        |snapshot: &Snapshot| -> Utf8Bytes { format!("{before}{}{after}", json(snapshot)).into() };
    let plain = message(snapshot);
    let masked = if snapshot.counters.failed_by_applicant.is_empty() {
        plain.clone()
    } else {
        let mut snapshot = snapshot.clone();
        mask_snapshot(&mut snapshot);
        message(&snapshot)
    };
    Both { plain, masked }
}

fn tasks_message(mut tasks: Vec<Task>) -> Both {
    let message = |tasks: &Vec<Task>| -> Utf8Bytes {
        json(&Message::Tasks {
            tasks: tasks.clone(),
        })
        .into()
    };
    let plain = message(&tasks);
    tasks.iter_mut().for_each(mask_task);
    let masked = message(&tasks);
    Both { plain, masked }
}

fn event_message(mut event: Event) -> Both {
    let plain: Utf8Bytes = json(&Message::Event {
        event: event.clone(),
    })
    .into();
    mask_event(&mut event);
    let masked = json(&Message::Event { event }).into();
    Both { plain, masked }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_in_its_message() {
        let snapshot = Snapshot::default();
        let text = snapshot_message(&snapshot).of(true);
        let message: Message = serde_json::from_str(text.as_str()).unwrap();
        assert_eq!(
            message,
            Message::Snapshot {
                snapshot: Box::new(snapshot)
            }
        );
        let (before, after) = SNAPSHOT_MESSAGE;
        assert!(text.as_str().starts_with(before) && text.as_str().ends_with(after));
    }

    #[test]
    fn a_history_that_lacks_an_event_is_made_anew() {
        let nothing = || List::new(std::iter::empty::<(u64, Event)>());
        let past = Past {
            made_at: Instant::now(),
            events_seen: 3,
            points: nothing(),
            events: nothing(),
        };
        assert!(past.is_good(past.made_at, 3));
        assert!(
            !past.is_good(past.made_at, 4),
            "whoever comes now does not hear of it"
        );
        assert!(!past.is_good(past.made_at + HISTORY_GOOD, 3));
    }

    #[test]
    fn a_list_is_cut_between_items() {
        let list = List::new([(1_u64, "a"), (2, "b"), (2, "c"), (5, "d")].into_iter());
        for (from_ms, expected) in [
            (0, r#""a","b","c","d""#),
            (2, r#""b","c","d""#),
            (3, r#""d""#),
            (6, ""),
        ] {
            assert_eq!(list.since(from_ms), expected, "{from_ms}");
        }
        assert_eq!(List::new::<u8>(std::iter::empty()).since(0), "");
    }
}
