//! What the pacing hands to the users, and what the users leave to be counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use record::clock::RunClock;
use record::pause::Pause;
use record::recorder::Recorder;
use record::sample::Sample;
use reqwest::Url;
use tokio::sync::Notify;

use crate::due::DueReceiver;
use crate::priority::Priority;

/// How many notes may be kept before they are first moved. More only costs an allocation.
const NOTES_CAPACITY: usize = 4096;

/// How requests are made.
#[derive(Clone, Debug)]
pub struct Asking {
    /// After this long without an answer the outcome is unknown.
    pub request_timeout: Duration,
    /// How often a request with an unknown outcome is sent again.
    pub resends: u32,
    /// Users, the most requests in flight.
    pub users: usize,
    /// The instances of the service, one at least: arrivals go to all of them in turn.
    pub targets: Vec<Url>,
}

/// What a user saw, to be counted later by another thread.
#[derive(Debug)]
pub(crate) enum Note {
    Sample(Sample),
    Error { label: String, example: String },
    Dropped,
    Pause(Pause),
}

/// What the users, the pacing and the display share.
#[derive(Debug)]
pub struct Shared {
    /// The clock, set when all users are ready.
    pub clock: OnceLock<RunClock>,
    /// Users that wait for arrivals.
    pub ready: AtomicUsize,
    /// Requests that goose has seen to their end.
    pub requests: AtomicU64,
    /// Arrivals that were due while every user was busy.
    pub held_back: AtomicU64,
    /// Set to stop the load.
    pub stop: Arc<AtomicBool>,
    /// How the sending thread is scheduled.
    pub priority: OnceLock<Priority>,
    pub(crate) asking: Asking,
    pub(crate) arrivals: DueReceiver,
    /// Arrivals handed to the users, and those that the users are done with.
    handed_over: AtomicU64,
    pub(crate) ended: AtomicU64,
    /// Users that goose has started, and the sign for them to open their connections.
    pub(crate) started: AtomicUsize,
    pub(crate) warm: Notify,
    /// What is on its way: number, and what is known of it so far.
    on_its_way: Mutex<HashMap<u32, Sample>>,
    notes: Mutex<Vec<Note>>,
    /// Notes that wait until it is known whether a pause touched them.
    waiting: Mutex<Vec<Note>>,
}

impl Shared {
    /// Users that take from `arrivals`.
    pub fn new(asking: Asking, arrivals: DueReceiver, stop: Arc<AtomicBool>) -> Self {
        Self {
            clock: OnceLock::new(),
            ready: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
            stop,
            priority: OnceLock::new(),
            asking,
            arrivals,
            handed_over: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            started: AtomicUsize::new(0),
            warm: Notify::new(),
            on_its_way: Mutex::default(),
            notes: Mutex::new(Vec::with_capacity(NOTES_CAPACITY)),
            waiting: Mutex::default(),
        }
    }

    /// Notes that an arrival is handed to the users; answers whether one is free.
    pub(crate) fn hand_over(&self) -> bool {
        let before = self.handed_over.fetch_add(1, Ordering::AcqRel);
        let is_free = before - self.ended.load(Ordering::Acquire) < self.asking.users as u64;
        if !is_free {
            self.held_back.fetch_add(1, Ordering::Relaxed);
        }
        is_free
    }

    /// Whether everything was handed over, or the pacing has ended for another reason.
    pub fn paced(&self) -> bool {
        self.arrivals.is_over()
    }

    /// Arrivals that wait for a user or for their answer.
    pub fn open(&self) -> u64 {
        let ended = self.ended.load(Ordering::Acquire);
        self.handed_over.load(Ordering::Acquire) - ended
    }

    /// Counts everything that the users have seen since the last call.
    ///
    /// The users only leave notes, so that the sending thread neither counts nor waits for who does. A note is counted one call
    /// later: the pause that touched it may be noted after it.
    pub fn move_notes_to(&self, recorder: &mut Recorder) {
        let mut taken = Vec::with_capacity(NOTES_CAPACITY);
        std::mem::swap(
            &mut taken,
            &mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for note in &taken {
            if let Note::Pause(pause) = note {
                recorder.pauses.add(*pause);
            }
        }
        std::mem::swap(
            &mut taken,
            &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for note in taken {
            match note {
                Note::Sample(sample) => recorder.note(&sample),
                Note::Error { label, example } => recorder.error(label, || example),
                Note::Dropped => recorder.dropped += 1,
                Note::Pause(_) => {}
            }
        }
    }

    /// Notes that an arrival is about to be sent. `sample` says how it stands if its answer is never waited for.
    pub(crate) fn begin(&self, sample: Sample) {
        self.on_its_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(sample.number, sample);
    }

    /// Leaves what came of an arrival.
    pub(crate) fn end(&self, sample: Sample) {
        self.on_its_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&sample.number);
        self.leave(Note::Sample(sample));
    }

    /// Counts what is still on its way as without an answer, and everything before it.
    pub fn give_up(&self, now: Duration, recorder: &mut Recorder) {
        let open = std::mem::take(
            &mut *self
                .on_its_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.move_notes_to(recorder);
        self.move_notes_to(recorder);
        // An answer may have come meanwhile.
        let unheard = open
            .into_values()
            .filter(|sample| !recorder.ledger.heard[sample.number as usize].is_sent())
            .collect::<Vec<_>>();
        for sample in unheard {
            recorder.note(&Sample {
                done: now,
                ..sample
            });
        }
    }

    /// Leaves a note, to be counted later.
    pub(crate) fn leave(&self, note: Note) {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(note);
    }
}
