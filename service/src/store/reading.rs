//! What is asked of the record: loans with their attempts, and whether a loan is known.

use std::collections::HashMap;

use bson::oid::ObjectId;
use bson::{DateTime, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use mongodb::Collection;
use mongodb::error::Error;
use mongodb::options::ReadConcern;

use super::failures::{newest_first, without_body};
use super::{READ_TIMEOUT, Store, text, within};
use crate::error::ServiceError;
use crate::loan::{Fingerprint, LoanId};
use crate::record::{FailureDocument, LoanDocument};

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

    /// The body of a failed attempt, if it was recorded.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn body_of(&self, attempt: &str) -> Result<Option<String>, ServiceError> {
        let find = self
            .failures
            .find_one(doc! { "_id": attempt })
            .projection(doc! { "body": 1 });
        let found = within(READ_TIMEOUT, find.into_future()).await?;
        Ok(found.and_then(|found| found.get_str("body").ok().map(str::to_owned)))
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
            let found = self
                .failures
                .find(doc! { "loanId": loan_id.as_str() })
                .projection(without_body())
                .sort(newest_first())
                .limit(i64::from(len_max))
                .await?;
            let failures = found.map_ok(|document| FailureDocument::read(&document));
            failures.try_collect().await
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
