//! What can go wrong around a loan, by the side that it went wrong on.

use thiserror::Error;

/// An error of the service's own work. It says on which side, and whether trying again may help.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// Redis refused, failed or fell silent. The outcome of a write is unknown.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Redis answered something that this version does not understand.
    #[error("Redis answered in an unknown shape: {0}")]
    RedisReply(&'static str),
    /// MongoDB refused or failed. The outcome of a write is unknown.
    #[error("MongoDB: {0}")]
    Mongo(#[from] mongodb::error::Error),
    /// MongoDB did not answer in time. The outcome of a write is unknown.
    #[error("MongoDB did not answer within {0:?}")]
    MongoTimeout(std::time::Duration),
}
