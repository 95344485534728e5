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
    /// Another call found that this part of Redis does not answer, so this one was given up. The outcome of a write is unknown.
    #[error("Redis does not answer")]
    RedisSilent,
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
    #[error("MongoDB: {}", words_of(.0))]
    Mongo(mongodb::error::Error),
    /// MongoDB holds what this version did not write so. What stands there is not told: it may be personal.
    #[error("MongoDB holds a record that this version cannot read: {0}")]
    UnreadableRecord(String),
    /// MongoDB answered something that ends a write without a result, or that this version does not understand.
    #[error("MongoDB: {0}")]
    MongoReply(&'static str),
    /// MongoDB does not write a document now, and may later; why, without the document's values.
    #[error("MongoDB does not write some of a batch now: {0}")]
    MongoNotNow(String),
    /// A collection of MongoDB cannot hold the record.
    #[error("MongoDB: {0}")]
    UnfitCollection(String),
    /// Redis's queue and MongoDB's record do not belong together; how that is put right.
    #[error("{0}")]
    OtherRecord(String),
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

/// The longest that MongoDB's own words may be.
const WORDS_LEN_MAX: usize = 400;

/// What the driver says, up to where it repeats what the server has answered: values of keys, whole documents. They may be
/// somebody's data.
pub(crate) fn words_of(error: &mongodb::error::Error) -> String {
    shortened(&error.kind.to_string())
}

fn shortened(words: &str) -> String {
    let ends = ["dup key:", ", labels:", "server response:"];
    let end = ends.iter().filter_map(|end| words.find(end)).min();
    let words = &words[..end.unwrap_or(words.len())];
    words.trim_end().chars().take(WORDS_LEN_MAX).collect()
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
                | Self::MongoNotNow(_)
                | Self::MongoTimeout(_)
                | Self::UnreadableRecord(_)
                | Self::UnfitCollection(_)
                | Self::OtherRecord(_)
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

    /// Whether Redis answered that it will not do this, and neither that it cannot now nor that another must be asked.
    pub(crate) fn is_refusal_of_redis(&self) -> bool {
        match self {
            Self::Redis(error) => error.code().is_some(),
            Self::RedisRefused(refusal) => match refusal {
                Refusal::NotPermitted(_)
                | Refusal::Unprepared(_)
                | Refusal::OtherQueue { .. }
                | Refusal::FormerQueue { .. } => true,
                Refusal::Full
                | Refusal::Unreachable(_)
                | Refusal::Elsewhere(_)
                | Refusal::NotNow(_) => false,
            },
            _ => false,
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

    /// Values of keys, and the bytes of whole answers.
    #[test]
    fn what_a_server_answers_is_not_repeated() {
        for (words, told) in [
            (
                "Command failed: Error code 11000 (DuplicateKey): E11000 duplicate key error collection: sluice.loans index: one_each dup key: { applicant.email: \"ada@example.org\" }",
                "Command failed: Error code 11000 (DuplicateKey): E11000 duplicate key error collection: sluice.loans index: one_each",
            ),
            (
                "Server selection timeout: No available servers. Topology: { Error: Kind: Command failed: Error code 91, labels: {}, source: None, server response: Some(RawDocumentBuf { data: \"6164\" }) }",
                "Server selection timeout: No available servers. Topology: { Error: Kind: Command failed: Error code 91",
            ),
        ] {
            assert_eq!(shortened(words), told);
        }
        assert_eq!(shortened(&"ü".repeat(1_000)).chars().count(), WORDS_LEN_MAX);
    }

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
