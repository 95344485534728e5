//! Histograms of latencies: microseconds, 3 digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use plan::kind::Kind;

use crate::sample::{Answer, Sample, Unknown};

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
    /// From the intended instant to the last byte of a definite answer.
    pub response: Histogram<u64>,
    /// From the real send to the last byte of a definite answer.
    pub service: Histogram<u64>,
    /// From the intended instant to the last byte of a 5xx: a refusal that leaves the outcome open.
    pub refused: Histogram<u64>,
    /// From the intended instant until the wait for an answer ended without one.
    pub silent: Histogram<u64>,
    /// From the intended instant to the real send.
    pub send_lag: Histogram<u64>,
    /// How late the generator itself was.
    pub generator_lag: Histogram<u64>,
    /// The response time less the generator's own lag, of those that no pause of the generator touched.
    pub undisturbed: Histogram<u64>,
    /// From the intended instant to MongoDB's confirmation. Filled by the audit.
    pub end_to_end: Histogram<u64>,
    /// Arrivals sent.
    pub sent: u64,
    /// When the last arrival's first request left.
    pub last_sent: Duration,
    /// Arrivals with a definite answer.
    pub completed: u64,
    /// Arrivals without one.
    pub failed: u64,
    /// Of these, those that a pause of the generator touched.
    pub failed_touched: u64,
    /// Requests, those that were sent again included.
    pub requests: u64,
    /// Of these, those without a definite answer that the run did not drop on purpose.
    pub requests_failed: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            response: empty(),
            service: empty(),
            refused: empty(),
            silent: empty(),
            send_lag: empty(),
            generator_lag: empty(),
            undisturbed: empty(),
            end_to_end: empty(),
            sent: 0,
            last_sent: Duration::ZERO,
            completed: 0,
            failed: 0,
            failed_touched: 0,
            requests: 0,
            requests_failed: 0,
        }
    }
}

impl Latencies {
    /// Adds everything of `other`.
    pub fn join(&mut self, other: &Self) {
        for (mine, more) in [
            (&mut self.response, &other.response),
            (&mut self.service, &other.service),
            (&mut self.refused, &other.refused),
            (&mut self.silent, &other.silent),
            (&mut self.send_lag, &other.send_lag),
            (&mut self.generator_lag, &other.generator_lag),
            (&mut self.undisturbed, &other.undisturbed),
            (&mut self.end_to_end, &other.end_to_end),
        ] {
            mine.add(more).expect("all have the bounds of `empty`");
        }
        self.sent += other.sent;
        self.last_sent = self.last_sent.max(other.last_sent);
        self.completed += other.completed;
        self.failed += other.failed;
        self.failed_touched += other.failed_touched;
        self.requests += other.requests;
        self.requests_failed += other.requests_failed;
    }

    /// Counts one arrival; `is_touched` when a pause of the generator may have made it longer.
    pub(crate) fn note(&mut self, sample: &Sample, is_touched: bool) {
        self.sent += 1;
        self.last_sent = self.last_sent.max(sample.sent);
        if sample.answer.is_unknown() {
            self.failed += 1;
            self.failed_touched += u64::from(is_touched);
        } else {
            self.completed += 1;
        }
        record(
            &mut self.send_lag,
            sample.sent.saturating_sub(sample.intended),
        );
        record(&mut self.generator_lag, sample.generator_lag);
        // The first request of a retry is dropped on purpose.
        let dropped = u64::from(sample.kind == Kind::Retry && sample.resent > 0);
        let again = u64::from(sample.resent);
        self.requests += 1 + again;
        self.requests_failed += again - dropped + u64::from(sample.answer.is_unknown());
        // It says nothing about the service's speed.
        if sample.kind == Kind::Retry {
            return;
        }
        let response = sample.done.saturating_sub(sample.intended);
        match sample.answer {
            Answer::Unknown(Unknown::Status(_) | Unknown::Strange(_)) => {
                record(&mut self.refused, response);
            }
            Answer::Unknown(_) => record(&mut self.silent, response),
            Answer::Queued | Answer::Replayed | Answer::Refused(_) => {
                record(&mut self.response, response);
                if !is_touched {
                    let undisturbed = response.saturating_sub(sample.generator_lag);
                    record(&mut self.undisturbed, undisturbed);
                }
                record(
                    &mut self.service,
                    sample.done.saturating_sub(sample.last_sent),
                );
            }
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
