//! Decided bundles on their way to MongoDB, and out of Redis.

use std::time::Duration;

use super::bundle::{Bundle, Holder, IdHash, Name, Ticket, Unreadable};
use super::claim::tickets;
use super::results::Results;
use super::{Partition, value};
use crate::error::ServiceError;

/// What Redis keeps of a decided bundle.
#[derive(Debug)]
pub struct Content {
    /// Its loans.
    pub bundle: Bundle,
    /// What was decided of them.
    pub results: Results,
}

/// What has left Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Loans that left with this call.
    pub loans: u64,
    /// Failed attempts that left with this call.
    pub failures: u64,
    /// All that ever left this partition.
    pub recorded: u64,
}

/// A bundle whose loans all stand in MongoDB.
#[derive(Debug)]
pub struct Confirmed {
    /// Its name.
    pub name: Name,
    /// Loans of it that stand in `loans`.
    pub loans: usize,
    /// The ids of its loans, in any order.
    pub loan_ids: Vec<Box<str>>,
}

impl Partition {
    /// Takes decided bundles of up to `loans_max` loans (or one that has more) for `holder`, for `lease`. Never waits.
    ///
    /// # Errors
    /// Redis out of reach or silent. What was taken is given out again when the lease is over.
    pub async fn take_decided(
        &mut self,
        holder: Holder,
        lease: Duration,
        loans_max: usize,
    ) -> Result<Vec<Ticket>, ServiceError> {
        let mut call = self.function("take");
        call.arg(&holder.0[..])
            .arg(lease.as_millis() as u64)
            .arg(loans_max);
        tickets(self.call(&call).await?)
    }

    /// What Redis keeps of decided bundles, in the order of `tickets`.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn decided_content(
        &mut self,
        tickets: &[&Ticket],
    ) -> Result<Vec<Result<Content, Unreadable>>, ServiceError> {
        let names: Vec<_> = tickets.iter().map(|ticket| ticket.name).collect();
        let (bundles, results) = (
            self.keys().bundles().to_owned(),
            self.keys().results().to_owned(),
        );
        let bundles = self.values(&bundles, &names).await?;
        let results = self.values(&results, &names).await?;
        let contents = bundles.into_iter().zip(results);
        Ok(tickets
            .iter()
            .zip(contents)
            .map(|(ticket, (bundle, results))| {
                let bundle = Bundle::read(ticket.name, bundle.ok_or(Unreadable::Missing)?)?;
                let results =
                    Results::read(&results.ok_or(Unreadable::Missing)?, bundle.loans.len())?;
                Ok(Content { bundle, results })
            })
            .collect())
    }

    /// Says that MongoDB has confirmed all loans of these bundles: they leave Redis. `duplicates` of them it held
    /// already; `counts` names counters of what it refused for good. A repetition is safe.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn recorded(
        &mut self,
        confirmed: &[Confirmed],
        duplicates: u64,
        counts: &[(String, u64)],
    ) -> Result<Freed, ServiceError> {
        if confirmed.is_empty() {
            return Ok(Freed::default());
        }
        let ids = || confirmed.iter().flat_map(|bundle| &bundle.loan_ids);
        let mut heads = Vec::with_capacity(8 * ids().count());
        for loan_id in ids() {
            IdHash::of(loan_id).put(&mut heads);
        }
        let mut call = self.function("recorded");
        call.arg(confirmed.len())
            .arg(duplicates)
            .arg(counts.len())
            .arg(heads);
        for bundle in confirmed {
            call.arg(&bundle.name.as_bytes()[..]);
        }
        for bundle in confirmed {
            call.arg(bundle.loans)
                .arg(bundle.loan_ids.len() - bundle.loans);
        }
        for (counter, count) in counts {
            call.arg(counter).arg(count);
        }
        for loan_id in ids() {
            call.arg(&**loan_id);
        }
        let mut sums = value::array(self.call(&call).await?)?.into_iter();
        let mut next = || sums.next().map_or(Ok(0), |sum| value::count(&sum));
        Ok(Freed {
            loans: next()?,
            failures: next()?,
            recorded: next()?,
        })
    }
}
