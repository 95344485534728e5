//! What can go wrong around a loan, by the side that it went wrong on.

use mongodb::error::ErrorKind;
use thiserror::Error;

use crate::queue::bundle::Unreadable;
use crate::queue::refusal::Refusal;

/// An error of the service's own work. It says on which side, and whether anything may have been written.
#[derive(Clone, Debug, Error)]
pub enum ServiceError {
    /// Redis said that it did not run the call. Nothing was written.
    #[error("Redis refused: {0}")]
    RedisRefused(Refusal),
    /// Redis failed or broke off. The outcome of a write is unknown.
    #[error("Redis: {0}")]
    Redis(redis::RedisError),
    /// Redis did not answer in time. The outcome of a write is unknown.
    #[error("Redis did not answer within {0:?}")]
    RedisTimeout(std::time::Duration),
    /// Redis answered something that this version does not understand.
    #[error("Redis answered in an unknown shape: {0}")]
    RedisReply(&'static str),
    /// The address of Redis cannot be used: what it has to be.
    #[error("{0}")]
    RedisAddress(&'static str),
    /// The settings of TLS to Redis cannot be used.
    #[error("TLS to Redis: {0}")]
    RedisTls(String),
    /// What Redis keeps of a loan cannot be read.
    #[error("a bundle of loans cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// MongoDB refused or failed. The outcome of a write is unknown.
    #[error("MongoDB: {0}")]
    Mongo(#[source] mongodb::error::Error),
    /// MongoDB holds what this version did not write so. What stands there is not told: it may be personal.
    #[error("MongoDB holds a record that this version cannot read: {0}")]
    UnreadableRecord(String),
    /// MongoDB answered something that ends a write without a result, or that this version does not understand.
    #[error("MongoDB: {0}")]
    MongoReply(&'static str),
    /// A collection of MongoDB cannot hold the record.
    #[error("MongoDB: {0}")]
    UnfitCollection(String),
    /// MongoDB did not answer in time. The outcome of a write is unknown.
    #[error("MongoDB did not answer within {0:?}")]
    MongoTimeout(std::time::Duration),
}

impl From<mongodb::error::Error> for ServiceError {
    fn from(error: mongodb::error::Error) -> Self {
        match &*error.kind {
            ErrorKind::BsonDeserialization(error) | ErrorKind::Bson(error) => {
                Self::UnreadableRecord(lack(error.message.as_deref().unwrap_or_default()))
            }
            _ => Self::Mongo(error),
        }
    }
}

/// What a record lacks, by serde's words, of which those that repeat what stands there are left out.
fn lack(message: &str) -> String {
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("the field {field} is missing");
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("a value is not what it was written as: {expected}"),
        None => "its form is another".to_owned(),
    }
}

impl ServiceError {
    /// Whether MongoDB was the reason.
    pub fn is_of_mongodb(&self) -> bool {
        matches!(
            self,
            Self::Mongo(_)
                | Self::MongoReply(_)
                | Self::MongoTimeout(_)
                | Self::UnreadableRecord(_)
                | Self::UnfitCollection(_)
        )
    }

    /// What MongoDB's driver finds wrong with an address or its options, in its words.
    pub(crate) fn argument_fault(&self) -> Option<&str> {
        match self {
            Self::Mongo(error) => match &*error.kind {
                ErrorKind::InvalidArgument { message, .. } => Some(message),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it is certain that nothing was written.
    pub fn has_not_run(&self) -> bool {
        matches!(self, Self::RedisRefused(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_record_is_not_repeated() {
        for (message, told) in [
            (
                "missing field `applicant`",
                "the field `applicant` is missing",
            ),
            (
                "invalid type: string \"ada@example.org, expected nothing\", expected u32",
                "a value is not what it was written as: u32",
            ),
            ("ada@example.org", "its form is another"),
        ] {
            assert_eq!(lack(message), told);
        }
    }
}
