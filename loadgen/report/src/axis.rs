//! Axes: which values get a tick, and where a value lies.

/// Maps values to positions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

impl Axis {
    /// An axis on which `from` lies at `start` and `to` at `end`.
    pub(crate) fn linear((from, to): (f64, f64), (start, end): (f64, f64)) -> Self {
        Self {
            from,
            to: if to > from { to } else { from + 1.0 },
            start,
            end,
            logarithmic: false,
        }
    }

    /// The same on a logarithmic scale. Values below `from`, which is positive, lie at `start`.
    pub(crate) fn logarithmic((from, to): (f64, f64), (start, end): (f64, f64)) -> Self {
        Self {
            from,
            to: if to > from { to } else { from * 10.0 },
            start,
            end,
            logarithmic: true,
        }
    }

    /// Where `value` lies, rounded to a tenth: enough for a picture, short in the file.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        let share = if self.logarithmic {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        tenths(self.start + share * (self.end - self.start))
    }
}

/// `value` rounded to one decimal.
pub(crate) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A round bound at or above `value`, and ticks from 0 to it, about `wanted` of them.
pub(crate) fn linear_ticks(value: f64, wanted: f64) -> Vec<f64> {
    let rough = (value / wanted).max(f64::MIN_POSITIVE);
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * magnitude)
        // Everything here counts whole things.
        .max(1.0);
    let steps = (value / step).ceil().max(1.0) as u32;
    (0..=steps).map(|index| f64::from(index) * step).collect()
}

/// The values 1, 2 and 5 of each decade (1 alone when they would be many), from at or below `low` to at or above `high`.
pub(crate) fn logarithmic_ticks(low: f64, high: f64) -> Vec<f64> {
    let mut ticks = Vec::new();
    let first = low.max(1.0).log10().floor() as i32;
    let last = high.max(1.0).log10().ceil() as i32;
    for decade in first..=last {
        ticks.extend([1.0, 2.0, 5.0].map(|factor| factor * 10_f64.powi(decade)));
    }
    let from = ticks.iter().rposition(|tick| *tick <= low).unwrap_or(0);
    let to = ticks
        .iter()
        .position(|tick| *tick >= high)
        .unwrap_or(ticks.len() - 1);
    let mut kept = ticks[from..=to.max(from)].to_vec();
    if kept.len() == 1 {
        kept.push(kept[0] * 10.0);
    }
    if kept.len() > 7 {
        let last = kept.len() - 1;
        let mut index = 0..;
        kept.retain(|tick| {
            let at = index.next().unwrap_or(last);
            at == 0 || at == last || tick.log10().fract().abs() < 1e-9
        });
    }
    kept
}

/// A step in seconds that divides `span_seconds` into about `wanted` parts and reads well on a clock.
pub(crate) fn clock_step(span_seconds: f64, wanted: f64) -> f64 {
    [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0,
        7_200.0, 14_400.0,
    ]
    .into_iter()
    .find(|step| span_seconds / step <= wanted)
    .unwrap_or(28_800.0)
}

/// Moves positions apart so that neighbours lie at least `gap` apart, within `top..=bottom` where that can be.
pub(crate) fn spread(positions: &[f64], gap: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by(|a, b| positions[*a].total_cmp(&positions[*b]));
    let mut moved = positions.to_vec();
    let mut lowest_free = top;
    for index in &order {
        moved[*index] = moved[*index].max(lowest_free);
        lowest_free = moved[*index] + gap;
    }
    let mut highest_free = bottom;
    for index in order.iter().rev() {
        moved[*index] = moved[*index].min(highest_free);
        highest_free = moved[*index] - gap;
    }
    moved
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "positions are rounded, ticks are exact")]
mod tests {
    use super::*;

    #[test]
    fn ticks_enclose_the_values_and_are_few() {
        assert_eq!(
            linear_ticks(1_900.0, 4.0),
            [0.0, 500.0, 1_000.0, 1_500.0, 2_000.0]
        );
        assert_eq!(linear_ticks(0.0, 4.0), [0.0, 1.0]);
        assert_eq!(linear_ticks(3.0, 4.0), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(
            logarithmic_ticks(130.0, 1_800.0),
            [100.0, 200.0, 500.0, 1_000.0, 2_000.0]
        );
        assert_eq!(logarithmic_ticks(100.0, 100.0), [100.0, 1_000.0]);
        assert_eq!(
            logarithmic_ticks(150.0, 700_000.0),
            [100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0]
        );
    }

    #[test]
    fn labels_keep_their_distance() {
        assert_eq!(
            spread(&[10.0, 11.0, 50.0], 14.0, 0.0, 100.0),
            [10.0, 24.0, 50.0]
        );
        assert_eq!(spread(&[99.0, 98.0], 14.0, 0.0, 100.0), [100.0, 86.0]);
    }

    #[test]
    fn positions_stay_on_the_axis() {
        let axis = Axis::logarithmic((100.0, 10_000.0), (200.0, 0.0));
        assert_eq!(
            [0.0, 100.0, 1_000.0, 1e9].map(|value| axis.at(value)),
            [200.0, 200.0, 100.0, 0.0]
        );
        assert_eq!(Axis::linear((0.0, 0.0), (0.0, 10.0)).at(0.5), 5.0);
    }
}
