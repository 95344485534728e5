//! The record: the only place that knows MongoDB.
//!
//! `loans` holds a document for each accepted loan, `failures` one for each failed attempt; the `_id` makes both writes
//! idempotent. Each confirmed batch leaves a document in `record_batches` (kept for a day) with the instant of its
//! confirmation: that is how end-to-end latency is audited. `queue` says which queue belongs to this record.

use std::time::Duration;

use bson::oid::ObjectId;
use bson::{DateTime, Document, RawBsonRef, RawDocumentBuf, doc};
use futures_util::{StreamExt, TryStreamExt};
use mongodb::error::{Error, ErrorKind, InsertManyError};
use mongodb::options::{
    ClientOptions, IndexOptions, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Cursor, Database, IndexModel};
use serde::de::DeserializeOwned;

use crate::decided::{self, Kind};
use crate::error::ServiceError;
use crate::failpoint::{Guard, failpoint};
use crate::limits::{RECORD_COMMAND_LEN_MAX, RECORD_TIMEOUT};

pub mod about;
mod command;
pub mod discards;
pub mod exports;
pub mod failures;
pub mod forgetting;
pub mod history;
pub mod reading;
pub mod retention;
mod sharding;
pub mod tasks;

use command::Refused;
pub(crate) use command::{is_answer, is_duplicate, is_of_the_document};

/// A question to MongoDB may take this long.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Confirmations are kept this long.
const BATCHES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    loans: Collection<RawDocumentBuf>,
    failures: Collection<RawDocumentBuf>,
    batches: Collection<Document>,
    queue: Collection<Document>,
    tasks: Collection<tasks::TaskDocument>,
    tickets: Collection<exports::TicketDocument>,
    history: Collection<Document>,
    timeout: Duration,
}

/// A document to record.
#[derive(Clone, Copy, Debug)]
pub struct Recordable<'a> {
    /// Its BSON.
    pub bytes: &'a [u8],
    /// What it is of.
    pub about: &'a decided::Document,
}

/// What MongoDB made of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds it, durably.
    Held,
    /// It held it already, as part of this batch, whose confirmation may have been missed.
    HeldBefore(Option<ObjectId>),
    /// It holds the same id with other content.
    Conflict,
    /// It refuses it for good, for this reason.
    Refused(String),
}

impl Outcome {
    /// Whether MongoDB holds the document.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held | Self::HeldBefore(_))
    }
}

impl Store {
    /// A store at `uri`. The driver connects by itself when it is first used, and again after each failure.
    ///
    /// # Errors
    /// If `uri` is not a MongoDB URI.
    pub async fn new(uri: &str, database: &str) -> Result<Self, ServiceError> {
        let mut options = ClientOptions::parse(uri).await?;
        options.app_name.get_or_insert_with(|| "sluice".to_owned());
        options
            .server_selection_timeout
            .get_or_insert(Duration::from_secs(3));
        options
            .connect_timeout
            .get_or_insert(Duration::from_secs(3));
        // Another member may not have heard yet of what is recorded, and would call a known loan new.
        options.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        // A result leaves Redis only once it has survived a power cut on a majority.
        options.write_concern = Some(
            WriteConcern::builder()
                .w(mongodb::options::Acknowledgment::Majority)
                .journal(true)
                .build(),
        );
        let database = Client::with_options(options)?.database(database);
        Ok(Self {
            loans: database.collection("loans"),
            failures: database.collection("failures"),
            batches: database.collection("record_batches"),
            queue: database.collection("queue"),
            tasks: database.collection("tasks"),
            tickets: database.collection("export_tickets"),
            history: database.collection("history"),
            timeout: RECORD_TIMEOUT,
            database,
        })
    }

    /// The same store, where MongoDB has this long to confirm a batch.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The database, for what is recorded beside loans.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Makes the indexes. Safe to repeat.
    ///
    /// # Errors
    /// MongoDB out of reach, or an index of another shape.
    pub async fn prepare(&self) -> Result<(), ServiceError> {
        let index = |keys: Document| IndexModel::builder().keys(keys).build();
        let waiting = IndexOptions::builder()
            .partial_filter_expression(doc! { "waiting": true })
            .build();
        let any_case = IndexOptions::builder()
            .collation(failures::any_case())
            .build();
        let discarded = IndexOptions::builder()
            .partial_filter_expression(doc! { "discarded.task": { "$exists": true } })
            .build();
        self.failures
            .create_indexes([
                index(failures::newest_first()),
                index(failures::by_loan()),
                index(failures::by_category()),
                index(failures::by_field()),
                IndexModel::builder()
                    .keys(failures::by_applicant())
                    .options(any_case)
                    .build(),
                IndexModel::builder()
                    .keys(discards::by_step())
                    .options(discarded)
                    .build(),
                IndexModel::builder()
                    .keys(failures::oldest_waiting_first())
                    .options(waiting)
                    .build(),
            ])
            .await?;
        let kept = IndexOptions::builder().expire_after(BATCHES_KEPT).build();
        self.batches
            .create_index(
                IndexModel::builder()
                    .keys(doc! { "confirmedAt": 1 })
                    .options(kept)
                    .build(),
            )
            .await?;
        Ok(())
    }

    /// MongoDB's version: also the check that it answers.
    ///
    /// # Errors
    /// MongoDB out of reach or silent for 3 seconds.
    pub async fn version(&self) -> Result<String, ServiceError> {
        let info = within(
            Duration::from_secs(3),
            self.database
                .run_command(doc! { "buildInfo": 1 })
                .into_future(),
        )
        .await?;
        Ok(info.get_str("version").unwrap_or_default().to_owned())
    }

    /// Writes documents of one kind, as one batch, and answers what became of each, in order. On `Ok` that is final: what is
    /// held is durable, and what is refused will be refused again.
    ///
    /// # Errors
    /// MongoDB out of reach, silent, or not able to promise durability: any part of the batch may be written. The same
    /// batch again is safe.
    pub async fn record(
        &self,
        kind: Kind,
        documents: &[Recordable<'_>],
        batch: ObjectId,
    ) -> Result<Vec<Outcome>, ServiceError> {
        let mut outcomes = Vec::with_capacity(documents.len());
        let mut rest = documents;
        while !rest.is_empty() {
            let mut insert = command::Insert::new(name_of(kind), batch);
            let mut len = 0;
            // A command has a bound, and bodies may be long.
            for document in rest {
                if len > 0 && insert.len() + document.bytes.len() > RECORD_COMMAND_LEN_MAX {
                    break;
                }
                insert.push(document.bytes)?;
                len += 1;
            }
            let (part, later) = rest.split_at(len);
            outcomes.extend(self.record_part(kind, insert, part, batch).await?);
            rest = later;
        }
        Ok(outcomes)
    }

    async fn record_part(
        &self,
        kind: Kind,
        insert: command::Insert,
        documents: &[Recordable<'_>],
        batch: ObjectId,
    ) -> Result<Vec<Outcome>, ServiceError> {
        let mut outcomes = vec![Outcome::Held; documents.len()];
        let insert = insert.finish(&self.database)?;
        let answer = within(self.timeout, insert.into_future()).await?;
        let mut twins = std::collections::HashMap::new();
        for refused in Refused::all_of(&answer)? {
            let index = refused.index;
            let document = documents.get(index).ok_or(ServiceError::MongoReply(
                "it refused a document that was not sent",
            ))?;
            if refused.is_duplicate_id() {
                twins.insert(id_of(kind, document.about, batch), index);
            } else if refused.is_of_the_document() {
                outcomes[index] = Outcome::Refused(refused.reason());
            } else {
                return Err(ServiceError::MongoNotNow(refused.reason()));
            }
        }
        if twins.is_empty() {
            return Ok(outcomes);
        }
        // Held already: done, if it is the same loan. Read back rather than believed.
        failpoint!("read-back-before");
        let ids: Vec<_> = twins.keys().cloned().collect();
        let find = async {
            let mut held = Vec::new();
            let mut cursor = self
                .collection(kind)
                .find(doc! { "_id": { "$in": ids } })
                .projection(doc! { "fingerprint": 1, "batch": 1 })
                .read_concern(mongodb::options::ReadConcern::majority())
                .await?;
            while let Some(document) = cursor.try_next().await? {
                held.push(document);
            }
            Ok(held)
        };
        let held = within(self.timeout, find).await?;
        let mut unseen = twins.len();
        for document in held {
            let Some(&index) = twins.get(text(&document, "_id")) else {
                continue;
            };
            unseen -= 1;
            let is_same =
                text(&document, "fingerprint") == documents[index].about.fingerprint.hex().as_str();
            outcomes[index] = if is_same {
                Outcome::HeldBefore(match document.get("batch") {
                    Ok(Some(RawBsonRef::ObjectId(batch))) => Some(batch),
                    _ => None,
                })
            } else {
                Outcome::Conflict
            };
        }
        if unseen > 0 {
            // It was written and not confirmed by a majority yet, or was removed meanwhile: asked again.
            return Err(ServiceError::MongoReply("a duplicate is not there yet"));
        }
        Ok(outcomes)
    }

    /// Notes when a batch was confirmed, in microseconds since the Unix epoch. Only latency is lost if it fails.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn note_confirmation(
        &self,
        batch: ObjectId,
        confirmed_us: u64,
        loans: usize,
        failures: usize,
        earlier: &[ObjectId],
    ) -> Result<(), ServiceError> {
        let note = |batch: ObjectId| {
            doc! {
                "_id": batch,
                "confirmedAtUs": confirmed_us as i64,
                "confirmedAt": DateTime::from_millis((confirmed_us / 1000) as i64),
                "loans": loans as i32,
                "failures": failures as i32,
            }
        };
        let mut notes = vec![note(batch)];
        let mut earlier = earlier.to_vec();
        earlier.sort_unstable();
        earlier.dedup();
        // A batch that was written before a crash is confirmed now, unless it was then.
        notes.extend(earlier.into_iter().map(note));
        let insert = self
            .batches
            .insert_many(notes)
            .ordered(false)
            .write_concern(WriteConcern::nodes(1));
        match within(self.timeout, insert.into_future()).await {
            Ok(_) => Ok(()),
            Err(ServiceError::Mongo(error)) if is_refused_one_by_one(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn collection(&self, kind: Kind) -> &Collection<RawDocumentBuf> {
        match kind {
            Kind::Loans => &self.loans,
            Kind::Failures => &self.failures,
        }
    }
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Loans => "loans",
        Kind::Failures => "failures",
    }
}

/// The `_id` that a document has, as it was written in `batch`.
fn id_of(kind: Kind, document: &decided::Document, batch: ObjectId) -> String {
    let id = match kind {
        Kind::Loans => document.loan_id.to_string(),
        Kind::Failures => format!("{}#{}", document.loan_id, document.attempt),
    };
    if Guard::RecordOnce.is_off() {
        format!("{id}#{batch}")
    } else {
        id
    }
}

/// Whether all that went wrong are single documents.
fn is_refused_one_by_one(error: &Error) -> bool {
    matches!(
        &*error.kind,
        ErrorKind::InsertMany(InsertManyError {
            write_errors: Some(_),
            write_concern_error: None,
            ..
        })
    )
}

/// The driver has no time-out of its own for an answer.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, ServiceError> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ServiceError::MongoTimeout(limit)),
    }
}

/// The first `len_max` documents of a cursor that can be read. What cannot, somebody or another version wrote: the log tells
/// it, and it hides no others.
pub(crate) async fn readable<T>(mut found: Cursor<T>, len_max: usize) -> Result<Vec<T>, Error>
where
    T: DeserializeOwned + Unpin + Send + Sync,
{
    let mut all = Vec::new();
    while all.len() < len_max
        && let Some(document) = found.next().await
    {
        match document.map_err(|error| (ServiceError::from(error.clone()), error)) {
            Ok(document) => all.push(document),
            Err((unreadable @ ServiceError::UnreadableRecord(_), _)) => {
                tracing::error!(error = %unreadable, "a record is passed over");
            }
            Err((_, error)) => return Err(error),
        }
    }
    Ok(all)
}

fn text<'a>(document: &'a bson::RawDocument, key: &str) -> &'a str {
    document.get_str(key).unwrap_or_default()
}

/// A whole number, however it is written: a shell, a driver or an import has its own idea of what a number is.
fn whole(value: Option<&bson::Bson>) -> Option<i64> {
    match value? {
        bson::Bson::Int32(number) => Some((*number).into()),
        bson::Bson::Int64(number) => Some(*number),
        bson::Bson::Double(number) if number.fract() == 0.0 => Some(*number as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_read_however_it_is_written() {
        use bson::Bson;
        for (value, expected) in [
            (Bson::Int32(4), Some(4)),
            (Bson::Int64(1 << 40), Some(1 << 40)),
            (Bson::Double(4.0), Some(4)),
            (Bson::Double(4.5), None),
            (Bson::Double(f64::NAN), None),
            (Bson::from("4"), None),
        ] {
            assert_eq!(whole(Some(&value)), expected, "{value}");
        }
        assert_eq!(whole(None), None);
    }

    /// What an address asks for cannot weaken what the service promises.
    #[tokio::test]
    async fn the_promise_rests_on_no_option() {
        let uri = "mongodb://127.0.0.1:1/?readPreference=secondary&w=0&journal=false";
        let store = Store::new(uri, "sluice").await.unwrap();
        let database = store.database();
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        assert_eq!(database.selection_criteria(), Some(&primary));
        let writes = database.write_concern().unwrap();
        assert_eq!(writes.w, Some(mongodb::options::Acknowledgment::Majority));
        assert_eq!(writes.journal, Some(true));
    }
}
