//! Text from outside, for where people read it: a terminal, a line of the log, a cell of a table.

use std::borrow::Cow;
use std::fmt::Write as _;

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
