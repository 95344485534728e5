//! BSON, written straight to the end of a buffer. A document that is written whole needs no tree and no serialiser.

use std::ffi::CStr;

use bson::DateTime;
use bson::oid::ObjectId;
use bson::spec::ElementType;

/// The fields of one document, in the order in which they are written.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    bytes: &'a mut Vec<u8>,
}

/// Appends one document to `bytes`, with the fields that `write` writes.
pub(crate) fn document(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Fields<'_>)) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    write(&mut Fields { bytes });
    bytes.push(0);
    let len = length(bytes.len() - start);
    bytes[start..start + 4].copy_from_slice(&len);
}

impl Fields<'_> {
    fn name(&mut self, element: ElementType, name: &CStr) {
        self.bytes.push(element as u8);
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &CStr, text: &str) {
        self.texts(name, &[text]);
    }

    /// One text of several parts.
    pub(crate) fn texts(&mut self, name: &CStr, parts: &[&str]) {
        self.name(ElementType::String, name);
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.bytes.extend_from_slice(&length(len + 1));
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.bytes.push(0);
    }

    /// An integer, of 64 bits.
    pub(crate) fn integer(&mut self, name: &CStr, number: impl Into<i64>) {
        self.name(ElementType::Int64, name);
        self.bytes.extend_from_slice(&number.into().to_le_bytes());
    }

    /// A yes or no.
    pub(crate) fn boolean(&mut self, name: &CStr, value: bool) {
        self.name(ElementType::Boolean, name);
        self.bytes.push(u8::from(value));
    }

    /// An instant.
    pub(crate) fn instant(&mut self, name: &CStr, at: DateTime) {
        self.name(ElementType::DateTime, name);
        self.bytes
            .extend_from_slice(&at.timestamp_millis().to_le_bytes());
    }

    /// An object id.
    pub(crate) fn object_id(&mut self, name: &CStr, id: ObjectId) {
        self.name(ElementType::ObjectId, name);
        self.bytes.extend_from_slice(&id.bytes());
    }

    /// A document in this one.
    pub(crate) fn document(&mut self, name: &CStr, write: impl FnOnce(&mut Fields<'_>)) {
        self.name(ElementType::EmbeddedDocument, name);
        document(self.bytes, write);
    }

    /// An array of documents, one for each item.
    pub(crate) fn documents<T>(
        &mut self,
        name: &CStr,
        items: &[T],
        write: impl Fn(&mut Fields<'_>, &T),
    ) {
        self.name(ElementType::Array, name);
        document(self.bytes, |array| {
            let mut digits = itoa::Buffer::new();
            for (index, item) in items.iter().enumerate() {
                array.bytes.push(ElementType::EmbeddedDocument as u8);
                array
                    .bytes
                    .extend_from_slice(digits.format(index).as_bytes());
                array.bytes.push(0);
                document(array.bytes, |fields| write(fields, item));
            }
        });
    }
}

fn length(len: usize) -> [u8; 4] {
    i32::try_from(len)
        .expect("a record is far shorter than BSON's bound")
        .to_le_bytes()
}
