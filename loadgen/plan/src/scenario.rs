//! Scenario file to [`Scenario`]: unknown keys are refused, faults are named with file, line and column.

use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::crowd::{CLIENTS_MAX, CrowdPlan, NONSENSE_PER_SECOND_MAX};
use crate::file::{
    Fault, NOT_PLAIN, ScenarioError, checked, duration, forbidden_argument, is_of_faults, is_plain,
    text_of, unknown,
};
use crate::kind::Kind;
use crate::metric::Metric;
use crate::mix::Mix;
use crate::payload::Payloads;
use crate::phase::{BURSTS_MAX, PHASE_DURATION_MAX, Phase, arrivals_expected};
use crate::schedule::{Schedule, Slot};

/// The most arrivals of one run: a day at more than 500 a second. A few bytes are kept for each.
pub const ARRIVALS_MAX: f64 = 50_000_000.0;
/// The most phases of one run. The latencies of each are kept apart.
pub const PHASES_MAX: usize = 100;
/// The most goose users of one run. Each may hold one connection.
pub const USERS_MAX: usize = 4096;

/// One load run, as its file describes it. See `scenarios/` for examples.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name, part of the report's folder: `a-z 0-9 -`.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// What the scenario is for, in one sentence.
    pub description: String,
    /// Seed of the schedule and of the payloads.
    #[serde(default = "one")]
    pub seed: u64,
    /// Goose users, the most requests in flight. By default as many as can be needed, up to [`USERS_MAX`].
    #[schemars(with = "Option<usize>")]
    pub users: Option<Spanned<usize>>,
    /// How long to wait after the last arrival until nothing is left in Redis.
    #[serde(default = "half_a_minute", deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub drain_timeout: Duration,
    /// Bound of the generator's own lateness, by its 99th percentile: how long after its instant an arrival is handed to a user. Above
    /// it the run is discarded. Waiting for a free user or for a connection is the service's doing, and not in it.
    #[serde(default = "default_send_lag", deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub send_lag_max: Duration,
    /// The share of the sent arrivals that may stay without a definite answer, from 0 to below 1. Above it the run fails.
    #[serde(default)]
    pub unanswered_ratio_max: f64,
    /// The service and how it is asked.
    #[serde(default)]
    pub target: Target,
    /// What a private stack is made of.
    #[serde(default)]
    pub stack: StackShape,
    /// The phases, one after the other.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
    /// What is sent.
    #[serde(default)]
    pub mix: Mix,
    /// Who misbehaves beside the load.
    #[schemars(with = "Option<CrowdPlan>")]
    pub crowd: Option<Spanned<CrowdPlan>>,
    /// What must hold.
    #[serde(default, rename = "check")]
    pub checks: Vec<CheckSpec>,
    /// The text of the file.
    #[serde(skip)]
    pub source: String,
    /// What was set in place of what the file says.
    #[serde(skip)]
    pub overrides: Overrides,
}

/// What the command line sets in place of what the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The seed.
    pub seed: Option<u64>,
    /// Length of the longest phase.
    pub duration: Option<Duration>,
    /// One rate in place of all phases: a probe of the search for the capacity.
    pub held: Option<Held>,
}

/// One rate, held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Arrivals per second.
    pub rate_per_second: u64,
    /// How long.
    pub hold: Duration,
}

impl Overrides {
    /// The flags that set them, but for the seed's.
    pub fn flags(&self) -> Vec<String> {
        let duration = self.duration.map(|duration| {
            let nanoseconds = duration.as_nanos();
            match duration.subsec_nanos() {
                0 => format!("--duration {}s", duration.as_secs()),
                rest if rest.is_multiple_of(1_000) => {
                    format!("--duration {}us", nanoseconds / 1_000)
                }
                _ => format!("--duration {nanoseconds}ns"),
            }
        });
        let held = self.held.map(
            |Held {
                 rate_per_second,
                 hold,
             }| {
                format!(
                    "--start {rate_per_second} --rate-max {rate_per_second} --hold {}",
                    hold.as_secs()
                )
            },
        );
        duration.into_iter().chain(held).collect()
    }
}

/// The service and how it is asked. The settings of the service hold for a private stack only.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// After this long without an answer the outcome is unknown.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub request_timeout: Duration,
    /// How often a request with an unknown outcome is sent again with the same body.
    pub resends: u32,
    /// `--workers-max` of the service.
    pub workers_max: Option<u32>,
    /// `--loans-per-worker` of the service.
    pub loans_per_worker: Option<u32>,
    /// Further arguments of the service.
    pub service_arguments: Vec<String>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(5),
            resends: 0,
            workers_max: None,
            loans_per_worker: None,
            service_arguments: Vec::new(),
        }
    }
}

/// What a private stack is made of.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StackShape {
    /// `single`, or `cluster:3+3` for a Redis Cluster of three masters and three replicas.
    pub redis: String,
    /// `single`, or `replica-set:3` for a replica set of three members.
    pub mongodb: String,
    /// Instances of the service; the load goes to all of them.
    pub instances: usize,
    /// Partitions of the queue.
    pub partitions: u32,
}

impl Default for StackShape {
    fn default() -> Self {
        Self {
            redis: "single".to_owned(),
            mongodb: "single".to_owned(),
            instances: 1,
            partitions: 1,
        }
    }
}

/// One thing that must hold after the run.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSpec {
    /// Name of the metric, such as `response_ms.p99`.
    #[schemars(with = "String")]
    pub metric: Spanned<String>,
    /// Only this phase.
    #[schemars(with = "Option<String>")]
    pub phase: Option<Spanned<String>>,
    /// Only this kind of arrival.
    #[schemars(with = "Option<String>")]
    pub kind: Option<Spanned<String>>,
    /// The lowest that passes.
    pub min: Option<f64>,
    /// The highest that passes.
    pub max: Option<f64>,
    /// The only one that passes.
    pub equals: Option<f64>,
    /// Whether the run ends as soon as the check can no longer hold.
    #[serde(default)]
    pub abort: bool,
}

impl Scenario {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, holds a key that is not known, or asks for what cannot be done.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        Self::load_with(path, Overrides::default())
    }

    /// As [`Scenario::load`], with what the command line sets. What comes of both is checked as one.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn load_with(path: &Path, overrides: Overrides) -> Result<Self, ScenarioError> {
        Self::parse_with(&text_of(path)?, path, overrides)
    }

    /// Checks the text of a scenario file. `path` is named in the errors.
    ///
    /// # Errors
    /// As [`Scenario::load`], except that nothing is read.
    pub fn parse(source: &str, path: &Path) -> Result<Self, ScenarioError> {
        Self::parse_with(source, path, Overrides::default())
    }

    /// As [`Scenario::parse`], with what the command line sets.
    ///
    /// # Errors
    /// As [`Scenario::parse`].
    pub fn parse_with(
        source: &str,
        path: &Path,
        overrides: Overrides,
    ) -> Result<Self, ScenarioError> {
        let check = |scenario: &mut Self| {
            scenario.set(overrides);
            scenario.check().map_err(|fault| fault.found_in(source))
        };
        if is_of_faults(source) {
            return Err(ScenarioError::Read {
                path: path.to_path_buf(),
                what: "it is the plan of a fault run: loadgen chaos takes it".to_owned(),
            });
        }
        let mut scenario = checked(source, path, check)?;
        source.clone_into(&mut scenario.source);
        Ok(scenario)
    }

    /// The phase called `name`.
    pub fn phase(&self, name: &str) -> Option<usize> {
        self.phases
            .iter()
            .position(|phase| phase.name.get_ref() == name)
    }

    /// Takes out the checks that need the stores or the service's live figures; answers their names.
    pub fn keep_checks_of_clients(&mut self) -> Vec<String> {
        let (kept, left_out) =
            std::mem::take(&mut self.checks)
                .into_iter()
                .partition(|check: &CheckSpec| {
                    Metric::parse(check.metric.get_ref())
                        .is_some_and(|metric| metric.is_of_clients())
                });
        self.checks = kept;
        left_out
            .into_iter()
            .map(|check: CheckSpec| check.metric.into_inner())
            .collect()
    }

    /// The highest rate of any phase, arrivals per second.
    pub fn rate_per_second_max(&self) -> f64 {
        self.phases
            .iter()
            .flat_map(Phase::segments)
            .map(|segment| segment.from.max(segment.to))
            .fold(0.0, f64::max)
    }

    /// Goose users of the run: as set, else enough for a service that answers nothing at the highest rate, up to [`USERS_MAX`].
    pub fn users_count(&self) -> usize {
        let unanswered = self.rate_per_second_max() * self.target.request_timeout.as_secs_f64();
        self.users.as_ref().map_or_else(
            || unanswered.clamp(64.0, USERS_MAX as f64) as usize,
            |users| *users.get_ref(),
        )
    }

    /// The share of the arrivals that are of this kind.
    fn share_of(&self, kind: Kind) -> f64 {
        let shares = self.mix.shares();
        let others: f64 = shares.iter().map(|(_, share)| share).sum();
        shares
            .iter()
            .find(|(other, _)| *other == kind)
            .map_or(1.0 - others, |(_, share)| *share)
    }

    fn set(&mut self, overrides: Overrides) {
        self.overrides = overrides;
        if let Some(seed) = overrides.seed {
            self.seed = seed;
        }
        let longest = self.phases.iter_mut().max_by_key(|phase| phase.duration);
        if let (Some(longest), Some(duration)) = (longest, overrides.duration) {
            longest.duration = duration;
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let name = self.name.get_ref();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(Fault::at(
                &self.name,
                "name must be 1 to 64 of a-z, 0-9 and -",
            ));
        }
        if let Some(users) = &self.users
            && !(1..=USERS_MAX).contains(users.get_ref())
        {
            return Err(Fault::at(users, format!("users must be 1 to {USERS_MAX}")));
        }
        if self.phases.is_empty() {
            return Err(Fault::at(
                &self.name,
                "a scenario needs at least one [[phase]]",
            ));
        }
        if self.phases.len() > PHASES_MAX {
            let what = format!("a scenario may have {PHASES_MAX} phases at most");
            return Err(Fault::at(&self.name, what));
        }
        if !is_plain(&self.description) {
            return Err(Fault::of("description", NOT_PLAIN));
        }
        for (index, phase) in self.phases.iter().enumerate() {
            phase.check()?;
            if self.phase(phase.name.get_ref()) != Some(index) {
                return Err(Fault::at(
                    &phase.name,
                    format!("two phases are called {:?}", phase.name.get_ref()),
                ));
            }
        }
        let bursts: f64 = self.phases.iter().map(Phase::bursts).sum();
        if bursts > BURSTS_MAX {
            let what = format!("there are {bursts:.0} bursts, more than {BURSTS_MAX}");
            return Err(Fault::at(&self.name, what));
        }
        if let Some(crowd) = &self.crowd {
            let plan = crowd.get_ref();
            if [plan.idle, plan.slow, plan.never_read]
                .iter()
                .any(|clients| *clients > CLIENTS_MAX)
            {
                let what = format!("a group of the crowd may be {CLIENTS_MAX} connections at most");
                return Err(Fault::at(crowd, what));
            }
            if plan.nonsense_per_second > NONSENSE_PER_SECOND_MAX {
                let what = format!("nonsense_per_second may be {NONSENSE_PER_SECOND_MAX} at most");
                return Err(Fault::at(crowd, what));
            }
        }
        let arrivals: f64 = self
            .phases
            .iter()
            .map(|phase| arrivals_expected(&phase.segments()))
            .sum();
        if arrivals > ARRIVALS_MAX {
            return Err(Fault::at(
                &self.name,
                format!("{arrivals:.0} arrivals are more than {ARRIVALS_MAX}"),
            ));
        }
        if !Schedule::has_arrivals(&self.phases, self.seed) {
            return Err(Fault::at(
                &self.name,
                "no arrival is due in the whole schedule: raise a rate or a duration",
            ));
        }
        // A run of which nothing at all was answered would prove nothing.
        if !(0.0..1.0).contains(&self.unanswered_ratio_max) {
            return Err(Fault::of(
                "unanswered_ratio_max",
                format!(
                    "unanswered_ratio_max must be from 0 to below 1, not {}",
                    self.unanswered_ratio_max
                ),
            ));
        }
        self.mix.check().map_err(|(kind, what)| match kind {
            Some(kind) => Fault::of(kind.name(), what),
            None => Fault::at(&self.name, what),
        })?;
        self.check_settings()?;
        self.checks
            .iter()
            .try_for_each(|check| self.check_of(check))
    }

    /// The single settings, each with its bounds.
    fn check_settings(&self) -> Result<(), Fault> {
        let above_zero = |key: &'static str, length: Duration, most: Duration| {
            if !length.is_zero() && length <= most {
                return Ok(());
            }
            let hours = most.as_secs() / 3600;
            Err(Fault::of(
                key,
                format!("{key} must be above zero and at most {hours}h"),
            ))
        };
        above_zero(
            "request_timeout",
            self.target.request_timeout,
            Duration::from_secs(3600),
        )?;
        above_zero("send_lag_max", self.send_lag_max, Duration::from_secs(3600))?;
        above_zero("drain_timeout", self.drain_timeout, PHASE_DURATION_MAX)?;
        let within = |key: &'static str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Fault::of(key, format!("{key} must be {low} to {high}")))
        };
        within("resends", self.target.resends.into(), 0, 10)?;
        if let Some(workers_max) = self.target.workers_max {
            within("workers_max", workers_max.into(), 1, 250)?;
        }
        if let Some(loans) = self.target.loans_per_worker {
            within("loans_per_worker", loans.into(), 1, u32::MAX.into())?;
        }
        let mut arguments = self.target.service_arguments.iter();
        if let Some(what) = arguments.find_map(|argument| forbidden_argument(argument)) {
            return Err(Fault::of("service_arguments", what));
        }
        within("partitions", self.stack.partitions.into(), 1, 64)?;
        within("instances", self.stack.instances as u64, 1, 8)
    }

    fn check_of(&self, check: &CheckSpec) -> Result<(), Fault> {
        let metric = Metric::parse(check.metric.get_ref()).ok_or_else(|| {
            Fault::at(
                &check.metric,
                unknown("metric", check.metric.get_ref(), &Metric::names()),
            )
        })?;
        if let Some(phase) = &check.phase {
            let names: Vec<String> = self
                .phases
                .iter()
                .map(|phase| phase.name.get_ref().clone())
                .collect();
            if !names.contains(phase.get_ref()) {
                return Err(Fault::at(phase, unknown("phase", phase.get_ref(), &names)));
            }
            if !metric.by_phase() {
                return Err(Fault::at(
                    phase,
                    format!("{} is not kept by phase", check.metric.get_ref()),
                ));
            }
        }
        if let Some(kind) = &check.kind {
            if Kind::parse(kind.get_ref()).is_none() {
                let names: Vec<String> = Kind::ALL.iter().map(ToString::to_string).collect();
                return Err(Fault::at(kind, unknown("kind", kind.get_ref(), &names)));
            }
            if !metric.by_kind() {
                return Err(Fault::at(kind, "a kind may be given for response_ms only"));
            }
        }
        if let Some(sent) = check
            .kind
            .as_ref()
            .and_then(|kind| Kind::parse(kind.get_ref()))
            && self.share_of(sent) <= 0.0
        {
            return Err(Fault::at(
                &check.metric,
                format!(
                    "the check can have no data: nothing of the kind {sent} is sent, give it a share in [mix]"
                ),
            ));
        }
        let bounds = [
            ("min", check.min),
            ("max", check.max),
            ("equals", check.equals),
        ];
        if bounds.iter().all(|(_, bound)| bound.is_none())
            || (check.equals.is_some() && (check.min.is_some() || check.max.is_some()))
        {
            return Err(Fault::at(
                &check.metric,
                "a check needs min, max or both, or equals alone",
            ));
        }
        for (key, bound) in bounds {
            let Some(bound) = bound else { continue };
            if !bound.is_finite() {
                let what = format!("{key} must be a number, not {bound}");
                return Err(Fault::at(&check.metric, what));
            }
            let never = |why: &str| {
                let what = format!(
                    "the check can never hold: {} is {why}",
                    check.metric.get_ref()
                );
                Err(Fault::at(&check.metric, what))
            };
            if let Some(highest) = metric.highest()
                && key != "max"
                && bound > highest
            {
                return never(&format!("never above {highest}"));
            }
            if key == "equals" && metric.is_whole() && bound.fract() != 0.0 {
                return never("a whole number");
            }
            if key != "min" && bound < 0.0 && !metric.may_be_negative() {
                return never("never below 0");
            }
        }
        if let (Some(min), Some(max)) = (check.min, check.max)
            && min > max
        {
            return Err(Fault::at(
                &check.metric,
                format!("the check can never hold: min {min} is above max {max}"),
            ));
        }
        self.has_arrivals_for(check, &metric)?;
        if check.abort && !(metric.can_abort() && (check.max.is_some() || check.equals.is_some())) {
            return Err(Fault::at(
                &check.metric,
                format!(
                    "abort needs a max or equals on a percentile or the max of response_ms or service_ms, or on error_ratio, backlog_peak, workers_peak or service_rss_mib; {} is known only at the end",
                    check.metric.get_ref()
                ),
            ));
        }
        Ok(())
    }
}

impl Scenario {
    /// Refuses a check on arrivals of a phase or a kind that the schedule does not have.
    fn has_arrivals_for(&self, check: &CheckSpec, metric: &Metric) -> Result<(), Fault> {
        let name = check.phase.as_ref().map(Spanned::get_ref);
        let kind = check.kind.as_ref().map(Spanned::get_ref);
        if !metric.is_of_arrivals() || (name.is_none() && kind.is_none()) {
            return Ok(());
        }
        let phase = name.and_then(|name| self.phase(name));
        let sent = kind.and_then(|kind| Kind::parse(kind));
        let payloads = Payloads::new(self.seed, "", &self.mix);
        let is_meant = |slot: &Slot| {
            phase.is_none_or(|phase| phase == usize::from(slot.phase))
                && sent.is_none_or(|sent| payloads.kind_and_owner(slot.number).0 == sent)
        };
        if Schedule::new(&self.phases, self.seed)
            .slots()
            .any(|slot| is_meant(&slot))
        {
            return Ok(());
        }
        let of_kind = kind.map_or_else(String::new, |kind| format!(" of the kind {kind}"));
        let of_phase = name.map_or_else(String::new, |name| format!(" in phase {name:?}"));
        let what = format!(
            "the check can have no data: no arrival{of_kind}{of_phase} is due; raise a rate, a duration or a share"
        );
        Err(Fault::at(&check.metric, what))
    }
}

const fn one() -> u64 {
    1
}

const fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

const fn default_send_lag() -> Duration {
    Duration::from_millis(20)
}
