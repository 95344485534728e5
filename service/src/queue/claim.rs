//! Bundles on their way through a worker: claimed, then decided, or set aside.

use std::time::Duration;

use redis::{Cmd, Value};

use super::bundle::{Bundle, Holder, Name, Ticket, Unreadable};
use super::results::{Decision, Results};
use super::{Partition, value};
use crate::error::ServiceError;
use crate::loan::Category;

/// A bundle that a worker holds, or why nobody can read it.
#[derive(Debug)]
pub struct Claimed {
    /// Its lease.
    pub ticket: Ticket,
    /// Its loans.
    pub bundle: Result<Bundle, Unreadable>,
}

/// What became of a bundle that was to be set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetAside {
    /// It stands aside.
    Done,
    /// Another has ended it.
    Gone,
    /// Too many stand aside: it is still where it was, and comes again when its lease is over.
    Full,
}

/// What became of a claimed bundle.
#[derive(Debug)]
pub struct Decided<'a> {
    /// The lease that it was claimed with.
    pub ticket: &'a Ticket,
    /// For each loan, in order.
    pub results: &'a Results,
}

impl Partition {
    /// Claims bundles of up to `loans_max` loans (or one that has more) for `holder`. Without a sign of life for `lease`
    /// they are given to another. Never waits for loans.
    ///
    /// # Errors
    /// Redis out of reach or silent. What was claimed is given out again when the lease is over.
    pub async fn claim(
        &mut self,
        holder: Holder,
        lease: Duration,
        loans_max: usize,
    ) -> Result<Vec<Claimed>, ServiceError> {
        let call = self.claiming(holder, lease, loans_max);
        let answer = self.call(&call).await?;
        self.with_content(tickets(answer)?).await
    }

    /// Notes what was decided. Answers for each bundle whether it was this decision that counts.
    ///
    /// # Errors
    /// Redis out of reach or silent: any of them may count.
    pub async fn decide(&mut self, decided: &[Decided<'_>]) -> Result<Vec<bool>, ServiceError> {
        let call = self.deciding(decided);
        flags(self.call(&call).await?)
    }

    /// [`Partition::decide`] and [`Partition::claim`] in one round trip and with one flush to disk.
    ///
    /// # Errors
    /// As for both. Either may have taken effect.
    pub async fn decide_and_claim(
        &mut self,
        decided: &[Decided<'_>],
        holder: Holder,
        lease: Duration,
        loans_max: usize,
    ) -> Result<(Vec<bool>, Vec<Claimed>), ServiceError> {
        let mut pipeline = redis::pipe();
        pipeline
            .add_command(self.deciding(decided))
            .add_command(self.claiming(holder, lease, loans_max));
        let mut replies = self.call_all(&pipeline).await?.into_iter();
        let mut next = || replies.next().unwrap_or(Value::Nil);
        let won = flags(next())?;
        let tickets = tickets(next())?;
        Ok((won, self.with_content(tickets).await?))
    }

    /// Takes a bundle that nobody can read out of the line; Redis keeps it with the reason.
    ///
    /// # Errors
    /// Redis out of reach or silent; a repetition is safe.
    pub async fn set_aside(
        &mut self,
        ticket: &Ticket,
        reason: &str,
    ) -> Result<SetAside, ServiceError> {
        let mut call = self.function("set_aside");
        call.arg(&ticket.name.as_bytes()[..])
            .arg(ticket.len)
            .arg(reason);
        Ok(match value::integer(&self.call(&call).await?)? {
            0 => SetAside::Gone,
            1 => {
                self.queue.aside.notify_one();
                SetAside::Done
            }
            _ => SetAside::Full,
        })
    }

    /// Gives back what `holder` may have been given by a call whose answer was lost. That is nobody's fault and counts as no
    /// delivery.
    ///
    /// # Errors
    /// Redis out of reach or silent.
    pub async fn release(&mut self, holder: Holder) -> Result<(), ServiceError> {
        let mut call = self.function("release");
        call.arg(&holder.0[..]);
        self.call(&call).await.map(drop)
    }

    /// Says that the holder of these leases still works: each lasts for `lease` from now. Answers for each ticket whether it
    /// is still held with it.
    ///
    /// # Errors
    /// Redis out of reach or silent. Then they may run out as they were.
    pub async fn renew(
        &mut self,
        lease: Duration,
        tickets: &[&Ticket],
    ) -> Result<Vec<bool>, ServiceError> {
        let mut call = self.function("renew");
        call.arg(lease.as_millis() as u64);
        for ticket in tickets {
            call.arg(ticket.as_bytes());
        }
        flags(self.call(&call).await?)
    }

    fn claiming(&self, holder: Holder, lease: Duration, loans_max: usize) -> Cmd {
        let mut call = self.function("claim");
        call.arg(&holder.0[..])
            .arg(lease.as_millis() as u64)
            .arg(loans_max);
        call
    }

    fn deciding(&self, decided: &[Decided<'_>]) -> Cmd {
        let mut call = self.function("decide");
        call.arg(decided.len());
        let mut applicants = Vec::new();
        for (number, Decided { ticket, results }) in decided.iter().enumerate() {
            call.arg(ticket.as_bytes()).arg(results.pack());
            let failures = results
                .decisions
                .iter()
                .filter_map(|decision| match decision {
                    Decision::Failed(failure) => Some(failure),
                    Decision::Accepted(_) => None,
                });
            let mut categories: Vec<(Category, u64)> = Vec::new();
            for failure in failures {
                match categories
                    .iter_mut()
                    .find(|(category, _)| *category == failure.category)
                {
                    Some((_, count)) => *count += 1,
                    None => categories.push((failure.category, 1)),
                }
                if let Some(applicant) = &failure.applicant_email {
                    applicants.push((number + 1, applicant));
                }
            }
            for (category, count) in categories {
                call.arg(category.name()).arg(count);
            }
            call.arg("");
        }
        for (number, applicant) in applicants {
            call.arg(number).arg(applicant);
        }
        call
    }

    /// The bundles of these tickets: from this process's memory where they are known, else from Redis.
    pub(super) async fn with_content(
        &mut self,
        tickets: Vec<Ticket>,
    ) -> Result<Vec<Claimed>, ServiceError> {
        let mut claimed: Vec<(Ticket, Option<Bundle>)> = tickets
            .into_iter()
            .map(|ticket| {
                let bundle = self.queue.cache.take(ticket.name);
                (ticket, bundle)
            })
            .collect();
        let missing: Vec<Name> = claimed
            .iter()
            .filter(|(_, bundle)| bundle.is_none())
            .map(|(ticket, _)| ticket.name)
            .collect();
        let bundles = self.keys().bundles().to_owned();
        let mut contents = self.values(&bundles, &missing).await?.into_iter();
        Ok(claimed
            .drain(..)
            .map(|(ticket, bundle)| {
                let bundle = match bundle {
                    Some(bundle) => Ok(bundle),
                    None => contents
                        .next()
                        .flatten()
                        .ok_or(Unreadable::Missing)
                        .and_then(|content| Bundle::read(ticket.name, content)),
                };
                let bundle = bundle.and_then(|bundle| {
                    if bundle.loans.len() == ticket.len {
                        Ok(bundle)
                    } else {
                        Err(Unreadable::Mismatch)
                    }
                });
                Claimed { ticket, bundle }
            })
            .collect())
    }

    /// The values of a hash under these bundles' names.
    pub(super) async fn values(
        &mut self,
        key: &str,
        names: &[Name],
    ) -> Result<Vec<Option<Vec<u8>>>, ServiceError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("HMGET");
        get.arg(key);
        for name in names {
            get.arg(&name.as_bytes()[..]);
        }
        value::array(self.call(&get).await?)?
            .into_iter()
            .map(|value| match value {
                Value::Nil => Ok(None),
                value => value::bytes(value).map(Some),
            })
            .collect()
    }
}

/// The tickets of an answer.
pub(super) fn tickets(answer: Value) -> Result<Vec<Ticket>, ServiceError> {
    value::array(answer)?
        .into_iter()
        .map(|ticket| {
            Ticket::read(value::bytes(ticket)?)
                .ok_or(ServiceError::RedisReply("a ticket of unknown form"))
        })
        .collect()
}

fn flags(reply: Value) -> Result<Vec<bool>, ServiceError> {
    value::array(reply)?
        .iter()
        .map(|flag| Ok(value::integer(flag)? == 1))
        .collect()
}
