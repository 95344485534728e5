//! Reading Redis's answers.

use redis::Value;

use crate::error::ServiceError;

pub(super) fn array(value: Value) -> Result<Vec<Value>, ServiceError> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Nil => Ok(Vec::new()),
        _ => Err(ServiceError::RedisReply("an array was expected")),
    }
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, ServiceError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(ServiceError::RedisReply("a string was expected")),
    }
}

pub(super) fn text(value: Value) -> Result<String, ServiceError> {
    String::from_utf8(bytes(value)?).map_err(|_| ServiceError::RedisReply("text was expected"))
}

pub(super) fn integer(value: &Value) -> Result<i64, ServiceError> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::BulkString(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(ServiceError::RedisReply("an integer was expected")),
        _ => Err(ServiceError::RedisReply("an integer was expected")),
    }
}

pub(super) fn count(value: &Value) -> Result<u64, ServiceError> {
    u64::try_from(integer(value)?).map_err(|_| ServiceError::RedisReply("a count was negative"))
}

/// A count, or 0: a hand may have written what is none.
pub(super) fn count_or_zero(value: &Value) -> u64 {
    count(value).unwrap_or_default()
}

/// The names and values of a flat list, such as a stream entry's fields.
pub(super) fn pairs(
    value: Value,
) -> Result<impl Iterator<Item = (Vec<u8>, Vec<u8>)>, ServiceError> {
    let mut items = Vec::new();
    let mut flat = array(value)?.into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        items.push((bytes(name)?, bytes(value)?));
    }
    Ok(items.into_iter())
}
