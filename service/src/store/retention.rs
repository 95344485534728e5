//! How long what is recorded is kept: for ever, unless it is set. MongoDB removes what is older.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};

use super::{READ_TIMEOUT, Store, within};
use crate::error::ServiceError;

/// The name of the index that makes MongoDB remove what is old.
const NAME: &str = "retention";
/// MongoDB's codes: an index of this name has other settings; there is no such index; there is no such collection.
const OTHER_INDEX: [i32; 2] = [85, 86];
const NONE_SUCH: [i32; 2] = [27, 26];

/// How long each kind of record is kept; `None`: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Accepted loans, since they were decided.
    pub loans: Option<Duration>,
    /// Failures, since they wait no longer: retried, discarded, or of a kind that nobody can retry.
    pub failures: Option<Duration>,
}

impl Store {
    /// How long MongoDB keeps accepted loans; `None`: for ever.
    ///
    /// # Errors
    /// MongoDB out of reach or silent, or without the right to.
    pub async fn loans_kept(&self) -> Result<Option<Duration>, ServiceError> {
        let find = async {
            let mut indexes = match self.loans.list_indexes().await {
                Err(error) if code(&error).is_some_and(|code| NONE_SUCH.contains(&code)) => {
                    return Ok(None);
                }
                indexes => indexes?,
            };
            while let Some(index) = indexes.try_next().await? {
                let options = index.options.unwrap_or_default();
                if options.name.as_deref() == Some(NAME) {
                    return Ok(options.expire_after);
                }
            }
            Ok(None)
        };
        within(READ_TIMEOUT, find).await
    }

    /// Has MongoDB keep records for so long. Safe to repeat; the last word counts.
    ///
    /// # Errors
    /// MongoDB out of reach or silent, or without the right to.
    pub async fn set_retention(&self, retention: Retention) -> Result<(), ServiceError> {
        let set = async {
            keep(&self.loans, doc! { "processedAt": 1 }, retention.loans).await?;
            // What waits has no end, and so is never removed.
            keep(&self.failures, doc! { "endedAt": 1 }, retention.failures).await
        };
        within(READ_TIMEOUT * 12, set).await
    }
}

async fn keep<T: Send + Sync>(
    collection: &Collection<T>,
    keys: Document,
    kept: Option<Duration>,
) -> Result<(), Error> {
    let Some(kept) = kept else {
        return drop_index(collection).await;
    };
    let options = IndexOptions::builder()
        .name(NAME.to_owned())
        .expire_after(kept)
        .build();
    let index = IndexModel::builder().keys(keys).options(options).build();
    match collection.create_index(index.clone()).await {
        Err(error) if code(&error).is_some_and(|code| OTHER_INDEX.contains(&code)) => {
            drop_index(collection).await?;
            collection.create_index(index).await.map(drop)
        }
        made => made.map(drop),
    }
}

async fn drop_index<T: Send + Sync>(collection: &Collection<T>) -> Result<(), Error> {
    match collection.drop_index(NAME).await {
        Err(error) if code(&error).is_some_and(|code| NONE_SUCH.contains(&code)) => Ok(()),
        dropped => dropped,
    }
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}
