//! Reads everything that is stored after a run, and has every loan judged.

use judge::audit::{Audited, Dues, Findings, judge};
use judge::end_to_end::EndToEnd;
use observe::stores::{FAILURES, LOANS, StoreError, Stores};
use plan::payload::Payloads;
use plan::schedule::Schedule;
use record::clock::RunClock;
use record::ledger::Ledger;
use record::pause::Pauses;
use snapshot::Counters;

/// What the audit of one run reads and compares.
pub struct Question<'a> {
    /// The stores to read.
    pub stores: &'a Stores,
    /// What was sent.
    pub payloads: &'a Payloads,
    /// What was heard.
    pub ledger: &'a Ledger,
    /// The clock of the run.
    pub clock: RunClock,
    /// When each arrival was due.
    pub schedule: &'a Schedule,
    /// Live counters before the load and after the drain.
    pub counters: Option<(&'a Counters, &'a Counters)>,
    /// Requests without a definite answer.
    pub requests_unknown: u64,
    /// When the generator stood still.
    pub pauses: &'a Pauses,
    /// Whether the service's clock and the generator's are known to agree, so that a latency across both means something.
    pub clocks_agree: bool,
    /// The database holds this run only, so that every record in it is judged.
    pub private: bool,
}

/// Reads everything that is stored and judges every loan.
///
/// # Errors
/// When Redis or MongoDB does not answer.
pub async fn audit(question: &Question<'_>) -> Result<Audited, StoreError> {
    let mut end_to_end = EndToEnd::new(question.schedule.phases().len());
    let mut findings = Findings::new(question.payloads, question.ledger.heard.len() as u32);
    let prefix = question.payloads.prefix();
    let prefix = (!question.private).then_some(prefix.as_str());
    for collection in [LOANS, FAILURES] {
        let mut dues = Dues::new(question.schedule);
        let stored = question.stores.records(collection, prefix).await?;
        let mut records = stored.with_confirmations(question.stores);
        while let Some(record) = records.next().await? {
            if let Some(owner) = findings.take(&record)
                && question.clocks_agree
                && let Some(confirmed_us) = record.confirmed_us()
                && let Some(slot) = dues.slot(owner)
            {
                let due_us = question.clock.wall_us(slot.offset);
                end_to_end.take(slot, due_us, confirmed_us, question.pauses);
            }
        }
    }
    for id in question.stores.stuck().await? {
        findings.stuck(&id);
    }
    let (audit, counters) = judge(
        question.payloads,
        question.schedule,
        question.ledger,
        &findings,
        question.counters,
        question.requests_unknown,
    );
    Ok(Audited {
        audit,
        counters,
        end_to_end: end_to_end.told(),
        records: findings.records(),
    })
}
