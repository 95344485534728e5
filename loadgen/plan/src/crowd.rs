//! Clients that misbehave beside the load.

use schemars::JsonSchema;
use serde::Deserialize;

/// Connections of one group at most.
pub const CLIENTS_MAX: u32 = 20_000;
/// Requests of nonsense in a second at most.
pub const NONSENSE_PER_SECOND_MAX: u32 = 10_000;

/// Who comes beside the load.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrowdPlan {
    /// Connections that have had one answer and then say nothing.
    pub idle: u32,
    /// Connections that send a request by the byte.
    pub slow: u32,
    /// Connections that ask for much and never read.
    pub never_read: u32,
    /// Requests in a second that must be refused: malformed, of a wrong type, to nowhere, too long.
    pub nonsense_per_second: u32,
}
