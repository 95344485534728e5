//! The figures that `/metrics` tells and a collector is sent: one list for both.

use std::collections::BTreeMap;

use crate::metrics::{Buckets, Metrics};
use crate::snapshot::{RedisState, Shard, Snapshot};

/// Names what is counted in Redis for all instances together. Every instance says the same, so a sum over instances
/// would count it more than once; the name says so.
const CLUSTER: &str = "sluice_cluster";
/// Names what is this process's own.
const INSTANCE: &str = "sluice";
/// Ends the help of what is named by [`CLUSTER`].
const SAME_EVERYWHERE: &str = "of all instances; each tells the same: take the maximum, no sum";

/// Names and values that tell one point of a family from another.
pub type Labels = Vec<(&'static str, String)>;

/// What a figure is measured in, where that is more than a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// A number, whole where it is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// A measure.
    Real(f64),
}

/// Figures of one name.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name, without its unit.
    pub name: String,
    /// What it tells.
    pub help: String,
    /// What it is measured in.
    pub unit: Option<Unit>,
    /// Whether every instance tells the same. Else it begins at zero with the process.
    pub is_shared: bool,
    /// The figures.
    pub points: Points,
}

/// Figures of one kind.
#[derive(Clone, Debug)]
pub enum Points {
    /// Only grows.
    Counters(Vec<(Labels, Number)>),
    /// Go up and down.
    Gauges(Vec<(Labels, f64)>),
    /// Says something in words.
    Info(Labels),
    /// How values lie.
    Histograms(Vec<(Labels, Buckets)>),
}

impl Unit {
    /// As names end that have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

impl Family {
    /// Its name with what its unit and its kind add to it.
    pub fn full_name(&self) -> String {
        match (&self.points, self.unit) {
            (Points::Info(_), _) => format!("{}_info", self.name),
            (_, Some(unit)) => format!("{}_{}", self.name, unit.name()),
            (_, None) => self.name.clone(),
        }
    }
}

/// All figures of this process. `shed` counts idle connections that made room, `ready` is what `/readyz` says.
pub(crate) fn families(
    snapshot: &Snapshot,
    metrics: &Metrics,
    shed: u64,
    ready: bool,
) -> Vec<Family> {
    let figures = Figures {
        snapshot,
        latencies: metrics.buckets(),
        spans_dropped: metrics.traces.dropped(),
        shed,
        ready,
    };
    let mut list = List(Vec::new());
    figures.cluster(&mut list);
    figures.shards(&mut list);
    figures.instance(&mut list);
    list.0
}

#[derive(Debug)]
struct Figures<'a> {
    snapshot: &'a Snapshot,
    latencies: Vec<(&'static str, Buckets)>,
    spans_dropped: u64,
    shed: u64,
    ready: bool,
}

impl Figures<'_> {
    /// What all instances share.
    fn cluster(&self, to: &mut List) {
        let Snapshot {
            counters,
            gauges,
            redis,
            ..
        } = self.snapshot;
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
            to.counter(CLUSTER, name, help, count);
        }
        to.family(
            CLUSTER,
            "loans_failed",
            "Failed attempts by their category",
            &counters.failed,
        );
        // An instance that has lost Redis knows what was. Whoever takes the greatest of all would believe it.
        if !redis.up {
            return;
        }
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
            to.gauge(CLUSTER, name, help, None, value as f64);
        }
        to.gauge(
            CLUSTER,
            "oldest_waiting",
            "Age of the oldest loan that is not decided",
            Some(Unit::Seconds),
            gauges.oldest_waiting_ms as f64 / 1000.0,
        );
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
            to.gauge(CLUSTER, name, help, Some(Unit::Bytes), bytes as f64);
        }
    }

    /// Redis shard by shard: one that is no cluster is one shard. There are no more labels than partitions and their replicas.
    fn shards(&self, to: &mut List) {
        type Figure = (&'static str, &'static str, Option<Unit>, fn(&Shard) -> f64);
        let RedisState {
            shards, replicas, ..
        } = &self.snapshot.redis;
        let figures: [Figure; 5] = [
            (
                "shard_queue_depth",
                "Loans of a shard that wait for a worker",
                None,
                |shard| shard.queue_depth as f64,
            ),
            (
                "shard_unrecorded",
                "Results of a shard that MongoDB has not confirmed",
                None,
                |shard| shard.unrecorded as f64,
            ),
            (
                "shard_oldest_waiting",
                "Age of a shard's oldest loan that is not decided",
                Some(Unit::Seconds),
                |shard| shard.oldest_waiting_ms as f64 / 1000.0,
            ),
            (
                "shard_used_memory",
                "used_memory of a shard",
                Some(Unit::Bytes),
                |shard| shard.used_memory_bytes as f64,
            ),
            (
                "shard_max_memory",
                "maxmemory of a shard, 0 for none",
                Some(Unit::Bytes),
                |shard| shard.max_memory_bytes as f64,
            ),
        ];
        for (name, help, unit, value) in figures {
            // Of one that is out of reach, what was is known. Whoever takes the greatest of all would believe it.
            let known = shards.iter().filter(|shard| shard.up);
            let gauges = known.map(|shard| {
                let labels = vec![("shard", shard.address.clone())];
                (labels, value(shard))
            });
            to.add(CLUSTER, name, help, unit, Points::Gauges(gauges.collect()));
        }
        let node = |address: &str, role: &str, is: bool| {
            let labels = vec![("node", address.to_owned()), ("role", role.to_owned())];
            (labels, f64::from(u8::from(is)))
        };
        let masters = shards.iter();
        let durable = masters
            .clone()
            .map(|shard| node(&shard.address, "master", shard.durable));
        let durable = Points::Gauges(durable.collect());
        let replicas = replicas.iter();
        let up = masters
            .map(|shard| node(&shard.address, "master", shard.up))
            .chain(replicas.map(|replica| node(&replica.address, "replica", replica.up)));
        let up = Points::Gauges(up.collect());
        for (name, help, gauges) in [
            (
                "redis_node_up",
                "Whether a node answers this instance, and, as a master, takes loans",
                up,
            ),
            (
                "redis_node_durable",
                "Whether what a master confirms to this instance survives",
                durable,
            ),
        ] {
            to.add(INSTANCE, name, help, None, gauges);
        }
    }

    /// What is this process's own: it begins at zero with the process, and may be summed.
    fn instance(&self, to: &mut List) {
        let Snapshot {
            counters,
            gauges,
            redis,
            mongodb,
            process,
            version,
            git_commit,
            ..
        } = self.snapshot;
        to.info(
            "build",
            "What this instance was built from",
            vec![("version", version.clone()), ("commit", git_commit.clone())],
        );
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
            (
                "spans_dropped",
                "Spans of traces that the collector did not take in time",
                self.spans_dropped,
            ),
        ] {
            to.counter(INSTANCE, name, help, count);
        }
        to.family(
            INSTANCE,
            "requests_rejected",
            "Loan requests that this instance refused",
            &counters.rejected,
        );
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
            to.gauge(INSTANCE, name, help, None, value as f64);
        }
        // By the names that Prometheus's own libraries give them.
        to.gauge(
            "process",
            "resident_memory",
            "Resident memory",
            Some(Unit::Bytes),
            process.rss_bytes as f64,
        );
        to.gauge(
            "process",
            "open_fds",
            "Open file descriptors",
            None,
            process.open_files as f64,
        );
        to.add(
            "process",
            "cpu",
            "Processor time, user and system",
            Some(Unit::Seconds),
            Points::Counters(vec![(Labels::new(), Number::Real(process.cpu_seconds))]),
        );
        let latencies = self.latencies.iter().map(|(step, buckets)| {
            let labels = vec![("step", (*step).to_owned())];
            (labels, buckets.clone())
        });
        to.add(
            INSTANCE,
            "latency",
            "Latency of each step on this instance",
            Some(Unit::Seconds),
            Points::Histograms(latencies.collect()),
        );
    }
}

/// Gathers families.
struct List(Vec<Family>);

impl List {
    fn counter(&mut self, scope: &str, name: &str, help: &str, count: u64) {
        let counters = vec![(Labels::new(), Number::Whole(count))];
        self.add(scope, name, help, None, Points::Counters(counters));
    }

    fn gauge(&mut self, scope: &str, name: &str, help: &str, unit: Option<Unit>, value: f64) {
        self.add(
            scope,
            name,
            help,
            unit,
            Points::Gauges(vec![(Labels::new(), value)]),
        );
    }

    /// A counter for each `errorType`.
    fn family(&mut self, scope: &str, name: &str, help: &str, counts: &BTreeMap<String, u64>) {
        let counters = counts.iter().map(|(error_type, count)| {
            let labels = vec![("error_type", error_type.clone())];
            (labels, Number::Whole(*count))
        });
        self.add(
            scope,
            name,
            help,
            None,
            Points::Counters(counters.collect()),
        );
    }

    fn info(&mut self, name: &str, help: &str, labels: Labels) {
        self.add(INSTANCE, name, help, None, Points::Info(labels));
    }

    fn add(&mut self, scope: &str, name: &str, help: &str, unit: Option<Unit>, points: Points) {
        let is_shared = scope == CLUSTER;
        self.0.push(Family {
            name: format!("{scope}_{name}"),
            help: if is_shared {
                format!("{help}, {SAME_EVERYWHERE}")
            } else {
                help.to_owned()
            },
            unit,
            is_shared,
            points,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Traces;

    /// Whoever asks all instances takes the greatest: one that has lost Redis must not tell what it knew last.
    #[test]
    fn without_redis_there_are_no_gauges_of_all_instances() {
        let names = |up| {
            let mut snapshot = Snapshot::default();
            snapshot.redis.up = up;
            let metrics = Metrics::traced(Traces::default());
            let families = families(&snapshot, &metrics, 0, up);
            let names: Vec<_> = families.iter().map(Family::full_name).collect();
            [
                "sluice_cluster_queue_depth",
                "sluice_cluster_paused",
                "sluice_cluster_redis_used_memory_bytes",
                "sluice_cluster_loans_admitted",
            ]
            .map(|name| names.iter().any(|known| known == name))
        };
        assert_eq!(names(true), [true; 4]);
        assert_eq!(names(false), [false, false, false, true]);
    }
}
