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
use record::followed::{Followed, Point};
use record::latencies::Latencies;
use record::ledger::Heard;
use record::recorder::{Recorder, Second};
use record::result::run::{
    Answers, Check, CrowdReport, CurvePoint, Drain, ErrorRow, EventKind, InstantNote, KindRow,
    LatencyCurve, Load, Percentiles, Phase, Provenance, Report, Resources, RunEvent, TimePoint,
    Workers,
};
use record::sample::Answer;
use snapshot::Snapshot;

use crate::audit::Audited;
use crate::checks::{self, Figures, Judged};
use crate::crowd;
use crate::flatness;
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
    pub drain: Drain,
    pub provenance: Provenance,
    pub started_at: String,
    pub finished_at: String,
    pub duration: Duration,
    pub redis_memory_start_bytes: Option<u64>,
    pub redis_memory_end_bytes: Option<u64>,
    /// Highest resident memory of this process.
    pub loadgen_rss_bytes_peak: Option<u64>,
    /// Processor seconds of the service over the run.
    pub service_cpu: Option<f64>,
    /// Why the run was stopped before its end.
    pub aborted: Option<&'a str>,
    /// Why the run ended by itself before its end: a check could no longer hold.
    pub ended_early: Option<&'a str>,
    /// Arrivals that were due while every user was busy.
    pub held_back: u64,
    /// The service's snapshots before the load and after the drain.
    pub snapshots: Option<(&'a Snapshot, &'a Snapshot)>,
    /// Requests by goose's count and by ours.
    pub requests: (u64, u64),
    /// What became of those who misbehaved beside the load.
    pub crowd: Option<CrowdReport>,
    /// The service was there before the run.
    pub external: bool,
}

/// The report of a run.
pub fn account(seen: &Account<'_>) -> Report {
    let scenario = seen.scenario;
    let load = load(seen);
    let resources = Resources {
        service_rss_bytes_peak: seen.followed.rss_bytes_peak,
        service_cpu_milliseconds: seen
            .service_cpu
            .map(|seconds| (seconds.max(0.0) * 1e3) as u64),
        redis_memory_start_bytes: seen.redis_memory_start_bytes,
        redis_memory_end_bytes: seen.redis_memory_end_bytes,
        loadgen_rss_bytes_peak: seen.loadgen_rss_bytes_peak,
    };
    let figures = Measured {
        seen,
        load: &load,
        resources: &resources,
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
    let (checks, by_lag): (Vec<Check>, Vec<Option<String>>) = judged
        .into_iter()
        .map(|judged| (judged.check, judged.by_lag))
        .unzip();
    let by_lag: Vec<String> = by_lag.into_iter().flatten().collect();
    let crowd_doubts = seen.crowd.as_ref().map(crowd::doubts).unwrap_or_default();
    let (verdict, why) = decide(&Evidence {
        aborted: seen.aborted,
        ended_early: seen.ended_early,
        held_back: load.held_back,
        users: scenario.users_count(),
        by_lag: &by_lag,
        overrides: &seen.provenance.overrides,
        crowd: &crowd_doubts,
        unsent: load.unsent,
        send_lag_p99: Duration::from_micros(load.send_lag_us.p99.unwrap_or(0)),
        send_lag_max: scenario.send_lag_max,
        checks: &checks,
        audit: &seen.audited.audit,
        counters: &seen.audited.counters,
        requests: seen.requests,
    });
    let total = &seen.recorder.total;
    Report {
        scenario: scenario.name.get_ref().clone(),
        scenario_description: scenario.description.clone(),
        verdict,
        why,
        started_at: seen.started_at.clone(),
        finished_at: seen.finished_at.clone(),
        duration_seconds: seen.duration.as_secs_f64(),
        seed: scenario.seed,
        provenance: seen.provenance.clone(),
        crowd: seen.crowd.clone(),
        load,
        phases: phases(seen),
        by_kind: kinds(seen),
        audit: seen.audited.audit.clone(),
        counters_agree: seen.audited.counters.clone(),
        time_series: time_series(seen),
        latency_curve: LatencyCurve {
            response_us: CurvePoint::curve(&total.response),
            service_us: CurvePoint::curve(&total.service),
            end_to_end_us: CurvePoint::curve(&total.end_to_end),
        },
        heatmap: seen.recorder.heat.map(),
        events: events(seen),
        drain: seen.drain.clone(),
        workers: Workers {
            peak: seen.followed.workers_peak,
            bound: seen
                .followed
                .latest
                .as_ref()
                .map(|snapshot| snapshot.gauges.workers_max),
            steps: seen.followed.scales.len() as u64,
            flaps: seen.followed.flaps(),
        },
        resources,
        checks,
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
    let seconds = seen.schedule.duration().as_secs_f64();
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
        rate_per_second: per_second(total.sent, seconds),
        planned_rate_per_second: per_second(scheduled, seconds),
        send_lag_us: Percentiles::of(&total.send_lag),
        response_us: Percentiles::of(&total.response),
        service_us: Percentiles::of(&total.service),
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
        .map(|((phase, planned), latencies)| Phase {
            name: phase.name.get_ref().clone(),
            shape: phase.shape(),
            start_seconds: planned.start.as_secs_f64(),
            end_seconds: planned.end.as_secs_f64(),
            planned_rate_per_second: per_second(
                u64::from(planned.arrivals),
                phase.duration.as_secs_f64(),
            ),
            scheduled: u64::from(planned.arrivals),
            sent: latencies.sent,
            completed: latencies.completed,
            failed: latencies.failed,
            send_lag_us: Percentiles::of(&latencies.send_lag),
            response_us: Percentiles::of(&latencies.response),
            service_us: Percentiles::of(&latencies.service),
            end_to_end_us: Percentiles::of(&latencies.end_to_end),
        })
        .collect()
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
    // The last point of each second stands for it.
    let mut live: BTreeMap<u64, &Point> = BTreeMap::new();
    for point in &seen.followed.points {
        let offset_seconds = seen.clock.offset_seconds(point.at_ms);
        if offset_seconds >= 0.0 {
            live.insert(offset_seconds as u64, point);
        }
    }
    let from_live = live.keys().next_back().map_or(0, |last| last + 1);
    let length = from_live.max(seen.recorder.seconds.len() as u64);
    (0..length)
        .map(|index| {
            let second: Second = seen
                .recorder
                .seconds
                .get(index as usize)
                .copied()
                .unwrap_or_default();
            let point = live.get(&index);
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
                recorded_per_second: point.map(|point| point.recorded_per_second),
                admitted_per_second: point.map(|point| point.admitted_per_second),
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
        .map(|(phase, planned)| RunEvent {
            offset_seconds: planned.start.as_secs_f64(),
            kind: EventKind::Phase,
            text: format!("phase {}: {}", phase.name.get_ref(), phase.shape()),
        })
        .collect();
    events.push(RunEvent {
        offset_seconds: seen.schedule.duration().as_secs_f64(),
        kind: EventKind::Phase,
        text: "drain".to_owned(),
    });
    events.extend(seen.followed.scales.iter().map(|scale| RunEvent {
        offset_seconds: seen.clock.offset_seconds(scale.at_ms),
        kind: EventKind::Scale,
        text: format!("workers {} to {}: {}", scale.from, scale.to, scale.reason),
    }));
    if seen.followed.reconnects > 0 {
        events.push(RunEvent {
            offset_seconds: 0.0,
            kind: EventKind::Note,
            text: format!(
                "the live metrics broke off {} times",
                seen.followed.reconnects
            ),
        });
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

fn repeat(seen: &Account<'_>) -> String {
    let external = if seen.external {
        " --target URL --redis URL --mongodb URI"
    } else {
        ""
    };
    format!(
        "loadgen run {} --seed {}{external}",
        seen.scenario_path.display(),
        seen.scenario.seed
    )
}

/// The figures that checks look at.
struct Measured<'a> {
    seen: &'a Account<'a>,
    load: &'a Load,
    resources: &'a Resources,
}

impl Measured<'_> {
    /// A figure of the live metrics while the load ran: seconds after its start, and the value.
    fn series(&self, of: fn(&Point) -> u64) -> Vec<(f64, f64)> {
        let end = self.seen.schedule.duration().as_secs_f64();
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
            Metric::Plain(_) | Metric::Server(_) => None,
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
                let duration = phase.map_or(Some(self.seen.schedule.duration()), |phase| {
                    let planned = self.seen.schedule.phases().get(phase)?;
                    Some(planned.end - planned.start)
                })?;
                Some(per_second(latencies.sent, duration.as_secs_f64()))
            }
            Plain::ErrorRatio => {
                (latencies.sent > 0).then(|| latencies.failed as f64 / latencies.sent as f64)
            }
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
                let rows = &self.seen.audited.counters;
                (!rows.is_empty()).then(|| f64::from(u8::from(rows.iter().all(|row| row.agree))))
            }
            Plain::BacklogPeak => self.seen.drain.backlog_peak.map(|peak| peak as f64),
            Plain::LeftOver => self.seen.drain.left_over.map(|left| left as f64),
            Plain::DrainS => self.seen.drain.seconds_to_empty,
            Plain::WorkersPeak => self.seen.followed.workers_peak.map(|peak| peak as f64),
            Plain::WorkersSteps => self
                .seen
                .followed
                .workers_peak
                .map(|_| self.seen.followed.scales.len() as f64),
            Plain::WorkersFlaps => self
                .seen
                .followed
                .workers_peak
                .map(|_| self.seen.followed.flaps() as f64),
            Plain::ServiceCpuMsPer1000 => {
                let recorded = (audit.complete && audit.recorded > 0).then_some(audit.recorded)?;
                Some(self.seen.service_cpu?.max(0.0) * 1e6 / recorded as f64)
            }
            Plain::LoadgenRssMib => self
                .resources
                .loadgen_rss_bytes_peak
                .map(|bytes| bytes as f64 / f64::from(1 << 20)),
            Plain::ServiceRssMib => self
                .resources
                .service_rss_bytes_peak
                .map(|bytes| bytes as f64 / f64::from(1 << 20)),
            Plain::RedisMemoryGrowthRatio => {
                let start = self.resources.redis_memory_start_bytes? as f64;
                let end = self.resources.redis_memory_end_bytes? as f64;
                (start > 0.0).then_some((end - start) / start)
            }
            Plain::ServiceRssRiseRatio => {
                flatness::growth_ratio(&self.series(|point| point.rss_bytes))
            }
            Plain::OpenFilesRise => flatness::growth(&self.series(|point| point.open_files)),
            Plain::RedisMemoryRiseRatio => {
                flatness::growth_ratio(&self.series(|point| point.redis_memory_bytes))
            }
        }
    }

    fn server(&self, path: &str) -> Option<f64> {
        let (before, after) = self.seen.snapshots?;
        server_figure(path, before, after)
    }
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
