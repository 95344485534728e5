//! What operators have changed, for good: the collection `activity` in MongoDB.
//!
//! A change is made whether or not MongoDB is there: its entry waits here until it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bson::oid::ObjectId;
use bson::{DateTime, doc};
use mongodb::{Collection, Database, IndexModel};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::error::ServiceError;
use crate::log::OPERATOR;
use crate::store::{READ_TIMEOUT, is_duplicate, is_of_the_document, readable, within};
use crate::task;

/// Entries that wait to be written.
const WAITING_MAX: usize = 1_000;

/// One change by an operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    #[serde(rename = "_id")]
    pub(crate) id: ObjectId,
    pub(crate) at: DateTime,
    /// Whose token it was.
    pub(crate) name: String,
    /// The client's address.
    pub(crate) address: String,
    /// What was done, such as `pause`.
    pub(crate) action: String,
    /// What came of it, in words of ours: without personal data.
    pub(crate) effect: String,
    /// Why, in the operator's words: no part of the log, since it may name somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) request_id: String,
}

/// A place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: DateTime,
    pub(crate) id: ObjectId,
}

/// The record of changes.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    collection: Collection<Entry>,
    waiting: mpsc::Sender<Entry>,
    unwritten: Arc<AtomicU64>,
}

impl Activity {
    /// Starts writing what is noted.
    pub(crate) fn start(database: &Database) -> Self {
        let (waiting, entries) = mpsc::channel(WAITING_MAX);
        let activity = Self {
            collection: database.collection("activity"),
            waiting,
            unwritten: Arc::default(),
        };
        let writing = write(
            activity.collection.clone(),
            entries,
            Arc::clone(&activity.unwritten),
        );
        task::spawn("activity", writing);
        activity
    }

    /// Notes a change. The log has it, too.
    pub(crate) fn note(&self, entry: Entry) {
        tracing::info!(
            target: OPERATOR,
            name = entry.name,
            address = entry.address,
            action = entry.action,
            effect = entry.effect,
            request_id = entry.request_id,
            "an operator's change"
        );
        self.unwritten.fetch_add(1, Ordering::Relaxed);
        if self.waiting.try_send(entry).is_err() {
            self.unwritten.fetch_sub(1, Ordering::Relaxed);
            tracing::error!("too many changes wait for MongoDB: this one stands in the log alone");
        }
    }

    /// The changes, newest first, that are older than `before`.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub(crate) async fn list(
        &self,
        before: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Entry>, ServiceError> {
        let filter = before.map_or_else(Default::default, |place| {
            doc! { "$or": [
                { "at": { "$lt": place.at } },
                { "at": place.at, "_id": { "$lt": place.id } },
            ] }
        });
        let asking = async {
            let found = self
                .collection
                .find(filter)
                .sort(newest_first())
                .batch_size(limit)
                .await?;
            readable(found, limit as usize).await
        };
        within(READ_TIMEOUT, asking).await
    }

    /// Waits until all is written, for at most `grace`; answers how many are not.
    pub(crate) async fn written(&self, grace: Duration) -> u64 {
        let all = async {
            while self.unwritten.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(grace, all).await;
        self.unwritten.load(Ordering::Relaxed)
    }
}

fn newest_first() -> bson::Document {
    doc! { "at": -1, "_id": -1 }
}

async fn write(
    collection: Collection<Entry>,
    mut entries: mpsc::Receiver<Entry>,
    unwritten: Arc<AtomicU64>,
) {
    let mut backoff = Backoff::default();
    let mut has_index = false;
    while let Some(entry) = entries.recv().await {
        loop {
            if !has_index {
                let index = IndexModel::builder().keys(newest_first()).build();
                let making = collection.create_index(index);
                has_index = within(READ_TIMEOUT, making.into_future()).await.is_ok();
            }
            let writing = collection.insert_one(&entry);
            match within(READ_TIMEOUT, writing.into_future()).await {
                Ok(_) => break,
                // An earlier try was confirmed to nobody.
                Err(error) if is_duplicate(&error) => break,
                Err(error) if is_of_the_document(&error) => {
                    tracing::error!(
                        %error,
                        action = entry.action,
                        request_id = entry.request_id,
                        "MongoDB refuses an operator's change for good: it stands in the log alone"
                    );
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "an operator's change waits for MongoDB");
                    backoff.wait().await;
                }
            }
        }
        backoff.reset();
        unwritten.fetch_sub(1, Ordering::Relaxed);
    }
}
