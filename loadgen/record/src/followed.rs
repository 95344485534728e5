//! The service's own figures over a run, as they were followed live.

use serde::{Deserialize, Serialize};
use snapshot::{EventKind, Message, Snapshot};

/// A step that is taken back within this time is one too many.
const FLAP_WITHIN_MS: u64 = 10_000;

/// The gauges and rates of one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the snapshot's of the same name")]
pub struct Point {
    pub at_ms: u64,
    pub queue_depth: u64,
    pub in_flight: u64,
    pub unrecorded: u64,
    pub workers: u64,
    pub recorded_per_second: f64,
    pub admitted_per_second: f64,
    pub rss_bytes: u64,
    /// Without the clients' connections.
    pub open_files: u64,
    pub redis_memory_bytes: u64,
}

/// A change of the number of workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Workers before.
    pub from: u64,
    /// Workers after.
    pub to: u64,
    /// Why, in words.
    pub reason: String,
}

/// What was followed so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Followed {
    /// The latest snapshot.
    pub latest: Option<Snapshot>,
    /// Five points a second.
    pub points: Vec<Point>,
    /// Changes of the number of workers.
    pub scales: Vec<Scale>,
    /// Highest backlog: queued, in flight and unrecorded.
    pub backlog_peak: Option<u64>,
    /// Most workers at once.
    pub workers_peak: Option<u64>,
    /// Highest resident memory of the service, bytes.
    pub rss_bytes_peak: Option<u64>,
    /// How often the connection broke.
    pub reconnects: u64,
}

impl Followed {
    /// How often a change of the number of workers was taken back soon after: up and down, or down and up.
    pub fn flaps(&self) -> u64 {
        self.scales
            .windows(2)
            .filter(|steps| {
                (steps[0].to > steps[0].from) != (steps[1].to > steps[1].from)
                    && steps[1].at_ms.saturating_sub(steps[0].at_ms) < FLAP_WITHIN_MS
            })
            .count() as u64
    }

    /// Takes what the service told.
    pub fn take(&mut self, message: Message) {
        match message {
            Message::History { .. } => {}
            Message::Event { event } => {
                if let EventKind::Scale {
                    from, to, reason, ..
                } = event.kind
                {
                    self.scales.push(Scale {
                        at_ms: event.at_ms,
                        from,
                        to,
                        reason,
                    });
                }
            }
            Message::Snapshot { snapshot } => {
                let gauges = &snapshot.gauges;
                self.points.push(Point {
                    at_ms: snapshot.at_ms,
                    queue_depth: gauges.queue_depth,
                    in_flight: gauges.in_flight,
                    unrecorded: gauges.unrecorded,
                    workers: gauges.workers,
                    recorded_per_second: snapshot.rates.recorded,
                    admitted_per_second: snapshot.rates.admitted,
                    rss_bytes: snapshot.process.rss_bytes,
                    // Connections are the clients', who may open more of them as they please.
                    open_files: snapshot
                        .process
                        .open_files
                        .saturating_sub(snapshot.gauges.connections),
                    redis_memory_bytes: snapshot.redis.used_memory_bytes,
                });
                let backlog = gauges.queue_depth + gauges.in_flight + gauges.unrecorded;
                self.backlog_peak = self.backlog_peak.max(Some(backlog));
                self.workers_peak = self.workers_peak.max(Some(gauges.workers));
                self.rss_bytes_peak = self.rss_bytes_peak.max(Some(snapshot.process.rss_bytes));
                self.latest = Some(*snapshot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_and_scales_are_kept() {
        let mut followed = Followed::default();
        for (depth, workers) in [(10, 1), (200, 4), (0, 2)] {
            let mut snapshot = Snapshot::default();
            snapshot.gauges.queue_depth = depth;
            snapshot.gauges.in_flight = 5;
            snapshot.gauges.workers = workers;
            followed.take(Message::Snapshot {
                snapshot: Box::new(snapshot),
            });
        }
        let scale: Message = serde_json::from_str(
            r#"{"type":"event","event":{"atMs":5,"kind":"scale","instance":"a","from":1,"to":4,"reason":"200 queued"}}"#,
        )
        .expect("the message of the contract");
        followed.take(scale);
        assert_eq!(followed.backlog_peak, Some(205));
        assert_eq!(followed.workers_peak, Some(4));
        assert_eq!(followed.points.len(), 3);
        assert_eq!(followed.scales[0].to, 4);
    }

    #[test]
    fn a_step_that_is_soon_taken_back_is_a_flap() {
        let scale = |at_ms, from, to| Scale {
            at_ms,
            from,
            to,
            reason: String::new(),
        };
        let followed = Followed {
            scales: vec![
                scale(0, 1, 2),
                scale(1_000, 2, 4),
                // Soon, and back.
                scale(5_000, 4, 3),
                // Late, so it is no flap.
                scale(20_000, 3, 5),
            ],
            ..Followed::default()
        };
        assert_eq!(followed.flaps(), 1);
    }
}
