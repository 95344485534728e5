//! Resampling: how far a figure may be off by chance. Pure, reproducible by its seed.

use plan::random::mix64;
use record::rank::quantile;
use record::sparse::Sparse;

/// Resamples that an interval is drawn from.
pub const RESAMPLES: usize = 2000;
/// An interval holds this share of the resamples.
pub const CONFIDENCE: f64 = 0.95;

/// A range that holds the true figure with [`CONFIDENCE`], as far as the resampled parts are independent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {
    /// The middle [`CONFIDENCE`] of `draws`; `None` when there are none.
    pub fn of(mut draws: Vec<f64>) -> Option<Self> {
        draws.retain(|draw| draw.is_finite());
        draws.sort_by(f64::total_cmp);
        let tail = (1.0 - CONFIDENCE) / 2.0;
        Some(Self {
            low: quantile(&draws, tail)?,
            high: quantile(&draws, 1.0 - tail)?,
        })
    }

    /// Whether `value` lies in it.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Random numbers, the same ones for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(mix64(seed))
    }

    /// A number below `bound`, which is above zero.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mix64(self.0)) * bound as u128) >> 64) as usize
    }
}

/// The most blocks that are resampled. More say nothing more.
const BLOCKS_MAX: usize = 300;

/// Histograms that are resampled whole: each is a block of values that belong together, such as one second.
///
/// Values within a second are not independent (a slow flush delays all that wait for it), so single values must not
/// be resampled. Blocks keep what belongs together.
#[derive(Clone, Debug)]
pub struct Blocks {
    values_us: Vec<u64>,
    blocks: Vec<Vec<(u32, u64)>>,
}

impl Blocks {
    /// One block for each of them, or for a few neighbours where there are very many.
    pub fn new<'a>(intervals: impl IntoIterator<Item = &'a Sparse>) -> Self {
        let intervals: Vec<&Sparse> = intervals.into_iter().collect();
        let together = intervals.len().div_ceil(BLOCKS_MAX).max(1);
        let sparse: Vec<Vec<(u64, u64)>> = intervals
            .chunks(together)
            .map(|neighbours| {
                let mut sum = Sparse::default();
                for counts in neighbours {
                    sum.add(counts);
                }
                sum.counts().collect()
            })
            .collect();
        let mut values_us: Vec<u64> = sparse.iter().flatten().map(|(value, _)| *value).collect();
        values_us.sort_unstable();
        values_us.dedup();
        let blocks = sparse
            .into_iter()
            .map(|block| {
                block
                    .into_iter()
                    .map(|(value, count)| {
                        let index = values_us.partition_point(|known| *known < value);
                        (index as u32, count)
                    })
                    .collect()
            })
            .collect();
        Self { values_us, blocks }
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there is nothing to resample.
    pub fn is_empty(&self) -> bool {
        self.values_us.is_empty()
    }

    /// The values at `quantiles` of one resample: as many blocks as there are, drawn with repetition.
    pub fn resample_us(&self, quantiles: &[f64], random: &mut Random) -> Vec<f64> {
        let mut counts = vec![0u64; self.values_us.len()];
        let mut total = 0;
        for _ in 0..self.blocks.len() {
            for (index, count) in &self.blocks[random.below(self.blocks.len())] {
                counts[*index as usize] += count;
                total += count;
            }
        }
        quantiles
            .iter()
            .map(|quantile| {
                let rank = ((quantile * total as f64).ceil() as u64).max(1);
                let mut seen = 0;
                for (index, count) in counts.iter().enumerate() {
                    seen += count;
                    if seen >= rank {
                        return self.values_us[index] as f64;
                    }
                }
                f64::NAN
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use record::latencies::empty;

    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.25), Some(1.25));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn equal_blocks_have_no_spread_and_unequal_ones_have() {
        let block = |us: u64| {
            let mut histogram = empty();
            histogram.record_n(us, 100).expect("in range");
            Sparse::of(&histogram)
        };
        let mut random = Random::new(1);
        let equal = [block(1000), block(1000)];
        let equal = Blocks::new(&equal);
        assert_eq!(equal.resample_us(&[0.5, 0.99], &mut random), [1000.0; 2]);
        let unequal: Vec<_> = (1..=20).map(|ms| block(ms * 100)).collect();
        let unequal = Blocks::new(&unequal);
        let draws = (0..500)
            .map(|_| unequal.resample_us(&[0.5], &mut random)[0])
            .collect();
        let interval = Interval::of(draws).expect("draws");
        assert!(interval.holds(1000.0) && interval.low < 900.0 && interval.high > 1100.0);
    }
}
