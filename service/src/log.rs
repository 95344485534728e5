//! The log, on standard error: it never blocks, never floods, and no text from outside ends a line of it.
//!
//! Lines go through a bounded queue to a thread that writes them. Where nobody reads them, the queue fills up, and what
//! does not fit is dropped and counted. A place in the code that speaks too often is held back: its first lines are
//! written, then few, with the number of the others.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, callsite};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::LogFormat;
use crate::printable::{printable, printable_json};

/// Lines that wait to be written.
const LINES_WAITING_MAX: usize = 4_096;
/// Lines that one place may write at once ...
const BURST_LEN: u32 = 5;
/// ... and then one in each of these.
const PACE: Duration = Duration::from_secs(30);
/// What operators do is never held back: it bears this target.
pub const OPERATOR: &str = "operator";

/// How long the end of the process waits for lines that are not written yet.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);
static HELD_BACK: AtomicU64 = AtomicU64::new(0);
static PLACES: Mutex<Option<HashMap<callsite::Identifier, Place>>> = Mutex::new(None);

/// Starts the log. Its filter is [`EnvFilter`]'s.
pub fn start(format: LogFormat, filter: &str) {
    let (queue, entries) = sync_channel(LINES_WAITING_MAX);
    // Without a thread the queue fills up, and every line counts as dropped.
    let _ = thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&entries));
    let _ = QUEUE.set(queue);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(move || OneLine(Queued, format))
        .with_target(false)
        .with_ansi(false);
    let layer: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Text => Box::new(layer),
        LogFormat::Json => Box::new(layer.json()),
    };
    Registry::default()
        .with(layer)
        .with(Pace)
        .with(EnvFilter::new(filter))
        .init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}

/// Waits a moment for the lines that are not written yet.
pub fn finish() {
    tell_held_back(Duration::ZERO);
    let Some(queue) = QUEUE.get() else { return };
    let (written, all) = sync_channel(1);
    // Where the queue is full nobody reads, and nothing is worth waiting for.
    if queue.try_send(Entry::Mark(written)).is_ok() {
        let _ = all.recv_timeout(FINISH_WITHIN);
    }
}

/// What waits to be written.
enum Entry {
    Line(Vec<u8>),
    /// All before it is written.
    Mark(SyncSender<()>),
}

fn write_all(entries: &Receiver<Entry>) {
    use io::Write as _;
    while let Ok(entry) = entries.recv() {
        match entry {
            Entry::Line(line) => {
                if io::stderr().write_all(&line).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
            }
            Entry::Mark(written) => drop(written.send(())),
        }
    }
}

/// Takes whole lines, as long as there is room for them.
#[derive(Debug)]
struct Queued;

impl io::Write for Queued {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let sent = QUEUE
            .get()
            .map(|queue| queue.try_send(Entry::Line(line.to_vec())));
        if let Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) = sent {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that nobody took in time.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Lines that were held back because their place spoke too often.
pub fn held_back() -> u64 {
    HELD_BACK.load(Ordering::Relaxed)
}

/// Tells now and then how many lines were held back, as long as the process lives.
pub async fn keep_telling() {
    loop {
        tokio::time::sleep(PACE / 10).await;
        tell_held_back(PACE);
    }
}

/// Tells of each place that has held lines back for `at_least`.
fn tell_held_back(at_least: Duration) {
    let now = Instant::now();
    let due: Vec<_> = {
        let mut places = lock(&PLACES);
        let places = places.iter_mut().flat_map(HashMap::values_mut);
        places
            .filter_map(|place| place.take_held_back(now, at_least))
            .collect()
    };
    // Not while the lock is held: each of these is an event, too.
    for (count, words) in due {
        tracing::warn!(target: OPERATOR, held_back = count, "more of the same: {words}");
    }
}

/// One place in the code that speaks.
#[derive(Debug)]
struct Place {
    /// Lines that it may write now.
    allowed: u32,
    /// When it last was given one.
    given_at: Instant,
    held_back: u64,
    /// Since when.
    held_since: Instant,
    /// What the first of them says.
    words: String,
}

impl Place {
    fn new(now: Instant) -> Self {
        Self {
            allowed: BURST_LEN,
            given_at: now,
            held_back: 0,
            held_since: now,
            words: String::new(),
        }
    }

    /// Whether it may speak now.
    fn may_speak(&mut self, now: Instant) -> bool {
        let given = (now - self.given_at).as_millis() / PACE.as_millis();
        let given = u32::try_from(given).unwrap_or(u32::MAX);
        if given > 0 {
            self.allowed = self.allowed.saturating_add(given).min(BURST_LEN);
            self.given_at = now;
        }
        let may = self.allowed > 0;
        self.allowed = self.allowed.saturating_sub(1);
        may
    }

    fn hold_back(&mut self, now: Instant, event: &Event<'_>) {
        if self.held_back == 0 {
            self.held_since = now;
            let mut words = Words::default();
            event.record(&mut words);
            self.words = words.0;
        }
        self.held_back += 1;
        HELD_BACK.fetch_add(1, Ordering::Relaxed);
    }

    fn take_held_back(&mut self, now: Instant, at_least: Duration) -> Option<(u64, String)> {
        (self.held_back > 0 && now - self.held_since >= at_least).then(|| {
            (
                std::mem::take(&mut self.held_back),
                std::mem::take(&mut self.words),
            )
        })
    }
}

/// Lets each place speak at its pace.
#[derive(Debug)]
struct Pace;

fn is_paced(metadata: &Metadata<'_>) -> bool {
    // Whoever asks for more than `info` wants all of it.
    *metadata.level() <= Level::INFO && metadata.target() != OPERATOR
}

impl<S: Subscriber> Layer<S> for Pace {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !is_paced(metadata) {
            return true;
        }
        let now = Instant::now();
        let mut places = lock(&PLACES);
        let place = places
            .get_or_insert_default()
            .entry(metadata.callsite())
            .or_insert_with(|| Place::new(now));
        let may = place.may_speak(now);
        if !may {
            place.hold_back(now, event);
        }
        may
    }
}

/// The message of an event, without its fields.
#[derive(Debug, Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// A writer that is given whole lines of a format, and lets no control character through but the line break at their end.
#[derive(Debug)]
struct OneLine<W>(W, LogFormat);

impl<W: io::Write> io::Write for OneLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if text.iter().any(|byte| *byte < b' ' || *byte >= 0x7f) {
            let text = String::from_utf8_lossy(text);
            let mut safe = match self.1 {
                LogFormat::Text => printable(&text).into_owned(),
                LogFormat::Json => printable_json(&text),
            };
            safe.push('\n');
            self.0.write_all(safe.as_bytes())?;
        } else {
            self.0.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each critical section leaves what it holds whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn written(line: &str) -> String {
        let mut writer = OneLine(Vec::new(), LogFormat::Text);
        writer.write_all(line.as_bytes()).unwrap();
        String::from_utf8(writer.0).unwrap()
    }

    #[test]
    fn a_line_is_one_line() {
        for (line, expected) in [
            ("plain\n", "plain\n"),
            ("Grüße, 日本\n", "Grüße, 日本\n"),
            ("a\nINFO forged\n", "a\\nINFO forged\n"),
            (
                "a\r\u{1b}[31mred\u{7f}\u{9b}\n",
                "a\\u{d}\\u{1b}[31mred\\u{7f}\\u{9b}\n",
            ),
            ("a\u{202e}b\u{2028}\n", "a\\u{202e}b\\u{2028}\n"),
        ] {
            assert_eq!(written(line), expected);
        }
    }

    #[test]
    fn a_line_of_json_stays_json() {
        let odd: String = (0..=0x2100).filter_map(char::from_u32).collect();
        let line = serde_json::json!({ "path": odd }).to_string();
        let mut writer = OneLine(Vec::new(), LogFormat::Json);
        writer.write_all(format!("{line}\n").as_bytes()).unwrap();
        let written = String::from_utf8(writer.0).unwrap();
        assert!(
            written
                .trim_end()
                .chars()
                .all(crate::printable::is_printable)
        );
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["path"], odd);
    }

    #[test]
    fn a_place_speaks_at_its_pace() {
        let start = Instant::now();
        let mut place = Place::new(start);
        let mut speak = |at: Duration| u32::from(place.may_speak(start + at));
        let minute = 0..600;
        let spoken: u32 = minute
            .map(|tenth| speak(Duration::from_millis(100) * tenth))
            .sum();
        assert_eq!(spoken, BURST_LEN + 1);
        let after_silence: u32 = (0..100).map(|_| speak(PACE * 1_000)).sum();
        assert_eq!(after_silence, BURST_LEN);
    }
}
