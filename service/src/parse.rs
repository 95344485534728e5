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
    /// The members of the objects that are being written.
    members: Vec<Member>,
}

/// A member of an object: its key's first bytes, and where its key stands among the nodes. Its value is the next one.
#[derive(Clone, Copy, Debug)]
struct Member {
    prefix: u64,
    key: usize,
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
        canonical.members.clear();
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
                let mine = canonical.members.len();
                let mut key = at + 1;
                for _ in 0..len {
                    let prefix = prefix(self.text(key));
                    canonical.members.push(Member { prefix, key });
                    key = self.after(key + 1);
                }
                self.sort(&mut canonical.members[mine..])?;
                for member in mine..mine + len {
                    let Member { key, .. } = canonical.members[member];
                    write_text(&mut canonical.bytes, self.text(key));
                    self.write(key + 1, canonical)?;
                }
                canonical.members.truncate(mine);
                canonical.bytes.push(b'}');
            }
        }
        Ok(())
    }

    /// Brings the members of one object into the order of their keys.
    fn sort(&self, members: &mut [Member]) -> Result<(), ParseError> {
        members.sort_unstable_by(|one, other| {
            let by_text = || self.text(one.key).cmp(self.text(other.key));
            one.prefix.cmp(&other.prefix).then_with(by_text)
        });
        for pair in members.windows(2) {
            let [one, next] = [pair[0], pair[1]];
            if one.prefix == next.prefix && self.text(one.key) == self.text(next.key) {
                return Err(ParseError::DuplicateKey(shortened(self.text(one.key))));
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

/// The first eight bytes of a key, as a number of the same order: most keys differ there.
fn prefix(key: &str) -> u64 {
    let len = key.len().min(8);
    let mut prefix = [0; 8];
    prefix[..len].copy_from_slice(&key.as_bytes()[..len]);
    u64::from_be_bytes(prefix)
}

fn write_text(bytes: &mut Vec<u8>, text: &str) {
    let [a, b, c, d] = (text.len() as u32).to_le_bytes();
    bytes.reserve(5 + text.len());
    bytes.extend_from_slice(&[b's', a, b, c, d]);
    bytes.extend_from_slice(text.as_bytes());
}

/// Numbers of equal value are equal content: `1169`, `1169.00` and `1.169e3` are written alike, as digits without zeros at
/// either end and the power of ten that they are multiplied by.
fn write_number(bytes: &mut Vec<u8>, literal: &str) {
    let unsigned = literal.strip_prefix('-').unwrap_or(literal);
    let is_negative = unsigned.len() < literal.len();
    let (mantissa, exponent) = match unsigned.bytes().position(|byte| byte | 0x20 == b'e') {
        Some(at) => (
            &unsigned.as_bytes()[..at],
            unsigned[at + 1..].parse::<i64>().unwrap_or(i64::MAX / 2),
        ),
        None => (unsigned.as_bytes(), 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let whole = without_leading_zeros(whole);
    let fraction = without_trailing_zeros(fraction);
    let (digits, scale) = if fraction.is_empty() {
        let digits = without_trailing_zeros(whole);
        ([digits, &[]], (whole.len() - digits.len()) as i64)
    } else if whole.is_empty() {
        let digits = without_leading_zeros(fraction);
        ([digits, &[]], -(fraction.len() as i64))
    } else {
        ([whole, fraction], -(fraction.len() as i64))
    };
    let len = digits[0].len() + digits[1].len();
    if len == 0 {
        bytes.extend_from_slice(b"d\0");
        return;
    }
    let mut head = [0; 14];
    head[0] = b'd';
    head[1] = 1 + u8::from(is_negative);
    head[2..10].copy_from_slice(&exponent.saturating_add(scale).to_le_bytes());
    head[10..].copy_from_slice(&(len as u32).to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(digits[0]);
    bytes.extend_from_slice(digits[1]);
}

fn without_leading_zeros(mut digits: &[u8]) -> &[u8] {
    while let [b'0', rest @ ..] = digits {
        digits = rest;
    }
    digits
}

fn without_trailing_zeros(mut digits: &[u8]) -> &[u8] {
    while let [rest @ .., b'0'] = digits {
        digits = rest;
    }
    digits
}

#[cfg(test)]
mod tests;
