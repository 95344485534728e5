//! What can go wrong around a loan, by the side that it went wrong on.

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
    /// The settings of TLS to Redis cannot be used.
    #[error("TLS to Redis: {0}")]
    RedisTls(String),
    /// What Redis keeps of a loan cannot be read.
    #[error("a bundle of loans cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// MongoDB refused or failed. The outcome of a write is unknown.
    #[error("MongoDB: {0}")]
    Mongo(#[from] mongodb::error::Error),
    /// MongoDB answered something that ends a write without a result, or that this version does not understand.
    #[error("MongoDB: {0}")]
    MongoReply(&'static str),
    /// MongoDB did not answer in time. The outcome of a write is unknown.
    #[error("MongoDB did not answer within {0:?}")]
    MongoTimeout(std::time::Duration),
}

impl ServiceError {
    /// Whether MongoDB was the reason.
    pub fn is_of_mongodb(&self) -> bool {
        matches!(
            self,
            Self::Mongo(_) | Self::MongoReply(_) | Self::MongoTimeout(_)
        )
    }

    /// Whether it is certain that nothing was written.
    pub fn has_not_run(&self) -> bool {
        matches!(self, Self::RedisRefused(_))
    }
}
