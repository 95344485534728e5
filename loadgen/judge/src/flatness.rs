//! Whether a figure stays flat over a run. Pure.
//!
//! The ends alone say little: memory breathes. So a line is laid through all points (least squares), and its rise over
//! the run is the growth. The first part is left out: caches fill there, and connections are made.

/// The share of the run that counts as warming up.
const WARM_UP: f64 = 0.2;
/// Fewer points say nothing.
const POINTS_MIN: usize = 20;

/// How much the line through `points` (seconds, value) rises from the end of the warm-up to the last point.
pub fn growth(points: &[(f64, f64)]) -> Option<f64> {
    let points = settled(points)?;
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (at, value) = (mean(|point| point.0), mean(|point| point.1));
    let (mut along, mut rise) = (0.0, 0.0);
    for point in points {
        along += (point.0 - at) * (point.0 - at);
        rise += (point.0 - at) * (point.1 - value);
    }
    let span = points.last()?.0 - points.first()?.0;
    (along > 0.0).then(|| rise / along * span)
}

/// The same as a share of the mean after the warm-up.
pub fn growth_ratio(points: &[(f64, f64)]) -> Option<f64> {
    let settled = settled(points)?;
    let mean = settled.iter().map(|point| point.1).sum::<f64>() / settled.len() as f64;
    (mean > 0.0).then_some(growth(points)? / mean)
}

/// The points after the warm-up.
fn settled(points: &[(f64, f64)]) -> Option<&[(f64, f64)]> {
    let (first, last) = (points.first()?.0, points.last()?.0);
    let from = points.partition_point(|point| point.0 < first + (last - first) * WARM_UP);
    (points.len() - from >= POINTS_MIN).then(|| &points[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..=100)
            .map(|at| (f64::from(at), value(f64::from(at))))
            .collect()
    }

    #[track_caller]
    fn check(value: impl Fn(f64) -> f64, expected: f64) {
        let found = growth(&series(value)).expect("enough points");
        assert!((found - expected).abs() < 1.0, "{found}");
    }

    #[test]
    fn a_leak_is_told_from_breathing() {
        check(|_| 50.0, 0.0);
        // 1 a second over the 80 s after the warm-up.
        check(|at| at, 80.0);
        check(|at| 50.0 + at + 5.0 * (at * 1.7).sin(), 80.0);
        // Breathing, and high or low at the very end.
        check(
            |at| {
                50.0 + if (at as u32).is_multiple_of(2) {
                    10.0
                } else {
                    0.0
                }
            },
            0.0,
        );
        // A rise while it warms up is none.
        check(|at| at.min(20.0), 0.0);
    }

    #[test]
    fn few_points_say_nothing() {
        assert_eq!(growth(&[]), None);
        assert_eq!(growth(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(growth_ratio(&series(|_| 0.0)), None);
        let ratio = growth_ratio(&series(|at| 100.0 + at)).expect("enough points");
        assert!((0.4..0.6).contains(&ratio), "{ratio}");
    }
}
