//! Work on many loans, and how far it is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is done with many loans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum WorkKind {
    /// Failed loans are queued again.
    Retry,
    /// Failed loans are finished.
    Discard,
    /// Failures or loans are written into a file. How far that is, only the instance that does it tells, over `/ws`.
    Export,
}

/// How far work on many loans is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TaskPhase {
    /// An instance does it, or takes it up soon.
    Running,
    /// It ends after the step that it is in.
    Stopping,
    /// Somebody has stopped it. What was done stays done.
    Stopped,
    /// It has come to its end.
    Done,
    /// It cannot be done: `fault` says why.
    Failed,
}

/// Work on many loans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Names it.
    pub task_id: String,
    /// What is done.
    pub kind: WorkKind,
    /// How far it is.
    pub phase: TaskPhase,
    /// On which, if not on loans by their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FailureFilter>,
    /// How many loans were named by their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<u64>,
    /// Why, as the operator said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The name that goes with the operator's token.
    pub by: String,
    /// When it was asked for.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// Loans that the operator confirmed.
    pub expected: u64,
    /// Loans that it was done with; of an export the rows that were handed on.
    pub done: u64,
    /// Loans that waited no longer, or were taken by somebody else.
    pub skipped: u64,
    /// Loans that are left.
    pub remaining: u64,
    /// Why it does not go on now, or has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Which failed attempts: those that everything here holds for. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailureFilter {
    /// The loan's id begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9._:-]{1,64}$")]
    pub loan_id: Option<String>,
    /// The applicant's address begins so; upper and lower case are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub applicant: Option<String>,
    /// The category. One that nobody knows finds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z_]{1,64}$")]
    pub error_type: Option<String>,
    /// A fault is in this field, such as `applicant.email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub field: Option<String>,
    /// A fault's rule begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub rule: Option<String>,
    /// Failed at this instant or later: RFC 3339, or milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-01-31T12:00:00Z")]
    pub from: Option<String>,
    /// Failed before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-01-31T12:00:00Z")]
    pub to: Option<String>,
    /// Only what waits: for a retry, a correction or a discard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<bool>,
}
