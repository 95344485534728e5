//! The filter of recorded ids: whether it is complete, and how it is made so again from MongoDB.

use super::bundle::IdHash;
use super::{Partition, value};
use crate::error::ServiceError;

/// Ids that go into the filter, as they are gathered.
#[derive(Debug, Default)]
pub struct Ids {
    heads: Vec<u8>,
}

impl Ids {
    /// Adds an id.
    pub fn push(&mut self, hash: IdHash) {
        hash.put(&mut self.heads);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.heads.len() / 8
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

/// The state of a partition that lacks the count of failures that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncounted(Vec<u8>);

/// A rebuilding of the filter that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilding(u64);

impl Partition {
    /// Says that the filter may lack what MongoDB holds: from now on MongoDB is asked for every id. Answers whether it
    /// was complete before, or about to be.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn doubt_filter(&mut self) -> Result<bool, ServiceError> {
        let mut call = self.function("doubt");
        call.arg("doubt");
        Ok(value::integer(&self.call(&call).await?)? > 0)
    }

    /// Starts to rebuild the filter, unless it is complete or another instance is at it.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn start_rebuilding(&mut self) -> Result<Option<Rebuilding>, ServiceError> {
        let mut call = self.function("doubt");
        call.arg("start");
        let token = value::count(&self.call(&call).await?)?;
        Ok((token > 0).then_some(Rebuilding(token)))
    }

    /// Whether MongoDB has to be asked how many failures wait, since this Redis may have lost the count: the state that the
    /// answer will be good for. `None` also while loans are on their way.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn must_count_waiting(&mut self) -> Result<Option<Uncounted>, ServiceError> {
        let call = self.function("count_waiting");
        let stamp = value::bytes(self.call(&call).await?)?;
        Ok((!stamp.is_empty()).then_some(Uncounted(stamp)))
    }

    /// Notes how many failures wait, as MongoDB says. Answers `false` if something has happened since: then it is counted
    /// again.
    ///
    /// # Errors
    /// Redis out of reach or silent; a repetition is safe.
    pub async fn count_waiting(
        &mut self,
        uncounted: &Uncounted,
        waiting: u64,
    ) -> Result<bool, ServiceError> {
        let mut call = self.function("count_waiting");
        call.arg(&uncounted.0[..]).arg(waiting);
        Ok(value::integer(&self.call(&call).await?)? == 1)
    }

    /// Puts ids that MongoDB holds into the filter. With `is_last` the filter is complete afterwards: then an id that it
    /// does not know is new, and MongoDB is asked no longer. Answers `false` if it has to be begun anew: this Redis has
    /// lost its data, or another rebuilding has begun.
    ///
    /// # Errors
    /// Redis out of reach or silent; a repetition is safe.
    pub async fn fill_filter(
        &mut self,
        rebuilding: &Rebuilding,
        ids: &Ids,
        is_last: bool,
    ) -> Result<bool, ServiceError> {
        let mut call = self.function("rebuild");
        call.arg(&ids.heads[..])
            .arg(rebuilding.0)
            .arg(if is_last { "1" } else { "" });
        Ok(value::integer(&self.call(&call).await?)? == 1)
    }
}
