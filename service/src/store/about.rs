//! What MongoDB knows of the queue that belongs to it: its partitions, and how far each has come. With it a queue of
//! another shape, or one that went back in time, is noticed.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};
use futures_util::StreamExt as _;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use mongodb::options::ReadConcern;

use super::command::Refused;
use super::{READ_TIMEOUT, Store, text, whole, within};
use crate::error::ServiceError;

/// The document about the queue as a whole.
const QUEUE: &str = "queue";

fn partition_id(partition: usize) -> String {
    format!("partition-{partition}")
}

impl Store {
    /// What is noted of the queue that belongs to this record.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn queue_note(&self) -> Result<QueueNote, ServiceError> {
        let find = self.queue.find_one(doc! { "_id": QUEUE });
        let about = within(READ_TIMEOUT, find.into_future()).await?;
        Ok(about.as_ref().map(QueueNote::of).unwrap_or_default())
    }

    /// Notes the number of partitions, and the name of the pair that queue and record are, each where none is noted. Answers
    /// the name that is noted then.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn note_queue(&self, partitions: u32, pair: &str) -> Result<String, ServiceError> {
        let where_none =
            |field: &str, value: Bson| doc! { "$ifNull": [format!("${field}"), value] };
        let set = doc! { "$set": {
            "partitions": where_none("partitions", i64::from(partitions).into()),
            "pair": where_none("pair", pair.into()),
        } };
        let note = self
            .queue
            .find_one_and_update(doc! { "_id": QUEUE }, vec![set])
            .upsert(true)
            .return_document(mongodb::options::ReturnDocument::After);
        let about = within(READ_TIMEOUT, note.into_future()).await?;
        let note = about.as_ref().map(QueueNote::of).unwrap_or_default();
        note.pair.ok_or(ServiceError::MongoReply(
            "its note about the queue has no name",
        ))
    }

    /// What the record is called in a message.
    pub fn place(&self) -> String {
        format!("the database \"{}\" at --mongodb-uri", self.database.name())
    }

    /// Notes another number of partitions, for a queue that is empty.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn set_partitions(&self, partitions: u32) -> Result<(), ServiceError> {
        let change = async {
            // How far the former partitions came says nothing about the new ones.
            self.queue
                .delete_many(doc! { "_id": { "$ne": QUEUE } })
                .await?;
            self.queue
                .update_one(
                    doc! { "_id": QUEUE },
                    doc! { "$set": { "partitions": i64::from(partitions) } },
                )
                .upsert(true)
                .await
        };
        within(READ_TIMEOUT, change).await.map(drop)
    }

    /// Notes how many loans and failures each of these partitions has freed in all.
    ///
    /// # Errors
    /// MongoDB out of reach or silent; some may be noted.
    pub async fn note_recorded(&self, recorded: &BTreeMap<usize, u64>) -> Result<(), ServiceError> {
        let updates: Vec<_> = recorded
            .iter()
            .map(|(partition, recorded)| {
                doc! {
                    "q": { "_id": partition_id(*partition) },
                    "u": { "$max": { "recorded": *recorded as i64 } },
                    "upsert": true,
                }
            })
            .collect();
        let update = self.database.run_command(doc! {
            "update": self.queue.name(),
            "updates": updates,
            "ordered": false,
            // Else a change of primary could take it back, as if the record had gone back in time.
            "writeConcern": { "w": "majority" },
        });
        let answer = within(READ_TIMEOUT, update.into_future()).await?;
        if Refused::all_of(&answer)?.is_empty() {
            Ok(())
        } else {
            // Two instances made the same note at the same time.
            Err(ServiceError::MongoReply("it did not take all notes"))
        }
    }

    /// How many loans and failures a partition had freed when it was last noted.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn noted_recorded(&self, partition: usize) -> Result<u64, ServiceError> {
        let find = self.queue.find_one(doc! { "_id": partition_id(partition) });
        let note = within(READ_TIMEOUT, find.into_future()).await?;
        Ok(note
            .and_then(|note| whole(note.get("recorded")))
            .unwrap_or_default() as u64)
    }

    /// The ids of the loans of which a failed attempt waits for an operator.
    ///
    /// # Errors
    /// MongoDB out of reach; each item may fail too.
    pub async fn waiting_loan_ids(
        &self,
    ) -> Result<BoxStream<'static, Result<String, ServiceError>>, ServiceError> {
        let find = self
            .failures
            .find(doc! { "waiting": true })
            .projection(doc! { "loanId": 1, "_id": 0 })
            .batch_size(10_000)
            .read_concern(ReadConcern::majority());
        let found = within(READ_TIMEOUT, find.into_future()).await?;
        let ids = found.map_ok(|document| text(&document, "loanId").to_owned());
        Ok(ids.map_err(ServiceError::from).boxed())
    }

    /// The ids of all loans that MongoDB knows, accepted and failed. One may come twice.
    ///
    /// # Errors
    /// MongoDB out of reach; each item may fail too.
    pub async fn all_loan_ids(
        &self,
    ) -> Result<BoxStream<'static, Result<String, ServiceError>>, ServiceError> {
        let loans = self
            .loans
            .find(doc! {})
            .projection(doc! { "_id": 1 })
            .hint(mongodb::options::Hint::Keys(doc! { "_id": 1 }))
            .batch_size(10_000)
            .read_concern(ReadConcern::majority());
        let failures = self
            .failures
            .find(doc! {})
            .projection(doc! { "loanId": 1, "_id": 0 })
            .batch_size(10_000)
            .read_concern(ReadConcern::majority());
        let loans = within(READ_TIMEOUT, loans.into_future()).await?;
        let failures = within(READ_TIMEOUT, failures.into_future()).await?;
        let loans = loans.map_ok(|document| text(&document, "_id").to_owned());
        let failures = failures.map_ok(|document| text(&document, "loanId").to_owned());
        Ok(loans.chain(failures).map_err(ServiceError::from).boxed())
    }
}

/// What MongoDB notes of the queue that belongs to its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueNote {
    /// The number of partitions that the record was made with.
    pub partitions: Option<u32>,
    /// The name of the pair that queue and record are.
    pub pair: Option<String>,
}

impl QueueNote {
    fn of(about: &Document) -> Self {
        let partitions = whole(about.get("partitions"));
        Self {
            partitions: partitions.and_then(|number| u32::try_from(number).ok()),
            pair: about.get_str("pair").ok().map(str::to_owned),
        }
    }
}
