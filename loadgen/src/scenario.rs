//! Scenario file to [`Scenario`]: unknown keys are refused, faults are named with file, line and column.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::checks::Metric;
use crate::crowd::{CLIENTS_MAX, CrowdPlan, NONSENSE_PER_SECOND_MAX};
use crate::payload::Kind;
use crate::schedule::{Segment, arrivals_expected};

/// The most arrivals of one run. The ledger keeps a few bytes for each.
pub const ARRIVALS_MAX: f64 = 20_000_000.0;
/// The highest rate of a phase, arrivals per second. One generator cannot pace more.
pub const RATE_PER_SECOND_MAX: f64 = 100_000.0;
/// The longest phase.
pub const PHASE_DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// The most steps that the bursts of one phase may have.
const BURSTS_MAX: f64 = 100_000.0;
/// The most goose users of one run. Each may hold one connection.
pub const USERS_MAX: usize = 4096;

/// One load run, as its file describes it. See `scenarios/` for examples.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name, part of the report's folder: `a-z 0-9 -`.
    pub name: Spanned<String>,
    /// What the scenario is for, in one sentence.
    pub description: String,
    /// Seed of the schedule and of the payloads.
    #[serde(default = "one")]
    pub seed: u64,
    /// Goose users, the most requests in flight. By default enough for the highest rate.
    pub users: Option<Spanned<usize>>,
    /// How long to wait after the last arrival until nothing is left in Redis.
    #[serde(default = "half_a_minute", deserialize_with = "duration")]
    pub drain_timeout: Duration,
    /// Bound of the send lag's 99th percentile. Above it the run is discarded.
    #[serde(default = "default_send_lag", deserialize_with = "duration")]
    pub send_lag_max: Duration,
    /// The service and how it is asked.
    #[serde(default)]
    pub target: Target,
    /// The phases, one after the other.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
    /// What is sent.
    #[serde(default)]
    pub mix: Mix,
    /// Who misbehaves beside the load.
    pub crowd: Option<Spanned<CrowdPlan>>,
    /// What must hold.
    #[serde(default, rename = "check")]
    pub checks: Vec<CheckSpec>,
    /// The text of the file.
    #[serde(skip)]
    pub source: String,
}

/// The service and how it is asked. The settings of the service hold for a private stack only.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// After this long without an answer the outcome is unknown.
    #[serde(deserialize_with = "duration")]
    pub request_timeout: Duration,
    /// How often a request with an unknown outcome is sent again with the same body.
    pub resends: u32,
    /// `--workers-max` of the service.
    pub workers_max: Option<u32>,
    /// `--loans-per-worker` of the service.
    pub loans_per_worker: Option<u32>,
    /// `--partitions` of the service.
    pub partitions: u32,
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
            partitions: 1,
            service_arguments: Vec::new(),
        }
    }
}

/// A stretch of the schedule with one shape. Exactly one of `rate`, `ramp` and `burst` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name, unique in the scenario.
    pub name: Spanned<String>,
    /// How long.
    #[serde(deserialize_with = "duration")]
    pub duration: Duration,
    /// Constant rate, arrivals per second.
    pub rate: Option<f64>,
    /// A rate that changes evenly.
    pub ramp: Option<Ramp>,
    /// A base rate with bursts.
    pub burst: Option<Burst>,
    /// Random gaps with the same mean rate, as independent clients make them. Evenly spaced when false.
    #[serde(default)]
    pub poisson: bool,
}

/// A rate that changes evenly, arrivals per second.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Rate at the start.
    pub from: f64,
    /// Rate at the end.
    pub to: f64,
}

/// A base rate with bursts. Each period ends with its burst.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Rate between the bursts, arrivals per second.
    pub base: f64,
    /// Rate of a burst, arrivals per second.
    pub rate: f64,
    /// From the start of one period to the next.
    #[serde(deserialize_with = "duration")]
    pub every: Duration,
    /// How long a burst is.
    #[serde(deserialize_with = "duration")]
    pub length: Duration,
}

/// Shares of the arrivals by kind, 0 to 1. What is left is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// Loans without a field that must be there.
    pub missing_field: f64,
    /// Loans with a field of the wrong JSON type.
    pub wrong_type: f64,
    /// Loans with a value outside its range.
    pub out_of_range: f64,
    /// Loans with a text that is not of its format.
    pub invalid_format: f64,
    /// Bodies that are not JSON.
    pub malformed: f64,
    /// The same loan again, byte for byte.
    pub duplicate: f64,
    /// The id of an earlier loan with another amount.
    pub conflict: f64,
    /// Requests dropped shortly after the send, then sent again.
    pub retry: f64,
}

impl Mix {
    /// The share of each kind except valid.
    pub const fn shares(&self) -> [(Kind, f64); 8] {
        [
            (Kind::MissingField, self.missing_field),
            (Kind::WrongType, self.wrong_type),
            (Kind::OutOfRange, self.out_of_range),
            (Kind::InvalidFormat, self.invalid_format),
            (Kind::Malformed, self.malformed),
            (Kind::Duplicate, self.duplicate),
            (Kind::Conflict, self.conflict),
            (Kind::Retry, self.retry),
        ]
    }
}

/// One thing that must hold after the run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSpec {
    /// Name of the metric, such as `response_ms.p99`.
    pub metric: Spanned<String>,
    /// Only this phase.
    pub phase: Option<Spanned<String>>,
    /// Only this kind of arrival.
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

/// What is wrong with a scenario file: one line that says where.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file says something that cannot be done.
    #[error("{}:{line}:{column}: {what}", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// Line, 1 first.
        line: usize,
        /// Column, 1 first.
        column: usize,
        /// The fault.
        what: String,
    },
}

/// The text of the file at `path`.
pub(crate) fn text_of(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// What the text `source` of the file at `path` says, when it is written well and `check` finds nothing: a fault is the
/// range of the text and what is wrong there.
pub(crate) fn checked<T: DeserializeOwned>(
    source: &str,
    path: &Path,
    check: impl FnOnce(&mut T) -> Result<(), (Range<usize>, String)>,
) -> Result<T, ScenarioError> {
    let fault = |span: Option<Range<usize>>, what: String| {
        let (line, column) = position(source, span.map_or(0, |span| span.start));
        ScenarioError::Fault {
            path: path.to_path_buf(),
            line,
            column,
            what,
        }
    };
    let mut read: T = toml::from_str(source)
        .map_err(|error| fault(error.span(), with_nearest(error.message())))?;
    check(&mut read).map_err(|(span, what)| fault(Some(span), what))?;
    Ok(read)
}

impl Scenario {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, holds a key that is not known, or asks for what cannot be done.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        Self::parse(&text_of(path)?, path)
    }

    /// Checks the text of a scenario file. `path` is named in the errors.
    ///
    /// # Errors
    /// As [`Scenario::load`], except that nothing is read.
    pub fn parse(source: &str, path: &Path) -> Result<Self, ScenarioError> {
        let check =
            |scenario: &mut Self| scenario.check().map_err(|fault| (fault.span, fault.what));
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

    /// The highest rate of any phase, arrivals per second.
    pub fn rate_per_second_max(&self) -> f64 {
        self.phases
            .iter()
            .flat_map(Phase::segments)
            .map(|segment| segment.from.max(segment.to))
            .fold(0.0, f64::max)
    }

    /// Goose users of the run: as set, else enough for an answer that takes a quarter of a second at the highest rate.
    pub fn users_count(&self) -> usize {
        self.users.as_ref().map_or_else(
            || (self.rate_per_second_max() / 4.0).clamp(32.0, 512.0) as usize,
            |users| *users.get_ref(),
        )
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
        for (index, phase) in self.phases.iter().enumerate() {
            phase.check()?;
            if self.phase(phase.name.get_ref()) != Some(index) {
                return Err(Fault::at(
                    &phase.name,
                    format!("two phases are called {:?}", phase.name.get_ref()),
                ));
            }
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
        let mut sum = 0.0;
        for (kind, share) in self.mix.shares() {
            if !(0.0..=1.0).contains(&share) {
                return Err(Fault::at(
                    &self.name,
                    format!("the share of {kind} in [mix] must be 0 to 1, not {share}"),
                ));
            }
            sum += share;
        }
        if sum > 1.0 + 1e-9 {
            return Err(Fault::at(
                &self.name,
                format!("the shares in [mix] sum to {sum:.3}, more than 1"),
            ));
        }
        if self.target.request_timeout.is_zero() {
            return Err(Fault::at(
                &self.name,
                "request_timeout must be above zero".to_owned(),
            ));
        }
        if !(1..=64).contains(&self.target.partitions) || self.target.resends > 10 {
            return Err(Fault::at(
                &self.name,
                "partitions must be 1 to 64, resends 0 to 10",
            ));
        }
        self.checks
            .iter()
            .try_for_each(|check| self.check_of(check))
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
        let bounds = [check.min, check.max, check.equals];
        if bounds.iter().all(Option::is_none)
            || (check.equals.is_some() && (check.min.is_some() || check.max.is_some()))
            || bounds.iter().flatten().any(|bound| !bound.is_finite())
        {
            return Err(Fault::at(
                &check.metric,
                "a check needs min, max or both, or equals alone",
            ));
        }
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

impl Phase {
    /// The shape as stretches of evenly changing rate, in order; their durations sum to the phase's.
    pub fn segments(&self) -> Vec<Segment> {
        let length = self.duration.as_secs_f64();
        if let Some(ramp) = self.ramp {
            return vec![Segment {
                seconds: length,
                from: ramp.from,
                to: ramp.to,
            }];
        }
        let Some(burst) = self.burst else {
            let rate = self.rate.unwrap_or(0.0);
            return vec![Segment {
                seconds: length,
                from: rate,
                to: rate,
            }];
        };
        let mut segments = Vec::new();
        let mut left = length;
        while left > 0.0 {
            let quiet = (burst.every - burst.length).as_secs_f64();
            for (seconds, rate) in [
                (quiet, burst.base),
                (burst.length.as_secs_f64(), burst.rate),
            ] {
                let seconds = seconds.min(left);
                if seconds > 0.0 {
                    segments.push(Segment {
                        seconds,
                        from: rate,
                        to: rate,
                    });
                }
                left -= seconds;
            }
        }
        segments
    }

    /// The shape in words, such as `constant 500/s`.
    pub fn shape(&self) -> String {
        let spacing = if self.poisson { ", Poisson" } else { "" };
        match (self.ramp, self.burst) {
            (Some(ramp), _) => format!("ramp {} to {}/s{spacing}", ramp.from, ramp.to),
            (_, Some(burst)) => format!(
                "{}/s with bursts of {}/s for {:?} every {:?}{spacing}",
                burst.base, burst.rate, burst.length, burst.every
            ),
            _ => format!("constant {}/s{spacing}", self.rate.unwrap_or(0.0)),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let refuse = |what: &str| {
            Err(Fault::at(
                &self.name,
                format!("phase {:?}: {what}", self.name.get_ref()),
            ))
        };
        if self.name.get_ref().is_empty() || self.name.get_ref().len() > 64 {
            return refuse("the name must have 1 to 64 characters");
        }
        if self.duration.is_zero() || self.duration > PHASE_DURATION_MAX {
            return refuse("the duration must be above zero and at most 24h");
        }
        let shapes = usize::from(self.rate.is_some())
            + usize::from(self.ramp.is_some())
            + usize::from(self.burst.is_some());
        if shapes != 1 {
            return refuse("give exactly one of rate, ramp and burst");
        }
        let rates = match (self.rate, self.ramp, self.burst) {
            (Some(rate), ..) => vec![rate],
            (_, Some(ramp), _) => vec![ramp.from, ramp.to],
            (.., Some(burst)) => vec![burst.base, burst.rate],
            _ => Vec::new(),
        };
        if rates
            .iter()
            .any(|rate| !rate.is_finite() || *rate < 0.0 || *rate > RATE_PER_SECOND_MAX)
            || rates.iter().all(|rate| *rate <= 0.0)
        {
            return refuse("rates must be above zero and at most 100000 a second");
        }
        if let Some(burst) = self.burst {
            if burst.length.is_zero() || burst.length > burst.every {
                return refuse("a burst's length must be above zero and at most its every");
            }
            if self.duration.as_secs_f64() / burst.every.as_secs_f64() > BURSTS_MAX {
                return refuse("there are too many bursts");
            }
        }
        Ok(())
    }
}

/// A fault and where it is, bytes from the start of the file.
struct Fault {
    span: Range<usize>,
    what: String,
}

impl Fault {
    fn at<T>(place: &Spanned<T>, what: impl fmt::Display) -> Self {
        Self {
            span: place.span(),
            what: what.to_string(),
        }
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

pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is not a duration; write a number and a unit: \"250ms\", \"5s\", \"2m\" or \"1h\""
        ))
    })
}

/// A number with a unit: `us`, `ms`, `s`, `m` or `h`. `None` for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.trim().parse().ok()?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Line and column of a byte, both 1 first; the column counts characters.
pub(crate) fn position(source: &str, byte: usize) -> (usize, usize) {
    let before = source.get(..byte).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// Adds the nearest right name to serde's message about an unknown field.
pub(crate) fn with_nearest(message: &str) -> String {
    let line = message.lines().collect::<Vec<_>>().join(" ");
    let mut names = line.split('`').skip(1).step_by(2);
    if line.starts_with("unknown field")
        && let Some(wrong) = names.next()
    {
        let known: Vec<String> = names.map(str::to_owned).collect();
        return unknown("key", wrong, &known);
    }
    line
}

fn unknown(what: &str, wrong: &str, known: &[String]) -> String {
    let nearest = known.iter().min_by_key(|name| distance(wrong, name));
    match nearest {
        Some(nearest) if distance(wrong, nearest) <= wrong.len().max(3) / 2 => {
            format!("unknown {what} {wrong:?}; did you mean {nearest:?}?")
        }
        _ => format!("unknown {what} {wrong:?}; known: {}", known.join(", ")),
    }
}

/// Levenshtein distance in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if a == *b {
                diagonal
            } else {
                1 + diagonal.min(above).min(row[j])
            };
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        for bad in ["", "5", "s", "-1s", "5 days", "infs"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn positions_count_from_one() {
        assert_eq!(position("a\nbc", 0), (1, 1));
        assert_eq!(position("a\nbc", 3), (2, 2));
    }

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["rate".to_owned(), "ramp".to_owned()];
        assert_eq!(
            unknown("key", "rtae", &known),
            "unknown key \"rtae\"; did you mean \"rate\"?"
        );
        assert_eq!(
            unknown("key", "colour", &known),
            "unknown key \"colour\"; known: rate, ramp"
        );
    }
}
