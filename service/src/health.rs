//! What is amiss, and since when: for the snapshot, for `/readyz`, and for the log, which says it when it begins and when
//! it ends.

use std::time::Duration;

use tokio::time::Instant;

use crate::api::rfc3339_ms;
use crate::config::Role;
use crate::limits::is_filling;
use crate::metrics::Metrics;
use crate::snapshot::{Degraded, Shard, Snapshot};

/// Work waits for a moment whenever a store comes back: only what lasts longer is amiss.
const WORK_PATIENCE: Duration = Duration::from_secs(5);
/// The wall clock may be set: an instant that it moved away from now by more is told anew.
const CLOCK_SLACK_MS: u64 = 1_000;

/// What can be amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Redis does not answer, or no shard of it.
    Redis,
    /// A shard of Redis does not answer.
    Shard,
    /// Redis answers, and takes no new loans.
    Admission,
    /// Redis answers, and may lose what it confirms.
    Durability,
    /// Redis is filling up.
    Memory,
    /// Redis has lost what it had confirmed.
    Rollback,
    /// Redis answers, and loans are not processed.
    Processing,
    /// MongoDB does not answer.
    Mongodb,
    /// MongoDB answers, and results are not recorded.
    Recording,
    /// MongoDB has lost what it had confirmed.
    Record,
    /// MongoDB answers, and refuses questions.
    Questions,
    /// It is not known which loans are recorded, and MongoDB does not tell.
    Filter,
    /// MongoDB answers, and refuses an index of the record.
    Indexes,
    /// So much stands aside that what nobody can read stays in line.
    Aside,
}

/// What the faults are told by.
#[derive(Clone, Copy, Debug)]
struct Signs<'a> {
    snapshot: &'a Snapshot,
    work: Work,
}

/// How the work of this process goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// Whether Redis answers its admissions with errors.
    pub(crate) admission_refused: bool,
    /// Whether its workers wait.
    pub(crate) processing_waits: bool,
    /// Whether its recorders wait.
    pub(crate) recording_waits: bool,
    /// Whether MongoDB refused its recorders an index.
    pub(crate) indexes_refused: bool,
    /// Whether MongoDB has lost records of this process.
    pub(crate) record_gone_back: bool,
    /// Whether MongoDB refuses to tell what is recorded.
    pub(crate) questions_refused: bool,
    /// Whether no partition has a whole filter of recorded loans.
    pub(crate) filters_incomplete: bool,
    /// Whether no more can be set aside.
    pub(crate) aside_full: bool,
}

impl Work {
    /// What is known of it in this process alone.
    pub(crate) fn of(metrics: &Metrics) -> Self {
        Self {
            admission_refused: metrics.is_admission_refused(),
            processing_waits: metrics.is_processing_waiting(),
            recording_waits: metrics.is_recording_waiting(),
            indexes_refused: metrics.are_indexes_refused(),
            record_gone_back: metrics.has_record_gone_back(),
            questions_refused: metrics.are_questions_refused(),
            ..Self::default()
        }
    }
}

impl Fault {
    const ALL: [Self; 14] = [
        Self::Redis,
        Self::Shard,
        Self::Admission,
        Self::Durability,
        Self::Memory,
        Self::Rollback,
        Self::Processing,
        Self::Mongodb,
        Self::Recording,
        Self::Record,
        Self::Questions,
        Self::Filter,
        Self::Indexes,
        Self::Aside,
    ];

    fn is_in(self, signs: Signs<'_>) -> bool {
        let Snapshot {
            redis,
            mongodb,
            counters,
            ..
        } = signs.snapshot;
        let Work {
            admission_refused,
            processing_waits,
            recording_waits,
            indexes_refused,
            record_gone_back,
            questions_refused,
            filters_incomplete,
            aside_full,
        } = signs.work;
        let is_whole = redis.up && redis.trouble.is_none();
        match self {
            Self::Redis => !redis.up,
            Self::Shard => redis.up && redis.trouble.is_some(),
            Self::Admission => is_whole && admission_refused,
            Self::Durability => redis.up && !redis.durable,
            Self::Memory => filling(signs.snapshot).next().is_some(),
            Self::Rollback => counters.rolled_back > 0,
            Self::Processing => is_whole && processing_waits,
            Self::Mongodb => !mongodb.up,
            Self::Recording => is_whole && mongodb.up && recording_waits,
            Self::Record => record_gone_back,
            Self::Questions => mongodb.up && questions_refused,
            Self::Filter => is_whole && filters_incomplete && (!mongodb.up || questions_refused),
            Self::Indexes => mongodb.up && indexes_refused,
            Self::Aside => aside_full,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Shard => "shard",
            Self::Admission => "admission",
            Self::Durability => "durability",
            Self::Memory => "memory",
            Self::Rollback => "rollback",
            Self::Processing => "processing",
            Self::Mongodb => "mongodb",
            Self::Recording => "recording",
            Self::Record => "record",
            Self::Questions => "questions",
            Self::Filter => "filter",
            Self::Indexes => "indexes",
            Self::Aside => "aside",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Redis => "Redis does not answer, or refuses: no loan is taken",
            Self::Shard => "part of Redis does not answer: the loans of its partitions are refused",
            Self::Admission => {
                "Redis answers and refuses new loans; the log says why, at \"Redis takes no loans\""
            }
            Self::Durability => "Redis may lose loans that were answered 202",
            Self::Memory => {
                "Redis is nearly full: new loans are refused until results have left it"
            }
            Self::Rollback => {
                "Redis has lost what it had confirmed: loans that were answered 202 may be gone; the log says which partitions"
            }
            Self::Processing => {
                "Redis answers and loans are not processed: they wait in it; the log says why, at \"processing waits\""
            }
            Self::Mongodb => {
                "MongoDB does not answer: loans that are certainly new are taken and wait in Redis"
            }
            Self::Recording => {
                "MongoDB answers and takes no results: they wait in Redis; the log says why"
            }
            Self::Record => {
                "MongoDB has lost what it had confirmed: recorded loans may be gone; the log says of which partitions"
            }
            Self::Questions => {
                "MongoDB answers and refuses questions: loans that may be known are refused, and what is recorded cannot be read; the log says why, at \"MongoDB refuses questions\""
            }
            Self::Filter => {
                "Redis does not know which loans are recorded, and MongoDB does not tell: every loan is refused"
            }
            Self::Indexes => {
                "MongoDB refuses an index of the record: questions to it are slow, and some fail; the log says why, at \"MongoDB refuses an index\""
            }
            Self::Aside => {
                "as much as is allowed stands aside: more that nobody can read, or that MongoDB refuses, stays in line and is tried again and again"
            }
        }
    }

    /// The same, with the reason where one is known.
    fn detail(self, snapshot: &Snapshot) -> String {
        let trouble = snapshot.redis.trouble.as_deref();
        match (self, trouble) {
            (Self::Redis | Self::Shard, Some(trouble)) => format!("{} ({trouble})", self.words()),
            (Self::Memory, _) => {
                let full: Vec<_> = filling(snapshot)
                    .map(|shard| {
                        let percent = shard.used_memory_bytes * 100 / shard.max_memory_bytes.max(1);
                        format!(
                            "{}: {percent} % of {} bytes",
                            shard.address, shard.max_memory_bytes
                        )
                    })
                    .collect();
                format!("{} ({})", self.words(), full.join(", "))
            }
            _ => self.words().to_owned(),
        }
    }

    /// How long it may last before it is told.
    fn patience(self) -> Duration {
        match self {
            Self::Processing | Self::Recording | Self::Filter => WORK_PATIENCE,
            _ => Duration::ZERO,
        }
    }

    /// Whether a process cannot do with it what others send to it, or, where nobody sends it anything, its work.
    fn stops(self, roles: &[Role]) -> bool {
        let has = |role| roles.contains(&role);
        match self {
            Self::Redis => true,
            Self::Admission | Self::Filter => has(Role::Api),
            Self::Processing => has(Role::Worker) && !has(Role::Api) && !has(Role::Dashboard),
            Self::Shard
            | Self::Durability
            | Self::Memory
            | Self::Rollback
            | Self::Record
            | Self::Questions
            | Self::Indexes
            | Self::Aside => false,
            Self::Mongodb | Self::Recording => {
                has(Role::Persister) && !has(Role::Api) && !has(Role::Dashboard)
            }
        }
    }
}

/// The shards that are nearly full.
fn filling(snapshot: &Snapshot) -> impl Iterator<Item = &Shard> {
    let shards = snapshot.redis.shards.iter();
    shards.filter(|shard| is_filling(shard.used_memory_bytes, shard.max_memory_bytes))
}

/// The faults that there are, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Standing>);

#[derive(Debug)]
struct Standing {
    fault: Fault,
    since: Instant,
    /// The same by the wall clock.
    since_ms: u64,
    is_told: bool,
}

impl Faults {
    /// Notes in a snapshot what is amiss in it, each thing since when.
    pub(crate) fn note(&mut self, snapshot: &mut Snapshot, work: Work, now: Instant) {
        let signs = Signs { snapshot, work };
        for fault in Fault::ALL {
            let at = self.0.iter().position(|other| other.fault == fault);
            match (at, fault.is_in(signs)) {
                (None, true) => self.0.push(Standing {
                    fault,
                    since: now,
                    since_ms: snapshot.at_ms,
                    is_told: false,
                }),
                (Some(at), false) => {
                    let over = self.0.remove(at);
                    if over.is_told {
                        let seconds = (now - over.since).as_secs_f64();
                        let seconds = (seconds * 10.0).round() / 10.0;
                        tracing::info!(fault = fault.name(), seconds, "that is over");
                    }
                }
                _ => {}
            }
        }
        for standing in &mut self.0 {
            let lasts = now - standing.since;
            let since_ms = snapshot.at_ms.saturating_sub(lasts.as_millis() as u64);
            if since_ms.abs_diff(standing.since_ms) > CLOCK_SLACK_MS {
                standing.since_ms = since_ms;
            }
            if lasts >= standing.fault.patience() && !standing.is_told {
                standing.is_told = true;
                let fault = standing.fault;
                tracing::warn!(fault = fault.name(), "{}", fault.detail(snapshot));
            }
        }
        let told = self.0.iter().filter(|standing| standing.is_told);
        let degraded = told
            .map(|standing| Degraded {
                what: standing.fault.name().to_owned(),
                since: rfc3339_ms(standing.since_ms),
                detail: standing.fault.detail(snapshot),
            })
            .collect();
        snapshot.degraded = degraded;
    }
}

/// Whether a snapshot is one: before the first look at the stores nothing is known.
pub(crate) fn is_known(snapshot: &Snapshot) -> bool {
    snapshot.at_ms > 0
}

/// Whether a process with these roles can do what others send to it.
pub(crate) fn is_ready(snapshot: &Snapshot, roles: &[Role]) -> bool {
    let is_in = |fault: &Fault| {
        let mut degraded = snapshot.degraded.iter();
        degraded.any(|degraded| degraded.what == fault.name())
    };
    is_known(snapshot)
        && !Fault::ALL
            .iter()
            .any(|fault| fault.stops(roles) && is_in(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(redis: bool, durable: bool, mongodb: bool) -> Snapshot {
        let mut snapshot = Snapshot {
            at_ms: 1_000,
            ..Snapshot::default()
        };
        snapshot.redis.up = redis;
        snapshot.redis.durable = durable;
        snapshot.mongodb.up = mongodb;
        snapshot
    }

    fn told(snapshot: &Snapshot) -> Vec<(&str, &str)> {
        let told = snapshot.degraded.iter();
        told.map(|degraded| (&*degraded.what, &*degraded.since))
            .collect()
    }

    #[test]
    fn readiness_is_by_role() {
        let mut faults = Faults::default();
        let api = [Role::Api];
        let unknown = Snapshot::default();
        assert!(!is_ready(&unknown, &api), "nobody has looked yet");
        let persister = [Role::Worker, Role::Persister];
        let all = [Role::Api, Role::Worker, Role::Persister, Role::Dashboard];
        for (state, expected) in [
            ((true, true, true), [true, true, true]),
            ((true, false, true), [true, true, true]),
            ((true, true, false), [true, false, true]),
            ((false, false, true), [false, false, false]),
            ((true, true, true), [true, true, true]),
        ] {
            let mut snapshot = snapshot(state.0, state.1, state.2);
            faults.note(&mut snapshot, Work::default(), Instant::now());
            let ready = [&api[..], &persister, &all].map(|roles| is_ready(&snapshot, roles));
            assert_eq!(ready, expected, "{state:?}");
        }
    }

    #[test]
    fn what_is_amiss_stands_with_its_beginning() {
        let mut faults = Faults::default();
        let begin = Instant::now();
        let mut first = snapshot(true, true, false);
        faults.note(&mut first, Work::default(), begin);
        assert_eq!(told(&first), [("mongodb", "1970-01-01T00:00:01.000Z")]);
        let mut later = snapshot(true, false, false);
        later.at_ms = 5_000;
        faults.note(&mut later, Work::default(), begin + Duration::from_secs(4));
        let both = [
            ("mongodb", "1970-01-01T00:00:01.000Z"),
            ("durability", "1970-01-01T00:00:05.000Z"),
        ];
        assert_eq!(told(&later), both);
        let mut well = snapshot(true, true, true);
        faults.note(&mut well, Work::default(), begin + Duration::from_secs(5));
        assert_eq!(told(&well), []);
    }

    /// Who sets the clock does not move the beginning away from now.
    #[test]
    fn a_clock_that_is_set_moves_the_beginning_along() {
        let mut faults = Faults::default();
        let begin = Instant::now();
        faults.note(&mut snapshot(true, true, false), Work::default(), begin);
        let mut later = snapshot(true, true, false);
        later.at_ms = 300_000 + 1_000 + 2_000;
        faults.note(&mut later, Work::default(), begin + Duration::from_secs(2));
        assert_eq!(told(&later), [("mongodb", "1970-01-01T00:05:01.000Z")]);
    }

    #[test]
    fn recording_that_waits_for_a_moment_is_not_amiss() {
        let mut faults = Faults::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        for (seconds, waits, expected) in [
            (0, true, false),
            (4, true, false),
            (4, false, false),
            (5, true, false),
            (9, true, false),
            (10, true, true),
            (11, false, false),
        ] {
            let mut snapshot = snapshot(true, true, true);
            let work = Work {
                recording_waits: waits,
                ..Work::default()
            };
            faults.note(&mut snapshot, work, after(seconds));
            let names: Vec<_> = told(&snapshot).into_iter().map(|(what, _)| what).collect();
            assert_eq!(names == ["recording"], expected, "{seconds} s: {names:?}");
            assert!(expected || names.is_empty(), "{seconds} s: {names:?}");
            let recorder = is_ready(&snapshot, &[Role::Persister]);
            assert_eq!(recorder, !expected, "{seconds} s");
        }
    }

    /// Who cannot tell which loans are new takes none.
    #[test]
    fn a_filter_that_nobody_completes_stops_the_door() {
        let mut faults = Faults::default();
        let begin = Instant::now();
        for (mongodb, refused, incomplete, expected) in [
            (true, false, true, true),
            (true, true, false, true),
            (false, false, false, true),
            (true, true, true, false),
            (false, false, true, false),
        ] {
            let work = Work {
                questions_refused: refused,
                filters_incomplete: incomplete,
                ..Work::default()
            };
            let mut last = Snapshot::default();
            for seconds in [0, 6] {
                last = snapshot(true, true, mongodb);
                faults.note(&mut last, work, begin + Duration::from_secs(seconds));
            }
            let case = format!("{mongodb} {refused} {incomplete}");
            assert_eq!(is_ready(&last, &[Role::Api]), expected, "{case}");
            assert!(is_ready(&last, &[Role::Worker]), "{case}");
            faults = Faults::default();
        }
    }

    #[test]
    fn a_full_redis_and_a_lost_admission_are_told() {
        let mut snapshot = snapshot(true, true, true);
        snapshot.counters.rolled_back = 1;
        snapshot.redis.shards.push(Shard {
            address: "redis:6379".to_owned(),
            used_memory_bytes: 86,
            max_memory_bytes: 100,
            ..Shard::default()
        });
        Faults::default().note(&mut snapshot, Work::default(), Instant::now());
        let names: Vec<_> = told(&snapshot).into_iter().map(|(what, _)| what).collect();
        assert_eq!(names, ["memory", "rollback"]);
        let detail = &snapshot.degraded[0].detail;
        assert!(
            detail.ends_with("(redis:6379: 86 % of 100 bytes)"),
            "{detail}"
        );
        assert!(is_ready(&snapshot, &[Role::Api]));
    }
}
