//! Failed loans, back into the queue.

use super::{Link, function, value};
use crate::error::ServiceError;
use crate::loan::{Category, Fingerprint, LoanId};

/// What one step of a retry has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requeued {
    /// Loans that are queued again.
    pub moved: u64,
    /// Loans that had not failed, or that another retry took.
    pub skipped: u64,
    /// The last entry that was looked at; `None` at the end.
    pub last: Option<String>,
}

/// The failed loans of a category at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub len: u64,
    /// The newest of them. What fails later is not among them.
    pub newest: String,
}

/// The content that takes the place of a failed loan's.
#[derive(Clone, Copy, Debug)]
pub struct Correction<'a> {
    /// Its fingerprint.
    pub fingerprint: &'a Fingerprint,
    /// Its body.
    pub body: &'a [u8],
}

impl Link {
    /// The loans that wait for a retry, if there are any.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn waiting(&mut self, category: Category) -> Result<Option<Waiting>, ServiceError> {
        let stream = format!("{}{}", self.keys.failed, category.name());
        let mut pipeline = redis::pipe();
        pipeline.cmd("XLEN").arg(&stream);
        pipeline.cmd("XREVRANGE").arg(&stream).arg("+").arg("-");
        pipeline.arg("COUNT").arg(1);
        let mut answers = self.call_all(&pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(redis::Value::Nil);
        let len = value::count(&next())?;
        let Some(newest) = value::array(next())?.into_iter().next() else {
            return Ok(None);
        };
        let [newest, _] = super::claim::two(newest)?;
        Ok(Some(Waiting {
            len,
            newest: value::text(newest)?,
        }))
    }

    /// Queues up to `len_max` loans of a category again, the oldest first, from after the entry
    /// `after` to the entry `upto`. Each is a new attempt.
    ///
    /// # Errors
    /// Redis out of reach, out of memory or silent; any of them may be queued then.
    pub async fn requeue(
        &mut self,
        category: Category,
        after: Option<&str>,
        upto: &str,
        len_max: usize,
    ) -> Result<Requeued, ServiceError> {
        let mut call = function("sluice1_requeue");
        call.arg(3)
            .arg(&self.keys.queued)
            .arg(&self.keys.counters)
            .arg(&self.keys.failed)
            .arg(category.name())
            .arg(after.map_or_else(|| "-".to_owned(), |after| format!("({after}")))
            .arg(upto)
            .arg(len_max);
        let answer = self.call(&call).await?;
        decode(answer)
    }

    /// Queues those of `loan_ids` again that have failed; with a correction's content in place of
    /// their own.
    ///
    /// # Errors
    /// Redis out of reach, out of memory or silent; any of them may be queued then.
    pub async fn requeue_ids(
        &mut self,
        loan_ids: &[LoanId],
        correction: Option<Correction<'_>>,
    ) -> Result<Requeued, ServiceError> {
        let mut call = function("sluice1_requeue_ids");
        call.arg(3 + loan_ids.len())
            .arg(&self.keys.queued)
            .arg(&self.keys.counters)
            .arg(&self.keys.failed);
        for loan_id in loan_ids {
            call.arg(self.keys.id(loan_id.as_str()));
        }
        match correction {
            Some(correction) => call
                .arg(&correction.fingerprint.as_bytes()[..])
                .arg(correction.body),
            None => call.arg("").arg(""),
        };
        for loan_id in loan_ids {
            call.arg(loan_id.as_str());
        }
        let answer = self.call(&call).await?;
        decode(answer)
    }
}

fn decode(answer: redis::Value) -> Result<Requeued, ServiceError> {
    let mut parts = value::array(answer)?.into_iter();
    let (Some(moved), Some(skipped)) = (parts.next(), parts.next()) else {
        return Err(ServiceError::RedisReply("requeue: a part is missing"));
    };
    let last = parts.next().map_or(Ok(String::new()), value::text)?;
    Ok(Requeued {
        moved: value::count(&moved)?,
        skipped: value::count(&skipped)?,
        last: (!last.is_empty()).then_some(last),
    })
}
