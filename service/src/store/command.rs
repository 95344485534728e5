//! The command that writes a batch, built as bytes around documents that are bytes already, and its answer.
//!
//! The driver's own `insert_many` would serialise each document once more. What it does beyond that, one repetition after
//! a failure, the recorder does anyway.

use bson::oid::ObjectId;
use bson::{Document, RawDocumentBuf};
use mongodb::Database;
use mongodb::action::RunCommand;
use mongodb::error::{ErrorKind, WriteFailure};

use crate::error::ServiceError;
use crate::failpoint::Guard;
use crate::record;

/// MongoDB's code for a second document with the same key of a unique index.
const DUPLICATE_KEY: i32 = 11_000;
/// Codes by which MongoDB speaks of the document itself: of its form, of a validator, or of its key in some index. Such an
/// answer stays the same however often the document is sent. Every other one, known or not, is about MongoDB: its rights, its
/// disk, its members, an operator's hand; it may pass, and is no loan's fault.
const OF_THE_DOCUMENT: [i32; 26] = [
    // Values and names that it does not take, a validator, the length.
    2,
    9,
    14,
    22,
    52,
    53,
    54,
    55,
    56,
    57,
    121,
    10_334,
    // Keys: not unique, of two arrays, too long, an array to hash, no place for an index of places, no language for one of
    // words.
    DUPLICATE_KEY,
    171,
    17_280,
    16_766,
    13_026,
    13_027,
    13_068,
    13_654,
    16_746,
    16_755,
    16_756,
    16_804,
    17_261,
    17_262,
];

/// Whether MongoDB answered, with an error.
pub(crate) fn is_answer(error: &ServiceError) -> bool {
    match error {
        ServiceError::Mongo(error) => matches!(&*error.kind, ErrorKind::Command(_)),
        _ => false,
    }
}

/// Whether it refused one document, and holds one of this key.
pub(crate) fn is_duplicate(error: &ServiceError) -> bool {
    write_error(error) == Some(DUPLICATE_KEY)
}

/// Whether it refused one document for good.
pub(crate) fn is_of_the_document(error: &ServiceError) -> bool {
    write_error(error).is_some_and(|code| OF_THE_DOCUMENT.contains(&code))
}

fn write_error(error: &ServiceError) -> Option<i32> {
    match error {
        ServiceError::Mongo(error) => match &*error.kind {
            ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
            _ => None,
        },
        _ => None,
    }
}

/// An `insert` of many documents: unordered, durable on a majority.
#[derive(Debug)]
pub(super) struct Insert {
    bytes: Vec<u8>,
    /// Where the array of documents begins.
    array: usize,
    documents: usize,
    batch: ObjectId,
}

impl Insert {
    pub(super) fn new(collection: &str, batch: ObjectId) -> Self {
        let mut bytes = vec![0; 4];
        element(&mut bytes, 0x02, "insert");
        bytes.extend_from_slice(&(collection.len() as i32 + 1).to_le_bytes());
        bytes.extend_from_slice(collection.as_bytes());
        bytes.push(0);
        element(&mut bytes, 0x08, "ordered");
        bytes.push(0);
        element(&mut bytes, 0x03, "writeConcern");
        let concern = bson::rawdoc! { "w": "majority", "j": true };
        bytes.extend_from_slice(concern.as_bytes());
        element(&mut bytes, 0x04, "documents");
        let array = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        Self {
            bytes,
            array,
            documents: 0,
            batch,
        }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a document, with this batch's id in it.
    pub(super) fn push(&mut self, document: &[u8]) -> Result<(), ServiceError> {
        let mut index = itoa::Buffer::new();
        element(&mut self.bytes, 0x03, index.format(self.documents));
        self.documents += 1;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(document);
        record::set_batch(&mut self.bytes[start..], self.batch)
            .map_err(|_| ServiceError::MongoReply("a record is not one"))?;
        if Guard::RecordOnce.is_off() {
            let other = with_another_id(document, self.batch);
            self.bytes.truncate(start);
            self.bytes.extend_from_slice(other.as_bytes());
        }
        Ok(())
    }

    /// The command.
    pub(super) fn finish(mut self, database: &Database) -> Result<RunCommand<'_>, ServiceError> {
        self.bytes.push(0);
        let len = (self.bytes.len() - self.array) as i32;
        self.bytes[self.array..self.array + 4].copy_from_slice(&len.to_le_bytes());
        self.bytes.push(0);
        let len = self.bytes.len() as i32;
        self.bytes[..4].copy_from_slice(&len.to_le_bytes());
        let command = RawDocumentBuf::from_bytes(self.bytes)
            .map_err(|_| ServiceError::MongoReply("a command is not BSON"))?;
        Ok(database.run_raw_command(command))
    }
}

fn element(bytes: &mut Vec<u8>, kind: u8, name: &str) {
    bytes.push(kind);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
}

/// The same document under an id that no other batch gives it: what a switched-off guard stores.
fn with_another_id(document: &[u8], batch: ObjectId) -> RawDocumentBuf {
    let mut other = RawDocumentBuf::new();
    let document = bson::RawDocument::from_bytes(document).expect("a record is BSON");
    let id = document.get_str("_id").unwrap_or_default();
    other.append(bson::cstr!("_id"), format!("{id}#{batch}"));
    for (key, value) in document.iter().flatten() {
        if key == bson::cstr!("batch") {
            other.append(key, batch);
        } else if key != bson::cstr!("_id") {
            other.append(key, value);
        }
    }
    other
}

/// One document that MongoDB did not take.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its place in the command.
    pub(super) index: usize,
    code: i32,
    message: String,
    key_pattern: Option<Document>,
}

impl Refused {
    /// Those of an answer.
    ///
    /// # Errors
    /// If it cannot promise that the others are durable.
    pub(super) fn all_of(answer: &Document) -> Result<Vec<Self>, ServiceError> {
        if answer.contains_key("writeConcernError") {
            return Err(ServiceError::MongoReply(
                "it cannot promise that a batch is durable",
            ));
        }
        let Ok(errors) = answer.get_array("writeErrors") else {
            return Ok(Vec::new());
        };
        errors
            .iter()
            .map(|error| {
                let error = error
                    .as_document()
                    .ok_or(ServiceError::MongoReply("a write error is no document"))?;
                let number = |key| error.get_i32(key).unwrap_or_default();
                Ok(Self {
                    index: number("index") as usize,
                    code: number("code"),
                    message: error.get_str("errmsg").unwrap_or_default().to_owned(),
                    key_pattern: error.get_document("keyPattern").ok().cloned(),
                })
            })
            .collect()
    }

    /// Whether it holds this `_id` already.
    pub(super) fn is_duplicate_id(&self) -> bool {
        self.code == DUPLICATE_KEY
            && match &self.key_pattern {
                Some(keys) => keys.len() == 1 && keys.contains_key("_id"),
                None => self.message.contains("index: _id_ "),
            }
    }

    /// Whether the document is the reason: then it is refused for good.
    pub(super) fn is_of_the_document(&self) -> bool {
        OF_THE_DOCUMENT.contains(&self.code)
    }

    /// Why, without the values: they may be somebody's data.
    pub(super) fn reason(&self) -> String {
        if self.code == DUPLICATE_KEY {
            let index = self
                .message
                .split("index: ")
                .nth(1)
                .and_then(|rest| rest.split_whitespace().next())
                .unwrap_or("unknown");
            let keys = self.key_pattern.as_ref().map_or_else(String::new, |keys| {
                keys.keys()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            });
            return format!("not unique by the index {index} on {keys}");
        }
        // Some of its words end with the document.
        let words = self.message.split('{').next().unwrap_or_default();
        let words: String = words.trim_end().chars().take(200).collect();
        format!("MongoDB refuses it (code {}): {words}", self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What MongoDB answers of one document, with this code.
    fn refused(code: i32) -> Refused {
        let error = bson::doc! { "index": 0, "code": code, "errmsg": "no" };
        let mut all = Refused::all_of(&bson::doc! { "writeErrors": [error] }).unwrap();
        all.remove(0)
    }

    #[test]
    fn a_reason_has_no_part_of_the_document() {
        let message = "Can't extract geo keys: { _id: \"A\", applicant: { name: \"Ada\" } }";
        let error = bson::doc! { "index": 0, "code": 16_755, "errmsg": message };
        let all = Refused::all_of(&bson::doc! { "writeErrors": [error] }).unwrap();
        assert_eq!(
            all[0].reason(),
            "MongoDB refuses it (code 16755): Can't extract geo keys:"
        );
    }

    #[test]
    fn a_validator_and_an_index_speak_of_the_document() {
        for code in [121, DUPLICATE_KEY, 171, 16_755] {
            assert!(refused(code).is_of_the_document(), "{code}");
        }
    }

    /// A freeze, a lack of rights, a full cache, files that cannot be opened, and what nobody knows.
    #[test]
    fn all_else_is_no_loans_fault() {
        for code in [371, 13, 365, 8, 1, 11_601, 215, 14_031, 166, 0, 987_654] {
            assert!(!refused(code).is_of_the_document(), "{code}");
        }
    }
}
