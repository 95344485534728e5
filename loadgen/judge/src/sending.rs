//! What a load alone says, of which nothing but the answers is known. Pure. It is judged as a run without a look at the stores.

use std::time::Duration;

use plan::payload::Payloads;
use plan::scenario::Scenario;
use plan::schedule::Schedule;
use record::recorder::Recorder;
use record::result::run::Verdict;

use crate::account::{demanded, unanswered_by};
use crate::answers::wrong_answers;
use crate::verdict::{Evidence, reasons};

/// What was sent, and what was counted of it.
#[expect(missing_docs, reason = "each field is named after its type")]
pub struct Sending<'a> {
    pub scenario: &'a Scenario,
    pub schedule: &'a Schedule,
    pub payloads: &'a Payloads,
    pub recorder: &'a Recorder,
    /// Requests by goose's count and by ours.
    pub requests: (u64, u64),
    /// Why it was stopped before its end.
    pub stopped: Option<&'a str>,
}

impl Sending<'_> {
    /// The verdict and its reasons, the most important first.
    pub fn verdict(&self) -> (Verdict, Vec<String>) {
        let total = &self.recorder.total;
        let heard = &self.recorder.ledger.heard;
        let answers = self.recorder.answers.values().flatten();
        let promised = answers.filter(|(answer, _)| answer.is_acknowledged());
        let lag_p99_us = total.generator_lag.value_at_quantile(0.99);
        reasons(&Evidence {
            aborted: self.stopped,
            ended_early: None,
            sent: total.sent,
            demanded: demanded(self.payloads, heard),
            promised: promised.map(|(_, count)| count).sum(),
            wrong_answers: &wrong_answers(self.payloads, heard),
            unanswered: total.failed,
            unanswered_touched: total.failed_touched,
            unanswered_by: &unanswered_by(self.recorder),
            unanswered_ratio_max: self.scenario.unanswered_ratio_max,
            unsent: u64::from(self.schedule.arrivals()).saturating_sub(total.sent),
            held_back: 0,
            users: 0,
            // Its figures are all that comes of it.
            judges_speed: true,
            generator_lag_p99: Duration::from_micros(lag_p99_us),
            generator_lag_max: self.scenario.send_lag_max,
            pauses: &self.recorder.pauses,
            clocks: &[],
            foreign: None,
            overrides: &[],
            crowd: &[],
            generators: &[],
            checks: &[],
            audit: None,
            audit_failed: None,
            changed: &[],
            counters: &[],
            requests: self.requests,
        })
    }
}
