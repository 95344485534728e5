//! Gathers what was seen of a run into its [`Report`]. Pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use plan::kind::Kind;
use plan::metric::{Metric, Plain, server_figure};
use plan::payload::Payloads;
use plan::scenario::Scenario;
use plan::schedule::Schedule;
use record::clock::RunClock;
use record::followed::{Followed, Point, ServiceClock};
use record::latencies::Latencies;
use record::ledger::Heard;
use record::number::{count, seconds};
use record::recorder::{Recorder, Second};
use record::result::run::{
    Answers, Check, CounterRow, CrowdReport, CurvePoint, Drain, ErrorRow, EventKind, InstantNote,
    KindRow, LatencyCurve, Load, Percentiles, Phase, Provenance, Report, Resources, RunEvent,
    TimePoint, Workers,
};
use record::sample::Answer;
use snapshot::Snapshot;

use crate::answers::wrong_answers;
use crate::audit::{Audited, DISCARDED};
use crate::checks::{self, Blame, Disturbance, Figures, Judged};
use crate::crowd;
use crate::flatness;
use crate::others::{Beside, Others, are_of_one_process};
use crate::verdict::{Evidence, decide};

/// Everything that was seen of one run.
#[expect(
    missing_docs,
    reason = "each field is named after its type or after the report's field"
)]
pub struct Account<'a> {
    pub scenario: &'a Scenario,
    pub scenario_path: &'a Path,
    pub schedule: &'a Schedule,
    pub payloads: &'a Payloads,
    pub recorder: &'a Recorder,
    pub heard: &'a [Heard],
    pub followed: &'a Followed,
    pub clock: RunClock,
    pub audited: Audited,
    /// Why the stores could not be read to the end, in words.
    pub audit_failed: Option<&'a str>,
    /// What the service and its stores were no longer when the load had ended, a sentence each.
    pub changed: &'a [String],
    pub drain: Drain,
    pub provenance: Provenance,
    pub started_at: String,
    pub finished_at: String,
    pub duration: Duration,
    pub redis_memory_start_bytes: Option<u64>,
    pub redis_memory_end_bytes: Option<u64>,
    /// Highest resident memory of this process.
    pub loadgen_rss_bytes_peak: Option<u64>,
    /// Why the run was stopped before its end.
    pub aborted: Option<&'a str>,
    /// Why the run ended by itself before its end: a check could no longer hold.
    pub ended_early: Option<&'a str>,
    /// Arrivals that were due while every user was busy.
    pub held_back: u64,
    /// Users, the most requests in flight.
    pub users: usize,
    /// How far the load came, when it ended before its planned end.
    pub reached: Option<Duration>,
    /// How far the generator's wall clock was set ahead while the run went on, microseconds.
    pub set_ahead_us: i64,
    /// Records that others made in the same stores beside the run.
    pub foreign_records: u64,
    /// The service runs for this run alone.
    pub is_private: bool,
    /// Its instances that the load went to.
    pub instances: usize,
    /// The stores were looked at.
    pub stores: bool,
    /// The service's snapshots before the load and after the drain.
    pub snapshots: Option<(&'a Snapshot, &'a Snapshot)>,
    /// Requests by goose's count and by ours.
    pub requests: (u64, u64),
    /// What became of those who misbehaved beside the load.
    pub crowd: Option<CrowdReport>,
    /// Several generators as one.
    pub generators: Generators,
}

/// What is known of several generators that send one schedule.
#[derive(Clone, Debug, Default)]
pub struct Generators {
    /// Why they were not as one, a sentence each.
    pub doubts: Vec<String>,
    /// What is worth knowing all the same, a sentence each.
    pub notes: Vec<String>,
}

/// The target of a run that starts a stack for itself.
pub const PRIVATE: &str = "private";
/// A wall clock that was set by less than this may as well have been slowed.
const OWN_STEP_MIN_MS: i64 = 500;
/// How many pauses of the generator are among the events, the longest ones.
const PAUSES_TOLD: usize = 20;

impl Account<'_> {
    /// How far the load came: the length of the schedule, or less when it ended before.
    fn came_to(&self) -> Duration {
        let whole = self.schedule.duration();
        self.reached.unwrap_or(whole).min(whole)
    }

    /// From the start of the load until the last of `latencies` left, which were due by `end`: a generator that stood still
    /// past `end` sent the rest afterwards. What is later by no more than the scenario allows counts as in time, and so do
    /// stragglers, fewer than one of a hundred.
    fn sent_until(&self, end: Duration, latencies: &Latencies) -> Duration {
        let lag_us = latencies.send_lag.value_at_quantile(0.99);
        let until = latencies.last_sent.min(end + Duration::from_micros(lag_us));
        if until > end + self.scenario.send_lag_max {
            until
        } else {
            end
        }
    }

    /// How long the load was sent.
    fn sending(&self) -> Duration {
        self.sent_until(self.came_to(), &self.recorder.total)
    }
}

/// The report of a run.
pub fn account(seen: &Account<'_>) -> Report {
    let scenario = seen.scenario;
    let load = load(seen);
    let resources = Resources {
        service_rss_bytes_peak: seen.followed.rss_bytes_peak,
        service_cpu_milliseconds: seen.snapshots.and_then(|(before, after)| {
            let used = after.process.cpu_seconds - before.process.cpu_seconds;
            are_of_one_process(before, after).then_some((used.max(0.0) * 1e3) as u64)
        }),
        redis_memory_start_bytes: seen.redis_memory_start_bytes,
        redis_memory_end_bytes: seen.redis_memory_end_bytes,
        loadgen_rss_bytes_peak: seen.loadgen_rss_bytes_peak,
    };
    let others = others(seen);
    let counters = others.within(&seen.audited.counters);
    let figures = Measured {
        seen,
        load: &load,
        resources: &resources,
        counters: &counters,
        unseen: unseen(seen),
    };
    let judged: Vec<Judged> = scenario
        .checks
        .iter()
        .map(|check| {
            let phase = check
                .phase
                .as_ref()
                .and_then(|phase| scenario.phase(phase.get_ref()));
            checks::judge(check, phase, &figures)
        })
        .collect();
    let judged: Vec<(Check, Blame)> = judged
        .into_iter()
        .map(|judged| (judged.check, judged.blame))
        .collect();
    let foreign = others.in_words(&seen.audited.counters);
    let crowd_doubts = seen.crowd.as_ref().map(crowd::doubts).unwrap_or_default();
    let (verdict, mut why) = decide(&Evidence {
        aborted: seen.aborted,
        ended_early: seen.ended_early,
        sent: load.sent,
        demanded: demanded(seen.payloads, seen.heard),
        promised: load.answers.queued + load.answers.replayed,
        wrong_answers: &wrong_answers(seen.payloads, seen.heard),
        unanswered: load.failed,
        unanswered_touched: seen.recorder.total.failed_touched,
        unanswered_by: &unanswered_by(seen.recorder),
        unanswered_ratio_max: scenario.unanswered_ratio_max,
        held_back: load.held_back,
        users: seen.users,
        judges_speed: judges_speed(scenario),
        generator_lag_p99: Duration::from_micros(load.generator_lag_us.p99.unwrap_or(0)),
        generator_lag_max: scenario.send_lag_max,
        pauses: &seen.recorder.pauses,
        clocks: &clocks(&seen.followed.clock, &seen.audited, seen.set_ahead_us),
        foreign: foreign.as_deref(),
        overrides: &seen.provenance.overrides,
        crowd: &crowd_doubts,
        generators: &seen.generators.doubts,
        unsent: load.unsent,
        checks: &judged,
        audit: seen.stores.then_some(&seen.audited.audit),
        audit_failed: seen.audit_failed,
        changed: seen.changed,
        counters: &counters,
        requests: seen.requests,
    });
    why.extend(seen.generators.notes.iter().cloned());
    why.extend(unseen_in_words(&figures));
    let total = &seen.recorder.total;
    Report {
        scenario: scenario.name.get_ref().clone(),
        scenario_description: scenario.description.clone(),
        verdict,
        why,
        started_at: seen.started_at.clone(),
        finished_at: seen.finished_at.clone(),
        duration_seconds: seen.duration.as_secs_f64(),
        reached_seconds: seen.reached.map(|reached| reached.as_secs_f64()),
        seed: scenario.seed,
        provenance: seen.provenance.clone(),
        crowd: seen.crowd.clone(),
        load,
        phases: phases(seen),
        by_kind: kinds(seen),
        audit: seen.audited.audit.clone(),
        without_stores: !seen.stores,
        counters_agree: counters,
        time_series: rolled_up(time_series(seen)),
        latency_curve: LatencyCurve {
            response_us: CurvePoint::curve(&total.response),
            service_us: CurvePoint::curve(&total.service),
            end_to_end_us: CurvePoint::curve(&total.end_to_end),
        },
        heatmap: seen.recorder.heat.map(),
        events: events(seen),
        drain: Drain {
            backlog_peak_at_seconds: seen
                .followed
                .backlog_peak_at_ms
                .map(|at_ms| (seen.clock.offset_seconds(at_ms).max(0.0) * 1e3).round() / 1e3),
            ..seen.drain.clone()
        },
        workers: Workers {
            peak: seen.followed.workers_peak,
            bound: seen
                .followed
                .latest
                .as_ref()
                .map(|snapshot| snapshot.gauges.workers_max),
            steps: seen.followed.steps,
            flaps: seen.followed.flaps(),
        },
        resources,
        checks: judged.into_iter().map(|(check, _)| check).collect(),
        settings: scenario.source.clone(),
        errors: seen
            .recorder
            .errors
            .iter()
            .map(|(kind, error)| ErrorRow {
                kind: kind.clone(),
                count: error.count,
                example: error.examples.first().cloned().unwrap_or_default(),
                more_examples: error.examples.iter().skip(1).cloned().collect(),
            })
            .collect(),
        ended_early: seen.ended_early.map(str::to_owned),
        instants: instants(),
        repeat: repeat(seen),
        ..Report::default()
    }
}

fn load(seen: &Account<'_>) -> Load {
    let total = &seen.recorder.total;
    let scheduled = u64::from(seen.schedule.arrivals());
    let sending = seen.sending().as_secs_f64();
    // Of a load that never began it is that of the whole.
    let planned = match seen.came_to() {
        Duration::ZERO => seen.schedule.duration(),
        came_to => came_to,
    };
    let mut answers = Answers::default();
    for (answer, count) in seen.recorder.answers.values().flatten() {
        *match answer {
            Answer::Queued => &mut answers.queued,
            Answer::Replayed => &mut answers.replayed,
            Answer::Refused(_) => &mut answers.rejected,
            Answer::Unknown(_) => &mut answers.unknown,
        } += count;
    }
    Load {
        scheduled,
        sent: total.sent,
        unsent: scheduled.saturating_sub(total.sent),
        completed: total.completed,
        failed: total.failed,
        resent: seen.recorder.resent,
        held_back: seen.held_back,
        answers,
        sending_seconds: sending,
        rate_per_second: per_second(total.sent, sending),
        planned_rate_per_second: per_second(
            due(seen, Duration::ZERO, planned),
            planned.as_secs_f64(),
        ),
        send_lag_us: Percentiles::of(&total.send_lag),
        generator_lag_us: Percentiles::of(&total.generator_lag),
        response_us: Percentiles::of(&total.response),
        service_us: Percentiles::of(&total.service),
        refused_us: Percentiles::of(&total.refused),
        silent_us: Percentiles::of(&total.silent),
        end_to_end_us: Percentiles::of(&total.end_to_end),
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        (count as f64 / seconds * 10.0).round() / 10.0
    } else {
        0.0
    }
}

fn phases(seen: &Account<'_>) -> Vec<Phase> {
    seen.scenario
        .phases
        .iter()
        .zip(seen.schedule.phases())
        .zip(&seen.recorder.phases)
        // What never began is no part of the run.
        .filter(|((_, planned), _)| planned.start.is_zero() || planned.start < seen.came_to())
        .map(|((phase, planned), latencies)| Phase {
            name: phase.name.get_ref().clone(),
            shape: phase.shape(),
            start_seconds: planned.start.as_secs_f64(),
            end_seconds: planned.end.min(seen.came_to()).as_secs_f64(),
            planned_end_seconds: planned.end.as_secs_f64(),
            planned_rate_per_second: per_second(
                u64::from(planned.arrivals),
                phase.duration.as_secs_f64(),
            ),
            scheduled: u64::from(planned.arrivals),
            sent: latencies.sent,
            completed: latencies.completed,
            failed: latencies.failed,
            recorded_per_second: recorded_between(seen, planned.start, planned.end),
            send_lag_us: Percentiles::of(&latencies.send_lag),
            generator_lag_us: Percentiles::of(&latencies.generator_lag),
            response_us: Percentiles::of(&latencies.response),
            service_us: Percentiles::of(&latencies.service),
            end_to_end_us: Percentiles::of(&latencies.end_to_end),
        })
        .collect()
}

/// Records for each second between the first and the last live figure from `start` to `end`.
fn recorded_between(seen: &Account<'_>, start: Duration, end: Duration) -> Option<f64> {
    let (start, end) = (start.as_secs_f64(), end.as_secs_f64());
    let at = |point: &Point| seen.clock.offset_seconds(point.at_ms);
    let mut within = seen
        .followed
        .points
        .iter()
        .filter(|point| (start..=end).contains(&at(point)));
    let first = within.next()?;
    let last = within.next_back()?;
    let length = at(last) - at(first);
    (length > 0.0).then(|| {
        let recorded = last.recorded.saturating_sub(first.recorded);
        (recorded as f64 / length * 10.0).round() / 10.0
    })
}

/// Arrivals that are due from `from` up to `to`.
fn due(seen: &Account<'_>, from: Duration, to: Duration) -> u64 {
    if from.is_zero() && to >= seen.schedule.duration() {
        return u64::from(seen.schedule.arrivals());
    }
    let slots = seen.schedule.slots().skip_while(|slot| slot.offset < from);
    slots.take_while(|slot| slot.offset < to).count() as u64
}

/// What arrivals without a definite answer met instead, and how many of them, the most frequent first.
pub(crate) fn unanswered_by(recorder: &Recorder) -> Vec<(String, u64)> {
    let mut by: BTreeMap<String, u64> = BTreeMap::new();
    for (answer, count) in recorder.answers.values().flatten() {
        if let Answer::Unknown(unknown) = answer {
            *by.entry(unknown.in_words()).or_default() += count;
        }
    }
    let mut by: Vec<(String, u64)> = by.into_iter().collect();
    by.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    by
}

/// Whether a check looks at how fast the service was.
fn judges_speed(scenario: &Scenario) -> bool {
    scenario.checks.iter().any(|check| {
        matches!(
            Metric::parse(check.metric.get_ref()),
            Some(Metric::ResponseMs(_) | Metric::ServiceMs(_) | Metric::EndToEndMs(_))
        )
    })
}

/// When the process that answered after the run started, milliseconds since the Unix epoch by the service's clock; nothing when
/// that was before the run, as with a second instance behind the same address.
fn started_within_ms(before: &Snapshot, after: &Snapshot) -> Option<u64> {
    let started_ms = after
        .at_ms
        .saturating_sub((after.uptime_seconds * 1e3) as u64);
    let has_answered = before.at_ms > 0;
    (has_answered && !are_of_one_process(before, after) && started_ms > before.at_ms)
        .then_some(started_ms)
}

/// What the service's clock and the generator's have to do with each other, a sentence each; nothing when they agree.
fn clocks(service: &ServiceClock, audited: &Audited, set_ahead_us: i64) -> Vec<String> {
    let words = |ms: i64, (more, less): (&'static str, &'static str)| {
        let length = seconds(ms.unsigned_abs() as f64 / 1e3);
        format!("{length} {}", if ms > 0 { more } else { less })
    };
    let mut sentences = Vec::new();
    if let Some(step_ms) = service.step_ms {
        sentences.push(format!(
            "The service's clock was set {} while the run went on, so end to end has no data; counts and response times stand.",
            words(step_ms, ("ahead", "back"))
        ));
    } else if let Some(apart_ms) = service.apart_ms() {
        sentences.push(format!(
            "The service's clock is {} the generator's, so end to end has no data; counts and response times stand.",
            words(apart_ms, ("ahead of", "behind"))
        ));
    } else if !audited.end_to_end.early.is_zero() {
        sentences.push(format!(
            "The service's clock is at least {} behind the generator's, since a loan was confirmed before it was due, so end to end has no data; counts and response times stand.",
            seconds(audited.end_to_end.early.as_secs_f64())
        ));
    } else if audited.audit.complete && !service.is_compared() {
        sentences.push(
            "The service's clock was not compared with the generator's, since its live figures (/ws) did not come, so end to end has no data; counts and response times stand."
                .to_owned(),
        );
    }
    let set_ahead_ms = set_ahead_us / 1000;
    if set_ahead_ms.abs() >= OWN_STEP_MIN_MS {
        sentences.push(format!(
            "The generator's clock was set {} while the run went on: all lengths are by the clock that nobody sets.",
            words(set_ahead_ms, ("ahead", "back"))
        ));
    }
    sentences
}

/// Who else sent to the service.
fn others(seen: &Account<'_>) -> Others {
    let total = &seen.recorder.total;
    let mut rows = seen.audited.counters.iter();
    Others::of(&Beside {
        is_private: seen.is_private,
        snapshots: seen.snapshots,
        requests: total.requests,
        requests_answered: total.completed,
        records: seen.foreign_records,
        discarded: rows
            .find(|row| row.name == DISCARDED)
            .map_or(0, |row| row.audit),
        instances: seen.instances,
        has_crowd: seen.crowd.is_some(),
        is_in_part: !seen.generators.doubts.is_empty(),
    })
}

/// Sent arrivals that must be promised: what may be refused by its kind is left out.
pub(crate) fn demanded(payloads: &Payloads, heard: &[Heard]) -> u64 {
    (0u32..)
        .zip(heard)
        .filter(|(number, heard)| {
            let kind = payloads.kind_and_owner(*number).0;
            heard.is_sent() && !matches!(kind, Kind::Malformed | Kind::Conflict)
        })
        .count() as u64
}

fn kinds(seen: &Account<'_>) -> Vec<KindRow> {
    let mut scheduled: BTreeMap<Kind, (u64, u64)> = BTreeMap::new();
    for (number, heard) in (0u32..).zip(seen.heard) {
        let row = scheduled
            .entry(seen.payloads.kind_and_owner(number).0)
            .or_default();
        row.0 += 1;
        row.1 += u64::from(heard.is_sent());
    }
    scheduled
        .into_iter()
        .map(|(kind, (scheduled, sent))| KindRow {
            kind: kind.name().to_owned(),
            expected: kind.expected().to_owned(),
            scheduled,
            sent,
            answers: seen
                .recorder
                .answers
                .get(&kind)
                .into_iter()
                .flatten()
                .map(|(answer, count)| (answer.label(), *count))
                .collect(),
        })
        .collect()
}

fn time_series(seen: &Account<'_>) -> Vec<TimePoint> {
    let live = watched(seen);
    let from_live = live.keys().next_back().map_or(0, |last| last + 1);
    // Of what came after the load only the drain is shown, not the audit, while nothing happens.
    let from_live = match seen.drain.seconds_to_empty {
        Some(after) => {
            let emptied = seen.recorder.total.last_sent.as_secs_f64() + after;
            from_live.min(emptied as u64 + 2)
        }
        None => from_live,
    };
    let heard = seen
        .recorder
        .seconds
        .iter()
        .rposition(|second| second.sent + second.completed + second.failed > 0)
        .map_or(0, |last| last as u64 + 1);
    let length = from_live.max(heard);
    let came_to = seen.came_to().as_secs_f64().ceil() as u64;
    (0..length)
        .map(|index| {
            let mut second: Second = seen
                .recorder
                .seconds
                .get(index as usize)
                .copied()
                .unwrap_or_default();
            if index >= came_to {
                second.planned = 0;
            }
            let watched = live.get(&index);
            let point = watched.map(|watched| watched.fullest);
            TimePoint {
                offset_seconds: index as f64,
                planned: second.planned,
                sent: second.sent,
                completed: second.completed,
                failed: second.failed,
                response_p50_us: second.response_p50_us,
                response_p99_us: second.response_p99_us,
                queue_depth: point.map(|point| point.queue_depth),
                in_flight: point.map(|point| point.in_flight),
                unrecorded: point.map(|point| point.unrecorded),
                workers: point.map(|point| point.workers),
                recorded_per_second: watched.and_then(|watched| watched.recorded_per_second),
                admitted_per_second: point.map(|point| point.admitted_per_second),
            }
        })
        .collect()
}

/// Over less than this a rate says more of when MongoDB confirmed a batch than of how fast loans were recorded.
const RECORDED_OVER_MIN_MS: u64 = 700;

/// What was watched of the service in one second.
struct Watched<'a> {
    /// The point with the highest backlog.
    fullest: &'a Point,
    /// Records for each second since the last point of the second before, by two counts, so that nothing is counted twice or
    /// left out; `None` where the figures were not seen for a while in between.
    recorded_per_second: Option<f64>,
}

/// The live figures by second of the load.
fn watched<'a>(seen: &Account<'a>) -> BTreeMap<u64, Watched<'a>> {
    let backlog = |point: &Point| {
        let claimed = point.queue_depth.saturating_add(point.in_flight);
        claimed.saturating_add(point.unrecorded)
    };
    let mut seconds: BTreeMap<u64, (&Point, &Point)> = BTreeMap::new();
    let mut before: Option<&Point> = None;
    for point in &seen.followed.points {
        let offset_seconds = seen.clock.offset_seconds(point.at_ms);
        if offset_seconds < 0.0 {
            before = Some(point);
            continue;
        }
        let (fullest, last) = seconds
            .entry(offset_seconds as u64)
            .or_insert((point, point));
        if backlog(point) > backlog(fullest) {
            *fullest = point;
        }
        *last = point;
    }
    seconds
        .into_iter()
        .map(|(second, (fullest, last))| {
            let since = *before.get_or_insert(last);
            let length_ms = last.at_ms.saturating_sub(since.at_ms);
            let has_gap = seen.followed.has_gap(since.at_ms, last.at_ms);
            let is_long = length_ms >= RECORDED_OVER_MIN_MS;
            let recorded = last.recorded.saturating_sub(since.recorded) as f64;
            // What was recorded in a stretch that is too short is told with the next one.
            if is_long || has_gap {
                before = Some(last);
            }
            let watched = Watched {
                fullest,
                recorded_per_second: (is_long && !has_gap)
                    .then(|| recorded * 1e3 / length_ms as f64),
            };
            (second, watched)
        })
        .collect()
}

/// The most points of the report's time series.
const POINTS_MAX: usize = 3_600;

/// A long run in fewer points: each stands for several seconds, its counts for one of them on average, its percentiles for the
/// slowest.
fn rolled_up(seconds: Vec<TimePoint>) -> Vec<TimePoint> {
    let together = seconds.len().div_ceil(POINTS_MAX);
    if together <= 1 {
        return seconds;
    }
    let highest = |points: &[TimePoint], of: fn(&TimePoint) -> Option<u64>| {
        points.iter().filter_map(of).max()
    };
    seconds
        .chunks(together)
        .map(|points| {
            let mean = |of: fn(&TimePoint) -> u64| {
                let sum: u64 = points.iter().map(of).sum();
                (sum as f64 / points.len() as f64).round() as u64
            };
            let rate = |of: fn(&TimePoint) -> Option<f64>| {
                let rates: Vec<f64> = points.iter().filter_map(of).collect();
                (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
            };
            // Of one instant, or their sum would be a backlog that never was.
            let fullest = points.iter().max_by_key(|point| {
                let parts = [point.queue_depth, point.in_flight, point.unrecorded];
                parts.into_iter().flatten().fold(0, u64::saturating_add)
            });
            TimePoint {
                offset_seconds: points[0].offset_seconds,
                planned: mean(|point| point.planned),
                sent: mean(|point| point.sent),
                completed: mean(|point| point.completed),
                failed: mean(|point| point.failed),
                response_p50_us: highest(points, |point| point.response_p50_us),
                response_p99_us: highest(points, |point| point.response_p99_us),
                queue_depth: fullest.and_then(|point| point.queue_depth),
                in_flight: fullest.and_then(|point| point.in_flight),
                unrecorded: fullest.and_then(|point| point.unrecorded),
                workers: highest(points, |point| point.workers),
                recorded_per_second: rate(|point| point.recorded_per_second),
                admitted_per_second: rate(|point| point.admitted_per_second),
            }
        })
        .collect()
}

fn events(seen: &Account<'_>) -> Vec<RunEvent> {
    let mut events: Vec<RunEvent> = seen
        .scenario
        .phases
        .iter()
        .zip(seen.schedule.phases())
        .filter(|(_, planned)| planned.start.is_zero() || planned.start < seen.came_to())
        .map(|(phase, planned)| {
            let text = format!("phase {}: {}", phase.name.get_ref(), phase.shape());
            RunEvent::at(planned.start.as_secs_f64(), EventKind::Phase, text)
        })
        .collect();
    if let Some(reached) = seen.reached {
        let why = seen.aborted.or(seen.ended_early);
        let text = format!("the load ended here: {}", why.unwrap_or("it was stopped"));
        events.push(RunEvent::at(reached.as_secs_f64(), EventKind::Stop, text));
    }
    let sending_seconds = seen.sending().as_secs_f64();
    events.push(RunEvent::at(sending_seconds, EventKind::Phase, "drain"));
    let longest_first = {
        let mut pauses = seen.recorder.pauses.told.clone();
        pauses.sort_by_key(|pause| std::cmp::Reverse(pause.length()));
        pauses
    };
    if let Some((before, after)) = seen.snapshots
        && let Some(started_ms) = started_within_ms(before, after)
    {
        let ahead_ms = seen.followed.clock.ahead_last_ms.unwrap_or_default();
        let by_our_clock_ms = started_ms.saturating_add_signed(ahead_ms.saturating_neg());
        events.push(RunEvent::at(
            seen.clock.offset_seconds(by_our_clock_ms).max(0.0),
            EventKind::Note,
            "the service was started anew",
        ));
    }
    events.extend(
        longest_first
            .iter()
            .take(PAUSES_TOLD)
            .map(|pause| RunEvent {
                offset_seconds: pause.from.as_secs_f64(),
                kind: EventKind::Pause,
                lasts_seconds: Some(pause.length().as_secs_f64()),
                text: format!(
                    "the generator stood still for {}: {}",
                    seconds(pause.length().as_secs_f64()),
                    if pause.is_starved {
                        "it got no processor"
                    } else {
                        "its process or the whole machine was stopped"
                    }
                ),
            }),
    );
    events.extend(seen.followed.scales.iter().map(|scale| {
        let text = format!("workers {} to {}: {}", scale.from, scale.to, scale.reason);
        RunEvent::at(
            seen.clock.offset_seconds(scale.at_ms),
            EventKind::Scale,
            text,
        )
    }));
    if seen.followed.reconnects > 0 {
        let first = seen.followed.broke_off_at_ms;
        let text = match seen.followed.reconnects {
            1 => "the live metrics broke off".to_owned(),
            times => format!(
                "the live metrics broke off, the first of {} times",
                count(times)
            ),
        };
        let at = first.map_or(0.0, |at_ms| seen.clock.offset_seconds(at_ms).max(0.0));
        events.push(RunEvent::at(at, EventKind::Note, text));
    }
    events.sort_by(|a, b| a.offset_seconds.total_cmp(&b.offset_seconds));
    events
}

fn instants() -> Vec<InstantNote> {
    [
        (
            "intended",
            "The instant that the schedule gives an arrival. The schedule starts on the generator's monotonic clock, and the wall clock is read once at that start.",
        ),
        (
            "sent",
            "Monotonic clock of the generator, when the connection takes the body: its bytes then go to the socket together with the head. A request that needs a new connection leaves when that is made; connections are opened before the load.",
        ),
        (
            "answered",
            "Monotonic clock of the generator, after the last byte of the answer's body was read, or when the wait ended.",
        ),
        (
            "confirmed",
            "Wall clock of the service, right after MongoDB confirmed the batch that holds the record (w: majority, j: true), kept in record_batches.",
        ),
        (
            "without an answer",
            "A request that was refused with a 5xx or had no answer has no response time: such latencies are kept apart. In the checks on percentiles it counts as slower than any bound.",
        ),
        (
            "left out",
            "Requests that the run drops on purpose and sends again (kind retry) are not in the response and service times.",
        ),
    ]
    .map(|(name, taken)| InstantNote {
        name: name.to_owned(),
        taken: taken.to_owned(),
    })
    .to_vec()
}

/// The command that repeats the run. A secret is not in it: addresses of stores are named by their variables.
fn repeat(seen: &Account<'_>) -> String {
    let provenance = &seen.provenance;
    let is_probe = seen.scenario.overrides.held.is_some();
    let command = match provenance.generators {
        _ if is_probe => "loadgen capacity",
        0 | 1 => "loadgen run",
        _ => "loadgen conduct",
    };
    let mut words = Vec::new();
    if !provenance.service_binary.is_empty() {
        words.push(format!(
            "SLUICE_SERVICE={}",
            quoted(&provenance.service_binary)
        ));
    }
    words.extend([command.to_owned(), quoted_path(seen.scenario_path)]);
    if provenance.generators > 1 {
        words.push(format!("--shards {}", provenance.generators));
    }
    // The search takes the scenario's own.
    if !is_probe {
        words.push(format!("--seed {}", seen.scenario.seed));
    }
    words.extend(provenance.set_by_flags.iter().cloned());
    if provenance.target != PRIVATE {
        words.push(format!("--target {}", quoted(&provenance.target)));
        if seen.stores {
            words
                .push("--redis \"$SLUICE_REDIS_URL\" --mongodb \"$SLUICE_MONGODB_URI\"".to_owned());
            words.push(format!(
                "--mongodb-database {}",
                quoted(&provenance.mongodb_database)
            ));
        } else {
            words.push("--no-stores".to_owned());
        }
    }
    words.join(" ")
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The path of a file as a shell takes it, and the command behind it: not for one of its flags.
pub fn quoted_path(path: &Path) -> String {
    let path = path.display().to_string();
    quoted(&if path.starts_with('-') {
        format!("./{path}")
    } else {
        path
    })
}

/// The figures that checks look at.
struct Measured<'a> {
    seen: &'a Account<'a>,
    load: &'a Load,
    resources: &'a Resources,
    counters: &'a [CounterRow],
    /// How long of the load the service's live figures were not seen.
    unseen: Duration,
}

/// How long of the load the service's live figures were not seen.
fn unseen(seen: &Account<'_>) -> Duration {
    let at_ms = |offset| (seen.clock.wall_us(offset) / 1000).max(0) as u64;
    seen.followed
        .unseen(at_ms(Duration::ZERO), at_ms(seen.came_to()))
}

/// A sentence, if the live figures were seen, and not all the time.
fn unseen_in_words(figures: &Measured<'_>) -> Option<String> {
    let seen = figures.seen;
    let is_told = !seen.followed.points.is_empty() && !figures.unseen.is_zero();
    is_told.then(|| {
        format!(
            "The service's live figures were not seen for {} of {}: their peaks and rises have no data.",
            seconds(figures.unseen.as_secs_f64()),
            seconds(seen.came_to().as_secs_f64())
        )
    })
}

impl Measured<'_> {
    /// What is of the whole load, where the live figures were seen all along.
    fn watched<T>(&self, figure: Option<T>) -> Option<T> {
        figure.filter(|_| self.unseen.is_zero())
    }

    /// A figure of the live metrics while the load ran: seconds after its start, and the value.
    fn series(&self, of: fn(&Point) -> u64) -> Vec<(f64, f64)> {
        let end = self.seen.came_to().as_secs_f64();
        self.seen
            .followed
            .points
            .iter()
            .map(|point| {
                (
                    self.seen.clock.offset_seconds(point.at_ms),
                    of(point) as f64,
                )
            })
            .filter(|(at, _)| (0.0..=end).contains(at))
            .collect()
    }
}

impl Figures for Measured<'_> {
    fn latency(
        &self,
        metric: &Metric,
        phase: Option<usize>,
        kind: Option<Kind>,
    ) -> Option<&Histogram<u64>> {
        let recorder = self.seen.recorder;
        if let Some(kind) = kind {
            return match phase {
                Some(phase) => recorder.phase_kinds.get(&(phase as u16, kind)),
                None => recorder.kinds.get(&kind),
            };
        }
        let latencies: &Latencies =
            phase.map_or(Some(&recorder.total), |phase| recorder.phases.get(phase))?;
        match metric {
            Metric::ResponseMs(_) => Some(&latencies.response),
            Metric::ServiceMs(_) => Some(&latencies.service),
            Metric::EndToEndMs(_) => Some(&latencies.end_to_end),
            Metric::SendLagMs(_) => Some(&latencies.send_lag),
            Metric::GeneratorLagMs(_) => Some(&latencies.generator_lag),
            Metric::Plain(_) | Metric::Server(_) => None,
        }
    }

    fn unanswered(&self, metric: &Metric, phase: Option<usize>, kind: Option<Kind>) -> u64 {
        unanswered(self.seen.recorder, metric, phase, kind)
    }

    fn disturbance(&self, metric: &Metric, phase: Option<usize>) -> Disturbance<'_> {
        let recorder = self.seen.recorder;
        let Some(latencies) =
            phase.map_or(Some(&recorder.total), |phase| recorder.phases.get(phase))
        else {
            return Disturbance::default();
        };
        let undisturbed = match metric {
            Metric::ResponseMs(_) => Some(&latencies.undisturbed),
            Metric::EndToEndMs(_) => match phase {
                Some(phase) => self.seen.audited.end_to_end.undisturbed.get(phase),
                None => None,
            },
            _ => None,
        };
        let touched = match metric {
            Metric::EndToEndMs(_) => latencies.end_to_end.len().saturating_sub(
                self.seen
                    .audited
                    .end_to_end
                    .undisturbed
                    .iter()
                    .enumerate()
                    .filter(|(of, _)| phase.is_none_or(|phase| phase == *of))
                    .map(|(_, histogram)| histogram.len())
                    .sum(),
            ),
            _ => latencies
                .response
                .len()
                .saturating_sub(latencies.undisturbed.len()),
        };
        Disturbance {
            undisturbed,
            touched,
            unanswered_touched: latencies.failed_touched,
        }
    }

    fn plain(&self, plain: Plain, phase: Option<usize>) -> Option<f64> {
        let recorder = self.seen.recorder;
        let audit = &self.seen.audited.audit;
        let audited = |count: u64| audit.complete.then_some(count as f64);
        let latencies: &Latencies =
            phase.map_or(Some(&recorder.total), |phase| recorder.phases.get(phase))?;
        match plain {
            Plain::Rate => {
                let duration = phase.map_or(Some(self.seen.sending()), |phase| {
                    let planned = self.seen.schedule.phases().get(phase)?;
                    let end = planned.end.min(self.seen.came_to());
                    Some(
                        self.seen
                            .sent_until(end, latencies)
                            .saturating_sub(planned.start),
                    )
                })?;
                (!duration.is_zero()).then(|| per_second(latencies.sent, duration.as_secs_f64()))
            }
            Plain::ErrorRatio => (latencies.requests > 0)
                .then(|| latencies.requests_failed as f64 / latencies.requests as f64),
            Plain::Scheduled => Some(self.load.scheduled as f64),
            Plain::Sent => Some(latencies.sent as f64),
            Plain::Unsent => Some(self.load.unsent as f64),
            Plain::Completed => Some(latencies.completed as f64),
            Plain::Unanswered => Some(latencies.failed as f64),
            Plain::Resent => Some(self.load.resent as f64),
            Plain::HeldBack => Some(self.load.held_back as f64),
            Plain::Ids => audited(audit.ids),
            Plain::Acknowledged => audited(audit.acknowledged),
            Plain::Rejected => audited(audit.rejected),
            Plain::Unknown => audited(audit.unknown),
            Plain::Failed => audited(audit.failed),
            Plain::Recorded => audited(audit.recorded),
            Plain::Lost => audited(audit.lost),
            Plain::Duplicated => audited(audit.duplicated),
            Plain::Unexpected => audited(audit.unexpected),
            Plain::Mismatched => audited(audit.mismatched),
            Plain::Stuck => audited(audit.stuck),
            Plain::CountersAgree => {
                let rows = self.counters;
                (!rows.is_empty()).then(|| f64::from(u8::from(rows.iter().all(|row| row.agree))))
            }
            Plain::BacklogPeak => {
                let peak = self.seen.drain.backlog_peak;
                self.watched(peak).map(|peak| peak as f64)
            }
            Plain::LeftOver => self.seen.drain.left_over.map(|left| left as f64),
            Plain::DrainS => self.seen.drain.seconds_to_empty,
            Plain::WorkersPeak => self
                .watched(self.seen.followed.workers_peak)
                .map(|peak| peak as f64),
            Plain::WorkersSteps => self
                .watched(self.seen.followed.workers_peak)
                .map(|_| self.seen.followed.steps as f64),
            Plain::WorkersFlaps => self
                .watched(self.seen.followed.workers_peak)
                .map(|_| self.seen.followed.flaps() as f64),
            Plain::ServiceCpuMsPer1000 => {
                let recorded = (audit.complete && audit.recorded > 0).then_some(audit.recorded)?;
                let used_ms = self.resources.service_cpu_milliseconds?;
                Some(used_ms as f64 * 1e3 / recorded as f64)
            }
            Plain::LoadgenRssMib => self
                .resources
                .loadgen_rss_bytes_peak
                .map(|bytes| bytes as f64 / f64::from(1 << 20)),
            Plain::ServiceRssMib => self
                .watched(self.resources.service_rss_bytes_peak)
                .map(|bytes| bytes as f64 / f64::from(1 << 20)),
            Plain::RedisMemoryGrowthRatio => {
                let start = self.resources.redis_memory_start_bytes? as f64;
                let end = self.resources.redis_memory_end_bytes? as f64;
                (start > 0.0).then_some((end - start) / start)
            }
            Plain::ServiceRssRiseRatio => self.watched(flatness::growth_ratio(
                &self.series(|point| point.rss_bytes),
            )),
            Plain::OpenFilesRise => {
                self.watched(flatness::growth(&self.series(|point| point.open_files)))
            }
            Plain::RedisMemoryRiseRatio => self.watched(flatness::growth_ratio(
                &self.series(|point| point.redis_memory_bytes),
            )),
        }
    }

    fn server(&self, path: &str) -> Option<f64> {
        let (before, after) = self.seen.snapshots?;
        server_figure(path, before, after)
    }
}

/// Requests that have no response or service time, because they had no definite answer.
fn unanswered(
    recorder: &Recorder,
    metric: &Metric,
    phase: Option<usize>,
    kind: Option<Kind>,
) -> u64 {
    if !matches!(metric, Metric::ResponseMs(_) | Metric::ServiceMs(_)) {
        return 0;
    }
    recorder
        .unanswered
        .iter()
        .filter(|((of, which), _)| {
            phase.is_none_or(|phase| usize::from(*of) == phase)
                // Over all kinds, retries are left out as they are of the latencies.
                && kind.map_or(*which != Kind::Retry, |kind| *which == kind)
        })
        .map(|(_, count)| count)
        .sum()
}

/// Why the run can no longer pass, from what was seen so far; `None` while it can. Looks at the checks with `abort`.
pub fn hopeless(
    scenario: &Scenario,
    schedule: &Schedule,
    recorder: &Recorder,
    followed: &Followed,
) -> Option<String> {
    let figures = SoFar { recorder, followed };
    scenario
        .checks
        .iter()
        .filter(|check| check.abort)
        .find_map(|check| {
            let phase = check
                .phase
                .as_ref()
                .and_then(|phase| scenario.phase(phase.get_ref()));
            let scheduled = match phase {
                Some(phase) => schedule.phases().get(phase)?.arrivals,
                None => schedule.arrivals(),
            };
            checks::hopeless(check, phase, u64::from(scheduled), &figures)
        })
}

/// The figures that are known while the load runs.
struct SoFar<'a> {
    recorder: &'a Recorder,
    followed: &'a Followed,
}

impl Figures for SoFar<'_> {
    fn latency(
        &self,
        metric: &Metric,
        phase: Option<usize>,
        kind: Option<Kind>,
    ) -> Option<&Histogram<u64>> {
        if let Some(kind) = kind {
            return match phase {
                Some(phase) => self.recorder.phase_kinds.get(&(phase as u16, kind)),
                None => self.recorder.kinds.get(&kind),
            };
        }
        let latencies = phase.map_or(Some(&self.recorder.total), |phase| {
            self.recorder.phases.get(phase)
        })?;
        match metric {
            Metric::ResponseMs(_) => Some(&latencies.response),
            Metric::ServiceMs(_) => Some(&latencies.service),
            _ => None,
        }
    }

    fn unanswered(&self, metric: &Metric, phase: Option<usize>, kind: Option<Kind>) -> u64 {
        unanswered(self.recorder, metric, phase, kind)
    }

    fn disturbance(&self, _: &Metric, _: Option<usize>) -> Disturbance<'_> {
        Disturbance::default()
    }

    fn plain(&self, plain: Plain, phase: Option<usize>) -> Option<f64> {
        let latencies = phase.map_or(Some(&self.recorder.total), |phase| {
            self.recorder.phases.get(phase)
        })?;
        match plain {
            Plain::Unanswered => Some(latencies.failed as f64),
            Plain::BacklogPeak => self.followed.backlog_peak.map(|peak| peak as f64),
            Plain::WorkersPeak => self.followed.workers_peak.map(|peak| peak as f64),
            Plain::ServiceRssMib => self
                .followed
                .rss_bytes_peak
                .map(|bytes| bytes as f64 / f64::from(1 << 20)),
            _ => None,
        }
    }

    fn server(&self, _: &str) -> Option<f64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::sample::Sample;

    /// What a check on a peak comes to, when snapshots came in these milliseconds after the start of ten seconds.
    fn peak(seen_ms: impl Iterator<Item = u64>) -> (Check, Vec<String>) {
        let mut followed = Followed::default();
        for offset_ms in seen_ms {
            let at_ms = 1_700_000_000_000 + offset_ms;
            let mut snapshot = Snapshot {
                at_ms,
                ..Snapshot::default()
            };
            snapshot.gauges.workers = 2;
            let message = snapshot::Message::Snapshot {
                snapshot: Box::new(snapshot),
            };
            followed.take_at(message, at_ms);
        }
        let check = "metric = \"workers_peak\"\nmax = 4";
        let mut report = of_ten_seconds(check, &followed, |_| {});
        (report.checks.remove(0), report.why)
    }

    /// The report of ten seconds with ten arrivals each, and with this check.
    fn of_ten_seconds(
        check: &str,
        followed: &Followed,
        send: impl FnOnce(&mut Recorder),
    ) -> Report {
        let text = format!(
            "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\nduration = \"10s\"\nrate = 10\n[[check]]\n{check}\n"
        );
        let scenario = Scenario::parse(&text, Path::new("t.toml")).expect("a good scenario");
        let schedule = Schedule::new(&scenario.phases, scenario.seed);
        let mut recorder = Recorder::new(1, schedule.arrivals());
        send(&mut recorder);
        account(&Account {
            scenario: &scenario,
            scenario_path: Path::new("t.toml"),
            schedule: &schedule,
            payloads: &Payloads::new(1, "t", &scenario.mix),
            recorder: &recorder,
            heard: &recorder.ledger.heard,
            followed,
            clock: RunClock::of_the_past(1_700_000_000_000_000),
            audited: Audited::none(1),
            audit_failed: None,
            changed: &[],
            drain: Drain::default(),
            provenance: Provenance::default(),
            started_at: String::new(),
            finished_at: String::new(),
            duration: Duration::from_secs(10),
            redis_memory_start_bytes: None,
            redis_memory_end_bytes: None,
            loadgen_rss_bytes_peak: None,
            aborted: None,
            ended_early: None,
            held_back: 0,
            users: 1,
            reached: None,
            set_ahead_us: 0,
            foreign_records: 0,
            is_private: true,
            instances: 1,
            stores: false,
            snapshots: None,
            requests: (0, 0),
            crowd: None,
            generators: Generators::default(),
        })
    }

    #[test]
    fn a_second_shows_its_highest_backlog_and_what_was_recorded_in_it() {
        let mut followed = Followed::default();
        for step in 0..=50 {
            let at_ms = 1_700_000_000_000 + step * 200;
            let mut snapshot = Snapshot {
                at_ms,
                ..Snapshot::default()
            };
            // The rate of the last second that the service tells overlaps the seconds of the load.
            snapshot.rates.recorded = 99.0;
            snapshot.counters.recorded_loans = step * step;
            snapshot.gauges.queue_depth = if step == 17 { 139 } else { 3 };
            let message = snapshot::Message::Snapshot {
                snapshot: Box::new(snapshot),
            };
            followed.take_at(message, at_ms);
        }
        let report = of_ten_seconds("metric = \"lost\"\nmax = 0", &followed, |_| {});
        assert_eq!(report.drain.backlog_peak_at_seconds, Some(3.4));
        let points = &report.time_series;
        assert_eq!(points[3].queue_depth, Some(139));
        let recorded: f64 = points[1..10]
            .iter()
            .filter_map(|point| point.recorded_per_second)
            .sum();
        // From the last point of the first second, the fifth, to that of the tenth.
        assert!(
            (recorded - f64::from(49 * 49 - 4 * 4)).abs() < 1.0,
            "{recorded}"
        );
    }

    /// A generator that stood still past the end sends the rest of the schedule afterwards.
    #[test]
    fn a_rate_is_by_the_time_that_the_sending_took() {
        for (late_from, last_sent_ms, sending_seconds, rate, is_held) in [
            (99, 9_900, 10.0, 10.0, true),
            // Late by less than the scenario allows.
            (90, 10_010, 10.0, 10.0, true),
            // One that waited for its connection.
            (99, 12_500, 10.0, 10.0, true),
            (90, 12_500, 12.5, 8.0, false),
        ] {
            let check = "metric = \"rate\"\nmin = 9\nphase = \"p\"";
            let report = of_ten_seconds(check, &Followed::default(), |recorder| {
                for number in 0..100 {
                    let due_ms = u64::from(number) * 100;
                    let sent_ms = if number < late_from {
                        due_ms
                    } else {
                        last_sent_ms
                    };
                    let sent = Duration::from_millis(sent_ms);
                    recorder.note(&Sample {
                        number,
                        phase: 0,
                        kind: Kind::Valid,
                        intended: Duration::from_millis(due_ms),
                        generator_lag: Duration::ZERO,
                        sent,
                        last_sent: sent,
                        done: sent,
                        answer: Answer::Queued,
                        resent: 0,
                    });
                }
            });
            let load = &report.load;
            assert_eq!(
                (
                    load.sending_seconds,
                    load.rate_per_second,
                    report.checks[0].pass
                ),
                (sending_seconds, rate, is_held),
                "{last_sent_ms}: {}",
                report.checks[0].observed
            );
        }
    }

    #[test]
    fn a_peak_of_what_was_not_watched_is_no_data() {
        let (check, why) = peak((0..=10_000).step_by(200));
        assert_eq!((check.observed.as_str(), check.pass), ("2", true));
        let told = |why: &[String]| why.iter().any(|why| why.contains("were not seen for"));
        assert!(!told(&why), "{why:?}");
        let (check, why) = peak((0..=2_000).step_by(200));
        assert_eq!((check.observed.as_str(), check.pass), ("no data", false));
        assert!(told(&why), "{why:?}");
    }

    #[test]
    fn why_end_to_end_has_no_data_is_told() {
        let now_ms = 1_700_000_000_000;
        let mut compared = ServiceClock::default();
        compared.take(now_ms, now_ms);
        compared.finish();
        let mut far = ServiceClock::default();
        far.take(now_ms, now_ms + 5_000);
        far.finish();
        let unknown = ServiceClock::default();
        let audited = |early, complete| {
            let mut audited = Audited::none(1);
            audited.end_to_end.early = early;
            audited.audit.complete = complete;
            audited
        };
        let early = Duration::from_millis(20);
        for (clock, early, complete, told) in [
            (&compared, Duration::ZERO, true, None),
            (&compared, early, true, Some("at least 20.0 ms behind")),
            (&far, early, true, Some("is 5.0 s behind the generator's")),
            (&unknown, Duration::ZERO, true, Some("was not compared")),
            // Where no loan was looked up there is nothing that would have data.
            (&unknown, Duration::ZERO, false, None),
        ] {
            let sentences = clocks(clock, &audited(early, complete), 0);
            assert_eq!(
                sentences.len(),
                usize::from(told.is_some()),
                "{sentences:?}"
            );
            if let (Some(sentence), Some(told)) = (sentences.first(), told) {
                assert!(sentence.contains(told), "{sentence}");
                assert!(sentence.contains("end to end has no data"), "{sentence}");
            }
        }
    }

    #[test]
    fn a_point_of_several_seconds_has_a_backlog_that_was() {
        let mut seconds = vec![TimePoint::default(); 2 * POINTS_MAX];
        (seconds[0].queue_depth, seconds[0].unrecorded) = (Some(139), Some(0));
        (seconds[1].queue_depth, seconds[1].unrecorded) = (Some(0), Some(200));
        let points = rolled_up(seconds);
        assert_eq!(
            (points[0].queue_depth, points[0].unrecorded),
            (Some(0), Some(200))
        );
    }

    #[test]
    fn a_day_becomes_few_points() {
        let day: Vec<TimePoint> = (0..86_410)
            .map(|second| TimePoint {
                offset_seconds: f64::from(second),
                sent: 500,
                response_p99_us: Some(u64::try_from(second).unwrap_or(0)),
                ..TimePoint::default()
            })
            .collect();
        let points = rolled_up(day.clone());
        assert!(points.len() <= POINTS_MAX);
        assert!(points.iter().all(|point| point.sent == 500));
        assert_eq!(
            points
                .iter()
                .filter_map(|point| point.response_p99_us)
                .max(),
            Some(86_409)
        );
        assert_eq!(rolled_up(day[..60].to_vec()).len(), 60);
    }

    #[test]
    fn a_service_that_was_started_anew_is_another_process() {
        let of = |instance: &str, at_ms: u64, uptime_seconds: f64| Snapshot {
            instance: instance.to_owned(),
            at_ms,
            uptime_seconds,
            ..Snapshot::default()
        };
        let before = of("a", 50_000, 10.0);
        for (after, is_same, started_ms) in [
            (of("a", 60_000, 20.0), true, None),
            (of("a", 60_000, 2.0), false, Some(58_000)),
            (of("b", 60_000, 5.0), false, Some(55_000)),
            // A second instance behind the same address: it was there before.
            (of("b", 60_000, 40.0), false, None),
        ] {
            assert_eq!(are_of_one_process(&before, &after), is_same);
            assert_eq!(started_within_ms(&before, &after), started_ms);
        }
        // Of a service that did not answer before the run nothing is known.
        let nobody = Snapshot::default();
        assert_eq!(started_within_ms(&nobody, &of("a", 60_000, 5.0)), None);
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_it() {
        assert_eq!(quoted("scenarios/smoke.toml"), "scenarios/smoke.toml");
        assert_eq!(quoted("my runs/a.toml"), "'my runs/a.toml'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted_path("-a.toml".as_ref()), "./-a.toml");
        assert_eq!(quoted_path("-a b.toml".as_ref()), "'./-a b.toml'");
        assert_eq!(quoted_path("/a/-b.toml".as_ref()), "/a/-b.toml");
    }
}
