//! Removes the personal data of one applicant from the record. Ids, counts and what was decided stay.

use std::time::Duration;

use bson::{Bson, DateTime, Document, Regex, doc};

use super::failures::escaped;
use super::{Store, within};
use crate::error::ServiceError;

/// A look through all records may take long.
const FORGET_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// What stands in place of a name.
const FORGOTTEN: &str = "forgotten";

/// From how many records something was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Accepted loans.
    pub loans: u64,
    /// Failed attempts.
    pub failures: u64,
}

/// This address and no other, in any case.
pub(super) fn exactly(address: &str) -> Bson {
    pattern(&format!("^{}$", escaped(address)))
}

/// The failures of an applicant: by the address that was read, and by the body, where it could not be read.
pub(super) fn failures_of(address: &str) -> Document {
    let in_body = pattern(&format!("\"{}\"", escaped(address)));
    doc! { "$or": [{ "applicantEmail": exactly(address) }, { "body": in_body }] }
}

fn pattern(pattern: &str) -> Bson {
    Bson::RegularExpression(Regex {
        pattern: pattern.try_into().expect("an address holds no NUL"),
        options: "i".try_into().expect("options hold no NUL"),
    })
}

impl Store {
    /// Removes what is known of an applicant. Safe to repeat.
    ///
    /// # Errors
    /// MongoDB out of reach or silent: some of it may be removed.
    pub(crate) async fn forget(&self, address: &str) -> Result<Forgotten, ServiceError> {
        let now = DateTime::now();
        let forget = async {
            let loans = self
                .loans
                .update_many(
                    doc! { "applicant.email": exactly(address) },
                    doc! {
                        // The whole of the applicant, so that no field can be left.
                        "$set": { "applicant": { "name": FORGOTTEN, "email": FORGOTTEN }, "forgottenAt": now },
                    },
                )
                .await?;
            let failures = self
                .failures
                .update_many(
                    failures_of(address),
                    doc! {
                        "$set": { "faults.$[].value": "", "forgottenAt": now },
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
            Ok(Forgotten {
                loans: loans.modified_count,
                failures: failures.modified_count,
            })
        };
        within(FORGET_TIMEOUT, forget).await
    }
}
