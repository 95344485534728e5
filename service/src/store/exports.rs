//! Exports: cursors through failures and loans, and the tickets that are good for one download.

use std::time::Duration;

use bson::{DateTime, RawDocumentBuf, doc};
use mongodb::options::{Hint, IndexOptions};
use mongodb::{Cursor, IndexModel};
use serde::{Deserialize, Serialize};

use super::failures::{conditions, matching, newest_first, without_body};
use super::{READ_TIMEOUT, Store, within};
use crate::api::{ExportFormat, ExportOf, FailureFilter};
use crate::error::ServiceError;
use crate::filter::Filter;

/// Documents that the driver holds at once.
const BATCH_LEN: u32 = 200;
/// A ticket is good for so long.
pub const TICKET_KEPT: Duration = Duration::from_secs(60);

/// What a ticket is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketDocument {
    /// The hash of the ticket: whoever reads MongoDB cannot use it.
    #[serde(rename = "_id")]
    pub hash: String,
    /// What is exported.
    pub of: ExportOf,
    /// In which form.
    pub format: ExportFormat,
    /// Which.
    pub filter: FailureFilter,
    /// Whose it is.
    pub by: String,
    /// Until when it is good.
    pub expires_at: DateTime,
}

impl Store {
    /// The failures that pass a filter, newest first, without their bodies, as they come.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn all_errors(
        &self,
        filter: &Filter,
    ) -> Result<Cursor<RawDocumentBuf>, ServiceError> {
        // Always through the index of time: another would have to be sorted first, in MongoDB's memory.
        self.prepare().await?;
        let find = self
            .failures
            .find(matching(conditions(filter), None))
            .projection(without_body())
            .hint(Hint::Keys(newest_first()))
            .sort(newest_first())
            .batch_size(BATCH_LEN);
        within(READ_TIMEOUT * 12, find.into_future()).await
    }

    /// The loans that were decided between two instants, in the order in which MongoDB holds them.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn all_loans(
        &self,
        from: Option<DateTime>,
        to: Option<DateTime>,
    ) -> Result<Cursor<RawDocumentBuf>, ServiceError> {
        let mut between = bson::Document::new();
        if let Some(from) = from {
            between.insert("$gte", from);
        }
        if let Some(to) = to {
            between.insert("$lt", to);
        }
        let mut conditions = bson::Document::new();
        if !between.is_empty() {
            conditions.insert("processedAt", between);
        }
        let find = self.loans.find(conditions).batch_size(BATCH_LEN);
        within(READ_TIMEOUT * 12, find.into_future()).await
    }

    /// Keeps a ticket.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn keep_ticket(&self, ticket: &TicketDocument) -> Result<(), ServiceError> {
        let keep = async {
            let expired = IndexOptions::builder().expire_after(Duration::ZERO).build();
            let index = IndexModel::builder()
                .keys(doc! { "expiresAt": 1 })
                .options(expired)
                .build();
            self.tickets.create_index(index).await?;
            self.tickets.insert_one(ticket).await
        };
        within(READ_TIMEOUT, keep).await.map(drop)
    }

    /// A ticket that is good.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn ticket(&self, hash: &str) -> Result<Option<TicketDocument>, ServiceError> {
        let find = self.tickets.find_one(doc! { "_id": hash });
        let ticket = within(READ_TIMEOUT, find.into_future()).await?;
        Ok(ticket.filter(|ticket| ticket.expires_at > DateTime::now()))
    }

    /// Takes a ticket: nobody else gets it. Answers whether it was there.
    ///
    /// # Errors
    /// MongoDB out of reach or silent: it may be taken.
    pub async fn take_ticket(&self, hash: &str) -> Result<bool, ServiceError> {
        let take = self.tickets.delete_one(doc! { "_id": hash });
        let taken = within(READ_TIMEOUT, take.into_future()).await?;
        Ok(taken.deleted_count > 0)
    }
}
