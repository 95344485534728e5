//! One worker: claim, process, decide, again.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::aside::set_aside;
use crate::backoff::Backoff;
use crate::clock::{now_ms, now_us};
use crate::decided::{Decided, Documents, Handover, Way};
use crate::enrich::enrich;
use crate::error::ServiceError;
use crate::failpoint::{end_if_poison, failpoint};
use crate::limits::{
    CLAIM_GATHER, CLAIM_LEN_MAX, CLAIM_POLL, CLAIM_TURN, DELIVERIES_TRUSTED, claim_gather,
};
use crate::metrics::Metrics;
use crate::queue::bundle::{Bundle, Holder, QueuedLoan, Ticket, Unreadable};
use crate::queue::claim::{self, Claimed};
use crate::queue::results::{Decision, Results};
use crate::queue::{Depths, Partition};
use crate::shutdown::stopped;
use crate::snapshot::EventKind;
use crate::validate::{Failure, validate};

pub mod isolation;
pub mod pool;
pub mod scale;

use isolation::Isolation;

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) holder: Holder,
    /// Its number in this instance, 1 first.
    pub(crate) number: u64,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) depths: Arc<Depths>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handover: Arc<Handover>,
    /// How long it may hold a bundle without deciding it.
    pub(crate) lease: Duration,
}

impl Worker {
    /// Works until `stop` turns true; what it has claimed by then is decided first.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let metrics = Arc::clone(&self.metrics);
        let _running = metrics.begin_worker(self.number);
        let mut waits = None;
        let mut partitions: Vec<_> = std::mem::take(&mut self.partitions)
            .into_iter()
            .map(WorkerPartition::of)
            .collect();
        while !*stop.borrow() {
            let Round { failed, has_more } = self.round(&mut partitions, &stop).await;
            if let Some(error) = failed {
                waits.get_or_insert_with(|| Waits::begin(&metrics, &error));
            }
            if partitions.iter().all(|worked| worked.rests_until.is_none()) {
                waits = None;
            }
            if has_more {
                continue;
            }
            let depths = Arc::clone(&self.depths);
            // Each call costs Redis a flush to disk: loans gather first. Then whatever this process admits wakes a worker;
            // what another admits is found by asking.
            let rest = async {
                sleep(CLAIM_GATHER).await;
                if partitions.iter().all(|worked| worked.decided.is_none()) {
                    let _ = tokio::time::timeout(CLAIM_POLL, depths.woken()).await;
                }
            };
            tokio::select! {
                () = rest => {}
                () = stopped(&mut stop) => break,
            }
        }
        // Where nothing is owed there is no reason to keep the process from ending.
        for worked in partitions
            .iter_mut()
            .filter(|worked| worked.decided.is_some())
        {
            // What Redis does not take now is given out again when this instance says that it leaves.
            let _ = self.drain_or_leave(worked, false, &stop).await;
        }
    }

    /// Goes through every partition that is worth it, the fullest first.
    async fn round(
        &self,
        partitions: &mut [WorkerPartition],
        stop: &watch::Receiver<bool>,
    ) -> Round {
        let mut round = Round::default();
        for worked in &mut *partitions {
            // Who serves it when it answers again may be another, and a link to a machine that has died hangs.
            if self.depths.is_shut(worked.partition.number()) && worked.partition.node().is_some() {
                worked.partition.disconnect();
            }
        }
        // Well before the lease is over.
        let gather = claim_gather(partitions.len()).min(self.lease / 4);
        for number in self.depths.fullest_first() {
            let worked = &mut partitions[number];
            if worked
                .rests_until
                .is_some_and(|until| Instant::now() < until)
            {
                continue;
            }
            let may_claim = worked.must_release || self.depths.begin_claim(number);
            if !may_claim && !worked.is_due(gather) {
                continue;
            }
            match self.drain_or_leave(worked, may_claim, stop).await {
                Ok(has_more) => round.has_more |= has_more,
                Err(error) => {
                    worked.rests_until = Some(Instant::now() + worked.backoff.next());
                    round.failed = Some(error);
                }
            }
        }
        self.metrics.note_work(self.number, None);
        round
    }

    /// Drains a partition. One that does not answer must not hold up the others: it is left as soon as that is known.
    async fn drain_or_leave(
        &self,
        worked: &mut WorkerPartition,
        may_claim: bool,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, ServiceError> {
        let number = worked.partition.number();
        let drained = tokio::select! {
            drained = self.drain(worked, may_claim, stop) => drained,
            () = self.depths.shut(number) => {
                Err(ServiceError::RedisSilent)
            }
        };
        if drained.is_err() {
            if self.depths.is_shut(number) {
                worked.partition.disconnect();
            }
            // It may have been given bundles, or still hold some.
            worked.decided = None;
            worked.must_release = true;
        }
        drained
    }

    /// Notes what was decided of one partition before, and claims and decides more in the same breath, until a claim is not
    /// full, or until its turn is over: the other partitions must not wait for one whose disk is slow. What it decides last is
    /// noted with the next call: each costs Redis a flush to disk, which admission waits for. Answers whether there is more.
    async fn drain(
        &self,
        worked: &mut WorkerPartition,
        mut may_claim: bool,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, ServiceError> {
        let number = worked.partition.number();
        let turn_ends = Instant::now() + CLAIM_TURN;
        if worked.must_release {
            worked.partition.release(self.holder).await?;
            worked.must_release = false;
        }
        loop {
            let claimed = match worked.decided.take() {
                Some(unnoted) => {
                    let claimed = self
                        .commit(&mut worked.partition, unnoted, may_claim)
                        .await?;
                    worked.get_on();
                    claimed
                }
                None if may_claim => {
                    worked
                        .partition
                        .claim(self.holder, self.lease, CLAIM_LEN_MAX)
                        .await?
                }
                None => return Ok(false),
            };
            let len: usize = claimed.iter().map(|claimed| claimed.ticket.len).sum();
            if may_claim {
                self.depths.claimed(number, len);
            }
            if claimed.is_empty() {
                worked.get_on();
                return Ok(false);
            }
            let has_more = len >= CLAIM_LEN_MAX && !*stop.borrow();
            may_claim = has_more && Instant::now() < turn_ends;
            self.metrics
                .note_work(self.number, Some((len as u64, number)));
            worked.decided = self.process(&mut worked.partition, claimed).await?;
            if !may_claim {
                return Ok(has_more);
            }
        }
    }

    /// Decides what becomes of claimed bundles. Those that have to be tried apart are noted as well.
    async fn process(
        &self,
        partition: &mut Partition,
        claimed: Vec<Claimed>,
    ) -> Result<Option<Unnoted>, ServiceError> {
        failpoint!("claim-after");
        let claimed_us = now_us();
        let started = Instant::now();
        let mut decided = Vec::with_capacity(claimed.len());
        let mut doubted = VecDeque::new();
        for Claimed { ticket, bundle } in claimed {
            match bundle {
                Ok(bundle) => {
                    self.metrics.queue_wait.add_all(
                        bundle
                            .loans
                            .iter()
                            .filter(|loan| loan.attempt == 1)
                            .map(|loan| claimed_us.saturating_sub(loan.received_us)),
                    );
                    if ticket.deliveries > DELIVERIES_TRUSTED {
                        doubted.push_back((ticket, bundle));
                    } else {
                        let nothing = std::iter::repeat_with(|| None);
                        let decision = decide(&bundle, nothing, claimed_us / 1000);
                        decided.push((ticket, decision));
                    }
                }
                Err(reason) => self.set_aside(partition, &ticket, reason).await,
            }
        }
        self.metrics.process.add_duration(started.elapsed());
        let mut unnoted = Unnoted::of(decided, claimed_us);
        if !doubted.is_empty() {
            // A trial takes long, and what was decided must not wait for it.
            if let Some(unnoted) = unnoted.take() {
                self.commit(partition, unnoted, false).await?;
            }
            self.finish_apart(partition, doubted, claimed_us).await?;
        }
        Ok(unnoted)
    }

    /// Notes in Redis what was decided, and hands over what became of each bundle; with `may_claim`, claims more.
    async fn commit(
        &self,
        partition: &mut Partition,
        unnoted: Unnoted,
        may_claim: bool,
    ) -> Result<Vec<Claimed>, ServiceError> {
        let Unnoted {
            decided,
            claimed_us,
            ..
        } = unnoted;
        failpoint!("commit-before");
        let started = Instant::now();
        let told: Vec<_> = decided
            .iter()
            .map(|(ticket, decided)| claim::Decided {
                ticket,
                results: &decided.results,
            })
            .collect();
        let (won, more) = if may_claim {
            partition
                .decide_and_claim(&told, self.holder, self.lease, CLAIM_LEN_MAX)
                .await?
        } else {
            (partition.decide(&told).await?, Vec::new())
        };
        failpoint!("commit-after");
        self.metrics.commit.add_duration(started.elapsed());
        for ((ticket, decided), won) in decided.into_iter().zip(won) {
            if won {
                self.tell(&decided);
                self.metrics.traces.decided(&ticket, &decided, claimed_us);
                self.handover.put(decided.documents);
            }
        }
        Ok(more)
    }

    /// Finishes bundles whose holders were lost several times, one after the other: one of their loans may be why. So all
    /// are tried in a process apart first, and only what a loan did there counts against it. That may take longer than a
    /// lease, which is therefore renewed meanwhile: else another would begin with the same, and nobody would ever end.
    async fn finish_apart(
        &self,
        partition: &mut Partition,
        mut doubted: VecDeque<(Ticket, Bundle)>,
        claimed_us: u64,
    ) -> Result<(), ServiceError> {
        let isolation = Isolation::new();
        let mut renew_at = Instant::now() + self.lease / 3;
        while let Some((ticket, bundle)) = doubted.pop_front() {
            let bodies: Vec<_> = bundle.loans.iter().map(|loan| &*loan.body).collect();
            let mut trial = pin!(isolation.try_apart(&bodies));
            let fates = loop {
                tokio::select! {
                    fates = &mut trial => break Some(fates),
                    () = sleep_until(renew_at) => {}
                }
                let waiting = doubted.iter().map(|(ticket, _)| ticket);
                let tickets: Vec<_> = std::iter::once(&ticket).chain(waiting).collect();
                let mut held = partition.renew(self.lease, &tickets).await?.into_iter();
                renew_at = Instant::now() + self.lease / 3;
                let is_held = held.next().unwrap_or_default();
                doubted.retain(|_| held.next().unwrap_or_default());
                if !is_held {
                    // Another has it now.
                    break None;
                }
            };
            let Some(fates) = fates else { continue };
            for (loan, fate) in bundle.loans.iter().zip(&fates) {
                if let Some(failure) = fate {
                    tracing::error!(loan_id = &*loan.loan_id, fault = ?failure.faults, "a loan is poison");
                }
            }
            let decision = decide(&bundle, fates, claimed_us / 1000);
            if let Some(unnoted) = Unnoted::of(vec![(ticket, decision)], claimed_us) {
                self.commit(partition, unnoted, false).await?;
            }
        }
        Ok(())
    }

    /// Takes what nobody can read out of the line. If Redis does not answer now, its lease runs out, and whoever claims it
    /// then tries again; the line goes on meanwhile.
    async fn set_aside(&self, partition: &mut Partition, ticket: &Ticket, reason: Unreadable) {
        let reason = reason.to_string();
        if let Err(error) = set_aside(partition, &self.metrics, ticket, &reason).await {
            tracing::debug!(%error, bundle = %ticket.name, "loans cannot be set aside yet");
        }
    }

    fn tell(&self, decided: &Decided) {
        let decisions = decided.documents.all.iter().zip(&decided.results.decisions);
        for (document, decision) in decisions {
            if let Decision::Failed(failure) = decision {
                self.metrics.tell(EventKind::Failure {
                    loan_id: document.loan_id.to_string(),
                    error_type: failure.category.name().to_owned(),
                    attempt: document.attempt,
                    applicant: failure.applicant_email.clone(),
                });
            }
        }
    }
}

/// What came of going through the partitions once.
#[derive(Debug, Default)]
struct Round {
    /// Why one of them failed, if one did.
    failed: Option<ServiceError>,
    /// Whether one of them has more loans than its turn was long enough for.
    has_more: bool,
}

/// A partition as one worker works on it: with what it still owes to it.
#[derive(Debug)]
struct WorkerPartition {
    partition: Partition,
    /// What was decided and is not noted in Redis yet.
    decided: Option<Unnoted>,
    /// It may hold bundles that it does not know of, since an answer was lost or a worker before it died: they are given back
    /// first.
    must_release: bool,
    /// It does not get on: until then it is left alone.
    rests_until: Option<Instant>,
    backoff: Backoff,
}

impl WorkerPartition {
    fn of(partition: Partition) -> Self {
        Self {
            partition,
            decided: None,
            must_release: true,
            rests_until: None,
            backoff: Backoff::default(),
        }
    }

    /// What was decided is noted, or there was nothing to do. That loans were claimed alone says nothing: they may come back.
    fn get_on(&mut self) {
        self.rests_until = None;
        self.backoff.reset();
    }

    /// Whether something was decided at least `gather` ago.
    fn is_due(&self, gather: Duration) -> bool {
        let decided = self.decided.as_ref();
        decided.is_some_and(|unnoted| unnoted.since.elapsed() >= gather)
    }
}

/// What was decided of bundles that were claimed together.
#[derive(Debug)]
struct Unnoted {
    decided: Vec<(Ticket, Decided)>,
    claimed_us: u64,
    since: Instant,
}

impl Unnoted {
    /// `None` where nothing was decided.
    fn of(decided: Vec<(Ticket, Decided)>, claimed_us: u64) -> Option<Self> {
        (!decided.is_empty()).then(|| Self {
            decided,
            claimed_us,
            since: Instant::now(),
        })
    }
}

/// A worker waits for Redis, or for a part of it, until this is dropped.
struct Waits(Arc<Metrics>);

impl Waits {
    fn begin(metrics: &Arc<Metrics>, error: &ServiceError) -> Self {
        metrics.processing_waits(error);
        Self(Arc::clone(metrics))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.processing_goes_on();
    }
}

/// What becomes of a bundle: a pure function of its loans, of what is known against each of them, and of the time.
fn decide(
    bundle: &Bundle,
    fates: impl IntoIterator<Item = Option<Failure>>,
    claimed_ms: u64,
) -> Decided {
    let processed_ms = now_ms();
    let mut documents = Documents::new(bundle);
    let mut decisions = Vec::with_capacity(bundle.loans.len());
    for (loan, fate) in bundle.loans.iter().zip(fates) {
        let way = Way::new(bundle, loan, claimed_ms, processed_ms);
        let fail = |documents: &mut Documents, failure: Failure| {
            documents.fail(way, &failure);
            Decision::Failed(failure)
        };
        decisions.push(match fate {
            Some(failure) => fail(&mut documents, failure),
            // A loan that makes the code panic would do so each time.
            None => catch_unwind(AssertUnwindSafe(|| process(loan, way, &mut documents)))
                .unwrap_or_else(|_| {
                    tracing::error!(loan_id = &*loan.loan_id, "processing panicked");
                    fail(&mut documents, isolation::poison("its processing panicked"))
                }),
        });
    }
    Decided {
        results: Results {
            claimed_ms,
            processed_ms,
            decisions,
        },
        documents,
    }
}

/// Decides one loan and adds its document.
fn process(loan: &QueuedLoan, way: Way<'_>, documents: &mut Documents) -> Decision {
    match judge(&loan.body) {
        Ok((valid, enrichment)) => {
            documents.accept(way, &valid, &enrichment);
            Decision::Accepted(enrichment)
        }
        Err(failure) => {
            documents.fail(way, &failure);
            Decision::Failed(failure)
        }
    }
}

/// Validates and enriches.
fn judge(body: &[u8]) -> Result<(crate::loan::Loan, crate::enrich::Enrichment), Failure> {
    failpoint!("process");
    end_if_poison(body);
    let valid = validate(body)?;
    let enrichment = enrich(&valid);
    Ok((valid, enrichment))
}
