//! What the terminal shows while a run goes on: a few lines that are rewritten, or plain lines where there is no terminal.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plan::scenario::Scenario;
use plan::schedule::Schedule;
use record::followed::Followed;
use record::number::count;
use record::recorder::{Recorder, Second};

/// How often a plain line is written.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// When the first one is written, after the start of the load: the first second is over then.
const PLAIN_FIRST: Duration = Duration::from_millis(1_500);
/// So many seconds before the last one that is over may stand for it: answers come late.
const ANSWERS_BEHIND: usize = 3;
/// How often the sign moves that shows that the run goes on.
const SPIN_EVERY: Duration = Duration::from_millis(120);
/// Columns of the bar.
const BAR_WIDTH: u32 = 30;

/// The display of one run. All of it goes to standard error.
#[derive(Debug)]
pub struct Progress {
    /// Whether lines can be rewritten.
    rewrites: bool,
    /// The lines that are rewritten, while there are any.
    bar: Option<ProgressBar>,
    last_plain: Option<Duration>,
}

impl Progress {
    /// A display for a terminal if there is one.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            rewrites: std::io::stderr().is_terminal() && !dumb,
            bar: None,
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
        // A log is told nothing before there is something to tell.
        let due = self
            .last_plain
            .map_or(PLAIN_FIRST, |last| last + PLAIN_EVERY);
        if !self.rewrites && now < due {
            return;
        }
        self.last_plain = Some(now);
        let view = View::of(now, scenario, schedule, recorder, followed);
        if self.rewrites {
            self.bar().set_message(view.lines());
        } else {
            write_line(&view.line());
        }
    }

    /// How many loans are left in Redis after the load.
    pub fn draining(&mut self, now: Duration, left: u64) {
        let text = format!("waiting until everything is recorded: {} left", count(left));
        if self.rewrites {
            self.bar().set_message(text);
        } else if now >= *self.last_plain.get_or_insert(now) + PLAIN_EVERY {
            self.last_plain = Some(now);
            write_line(&text);
        }
    }

    /// What is done at the moment.
    pub fn doing(&mut self, what: &str) {
        self.last_plain = None;
        if self.rewrites {
            self.bar().set_message(what.to_owned());
        } else {
            write_line(what);
        }
    }

    /// Removes the lines that are rewritten, until there is something new to show: others may write meanwhile.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn bar(&mut self) -> &ProgressBar {
        self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(SPIN_EVERY);
            bar
        })
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// The load at one moment, as far as a reader wants to know.
#[derive(Debug, Clone, PartialEq)]
struct View {
    now: Duration,
    whole: Duration,
    /// The phase's name, its place and how many there are.
    phase: (String, usize, usize),
    /// In the last second that is over.
    sent_per_second: u64,
    planned_per_second: u64,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    sent: u64,
    scheduled: u64,
    errors: u64,
    /// `None` while the service's live metrics are not there.
    service: Option<Behind>,
}

/// What the service has still to do, and who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Behind {
    queued: u64,
    in_hand: u64,
    unrecorded: u64,
    workers: u64,
    workers_max: u64,
}

impl View {
    fn of(
        now: Duration,
        scenario: &Scenario,
        schedule: &Schedule,
        recorder: &Recorder,
        followed: &Followed,
    ) -> Self {
        let phases = schedule.phases();
        let index = phases
            .iter()
            .position(|phase| now < phase.end)
            .unwrap_or(phases.len().saturating_sub(1));
        // The current second is not over: the one before it.
        let over = now.as_secs() as usize;
        let seconds = &recorder.seconds[..over.min(recorder.seconds.len())];
        let second = over
            .checked_sub(1)
            .and_then(|index| seconds.get(index))
            .copied()
            .unwrap_or_default();
        let answered = last_answered(seconds);
        Self {
            now: now.min(schedule.duration()),
            whole: schedule.duration(),
            phase: (
                scenario.phases[index].name.get_ref().clone(),
                index + 1,
                phases.len(),
            ),
            sent_per_second: second.sent,
            planned_per_second: second.planned,
            p50_us: answered.response_p50_us,
            p99_us: answered.response_p99_us,
            sent: recorder.total.sent,
            scheduled: u64::from(schedule.arrivals()),
            errors: recorder.total.failed,
            service: followed.latest.as_ref().map(|snapshot| {
                let gauges = &snapshot.gauges;
                Behind {
                    queued: gauges.queue_depth,
                    in_hand: gauges.in_flight,
                    unrecorded: gauges.unrecorded,
                    workers: gauges.workers,
                    workers_max: gauges.workers_max,
                }
            }),
        }
    }

    fn seconds_left(&self) -> u64 {
        self.whole.saturating_sub(self.now).as_secs_f64().ceil() as u64
    }

    /// One plain line, for a log.
    fn line(&self) -> String {
        let service = self.service.map_or_else(
            || "backlog -, workers -".to_owned(),
            |behind| {
                format!(
                    "backlog {}, workers {}",
                    count(behind.all()),
                    behind.workers
                )
            },
        );
        format!(
            "{} of {} s, {}: {} of {}/s, p50 {}, p99 {}, {service}, errors {}",
            self.now.as_secs(),
            self.whole.as_secs(),
            self.phase.0,
            count(self.sent_per_second),
            count(self.planned_per_second),
            ms(self.p50_us),
            ms(self.p99_us),
            count(self.errors),
        )
    }

    /// Several lines for a terminal, each at most 80 columns for what is usual. The first stands behind the spinner.
    fn lines(&self) -> String {
        let (name, place, places) = &self.phase;
        let share = self.now.as_secs_f64() / self.whole.as_secs_f64().max(f64::MIN_POSITIVE);
        let full = ((share * f64::from(BAR_WIDTH)).round() as usize).min(BAR_WIDTH as usize);
        let bar = "━".repeat(full) + &"╌".repeat(BAR_WIDTH as usize - full);
        let service = self.service.map_or_else(
            || "no data: the live metrics are not there".to_owned(),
            |behind| {
                format!(
                    "{} to do: {} queued, {} in hand, {} not recorded; {} of {} workers",
                    count(behind.all()),
                    count(behind.queued),
                    count(behind.in_hand),
                    count(behind.unrecorded),
                    behind.workers,
                    behind.workers_max
                )
            },
        );
        [
            format!(
                "{bar} {} of {} s, {} s left; phase {place} of {places}: {name}",
                self.now.as_secs(),
                self.whole.as_secs(),
                self.seconds_left()
            ),
            format!(
                "  rate      {}/s of {}/s planned; {} of {} sent",
                count(self.sent_per_second),
                count(self.planned_per_second),
                count(self.sent),
                count(self.scheduled)
            ),
            format!(
                "  response  p50 {}, p99 {} in the last second",
                ms(self.p50_us),
                ms(self.p99_us)
            ),
            format!("  backlog   {service}"),
            format!("  errors    {}", count(self.errors)),
        ]
        .join("\n")
    }
}

/// The newest of the last seconds whose percentiles are known: they are when the first answer of a later second has come.
fn last_answered(seconds: &[Second]) -> Second {
    seconds
        .iter()
        .rev()
        .take(ANSWERS_BEHIND)
        .find(|second| second.response_p50_us.is_some())
        .copied()
        .unwrap_or_default()
}

impl Behind {
    const fn all(self) -> u64 {
        self.queued + self.in_hand + self.unrecorded
    }
}

fn ms(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", us as f64 / 1e3))
}

fn write_line(line: &str) {
    // A terminal that is gone does not stop a run.
    let _ = writeln!(std::io::stderr(), "{}", plain(line));
}

/// `text` without what would steer a terminal: files, servers and other generators may say anything.
pub fn plain(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || turns(c);
    text.replace(steers, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_does_not_steer_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\nc\td\u{9b}e"), "a [2Jb \nc\td e");
        assert_eq!(plain("a\u{202e}b\u{2066}c"), "a b c");
    }

    fn view() -> View {
        View {
            now: Duration::from_millis(18_400),
            whole: Duration::from_secs(40),
            phase: ("burst".to_owned(), 2, 3),
            sent_per_second: 1_998,
            planned_per_second: 2_000,
            p50_us: Some(412),
            p99_us: Some(1_930),
            sent: 12_345,
            scheduled: 27_000,
            errors: 0,
            service: Some(Behind {
                queued: 1_200,
                in_hand: 250,
                unrecorded: 512,
                workers: 5,
                workers_max: 5,
            }),
        }
    }

    #[test]
    fn a_terminal_shows_where_the_run_is() {
        assert_eq!(
            view().lines(),
            "━━━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 18 of 40 s, 22 s left; phase 2 of 3: burst\n  \
             rate      1,998/s of 2,000/s planned; 12,345 of 27,000 sent\n  \
             response  p50 0.4 ms, p99 1.9 ms in the last second\n  \
             backlog   1,962 to do: 1,200 queued, 250 in hand, 512 not recorded; 5 of 5 workers\n  \
             errors    0"
        );
    }

    #[test]
    fn a_log_gets_one_line() {
        assert_eq!(
            view().line(),
            "18 of 40 s, burst: 1,998 of 2,000/s, p50 0.4 ms, p99 1.9 ms, backlog 1,962, workers 5, errors 0"
        );
    }

    #[test]
    fn answers_that_come_late_hide_no_latency() {
        let of = |p50_us| Second {
            response_p50_us: p50_us,
            ..Second::default()
        };
        let seconds = [of(Some(1)), of(Some(2)), of(None)];
        assert_eq!(last_answered(&seconds).response_p50_us, Some(2));
        // What is long over does not stand for now.
        let seconds = [of(Some(1)), of(None), of(None), of(None)];
        assert_eq!(last_answered(&seconds).response_p50_us, None);
        assert_eq!(last_answered(&[]).response_p50_us, None);
    }

    #[test]
    fn what_is_not_known_is_not_a_zero() {
        let unknown = View {
            p50_us: None,
            p99_us: None,
            service: None,
            ..view()
        };
        assert!(
            unknown
                .line()
                .contains("p50 -, p99 -, backlog -, workers -")
        );
        assert!(unknown.lines().contains("no data"));
    }
}
