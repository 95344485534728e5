//! The highest rate that meets a scenario's objectives in recorded loans.
//!
//! Each probe is a whole run with its audit at one rate: a warm-up, then a stretch at that rate. [`Search`] chooses
//! the rates: up or down by two until one passes and one fails, then between them, then the best one again until it is
//! confirmed. What counts is recorded loans: a rate at which a backlog grows does not meet the objectives, whatever
//! the answers' latency.

use std::path::PathBuf;
use std::time::Duration;

use drive::stop;
use judge::search::{Search, at_rate, conclude, probe};
use plan::scenario::Scenario;
use record::folder::rfc3339;
use record::result::capacity::{Capacity, Outcome, Probe};
use record::result::run::{Provenance, Verdict};
use report::Folder;
use time::OffsetDateTime;

use crate::commands::begin;
use crate::commands::run::{self, Allowed, Options, RunError};

/// How a capacity is searched.
#[derive(Clone, Debug)]
pub struct CapacityOptions {
    /// The scenario, whose mix, target and checks are kept and whose phases are replaced.
    pub scenario: Scenario,
    /// Its file.
    pub scenario_path: PathBuf,
    /// The service's binary; the one beside the running binary when `None`.
    pub service_binary: Option<PathBuf>,
    /// Where reports go.
    pub reports: PathBuf,
    /// The first rate, arrivals per second.
    pub start: f64,
    /// The highest rate that is tried.
    pub rate_max: f64,
    /// The search ends when the best and the next failed rate are this close, as a share.
    pub precision: f64,
    /// How long each probe holds its rate.
    pub hold: Duration,
    /// How often the best rate must pass again.
    pub confirmations: u32,
    /// What is not refused.
    pub allow: Vec<Allowed>,
}

/// What was found of a capacity.
pub struct Searched {
    /// The result.
    pub result: Capacity,
    /// The folder for its report, until that is written.
    pub folder: Folder,
    /// Why the next probe could not be made, if that ended the search.
    pub broken: Option<RunError>,
}

/// Searches and tells each probe to `say`. A stop, and a probe that cannot be made, end it with the probes that were made.
///
/// # Errors
/// When not even the first run could be made, or the folder cannot be written.
pub async fn capacity(
    options: &CapacityOptions,
    mut say: impl FnMut(&str),
) -> Result<Searched, RunError> {
    let started = OffsetDateTime::now_utc();
    let name = format!("capacity-{}", options.scenario.name.get_ref());
    let folder = begin(&options.reports, &name, started)?;
    let mut search = Search::new(
        options.start,
        options.rate_max,
        options.precision,
        options.confirmations,
    );
    let mut result = Capacity {
        scenario: options.scenario.name.get_ref().clone(),
        started_at: rfc3339(started),
        finished_at: String::new(),
        objectives: Vec::new(),
        rate_per_second: None,
        rate_interval: None,
        is_unsteady: false,
        is_stopped: false,
        recorded_per_second: None,
        missed_at_per_second: None,
        limit: String::new(),
        hold_seconds: options.hold.as_secs_f64(),
        probes: Vec::new(),
        provenance: Provenance::default(),
    };
    let mut stopped = None;
    let mut broken = None;
    while let Some(rate) = search.next() {
        let confirms = search.confirms();
        let made = run::run(Options {
            scenario: at_rate(&options.scenario, rate as f64, options.hold),
            scenario_path: options.scenario_path.clone(),
            target: None,
            service_binary: options.service_binary.clone(),
            reports: options.reports.clone(),
            quiet: true,
            allow: options.allow.clone(),
            no_stores: false,
            samples: None,
            otlp: None,
            merge: Vec::new(),
        })
        .await;
        let finished = match made {
            Ok(finished) => finished,
            Err(error) if result.probes.is_empty() => return Err(error),
            Err(error) => {
                stopped = Some(format!("the next probe could not be made, {error}."));
                broken = Some(error);
                break;
            }
        };
        if let Some(stack) = finished.stack {
            tokio::select! {
                ended = stack.stop() => if let Err(error) = ended {
                    say(&format!("the private stack did not end in order: {error}"));
                },
                () = stop::wait() => {}
            }
        }
        let report = &finished.report;
        if report.verdict == Verdict::Aborted {
            stopped = Some(format!(
                "{}.",
                stop::asked().unwrap_or("the last probe was not made to its end")
            ));
            break;
        }
        let run = finished
            .folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let probe = probe(rate, confirms, report, run);
        search.note(rate, probe.outcome);
        say(&told(&probe));
        if result.objectives.is_empty() {
            result.objectives = report
                .checks
                .iter()
                .map(|check| format!("{}: {}", check.name, check.bound))
                .collect();
            result.provenance = report.provenance.clone();
        }
        result.probes.push(probe);
        if let Some(reason) = stop::asked() {
            stopped = Some(format!("{reason}."));
            break;
        }
    }
    conclude(&mut result, &search, stopped);
    result.finished_at = rfc3339(OffsetDateTime::now_utc());
    Ok(Searched {
        result,
        folder,
        broken,
    })
}

fn told(probe: &Probe) -> String {
    let ms = |us: Option<u64>| {
        us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", us as f64 / 1e3))
    };
    let outcome = match probe.outcome {
        Outcome::Met if probe.confirms => "met again",
        Outcome::Met => "met",
        Outcome::Missed => "missed",
        Outcome::Discarded => "discarded",
    };
    let why = match (probe.outcome, probe.why.first()) {
        (Outcome::Met, _) | (_, None) => String::new(),
        (_, Some(why)) => format!("  {why}"),
    };
    format!(
        "{:>7.0}/s {outcome:<10} recorded {:>7.0}/s, response p99 {:>9}, end to end p99 {:>9}{why}",
        probe.rate_per_second,
        probe.recorded_per_second,
        ms(probe.response_us.p99),
        ms(probe.end_to_end_us.p99)
    )
}
