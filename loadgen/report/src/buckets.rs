//! Many seconds made few, without hiding any: each bucket keeps the lowest, the highest, the mean and the last value.

use record::result::run::TimePoint;

/// What a series did within one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The lowest second.
    pub(crate) low: f64,
    /// The highest second.
    pub(crate) high: f64,
    /// The mean of its seconds.
    pub(crate) mean: f64,
    /// The last second.
    pub(crate) last: f64,
}

/// How many seconds a bucket holds so that at most `buckets_max` remain.
pub(crate) fn bucket_seconds(points: &[TimePoint], buckets_max: usize) -> usize {
    points.len().div_ceil(buckets_max).max(1)
}

/// How many seconds a point stands for: one, or more in a run of more than an hour.
pub(crate) fn point_seconds(points: &[TimePoint]) -> f64 {
    match points {
        [first, second, ..] => (second.offset_seconds - first.offset_seconds).max(1.0),
        _ => 1.0,
    }
}

/// A series, bucket by bucket. `None` where nothing was measured.
pub(crate) fn spreads(
    points: &[TimePoint],
    bucket_seconds: usize,
    of: fn(&TimePoint) -> Option<f64>,
) -> Vec<Option<Spread>> {
    points
        .chunks(bucket_seconds)
        .map(|chunk| {
            let mut values = chunk.iter().filter_map(of);
            let first = values.next()?;
            let (mut spread, mut count) = (
                Spread {
                    low: first,
                    high: first,
                    mean: first,
                    last: first,
                },
                1.0,
            );
            for value in values {
                spread.low = spread.low.min(value);
                spread.high = spread.high.max(value);
                spread.mean += value;
                spread.last = value;
                count += 1.0;
            }
            spread.mean /= count;
            Some(spread)
        })
        .collect()
}

/// One line of the time charts.
#[derive(Clone, Copy)]
pub(crate) struct Series {
    /// Its name, for people.
    pub(crate) name: &'static str,
    /// The class of its colour.
    pub(crate) class: &'static str,
    /// Its value in a second.
    pub(crate) of: fn(&TimePoint) -> Option<f64>,
}

/// How the values of a panel are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Things in each second: the line is the mean of a bucket.
    Rate,
    /// A level: the line is the highest of a bucket.
    Level,
    /// Microseconds on a logarithmic axis: the line is the highest of a bucket.
    Latency,
}

impl Scale {
    /// The scale in lower case, for the script.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Level => "level",
            Self::Latency => "latency",
        }
    }

    /// The value that stands for a bucket.
    pub(crate) const fn of(self, spread: &Spread) -> f64 {
        match self {
            Self::Rate => spread.mean,
            Self::Level | Self::Latency => spread.high,
        }
    }
}

/// One panel of the time charts.
pub(crate) struct Panel {
    /// Its title.
    pub(crate) title: &'static str,
    /// Its height, with the space below it.
    pub(crate) height: f64,
    /// How its values are shown.
    pub(crate) scale: Scale,
    /// Whether a value holds for its whole second.
    pub(crate) stepped: bool,
    /// Its lines, the last one on top.
    pub(crate) series: &'static [Series],
}

const fn series(
    name: &'static str,
    class: &'static str,
    of: fn(&TimePoint) -> Option<f64>,
) -> Series {
    Series { name, class, of }
}

fn level(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

/// The panels, from top to bottom.
pub(crate) const PANELS: [Panel; 4] = [
    Panel {
        title: "Each second",
        height: 150.0,
        scale: Scale::Rate,
        stepped: true,
        series: &[
            series("planned", "planned", |point| Some(point.planned as f64)),
            series("sent", "sent", |point| Some(point.sent as f64)),
            series("recorded", "recorded", |point| point.recorded_per_second),
            // A line along zero would only hide what lies there.
            series("without answer", "bad", |point| {
                (point.failed > 0).then_some(point.failed as f64)
            }),
        ],
    },
    Panel {
        title: "Response time",
        height: 130.0,
        scale: Scale::Latency,
        stepped: false,
        series: &[
            series("p50", "median", |point| level(point.response_p50_us)),
            series("p99", "sent", |point| level(point.response_p99_us)),
        ],
    },
    Panel {
        title: "Backlog",
        height: 100.0,
        scale: Scale::Level,
        stepped: true,
        series: &[
            series("all of it", "planned", |point| {
                let parts = [point.queue_depth, point.in_flight, point.unrecorded];
                let is_seen = parts.iter().any(Option::is_some);
                level(is_seen.then(|| parts.into_iter().flatten().fold(0, u64::saturating_add)))
            }),
            series("queued", "queue", |point| level(point.queue_depth)),
            series("in hand", "median", |point| level(point.in_flight)),
            series("not yet recorded", "recorded", |point| {
                level(point.unrecorded)
            }),
        ],
    },
    Panel {
        title: "Workers",
        height: 56.0,
        scale: Scale::Level,
        stepped: true,
        series: &[series("workers", "workers", |point| level(point.workers))],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_hides_no_second() {
        let points: Vec<TimePoint> = [3, 9, 1, 4, 7]
            .map(|planned| TimePoint {
                planned,
                queue_depth: (planned > 3).then_some(planned),
                ..TimePoint::default()
            })
            .to_vec();
        assert_eq!(bucket_seconds(&points, 2), 3);
        let planned = spreads(&points, 3, |point| Some(point.planned as f64));
        assert_eq!(
            planned[0],
            Some(Spread {
                low: 1.0,
                high: 9.0,
                mean: 13.0 / 3.0,
                last: 1.0
            })
        );
        assert_eq!(planned[1].map(|spread| spread.last), Some(7.0));
        let queue = spreads(&points, 1, |point| level(point.queue_depth));
        assert_eq!(queue.iter().filter(|spread| spread.is_none()).count(), 2);
    }
}
