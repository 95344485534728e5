//! The parser against serde_json: the same verdict on every input, one fingerprint for one content, and one judgement of it,
//! whichever way it is written.

use std::fmt::Write as _;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use service::parse::{ParseError, envelope};
use service::validate::validate;

/// The bounds of the service's rules, restated here: the judge does not use what it judges.
const DEPTH_MAX: usize = 32;
const LOAN_ID_LEN_MAX: usize = 64;

/// A JSON value as serde_json reads it, numbers as they were written.
enum Value {
    Leaf(String),
    Text(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// The members of one object in their order, a repeated key included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Gather;
        impl<'de> Visitor<'de> for Gather {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Gather)
    }
}

/// The value of a text, by serde_json and the service's rules. `None`: to be refused.
fn read(text: &str, depth: usize) -> Option<Value> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let text = raw.get().trim();
    match text.as_bytes().first()? {
        b'{' if depth < DEPTH_MAX => {
            let Members(raw) = serde_json::from_str(text).ok()?;
            let mut members: Vec<(String, Value)> = Vec::with_capacity(raw.len());
            for (key, value) in raw {
                if members.iter().any(|(known, _)| *known == key) {
                    return None;
                }
                members.push((key, read(value.get(), depth + 1)?));
            }
            Some(Value::Object(members))
        }
        b'[' if depth < DEPTH_MAX => {
            let raw: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            raw.into_iter()
                .map(|value| read(value.get(), depth + 1))
                .collect::<Option<_>>()
                .map(Value::Array)
        }
        b'{' | b'[' => None,
        b'"' => serde_json::from_str(text).ok().map(Value::Text),
        b't' | b'f' | b'n' => Some(Value::Leaf(text.to_owned())),
        _ => {
            // A number that no double can hold is refused.
            let number: f64 = serde_json::from_str(text).ok()?;
            number.is_finite().then(|| Value::Leaf(text.to_owned()))
        }
    }
}

fn is_loan_id(text: &str) -> bool {
    (1..=LOAN_ID_LEN_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}

/// The same content written otherwise: members backwards, blanks everywhere, every character of a string escaped.
fn write_otherwise(value: &Value, text: &mut String) {
    let write_text = |content: &str, text: &mut String| {
        text.push('"');
        for unit in content.encode_utf16() {
            let _ = write!(text, "\\u{unit:04x}");
        }
        text.push('"');
    };
    match value {
        Value::Leaf(literal) => text.push_str(literal),
        Value::Text(content) => write_text(content, text),
        Value::Array(items) => {
            text.push_str("[ ");
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push_str(" ,\n");
                }
                write_otherwise(item, text);
            }
            text.push_str("\t]");
        }
        Value::Object(members) => {
            text.push_str("{\r\n");
            for (number, (key, value)) in members.iter().rev().enumerate() {
                if number > 0 {
                    text.push_str(" , ");
                }
                write_text(key, text);
                text.push_str(" : ");
                write_otherwise(value, text);
            }
            text.push_str(" }");
        }
    }
}

/// Compares the parser with serde_json on one body.
///
/// # Panics
/// When they disagree, or when one content has two fingerprints or two judgements.
pub fn parse(body: &[u8]) {
    let found = envelope(body);
    let value = std::str::from_utf8(body)
        .ok()
        .and_then(|text| read(text, 0));
    let expected = match &value {
        Some(Value::Object(members)) => members.iter().find_map(|(key, value)| match value {
            Value::Text(text) if key == "loanId" && is_loan_id(text) => Some(text.as_str()),
            _ => None,
        }),
        _ => None,
    };
    match (&found, expected) {
        (Ok(envelope), Some(loan_id)) => assert_eq!(envelope.loan_id.as_str(), loan_id),
        (Err(_), None) => {}
        _ => panic!(
            "{:?}: the service says {found:?}, serde_json {expected:?}",
            String::from_utf8_lossy(body)
        ),
    }
    if let Err(ParseError::InvalidUtf8) = found {
        assert!(std::str::from_utf8(body).is_err(), "it is valid UTF-8");
    }
    if let (Ok(envelope_found), Some(value)) = (&found, &value) {
        let mut otherwise = String::new();
        write_otherwise(value, &mut otherwise);
        assert_eq!(
            envelope(otherwise.as_bytes()).as_ref(),
            Ok(envelope_found),
            "{:?} and {otherwise:?} are one content",
            String::from_utf8_lossy(body)
        );
        assert_eq!(
            validate(body),
            validate(otherwise.as_bytes()),
            "{:?} and {otherwise:?} are judged alike",
            String::from_utf8_lossy(body)
        );
    }
}
