//! Failed attempts that wait: for a retry, a correction or a discard. MongoDB holds each with its body, so Redis is never
//! the only place that knows what a person sent.

use std::collections::HashMap;
use std::time::Duration;

use bson::{Bson, DateTime, Document, RawDocument, Regex, doc};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{Collation, CollationStrength, Hint, ReadConcern};
use serde::Deserialize;

use super::forgetting::failures_of;
use super::{READ_TIMEOUT, Store, text, whole, within};
use crate::api::FailureCount;
use crate::error::ServiceError;
use crate::filter::Filter;
use crate::loan::{Category, LoanId};
use crate::record::FailureDocument;

/// Counting may take this long; then a lower bound is told.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);
/// Where no lower bound will do.
const EXACT_COUNT_TIMEOUT: Duration = Duration::from_secs(10);
/// A step of work on many loans may look this long for the next ones.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// MongoDB's code for a query that ran out of its time.
const MAX_TIME_EXPIRED: i32 = 50;

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

/// Some of the failures that wait.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// Those that can be read, in order.
    pub failures: Vec<WaitingFailure>,
    /// How many were changed by hand and cannot be read. They go on waiting.
    pub unreadable: u64,
    /// Where the last of all stands; `None` if there was none.
    pub last: Option<Place>,
}

/// Whether the bodies of failures are read with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// They are.
    Read,
    /// They are long, and not needed.
    Left,
}

/// Which waiting failures.
#[derive(Clone, Debug)]
pub enum Which<'a> {
    /// Those of these categories that had failed at this instant.
    Of(&'a [Category], DateTime),
    /// Those of these loans.
    Loans(&'a [LoanId]),
    /// Those that a filter finds and that had failed at this instant.
    Found(&'a Filter, DateTime),
    /// Those of the applicant with this address.
    OfApplicant(&'a str),
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
            Self::Found(filter, upto) => {
                let mut all = vec![doc! { "failedAt": { "$lte": upto } }];
                all.extend(conditions(filter));
                doc! { "waiting": true, "$and": all }
            }
            Self::OfApplicant(address) => {
                doc! { "waiting": true, "$and": [failures_of(address)] }
            }
        }
    }
}

/// A place in the log of failures. Somebody may have written failures by hand, so that either part can be of any type.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// When the attempt failed; null if the document does not say.
    pub failed_at: Bson,
    /// The document's `_id`, which orders attempts of the same instant.
    pub id: Bson,
}

impl Place {
    /// Where a document stands.
    fn of(document: &RawDocument) -> Self {
        let value = |key| {
            let value = document.get(key).ok().flatten();
            value.map_or(Bson::Null, |value| {
                Bson::try_from(value).unwrap_or_default()
            })
        };
        Self {
            failed_at: value("failedAt"),
            id: value("_id"),
        }
    }

    /// What stands on one side of it: `$lt` or `$gt`. In an expression, which compares across types as the order of an
    /// index does; a plain condition would pass over what is of another type.
    fn beyond(&self, side: &str) -> Document {
        let failed_at = doc! { "$ifNull": ["$failedAt", Bson::Null] };
        let here = doc! { "$literal": &self.failed_at };
        let id = doc! { "$literal": &self.id };
        let (mut further, mut next) = (Document::new(), Document::new());
        further.insert(side, vec![failed_at.clone(), here.clone()]);
        next.insert(side, vec![Bson::from("$_id"), id.into()]);
        doc! { "$expr": { "$or": [further, { "$and": [{ "$eq": [failed_at, here] }, next] }] } }
    }

    /// The same as far as an index leads to it by its bounds; `not` is the other side.
    fn bound(&self, not: &str) -> Option<Document> {
        let is_instant = matches!(self.failed_at, Bson::DateTime(_));
        let mut other = Document::new();
        other.insert(not, &self.failed_at);
        // What has no instant is on neither side of one, and stays in.
        is_instant.then(|| doc! { "failedAt": { "$not": other } })
    }
}

/// What a filter asks of a document, each part for itself; none for a filter that is empty.
pub(super) fn conditions(filter: &Filter) -> Vec<Document> {
    let mut all = Vec::new();
    if let Some(start) = &filter.loan_id {
        all.push(doc! { "loanId": starts_with(start, "") });
    }
    if let Some(start) = &filter.applicant {
        all.push(doc! { "applicantEmail": starts_with(start, "i") });
    }
    if let Some(name) = &filter.error_type {
        all.push(doc! { "errorType": name });
    }
    let mut fault = Document::new();
    if let Some(field) = &filter.field {
        fault.insert("field", field);
    }
    if let Some(start) = &filter.rule {
        fault.insert("rule", starts_with(start, ""));
    }
    if !fault.is_empty() {
        // Of one fault, where both are asked for.
        all.push(doc! { "faults": { "$elemMatch": fault } });
    }
    if let Some(from) = filter.from {
        all.push(doc! { "failedAt": { "$gte": from } });
    }
    if let Some(to) = filter.to {
        all.push(doc! { "failedAt": { "$lt": to } });
    }
    if filter.is_waiting {
        all.push(doc! { "waiting": true });
    }
    all
}

/// A text that begins so.
fn starts_with(start: &str, options: &str) -> Bson {
    let pattern = format!("^{}", escaped(start));
    let pattern = pattern.try_into().expect("a filter holds no NUL");
    let options = options.try_into().expect("options hold no NUL");
    Bson::RegularExpression(Regex { pattern, options })
}

/// A text as a pattern that means it alone.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// All conditions in one, with those of a place in the log: older than that.
pub(super) fn matching(mut all: Vec<Document>, before: Option<&Place>) -> Document {
    if let Some(before) = before {
        // The bound leads into the index; the rest orders what failed in the same millisecond.
        all.extend(before.bound("$gt"));
        all.push(before.beyond("$lt"));
    }
    if all.is_empty() {
        return Document::new();
    }
    doc! { "$and": all }
}

/// The index that holds the answer in order, where it is clear which; elsewhere MongoDB tries those that there are.
fn index(filter: &Filter) -> Option<Document> {
    let has_text = filter.loan_id.is_some() || filter.applicant.is_some() || filter.rule.is_some();
    match (&filter.error_type, &filter.field) {
        _ if has_text || filter.is_waiting => None,
        (None, None) => Some(newest_first()),
        (Some(_), None) => Some(by_category()),
        (None, Some(_)) => Some(by_field()),
        _ => None,
    }
}

/// Upper and lower case are one.
pub(super) fn any_case() -> Collation {
    Collation::builder()
        .locale("en")
        .strength(CollationStrength::Secondary)
        .build()
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

pub(super) fn by_field() -> Document {
    doc! { "faults.field": 1, "failedAt": -1, "_id": -1 }
}

pub(super) fn by_applicant() -> Document {
    doc! { "applicantEmail": 1, "failedAt": -1, "_id": -1 }
}

/// What a page or an export shows: bodies are long, and nobody reads them there.
pub(super) fn without_body() -> Document {
    doc! { "body": 0 }
}

/// Whether MongoDB refused a query because the index that it names is not there.
fn is_bad_hint(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == 2 && error.message.contains("hint"))
}

fn is_out_of_time(error: &ServiceError) -> bool {
    match error {
        ServiceError::MongoTimeout(_) => true,
        ServiceError::Mongo(error) => {
            matches!(&*error.kind, ErrorKind::Command(error) if error.code == MAX_TIME_EXPIRED)
        }
        _ => false,
    }
}

pub(super) fn oldest_waiting_first() -> Document {
    doc! { "waiting": 1, "failedAt": 1, "_id": 1 }
}

impl Store {
    /// The failed attempts that pass a filter, newest first, behind the place `before`, at most `len_max`.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn errors(
        &self,
        filter: &Filter,
        before: Option<&Place>,
        len_max: u32,
    ) -> Result<Vec<(Place, FailureDocument)>, ServiceError> {
        match self.errors_once(filter, before, len_max).await {
            // The index is not there yet: nobody has recorded anything.
            Err(ServiceError::Mongo(error)) if is_bad_hint(&error) => {
                self.prepare().await?;
                self.errors_once(filter, before, len_max).await
            }
            answer => answer,
        }
    }

    async fn errors_once(
        &self,
        filter: &Filter,
        before: Option<&Place>,
        len_max: u32,
    ) -> Result<Vec<(Place, FailureDocument)>, ServiceError> {
        let mut all = conditions(filter);
        if let Some(start) = &filter.applicant {
            // Leads into the index, which knows no case; the pattern decides.
            all.push(
                doc! { "applicantEmail": { "$gte": start, "$lt": format!("{start}\u{ffff}") } },
            );
        }
        let find = async {
            let mut find = self
                .failures
                .find(matching(all, before))
                .projection(without_body())
                .sort(newest_first())
                .limit(i64::from(len_max))
                .max_time(READ_TIMEOUT);
            if filter.applicant.is_some() {
                find = find.collation(any_case());
            } else if let Some(index) = index(filter) {
                find = find.hint(Hint::Keys(index));
            }
            let found = find.await?;
            let failures =
                found.map_ok(|document| (Place::of(&document), FailureDocument::read(&document)));
            failures.try_collect().await
        };
        within(READ_TIMEOUT, find).await
    }

    /// How many a filter finds; a lower bound where counting takes long.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn count_errors(&self, filter: &Filter) -> Result<FailureCount, ServiceError> {
        let (all, waiting, loans) = tokio::join!(
            self.count(matching(conditions(filter), None)),
            async {
                let mut waiting = conditions(filter);
                waiting.push(doc! { "waiting": true });
                self.count(matching(waiting, None)).await
            },
            self.count_loans(filter),
        );
        let (all, waiting, loans) = (all?, waiting?, loans?);
        Ok(FailureCount {
            is_exact: all.is_some() && waiting.is_some() && loans.is_some(),
            // Each that waits is of another loan.
            attempts: all.or(loans).or(waiting).unwrap_or_default(),
            loans: loans.or(waiting).unwrap_or_default(),
            waiting: waiting.unwrap_or_default(),
        })
    }

    /// `None` if that takes too long.
    async fn count(&self, conditions: Document) -> Result<Option<u64>, ServiceError> {
        let count = self
            .failures
            .count_documents(conditions)
            .max_time(COUNT_TIMEOUT);
        in_time(within(COUNT_TIMEOUT * 2, count.into_future()).await)
    }

    async fn count_loans(&self, filter: &Filter) -> Result<Option<u64>, ServiceError> {
        let stages = [
            doc! { "$match": matching(conditions(filter), None) },
            doc! { "$group": { "_id": "$loanId" } },
            doc! { "$count": "loans" },
        ];
        let count = async {
            let mut found = self
                .failures
                .aggregate(stages)
                .max_time(COUNT_TIMEOUT)
                .allow_disk_use(true)
                .await?;
            let count = found.try_next().await?;
            Ok(count.map_or(0, |count| number(&count, "loans")))
        };
        in_time(within(COUNT_TIMEOUT * 2, count).await)
    }

    /// How many wait, exactly.
    ///
    /// # Errors
    /// MongoDB out of reach or silent, or there are more than can be counted in time.
    pub async fn count_waiting(&self, which: &Which<'_>) -> Result<u64, ServiceError> {
        let count = self
            .failures
            .count_documents(which.conditions())
            .max_time(EXACT_COUNT_TIMEOUT);
        within(EXACT_COUNT_TIMEOUT, count.into_future()).await
    }

    /// The oldest that wait, behind the place `after`, at most `len_max`.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn waiting(
        &self,
        which: &Which<'_>,
        after: Option<&Place>,
        len_max: usize,
        bodies: Bodies,
    ) -> Result<Waiting, ServiceError> {
        let mut conditions = which.conditions();
        if let Some(after) = after {
            // The bound leads into the index; the rest orders what failed in the same millisecond.
            let mut all = vec![conditions, after.beyond("$gt")];
            all.extend(after.bound("$lt"));
            conditions = doc! { "$and": all };
        }
        let fields = match bodies {
            Bodies::Read => Document::new(),
            Bodies::Left => without_body(),
        };
        let find = async {
            let mut found = self
                .failures
                .find(conditions)
                .projection(fields)
                .sort(doc! { "failedAt": 1, "_id": 1 })
                .limit(len_max as i64)
                .batch_size(len_max as u32)
                .read_concern(ReadConcern::majority())
                .await?;
            let mut waiting = Waiting::default();
            while let Some(document) = found.try_next().await? {
                let place = Place::of(&document);
                if let Ok(failure) = bson::deserialize_from_slice(document.as_bytes()) {
                    waiting.failures.push(failure);
                } else {
                    tracing::error!(
                        failure = %place.id,
                        "a record was changed in MongoDB and cannot be read: its loan goes on waiting"
                    );
                    waiting.unreadable += 1;
                }
                waiting.last = Some(place);
            }
            Ok(waiting)
        };
        within(STEP_TIMEOUT, find).await
    }

    /// Those of these failures that are still their loan's last word: not accepted, not discarded, and no later attempt failed.
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
                .projection(doc! { "loanId": 1, "attempt": 1, "discarded.at": 1 })
                .read_concern(ReadConcern::majority())
                .await?;
            while let Some(document) = cursor.try_next().await? {
                let attempt = if document
                    .get("discarded")
                    .is_ok_and(|discarded| discarded.is_some())
                {
                    u32::MAX
                } else {
                    let attempt = document.get("attempt").ok().flatten();
                    let attempt = attempt.and_then(|attempt| Bson::try_from(attempt).ok());
                    whole(attempt.as_ref()).unwrap_or_default() as u32
                };
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

    /// The failures of which the next attempt was queued, as long ago as its record would still be there. Those that cannot be
    /// read are passed over.
    ///
    /// # Errors
    /// MongoDB out of reach; each item may fail too.
    pub async fn retried(
        &self,
    ) -> Result<BoxStream<'static, Result<WaitingFailure, ServiceError>>, ServiceError> {
        let kept = self.loans_kept().await?;
        let since = kept.map_or(DateTime::MIN, |kept| {
            DateTime::from_millis(DateTime::now().timestamp_millis() - kept.as_millis() as i64)
        });
        let find = self
            .failures
            .find(doc! {
                "endedAt": { "$gt": since },
                "waiting": { "$exists": false },
                "discarded": { "$exists": false },
                "errorType": { "$ne": Category::Conflict.name() },
            })
            .projection(without_body())
            .read_concern(ReadConcern::majority());
        let found = within(READ_TIMEOUT, find.into_future()).await?;
        let failures = found.try_filter_map(async |document| {
            Ok(bson::deserialize_from_slice(document.as_bytes()).ok())
        });
        Ok(failures.map_err(ServiceError::from).boxed())
    }

    /// Says that these failures wait again: their next attempts are lost.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn waiting_again(&self, ids: &[&str]) -> Result<(), ServiceError> {
        if ids.is_empty() {
            return Ok(());
        }
        let update = self.failures.update_many(
            doc! { "_id": { "$in": ids }, "discarded": { "$exists": false } },
            doc! { "$set": { "waiting": true }, "$unset": { "endedAt": "" } },
        );
        within(READ_TIMEOUT, update.into_future()).await.map(drop)
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
            doc! { "$unset": { "waiting": "" }, "$set": { "endedAt": DateTime::now() } },
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

/// What was asked, unless it took too long.
fn in_time<T>(answer: Result<T, ServiceError>) -> Result<Option<T>, ServiceError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_out_of_time(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A number, however MongoDB has written it.
fn number(document: &Document, key: &str) -> u64 {
    whole(document.get(key)).unwrap_or_default() as u64
}
