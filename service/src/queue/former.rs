//! What a former version of the service may have left in Redis: its queue was streams of loans.

use redis::Value;
use redis::aio::MultiplexedConnection;

use super::refusal::told;
use super::{run, value};
use crate::error::ServiceError;

/// The streams of a partition: loans that wait, results that are not recorded, failed loans that wait for a retry.
const STREAMS: [&str; 8] = [
    "q",
    "done",
    "flog",
    "failed:missing_field",
    "failed:wrong_type",
    "failed:out_of_range",
    "failed:invalid_format",
    "failed:poison",
];

/// How many loans a queue of the former version holds, 0 where there is none. This version would never look at them.
pub(super) async fn loans(connection: &mut MultiplexedConnection) -> Result<u64, ServiceError> {
    let mut loans = 0;
    for partition in 0.. {
        let mut is_there = false;
        for stream in STREAMS {
            let mut len = redis::cmd("XLEN");
            len.arg(format!("{{l:{partition}}}:{stream}"));
            let len = match run(connection, &len).await {
                // The former version knew no cluster.
                Err(error) if error.code() == Some("MOVED") => return Ok(0),
                len => value::count(&len.map_err(told)?)?,
            };
            is_there |= len > 0;
            loans += len;
        }
        let mut counters = redis::cmd("EXISTS");
        counters.arg(format!("{{l:{partition}}}:m"));
        is_there |= run(connection, &counters).await.map_err(told)? != Value::Int(0);
        if !is_there {
            break;
        }
    }
    Ok(loans)
}
