//! What is asked of the record: loans, failed attempts, and whether a loan is known.

use std::collections::HashMap;

use bson::oid::ObjectId;
use bson::{DateTime, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use mongodb::Collection;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{Hint, ReadConcern};

use super::{READ_TIMEOUT, Store, text, within};
use crate::error::ServiceError;
use crate::loan::{Category, Fingerprint, LoanId};
use crate::record::{FailureDocument, LoanDocument};

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

pub(super) fn newest_first() -> Document {
    doc! { "failedAt": -1, "_id": -1 }
}

pub(super) fn by_loan() -> Document {
    doc! { "loanId": 1, "failedAt": -1, "_id": -1 }
}

pub(super) fn by_category() -> Document {
    doc! { "errorType": 1, "failedAt": -1, "_id": -1 }
}

/// Whether MongoDB refused a query because the index that it names is not there.
fn is_bad_hint(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == 2 && error.message.contains("hint"))
}

impl Store {
    /// For each of these loans that MongoDB knows, the contents that it has had: as it was accepted, and as attempts of
    /// it failed.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn recorded(
        &self,
        loan_ids: &[&LoanId],
    ) -> Result<HashMap<String, Vec<Fingerprint>>, ServiceError> {
        let ids: Vec<_> = loan_ids.iter().map(|id| id.as_str()).collect();
        let loans = contents(&self.loans, doc! { "_id": { "$in": &ids } }, "_id");
        let failures = contents(&self.failures, doc! { "loanId": { "$in": &ids } }, "loanId");
        let find = async { tokio::try_join!(loans, failures) };
        let (loans, failures) = within(READ_TIMEOUT, find).await?;
        let mut known: HashMap<String, Vec<Fingerprint>> = HashMap::new();
        for (loan_id, fingerprint) in loans.into_iter().chain(failures) {
            known.entry(loan_id).or_default().extend(fingerprint);
        }
        Ok(known)
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
}

/// The loans' ids and fingerprints of the documents that a filter finds.
async fn contents(
    collection: &Collection<RawDocumentBuf>,
    filter: Document,
    id: &str,
) -> Result<Vec<(String, Option<Fingerprint>)>, Error> {
    let mut projection = doc! { "fingerprint": 1 };
    projection.insert(id, 1);
    let mut cursor = collection
        .find(filter)
        .projection(projection)
        .read_concern(ReadConcern::majority())
        .await?;
    let mut found = Vec::new();
    while let Some(document) = cursor.try_next().await? {
        let fingerprint = Fingerprint::from_hex(text(&document, "fingerprint"));
        found.push((text(&document, id).to_owned(), fingerprint));
    }
    Ok(found)
}
