//! Failed attempts that wait: for a retry, a correction or a discard. MongoDB holds each with its body, so Redis is never
//! the only place that knows what a person sent.

use std::collections::HashMap;

use bson::{DateTime, Document, doc};
use futures_util::TryStreamExt;
use mongodb::options::ReadConcern;
use serde::Deserialize;

use super::{READ_TIMEOUT, Store, text, within};
use crate::error::ServiceError;
use crate::loan::{Category, LoanId};

/// A failed attempt that waits.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFailure {
    /// The attempt's own id.
    #[serde(rename = "_id")]
    pub id: String,
    /// The loan.
    pub loan_id: String,
    /// Which attempt failed.
    pub attempt: u32,
    /// Its content's fingerprint, in hexadecimal digits.
    pub fingerprint: String,
    /// When its body was whole, the first time.
    pub received_at: DateTime,
    /// When it failed.
    pub failed_at: DateTime,
    /// The body as it came. Failures that an earlier version has recorded have none.
    pub body: Option<String>,
}

/// Which waiting failures.
#[derive(Clone, Debug)]
pub enum Which<'a> {
    /// Those of these categories that had failed at this instant.
    Of(&'a [Category], DateTime),
    /// Those of these loans.
    Loans(&'a [LoanId]),
}

impl Which<'_> {
    fn conditions(&self) -> Document {
        match self {
            Self::Of(categories, upto) => {
                let names: Vec<_> = categories.iter().map(|category| category.name()).collect();
                doc! { "waiting": true, "errorType": { "$in": names }, "failedAt": { "$lte": upto } }
            }
            Self::Loans(loan_ids) => {
                let ids: Vec<_> = loan_ids.iter().map(LoanId::as_str).collect();
                doc! { "waiting": true, "loanId": { "$in": ids } }
            }
        }
    }
}

pub(super) fn oldest_waiting_first() -> Document {
    doc! { "waiting": 1, "failedAt": 1, "_id": 1 }
}

impl Store {
    /// How many wait.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn count_waiting(&self, which: &Which<'_>) -> Result<u64, ServiceError> {
        let count = self.failures.count_documents(which.conditions());
        within(READ_TIMEOUT, count.into_future()).await
    }

    /// The oldest that wait, behind the place `after`, at most `len_max`.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn waiting(
        &self,
        which: &Which<'_>,
        after: Option<(DateTime, &str)>,
        len_max: usize,
    ) -> Result<Vec<WaitingFailure>, ServiceError> {
        let mut conditions = which.conditions();
        if let Some((failed_at, id)) = after {
            conditions.insert(
                "$or",
                bson::bson!([
                    { "failedAt": { "$gt": failed_at } },
                    { "failedAt": failed_at, "_id": { "$gt": id } },
                ]),
            );
        }
        let find = async {
            self.failures
                .clone_with_type::<WaitingFailure>()
                .find(conditions)
                .sort(doc! { "failedAt": 1, "_id": 1 })
                .limit(len_max as i64)
                .read_concern(ReadConcern::majority())
                .await?
                .try_collect()
                .await
        };
        within(READ_TIMEOUT, find).await
    }

    /// Those of these failures that are still their loan's last word: not accepted, and no later attempt failed.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn still_last(&self, failures: &[WaitingFailure]) -> Result<Vec<bool>, ServiceError> {
        let ids: Vec<_> = failures.iter().map(|failure| &*failure.loan_id).collect();
        let find = async {
            let mut latest: HashMap<String, u32> = HashMap::new();
            let mut cursor = self
                .failures
                .find(doc! { "loanId": { "$in": &ids } })
                .projection(doc! { "loanId": 1, "attempt": 1 })
                .read_concern(ReadConcern::majority())
                .await?;
            while let Some(document) = cursor.try_next().await? {
                let attempt = document.get_i64("attempt").unwrap_or_default() as u32;
                let last = latest
                    .entry(text(&document, "loanId").to_owned())
                    .or_default();
                *last = attempt.max(*last);
            }
            let mut cursor = self
                .loans
                .find(doc! { "_id": { "$in": &ids } })
                .projection(doc! { "_id": 1 })
                .read_concern(ReadConcern::majority())
                .await?;
            while let Some(document) = cursor.try_next().await? {
                latest.insert(text(&document, "_id").to_owned(), u32::MAX);
            }
            Ok(latest)
        };
        let latest = within(READ_TIMEOUT, find).await?;
        Ok(failures
            .iter()
            .map(|failure| latest.get(&failure.loan_id) == Some(&failure.attempt))
            .collect())
    }

    /// Says that these failures wait no longer. A note, not the truth: what is still noted as waiting and is not, is
    /// found out when somebody retries it.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn no_longer_waiting(&self, ids: &[&str]) -> Result<(), ServiceError> {
        if ids.is_empty() {
            return Ok(());
        }
        let update = self.failures.update_many(
            doc! { "_id": { "$in": ids } },
            doc! { "$unset": { "waiting": "" } },
        );
        within(READ_TIMEOUT, update.into_future()).await.map(drop)
    }

    /// Writes into the log of errors that a bundle was set aside. Safe to repeat.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn log_set_aside(
        &self,
        bundle: &str,
        loans: usize,
        reason: &str,
    ) -> Result<(), ServiceError> {
        let now = DateTime::now();
        let id = format!("bundle:{bundle}");
        let category = Category::Unreadable.name();
        let entry = doc! {
            "loanId": &id, "attempt": 1_i64, "fingerprint": "", "errorType": category,
            "faults": [{ "field": "$", "rule": reason, "errorType": category, "value": format!("{loans} loans") }],
            "receivedAt": now, "failedAt": now,
        };
        let update = self
            .failures
            .update_one(
                doc! { "_id": format!("{id}#1") },
                doc! { "$setOnInsert": entry },
            )
            .upsert(true);
        within(READ_TIMEOUT, update.into_future()).await.map(drop)
    }
}
