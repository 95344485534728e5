//! What the HTTP interface takes and says, as types. `http/openapi.rs` publishes them, the live
//! figures are in [`crate::snapshot`].

use bson::DateTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::applicant::{Applicant, ApplicantRequest};
use crate::loan::Category;
use crate::record::{DiscardDocument, FailureDocument, LoanDocument};
use crate::snapshot::{Degraded, Percentiles, RunMarkerKind, WorkKind};
pub use crate::snapshot::{FailureFilter, Task, TaskPhase};
use crate::tokens::TokenRole;

/// A loan as a client asks for it. The door checks only that it is an object with a good `loanId`;
/// a worker checks the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoanRequest {
    /// The client's own id of the loan.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_:-][A-Za-z0-9._:-]*|\.{3,})$",
        example = "GC-000001"
    )]
    pub loan_id: String,
    /// Above 0, at most two decimals.
    #[schema(exclusive_minimum = 0.0, maximum = 10_000_000.0, example = 1169.0)]
    pub amount: f64,
    /// An ISO 4217 code, in use or historic; `INR` if there is none.
    #[schema(pattern = "^[A-Z]{3}$", example = "DEM")]
    pub currency: Option<String>,
    /// How many months it runs.
    #[schema(minimum = 1, maximum = 480, example = 6)]
    pub term_months: u32,
    /// What it is for.
    #[schema(min_length = 1, max_length = 64, example = "radio/television")]
    pub purpose: String,
    /// The applicant's score.
    #[schema(minimum = 300, maximum = 900, example = 712)]
    pub credit_score: u32,
    /// Who asks.
    pub applicant: ApplicantRequest,
}

/// The answer to a loan that is durable in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queued {
    /// The loan's id.
    pub loan_id: String,
    /// Always `queued`.
    pub status: LoanStatus,
    /// Whether this very loan was known already. It is counted once all the same.
    pub replayed: bool,
}

/// Where a loan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum LoanStatus {
    /// Waits for a worker.
    Queued,
    /// A worker holds it.
    Processing,
    /// Accepted; MongoDB has not confirmed it yet.
    Accepted,
    /// Failed; it waits for a retry.
    Failed,
    /// Accepted, and recorded in MongoDB.
    Recorded,
    /// Failed, and finished by an operator.
    Discarded,
}

/// One loan: where it is, how it came there, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoanView {
    /// The loan's id.
    pub loan_id: String,
    /// Where it is now.
    pub status: LoanStatus,
    /// When its body had come in whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub received_at: Option<String>,
    /// The steps of the attempt that is under way or was the last, oldest first.
    pub steps: Vec<Step>,
    /// The attempts that failed, newest first.
    pub attempts: Vec<FailedAttempt>,
    /// What the loan became, once it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<LoanResult>,
    /// Who finished it by hand, when and why, once it is discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded: Option<Discarded>,
    /// The content of a failed loan as it was sent, for an administrator alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// One step of a loan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Which one.
    pub step: StepKind,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

/// The steps of a loan, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// The body had come in whole.
    Received,
    /// Durable in the queue.
    Queued,
    /// A worker took it.
    Claimed,
    /// A worker decided it.
    Processed,
    /// MongoDB confirmed it.
    Recorded,
    /// An operator finished it.
    Discarded,
}

/// How a failed loan was finished by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Discarded {
    /// The name that goes with the operator's token.
    pub by: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Why.
    pub reason: String,
}

/// One failed attempt of a loan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedAttempt {
    /// The loan's id.
    pub loan_id: String,
    /// Which attempt, 1 first.
    pub attempt: u32,
    /// The first by rank of the faults' categories.
    pub error_type: Category,
    /// Every fault.
    pub faults: Vec<FaultView>,
    /// The applicant's address, as far as it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applicant_email: Option<String>,
    /// When the loan's body had come in whole.
    #[schema(format = DateTime)]
    pub received_at: String,
    /// When a worker decided it.
    #[schema(format = DateTime)]
    pub failed_at: String,
    /// Whether it waits: for a retry, a correction or a discard.
    #[serde(default)]
    pub is_waiting: bool,
    /// How it was finished by hand, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<Discarded>,
}

/// How many failures a filter finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureCount {
    /// Failed attempts.
    pub attempts: u64,
    /// Different loans.
    pub loans: u64,
    /// Loans that a retry or a discard acts on.
    pub waiting: u64,
    /// Otherwise counting took too long, and there are at least so many.
    pub is_exact: bool,
}

/// What is done with many failed loans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TaskKind {
    /// Queue them again.
    Retry,
    /// Finish them.
    Discard,
}

impl From<TaskKind> for WorkKind {
    fn from(kind: TaskKind) -> Self {
        match kind {
            TaskKind::Retry => Self::Retry,
            TaskKind::Discard => Self::Discard,
        }
    }
}

/// The work of the last day, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskList {
    /// At most 50.
    pub tasks: Vec<Task>,
}

/// Asks for work on many failed loans: those that a filter finds, or those of these ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskRequest {
    /// What is to be done.
    pub kind: TaskKind,
    /// On which failures. `{}`: all that wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FailureFilter>,
    /// On these loans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 1000)]
    pub loan_ids: Option<Vec<String>>,
    /// Why; needed for a discard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 500)]
    pub reason: Option<String>,
    /// How many loans the operator was shown and has confirmed; needed for a filter. Nothing begins where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000_u64)]
    pub expected: Option<u64>,
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ExportOf {
    /// Failed attempts.
    Errors,
    /// Accepted loans.
    Loans,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ExportFormat {
    /// For spreadsheets: commas between, and no cell that a spreadsheet takes for a formula.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

/// Asks for a link to a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportRequest {
    /// What.
    pub of: ExportOf,
    /// In which form.
    pub format: ExportFormat,
    /// Which; of loans only `from` and `to` may be given, for when they were decided.
    #[serde(default)]
    pub filter: FailureFilter,
}

/// A link that is good for one download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportTicket {
    /// Where it is, without a token.
    pub href: String,
    /// When it ends.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// The instances that are alive, and the partitions of the queue, as of the last second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceList {
    /// By their ids.
    pub instances: Vec<InstanceView>,
    /// By their numbers.
    pub partitions: Vec<PartitionView>,
}

/// One instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    /// Its id.
    pub instance: String,
    /// What it does.
    pub roles: Vec<String>,
    /// Its version.
    pub version: String,
    /// Commit that it was built from, or `unknown`.
    pub git_commit: String,
    /// Where it runs.
    pub host: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it was heard of last.
    #[schema(format = DateTime)]
    pub seen_at: String,
    /// Workers that it runs.
    pub workers: u64,
    /// The most workers that it may run.
    pub workers_max: u64,
    /// Loans that its workers hold.
    pub claimed: u64,
    /// Open HTTP connections.
    pub connections: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// What its workers do, at most 64 of them.
    pub doing: Vec<WorkerView>,
}

/// What a worker does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    /// Its number in its instance, 1 first.
    pub worker: u64,
    /// `waiting` or `processing`.
    pub state: String,
    /// Loans that it holds.
    pub loans: u64,
    /// For how long it has done so.
    pub for_ms: u64,
    /// Of which partition they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u64>,
}

/// One partition of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionView {
    /// Its number, 0 first.
    pub partition: u64,
    /// Loans that wait for a worker.
    pub queue_depth: u64,
    /// Loans that a worker holds.
    pub in_flight: u64,
    /// Age of the oldest loan that no worker has decided.
    pub oldest_waiting_ms: u64,
    /// Failed loans that wait for an operator.
    pub failed_waiting: u64,
    /// Results that MongoDB has not confirmed.
    pub unrecorded: u64,
    /// Whether Redis answers for it.
    pub redis_up: bool,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultView {
    /// Which field, such as `applicant.email`.
    pub field: String,
    /// The rule, in words.
    pub rule: String,
    /// Of what kind.
    pub error_type: Category,
    /// The value that broke it, shortened; empty where there is none.
    pub value: String,
}

/// What an accepted loan became. Money is in hundredths of the currency's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoanResult {
    /// Stands for the loan's content.
    pub fingerprint: String,
    /// Which attempt was accepted, 1 first.
    pub attempt: u32,
    /// The amount.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// How many months it runs.
    pub term_months: u32,
    /// What it is for.
    pub purpose: String,
    /// The applicant's score.
    pub credit_score: u32,
    /// Who asks.
    pub applicant: Applicant,
    /// The risk band.
    pub risk_band: String,
    /// The yearly rate of the band.
    pub annual_rate_basis_points: u32,
    /// The monthly instalment.
    pub monthly_instalment_minor: i64,
    /// A year's instalments against a year's income, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debt_to_income_basis_points: Option<i64>,
    /// `approve`, `refer` or `decline`.
    pub decision: String,
    /// When the loan's body had come in whole.
    #[schema(format = DateTime)]
    pub received_at: String,
    /// When a worker decided it.
    #[schema(format = DateTime)]
    pub processed_at: String,
}

/// Failed attempts, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorPage {
    /// The failed attempts.
    pub errors: Vec<FailedAttempt>,
    /// Asks for what is older, as `cursor`; `null` at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// Whose token was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Whether it may change something.
    pub admin: bool,
    /// The name that goes with the token.
    pub name: String,
    /// What it may do.
    pub role: TokenRole,
}

/// Changes by operators, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivityPage {
    /// The changes.
    pub entries: Vec<ActivityEntry>,
    /// Asks for what is older, as `cursor`; `null` at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// One change by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivityEntry {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// The name that goes with the token.
    pub name: String,
    /// The client's address.
    pub address: String,
    /// What was done, such as `pause`.
    pub action: String,
    /// What came of it, in words.
    pub effect: String,
    /// Why, in the operator's words; hidden from whoever has no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Finds the call in the log.
    pub request_id: String,
}

/// What an operator has set, for every instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// Whether new loans are refused. What was admitted goes on being processed.
    pub paused: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub paused_at: Option<String>,
}

/// How many failed loans a retry moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retried {
    /// Queued again, each as a new attempt.
    pub requeued: u64,
    /// Asked for, but not failed: unknown, under way, accepted, or taken by another retry.
    pub skipped: u64,
    /// Failed loans that match and were not reached: ask again.
    pub remaining: u64,
}

/// Which failed loans to queue again: all, those of a category, or those of these ids. A
/// correction takes the place of one loan's content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryRequest {
    /// Only loans that failed for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<Category>,
    /// Only these loans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 1000)]
    pub loan_ids: Option<Vec<String>>,
    /// The loan that takes the place of the one in `loanIds`, of the same `loanId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<LoanRequest>,
    /// Most loans to queue again in this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub limit: Option<u64>,
}

/// What a load run tells: where it is, what its clients see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunMarker {
    /// Names the run.
    #[schema(min_length = 1, max_length = 128)]
    pub run_id: String,
    /// The scenario's name.
    #[schema(min_length = 1, max_length = 128)]
    pub scenario: String,
    /// What happened.
    pub kind: RunMarkerKind,
    /// The phase's or the fault's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub name: Option<String>,
    /// The verdict, at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub verdict: Option<String>,
    /// Response times as the clients see them, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_us: Option<Percentiles>,
}

/// A state in one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `up` or `ready`.
    pub status: String,
    /// What is amiss all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<Degraded>,
}

/// Why a request was refused: problem details, RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemDetails {
    /// Names the kind of problem.
    #[schema(example = "urn:sluice:problem:overloaded")]
    pub r#type: String,
    /// The status code in words.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// What happened and what to do, for a person.
    pub detail: String,
    /// Names the kind of problem, for a program. Never changes its meaning.
    pub error_type: String,
    /// The query parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// How many loans there are, where that is more than were confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
}

impl From<FailureDocument> for FailedAttempt {
    fn from(document: FailureDocument) -> Self {
        Self {
            loan_id: document.loan_id,
            attempt: document.attempt,
            error_type: document.error_type,
            faults: document.faults,
            applicant_email: document.applicant_email,
            received_at: rfc3339(document.received_at),
            failed_at: rfc3339(document.failed_at),
            is_waiting: document.waiting,
            discarded: document.discarded.map(Discarded::from),
        }
    }
}

impl From<DiscardDocument> for Discarded {
    fn from(document: DiscardDocument) -> Self {
        Self {
            by: document.by,
            at: rfc3339(document.at),
            reason: document.reason,
        }
    }
}

impl From<crate::loan::Fault> for FaultView {
    fn from(fault: crate::loan::Fault) -> Self {
        Self {
            field: fault.field.into_owned(),
            rule: fault.rule.into_owned(),
            error_type: fault.category,
            value: fault.value,
        }
    }
}

impl From<LoanDocument> for LoanResult {
    fn from(document: LoanDocument) -> Self {
        Self {
            fingerprint: document.fingerprint,
            attempt: document.attempt,
            amount_minor: document.amount_minor.0,
            currency: document.currency,
            term_months: document.term_months,
            purpose: document.purpose,
            credit_score: document.credit_score,
            applicant: document.applicant,
            risk_band: document.risk_band,
            annual_rate_basis_points: document.annual_rate_basis_points,
            monthly_instalment_minor: document.monthly_instalment_minor.0,
            debt_to_income_basis_points: document.debt_to_income_basis_points,
            decision: document.decision,
            received_at: rfc3339(document.received_at),
            processed_at: rfc3339(document.processed_at),
        }
    }
}

/// An instant as the interface writes it: RFC 3339 with three decimals always, so that texts sort
/// as instants do.
pub fn rfc3339(at: DateTime) -> String {
    let text = at.try_to_rfc3339_string().unwrap_or_default();
    let Some(text) = text.strip_suffix('Z') else {
        return text;
    };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<3}Z")
}

/// Milliseconds since the Unix epoch as the interface writes an instant.
pub fn rfc3339_ms(at_ms: u64) -> String {
    rfc3339(DateTime::from_millis(at_ms as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_three_decimals() {
        for (at_ms, text) in [
            (1_700_000_000_000, "2023-11-14T22:13:20.000Z"),
            (1_700_000_000_100, "2023-11-14T22:13:20.100Z"),
            (1_700_000_000_120, "2023-11-14T22:13:20.120Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (0, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339_ms(at_ms), text);
        }
    }
}
