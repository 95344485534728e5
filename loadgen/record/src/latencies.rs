//! Histograms of latencies: microseconds, 3 digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use plan::kind::Kind;

use crate::sample::Sample;

/// The highest latency kept; above it, this value is counted.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// An empty histogram of microseconds with 3 digits.
pub fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are constants in range")
}

/// Counts one latency. Below a microsecond counts as one.
pub fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record((latency.as_micros() as u64).max(1));
}

/// The latencies of one phase or of the whole run.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// From the intended instant to the last byte of the answer.
    pub response: Histogram<u64>,
    /// From the real send to the last byte of the answer.
    pub service: Histogram<u64>,
    /// From the intended instant to the real send.
    pub send_lag: Histogram<u64>,
    /// From the intended instant to MongoDB's confirmation. Filled by the audit.
    pub end_to_end: Histogram<u64>,
    /// Arrivals sent.
    pub sent: u64,
    /// Arrivals with a definite answer.
    pub completed: u64,
    /// Arrivals without one.
    pub failed: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            response: empty(),
            service: empty(),
            send_lag: empty(),
            end_to_end: empty(),
            sent: 0,
            completed: 0,
            failed: 0,
        }
    }
}

impl Latencies {
    /// Adds everything of `other`.
    pub fn join(&mut self, other: &Self) {
        for (mine, more) in [
            (&mut self.response, &other.response),
            (&mut self.service, &other.service),
            (&mut self.send_lag, &other.send_lag),
            (&mut self.end_to_end, &other.end_to_end),
        ] {
            mine.add(more).expect("all have the bounds of `empty`");
        }
        self.sent += other.sent;
        self.completed += other.completed;
        self.failed += other.failed;
    }

    pub(crate) fn note(&mut self, sample: &Sample) {
        self.sent += 1;
        if sample.answer.is_unknown() {
            self.failed += 1;
        } else {
            self.completed += 1;
        }
        record(
            &mut self.send_lag,
            sample.sent.saturating_sub(sample.intended),
        );
        // A request that was dropped on purpose says nothing about the service's speed.
        if sample.kind != Kind::Retry {
            record(
                &mut self.response,
                sample.done.saturating_sub(sample.intended),
            );
            record(
                &mut self.service,
                sample.done.saturating_sub(sample.last_sent),
            );
        }
    }
}

/// HdrHistogram's percentile output of a histogram of microseconds, values in milliseconds: the `.hgrm` format.
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    use std::fmt::Write as _;

    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let total = histogram.len();
    for step in histogram.iter_quantiles(5) {
        let quantile = step.quantile_iterated_to();
        let value_ms = step.value_iterated_to() as f64 / 1e3;
        let count = histogram.count_between(0, step.value_iterated_to());
        let _ = if quantile < 1.0 {
            writeln!(
                text,
                "{value_ms:12.3} {quantile:14.12} {count:10} {:14.2}",
                1.0 / (1.0 - quantile)
            )
        } else {
            writeln!(
                text,
                "{value_ms:12.3} {quantile:14.12} {count:10}            inf"
            )
        };
    }
    let max_ms = if total == 0 {
        0.0
    } else {
        histogram.max() as f64 / 1e3
    };
    let _ = write!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {max_ms:12.3}, Total count    = {total:12}]\n",
        histogram.mean() / 1e3,
        histogram.stdev() / 1e3,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_histogram_has_a_file() {
        assert!(hgrm(&empty()).contains("Total count    =            0"));
    }
}
