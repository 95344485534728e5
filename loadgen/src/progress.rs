//! What the terminal shows while a run goes on: one line that is rewritten, or plain lines where there is no terminal.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::follow::Followed;
use crate::histogram::Recorder;
use crate::scenario::Scenario;
use crate::schedule::Schedule;

/// How often a plain line is written.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The display of one run. All of it goes to standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    last_plain: Option<Duration>,
}

impl Progress {
    /// A display for a terminal if there is one.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            last_plain: None,
        }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| write_line(line)),
            None => write_line(line),
        }
    }

    /// How the load is at `now` after its start.
    pub fn load(
        &mut self,
        now: Duration,
        scenario: &Scenario,
        schedule: &Schedule,
        recorder: &Recorder,
        followed: &Followed,
    ) {
        if self.bar.is_none() && self.last_plain.is_some_and(|last| now < last + PLAIN_EVERY) {
            return;
        }
        self.last_plain = Some(now);
        let phase = schedule
            .phases()
            .iter()
            .position(|phase| now < phase.end)
            .unwrap_or(schedule.phases().len().saturating_sub(1));
        // The last whole second: the current one is not over.
        let second = (now.as_secs() as usize)
            .checked_sub(1)
            .and_then(|index| recorder.seconds.get(index))
            .copied()
            .unwrap_or_default();
        let ms = |us: Option<u64>| {
            us.map_or_else(|| "-".to_owned(), |us| format!("{:.1}", us as f64 / 1e3))
        };
        let gauges = followed
            .latest
            .as_ref()
            .map(|snapshot| &snapshot.gauges)
            .cloned()
            .unwrap_or_default();
        let left = schedule.duration().saturating_sub(now);
        self.write(&format!(
            "{}: {}/s of {}/s planned, p50 {} ms, p99 {} ms, backlog {}, workers {}, errors {}, {} s left",
            scenario.phases[phase].name.get_ref(),
            second.sent,
            second.planned,
            ms(second.response_p50_us),
            ms(second.response_p99_us),
            gauges.queue_depth + gauges.in_flight + gauges.unrecorded,
            gauges.workers,
            recorder.total.failed,
            left.as_secs()
        ));
    }

    /// What is done at the moment.
    pub fn doing(&mut self, what: &str) {
        self.last_plain = None;
        self.write(what);
    }

    /// Removes the line that is rewritten.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn write(&self, line: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(line.to_owned());
                bar.tick();
            }
            None => write_line(line),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

fn write_line(line: &str) {
    // A terminal that is gone does not stop a run.
    let _ = writeln!(std::io::stderr(), "{line}");
}
