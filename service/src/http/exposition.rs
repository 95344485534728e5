//! `GET /metrics`: the snapshot in OpenMetrics form, which Prometheus reads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Buckets, Metrics};
use crate::snapshot::Snapshot;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text. What is counted in Redis is the same on every instance; the rest is this process's.
pub(super) fn text(snapshot: &Snapshot, metrics: &Metrics, shed: u64) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures {
        snapshot: snapshot.clone(),
        latencies: metrics.buckets(),
        shed,
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
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot {
            counters,
            gauges,
            redis,
            mongodb,
            process,
            ..
        } = &self.snapshot;
        for (name, help, count) in [
            (
                "loans_received",
                "Loan requests that reached this instance",
                counters.received,
            ),
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
                "redelivered",
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
                "connections_shed",
                "Idle connections of this instance closed for new ones",
                self.shed,
            ),
        ] {
            counter(&mut encoder, name, help, count)?;
        }
        let rejected = counters
            .rejected
            .iter()
            .map(|(name, count)| (&**name, *count));
        family(
            &mut encoder,
            "requests_rejected",
            "Requests that this instance refused",
            "error_type",
            rejected,
        )?;
        let failed = counters
            .failed
            .iter()
            .map(|(name, count)| (&**name, *count));
        family(
            &mut encoder,
            "loans_failed",
            "Failed attempts",
            "error_type",
            failed,
        )?;
        let applicants = counters.failed_by_applicant.iter();
        let applicants = applicants.map(|entry| (&*entry.applicant, entry.count));
        gauges_of(
            &mut encoder,
            "applicant_failures",
            "Failed attempts of the applicants with the most",
            "applicant",
            applicants,
        )?;

        let flag = |is_set: bool| f64::from(u8::from(is_set));
        for (name, help, value) in [
            (
                "queue_depth",
                "Loans that wait for a worker",
                gauges.queue_depth as f64,
            ),
            (
                "in_flight",
                "Loans that a worker holds",
                gauges.in_flight as f64,
            ),
            (
                "unrecorded",
                "Results that MongoDB has not confirmed",
                gauges.unrecorded as f64,
            ),
            (
                "failed_waiting",
                "Failed loans kept for a retry",
                gauges.failed_waiting as f64,
            ),
            ("workers", "Workers of all instances", gauges.workers as f64),
            (
                "workers_limit",
                "The most workers of all instances",
                gauges.workers_max as f64,
            ),
            (
                "workers_here",
                "Workers of this instance",
                gauges.workers_here as f64,
            ),
            (
                "instances",
                "Instances that are alive",
                gauges.instances as f64,
            ),
            (
                "connections",
                "Open HTTP connections of this instance",
                gauges.connections as f64,
            ),
            (
                "web_socket_clients",
                "WebSocket clients of this instance",
                gauges.web_socket_clients as f64,
            ),
            ("paused", "Whether ingestion is paused", flag(gauges.paused)),
            ("redis_up", "Whether Redis answered last", flag(redis.up)),
            (
                "redis_durable",
                "Whether what Redis confirms survives",
                flag(redis.durable),
            ),
            (
                "mongodb_up",
                "Whether MongoDB answered last",
                flag(mongodb.up),
            ),
            (
                "open_files",
                "Open file descriptors of this instance",
                process.open_files as f64,
            ),
        ] {
            gauge(&mut encoder, name, help, None, value)?;
        }
        let waiting = gauges.oldest_waiting_ms as f64 / 1000.0;
        gauge(
            &mut encoder,
            "oldest_waiting",
            "Age of the oldest loan that is not decided",
            Some(&Unit::Seconds),
            waiting,
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
            (
                "process_resident_memory",
                "Resident memory of this instance",
                process.rss_bytes,
            ),
        ] {
            gauge(&mut encoder, name, help, Some(&Unit::Bytes), bytes as f64)?;
        }
        let cpu = ConstCounter::new(process.cpu_seconds);
        let metric = encoder.encode_descriptor(
            "sluice_process_cpu",
            "Processor time of this instance",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        cpu.encode(metric)?;
        let mut latency = encoder.encode_descriptor(
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

fn named<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    unit: Option<&'a Unit>,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, unit, kind)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> fmt::Result {
    let name = format!("sluice_{name}");
    ConstCounter::new(count).encode(named(encoder, &name, help, None, MetricType::Counter)?)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> fmt::Result {
    let name = format!("sluice_{name}");
    ConstGauge::new(value).encode(named(encoder, &name, help, unit, MetricType::Gauge)?)
}

fn family<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    counts: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let name = format!("sluice_{name}");
    let mut metric = named(encoder, &name, help, None, MetricType::Counter)?;
    for (value, count) in counts {
        ConstCounter::new(count).encode(metric.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

fn gauges_of<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    counts: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let name = format!("sluice_{name}");
    let mut metric = named(encoder, &name, help, None, MetricType::Gauge)?;
    for (value, count) in counts {
        ConstGauge::new(count as f64).encode(metric.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}
