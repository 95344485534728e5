//! HTTP body -> parsed document: one in-place simd-json pass, then the checks that admission needs.
//!
//! simd-json rewrites the buffer it parses (it unescapes strings in place), so the body is copied
//! once into a reused scratch buffer and parsed there. The original bytes stay untouched for the
//! queue. Strings are borrowed from the scratch, number literals from the original: money never
//! passes through a float. There is no intermediate tree, only simd-json's flat tape.

use std::cell::RefCell;

use simd_json::{Buffers, ErrorType, INPUT_PADDING, Node, StaticNode, Tape};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

use crate::limits::{BODY_LEN_MAX, JSON_DEPTH_MAX};
use crate::loan::{Fingerprint, LoanId};

/// Why a body is refused at the door. Nothing of it has been queued.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Not UTF-8.
    #[error("the body is not valid UTF-8")]
    InvalidUtf8,
    /// Not JSON.
    #[error("the body is not valid JSON: {0}")]
    Malformed(String),
    /// JSON, but nested too deep.
    #[error("the JSON is nested deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    /// JSON, but not an object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// The same key twice in one object.
    #[error("the key {0:?} stands twice in one object")]
    DuplicateKey(String),
    /// `loanId` is missing or breaks its rule.
    #[error(
        "loanId must be a string of 1 to 64 characters of A-Z a-z 0-9 . _ : -, and not . or .."
    )]
    InvalidLoanId,
}

/// One JSON value of a parsed body. Numbers keep their literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// The key is not there.
    Missing,
    /// `null`.
    Null,
    /// A string, unescaped.
    Text(&'a str),
    /// A number, as it was written.
    Number(&'a str),
    /// `true` or `false`.
    Boolean(bool),
    /// An array.
    Array,
    /// An object; its members are read through [`Document::member`].
    Object(ObjectIndex),
}

/// Where an object starts on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectIndex(usize);

/// A parsed body, borrowed from the parser's scratch and from the body itself.
#[derive(Debug)]
pub struct Document<'a> {
    nodes: &'a [Node<'a>],
    /// For each node of the tape, where its value starts in `body`.
    starts: &'a [u32],
    body: &'a [u8],
}

/// What admission needs to know of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The loan's id, checked.
    pub loan_id: LoanId,
    /// Stands for the content: equal for the same content, whatever the order of keys, white space,
    /// escapes or the spelling of numbers.
    pub fingerprint: Fingerprint,
}

/// The parser and its reused buffers. One for each thread, see [`with_parser`].
pub struct Parser {
    scratch: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    starts: Vec<u32>,
    canonical: Canonical,
}

/// A document's content in the one form that all its spellings have, and what making it needs. It is gathered and hashed at
/// once: a hash that is fed in some ninety small pieces takes longer than all the rest.
#[derive(Debug, Default)]
pub struct Canonical {
    bytes: Vec<u8>,
    keys: Vec<(usize, usize)>,
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            scratch: Vec::with_capacity(2048),
            buffers: Buffers::with_max_depth(2048, JSON_DEPTH_MAX),
            tape: Tape(Vec::with_capacity(64)),
            starts: Vec::with_capacity(64),
            canonical: Canonical::default(),
        }
    }
}

thread_local! {
    static PARSER: RefCell<Parser> = RefCell::new(Parser::default());
}

/// Runs `work` with this thread's parser.
pub fn with_parser<T>(work: impl FnOnce(&mut Parser) -> T) -> T {
    PARSER.with_borrow_mut(work)
}

/// Checks a request body for admission.
///
/// # Errors
/// Every [`ParseError`]. The body is only read.
pub fn envelope(body: &[u8]) -> Result<Envelope, ParseError> {
    with_parser(|parser| {
        parser.parse(body, |document, canonical| {
            let fingerprint = document.fingerprint(canonical)?;
            let loan_id = match document.member(document.root()?, "loanId") {
                // As a part of a path these two lead elsewhere: nobody could ask for such a loan.
                Field::Text("." | "..") => return Err(ParseError::InvalidLoanId),
                Field::Text(text) => LoanId::new(text).ok_or(ParseError::InvalidLoanId)?,
                _ => return Err(ParseError::InvalidLoanId),
            };
            Ok(Envelope {
                loan_id,
                fingerprint,
            })
        })
    })
}

impl Parser {
    /// Parses `body` and hands the document to `read`, with room for its canonical form.
    ///
    /// # Errors
    /// `Malformed`, `InvalidUtf8` or `TooDeep`, else what `read` answers.
    pub fn parse<T>(
        &mut self,
        body: &[u8],
        read: impl FnOnce(&Document<'_>, &mut Canonical) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.scratch.clear();
        self.scratch.extend_from_slice(body);
        self.scratch.resize(body.len() + INPUT_PADDING, 0);

        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed = if body.iter().all(u8::is_ascii_whitespace) {
            Err(ParseError::Malformed("it is empty".to_owned()))
        } else {
            simd_json::fill_tape_padded(&mut self.scratch, body.len(), &mut self.buffers, &mut tape)
                .map_err(|error| refusal(&error, body))
        };
        let answer = parsed.and_then(|()| {
            // A value starts at each structural character that is not punctuation after one.
            self.starts.clear();
            self.starts.extend(
                self.buffers
                    .structural_indexes()
                    .iter()
                    .copied()
                    .filter(|&at| {
                        !matches!(
                            body.get(at as usize),
                            None | Some(b':' | b',' | b'}' | b']')
                        )
                    })
                    .take(tape.0.len()),
            );
            if self.starts.len() != tape.0.len() {
                return Err(ParseError::Malformed(
                    "its structure is ambiguous".to_owned(),
                ));
            }
            let document = Document {
                nodes: &tape.0,
                starts: &self.starts,
                body,
            };
            read(&document, &mut self.canonical)
        });
        self.tape = tape.reset();
        if self.scratch.capacity() > 4 * BODY_LEN_MAX {
            *self = Self::default();
        }
        answer
    }
}

fn refusal(error: &simd_json::Error, body: &[u8]) -> ParseError {
    if std::str::from_utf8(body).is_err() {
        return ParseError::InvalidUtf8;
    }
    match error.error() {
        ErrorType::InvalidUtf8 => ParseError::InvalidUtf8,
        ErrorType::DepthLimitExceeded => ParseError::TooDeep,
        other => ParseError::Malformed(reason(other, body)),
    }
}

/// What is wrong and where, for a person. simd-json names its own states and often no place, so the
/// reason comes from serde_json, which reads such a body once more: only refusals pay for it.
fn reason(error: &ErrorType, body: &[u8]) -> String {
    match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Err(reason) => reason.to_string(),
        // It skips numbers without reading their value.
        Ok(_) if matches!(error, ErrorType::InvalidNumber) => {
            "a number is too large to be read".to_owned()
        }
        Ok(_) => "it is not JSON as RFC 8259 has it".to_owned(),
    }
}

impl<'a> Document<'a> {
    /// The top-level object.
    ///
    /// # Errors
    /// `NotAnObject`.
    pub fn root(&self) -> Result<ObjectIndex, ParseError> {
        match self.nodes.first() {
            Some(Node::Object { .. }) => Ok(ObjectIndex(0)),
            _ => Err(ParseError::NotAnObject),
        }
    }

    /// The member `key` of an object, [`Field::Missing`] if it has none.
    pub fn member(&self, object: ObjectIndex, key: &str) -> Field<'a> {
        let Some(Node::Object { len, .. }) = self.nodes.get(object.0) else {
            return Field::Missing;
        };
        let mut at = object.0 + 1;
        for _ in 0..*len {
            let value = at + 1;
            if matches!(self.nodes[at], Node::String(name) if name == key) {
                return self.field(value);
            }
            at = self.after(value);
        }
        Field::Missing
    }

    fn field(&self, at: usize) -> Field<'a> {
        match self.nodes[at] {
            Node::String(text) => Field::Text(text),
            Node::Object { .. } => Field::Object(ObjectIndex(at)),
            Node::Array { .. } => Field::Array,
            Node::Static(StaticNode::Null) => Field::Null,
            Node::Static(StaticNode::Bool(value)) => Field::Boolean(value),
            Node::Static(_) => Field::Number(self.literal(at)),
        }
    }

    /// The number at node `at` as it was written.
    fn literal(&self, at: usize) -> &'a str {
        let rest = &self.body[self.starts[at] as usize..];
        let len = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        std::str::from_utf8(&rest[..len]).expect("digits, signs, points and exponents are ASCII")
    }

    /// The index of the node after the whole value at `at`.
    fn after(&self, at: usize) -> usize {
        match self.nodes[at] {
            Node::Object { count, .. } | Node::Array { count, .. } => at + 1 + count,
            _ => at + 1,
        }
    }

    /// Checks every object for duplicate keys and sums up the content in one pass: the members of
    /// each object are taken in the order of their keys.
    ///
    /// # Errors
    /// No object at its root, or one in which a key stands twice.
    pub fn fingerprint(&self, canonical: &mut Canonical) -> Result<Fingerprint, ParseError> {
        self.root()?;
        canonical.bytes.clear();
        canonical.keys.clear();
        self.write(0, canonical)?;
        Ok(Fingerprint::new(xxh3_128(&canonical.bytes)))
    }

    /// Recursion is bounded by `JSON_DEPTH_MAX`, which the parser has enforced.
    fn write(&self, at: usize, canonical: &mut Canonical) -> Result<(), ParseError> {
        match self.nodes[at] {
            Node::String(text) => write_text(&mut canonical.bytes, text),
            Node::Static(StaticNode::Null) => canonical.bytes.push(b'n'),
            Node::Static(StaticNode::Bool(value)) => {
                canonical.bytes.push(if value { b't' } else { b'f' });
            }
            Node::Static(_) => write_number(&mut canonical.bytes, self.literal(at)),
            Node::Array { len, .. } => {
                canonical.bytes.push(b'[');
                let mut item = at + 1;
                for _ in 0..len {
                    self.write(item, canonical)?;
                    item = self.after(item);
                }
                canonical.bytes.push(b']');
            }
            Node::Object { len, .. } => {
                canonical.bytes.push(b'{');
                let mine = canonical.keys.len();
                let mut key = at + 1;
                for _ in 0..len {
                    canonical.keys.push((key, key + 1));
                    key = self.after(key + 1);
                }
                let keys = &mut canonical.keys[mine..];
                keys.sort_unstable_by_key(|&(key, _)| self.text(key));
                for pair in keys.windows(2) {
                    if self.text(pair[0].0) == self.text(pair[1].0) {
                        return Err(ParseError::DuplicateKey(shortened(self.text(pair[0].0))));
                    }
                }
                for member in mine..mine + len {
                    let (key, value) = canonical.keys[member];
                    write_text(&mut canonical.bytes, self.text(key));
                    self.write(value, canonical)?;
                }
                canonical.keys.truncate(mine);
                canonical.bytes.push(b'}');
            }
        }
        Ok(())
    }

    fn text(&self, at: usize) -> &'a str {
        match self.nodes[at] {
            Node::String(text) => text,
            _ => "",
        }
    }
}

/// The first 64 characters of `text`.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn write_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b's');
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Numbers of equal value are equal content: `1169`, `1169.00` and `1.169e3` are written alike.
fn write_number(bytes: &mut Vec<u8>, literal: &str) {
    let (negative, unsigned) = match literal.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, literal),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (
            &unsigned[..at],
            unsigned[at + 1..].parse::<i64>().unwrap_or(i64::MAX / 2),
        ),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    // The value is `digits` x 10^`scale`, with neither leading nor trailing zeros in `digits`.
    let (whole, fraction, zeros) = if fraction.is_empty() {
        let trimmed = whole.trim_end_matches('0');
        (
            trimmed.trim_start_matches('0'),
            "",
            whole.len() - trimmed.len(),
        )
    } else {
        let whole = whole.trim_start_matches('0');
        (
            whole,
            if whole.is_empty() {
                fraction.trim_start_matches('0')
            } else {
                fraction
            },
            0,
        )
    };
    let fraction_len = mantissa
        .split_once('.')
        .map_or(0, |(_, digits)| digits.trim_end_matches('0').len());
    let is_zero = whole.is_empty() && fraction.is_empty();
    bytes.push(b'd');
    if is_zero {
        bytes.push(0);
        return;
    }
    let scale = exponent
        .saturating_add(zeros as i64)
        .saturating_sub(fraction_len as i64);
    bytes.push(1 + u8::from(negative));
    bytes.extend_from_slice(&scale.to_le_bytes());
    bytes.extend_from_slice(&((whole.len() + fraction.len()) as u32).to_le_bytes());
    bytes.extend_from_slice(whole.as_bytes());
    bytes.extend_from_slice(fraction.as_bytes());
}

#[cfg(test)]
mod tests;
