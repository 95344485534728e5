//! What the pacing hands to the users, and what the users leave to be counted.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use plan::payload::Arrival;
use record::clock::RunClock;
use record::recorder::Recorder;
use record::sample::Sample;
use tokio::sync::Notify;

use crate::priority::Priority;

/// The most arrivals that may wait for a user. Beyond it the pacing itself waits, and what it hands over is late.
pub const WAITING_MAX: usize = 4096;
/// How many notes may be kept before they are first moved. More only costs an allocation.
const NOTES_CAPACITY: usize = 4096;

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

/// How requests are made.
#[derive(Clone, Debug)]
pub struct Asking {
    /// After this long without an answer the outcome is unknown.
    pub request_timeout: Duration,
    /// How often a request with an unknown outcome is sent again.
    pub resends: u32,
    /// Users, the most requests in flight.
    pub users: usize,
    /// Further instances of the service, beside the first one: users take all of them in turn.
    pub other_urls: Vec<String>,
}

/// What a user saw, to be counted later by another thread.
#[derive(Debug)]
pub(crate) enum Note {
    Sample(Sample),
    Error { label: String, example: String },
    Dropped,
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
    pub(crate) arrivals: flume::Receiver<Due>,
    /// Arrivals handed to the users, and those that the users are done with.
    handed_over: AtomicU64,
    pub(crate) ended: AtomicU64,
    /// Users that goose has started, and the sign for them to open their connections.
    pub(crate) started: AtomicUsize,
    pub(crate) warm: Notify,
    notes: Mutex<Vec<Note>>,
}

impl Shared {
    /// Users that take from `arrivals`.
    pub fn new(asking: Asking, arrivals: flume::Receiver<Due>, stop: Arc<AtomicBool>) -> Self {
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
            notes: Mutex::new(Vec::with_capacity(NOTES_CAPACITY)),
        }
    }

    /// Notes that an arrival is handed to the users.
    pub(crate) fn hand_over(&self) {
        let before = self.handed_over.fetch_add(1, Ordering::AcqRel);
        if before - self.ended.load(Ordering::Acquire) >= self.asking.users as u64 {
            self.held_back.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The next arrival that is due.
    pub(crate) async fn next_due(&self) -> Result<Due, flume::RecvError> {
        self.arrivals.recv_async().await
    }

    /// Whether everything was handed over, or the pacing has ended for another reason.
    pub fn paced(&self) -> bool {
        self.arrivals.is_disconnected()
    }

    /// Arrivals that wait for a user or for their answer.
    pub fn open(&self) -> u64 {
        let ended = self.ended.load(Ordering::Acquire);
        self.handed_over.load(Ordering::Acquire) - ended
    }

    /// Counts everything that the users have seen since the last call.
    ///
    /// The users only leave notes, so that the sending thread neither counts nor waits for who does.
    pub fn move_notes_to(&self, recorder: &mut Recorder) {
        let mut taken = Vec::with_capacity(NOTES_CAPACITY);
        std::mem::swap(
            &mut taken,
            &mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for note in taken {
            match note {
                Note::Sample(sample) => recorder.note(&sample),
                Note::Error { label, example } => recorder.error(label, || example),
                Note::Dropped => recorder.dropped += 1,
            }
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
