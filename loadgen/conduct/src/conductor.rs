//! What a conductor decides. Pure: whoever calls says what time it is, as the time since the conductor began.
//!
//! Before the start a seat is a lease: whoever is silent too long loses it, and another process may take it. From the start
//! on it is for good: who is lost then, or comes then, spoils the run, because nobody knows what was sent.

use std::time::Duration;

use plan::shard::Shard;
use record::number::{counted, seconds};

use crate::comparison::Comparison;
use crate::message::{Beat, End, Join, Order, PROTOCOL, SILENCE_MAX, Stage, Start, bounded};

/// How well the clocks must be known.
const CLOCKS_WITHIN: Duration = Duration::from_millis(100);
/// Clocks that have moved against each other by more than this during the load are no common clock.
const CLOCK_MOVED_MAX_US: i64 = 50_000;
/// A clock that is further off than this is worth a word.
const CLOCK_TOLD_MIN_US: i64 = 100_000;
/// From the moment that all are ready to the start of the load: time enough for each of them to hear of it.
pub const LEAD: Duration = Duration::from_secs(5);

/// What is agreed before the first shard comes.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How many shards there are.
    pub count: u32,
    /// How long they may take until all are ready.
    pub join_within: Duration,
    /// How long the load lasts.
    pub length: Duration,
    /// How long a shard may take after the load to hand over its files.
    pub deliver_within: Duration,
    /// The commit of the conductor; empty when the build was not told.
    pub commit: String,
    /// Whether a shard may be built from another commit.
    pub is_other_commit_allowed: bool,
}

/// Why a process gets no seat, or has none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks another version.
    #[error("this generator is of another version than the conductor: use one build for both")]
    OtherVersion,
    /// It is built from another commit.
    #[error(
        "this generator was built from commit {theirs}, the conductor from {ours}: build both from one checkout, or conduct with --allow other-commit"
    )]
    OtherCommit {
        /// The conductor's.
        ours: String,
        /// The generator's.
        theirs: String,
    },
    /// There is no such number.
    #[error("there is no shard {number} in a run of {count}")]
    NoSuchNumber {
        /// What it wanted.
        number: u32,
        /// How many there are.
        count: u32,
    },
    /// It believes in another number of shards.
    #[error("this generator is one of {theirs} shards, and the run has {ours}")]
    OtherCount {
        /// The conductor's.
        ours: u32,
        /// The generator's.
        theirs: u32,
    },
    /// The number is taken.
    #[error("shard {0} is taken by another process: give each its own number, or none")]
    Taken(u32),
    /// All numbers are taken.
    #[error("all {0} shards are taken")]
    Full(u32),
    /// The load has begun.
    #[error("the load has begun: a generator that comes now is too late for this run")]
    Late,
    /// The run is over.
    #[error("the run is over: {0}")]
    Over(String),
    /// Its seat is gone.
    #[error("shard {0} was silent for too long and is no part of the run any more")]
    NoSeat(u32),
}

/// What happened, to be told on the conductor's terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A shard has come.
    Joined(Shard),
    /// A shard has gone before the start; its number is free.
    Gone(Shard),
    /// The load ends before its end.
    Ending(String),
}

/// Why the run of several generators is not that of one. Each is a sentence of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// These did not come in time.
    Missing(Vec<u32>),
    /// The clocks of these could not be compared in time.
    Uncompared(Vec<u32>),
    /// Last heard of at this time after the start.
    Lost(u32, Duration),
    /// Came again at this time after the start.
    Restarted(u32, Duration),
    /// Could not go on.
    Failed(u32, String),
    /// Did not hand over its files in time.
    Undelivered(u32),
    /// Its files are not those of a shard.
    Broken(u32, String),
    /// Its clock and the conductor's have moved against each other, microseconds.
    ClockMoved(u32, i64),
}

/// One shard's place.
#[derive(Clone, Debug)]
struct Seat {
    instance: String,
    heard_at: Duration,
    stage: Stage,
    clock: Option<Comparison>,
    clock_at_start: Option<Comparison>,
    /// When another process asked for this number after the start.
    came_again_at: Option<Duration>,
    is_lost: bool,
    /// Whether it was told the end.
    knows_end: bool,
}

/// One run over several generators.
#[derive(Debug)]
pub struct Conductor {
    terms: Terms,
    seats: Vec<Option<Seat>>,
    start: Option<(Duration, Box<Start>)>,
    end: Option<(Duration, End)>,
    faults: Vec<Fault>,
    news: Vec<News>,
}

impl Conductor {
    /// Nobody has come yet.
    pub fn new(terms: Terms) -> Self {
        Self {
            seats: vec![None; terms.count as usize],
            terms,
            start: None,
            end: None,
            faults: Vec::new(),
            news: Vec::new(),
        }
    }

    /// A process asks for a shard. Who asks again, because it did not hear the answer, gets the same one.
    ///
    /// # Errors
    /// When it gets none.
    pub fn join(&mut self, now: Duration, instance: &str, join: &Join) -> Result<Shard, Refusal> {
        if join.protocol != PROTOCOL || join.version != env!("CARGO_PKG_VERSION") {
            return Err(Refusal::OtherVersion);
        }
        let ours = &self.terms.commit;
        let is_other = !ours.is_empty() && !join.commit.is_empty() && *ours != join.commit;
        if is_other && !self.terms.is_other_commit_allowed {
            return Err(Refusal::OtherCommit {
                ours: ours.clone(),
                theirs: bounded(&join.commit),
            });
        }
        let count = self.terms.count;
        if let Some(theirs) = join.count.filter(|theirs| *theirs != count) {
            return Err(Refusal::OtherCount {
                ours: count,
                theirs,
            });
        }
        if let Some(number) = join.number.filter(|number| !(1..=count).contains(number)) {
            return Err(Refusal::NoSuchNumber { number, count });
        }
        let held = (1..=count).find(|number| {
            self.seat(*number)
                .is_some_and(|seat| seat.instance == instance)
        });
        if let Some(index) = held {
            return Ok(Shard { index, count });
        }
        if let Some((_, end)) = &self.end {
            return Err(Refusal::Over(end.why.clone()));
        }
        if let Some((started_at, _)) = self.start {
            if let Some(seat) = join.number.and_then(|number| self.seat_mut(number)) {
                seat.came_again_at
                    .get_or_insert(now.saturating_sub(started_at));
            }
            return Err(Refusal::Late);
        }
        self.free_silent(now);
        let index = match join.number {
            Some(number) if self.seat(number).is_some() => return Err(Refusal::Taken(number)),
            Some(number) => number,
            None => (1..=count)
                .find(|number| self.seat(*number).is_none())
                .ok_or(Refusal::Full(count))?,
        };
        self.seats[index as usize - 1] = Some(Seat {
            instance: instance.to_owned(),
            heard_at: now,
            stage: Stage::Preparing,
            clock: None,
            clock_at_start: None,
            came_again_at: None,
            is_lost: false,
            knows_end: false,
        });
        let shard = Shard { index, count };
        self.news.push(News::Joined(shard));
        Ok(shard)
    }

    /// Whether `instance` holds the seat of shard `number` and is part of the run.
    ///
    /// # Errors
    /// When it is not.
    pub fn is_seated(&self, number: u32, instance: &str) -> Result<(), Refusal> {
        match self.seat(number) {
            Some(seat) if seat.instance == instance && !seat.is_lost => Ok(()),
            _ => Err(Refusal::NoSeat(number)),
        }
    }

    /// A shard says how it is, and is told what to do.
    ///
    /// # Errors
    /// When it is no part of the run.
    pub fn beat(
        &mut self,
        now: Duration,
        number: u32,
        instance: &str,
        beat: &Beat,
    ) -> Result<Order, Refusal> {
        self.is_seated(number, instance)?;
        let has_started = self.start.is_some();
        let seat = self.seat_mut(number).ok_or(Refusal::NoSeat(number))?;
        seat.heard_at = now;
        let is_new = seat.stage != beat.stage;
        // What was handed over stays so.
        if !matches!(seat.stage, Stage::Delivered { .. } | Stage::Failed { .. }) {
            seat.stage = beat.stage.clone();
        }
        if let Some(clock) = beat.clock {
            seat.clock = Some(clock);
            let at_start = seat.clock_at_start;
            if let (true, Some(at_start)) = (has_started, at_start) {
                let moved_us = clock.moved_us(&at_start);
                if moved_us.abs() > CLOCK_MOVED_MAX_US {
                    self.clock_moved(number, moved_us);
                }
            }
        }
        if let (true, Stage::Failed { why }) = (is_new, &beat.stage) {
            self.faults.push(Fault::Failed(number, bounded(why)));
            self.end_for_fault(now);
        }
        if let Some(signal) = &beat.stopped {
            self.stop(
                now,
                &format!("shard {number} was stopped by {}", bounded(signal)),
            );
        }
        if let Some(why) = &beat.hopeless {
            self.end_early(now, &bounded(why));
        }
        if let Some((_, end)) = self.end.clone() {
            if let Some(seat) = self.seat_mut(number) {
                seat.knows_end = true;
            }
            return Ok(Order::End(end));
        }
        Ok(match &self.start {
            Some((_, start)) if beat.stage == Stage::Ready => Order::Start(start.clone()),
            _ => Order::GoOn,
        })
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        if self.end.is_none() && self.start.is_none() {
            self.free_silent(now);
            if now > self.terms.join_within && !self.is_ready() {
                let is_there = |number: &u32| {
                    self.seat(*number)
                        .is_some_and(|seat| seat.stage == Stage::Ready)
                };
                let missing: Vec<u32> = (1..=self.terms.count).filter(|n| !is_there(n)).collect();
                self.faults.push(if missing.is_empty() {
                    let unknown = |n: &u32| !self.seat(*n).is_some_and(Seat::is_compared);
                    Fault::Uncompared((1..=self.terms.count).filter(unknown).collect())
                } else {
                    Fault::Missing(missing)
                });
                self.end_for_fault(now);
            }
        }
        let Some((started_at, _)) = self.start else {
            return;
        };
        let mut faults = Vec::new();
        let is_late = now > self.deliver_by(started_at);
        for (number, seat) in (1..).zip(&mut self.seats) {
            let Some(seat) = seat else { continue };
            if seat.is_lost || seat.is_over() {
                continue;
            }
            let is_silent = now.saturating_sub(seat.heard_at) > SILENCE_MAX;
            if is_silent || is_late {
                seat.is_lost = true;
                faults.push(match seat.came_again_at {
                    Some(at) => Fault::Restarted(number, at),
                    None if is_silent => {
                        Fault::Lost(number, seat.heard_at.saturating_sub(started_at))
                    }
                    None => Fault::Undelivered(number),
                });
            }
        }
        if !faults.is_empty() {
            self.faults.extend(faults);
            self.end_for_fault(now);
        }
    }

    /// Whether all shards are there, are ready, and have clocks that are known.
    pub fn is_ready(&self) -> bool {
        self.end.is_none()
            && self.seats.iter().all(|seat| {
                seat.as_ref()
                    .is_some_and(|seat| seat.stage == Stage::Ready && seat.is_compared())
            })
    }

    /// Whether the start is set.
    pub const fn has_started(&self) -> bool {
        self.start.is_some()
    }

    /// Sets the start, at `at` by the conductor's time; `start` is what the shards are told.
    pub fn start(&mut self, at: Duration, start: Start) {
        for seat in self.seats.iter_mut().flatten() {
            seat.clock_at_start = seat.clock;
        }
        self.start = Some((at, Box::new(start)));
    }

    /// The run is stopped, because somebody asked for it.
    pub fn stop(&mut self, now: Duration, why: &str) {
        self.end(now, why, true);
    }

    /// The load ends, because nothing can come of the run any more.
    pub fn end_early(&mut self, now: Duration, why: &str) {
        self.end(now, why, false);
    }

    /// The files of a shard cannot be joined with the others.
    pub fn is_broken(&mut self, number: u32, what: &str) {
        self.faults.push(Fault::Broken(number, bounded(what)));
        if let Some(seat) = self.seat_mut(number) {
            seat.is_lost = true;
        }
    }

    /// Why the load ends before its end, and when that was decided; once it was.
    pub fn ended(&self) -> Option<(Duration, &End)> {
        self.end.as_ref().map(|(at, end)| (*at, end))
    }

    /// Whether nobody sends any more.
    pub fn is_load_over(&self) -> bool {
        self.start.is_some()
            && self.all(|seat| seat.is_lost || seat.is_over() || seat.stage == Stage::Sent)
    }

    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        match (&self.start, &self.end) {
            (None, None) => false,
            // Nothing was sent: whoever is there is told so.
            (None, Some(_)) => self.all(|seat| seat.knows_end || seat.is_over()),
            (Some(_), _) => self.all(|seat| seat.is_lost || seat.is_over()),
        }
    }

    /// The shards whose files are there.
    pub fn delivered(&self) -> Vec<u32> {
        (1..)
            .zip(&self.seats)
            .filter(|(_, seat)| {
                seat.as_ref()
                    .is_some_and(|seat| seat.is_delivered() && !seat.is_lost)
            })
            .map(|(number, _)| number)
            .collect()
    }

    /// The shards whose files are not there.
    pub fn undelivered(&self) -> Vec<u32> {
        let delivered = self.delivered();
        (1..=self.terms.count)
            .filter(|number| !delivered.contains(number))
            .collect()
    }

    /// How many generators there are to be.
    pub const fn count(&self) -> u32 {
        self.terms.count
    }

    /// How far the load came, when it ended before its end.
    pub fn ran_for(&self) -> Option<Duration> {
        let (started_at, _) = self.start.as_ref()?;
        let (ended_at, _) = self.end.as_ref()?;
        let ran_for = ended_at.saturating_sub(*started_at);
        (ran_for < self.terms.length).then_some(ran_for)
    }

    /// Why nothing may be concluded, a sentence each; empty where the run is as good as that of one generator.
    pub fn doubts(&self) -> Vec<String> {
        self.faults
            .iter()
            .map(|fault| fault.words(self.terms.count, self.terms.join_within))
            .collect()
    }

    /// What is worth knowing of a good run too, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        (1..)
            .zip(&self.seats)
            .filter_map(|(number, seat)| {
                let clock = seat.as_ref()?.clock_at_start?;
                (clock.ahead_us.saturating_abs() >= CLOCK_TOLD_MIN_US).then(|| {
                    format!(
                        "The clock of shard {number} is {} {} the conductor's, known to {}: all instants are by the conductor's.",
                        seconds(clock.ahead_us.unsigned_abs() as f64 / 1e6),
                        // It says how far the conductor's is ahead.
                        if clock.ahead_us > 0 { "behind" } else { "ahead of" },
                        milliseconds(clock.within_us),
                    )
                })
            })
            .collect()
    }

    /// What has happened since the last call.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    fn seat(&self, number: u32) -> Option<&Seat> {
        self.seats.get(number.checked_sub(1)? as usize)?.as_ref()
    }

    fn seat_mut(&mut self, number: u32) -> Option<&mut Seat> {
        self.seats
            .get_mut(number.checked_sub(1)? as usize)?
            .as_mut()
    }

    /// Whether it holds of every shard that has come.
    fn all(&self, holds: impl Fn(&Seat) -> bool) -> bool {
        self.seats.iter().flatten().all(holds)
    }

    fn free_silent(&mut self, now: Duration) {
        let count = self.terms.count;
        for (index, place) in (1..).zip(&mut self.seats) {
            let is_silent =
                |seat: &Seat| now.saturating_sub(seat.heard_at) > SILENCE_MAX && !seat.is_over();
            if place.as_ref().is_some_and(is_silent) {
                *place = None;
                self.news.push(News::Gone(Shard { index, count }));
            }
        }
    }

    /// Until when all files must be there.
    fn deliver_by(&self, started_at: Duration) -> Duration {
        let load_ends = started_at + self.terms.length;
        let ends = self
            .end
            .as_ref()
            .map_or(load_ends, |(at, _)| (*at).min(load_ends));
        ends + self.terms.deliver_within
    }

    fn clock_moved(&mut self, number: u32, moved_us: i64) {
        let known = self.faults.iter_mut().find_map(|fault| match fault {
            Fault::ClockMoved(of, most_us) if *of == number => Some(most_us),
            _ => None,
        });
        match known {
            Some(most_us) if moved_us.abs() > most_us.abs() => *most_us = moved_us,
            Some(_) => {}
            None => self.faults.push(Fault::ClockMoved(number, moved_us)),
        }
    }

    fn end_for_fault(&mut self, now: Duration) {
        let words = self.doubts();
        let why = words.last().map_or("", |words| words.trim_end_matches('.'));
        let why = why.to_owned();
        self.end(now, &why, false);
    }

    /// The first reason counts, but for a stop: whoever asks for one gets it.
    fn end(&mut self, now: Duration, why: &str, is_stop: bool) {
        let is_first = match &self.end {
            None => true,
            Some((_, end)) => is_stop && !end.is_stop,
        };
        if is_first {
            let at = self.end.as_ref().map_or(now, |(at, _)| *at);
            let why = why.to_owned();
            self.news.push(News::Ending(why.clone()));
            self.end = Some((at, End { why, is_stop }));
            for seat in self.seats.iter_mut().flatten() {
                seat.knows_end = false;
            }
        }
    }
}

impl Seat {
    fn is_compared(&self) -> bool {
        self.clock
            .is_some_and(|clock| clock.is_within(CLOCKS_WITHIN))
    }

    const fn is_delivered(&self) -> bool {
        matches!(self.stage, Stage::Delivered { .. })
    }

    /// Whether nothing more comes from it.
    const fn is_over(&self) -> bool {
        self.is_delivered() || matches!(self.stage, Stage::Failed { .. })
    }
}

impl Fault {
    fn words(&self, count: u32, join_within: Duration) -> String {
        let after = |at: &Duration| format!("{:.1} s after the start", at.as_secs_f64());
        match self {
            Self::Missing(missing) => format!(
                "Of {} not ready within {}: {}. Nothing was sent.",
                counted(count.into(), "shard"),
                seconds(join_within.as_secs_f64()),
                numbers(missing)
            ),
            Self::Uncompared(of) => format!(
                "The clocks could not be compared to {} within {}: {}. Nothing was sent.",
                milliseconds(CLOCKS_WITHIN.as_micros() as i64),
                seconds(join_within.as_secs_f64()),
                numbers(of)
            ),
            Self::Lost(number, at) => format!(
                "Shard {number} of {count} was lost, last heard of {}: what it sent is not known.",
                after(at)
            ),
            Self::Restarted(number, at) => format!(
                "Shard {number} of {count} was started again {}: what it had sent is not known.",
                after(at)
            ),
            Self::Failed(number, why) => format!("Shard {number} of {count} failed: {why}."),
            Self::Undelivered(number) => {
                format!("Shard {number} of {count} did not hand over what it saw.")
            }
            Self::Broken(number, what) => {
                format!("What shard {number} of {count} handed over cannot be read: {what}.")
            }
            Self::ClockMoved(number, moved_us) => format!(
                "The clock of shard {number} of {count} and the conductor's have moved against each other by {} since the start.",
                milliseconds(moved_us.saturating_abs())
            ),
        }
    }
}

fn milliseconds(us: i64) -> String {
    format!("{:.1} ms", us as f64 / 1e3)
}

/// `shard 2`, `shards 2, 3`; the first ten of many.
fn numbers(of: &[u32]) -> String {
    let told: Vec<String> = of.iter().take(10).map(ToString::to_string).collect();
    let more = of.len() - told.len();
    let shards = if of.len() == 1 { "shard" } else { "shards" };
    match more {
        0 => format!("{shards} {}", told.join(", ")),
        more => format!("{shards} {} and {more} more", told.join(", ")),
    }
}

#[cfg(test)]
mod tests;
