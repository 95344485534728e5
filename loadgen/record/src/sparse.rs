//! A histogram that holds only what was counted: a long run has thousands of them.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Values in microseconds and how often each was counted, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sparse(Vec<(u32, u32)>);

impl Sparse {
    /// What `histogram` counted.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self(
            histogram
                .iter_recorded()
                .map(|step| {
                    (
                        u32::try_from(step.value_iterated_to()).unwrap_or(u32::MAX),
                        u32::try_from(step.count_since_last_iteration()).unwrap_or(u32::MAX),
                    )
                })
                .collect(),
        )
    }

    /// Values in microseconds and their counts, ascending.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0
            .iter()
            .map(|(value_us, count)| (u64::from(*value_us), u64::from(*count)))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        let mut sum: Vec<(u32, u32)> = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (Some(a), Some(b)) if a.0 > b.0 => theirs.next(),
                (Some(_), _) => mine.next(),
                (None, _) => theirs.next(),
            };
            let Some((value_us, count)) = next else { break };
            match sum.last_mut() {
                Some(last) if last.0 == *value_us => last.1 = last.1.saturating_add(*count),
                _ => sum.push((*value_us, *count)),
            }
        }
        self.0 = sum;
    }

    /// The value that this share did not exceed; `None` of nothing.
    pub fn value_at_quantile(&self, quantile: f64) -> Option<u64> {
        let total: u64 = self.counts().map(|(_, count)| count).sum();
        let rank = ((quantile * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.counts().find_map(|(value_us, count)| {
            seen += count;
            (seen >= rank).then_some(value_us)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latencies::empty;

    #[test]
    fn it_adds_and_reads_as_the_whole_one_does() {
        let mut whole = empty();
        let mut sum = Sparse::default();
        for part in 0..4u64 {
            let mut histogram = empty();
            for n in 0..500 {
                histogram
                    .record(1 + part * 13 + n * n % 7_919)
                    .expect("in range");
            }
            whole.add(&histogram).expect("the same bounds");
            sum.add(&Sparse::of(&histogram));
        }
        assert_eq!(sum, Sparse::of(&whole));
        for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(
                sum.value_at_quantile(quantile),
                Some(whole.value_at_quantile(quantile)),
                "{quantile}"
            );
        }
        assert_eq!(Sparse::default().value_at_quantile(0.5), None);
    }
}
