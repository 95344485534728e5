//! `GET /metrics`: the snapshot in OpenMetrics form, which Prometheus reads.

use std::fmt::{self, Write as _};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Buckets, Metrics};
use crate::snapshot::Snapshot;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names what is counted in Redis for all instances together. Every instance says the same, so a sum over instances
/// would count it more than once; the name says so.
const CLUSTER: &str = "sluice_cluster";
/// Names what is this process's own.
const INSTANCE: &str = "sluice";
/// Ends the help of what is named by [`CLUSTER`].
const SAME_EVERYWHERE: &str = "of all instances; each tells the same: take the maximum, no sum";

/// The text. `ready` is what `/readyz` says.
pub(super) fn text(snapshot: &Snapshot, metrics: &Metrics, shed: u64, ready: bool) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures {
        snapshot: snapshot.clone(),
        latencies: metrics.buckets(),
        shed,
        ready,
    }));
    let mut text = String::with_capacity(16 * 1024);
    encode(&mut text, &registry).expect("a string takes everything");
    text
}

#[derive(Debug)]
struct Figures {
    snapshot: Snapshot,
    latencies: Vec<(&'static str, Buckets)>,
    shed: u64,
    ready: bool,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Writer(&mut encoder);
        self.cluster(&mut to)?;
        self.instance(&mut to)
    }
}

impl Figures {
    /// What all instances share.
    fn cluster(&self, to: &mut Writer<'_, '_>) -> fmt::Result {
        let Snapshot {
            counters,
            gauges,
            redis,
            ..
        } = &self.snapshot;
        for (name, help, count) in [
            (
                "loans_admitted",
                "Loans put in the queue",
                counters.admitted,
            ),
            (
                "loans_replayed",
                "Requests that repeated a known loan",
                counters.replayed,
            ),
            (
                "loans_processed",
                "Loans that a worker decided",
                counters.processed,
            ),
            (
                "loans_accepted",
                "Loans that passed validation",
                counters.accepted,
            ),
            (
                "loans_retried",
                "Failed loans queued again",
                counters.retried,
            ),
            (
                "loans_discarded",
                "Failed loans that operators have finished",
                counters.discarded,
            ),
            (
                "loans_recorded",
                "Accepted loans that MongoDB has confirmed",
                counters.recorded_loans,
            ),
            (
                "failures_recorded",
                "Failed attempts that MongoDB has confirmed",
                counters.recorded_failures,
            ),
            (
                "loans_redelivered",
                "Loans taken over from a silent worker",
                counters.redelivered,
            ),
            (
                "lost_commit_races",
                "Commits that came second and were dropped",
                counters.lost_commit_races,
            ),
            (
                "duplicate_keys",
                "Records that MongoDB already held",
                counters.duplicate_keys,
            ),
            (
                "loans_set_aside",
                "Loans whose bundle nobody can read",
                counters.set_aside,
            ),
        ] {
            to.counter(CLUSTER, name, help, count)?;
        }
        to.family(
            CLUSTER,
            "loans_failed",
            "Failed attempts by their category",
            &counters.failed,
        )?;
        for (name, help, value) in [
            (
                "queue_depth",
                "Loans that wait for a worker",
                gauges.queue_depth,
            ),
            ("in_flight", "Loans that a worker holds", gauges.in_flight),
            (
                "unrecorded",
                "Results that MongoDB has not confirmed",
                gauges.unrecorded,
            ),
            (
                "failed_waiting",
                "Failed loans kept for a retry",
                gauges.failed_waiting,
            ),
            ("workers", "Workers", gauges.workers),
            (
                "workers_limit",
                "The most workers there may be",
                gauges.workers_max,
            ),
            ("instances", "Instances that are alive", gauges.instances),
            (
                "paused",
                "Whether ingestion is paused",
                u64::from(gauges.paused),
            ),
        ] {
            to.gauge(CLUSTER, name, help, None, value as f64)?;
        }
        to.gauge(
            CLUSTER,
            "oldest_waiting",
            "Age of the oldest loan that is not decided",
            Some(&Unit::Seconds),
            gauges.oldest_waiting_ms as f64 / 1000.0,
        )?;
        for (name, help, bytes) in [
            (
                "redis_used_memory",
                "used_memory of Redis",
                redis.used_memory_bytes,
            ),
            (
                "redis_max_memory",
                "maxmemory of Redis, 0 for none",
                redis.max_memory_bytes,
            ),
        ] {
            to.gauge(CLUSTER, name, help, Some(&Unit::Bytes), bytes as f64)?;
        }
        Ok(())
    }

    /// What is this process's own: it begins at zero with the process, and may be summed.
    fn instance(&self, to: &mut Writer<'_, '_>) -> fmt::Result {
        let Snapshot {
            counters,
            gauges,
            redis,
            mongodb,
            process,
            version,
            git_commit,
            ..
        } = &self.snapshot;
        to.info(
            "build",
            "What this instance was built from",
            vec![
                ("version", escaped(version)),
                ("commit", escaped(git_commit)),
            ],
        )?;
        for (name, help, count) in [
            (
                "requests_received",
                "Loan requests that reached this instance",
                counters.received,
            ),
            (
                "admissions_rolled_back",
                "Admissions that Redis had confirmed to this instance and does not know any more",
                counters.rolled_back,
            ),
            (
                "connections_shed",
                "Idle connections of this instance closed for new ones",
                self.shed,
            ),
            (
                "log_lines_dropped",
                "Lines of the log that nobody took in time",
                crate::log::dropped(),
            ),
            (
                "log_lines_held_back",
                "Lines of the log that one place would have written too often",
                crate::log::held_back(),
            ),
        ] {
            to.counter(INSTANCE, name, help, count)?;
        }
        to.family(
            INSTANCE,
            "requests_rejected",
            "Loan requests that this instance refused",
            &counters.rejected,
        )?;
        let flag = u64::from;
        for (name, help, value) in [
            (
                "ready",
                "Whether this instance can do what its roles are for and is not stopping",
                flag(self.ready),
            ),
            ("workers", "Workers of this instance", gauges.workers_here),
            (
                "connections",
                "Open HTTP connections of this instance",
                gauges.connections,
            ),
            (
                "web_socket_clients",
                "WebSocket clients of this instance",
                gauges.web_socket_clients,
            ),
            (
                "redis_up",
                "Whether Redis answered this instance last",
                flag(redis.up),
            ),
            (
                "redis_durable",
                "Whether what Redis confirms to this instance survives",
                flag(redis.durable),
            ),
            (
                "mongodb_up",
                "Whether MongoDB answered this instance last",
                flag(mongodb.up),
            ),
        ] {
            to.gauge(INSTANCE, name, help, None, value as f64)?;
        }
        // By the names that Prometheus's own libraries give them.
        to.gauge(
            "process",
            "resident_memory",
            "Resident memory",
            Some(&Unit::Bytes),
            process.rss_bytes as f64,
        )?;
        to.gauge(
            "process",
            "open_fds",
            "Open file descriptors",
            None,
            process.open_files as f64,
        )?;
        let cpu = to.0.encode_descriptor(
            "process_cpu",
            "Processor time, user and system",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        ConstCounter::new(process.cpu_seconds).encode(cpu)?;
        let mut latency = to.0.encode_descriptor(
            "sluice_latency",
            "Latency of each step on this instance",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (step, buckets) in &self.latencies {
            latency
                .encode_family(&[("step", *step)])?
                .encode_histogram::<NoLabelSet>(
                    buckets.sum_seconds,
                    buckets.count,
                    &buckets.counts,
                    None,
                )?;
        }
        Ok(())
    }
}

/// Writes whole families.
struct Writer<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Writer<'_, '_> {
    fn counter(&mut self, scope: &str, name: &str, help: &str, count: u64) -> fmt::Result {
        let (name, help) = (full_name(scope, name), full_help(scope, help));
        let encoder = self.begin(&name, &help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(encoder)
    }

    fn gauge(
        &mut self,
        scope: &str,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: f64,
    ) -> fmt::Result {
        let (name, help) = (full_name(scope, name), full_help(scope, help));
        let encoder = self.begin(&name, &help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    /// A counter for each `errorType`.
    fn family(
        &mut self,
        scope: &str,
        name: &str,
        help: &str,
        counts: &std::collections::BTreeMap<String, u64>,
    ) -> fmt::Result {
        let (name, help) = (full_name(scope, name), full_help(scope, help));
        let mut encoder = self.begin(&name, &help, None, MetricType::Counter)?;
        for (error_type, count) in counts {
            let label = [("error_type", escaped(error_type))];
            ConstCounter::new(*count).encode(encoder.encode_family(&label)?)?;
        }
        Ok(())
    }

    fn info(&mut self, name: &str, help: &str, labels: Vec<(&str, String)>) -> fmt::Result {
        let name = full_name(INSTANCE, name);
        let encoder = self.begin(&name, help, None, MetricType::Info)?;
        Info::new(labels).encode(encoder)
    }

    fn begin<'a>(
        &'a mut self,
        name: &'a str,
        help: &str,
        unit: Option<&'a Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }
}

fn full_name(scope: &str, name: &str) -> String {
    format!("{scope}_{name}")
}

fn full_help(scope: &str, help: &str) -> String {
    if scope == CLUSTER {
        format!("{help}, {SAME_EVERYWHERE}")
    } else {
        help.to_owned()
    }
}

/// A text as a label's value may hold it: the encoder writes what it is given, as it is.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => safe.push_str("\\\""),
            '\\' => safe.push_str("\\\\"),
            '\n' => safe.push_str("\\n"),
            // No reader needs them, and a terminal may obey them.
            c if c.is_control() => {
                let _ = write!(safe, "\\\\u{{{:x}}}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some counters are kept under names that come from Redis: whoever writes there forges no line.
    #[test]
    fn a_label_cannot_end_its_line() {
        let mut snapshot = Snapshot::default();
        let evil = "a\"b\\c\n# EOF\nsluice_forged 1\r\u{1b}[31m";
        snapshot.counters.failed.insert(evil.to_owned(), 1);
        snapshot.version = evil.to_owned();
        let text = text(&snapshot, &Metrics::default(), 0, true);
        assert_eq!(
            text.matches("# EOF").count(),
            3,
            "two of them within labels"
        );
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("# EOF"))
                .count(),
            1
        );
        assert!(!text.lines().any(|line| line.starts_with("sluice_forged")));
        assert!(!text.contains('\r') && !text.contains('\u{1b}'), "{text}");
        let expected = r#"{error_type="a\"b\\c\n# EOF\nsluice_forged 1\\u{d}\\u{1b}[31m"} 1"#;
        assert!(
            text.contains(&format!("sluice_cluster_loans_failed_total{expected}")),
            "{text}"
        );
    }

    /// Who an applicant is stands in no label.
    #[test]
    fn no_applicant_is_a_label() {
        let mut snapshot = Snapshot::default();
        snapshot.counters.failed_by_applicant = vec![crate::snapshot::ApplicantCount {
            applicant: "ada@example.org".to_owned(),
            count: 3,
        }];
        let text = text(&snapshot, &Metrics::default(), 0, true);
        assert!(!text.contains("ada@example.org"), "{text}");
    }

    /// A figure of all instances is named as one, and its help says how to read it.
    #[test]
    fn what_is_shared_says_so() {
        let text = text(&Snapshot::default(), &Metrics::default(), 0, true);
        let helps = |scope: &str| -> Vec<&str> {
            let prefix = format!("# HELP {scope}");
            text.lines()
                .filter(|line| line.starts_with(&prefix))
                .collect()
        };
        assert!(helps("sluice_cluster_").len() > 15, "{text}");
        for help in helps("sluice_cluster_") {
            assert!(help.contains("take the maximum, no sum"), "{help}");
        }
        assert!(text.contains("sluice_build_info{version="), "{text}");
    }
}
