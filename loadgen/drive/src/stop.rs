//! A stop that was asked for, by Ctrl-C, SIGTERM, SIGHUP or a conductor: one for all stages of a command.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(100);
/// The exit code of a command that signals end.
const ABORTED: i32 = 4;
/// How long a command may take to tell what is there, once it was asked a second time.
const HURRIED_WITHIN: Duration = Duration::from_secs(3);

/// Who asked first, and when.
static ASKED: OnceLock<(&'static str, Instant)> = OnceLock::new();
/// Set by the second one.
static HURRIED: AtomicBool = AtomicBool::new(false);

/// Takes Ctrl-C, SIGTERM and SIGHUP (of a terminal that is closed; not under `nohup`) from now on, before goose or anybody else
/// can: the first asks for a stop, the second asks to tell at once what is there, the third ends the process. To be called first
/// of all in a process, while it has one thread. A child takes over what is blocked here: whoever starts one lifts that for the
/// moment, and then [`hear`] hears what comes.
///
/// # Errors
/// When the system does not allow it.
pub fn catch() -> std::io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if !is_hangup_ignored() {
        signals.add(Signal::SIGHUP);
    }
    // Blocked, a signal waits for the thread below, whatever handlers are set.
    signals.thread_block()?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            while let Ok(signal) = signals.wait() {
                note(match signal {
                    Signal::SIGINT => "Ctrl-C",
                    Signal::SIGHUP => "SIGHUP",
                    _ => "SIGTERM",
                });
            }
        })?;
    Ok(())
}

/// Makes a file that grows beyond its limit (`ulimit -f`) an error of the write, and not the end of the process. To be called
/// first of all in a process, while it has one thread.
///
/// # Errors
/// When the system does not allow it.
pub fn outlive_file_limits() -> std::io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    Ok(signals.thread_block()?)
}

/// Whether whoever started the process wants it to outlive its terminal, as `nohup` does.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (Signal::SIGHUP as i32 - 1)) != 0)
}

/// Hears the signals that find a thread on which they are not blocked, because it is starting a server: without a handler they would
/// end the process. Runs for ever.
pub async fn hear() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    let hangup = (!is_hangup_ignored()).then(|| signal(SignalKind::hangup()).ok());
    let mut hangup = hangup.flatten();
    loop {
        tokio::select! {
            _ = interrupt.recv() => note("Ctrl-C"),
            _ = terminate.recv() => note("SIGTERM"),
            Some(()) = async { hangup.as_mut()?.recv().await } => note("SIGHUP"),
        }
    }
}

fn note(name: &'static str) {
    let is_first = ASKED.set((name, Instant::now())).is_ok();
    if !is_first && HURRIED.swap(true, Ordering::Relaxed) {
        process::exit(ABORTED);
    }
    if !is_first {
        std::thread::spawn(|| {
            std::thread::sleep(HURRIED_WITHIN);
            process::exit(ABORTED);
        });
    }
}

/// Asks for a stop, as a signal does; `who` does it.
pub fn ask(who: &'static str) {
    let _ = ASKED.set((who, Instant::now()));
}

/// Why a stop was asked for, once it was.
pub fn asked() -> Option<&'static str> {
    ASKED.get().map(|(name, _)| *name)
}

/// How long ago that was; nothing when no stop was asked for.
pub fn asked_for() -> Option<Duration> {
    ASKED.get().map(|(_, at)| at.elapsed())
}

/// Whether it was asked for a second time: nothing is to be waited for any more.
pub fn is_hurried() -> bool {
    HURRIED.load(Ordering::Relaxed)
}

/// Waits until a stop is asked for a second time.
pub async fn hurried() {
    while !is_hurried() {
        tokio::time::sleep(TICK).await;
    }
}

/// Waits until a stop is asked for.
pub async fn wait() {
    while asked().is_none() {
        tokio::time::sleep(TICK).await;
    }
}

/// What comes of a stage, or nothing as soon as a stop is asked for: the stage is dropped then, with whatever it started.
pub async fn unless_asked<T>(stage: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = wait() => None,
        done = stage => Some(done),
    }
}

/// The stop of one load: asked for from outside, or because nothing can come of it any more.
pub struct Stop {
    pub(crate) flag: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Stop {
    /// Begins to watch.
    pub fn watch() -> Self {
        let flag = Arc::new(AtomicBool::new(asked().is_some()));
        let set = Arc::clone(&flag);
        let task = tokio::spawn(async move {
            wait().await;
            set.store(true, Ordering::Relaxed);
        });
        Self { flag, task }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.task.abort();
    }
}
