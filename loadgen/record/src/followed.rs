//! The service's own figures over a run, as they were followed live.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use snapshot::{EventKind, Message, Snapshot};

use crate::clock::steady_us;

/// A step that is taken back within this time is one too many.
const FLAP_WITHIN_MS: u64 = 10_000;

/// How long one look at the service's clock takes. The snapshot that came with the least delay decides.
const CLOCK_LOOK_MS: u64 = 2_000;
/// A snapshot that is asked for may be this old.
const ASKED_MAX_MS: i64 = 2_000;
/// Fewer snapshots do not say that a clock was set back.
const LOOK_SNAPSHOTS_MIN: u32 = 3;
/// A change of the difference above this is a step: somebody set a clock.
const CLOCK_STEP_MS: i64 = 500;
/// A service whose clock is this far ahead was not only measured late: nothing comes before it was sent.
const AHEAD_MAX_MS: i64 = 25;

/// The service's wall clock beside the generator's, in milliseconds: above zero where the service's is ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceClock {
    /// At first.
    pub ahead_first_ms: Option<i64>,
    /// At last.
    pub ahead_last_ms: Option<i64>,
    /// The largest step in between.
    pub step_ms: Option<i64>,
    /// How long the way to the service and back takes.
    pub round_trip_ms: u64,
    /// The look that goes on.
    #[serde(skip)]
    look: Option<Look>,
}

/// A look at the service's clock over several snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    since_ms: u64,
    /// The largest difference: that of the snapshot with the least delay.
    largest_ms: i64,
    snapshots: u32,
}

/// How far `at_ms` is ahead of `received_ms`. A service may say anything.
fn ahead_ms(at_ms: u64, received_ms: u64) -> i64 {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    at_ms.saturating_sub(received_ms as i64)
}

impl ServiceClock {
    /// Takes the instant of a snapshot, `at_ms` by the service's clock and `received_ms` by the generator's.
    pub fn take(&mut self, at_ms: u64, received_ms: u64) {
        if at_ms == 0 {
            return;
        }
        // What is on its way looks older than it is, never younger.
        let ahead_ms = ahead_ms(at_ms, received_ms);
        let mut look = self.look.take().unwrap_or(Look {
            since_ms: received_ms,
            largest_ms: ahead_ms,
            snapshots: 0,
        });
        let is_set_ahead = ahead_ms.saturating_sub(look.largest_ms) > CLOCK_STEP_MS;
        if is_set_ahead || received_ms.saturating_sub(look.since_ms) >= CLOCK_LOOK_MS {
            self.settle(look);
            look = Look {
                since_ms: received_ms,
                largest_ms: ahead_ms,
                snapshots: 0,
            };
        }
        look.largest_ms = look.largest_ms.max(ahead_ms);
        look.snapshots += 1;
        self.look = Some(look);
    }

    /// Where no snapshots came by themselves: two that were asked for, each the service's instant and the generator's. They may
    /// be a while old, so only a large difference is one.
    pub fn of_two(before: (u64, u64), after: (u64, u64)) -> Self {
        let ahead =
            |(at_ms, received_ms): (u64, u64)| (at_ms > 0).then(|| ahead_ms(at_ms, received_ms));
        let mut clock = Self::default();
        if let (Some(first_ms), Some(last_ms)) = (ahead(before), ahead(after)) {
            let is_large = |ms: i64| ms.saturating_abs() > ASKED_MAX_MS;
            clock.ahead_first_ms = is_large(first_ms).then_some(first_ms);
            clock.ahead_last_ms = is_large(last_ms).then_some(last_ms);
            let step_ms = last_ms.saturating_sub(first_ms);
            clock.step_ms = is_large(step_ms).then_some(step_ms);
        }
        clock
    }

    /// Ends the look that goes on.
    pub fn finish(&mut self) {
        if let Some(look) = self.look.take() {
            self.settle(look);
        }
    }

    fn settle(&mut self, look: Look) {
        let ahead_ms = look.largest_ms;
        if let Some(last_ms) = self.ahead_last_ms {
            // A few snapshots may all have been on their way for long.
            if ahead_ms < last_ms && look.snapshots < LOOK_SNAPSHOTS_MIN {
                return;
            }
            let step_ms = ahead_ms.saturating_sub(last_ms);
            if step_ms.saturating_abs()
                > CLOCK_STEP_MS.max(self.step_ms.unwrap_or(0).saturating_abs())
            {
                self.step_ms = Some(step_ms);
            }
        }
        self.ahead_first_ms.get_or_insert(ahead_ms);
        self.ahead_last_ms = Some(ahead_ms);
    }

    /// The difference that is too large for latencies across both clocks, if it ever was: the larger one of first and last.
    pub fn apart_ms(&self) -> Option<i64> {
        [self.ahead_first_ms, self.ahead_last_ms]
            .into_iter()
            .flatten()
            // Behind, the way of a snapshot counts too.
            .filter(|ms| *ms > AHEAD_MAX_MS || *ms < -AHEAD_MAX_MS - self.round_trip_ms as i64)
            .max_by_key(|ms| ms.saturating_abs())
    }

    /// Whether it was compared with the generator's by snapshots that came by themselves. Two that were asked for tell only a large
    /// difference, so that a latency across both clocks may still be off by seconds.
    pub fn is_compared(&self) -> bool {
        self.ahead_last_ms.is_some()
    }

    /// Whether a latency across both clocks means something: they were compared, and were never apart.
    pub fn agrees(&self) -> bool {
        self.is_compared() && self.apart_ms().is_none() && self.step_ms.is_none()
    }

    /// The one of several that is furthest off; of those that are not, one that was not compared.
    pub fn worst_of(clocks: &[Self]) -> Self {
        let off = |clock: &&Self| {
            let [step_ms, apart_ms] =
                [clock.step_ms, clock.apart_ms()].map(|ms| ms.unwrap_or(0).saturating_abs());
            (step_ms.saturating_add(apart_ms), !clock.is_compared())
        };
        clocks.iter().max_by_key(off).cloned().unwrap_or_default()
    }
}

/// The gauges and rates of one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the snapshot's of the same name")]
pub struct Point {
    pub at_ms: u64,
    pub queue_depth: u64,
    pub in_flight: u64,
    pub unrecorded: u64,
    pub workers: u64,
    pub recorded_per_second: f64,
    /// Loans and failures that MongoDB has confirmed since the queue was created.
    #[serde(default)]
    pub recorded: u64,
    pub admitted_per_second: f64,
    pub rss_bytes: u64,
    /// Without the clients' connections.
    pub open_files: u64,
    pub redis_memory_bytes: u64,
}

/// A change of the number of workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Workers before.
    pub from: u64,
    /// Workers after.
    pub to: u64,
    /// Why, in words.
    pub reason: String,
}

/// What was followed so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Followed {
    /// The latest snapshot.
    pub latest: Option<Snapshot>,
    /// Five points a second.
    pub points: Vec<Point>,
    /// Changes of the number of workers, the first ones.
    pub scales: Vec<Scale>,
    /// How many of them there were.
    #[serde(default)]
    pub steps: u64,
    /// Highest backlog: queued, in flight and unrecorded.
    pub backlog_peak: Option<u64>,
    /// When that was first seen, milliseconds since the Unix epoch by the generator's clock.
    #[serde(default)]
    pub backlog_peak_at_ms: Option<u64>,
    /// Most workers at once.
    pub workers_peak: Option<u64>,
    /// Highest resident memory of the service, bytes.
    pub rss_bytes_peak: Option<u64>,
    /// How often the connection broke.
    pub reconnects: u64,
    /// When it first did, milliseconds since the Unix epoch by the generator's clock.
    #[serde(default)]
    pub broke_off_at_ms: Option<u64>,
    /// When the last snapshot came, and when it was taken, milliseconds since the Unix epoch by the generator's clock and by the
    /// service's.
    #[serde(default)]
    pub last_ms: Option<(u64, u64)>,
    /// When nothing was seen for long: from one snapshot to the next, by the generator's clock; the first ones.
    #[serde(default)]
    pub gaps_ms: Vec<(u64, u64)>,
    /// When Redis first was said to be able to lose what it has confirmed, by the generator's clock.
    #[serde(default)]
    pub weak_at_ms: Option<u64>,
    /// Its clock.
    #[serde(default)]
    pub clock: ServiceClock,
    /// Of so many snapshots one becomes a point; grows with the run, so that the points stay few. 0 counts as 1.
    #[serde(skip)]
    pub(crate) every: u64,
    /// Snapshots so far.
    #[serde(skip)]
    pub(crate) snapshots: u64,
}

/// The most points that are kept: two hours of five a second.
const POINTS_MAX: usize = 36_000;
/// The most changes of the number of workers that are kept.
const SCALES_MAX: usize = 2_000;
/// Snapshots come five times a second: what lies between two that are further apart was not seen.
const GAP_MIN_MS: u64 = 3_000;
/// The most gaps that are kept.
const GAPS_MAX: usize = 1_000;

impl Followed {
    /// How long nothing was seen between two instants of the generator's clock, in stretches that are worth naming.
    pub fn unseen(&self, from_ms: u64, to_ms: u64) -> Duration {
        let (first_ms, last_ms) = match (self.points.first(), self.last_ms) {
            (Some(first), Some((last_ms, _))) => (first.at_ms, last_ms),
            _ => (to_ms, to_ms),
        };
        let ends = [(from_ms, first_ms), (last_ms, to_ms)];
        let gaps = ends.iter().chain(&self.gaps_ms);
        let unseen_ms = gaps
            .map(|(since_ms, until_ms)| {
                (*until_ms)
                    .min(to_ms)
                    .saturating_sub((*since_ms).max(from_ms))
            })
            .filter(|gap_ms| *gap_ms >= GAP_MIN_MS)
            .sum();
        Duration::from_millis(unseen_ms)
    }

    /// Whether something between two instants of the generator's clock was not seen.
    pub fn has_gap(&self, from_ms: u64, to_ms: u64) -> bool {
        self.gaps_ms
            .iter()
            .any(|(since_ms, until_ms)| *since_ms < to_ms && *until_ms > from_ms)
    }

    /// Notes that a snapshot came at `received_ms`. One that waited on its way was not missed: it was taken soon after the last one.
    fn seen(&mut self, received_ms: u64, taken_ms: u64) {
        if let Some((last_ms, last_taken_ms)) = self.last_ms
            && received_ms.saturating_sub(last_ms) >= GAP_MIN_MS
            && taken_ms.saturating_sub(last_taken_ms) >= GAP_MIN_MS
            && self.gaps_ms.len() < GAPS_MAX
        {
            self.gaps_ms.push((last_ms, received_ms));
        }
        self.last_ms = Some((received_ms, taken_ms));
    }

    /// How often a change of the number of workers was taken back soon after: up and down, or down and up.
    pub fn flaps(&self) -> u64 {
        self.scales
            .windows(2)
            .filter(|steps| {
                (steps[0].to > steps[0].from) != (steps[1].to > steps[1].from)
                    && steps[1].at_ms.saturating_sub(steps[0].at_ms) < FLAP_WITHIN_MS
            })
            .count() as u64
    }

    /// Notes that the connection broke.
    pub fn broke_off(&mut self) {
        self.reconnects += 1;
        self.broke_off_at_ms
            .get_or_insert((steady_us() / 1000) as u64);
    }

    /// Takes what the service told, as of now by the generator's clock.
    pub fn take(&mut self, message: Message) {
        self.take_at(message, (steady_us() / 1000) as u64);
    }

    /// Takes what the service told at `received_ms`, milliseconds since the Unix epoch by the generator's clock. All instants
    /// are kept by that one.
    pub fn take_at(&mut self, message: Message, received_ms: u64) {
        match message {
            Message::History { .. } | Message::Tasks { .. } => {}
            Message::Event { event } => {
                if let EventKind::Scale {
                    from, to, reason, ..
                } = event.kind
                {
                    self.steps += 1;
                    if self.scales.len() < SCALES_MAX {
                        self.scales.push(Scale {
                            at_ms: received_ms,
                            from,
                            to,
                            reason,
                        });
                    }
                }
            }
            Message::Snapshot { snapshot } => {
                self.clock.take(snapshot.at_ms, received_ms);
                self.seen(received_ms, snapshot.at_ms);
                if !snapshot.redis.weaknesses.is_empty() {
                    self.weak_at_ms.get_or_insert(received_ms);
                }
                let gauges = &snapshot.gauges;
                let backlog = gauges
                    .queue_depth
                    .saturating_add(gauges.in_flight)
                    .saturating_add(gauges.unrecorded);
                if self.backlog_peak.is_none_or(|peak| backlog > peak) {
                    self.backlog_peak = Some(backlog);
                    self.backlog_peak_at_ms = Some(received_ms);
                }
                self.workers_peak = self.workers_peak.max(Some(gauges.workers));
                self.rss_bytes_peak = self.rss_bytes_peak.max(Some(snapshot.process.rss_bytes));
                let is_kept = self.snapshots.is_multiple_of(self.every.max(1));
                self.snapshots += 1;
                if !is_kept {
                    self.latest = Some(*snapshot);
                    return;
                }
                if self.points.len() >= POINTS_MAX {
                    let mut number = 0u64;
                    self.points.retain(|_| {
                        number += 1;
                        !number.is_multiple_of(2)
                    });
                    self.every = self.every.max(1) * 2;
                }
                self.points.push(Point {
                    at_ms: received_ms,
                    queue_depth: gauges.queue_depth,
                    in_flight: gauges.in_flight,
                    unrecorded: gauges.unrecorded,
                    workers: gauges.workers,
                    recorded_per_second: snapshot.rates.recorded,
                    recorded: snapshot
                        .counters
                        .recorded_loans
                        .saturating_add(snapshot.counters.recorded_failures),
                    admitted_per_second: snapshot.rates.admitted,
                    rss_bytes: snapshot.process.rss_bytes,
                    // Connections are the clients', who may open more of them as they please.
                    open_files: snapshot
                        .process
                        .open_files
                        .saturating_sub(snapshot.gauges.connections),
                    redis_memory_bytes: snapshot.redis.used_memory_bytes,
                });
                self.latest = Some(*snapshot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_and_scales_are_kept() {
        let mut followed = Followed::default();
        for (depth, workers) in [(10, 1), (200, 4), (0, 2)] {
            let mut snapshot = Snapshot::default();
            snapshot.gauges.queue_depth = depth;
            snapshot.gauges.in_flight = 5;
            snapshot.gauges.workers = workers;
            followed.take(Message::Snapshot {
                snapshot: Box::new(snapshot),
            });
        }
        let scale: Message = serde_json::from_str(
            r#"{"type":"event","event":{"atMs":5,"kind":"scale","instance":"a","from":1,"to":4,"reason":"200 queued"}}"#,
        )
        .expect("the message of the contract");
        followed.take(scale);
        assert_eq!(followed.backlog_peak, Some(205));
        assert_eq!(followed.workers_peak, Some(4));
        assert_eq!(followed.points.len(), 3);
        assert_eq!(followed.scales[0].to, 4);
    }

    #[test]
    fn clocks_that_differ_or_step_are_noticed() {
        let looked = |ahead: fn(u64) -> i64| {
            let mut clock = ServiceClock {
                round_trip_ms: 100,
                ..ServiceClock::default()
            };
            for tick in 0..100u64 {
                let now_ms = 1_700_000_000_000 + tick * 200;
                // Each snapshot is on its way for 1 to 9 ms.
                let sent_ms = now_ms as i64 - 1 - (tick % 9) as i64;
                clock.take((sent_ms + ahead(tick)) as u64, now_ms);
            }
            clock.finish();
            (clock.apart_ms(), clock.step_ms)
        };
        assert_eq!(looked(|_| 0), (None, None));
        assert_eq!(looked(|_| 300_000), (Some(299_999), None));
        assert_eq!(looked(|_| -300_000), (Some(-300_001), None));
        let (apart, step) = looked(|tick| if tick < 50 { 0 } else { 86_400_000 });
        assert!(apart > Some(86_300_000) && step > Some(86_300_000));
        // Set, and set back.
        let (_, step) = looked(|tick| if (40..60).contains(&tick) { 5_000 } else { 0 });
        assert!(step.is_some_and(|ms| ms.abs() > 4_900), "{step:?}");
        // A slow network is no clock.
        assert_eq!(looked(|_| -100), (None, None));
        let mut unknown = ServiceClock::default();
        unknown.take(0, 1_700_000_000_000);
        unknown.finish();
        assert_eq!(unknown, ServiceClock::default());
    }

    #[test]
    fn a_clock_that_was_not_compared_closely_does_not_agree() {
        let now_ms = 1_700_000_000_000;
        let mut followed = ServiceClock::default();
        followed.take(now_ms, now_ms + 2);
        followed.finish();
        assert!(followed.agrees());
        // Half a second off is nothing that two snapshots can tell.
        let asked = ServiceClock::of_two((now_ms - 500, now_ms), (now_ms + 9_500, now_ms + 10_000));
        assert_eq!((asked.apart_ms(), asked.step_ms), (None, None));
        assert!(!asked.is_compared() && !asked.agrees());
        let far = ServiceClock::of_two((now_ms, now_ms + 9_000), (now_ms, now_ms + 9_000));
        assert!(far.is_compared() && !far.agrees());
        let unknown = ServiceClock::default();
        assert!(!unknown.agrees());
        let all = [unknown.clone(), followed.clone(), asked];
        assert!(!ServiceClock::worst_of(&all).is_compared());
        assert_eq!(ServiceClock::worst_of(&[far.clone(), unknown]), far);
        assert!(ServiceClock::worst_of(&[followed.clone(), followed]).agrees());
    }

    #[test]
    fn the_points_of_a_day_are_few_and_in_order() {
        let mut followed = Followed::default();
        for tick in 0..24 * 3600 * 5u64 {
            let mut snapshot = Snapshot::default();
            snapshot.gauges.queue_depth = tick % 1_000;
            let message = Message::Snapshot {
                snapshot: Box::new(snapshot),
            };
            followed.take_at(message, tick * 200);
        }
        let points = &followed.points;
        assert!(
            points.len() <= POINTS_MAX && points.len() > POINTS_MAX / 4,
            "{}",
            points.len()
        );
        assert!(points.is_sorted_by(|a, b| a.at_ms < b.at_ms));
        assert!(
            points
                .last()
                .is_some_and(|last| last.at_ms > 23 * 3600 * 1000)
        );
        // What was not kept as a point is in the peak.
        assert_eq!(followed.backlog_peak, Some(999));
    }

    #[test]
    fn what_was_not_seen_is_told_by_its_length() {
        let seen = |instants: &[(u64, u64)]| {
            let mut followed = Followed::default();
            for (received_ms, taken_ms) in instants {
                let snapshot = Snapshot {
                    at_ms: *taken_ms,
                    ..Snapshot::default()
                };
                let message = Message::Snapshot {
                    snapshot: Box::new(snapshot),
                };
                followed.take_at(message, *received_ms);
            }
            followed.unseen(10_000, 20_000)
        };
        let every = |from_ms: u64, to_ms: u64| {
            (from_ms..=to_ms)
                .step_by(200)
                .map(|ms| (ms, ms))
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(&every(9_000, 21_000)), Duration::ZERO);
        // Nothing at all, nothing at first, nothing at last, nothing in between.
        assert_eq!(seen(&[]), Duration::from_secs(10));
        assert_eq!(seen(&every(14_000, 21_000)), Duration::from_secs(4));
        assert_eq!(seen(&every(9_000, 12_000)), Duration::from_secs(8));
        let broken = [every(9_000, 12_000), every(17_000, 21_000)].concat();
        assert_eq!(seen(&broken), Duration::from_secs(5));
        // A moment is none, nor is what came late: the generator itself stood still.
        let moment = [every(9_000, 12_000), every(14_000, 21_000)].concat();
        assert_eq!(seen(&moment), Duration::ZERO);
        let late: Vec<_> = every(9_000, 21_000)
            .into_iter()
            .map(|(_, taken_ms)| match taken_ms {
                12_000..17_000 => (17_000, taken_ms),
                _ => (taken_ms, taken_ms),
            })
            .collect();
        assert_eq!(seen(&late), Duration::ZERO);
    }

    #[test]
    fn a_step_that_is_soon_taken_back_is_a_flap() {
        let scale = |at_ms, from, to| Scale {
            at_ms,
            from,
            to,
            reason: String::new(),
        };
        let followed = Followed {
            scales: vec![
                scale(0, 1, 2),
                scale(1_000, 2, 4),
                // Soon, and back.
                scale(5_000, 4, 3),
                // Late, so it is no flap.
                scale(20_000, 3, 5),
            ],
            ..Followed::default()
        };
        assert_eq!(followed.flaps(), 1);
    }
}
