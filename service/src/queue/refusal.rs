//! What an error of Redis says about the call: that it did not run, or nothing.

use std::fmt;

use redis::RedisError;

use crate::error::ServiceError;

/// Why a call did not run. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Redis is at its bound of memory.
    Full,
    /// No connection could be made.
    Unreachable(String),
    /// This Redis is not, or no longer, the one to write to: a replica, another node's slot, or cut off from its cluster.
    Elsewhere(String),
    /// It cannot write now: it loads its data, lacks replicas, is busy, has a full disk, or the slot is on its way.
    NotNow(String),
    /// What the call needs in it could not be made: why.
    Unprepared(String),
    /// It lets this user not do this.
    NotPermitted(String),
    /// It holds a queue of another version, or of another number of partitions.
    OtherQueue {
        /// The version of its data.
        version: String,
        /// Its number of partitions.
        partitions: String,
    },
    /// It holds loans of a former version of the service.
    FormerQueue {
        /// How many.
        loans: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("Redis is full (maxmemory)"),
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::Elsewhere(why)
            | Self::NotNow(why)
            | Self::Unprepared(why)
            | Self::NotPermitted(why) => f.write_str(why),
            Self::FormerQueue { loans } => write!(
                f,
                "it holds {loans} loans of a former version of the service, which this one cannot read: start that one, let it drain, and retry or correct its failed loans first"
            ),
            Self::OtherQueue {
                version,
                partitions,
            } => write!(
                f,
                "it holds a queue of version {version} with {partitions} partitions: start with --partitions {partitions}, or drain it and start once with --repartition"
            ),
        }
    }
}

impl Refusal {
    /// What `error`, the answer to a call, says, if it says that the call did not run.
    pub(super) fn of(error: &RedisError) -> Option<Self> {
        let text = error.to_string();
        // A function's own error is told as `ERR ... script: ...`, with its code inside.
        let has = |code: &str| error.code() == Some(code) || detail_has(error, code);
        if has("OTHERQUEUE") {
            let detail = error.detail().unwrap_or_default();
            let mut words = detail.split_whitespace();
            return Some(Self::OtherQueue {
                version: words.next().unwrap_or("?").to_owned(),
                partitions: words.next().unwrap_or("?").to_owned(),
            });
        }
        if has("OOM") {
            return Some(Self::Full);
        }
        if ["READONLY", "MOVED", "ASK", "CLUSTERDOWN"]
            .into_iter()
            .any(has)
        {
            return Some(Self::Elsewhere(text));
        }
        let not_now = [
            "LOADING",
            "NOREPLICAS",
            "MASTERDOWN",
            "BUSY",
            "TRYAGAIN",
            "MISCONF",
        ];
        if not_now.into_iter().any(has) {
            return Some(Self::NotNow(text));
        }
        ["NOPERM", "NOAUTH", "WRONGPASS"]
            .into_iter()
            .any(has)
            .then_some(Self::NotPermitted(text))
    }
}

/// Some refusals come as the detail of a plain `ERR`.
fn detail_has(error: &RedisError, code: &str) -> bool {
    error
        .detail()
        .is_some_and(|detail| detail.strip_prefix('-').unwrap_or(detail).starts_with(code))
}

/// Whether Redis said that the functions or the partition's keys are not there.
pub(super) fn is_unprepared(error: &RedisError) -> bool {
    error.code() == Some("UNPREPARED")
        || detail_has(error, "UNPREPARED")
        || is_without_function(error)
}

/// Whether Redis said that a function is not there.
pub(super) fn is_without_function(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}

/// The error of a call that was not sent, since what it needs before was refused or broke off.
pub(super) fn unsent(error: ServiceError) -> ServiceError {
    ServiceError::RedisRefused(match error {
        ServiceError::RedisRefused(refusal) => refusal,
        ServiceError::Redis(error) if error.code().is_none() => {
            Refusal::Unreachable(error.to_string())
        }
        error => {
            // Redis repeats what it was sent.
            let words = error.to_string();
            let words = words.split(", with args").next().unwrap_or_default();
            Refusal::Unprepared(words.to_owned())
        }
    })
}

/// The error of a call that reached Redis, or may have.
pub(super) fn told(error: RedisError) -> ServiceError {
    match Refusal::of(&error) {
        Some(refusal) => ServiceError::RedisRefused(refusal),
        None => ServiceError::Redis(error),
    }
}
