//! Removes the personal data of one applicant from the record. Ids, counts and what was decided stay.

use std::time::Duration;

use bson::{Bson, DateTime, Document, Regex, doc};
use futures_util::TryStreamExt;
use mongodb::error::Error;

use super::failures::escaped;
use super::{Store, within};
use crate::error::ServiceError;
use crate::mention;

/// A look through all records may take long.
const FORGET_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// What stands in place of a name.
const FORGOTTEN: &str = "forgotten";
/// Failures that are noted as the applicant's in one call.
const NOTED_LEN: usize = 500;

/// From how many records something was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Accepted loans.
    pub loans: u64,
    /// Failed attempts.
    pub failures: u64,
}

/// This address and no other, in any case.
fn exactly(address: &str) -> Bson {
    pattern(&format!("^{}$", escaped(address)))
}

/// A text that names it.
fn naming(address: &str) -> Bson {
    pattern(&mention::pattern(&escaped(address)))
}

/// The failures of an applicant, once those whose body alone says it are noted: [`Store::note_applicant`].
pub(super) fn failures_of(address: &str) -> Document {
    doc! { "applicantEmail": exactly(address) }
}

fn pattern(pattern: &str) -> Bson {
    Bson::RegularExpression(Regex {
        pattern: pattern.try_into().expect("an address holds no NUL"),
        options: "i".try_into().expect("options hold no NUL"),
    })
}

impl Store {
    /// Notes as an applicant's those failures that name the address elsewhere: where no address could be read, or where
    /// another stands in its place. MongoDB finds what may name it, this process reads what it means. Safe to repeat.
    ///
    /// # Errors
    /// MongoDB out of reach or silent: some may be noted.
    pub(crate) async fn note_applicant(&self, address: &str) -> Result<(), ServiceError> {
        let note = async {
            let may_name = doc! {
                "applicantEmail": { "$not": exactly(address) },
                "$or": [
                    { "body": naming(address) },
                    { "body": pattern(mention::ESCAPES) },
                    { "faults.value": naming(address) },
                ],
            };
            let mut found = self
                .failures
                .find(may_name)
                .projection(doc! { "body": 1, "faults.value": 1 })
                .await?;
            let mut theirs: Vec<Bson> = Vec::new();
            while let Some(failure) = found.try_next().await? {
                // Strings lie in BSON as they are: the whole of the document can be looked at.
                if !mention::names(failure.as_bytes(), address) {
                    continue;
                }
                if let Ok(Some(id)) = failure.get("_id") {
                    theirs.extend(Bson::try_from(id).ok());
                }
                if theirs.len() == NOTED_LEN {
                    self.note_theirs(address, std::mem::take(&mut theirs))
                        .await?;
                }
            }
            self.note_theirs(address, theirs).await
        };
        within(FORGET_TIMEOUT, note).await
    }

    async fn note_theirs(&self, address: &str, ids: Vec<Bson>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        self.failures
            .update_many(
                doc! { "_id": { "$in": ids } },
                doc! { "$set": { "applicantEmail": address } },
            )
            .await
            .map(drop)
    }

    /// Removes what is known of an applicant. Safe to repeat.
    ///
    /// # Errors
    /// MongoDB out of reach or silent: some of it may be removed.
    pub(crate) async fn forget(&self, address: &str) -> Result<Forgotten, ServiceError> {
        let now = DateTime::now();
        let forget = async {
            self.loans
                .update_many(
                    doc! { "applicant.email": exactly(address) },
                    doc! {
                        // The whole of the applicant, so that no field can be left.
                        "$set": { "applicant": { "name": FORGOTTEN, "email": FORGOTTEN }, "forgottenAt": now },
                    },
                )
                .await?;
            let mut with_faults = failures_of(address);
            with_faults.insert("faults", doc! { "$type": "array" });
            self.failures
                .update_many(with_faults, doc! { "$set": { "faults.$[].value": "" } })
                .await?;
            let failures = self
                .failures
                .update_many(
                    failures_of(address),
                    doc! {
                        "$set": { "forgottenAt": now },
                        "$unset": { "applicantEmail": "", "body": "" },
                    },
                )
                .await?;
            self.tasks
                .update_many(
                    doc! { "filter.applicant": exactly(address) },
                    doc! { "$set": { "filter.applicant": FORGOTTEN } },
                )
                .await?;
            // What people have written freely: it may name somebody in a record that is another's.
            let texts = |name: &str| self.database.collection::<Document>(name);
            for (collection, field) in [
                (texts("loans"), "purpose"),
                (texts("loans"), "applicant.name"),
                (texts("failures"), "discarded.reason"),
                (texts("tasks"), "reason"),
                (texts("activity"), "reason"),
            ] {
                let (mut named, mut set) = (Document::new(), Document::new());
                named.insert(field, naming(address));
                set.insert(field, FORGOTTEN);
                set.insert("forgottenAt", now);
                collection.update_many(named, doc! { "$set": set }).await?;
            }
            let told = doc! { "events": naming(address) };
            let gone = doc! { "$pull": { "events": naming(address) } };
            self.history.update_many(told, gone).await?;
            // A loan may have been changed several times.
            let changed = doc! { "forgottenAt": now };
            Ok(Forgotten {
                loans: self.loans.count_documents(changed).await?,
                failures: failures.modified_count,
            })
        };
        within(FORGET_TIMEOUT, forget).await
    }
}
