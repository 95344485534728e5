//! The fault run: load, faults at their times, then healing, draining and judging.
//!
//! A [`plan`] is a scenario file of `scenarios/chaos/`. Its stack is a [`field`] of real servers behind disks and
//! networks that fail on demand. [`clients`] send every loan until they have a definite answer, and write a [`history`]
//! as they go. When all is healed and drained, [`judge`] compares the history with what MongoDB and Redis hold.
//!
//! A run is void when a fault did not take effect: it proves nothing then, whatever the checker says.

pub mod clients;
pub mod field;
pub mod history;
pub mod judge;
pub mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service::snapshot::Counters;
use time::OffsetDateTime;

use self::clients::Clients;
use self::field::{DATABASE, Field, HealError, Struck};
use self::history::{Event, History, Request};
use self::judge::Judged;
use self::plan::{Finds, Plan};
use crate::audit::Findings;
use crate::follow;
use crate::payload::Payloads;
use crate::provenance;
use crate::report::{Audit, CounterRow, Provenance, ReportError};
use crate::run::{RunError, make_folder, rfc3339, run_tag};
use crate::sample::RunClock;
use crate::schedule::Schedule;
use crate::stores::{RedisFacts, StoreError, Stores};

/// Version of the `chaos.json` format.
pub const SCHEMA_VERSION: u32 = 1;
/// From the moment that the stack is ready to the start of the load.
const LEAD: Duration = Duration::from_millis(100);
/// How often Redis is asked whether it is empty.
const DRAIN_TICK: Duration = Duration::from_millis(20);
/// How long a healed store may take to answer the checker.
const STORE_PATIENCE: Duration = Duration::from_secs(20);
/// How long the live metrics may take to say what Redis says.
const METRICS_PATIENCE: Duration = Duration::from_secs(10);
/// Runs of drawn faults that share a stack, before a fresh one is started.
const RUNS_PER_STACK: u64 = 20;
/// How often the rig feels its pulse.
const PULSE: Duration = Duration::from_millis(20);
/// A rig that stood still for this long cannot tell what clients would have seen.
const STANDSTILL_MAX: Duration = Duration::from_secs(1);
/// Of this many runs of a plan, and of a plan's only one, one may be void and replaced.
const VOIDS_SHARE: u64 = 5;
/// Figures that the set of all runs must reach, or it has tried nothing.
const SET_FIGURES: [&str; 4] = [
    "redelivered",
    "lost_commit_races",
    "duplicate_keys",
    "replayed",
];

/// What may be concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The faults took effect, and the checker found what it had to: nothing, or the planted fault.
    Pass,
    /// The checker found a fault, or did not find the planted one.
    Fail,
    /// A fault did not take effect, so the run proves nothing.
    Void,
}

impl Verdict {
    /// The exit code: 0 pass, 1 fail, 5 void. (2: it could not run.)
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Void => 5,
        }
    }

    /// The verdict in lower case, as in `chaos.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Void => "void",
        }
    }
}

/// All runs of one fault run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChaosReport {
    /// Version of this format.
    pub schema_version: u32,
    /// The judgement on all of it.
    pub verdict: Verdict,
    /// The reasons, one sentence each.
    pub why: Vec<String>,
    /// When it began, RFC 3339, UTC.
    pub started_at: String,
    /// How long it took.
    pub duration_seconds: f64,
    /// On what.
    pub provenance: Provenance,
    /// Sums over all runs but the proofs of the rig and those that were void.
    pub totals: Totals,
    /// The runs, in order.
    pub runs: Vec<RunReport>,
}

/// Sums over runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Runs.
    pub runs: u64,
    /// Of these, with faults drawn by a seed.
    pub mixed_runs: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Distinct loans sent.
    pub loans: u64,
    /// Requests sent.
    pub requests: u64,
    /// Loans answered 202.
    pub acknowledged: u64,
    /// Lost, duplicated, unexpected, mismatched, stuck.
    pub lost: u64,
    /// Taken or recorded twice.
    pub duplicated: u64,
    /// Stored and never sent.
    pub unexpected: u64,
    /// Stored otherwise than sent.
    pub mismatched: u64,
    /// Left in Redis.
    pub stuck: u64,
    /// Counters that disagreed with the records.
    pub counters_wrong: u64,
    /// What the faults led to, by name.
    pub figures: BTreeMap<String, u64>,
}

/// One run under faults.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// Name of the plan.
    pub name: String,
    /// The row of the fault matrix.
    pub row: String,
    /// What was tried.
    pub description: String,
    /// Whether the faults were drawn by the seed.
    pub mixed: bool,
    /// Seed of everything.
    pub seed: u64,
    /// What the checker had to find: `nothing`, or the planted fault.
    pub expected: String,
    /// The judgement.
    pub verdict: Verdict,
    /// The reasons, one sentence each.
    pub why: Vec<String>,
    /// How long the load lasted.
    pub load_seconds: f64,
    /// Arrivals of the schedule per second.
    pub rate_per_second: f64,
    /// Requests sent, resends included.
    pub requests: u64,
    /// Answers by kind: `202`, `202 replayed`, `503 queue_unavailable`, `timeout` ...
    pub answers: BTreeMap<String, u64>,
    /// The faults, in order.
    pub faults: Vec<FaultReport>,
    /// The checker's counts.
    pub audit: Audit,
    /// The counters beside the records.
    pub counters: Vec<CounterRow>,
    /// What the faults led to, by name.
    pub figures: BTreeMap<String, u64>,
    /// From the last answer to an empty Redis; `None` when it did not become empty.
    pub drain_seconds: Option<f64>,
    /// The history, in the report's folder; `None` when it was not kept.
    pub history: Option<String>,
    /// The command that repeats it.
    pub repeat: String,
}

/// One fault and what came of it. Times are seconds after the start of the load.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultReport {
    /// What.
    pub what: String,
    /// When it struck.
    pub hit_seconds: f64,
    /// When it was over and healed.
    pub over_seconds: f64,
    /// Whether it is seen to have taken effect.
    pub took_effect: bool,
    /// By what.
    pub evidence: String,
    /// Requests that clients sent meanwhile.
    pub requests: u64,
    /// Of these, answered 503 or another 5xx.
    pub refused: u64,
    /// Of these, without any answer.
    pub unanswered: u64,
    /// The longest that the client of one loan waited for a definite answer, seconds.
    pub longest_wait_seconds: f64,
    /// From its end to the first definite answer to a request that left after it, seconds.
    pub recovery_seconds: Option<f64>,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plans, with their files.
    pub plans: Vec<(PathBuf, Plan)>,
    /// How many seeds plans with drawn faults run with.
    pub seeds: u64,
    /// The first seed, in place of the files'.
    pub seed: Option<u64>,
    /// The service's binary; the one beside the running binary when `None`.
    pub service_binary: Option<PathBuf>,
    /// Where reports go.
    pub reports: PathBuf,
    /// Whether each run is told as it ends.
    pub quiet: bool,
    /// Turns true when no further run is wanted. The one that is made ends, and the report tells of those that were.
    pub stop: Arc<AtomicBool>,
}

/// Why a fault run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The report's folder, the stack or a store.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A server did not start.
    #[error(transparent)]
    Testbed(#[from] testbed::TestbedError),
    /// A store did not answer the checker.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stack could not be healed.
    #[error("{run}: the stack could not be healed")]
    Heal {
        /// The run.
        run: String,
        /// Why not.
        source: HealError,
    },
    /// The history could not be written or read.
    #[error("cannot keep the history {}: {source}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// A fault run that was made.
pub struct Finished {
    /// Its report.
    pub report: ChaosReport,
    /// The folder that holds it.
    pub folder: PathBuf,
}

/// Makes all runs, one after the other, and writes the report.
///
/// # Errors
/// When a run could not be made at all.
pub async fn run(options: &Options) -> Result<Finished, ChaosError> {
    let started = OffsetDateTime::now_utc();
    let folder = make_folder(&options.reports, "chaos", started)?;
    let mut provenance = provenance::gather();
    let mut runs = Vec::new();
    let mut short = Vec::new();
    let mut broken = None;
    'plans: for (path, plan) in &options.plans {
        let first = options.seed.unwrap_or(plan.seed);
        let is_drawn = plan.mixed.is_some();
        // Of many plans nobody could follow the dashboards.
        let is_watched = !options.quiet && options.plans.len() == 1;
        let seeds = if is_drawn { options.seeds } else { 1 };
        let mut field: Option<Field> = None;
        let (mut turn, mut counted) = (0, 0);
        // A void run proves nothing: another takes its place, within bounds.
        while counted < seeds && turn < seeds + seeds.div_ceil(VOIDS_SHARE) {
            if !is_drawn || turn % RUNS_PER_STACK == 0 {
                // The old stack ends before the new one starts.
                drop(field.take());
            }
            if options.stop.load(Ordering::Relaxed) {
                short.push("stopped before its end: not all runs were made".to_owned());
                break 'plans;
            }
            let field = match &mut field {
                Some(field) => field,
                none => {
                    let started = Field::start(&plan.stack, options.service_binary.clone()).await?;
                    if is_watched {
                        println!("watch it: {}", started.dashboard_link());
                    }
                    none.insert(started)
                }
            };
            let stage = Stage {
                plan,
                path,
                seed: if is_drawn { first + turn } else { first },
                again: !is_drawn && turn > 0,
                folder: &folder,
            };
            let report = match stage.run(field, &mut provenance).await {
                Ok(report) => report,
                // What was found so far is told all the same.
                Err(error) => {
                    broken = Some(error);
                    break 'plans;
                }
            };
            turn += 1;
            counted += u64::from(report.verdict != Verdict::Void);
            if !options.quiet {
                crate::report::chaos::tell(&report);
            }
            runs.push(report);
        }
        if counted < seeds {
            let why = runs.last().map(|run| run.why.join("; "));
            short.push(format!(
                "{}: only {counted} of {seeds} runs counted, the others were void; the last: {}",
                plan.name.get_ref(),
                why.unwrap_or_default()
            ));
        }
    }
    let finished = OffsetDateTime::now_utc();
    let totals = totals(&runs);
    let (verdict, why) = decide_all(&runs, &totals, short);
    let report = ChaosReport {
        schema_version: SCHEMA_VERSION,
        verdict,
        why,
        started_at: rfc3339(started),
        duration_seconds: (finished - started).as_seconds_f64(),
        provenance,
        totals,
        runs,
    };
    crate::report::chaos::write(&report, &folder)?;
    crate::report::write_index(&options.reports)?;
    match broken {
        Some(error) => Err(error),
        None => Ok(Finished { report, folder }),
    }
}

/// One run on its stack.
struct Stage<'a> {
    plan: &'a Plan,
    path: &'a Path,
    seed: u64,
    /// It takes the place of a void run with the same seed.
    again: bool,
    folder: &'a Path,
}

impl Stage<'_> {
    fn name(&self) -> String {
        let name = self.plan.name.get_ref();
        if self.plan.mixed.is_some() {
            format!("{name}-{}", self.seed)
        } else if self.again {
            format!("{name}-again")
        } else {
            name.clone()
        }
    }

    async fn run(
        &self,
        field: &Field,
        provenance: &mut Provenance,
    ) -> Result<RunReport, ChaosError> {
        let plan = self.plan;
        let stores = connect(field).await?;
        if provenance.redis.is_empty() {
            let RedisFacts {
                version,
                appendfsync,
            } = stores.redis_facts().await?;
            provenance.redis = version;
            provenance.appendfsync = appendfsync;
            provenance.mongodb = stores.mongodb_version().await?;
        }
        let before = stores.counters().await?;
        let records_before = stores.records().await?;

        let path = self.folder.join(format!("{}.history.jsonl", self.name()));
        let schedule = Schedule::new(&[plan.phase()], self.seed);
        let tag = run_tag(OffsetDateTime::now_utc());
        let payloads = Payloads::new(self.seed, &tag, &plan.load.mix);
        let clock = RunClock::starting_in(LEAD);
        let unkept = |source| ChaosError::History {
            path: path.clone(),
            source,
        };
        let history = History::create(&path, clock).map_err(unkept)?;
        let clients = Arc::new(Clients::new(
            field.addresses.clone(),
            payloads.clone(),
            history,
            clock,
            &plan.load,
        ));

        let strikes = plan.strikes_of(self.seed);
        let markers = field.markers(&self.name());
        let faults = async {
            let struck = join_all(
                strikes
                    .iter()
                    .map(|strike| field.strike(strike, clock, &clients.history, &markers)),
            )
            .await;
            field.heal().await?;
            let rest = schedule.duration().saturating_sub(clock.now());
            Ok::<_, HealError>((struck, rest + plan.load.patience))
        };
        let pulse = Pulse::start();
        let mut sending = tokio::spawn(Arc::clone(&clients).send_all(schedule.clone()));
        let (struck, patience) = faults.await.map_err(|source| ChaosError::Heal {
            run: self.name(),
            source,
        })?;
        if tokio::time::timeout(patience, &mut sending).await.is_err() {
            // What has no definite answer by now has none for good.
            clients.is_over.store(true, Ordering::Relaxed);
            let _ = sending.await;
        }
        let drain_seconds = drain(&stores, plan.load.drain_timeout).await;

        clients.history.flush().map_err(unkept)?;
        let requests = history::requests(&history::read(&path).map_err(unkept)?);
        let after = patiently(|| stores.counters()).await?;
        let metrics_agree = metrics_agree(field, &after).await;
        let prefix = payloads.prefix();
        let mut findings = Findings::new(&payloads, schedule.arrivals());
        for collection in ["loans", "failures"] {
            let mut documents = patiently(|| stores.documents(collection, Some(&prefix))).await?;
            while let Some(document) = documents.try_next().await.map_err(StoreError::from)? {
                if collection == "loans" {
                    findings.loan(&document);
                } else {
                    findings.failure(&document);
                }
            }
        }
        for id in patiently(|| stores.stuck()).await? {
            findings.stuck(&id);
        }
        let records_grown = patiently(|| stores.records()).await? - records_before;
        let judged = judge::judge(&payloads, &requests, &findings, (&before, &after));
        let logs = field.logs().await;
        let seen = Evidence {
            requests: &requests,
            struck: &struck,
            judged: &judged,
            counters: (&before, &after),
            panics: logs
                .iter()
                .map(|log| log.matches("panicked at").count() as u64)
                .sum(),
            metrics_agree,
            records_unaccounted: records_grown.saturating_sub(findings.records()),
            is_drained: drain_seconds.is_some(),
            stood_still: pulse.stood_still(),
        };
        let (verdict, why) = seen.decide(plan);
        markers.end(verdict.name()).await;
        // A history is small beside what it can tell; of drawn runs there are many, and a seed repeats them.
        let is_kept = plan.mixed.is_none() || verdict != Verdict::Pass;
        if !is_kept {
            let _ = std::fs::remove_file(&path);
        } else if verdict == Verdict::Fail {
            for (number, log) in (1..).zip(&logs) {
                let _ = std::fs::write(
                    self.folder
                        .join(format!("{}.service-{number}.log", self.name())),
                    log,
                );
            }
        }
        Ok(RunReport {
            name: self.name(),
            row: plan.row.clone(),
            description: plan.description.clone(),
            mixed: plan.mixed.is_some(),
            seed: self.seed,
            expected: plan.expect.finds.name().to_owned(),
            verdict,
            why,
            load_seconds: schedule.duration().as_secs_f64(),
            rate_per_second: f64::from(schedule.arrivals()) / schedule.duration().as_secs_f64(),
            requests: requests.len() as u64,
            answers: answers(&requests),
            faults: struck
                .iter()
                .map(|fault| fault_report(fault, &requests))
                .collect(),
            figures: seen.figures(),
            audit: judged.audit,
            counters: judged.counters,
            drain_seconds,
            history: is_kept
                .then(|| {
                    path.file_name()
                        .map(|name| name.to_string_lossy().into_owned())
                })
                .flatten(),
            repeat: plan::repeat(self.path, self.seed),
        })
    }
}

/// Notes for how long this process was not run by the system.
struct Pulse {
    longest_us: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Pulse {
    fn start() -> Self {
        let longest_us = Arc::new(AtomicU64::new(0));
        let noted = Arc::clone(&longest_us);
        let task = tokio::spawn(async move {
            let mut last = tokio::time::Instant::now();
            loop {
                tokio::time::sleep(PULSE).await;
                let late = last.elapsed().saturating_sub(PULSE);
                noted.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
                last = tokio::time::Instant::now();
            }
        });
        Self { longest_us, task }
    }

    fn stood_still(&self) -> Duration {
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a run's verdict rests on.
struct Evidence<'a> {
    requests: &'a [Request],
    struck: &'a [Struck],
    judged: &'a Judged,
    counters: (&'a Counters, &'a Counters),
    panics: u64,
    metrics_agree: bool,
    records_unaccounted: u64,
    is_drained: bool,
    /// The longest that the rig itself was not run by the system.
    stood_still: Duration,
}

impl Evidence<'_> {
    /// What the faults led to, by name.
    fn figures(&self) -> BTreeMap<String, u64> {
        let (before, after) = self.counters;
        let count = |holds: fn(&Request) -> bool| {
            self.requests
                .iter()
                .filter(|request| holds(request))
                .count() as u64
        };
        let mut figures: BTreeMap<String, u64> = [
            (
                "redelivered",
                after.redelivered.saturating_sub(before.redelivered),
            ),
            (
                "lost_commit_races",
                after
                    .lost_commit_races
                    .saturating_sub(before.lost_commit_races),
            ),
            (
                "duplicate_keys",
                after.duplicate_keys.saturating_sub(before.duplicate_keys),
            ),
            ("replayed", after.replayed.saturating_sub(before.replayed)),
            (
                "refused_503",
                count(|request| request.event == Event::Info && request.status.is_some()),
            ),
            (
                "unanswered",
                count(|request| request.event == Event::Info && request.status.is_none()),
            ),
            ("conflicts", count(|request| request.status == Some(422))),
            (
                "timeouts",
                count(|request| request.event == Event::Info && request.why == "timeout"),
            ),
            ("panics", self.panics),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for fault in self.struck {
            for (name, value) in &fault.figures {
                *figures.entry((*name).to_owned()).or_default() += value;
            }
        }
        figures
    }

    /// What the checker found wrong, a sentence each.
    fn faults(&self) -> Vec<String> {
        let audit = &self.judged.audit;
        let mut faults: Vec<String> = [
            (audit.lost, "lost"),
            (audit.duplicated, "duplicated"),
            (audit.unexpected, "unexpected"),
            (audit.mismatched, "mismatched"),
            (audit.stuck, "stuck"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, class)| format!("{count} loans {class}"))
        .collect();
        faults.extend(
            self.judged
                .counters
                .iter()
                .filter(|row| !row.agree)
                .map(|row| {
                    format!(
                        "counter {} says {}, the records {}",
                        row.name,
                        row.live
                            .map_or_else(|| "nothing".to_owned(), |live| live.to_string()),
                        if row.audit == row.audit_max {
                            row.audit.to_string()
                        } else {
                            format!("{} to {}", row.audit, row.audit_max)
                        }
                    )
                }),
        );
        if !self.is_drained && self.stood_still < STANDSTILL_MAX {
            faults.push("Redis did not become empty".to_owned());
        }
        // Clients went on asking long after all was healed.
        if self.judged.unanswered > 0 && self.stood_still < STANDSTILL_MAX {
            faults.push(format!(
                "{} requests never had a definite answer",
                self.judged.unanswered
            ));
        }
        if !self.metrics_agree && self.stood_still < STANDSTILL_MAX {
            faults.push("the live metrics do not say what Redis says".to_owned());
        }
        if self.records_unaccounted > 0 {
            faults.push(format!(
                "{} records that no loan of this run accounts for",
                self.records_unaccounted
            ));
        }
        faults.extend(self.struck.iter().filter_map(|fault| fault.wrong.clone()));
        faults
    }

    /// Why the run proves nothing, a sentence each.
    fn voids(&self, plan: &Plan) -> Vec<String> {
        let mut voids = Vec::new();
        if self.stood_still >= STANDSTILL_MAX {
            // Then time-outs say nothing of the service.
            voids.push(format!(
                "the machine was so busy that the rig itself stood still for {} ms",
                self.stood_still.as_millis()
            ));
        }
        for fault in self.struck {
            if !fault.took_effect {
                voids.push(format!(
                    "no effect of: {} ({})",
                    fault.words, fault.evidence
                ));
            } else if fault.needs_clients {
                let seen = judge::seen(self.requests, fault.hit, fault.over);
                if seen.refused + seen.unanswered == 0 {
                    voids.push(format!("no client saw: {}", fault.words));
                }
            }
        }
        let figures = self.figures();
        for (name, least) in &plan.expect.at_least {
            let value = figures.get(name).copied().unwrap_or(0);
            if value < *least {
                voids.push(format!("{name} is {value}, and must be at least {least}"));
            }
        }
        voids
    }

    fn decide(&self, plan: &Plan) -> (Verdict, Vec<String>) {
        let faults = self.faults();
        let voids = self.voids(plan);
        let audit = &self.judged.audit;
        let planted = match plan.expect.finds {
            Finds::Nothing => {
                // A fault that was found stands, whether or not all was tried.
                return if !faults.is_empty() {
                    (Verdict::Fail, faults)
                } else if !voids.is_empty() {
                    (Verdict::Void, voids)
                } else {
                    (Verdict::Pass, Vec::new())
                };
            }
            Finds::Lost => audit.lost > 0,
            Finds::Duplicated => audit.duplicated > 0,
            Finds::Stuck => audit.stuck > 0,
            Finds::Counters => self.judged.counters.iter().any(|row| !row.agree),
        };
        if planted {
            (Verdict::Pass, faults)
        } else if !voids.is_empty() {
            (Verdict::Void, voids)
        } else {
            let what = plan.expect.finds.name();
            (
                Verdict::Fail,
                vec![format!(
                    "the checker did not see the planted fault ({what})"
                )],
            )
        }
    }
}

fn fault_report(fault: &Struck, requests: &[Request]) -> FaultReport {
    let seen = judge::seen(requests, fault.hit, fault.over);
    FaultReport {
        what: fault.words.clone(),
        hit_seconds: fault.hit.as_secs_f64(),
        over_seconds: fault.over.as_secs_f64(),
        took_effect: fault.took_effect,
        evidence: fault.evidence.clone(),
        requests: seen.requests,
        refused: seen.refused,
        unanswered: seen.unanswered,
        longest_wait_seconds: seen.longest_wait.as_secs_f64(),
        recovery_seconds: seen.recovered_after.map(|after| after.as_secs_f64()),
    }
}

fn answers(requests: &[Request]) -> BTreeMap<String, u64> {
    let mut answers = BTreeMap::new();
    for request in requests {
        let label = match (request.event, request.status) {
            (Event::Ok, _) if request.replayed => "202 replayed".to_owned(),
            (Event::Ok, _) => "202".to_owned(),
            (_, Some(status)) if request.why.is_empty() => status.to_string(),
            (_, Some(status)) => format!("{status} {}", request.why),
            (_, None) => request.why.clone(),
        };
        *answers.entry(label).or_default() += 1;
    }
    answers
}

fn totals(runs: &[RunReport]) -> Totals {
    let mut totals = Totals::default();
    for run in runs
        .iter()
        .filter(|run| run.expected == Finds::Nothing.name())
    {
        totals.runs += 1;
        totals.mixed_runs += u64::from(run.mixed);
        totals.faults += run.faults.len() as u64;
        totals.loans += run.audit.ids;
        totals.requests += run.requests;
        totals.acknowledged += run.audit.acknowledged;
        totals.lost += run.audit.lost;
        totals.duplicated += run.audit.duplicated;
        totals.unexpected += run.audit.unexpected;
        totals.mismatched += run.audit.mismatched;
        totals.stuck += run.audit.stuck;
        totals.counters_wrong += run.counters.iter().filter(|row| !row.agree).count() as u64;
        for (name, value) in &run.figures {
            *totals.figures.entry(name.clone()).or_default() += value;
        }
    }
    totals
}

/// `short` tells where too many runs of drawn faults were void.
fn decide_all(runs: &[RunReport], totals: &Totals, short: Vec<String>) -> (Verdict, Vec<String>) {
    let failed: Vec<String> = runs
        .iter()
        .filter(|run| run.verdict == Verdict::Fail)
        .map(|run| format!("{}: {}", run.name, run.why.join("; ")))
        .collect();
    if !failed.is_empty() {
        return (Verdict::Fail, failed);
    }
    // Another run has taken the place of a void one, or its plan is short.
    let mut voids = short;
    // A single plan need not show all of it; the whole set must.
    let is_set = runs
        .iter()
        .filter(|run| run.expected == Finds::Nothing.name())
        .count()
        > 10;
    if is_set {
        voids.extend(
            SET_FIGURES
                .into_iter()
                .filter(|name| totals.figures.get(*name).copied().unwrap_or(0) == 0)
                .map(|name| format!("over all runs, {name} is 0")),
        );
    }
    if voids.is_empty() {
        (Verdict::Pass, Vec::new())
    } else {
        (Verdict::Void, voids)
    }
}

/// The checker's connections, past the proxies.
async fn connect(field: &Field) -> Result<Stores, StoreError> {
    patiently(|| Stores::connect(&field.redis_url, &field.mongodb_uri, DATABASE, 1)).await
}

/// Asks again while a healed store is not quite there.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let deadline = tokio::time::Instant::now() + STORE_PATIENCE;
    loop {
        match ask().await {
            Err(_) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return answer,
        }
    }
}

/// Waits until nothing is left in Redis; answers how long that took.
async fn drain(stores: &Stores, timeout: Duration) -> Option<f64> {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < timeout {
        // While Redis is away nobody can say that it is empty.
        if stores.backlog().await.is_ok_and(|left| left == 0) {
            return Some(begun.elapsed().as_secs_f64());
        }
        tokio::time::sleep(DRAIN_TICK).await;
    }
    None
}

/// Whether every instance's live metrics come to say what Redis says.
async fn metrics_agree(field: &Field, counters: &Counters) -> bool {
    let deadline = tokio::time::Instant::now() + METRICS_PATIENCE;
    for address in &field.addresses {
        loop {
            let live = follow::snapshot(&format!("http://{address}")).await;
            if live.is_ok_and(|live| is_same(&live.counters, counters)) {
                break;
            }
            if tokio::time::Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    true
}

/// Whether the cluster's counters are the same; those of one process are left out.
fn is_same(live: &Counters, redis: &Counters) -> bool {
    (
        live.admitted,
        live.accepted,
        live.recorded_loans,
        live.recorded_failures,
        &live.failed,
    ) == (
        redis.admitted,
        redis.accepted,
        redis.recorded_loans,
        redis.recorded_failures,
        &redis.failed,
    )
}
