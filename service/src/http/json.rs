//! MongoDB's documents as plain JSON.

use bson::{Bson, Document};
use serde_json::Value;

/// A BSON document in bytes; `null` if it is none.
pub(super) fn from_bson_bytes(bytes: &[u8]) -> Value {
    Document::from_reader(bytes).map_or(Value::Null, |document| from_bson(document.into()))
}

/// Dates become RFC 3339 texts, ids hex texts; the rest is what it is.
pub(super) fn from_bson(value: Bson) -> Value {
    match value {
        Bson::Document(document) => document
            .into_iter()
            .map(|(key, value)| (key, from_bson(value)))
            .collect(),
        Bson::Array(items) => items.into_iter().map(from_bson).collect(),
        Bson::DateTime(at) => at.try_to_rfc3339_string().map_or(Value::Null, Value::from),
        Bson::ObjectId(id) => id.to_hex().into(),
        other => other.into_relaxed_extjson(),
    }
}
