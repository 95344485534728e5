//! Every bound on what a client or a neighbour controls, and how the bounds relate.

use std::time::Duration;

/// Largest request body unless set, in bytes.
pub const BODY_LEN_MAX: usize = 64 * 1024;
/// Deepest nesting of a request body.
pub const JSON_DEPTH_MAX: usize = 32;
/// A client has this long to send a request's head, also on an idle keep-alive connection.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A client has this long to send a request's body.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Most loans that wait inside one process for admission; more are answered 503.
pub const ADMISSION_WAITING_MAX: usize = 16 * 1024;
/// Most loans in one call of the admission function.
pub const ADMISSION_BATCH_LEN_MAX: usize = 512;
/// Most body bytes in one call of the admission function.
pub const ADMISSION_BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Admission calls under way at once on one connection: while Redis flushes one batch to disk, the
/// next is already on its way.
pub const ADMISSION_BATCHES_IN_FLIGHT: usize = 2;
/// Batches of loans that wait to be looked up in MongoDB; what comes beyond them is answered 503.
pub const LOOK_UPS_WAITING_MAX: usize = 64;
/// A call that writes to Redis may take this long before its outcome counts as unknown, unless set.
pub const REDIS_TIMEOUT: Duration = Duration::from_secs(10);
/// Redis has this long to accept a connection.
pub const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Loans that a worker claims at once.
pub const CLAIM_LEN_MAX: usize = 256;
/// A worker that found fewer waits this long before it asks again. Each claim and each commit costs
/// Redis a flush to disk, which admission then waits for: gathering keeps admission fast, and is
/// short beside the time that results gather before they are recorded.
pub const CLAIM_GATHER: Duration = Duration::from_millis(25);
/// Records written to MongoDB in one call.
pub const RECORD_BATCH_LEN_MAX: usize = 1_000;
/// MongoDB has this long to confirm a batch before its outcome counts as unknown, unless set.
pub const RECORD_TIMEOUT: Duration = Duration::from_secs(30);
/// A loan that was delivered this often without a result is set aside as `poison`.
pub const DELIVERIES_MAX: u64 = 5;
/// WebSocket clients at once.
pub const WEB_SOCKET_CLIENTS_MAX: usize = 256;
/// Applicants whose failures are counted by name.
pub const APPLICANTS_COUNTED_MAX: usize = 4_096;
/// A drain gives up after this long.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

const _: () = assert!(ADMISSION_BATCH_LEN_MAX <= ADMISSION_WAITING_MAX);
const _: () = assert!(BODY_LEN_MAX <= ADMISSION_BATCH_BYTES_MAX);
