//! The record: the only place that knows MongoDB.
//!
//! `loans` holds a document for each accepted loan, `failures` one for each failed attempt; the
//! `_id` makes both writes idempotent. Each confirmed batch leaves a document in `record_batches`
//! (kept for a day) with the instant of its confirmation: that is how end-to-end latency is audited.

use std::collections::HashMap;
use std::time::Duration;

use bson::oid::ObjectId;
use bson::{DateTime, Document, RawDocumentBuf, cstr, doc};
use futures_util::TryStreamExt;
use mongodb::error::{Error, ErrorKind, InsertManyError};
use mongodb::options::{ClientOptions, Hint, IndexOptions, WriteConcern};
use mongodb::{Client, Collection, Database, IndexModel};

use crate::error::ServiceError;
use crate::failpoint::{Guard, failpoint};
use crate::limits::RECORD_TIMEOUT;
use crate::loan::{Category, Fingerprint, LoanId};
use crate::queue::record::{Kind, Unrecorded};
use crate::record::{self, FailureDocument, LoanDocument};

/// MongoDB's code for a second document with the same `_id`.
const DUPLICATE_KEY: i32 = 11_000;
/// A question to MongoDB may take this long.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Confirmations are kept this long.
const BATCHES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    loans: Collection<RawDocumentBuf>,
    failures: Collection<RawDocumentBuf>,
    batches: Collection<Document>,
    timeout: Duration,
}

/// What MongoDB made of a batch.
#[derive(Debug, Default)]
pub struct Confirmation {
    /// For each result, in order: whether MongoDB holds it, durably.
    pub is_held: Vec<bool>,
    /// How many of those it held already.
    pub duplicates: u64,
    /// Batches that the duplicates were written in, whose confirmation may have been missed.
    earlier: Vec<ObjectId>,
}

/// Which failed attempts.
#[derive(Clone, Debug, Default)]
pub struct ErrorFilter {
    /// Of this loan.
    pub loan_id: Option<LoanId>,
    /// Of this category.
    pub category: Option<Category>,
    /// Failed at this instant or later.
    pub from: Option<DateTime>,
    /// Failed before this instant.
    pub to: Option<DateTime>,
    /// After this place, in the order of the log: older.
    pub before: Option<Place>,
}

/// A place in the log of failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// When the attempt failed.
    pub failed_at: DateTime,
    /// The document's `_id`, which orders attempts of the same instant.
    pub id: String,
}

impl ErrorFilter {
    fn conditions(&self) -> Document {
        let mut conditions = Document::new();
        if let Some(loan_id) = &self.loan_id {
            conditions.insert("loanId", loan_id.as_str());
        }
        if let Some(category) = self.category {
            conditions.insert("errorType", category.name());
        }
        let mut failed_at = Document::new();
        if let Some(from) = self.from {
            failed_at.insert("$gte", from);
        }
        if let Some(to) = self.to {
            failed_at.insert("$lt", to);
        }
        if let Some(before) = &self.before {
            // The bound leads into the index; the rest orders what failed in the same millisecond.
            failed_at.insert("$lte", before.failed_at);
            conditions.insert(
                "$or",
                bson::bson!([
                    { "failedAt": { "$lt": before.failed_at } },
                    { "failedAt": before.failed_at, "_id": { "$lt": &before.id } },
                ]),
            );
        }
        if !failed_at.is_empty() {
            conditions.insert("failedAt", failed_at);
        }
        conditions
    }

    /// The index that holds the answer in order: a loan has few attempts, a category many.
    fn index(&self) -> Document {
        if self.loan_id.is_some() {
            by_loan()
        } else if self.category.is_some() {
            by_category()
        } else {
            newest_first()
        }
    }
}

fn newest_first() -> Document {
    doc! { "failedAt": -1, "_id": -1 }
}

fn by_loan() -> Document {
    doc! { "loanId": 1, "failedAt": -1, "_id": -1 }
}

fn by_category() -> Document {
    doc! { "errorType": 1, "failedAt": -1, "_id": -1 }
}

/// Whether MongoDB refused a query because the index that it names is not there.
fn is_bad_hint(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == 2 && error.message.contains("hint"))
}

impl Store {
    /// A store at `uri`. The driver connects by itself when it is first used, and again after
    /// each failure.
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

    /// Makes the indexes. Safe to repeat.
    ///
    /// # Errors
    /// MongoDB out of reach, or an index of another shape.
    pub async fn prepare(&self) -> Result<(), ServiceError> {
        let index = |keys: Document| IndexModel::builder().keys(keys).build();
        self.failures
            .create_indexes([
                index(newest_first()),
                index(by_loan()),
                index(by_category()),
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

    /// Writes a batch. On `Ok`, what `is_held` names is durable; the rest was refused one by one
    /// and stays for another try.
    ///
    /// # Errors
    /// MongoDB out of reach, silent, or not able to promise durability: any part of the batch may
    /// be written. The same batch again is safe.
    pub async fn record(
        &self,
        kind: Kind,
        results: &[Unrecorded],
        batch: ObjectId,
    ) -> Result<Confirmation, ServiceError> {
        let mut documents = Vec::with_capacity(results.len());
        for result in results {
            let mut bytes = result.document.clone();
            let is_record = record::set_batch(&mut bytes, batch).is_ok();
            let mut document = RawDocumentBuf::from_bytes(bytes)
                .ok()
                .filter(|_| is_record)
                .ok_or(ServiceError::RedisReply("a record is not BSON"))?;
            if Guard::RecordOnce.is_off() {
                document = with_another_id(&document, batch);
            }
            documents.push(document);
        }
        let insert = self.collection(kind).insert_many(&documents).ordered(false);
        let mut confirmation = Confirmation {
            is_held: vec![true; results.len()],
            ..Confirmation::default()
        };
        let refused = match within(self.timeout, insert.into_future()).await {
            Ok(_) => return Ok(confirmation),
            Err(ServiceError::Mongo(error)) => refused(error)?,
            Err(error) => return Err(error),
        };
        let mut twins = HashMap::new();
        for error in &refused {
            confirmation.is_held[error.index] = false;
            if error.code == DUPLICATE_KEY {
                let document = &documents[error.index];
                twins.insert(text(document, "_id"), error.index);
            } else {
                tracing::error!(
                    code = error.code,
                    message = error.message,
                    "MongoDB refused a record"
                );
            }
        }
        // Held already: done, if it is the same loan. Read back rather than believed.
        failpoint!("read-back-before");
        let ids: Vec<_> = twins.keys().cloned().collect();
        let mut held = self
            .collection(kind)
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "fingerprint": 1, "batch": 1 })
            .read_concern(mongodb::options::ReadConcern::majority())
            .await?;
        while let Some(document) = held.try_next().await? {
            let Some(&index) = twins.get(&text(&document, "_id")) else {
                continue;
            };
            if text(&document, "fingerprint") == text(&documents[index], "fingerprint") {
                confirmation.is_held[index] = true;
                confirmation.duplicates += 1;
                if let Ok(Some(bson::RawBsonRef::ObjectId(batch))) = document.get("batch") {
                    confirmation.earlier.push(batch);
                }
            } else {
                tracing::error!(
                    loan_id = results[index].loan_id,
                    "MongoDB holds this id with other content; the result stays in Redis"
                );
            }
        }
        Ok(confirmation)
    }

    /// Notes when a batch was confirmed, in microseconds since the Unix epoch. Only latency is
    /// lost if it fails.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn note_confirmation(
        &self,
        batch: ObjectId,
        confirmed_us: u64,
        loans: usize,
        failures: usize,
        confirmation: &Confirmation,
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
        let mut earlier = confirmation.earlier.clone();
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
            Err(ServiceError::Mongo(error)) => refused(error).map(drop),
            Err(error) => Err(error),
        }
    }

    /// The fingerprints of those of `loan_ids` that are recorded as accepted.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn fingerprints(
        &self,
        loan_ids: &[&LoanId],
    ) -> Result<HashMap<String, String>, ServiceError> {
        let ids: Vec<_> = loan_ids.iter().map(|id| id.as_str()).collect();
        let find = async {
            let mut cursor = self
                .loans
                .find(doc! { "_id": { "$in": ids } })
                .projection(doc! { "fingerprint": 1 })
                .read_concern(mongodb::options::ReadConcern::majority())
                .await?;
            let mut found = HashMap::new();
            while let Some(document) = cursor.try_next().await? {
                found.insert(text(&document, "_id"), text(&document, "fingerprint"));
            }
            Ok(found)
        };
        within(READ_TIMEOUT, find).await
    }

    /// The accepted loan, if it is recorded.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn loan(&self, loan_id: &LoanId) -> Result<Option<LoanDocument>, ServiceError> {
        let loans = self.loans.clone_with_type::<LoanDocument>();
        let find = loans.find_one(doc! { "_id": loan_id.as_str() });
        within(READ_TIMEOUT, find.into_future()).await
    }

    /// The recorded failures of a loan, newest first, at most `len_max`.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn failures_of(
        &self,
        loan_id: &LoanId,
        len_max: u32,
    ) -> Result<Vec<FailureDocument>, ServiceError> {
        let find = async {
            self.failures
                .clone_with_type::<FailureDocument>()
                .find(doc! { "loanId": loan_id.as_str() })
                .sort(newest_first())
                .limit(i64::from(len_max))
                .await?
                .try_collect()
                .await
        };
        within(READ_TIMEOUT, find).await
    }

    /// When a batch was confirmed, while that is still known.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn confirmed_at(&self, batch: ObjectId) -> Result<Option<DateTime>, ServiceError> {
        let find = self.batches.find_one(doc! { "_id": batch });
        let note = within(READ_TIMEOUT, find.into_future()).await?;
        Ok(note.and_then(|note| note.get_datetime("confirmedAt").ok().copied()))
    }

    /// Whether a failed attempt of this loan had this content.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn has_failed_as(
        &self,
        loan_id: &LoanId,
        fingerprint: &Fingerprint,
    ) -> Result<bool, ServiceError> {
        let find = self
            .failures
            .find_one(doc! { "loanId": loan_id.as_str(), "fingerprint": fingerprint.to_string() });
        let find = find.read_concern(mongodb::options::ReadConcern::majority());
        Ok(within(READ_TIMEOUT, find.into_future()).await?.is_some())
    }

    /// The failed attempts that pass a filter, newest first, at most `len_max`.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn errors(
        &self,
        filter: &ErrorFilter,
        len_max: u32,
    ) -> Result<Vec<FailureDocument>, ServiceError> {
        match self.errors_once(filter, len_max).await {
            // The index is not there yet: nobody has recorded anything.
            Err(ServiceError::Mongo(error)) if is_bad_hint(&error) => {
                self.prepare().await?;
                self.errors_once(filter, len_max).await
            }
            answer => answer,
        }
    }

    async fn errors_once(
        &self,
        filter: &ErrorFilter,
        len_max: u32,
    ) -> Result<Vec<FailureDocument>, ServiceError> {
        let find = async {
            self.failures
                .clone_with_type::<FailureDocument>()
                .find(filter.conditions())
                .hint(Hint::Keys(filter.index()))
                .sort(newest_first())
                .limit(i64::from(len_max))
                .max_time(READ_TIMEOUT)
                .await?
                .try_collect()
                .await
        };
        within(READ_TIMEOUT, find).await
    }

    fn collection(&self, kind: Kind) -> &Collection<RawDocumentBuf> {
        match kind {
            Kind::Loans => &self.loans,
            Kind::Failures => &self.failures,
        }
    }
}

/// The same document under an id that no other batch gives it: what a switched-off guard stores.
fn with_another_id(document: &bson::RawDocument, batch: ObjectId) -> RawDocumentBuf {
    let mut other = RawDocumentBuf::new();
    other.append(cstr!("_id"), format!("{}#{batch}", text(document, "_id")));
    for (key, value) in document.iter().flatten() {
        if key != cstr!("_id") {
            other.append(key, value);
        }
    }
    other
}

/// The errors of single documents, if that is all that went wrong.
fn refused(error: Error) -> Result<Vec<mongodb::error::IndexedWriteError>, ServiceError> {
    match *error.kind {
        ErrorKind::InsertMany(InsertManyError {
            write_errors: Some(ref errors),
            write_concern_error: None,
            ..
        }) => Ok(errors.clone()),
        _ => Err(error.into()),
    }
}

/// The driver has no time-out of its own for an answer.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, ServiceError> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ServiceError::MongoTimeout(limit)),
    }
}

fn text(document: &bson::RawDocument, key: &str) -> String {
    document.get_str(key).unwrap_or_default().to_owned()
}

/// Whether two fingerprints, one of Redis and one of MongoDB, are the same.
pub fn is_same(fingerprint: &Fingerprint, recorded: &str) -> bool {
    fingerprint.to_string() == recorded
}
