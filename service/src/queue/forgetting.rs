//! Removes an applicant's address from Redis, where it stands beside loans that are on their way.

use redis::Value;

use super::{Partition, value};
use crate::error::ServiceError;
use crate::mention;

/// Entries of a hash that are looked at in one call.
const SCAN_LEN: usize = 100;

/// What of an applicant stands in a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Bundles on their way: they leave by themselves once they are recorded.
    pub(crate) bundles: u64,
    /// Bundles set aside: they stay until somebody removes them.
    pub(crate) aside: u64,
}

impl Partition {
    /// How many bundles name an address, however it is written.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub(crate) async fn bundles_with(&mut self, address: &str) -> Result<Held, ServiceError> {
        let keys = self.keys();
        let hashes = [keys.bundles(), keys.results(), keys.aside()].map(str::to_owned);
        let mut counts = [0; 3];
        for (hash, count) in hashes.iter().zip(&mut counts) {
            *count = self.entries_with(hash, address).await?;
        }
        let [bundles, results, aside] = counts;
        Ok(Held {
            bundles: bundles.max(results),
            aside,
        })
    }

    async fn entries_with(&mut self, hash: &str, address: &str) -> Result<u64, ServiceError> {
        let mut cursor = 0;
        let mut found = 0;
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(hash).arg(cursor).arg("COUNT").arg(SCAN_LEN);
            let mut answer = value::array(self.call(&scan).await?)?.into_iter();
            let mut next = || answer.next().unwrap_or(Value::Nil);
            cursor = value::count(&next())?;
            for (_, content) in value::pairs(next())? {
                found += u64::from(mention::names(&content, address));
            }
            if cursor == 0 {
                return Ok(found);
            }
        }
    }

    /// Takes an applicant out of the list of those with the most failures. Answers how often it stood there.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub(crate) async fn forget_applicant(&mut self, address: &str) -> Result<u64, ServiceError> {
        let applicants = self.keys().applicants().to_owned();
        let mut range = redis::cmd("ZRANGE");
        range.arg(&applicants).arg(0).arg(-1);
        let mut gone = 0;
        for applicant in value::array(self.call(&range).await?)? {
            let applicant = value::bytes(applicant)?;
            if mention::names(&applicant, address) {
                let mut remove = redis::cmd("ZREM");
                remove.arg(&applicants).arg(applicant);
                gone += value::count(&self.call(&remove).await?)?;
            }
        }
        Ok(gone)
    }

    /// Has Redis write its file anew, so that it holds no more than Redis does.
    ///
    /// # Errors
    /// Redis out of reach, without the right to, or at it already.
    pub(crate) async fn rewrite_file(&mut self) -> Result<(), ServiceError> {
        self.call(&redis::cmd("BGREWRITEAOF")).await.map(drop)
    }
}
