//! The live snapshot: the one object that `GET /api/metrics`, `/ws` and the harness share.
//!
//! Counters that many instances add to live in Redis and survive a restart. The process's own
//! figures (`received`, `rejected`, latencies, `process`) start at zero with the process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod work;

pub use work::{FailureFilter, Task, TaskPhase, WorkKind};

/// The categories that a loan can fail in: the keys of [`Counters::failed`].
pub const FAILURE_CATEGORIES: [&str; 8] = [
    "missing_field",
    "wrong_type",
    "out_of_range",
    "invalid_format",
    "poison",
    "conflict",
    "refused",
    "unreadable",
];

/// Why a request can be refused: the keys of [`Counters::rejected`], the `errorType` of the answer.
pub const REJECTION_TYPES: [&str; 40] = [
    "malformed_request",
    "invalid_utf8",
    "malformed_json",
    "too_deep",
    "not_an_object",
    "duplicate_key",
    "invalid_loan_id",
    "truncated_body",
    "invalid_body",
    "invalid_parameter",
    "unauthorized",
    "forbidden",
    "role_forbids",
    "too_many_attempts",
    "foreign_origin",
    "not_found",
    "method_not_allowed",
    "request_timeout",
    "task_running",
    "more_than_confirmed",
    "task_over",
    "export_expired",
    "body_too_large",
    "unsupported_media_type",
    "unknown_host",
    "loan_id_conflict",
    "head_too_large",
    "not_a_web_socket",
    "paused",
    "overloaded",
    "queue_unavailable",
    "store_unavailable",
    "unreadable_record",
    "draining",
    "not_ready",
    "too_many_web_sockets",
    "too_many_connections",
    "too_many_exports",
    "too_many_slow_readers",
    "too_many_slow_senders",
];

/// Everything that is known about the service at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// When it was taken, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The instance that took it.
    pub instance: String,
    /// Version of the service.
    pub version: String,
    /// Commit that the binary was built from, or `unknown`.
    pub git_commit: String,
    /// Seconds since the process started.
    pub uptime_seconds: f64,
    /// Sums since the queue was created.
    pub counters: Counters,
    /// Values at this instant.
    pub gauges: Gauges,
    /// Changes per second over the last second.
    pub rates: Rates,
    /// Latencies in microseconds since the process started.
    pub latency_us: Latencies,
    /// Latencies in microseconds over the last whole second.
    pub recent_latency_us: RecentLatencies,
    /// How Redis is.
    pub redis: RedisState,
    /// How MongoDB is.
    pub mongodb: MongoState,
    /// What the process uses.
    pub process: ProcessState,
    /// What is amiss, the oldest first. Nothing when all is well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<Degraded>,
}

/// Something that is amiss.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Degraded {
    /// `redis`, `shard`, `durability`, `memory`, `rollback`, `mongodb` or `recording`.
    pub what: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub since: String,
    /// What it means, in words.
    pub detail: String,
}

/// Sums that only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Loan requests that reached this instance with a whole head.
    pub received: u64,
    /// Loans put in the queue, each once.
    pub admitted: u64,
    /// Requests that repeated a known loan.
    pub replayed: u64,
    /// Requests that this instance refused, by `errorType`.
    pub rejected: BTreeMap<String, u64>,
    /// Loans that a worker decided: `accepted` plus all of `failed`.
    pub processed: u64,
    /// Loans that passed validation.
    pub accepted: u64,
    /// Loans that failed, by category.
    pub failed: BTreeMap<String, u64>,
    /// The applicants with the most failures, most first, at most 20. Among more than 10,000
    /// applicants with failures, the rarest are forgotten: then a count may be too low.
    pub failed_by_applicant: Vec<ApplicantCount>,
    /// Failed loans that were queued again.
    pub retried: u64,
    /// Failed loans that operators have finished.
    #[serde(default)]
    pub discarded: u64,
    /// Accepted loans that MongoDB has confirmed.
    pub recorded_loans: u64,
    /// Failures that MongoDB has confirmed.
    pub recorded_failures: u64,
    /// Loans taken over from a worker or a recorder that went silent.
    pub redelivered: u64,
    /// Commits that came second for their loan and were dropped.
    pub lost_commit_races: u64,
    /// Records that MongoDB already held.
    pub duplicate_keys: u64,
    /// Loans whose bundle nobody can read: Redis keeps it aside.
    #[serde(default)]
    pub set_aside: u64,
    /// Admissions that Redis had confirmed to this instance and does not know any more.
    #[serde(default)]
    pub rolled_back: u64,
}

/// One applicant's failures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicantCount {
    /// The applicant's e-mail address.
    pub applicant: String,
    /// Failed attempts.
    pub count: u64,
}

/// Values at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gauges {
    /// Loans that wait for a worker.
    pub queue_depth: u64,
    /// Loans that a worker holds.
    pub in_flight: u64,
    /// Results that MongoDB has not confirmed yet.
    pub unrecorded: u64,
    /// Failed loans that wait: for a retry, a correction or a discard.
    pub failed_waiting: u64,
    /// Age of the oldest loan that no worker has decided, in milliseconds; 0 if there is none.
    pub oldest_waiting_ms: u64,
    /// Workers of all instances.
    pub workers: u64,
    /// The most workers that all instances together may run.
    pub workers_max: u64,
    /// Workers of this instance.
    pub workers_here: u64,
    /// Instances that are alive, whatever their roles.
    pub instances: u64,
    /// Open HTTP connections of this instance.
    pub connections: u64,
    /// WebSocket clients of this instance.
    pub web_socket_clients: u64,
    /// Whether ingestion is paused, for every instance.
    pub paused: bool,
}

/// Changes per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Requests received by this instance.
    pub received: f64,
    /// Loans admitted.
    pub admitted: f64,
    /// Loans processed.
    pub processed: f64,
    /// Loans and failures confirmed by MongoDB.
    pub recorded: f64,
}

/// The latency of each step, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latencies {
    /// From the whole body to Redis's confirmation.
    pub admit: Percentiles,
    /// From the whole body to a worker's claim.
    pub queue_wait: Percentiles,
    /// Validation and enrichment of one batch.
    pub process: Percentiles,
    /// From the end of processing to Redis's confirmation of the commit, per batch.
    pub commit: Percentiles,
    /// One batch's write to MongoDB, until it is confirmed.
    pub record: Percentiles,
    /// From the whole body to MongoDB's confirmation.
    pub end_to_end: Percentiles,
}

/// What a client waits for and what a loan takes, over the last whole second: what a chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentLatencies {
    /// From the whole body to Redis's confirmation.
    pub admit: Percentiles,
    /// From the whole body to MongoDB's confirmation.
    pub end_to_end: Percentiles,
}

/// Percentiles of one latency, in microseconds. All zero while `count` is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// Redis as the service sees it: of a cluster all nodes together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisState {
    /// Whether it answered last and takes writes; of a cluster at least one shard.
    pub up: bool,
    /// Its version; where nodes differ all of them, with commas between.
    pub version: String,
    /// `always`, `everysec`, `no`, or `off` without an append-only file.
    pub appendfsync: String,
    /// Whether what it confirms survives `kill -9` and a power cut: `weaknesses` is empty.
    pub durable: bool,
    /// Each setting by which a confirmed loan could be lost, with what it has to be.
    #[serde(default)]
    pub weaknesses: Vec<String>,
    /// Why it takes no loans, while it does not; of a cluster why a shard does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// `used_memory`.
    pub used_memory_bytes: u64,
    /// `maxmemory`, 0 for none.
    pub max_memory_bytes: u64,
    /// Whether it is a Redis Cluster.
    #[serde(default)]
    pub is_cluster: bool,
    /// The masters that hold the partitions; one without a cluster.
    #[serde(default)]
    pub shards: Vec<Shard>,
    /// The replicas of a cluster.
    #[serde(default)]
    pub replicas: Vec<Replica>,
}

/// A Redis with the partitions that it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// Its address.
    pub address: String,
    /// Its partitions' numbers.
    pub partitions: Vec<u64>,
    /// Whether it takes loans.
    pub up: bool,
    /// Why it takes none, while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Whether what it confirms survives `kill -9`, a power cut, and in a cluster the loss of a master.
    pub durable: bool,
    /// Its version.
    pub version: String,
    /// Loans that wait for a worker.
    pub queue_depth: u64,
    /// Results that MongoDB has not confirmed yet.
    pub unrecorded: u64,
    /// Age of the oldest loan that no worker has decided, in milliseconds; 0 if there is none.
    pub oldest_waiting_ms: u64,
    /// `used_memory`.
    pub used_memory_bytes: u64,
    /// `maxmemory`, 0 for none.
    pub max_memory_bytes: u64,
}

/// A node that follows a shard's master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// Its address.
    pub address: String,
    /// Whether it answers.
    pub up: bool,
}

/// MongoDB as the service sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MongoState {
    /// Whether it answered last.
    pub up: bool,
    /// Its version.
    pub version: String,
}

/// What this process uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessState {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time since the start, user and system.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_files: u64,
}

/// One second of the history. Latencies are of that second, 0 when there was nothing to measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is the snapshot's of the same name")]
pub struct Point {
    pub at_ms: u64,
    pub received: u64,
    pub admitted: u64,
    pub processed: u64,
    pub recorded: u64,
    pub failed: u64,
    pub queue_depth: u64,
    pub in_flight: u64,
    pub unrecorded: u64,
    pub workers: u64,
    pub admit_p50_us: u64,
    pub admit_p99_us: u64,
    pub end_to_end_p50_us: u64,
    pub end_to_end_p99_us: u64,
}

/// What `GET /api/history` answers, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Seconds between two points.
    #[serde(default)]
    pub step_seconds: u64,
    /// The points. Beyond half an hour each stands for a stretch: its sums are those of its end, its gauges the mean, its
    /// latencies the highest.
    pub points: Vec<Point>,
    /// What happened meanwhile, but for failures: those are in `/api/errors`.
    pub events: Vec<Event>,
}

/// Something that happened, told as it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kinds of [`Event`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum EventKind {
    /// The number of an instance's workers changed.
    #[serde(rename_all = "camelCase")]
    Scale {
        /// The instance.
        instance: String,
        /// Workers before.
        from: u64,
        /// Workers after.
        to: u64,
        /// Why, in words.
        reason: String,
    },
    /// A loan failed.
    #[serde(rename_all = "camelCase")]
    Failure {
        /// Its id.
        loan_id: String,
        /// Its category.
        error_type: String,
        /// Which attempt, 1 first.
        attempt: u32,
        /// The applicant's e-mail address, as far as it could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        applicant: Option<String>,
    },
    /// Ingestion was paused, for every instance.
    Pause {
        /// Who did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Ingestion was resumed, for every instance.
    Resume {
        /// Who did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Failed loans were queued again.
    Retry {
        /// How many.
        requeued: u64,
        /// Who did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Failed loans were finished by hand. Why stands in the record of activity: everybody hears an event.
    Discard {
        /// How many.
        discarded: u64,
        /// Who did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Redis does not know admissions any more that it had confirmed: it went back in time.
    RolledBack {
        /// The partition.
        partition: u64,
        /// How many calls of admission are gone.
        admissions: u64,
    },
    /// A load run told where it is.
    #[serde(rename_all = "camelCase")]
    Run {
        /// Names the run.
        run_id: String,
        /// The scenario's name.
        scenario: String,
        /// What the marker marks.
        marker: RunMarkerKind,
        /// The phase's or the fault's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The verdict, at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<String>,
        /// Response times as the clients see them, in microseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response_us: Option<Percentiles>,
    },
}

/// What a load run's marker marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunMarkerKind {
    /// The run begins.
    Start,
    /// A phase begins.
    Phase,
    /// A fault begins or ends.
    Fault,
    /// Only new response times.
    Latency,
    /// The run is over.
    End,
}

/// One WebSocket message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Message {
    /// The first message: up to the last five minutes, a point a second, oldest first.
    History {
        /// The points.
        points: Vec<Point>,
    },
    /// Sent five times a second.
    Snapshot {
        /// The snapshot.
        snapshot: Box<Snapshot>,
    },
    /// Sent as it happens.
    Event {
        /// The event.
        event: Event,
    },
    /// Work on many loans, the newest first: sent at first, and whenever it has gone on.
    Tasks {
        /// The work of the last day, at most 70.
        tasks: Vec<Task>,
    },
}
