//! Response times over time: how many answers fell in each cell of time and latency. Its size is bounded.

use hdrhistogram::Histogram;

use crate::result::run::Heatmap;

/// The most columns: with more, two neighbours become one.
const COLUMNS_MAX: usize = 360;
/// The rows of each decade end at these.
const STEPS: [u64; 6] = [10, 15, 20, 30, 50, 70];
/// Decades, the first from 10 µs.
const DECADES: u32 = 8;
const ROWS: usize = STEPS.len() * DECADES as usize;

/// The heat map while it grows.
#[derive(Debug, Clone)]
pub struct Heat {
    bounds_us: Vec<u64>,
    column_seconds: usize,
    columns: Vec<[u64; ROWS]>,
}

impl Default for Heat {
    fn default() -> Self {
        let bounds_us = (0..DECADES)
            .flat_map(|decade| STEPS.map(|step| step * 10_u64.pow(decade)))
            .collect();
        Self {
            bounds_us,
            column_seconds: 1,
            columns: Vec::new(),
        }
    }
}

impl Heat {
    /// Adds the latencies, in microseconds, of the second that began `second` seconds after the start.
    pub fn add(&mut self, second: usize, latencies_us: &Histogram<u64>) {
        let counts = latencies_us
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()));
        self.add_counts(second, counts);
    }

    /// As [`Heat::add`], of values in microseconds and their counts.
    pub fn add_counts(&mut self, second: usize, counts: impl Iterator<Item = (u64, u64)>) {
        let mut counts = counts.peekable();
        if counts.peek().is_none() {
            return;
        }
        while second / self.column_seconds >= COLUMNS_MAX {
            self.halve();
        }
        let column = second / self.column_seconds;
        if column >= self.columns.len() {
            self.columns.resize(column + 1, [0; ROWS]);
        }
        for (value_us, count) in counts {
            let row = self
                .bounds_us
                .partition_point(|bound| *bound < value_us)
                .min(ROWS - 1);
            self.columns[column][row] += count;
        }
    }

    /// Makes one column of every two.
    fn halve(&mut self) {
        self.columns = self
            .columns
            .chunks(2)
            .map(|pair| {
                let mut sum = pair[0];
                if let Some(second) = pair.get(1) {
                    for (cell, more) in sum.iter_mut().zip(second) {
                        *cell += more;
                    }
                }
                sum
            })
            .collect();
        self.column_seconds *= 2;
    }

    /// The map: the rows that hold something, and one below them. `None` when there is nothing.
    pub fn map(&self) -> Option<Heatmap> {
        let used = |row: &usize| self.columns.iter().any(|column| column[*row] > 0);
        let first = (0..ROWS).find(used)?.saturating_sub(1);
        let last = (0..ROWS).rfind(used)?;
        Some(Heatmap {
            column_seconds: self.column_seconds as f64,
            row_bounds_us: self.bounds_us[first..=last].to_vec(),
            columns: self
                .columns
                .iter()
                .map(|column| column[first..=last].to_vec())
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(values_us: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).expect("3 digits are allowed");
        for value in values_us {
            histogram
                .record(*value)
                .expect("an automatic histogram takes every value");
        }
        histogram
    }

    #[test]
    fn each_answer_lies_in_the_row_that_encloses_it() {
        let mut heat = Heat::default();
        heat.add(0, &second(&[180, 200, 201]));
        heat.add(2, &second(&[2_400]));
        let map = heat.map().expect("something was added");
        assert_eq!(
            map.row_bounds_us,
            [150, 200, 300, 500, 700, 1_000, 1_500, 2_000, 3_000]
        );
        assert_eq!(map.columns.len(), 3);
        assert_eq!(map.columns[0][..3], [0, 2, 1]);
        assert_eq!(map.columns[1].iter().sum::<u64>(), 0);
        assert_eq!(map.columns[2][8], 1);
    }

    #[test]
    fn a_long_run_keeps_its_counts_in_a_bounded_map() {
        let mut heat = Heat::default();
        for at in 0..4_000 {
            heat.add(at, &second(&[100, 5_000]));
        }
        heat.add(4_001, &second(&[u64::MAX / 2]));
        let map = heat.map().expect("something was added");
        assert!(map.columns.len() <= COLUMNS_MAX);
        assert!((map.column_seconds - 16.0).abs() < f64::EPSILON);
        assert_eq!(map.columns.iter().flatten().sum::<u64>(), 8_001);
        assert!(Heat::default().map().is_none());
    }
}
