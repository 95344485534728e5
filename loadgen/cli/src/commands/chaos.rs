//! The fault run: load, faults at their times, then healing, draining and judging.
//!
//! A [`Plan`] is a scenario file of `scenarios/chaos/`. Its stack is a [`Field`] of real servers behind disks and
//! networks that fail on demand. [`Clients`] send every loan until they have a definite answer, and write a [`History`]
//! as they go. When all is healed and drained, [`judge`] compares the history with what MongoDB and Redis hold.
//!
//! A run is void when a fault did not take effect, or when no loan was acknowledged: it proves nothing then. What was made
//! before a run that could not be made to its end is reported all the same.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use drive::pursue::Clients;
use drive::stop;
use futures_util::future::join_all;
use judge::audit::Findings;
use judge::faults::{self, Evidence, answers, decide_all, fault_report, repeat, totals};
use observe::field::{DATABASE, Field, HealError};
use observe::follow;
use observe::provenance;
use observe::stores::{FAILURES, LOANS, RedisFacts, StoreError, Stores};
use plan::faults::{Fault, Plan, REFUSED_AMOUNT_MINOR};
use plan::payload::Payloads;
use plan::schedule::Schedule;
use record::cause::with_causes;
use record::clock::RunClock;
use record::folder::{rfc3339, run_tag};
use record::history::{self, History};
use record::result::chaos::{ChaosReport, RunReport, SCHEMA_VERSION, Verdict};
use record::result::run::Provenance;
use report::ReportError;
use snapshot::Counters;
use time::OffsetDateTime;

use crate::COMMIT;
use crate::commands::begin;
use crate::commands::run::RunError;

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
/// Of this many runs of a plan, and of a plan's only one, one may be void and replaced.
const VOIDS_SHARE: u64 = 5;

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
    /// The clients broke down: what they sent and heard is not known.
    #[error("the clients broke down")]
    Clients(#[from] tokio::task::JoinError),
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

/// A fault run that was made, or begun.
pub struct Finished {
    /// Its report.
    pub report: ChaosReport,
    /// The folder that holds it.
    pub folder: PathBuf,
    /// Why the next run could not be made, if that ended it. The report names it.
    pub broken: Option<ChaosError>,
    /// What could not be written, one line each. The verdict stands all the same.
    pub warnings: Vec<String>,
}

/// Makes all runs, one after the other, and writes the report. A stop, and a run that cannot be made to its end, end it with the
/// runs that were made.
///
/// # Errors
/// When not even the first stack could be started, or the folder cannot be written.
pub async fn run(options: &Options) -> Result<Finished, ChaosError> {
    let started = OffsetDateTime::now_utc();
    let folder = begin(&options.reports, "chaos", started).map_err(RunError::from)?;
    let mut provenance = provenance::gather(COMMIT);
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
            let stage = Stage {
                plan,
                path,
                service_binary: options.service_binary.as_deref(),
                seed: if is_drawn {
                    first.wrapping_add(turn)
                } else {
                    first
                },
                again: !is_drawn && turn > 0,
                folder: &folder,
            };
            let making = async {
                let field = match &mut field {
                    Some(field) => field,
                    none => none.insert(stage.start(is_watched).await?),
                };
                stage.run(field, &mut provenance).await
            };
            let made = unless_stopped(making, &mut short).await;
            let report = match made {
                None => break 'plans,
                Some(Ok(report)) => report,
                // Nothing was sent yet, so there is nothing else to tell.
                Some(Err(error @ ChaosError::Testbed(_))) if runs.is_empty() => return Err(error),
                // What was found so far is told all the same.
                Some(Err(error)) => {
                    short.push(format!(
                        "{} broke off, and not all runs were made: {}",
                        stage.name(),
                        with_causes(&error)
                    ));
                    broken = Some(error);
                    break 'plans;
                }
            };
            turn += 1;
            counted += u64::from(report.verdict != Verdict::Void);
            if !options.quiet {
                report::chaos::tell(&report);
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
    let written = [
        report::chaos::write(&report, &folder),
        report::write_index(&options.reports),
    ];
    Ok(Finished {
        report,
        folder: folder.to_path_buf(),
        broken,
        warnings: written
            .into_iter()
            .filter_map(Result::err)
            .map(|error| error.to_string())
            .collect(),
    })
}

/// What comes of it; nothing when a stop was asked for first: it is given up, and the report tells of what was made before.
async fn unless_stopped<T>(stage: impl Future<Output = T>, short: &mut Vec<String>) -> Option<T> {
    tokio::select! {
        done = stage => Some(done),
        () = stop::wait() => {
            short.push("stopped before its end: not all runs were made".to_owned());
            None
        }
    }
}

/// One run on its stack.
struct Stage<'a> {
    plan: &'a Plan,
    path: &'a Path,
    /// The service's binary, where one was named.
    service_binary: Option<&'a Path>,
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

    /// The stack that it needs, and a line where to watch it.
    async fn start(&self, is_watched: bool) -> Result<Field, ChaosError> {
        let binary = self.service_binary.map(Path::to_path_buf);
        let field = Field::start(&self.plan.stack, binary).await?;
        if is_watched {
            let link = field.dashboard_link();
            let _ = writeln!(std::io::stderr(), "watch it: {link}");
        }
        Ok(field)
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
        // Every run starts the same binary.
        if provenance.service_version.is_empty()
            && let Ok(snapshot) =
                follow::snapshot(&format!("http://{}", field.addresses[0]), None).await
        {
            (provenance.service_commit, provenance.service_dirty) =
                provenance::commit_of(&snapshot.git_commit);
            provenance.service_version = snapshot.version;
        }
        let before = stores.counters().await?;
        let records_before = stores.records_count().await?;

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
            let struck = join_all(strikes.iter().map(|strike| {
                field.strike(strike, clock, &clients.history, &markers, &clients.door)
            }))
            .await;
            field.heal().await?;
            clients.is_healed.store(true, Ordering::Relaxed);
            let rest = plan.load.lasts.saturating_sub(clock.now());
            Ok::<_, HealError>((struck, rest + plan.load.patience))
        };
        let pulse = Pulse::start();
        let sending = tokio::spawn(Arc::clone(&clients).send_all(schedule.clone()));
        let (struck, patience) = faults.await.map_err(|source| ChaosError::Heal {
            run: self.name(),
            source,
        })?;
        let load = answered_within(patience, sending, &clients.is_over).await?;
        let mut drain_seconds = drain(&stores, plan.load.drain_timeout).await;
        if plan.load.sends_again && drain_seconds.is_some() {
            let again = tokio::spawn(Arc::clone(&clients).send_again(load.arrivals));
            let patience = load.lasted + plan.load.patience;
            answered_within(patience, again, &clients.is_over).await?;
            drain_seconds = drain(&stores, plan.load.drain_timeout).await;
        }

        clients.history.flush().map_err(unkept)?;
        let requests = history::requests(&history::read(&path).map_err(unkept)?);
        let after = patiently(|| stores.counters()).await?;
        let metrics_agree = metrics_agree(field, &after).await;
        // What a Redis with older data has forgotten happened all the same.
        let after = struck
            .iter()
            .fold(after, |sum, struck| with(sum, &struck.forgotten));
        let prefix = payloads.prefix();
        let mut findings = Findings::new(&payloads, schedule.arrivals());
        if strikes
            .iter()
            .any(|strike| matches!(strike.fault, Fault::RefuseRecords { .. }))
        {
            findings = findings.refusing(|amount_minor| amount_minor % REFUSED_AMOUNT_MINOR == 0);
        }
        for collection in [LOANS, FAILURES] {
            let stored = || stores.records(collection, Some(&prefix));
            let mut records = patiently(stored).await?;
            while let Some(record) = records.next().await? {
                findings.take(&record);
            }
        }
        for id in patiently(|| stores.stuck()).await? {
            findings.stuck(&id);
        }
        let records_grown = patiently(|| stores.records_count()).await? - records_before;
        let judged = faults::judge(&payloads, &requests, &findings, (&before, &after));
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
            load_seconds: load.lasted.as_secs_f64(),
            rate_per_second: f64::from(load.arrivals) / load.lasted.as_secs_f64().max(0.001),
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
            repeat: repeat(self.path, self.seed, self.service_binary),
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

/// What the clients of the task `sending` come to. What has no definite answer after `patience` has none for good, and they are told
/// by `is_over`.
async fn answered_within<T>(
    patience: Duration,
    mut sending: tokio::task::JoinHandle<T>,
    is_over: &AtomicBool,
) -> Result<T, ChaosError> {
    let sent = if let Ok(sent) = tokio::time::timeout(patience, &mut sending).await {
        sent
    } else {
        is_over.store(true, Ordering::Relaxed);
        sending.await
    };
    Ok(sent?)
}

/// The checker's connections, past the proxies.
async fn connect(field: &Field) -> Result<Stores, StoreError> {
    patiently(|| Stores::connect(&field.redis_url, &field.mongodb_uri, DATABASE)).await
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
            let live = follow::snapshot(&format!("http://{address}"), None).await;
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

/// The counters that the records are compared with, and as much more.
fn with(mut counters: Counters, more: &Counters) -> Counters {
    counters.admitted += more.admitted;
    counters.replayed += more.replayed;
    counters.accepted += more.accepted;
    counters.recorded_loans += more.recorded_loans;
    counters.recorded_failures += more.recorded_failures;
    for (category, count) in &more.failed {
        *counters.failed.entry(category.clone()).or_default() += count;
    }
    counters
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
