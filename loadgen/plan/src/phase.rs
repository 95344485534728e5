//! A stretch of the schedule with one shape.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::file::{Fault, duration};

/// The highest rate of a phase, arrivals per second. One generator cannot pace more.
pub const RATE_PER_SECOND_MAX: f64 = 100_000.0;
/// The longest phase.
pub const PHASE_DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// The most bursts of one run.
pub(crate) const BURSTS_MAX: f64 = 100_000.0;

/// A stretch of the schedule with one shape. Exactly one of `rate`, `ramp` and `burst` is given.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name, unique in the scenario.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// How long.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
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
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Rate at the start.
    pub from: f64,
    /// Rate at the end.
    pub to: f64,
}

/// A base rate with bursts. Each period ends with its burst.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Rate between the bursts, arrivals per second.
    pub base: f64,
    /// Rate of a burst, arrivals per second.
    pub rate: f64,
    /// From the start of one period to the next.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub every: Duration,
    /// How long a burst is.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub length: Duration,
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

    /// How many bursts it has, about.
    pub(crate) fn bursts(&self) -> f64 {
        self.burst.map_or(0.0, |burst| {
            self.duration.as_secs_f64() / burst.every.as_secs_f64()
        })
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

    pub(crate) fn check(&self) -> Result<(), Fault> {
        let refuse = |what: &str| {
            Err(Fault::at(
                &self.name,
                format!("phase {:?}: {what}", self.name.get_ref()),
            ))
        };
        let name = self.name.get_ref();
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return refuse(
                "the name must have 1 to 64 characters, none of them a control character",
            );
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
        if let Some(burst) = self.burst
            && (burst.length.is_zero() || burst.length > burst.every)
        {
            return refuse("a burst's length must be above zero and at most its every");
        }
        Ok(())
    }
}

/// A stretch of evenly changing rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Length in seconds.
    pub seconds: f64,
    /// Rate at the start, arrivals per second.
    pub from: f64,
    /// Rate at the end, arrivals per second.
    pub to: f64,
}

impl Segment {
    pub(crate) fn arrivals(&self) -> f64 {
        self.seconds * (self.from + self.to) / 2.0
    }

    /// Seconds after the start where `arrivals` are due; `arrivals` is at most [`Segment::arrivals`].
    pub(crate) fn seconds_at(&self, arrivals: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        // The root of from*t + slope/2*t^2 = arrivals, in the form that does not cancel for small slopes.
        let root = (self.from * self.from + 2.0 * slope * arrivals)
            .max(0.0)
            .sqrt();
        if self.from + root <= 0.0 {
            return 0.0;
        }
        (2.0 * arrivals / (self.from + root)).clamp(0.0, self.seconds)
    }
}

/// The integral of the rate: how many arrivals are due on average.
pub fn arrivals_expected(segments: &[Segment]) -> f64 {
    segments.iter().map(Segment::arrivals).sum()
}
