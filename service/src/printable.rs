//! Text from outside, for where people read it: a terminal, a line of the log, a cell of a table.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Characters that turn the direction of writing, or end a line in some readers: with them one text looks like another.
const MISLEADING: &str = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2028}\u{2029}\u{2066}\u{2067}\u{2068}\u{2069}";

/// Whether a character only stands for itself: no terminal obeys it, and it does not change how others look.
pub fn is_printable(c: char) -> bool {
    !c.is_control() && (c.is_ascii() || !MISLEADING.contains(c))
}

/// The text in one line, with what is not printable written as an escape, such as `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            c if is_printable(c) => safe.push(c),
            c => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    safe.into()
}

/// JSON whose texts hold what is not printable, with that as escapes. Every reader of JSON is told the same.
pub(crate) fn printable_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_printable(c) {
            safe.push(c);
        } else {
            let _ = write!(safe, "{}", Escape(c));
        }
    }
    safe
}

/// How JSON writes a character that is not printable. None of them needs two of these.
struct Escape(char);

impl fmt::Display for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\\u{:04x}", u32::from(self.0))
    }
}

/// Plain data as JSON that a terminal may be shown: in its texts, what is not printable stands as an escape, such as `\u009b`.
/// Every reader of JSON is told the same.
pub(crate) fn json(value: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(128);
    value
        .serialize(&mut Serializer::with_formatter(&mut text, Escaping))
        .expect("plain data serialises");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// Without spaces between, and with escapes. serde_json itself escapes what JSON demands, which is less.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: io::Write + ?Sized,
    {
        for part in fragment.split_inclusive(|c| !is_printable(c)) {
            let other = part.chars().next_back().filter(|&c| !is_printable(c));
            let plain_len = part.len() - other.map_or(0, char::len_utf8);
            writer.write_all(&part.as_bytes()[..plain_len])?;
            if let Some(c) = other {
                write!(writer, "{}", Escape(c))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_people_see_is_left() {
        for (text, expected) in [
            ("plain", "plain"),
            ("Grüße, 日本 😀", "Grüße, 日本 😀"),
            (
                "a\nb\tc\r\u{1b}[31m\u{7f}\u{9b}",
                "a\\nb\\u{9}c\\u{d}\\u{1b}[31m\\u{7f}\\u{9b}",
            ),
            ("a\u{202e}b\u{2028}\u{61c}", "a\\u{202e}b\\u{2028}\\u{61c}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
