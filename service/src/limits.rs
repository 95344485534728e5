//! Bounds that several modules share, and how they relate. A bound that one module alone knows stands there.

use std::time::Duration;

/// Largest request body unless set, in bytes.
pub const BODY_LEN_MAX: usize = 64 * 1024;
/// Deepest nesting of a request body.
pub const JSON_DEPTH_MAX: usize = 32;
/// Largest head of a request, in bytes.
pub const HEAD_LEN_MAX: usize = 16 * 1024;
/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;
/// Bytes that one connection may have read or not yet sent, and so what is pipelined.
pub const CONNECTION_BUFFER_LEN_MAX: usize = 32 * 1024;
/// Bytes of an answer that are handed on at once. The rest is shared, or counts towards [`UNSENT_LEN_MAX`].
pub const PART_LEN_MAX: usize = 16 * 1024;
/// Bytes that all clients together may leave unread here. Beyond it, whoever reads slowly is let go.
pub const UNSENT_LEN_MAX: usize = 64 * 1024 * 1024;
/// Bytes of bodies that all clients together may have sent in part. Beyond it, whoever sends slowly is refused.
pub const GATHERED_LEN_MAX: usize = 64 * 1024 * 1024;
/// A client has this long to take an answer of more than one part.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of answers that the kernel keeps for a client; Linux doubles it.
pub const SEND_BUFFER_LEN: u32 = 64 * 1024;
/// Connections that wait in the kernel to be accepted.
pub const ACCEPT_BACKLOG: u32 = 4_096;
/// A client that takes nothing of an answer for this long is let go.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that is still sending when its connection ends is heard out for this long, so that it gets the answer ...
pub const LINGER_TIME: Duration = Duration::from_secs(2);
/// ... and for as many bytes.
pub const LINGER_LEN_MAX: usize = 16 * 1024 * 1024;
/// When there is no room for another connection, one whose client has said nothing this long may
/// be closed ...
pub const SHED_WAITING_AFTER: Duration = Duration::from_secs(1);
/// ... or one whose request has not been answered for this long: as a rule its body does not come.
pub const SHED_ANSWERING_AFTER: Duration = Duration::from_secs(5);
/// A connection that is to be closed has this long to end by itself.
pub const SHED_GRACE: Duration = Duration::from_millis(100);
/// Open files beside the clients' connections: to Redis, to MongoDB, and the process's own.
const FILES_RESERVED: usize = 256;

/// Open files beside the clients' connections. Each further partition has links of its own: for look-ups, recorders, the
/// filter, and each worker.
pub const fn files_reserved(partitions: u32, workers_max: u64) -> usize {
    let links = recorders(partitions) as usize + 2 + workers_max as usize;
    FILES_RESERVED + (partitions as usize - 1) * links
}

/// A client has this long to send a request's body.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Most loans that wait inside one process for admission to a partition; more are answered 503.
pub const ADMISSION_WAITING_MAX: usize = 16 * 1024;
/// Most loans in one call of the admission function.
pub const ADMISSION_BATCH_LEN_MAX: usize = 512;
/// Most body bytes in one call of the admission function.
pub const ADMISSION_BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Calls of admission under way at once in each partition ...
pub const ADMISSION_CALLS_MAX: usize = 2;
/// ... while those to one Redis are about no more loans than these; beside more of them, what comes gathers until they are over.
pub const ADMISSION_CALLS_LEN_MAX: usize = 16;
/// Whoever is not admitted by then gets a 503, unless set.
pub const ADMISSION_TIMEOUT: Duration = Duration::from_millis(2_500);
/// A call of admission is given at least this long, however long its loans have waited.
pub const ADMISSION_CALL_TIME_MIN: Duration = Duration::from_millis(100);
/// While Redis takes no loans, it is asked this often whether it does again.
pub const ADMISSION_PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// Loans that wait to be looked up in MongoDB; what comes beyond them is answered 503.
pub const LOOK_UPS_WAITING_MAX: usize = ADMISSION_WAITING_MAX;
/// Ids that go into a filter in one call while it is rebuilt: Redis serves others between two calls.
pub const FILTER_FILL_LEN: usize = 2_000;
/// Bytes of bundles that this process keeps until a worker of it claims them.
pub const CACHE_LEN_MAX: usize = 8 * 1024 * 1024;
/// Bytes of documents that wait in this process to be recorded.
pub const HANDOVER_LEN_MAX: usize = 16 * 1024 * 1024;
/// A partition of Redis that has said nothing so long does not answer. One that is slow still does: a request waits as long for
/// it, unless set otherwise.
pub const SILENT_AFTER: Duration = ADMISSION_TIMEOUT;
/// A call that writes to Redis may take this long before its outcome counts as unknown, unless set.
pub const REDIS_TIMEOUT: Duration = Duration::from_secs(10);
/// Redis has this long to accept a connection.
pub const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Loans that a worker claims at once.
pub const CLAIM_LEN_MAX: usize = 256;
/// A worker that found fewer waits this long before it asks again, and notes then what it has decided of them. Each such call
/// costs Redis a flush to disk, which admission then waits for: gathering keeps admission fast, and is short beside the time
/// that results gather before they are recorded.
pub const CLAIM_GATHER: Duration = Duration::from_millis(25);
/// A worker stays with one partition no longer than this while there are more loans, and then looks at the others.
pub const CLAIM_TURN: Duration = Duration::from_millis(250);
/// A worker that is told nothing looks again after this long.
pub const CLAIM_POLL: Duration = Duration::from_millis(25);

/// How long loans gather in a partition before this process claims them. The more partitions there are, the fewer loans
/// come to each, and the longer it takes until there are some.
pub const fn claim_gather(partitions: usize) -> Duration {
    let parts = if partitions < 4 { partitions } else { 4 };
    CLAIM_GATHER.saturating_mul(parts as u32)
}

/// A partition in which nothing is known to wait is asked this often: what another process admitted is found so, and what
/// somebody held who is lost. All partitions together cost as many such calls as one.
pub const fn claim_poll(partitions: usize) -> Duration {
    Duration::from_millis(40 * partitions as u64)
}

/// Recorders of each partition: while MongoDB writes for one, another takes the next, which may be one of another partition.
pub const fn recorders(partitions: u32) -> u8 {
    if partitions == 1 { 2 } else { 1 }
}
/// The number of the first of them among the tasks that hold leases; below it are the workers, of which there are no more.
pub const RECORDER_TASK: u8 = 250;
/// Loans written to MongoDB together, or one bundle that has more.
pub const RECORD_BATCH_LEN_MAX: usize = 1_000;
/// Batches on their way to MongoDB at once: while it makes one durable, the next comes.
pub const RECORD_WRITES_IN_FLIGHT: usize = 2;
/// MongoDB has this long to confirm a batch before its outcome counts as unknown, unless set.
pub const RECORD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of documents in one command to MongoDB; it takes 16 MB.
pub const RECORD_COMMAND_LEN_MAX: usize = 8 * 1024 * 1024;
/// The loans of a bundle that was given out more often than this are tried in a process apart first.
pub const DELIVERIES_TRUSTED: u8 = 3;
/// WebSocket clients at once.
pub const WEB_SOCKET_CLIENTS_MAX: usize = 256;
/// Places among them that are kept for whoever has a token.
pub const WEB_SOCKET_CLIENTS_KEPT: usize = 32;
/// Failed loans that one step of a retry queues again: Redis serves others between two steps.
pub const RETRY_STEP_LEN_MAX: usize = 100;
/// While so many loans wait for a worker, work on many failed loans queues no more of them.
pub const RETRY_AHEAD_MAX: u64 = 2_000;
/// Exports at once of one instance.
pub const EXPORTS_MAX: usize = 8;
/// The newest exports of one instance, of which it tells how far they are.
pub const EXPORTS_TOLD_MAX: usize = 20;
/// Parts of an export that wait for its client.
pub const EXPORT_PARTS_MAX: usize = 2;
/// Failed loans that one call of a retry queues again, unless it says fewer.
pub const RETRY_LEN_MAX: u64 = 10_000;
/// A retry waits this long for a failure that MongoDB does not hold yet.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Ids that one call of a retry may name.
pub const RETRY_IDS_MAX: usize = 1_000;
/// Bytes of an administrator's request beside a correction in it.
pub const ADMIN_BODY_LEN_MAX: usize = 128 * 1024;
/// Failures on one page of the error log.
pub const ERRORS_PAGE_LEN_MAX: u32 = 200;
/// Bytes of a text in a load run's marker.
pub const MARKER_TEXT_LEN_MAX: usize = 128;
/// An instance that has not been heard of this long is gone.
pub const INSTANCE_KEPT: Duration = Duration::from_secs(5);
/// New loans are refused when Redis has used this much of its memory, in percent: what was admitted
/// needs the rest to go its way.
pub const REDIS_MEMORY_PERCENT_MAX: u64 = 85;

/// Whether a Redis is so full that new loans are refused. 0 is no bound.
pub const fn is_filling(used_memory_bytes: u64, max_memory_bytes: u64) -> bool {
    let bound = max_memory_bytes / 100 * REDIS_MEMORY_PERCENT_MAX;
    max_memory_bytes > 0 && used_memory_bytes >= bound
}

/// A drain gives up after this long.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

const _: () = assert!(HEAD_LEN_MAX <= CONNECTION_BUFFER_LEN_MAX);
const _: () = assert!(ADMISSION_BATCH_LEN_MAX <= ADMISSION_WAITING_MAX);
const _: () = assert!(BODY_LEN_MAX <= ADMISSION_BATCH_BYTES_MAX);
