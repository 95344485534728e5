//! The short way to a body's members, without a tape: for a body that is written plainly, as nearly all are.
//!
//! Plain is an object of texts without escapes, of numbers without sign and exponent, of `true`, `false` and `null`, and of
//! objects of these. Its texts and numbers are slices of the body. Whatever else a body is, valid or not, it is not plain: this
//! never refuses a body, it leaves it to the parser. What is read here is what the parser would read, which the tests and the
//! fuzzer hold it to.

use std::cell::Cell;

use super::{Field, Members, ObjectIndex};

/// Objects in objects. An application has one in another.
const DEPTH_MAX: usize = 4;
/// The longest number: all that are shorter are exact in 64 bits, and the parser takes them.
const NUMBER_LEN_MAX: usize = 15;

/// A member of an object. Places are bytes of the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    key: Span,
    value: Value,
    /// The index of the member behind it in its object.
    after: usize,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Null,
    Boolean(bool),
    Text(Span),
    Number(Span),
    /// Its members follow it, up to the index behind it.
    Object,
}

/// A plain body.
#[derive(Debug)]
pub struct Plain<'a> {
    body: &'a str,
    /// Every member, in the order of the body; those of an inner object behind its own.
    members: &'a [Member],
    /// Where the next search begins: members mostly stand in the order in which they are asked for.
    next: Cell<usize>,
}

impl<'a> Plain<'a> {
    /// Reads `body`; `None` where it is not plain. `members` is room that is used again.
    pub(super) fn read(body: &'a [u8], members: &'a mut Vec<Member>) -> Option<Self> {
        members.clear();
        let body = str::from_utf8(body).ok()?;
        let mut reader = Reader { body, at: 0 };
        reader.space();
        reader.object(members, DEPTH_MAX)?;
        reader.space();
        (reader.at == body.len()).then_some(Self {
            body,
            members,
            next: Cell::new(0),
        })
    }

    fn field(&self, index: usize) -> Field<'a> {
        match self.members[index].value {
            Value::Null => Field::Null,
            Value::Boolean(value) => Field::Boolean(value),
            Value::Text(Span { start, end }) => Field::Text(&self.body[start..end]),
            Value::Number(Span { start, end }) => Field::Number(&self.body[start..end]),
            // The root is 0, the object of member `index` is one more.
            Value::Object => Field::Object(ObjectIndex(index + 1)),
        }
    }

    /// The first of the members from `from` to `end` whose key it is.
    fn find(&self, key: &str, mut from: usize, end: usize) -> Option<usize> {
        while from < end {
            let member = &self.members[from];
            let Span { start, end } = member.key;
            if end - start == key.len() && self.body.as_bytes()[start..end] == *key.as_bytes() {
                return Some(from);
            }
            from = member.after;
        }
        None
    }
}

impl Members for Plain<'_> {
    fn member(&self, ObjectIndex(object): ObjectIndex, key: &str) -> Field<'_> {
        let end = match object {
            0 => self.members.len(),
            inner => self.members[inner - 1].after,
        };
        let next = self.next.get().max(object);
        let Some(found) = self
            .find(key, next, end)
            .or_else(|| self.find(key, object, next.min(end)))
        else {
            return Field::Missing;
        };
        self.next.set(found + 1);
        self.field(found)
    }
}

struct Reader<'a> {
    body: &'a str,
    at: usize,
}

// `None` everywhere: it is not plain.
impl Reader<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.body.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn object(&mut self, members: &mut Vec<Member>, depth: usize) -> Option<()> {
        self.take(b'{')?;
        let mut seen = 0_u64;
        loop {
            self.space();
            let key = self.text()?;
            // A key that stands twice is the parser's to judge. A bit for each key finds it, and now and then another one.
            let bit = 1 << (self.mark(key) % 64);
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
            self.space();
            self.take(b':')?;
            self.space();
            let index = members.len();
            let after = index + 1;
            match self.peek()? {
                b'"' => {
                    let value = Value::Text(self.text()?);
                    members.push(Member { key, value, after });
                }
                b'0'..=b'9' => {
                    let value = Value::Number(self.number()?);
                    members.push(Member { key, value, after });
                }
                b'{' => {
                    let value = Value::Object;
                    members.push(Member { key, value, after });
                    self.object(members, depth.checked_sub(1)?)?;
                    members[index].after = members.len();
                }
                _ => {
                    let value = self.word()?;
                    members.push(Member { key, value, after });
                }
            }
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// A number of a key's length, first and last byte, and the same for the same key. Those of an application differ.
    #[inline]
    fn mark(&self, Span { start, end }: Span) -> usize {
        let [first, last] = match end - start {
            0 => [0, 0],
            _ => [start, end - 1].map(|at| usize::from(self.body.as_bytes()[at])),
        };
        8 * (end - start) + first + last
    }

    /// A text without escapes and control characters.
    #[inline]
    fn text(&mut self) -> Option<Span> {
        self.take(b'"')?;
        let start = self.at;
        let bytes = self.body.as_bytes();
        let mut end = start;
        // Eight bytes at a time, then what is left.
        while let Some(word) = bytes.get(end..end + 8) {
            let word = u64::from_le_bytes(word.try_into().expect("they are eight"));
            match first_special(word) {
                None => end += 8,
                Some(at) => {
                    end += at;
                    break;
                }
            }
        }
        while !matches!(bytes.get(end)?, b'"' | b'\\' | 0..b' ') {
            end += 1;
        }
        self.at = end;
        self.take(b'"')?;
        Some(Span { start, end })
    }

    /// Digits, and digits behind a point.
    #[inline]
    fn number(&mut self) -> Option<Span> {
        let start = self.at;
        let whole = self.digits();
        if whole == 0 || (whole > 1 && self.body.as_bytes()[start] == b'0') {
            return None;
        }
        if self.take(b'.').is_some() && self.digits() == 0 {
            return None;
        }
        let is_plain =
            self.at - start <= NUMBER_LEN_MAX && !matches!(self.peek(), Some(b'e' | b'E'));
        is_plain.then_some(Span {
            start,
            end: self.at,
        })
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self) -> Option<Value> {
        let rest = &self.body.as_bytes()[self.at..];
        let (word, value) = [
            ("null", Value::Null),
            ("true", Value::Boolean(true)),
            ("false", Value::Boolean(false)),
        ]
        .into_iter()
        .find(|(word, _)| rest.starts_with(word.as_bytes()))?;
        self.at += word.len();
        Some(value)
    }
}

/// The first byte of eight that is a quotation mark, a backslash or a control character. A byte of `word ^ n` is zero where
/// `word` has `n`, and `x - 1 & !x` has its highest bit set where `x` is zero, up to the first such byte exactly.
#[inline]
fn first_special(word: u64) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x80 * EACH;
    let below = |word: u64, bound: u64| word.wrapping_sub(bound * EACH) & !word & HIGHEST;
    let is = |byte: u8| below(word ^ (u64::from(byte) * EACH), 1);
    let special = is(b'"') | is(b'\\') | below(word, u64::from(b' '));
    (special != 0).then(|| special.trailing_zeros() as usize / 8)
}
