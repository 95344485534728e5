//! Whether something that was kept names a person by an e-mail address. Pure.
//!
//! In JSON the same text can be written in many ways: `\u0041da@example.org` is Ada's. So texts are compared as they are
//! meant, whether they stand in a body, among bodies in a bundle, or alone.

/// Whether `kept` names `address`, in any case, as a whole: `ada@example.org` is not in `bada@example.org`.
pub(crate) fn names(kept: &[u8], address: &str) -> bool {
    let kept = String::from_utf8_lossy(kept);
    let kept = unescaped(&kept).to_lowercase();
    let address = address.to_lowercase();
    kept.match_indices(&address).any(|(at, _)| {
        let before = kept[..at].chars().next_back();
        let mut after = kept[at + address.len()..].chars();
        let next = after.next();
        let goes_on = match next {
            Some('.') => after.next().is_some_and(char::is_alphanumeric),
            Some(next) => next.is_alphanumeric() || matches!(next, '-' | '_'),
            None => false,
        };
        !before.is_some_and(is_of_a_name) && !goes_on
    })
}

/// As [`names`], for MongoDB, of a text that means itself.
pub(crate) fn pattern(escaped_address: &str) -> String {
    format!(r"(?<![\p{{L}}\p{{N}}._%+-]){escaped_address}(?![\p{{L}}\p{{N}}_-]|\.[\p{{L}}\p{{N}}])")
}

/// Finds, for MongoDB, texts in which a character of an address may be written as an escape.
pub(crate) const ESCAPES: &str = r"\\[u/]";

/// What stands before the sign in an address.
fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '%')
}

/// A text with the escapes of JSON in it replaced by what they mean. What is no escape stays.
fn unescaped(text: &str) -> String {
    let mut meant = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        meant.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(kind) = rest.chars().next() else {
            break;
        };
        if kind != 'u' {
            // A letter that stands for white space ends a name as any other sign does.
            meant.push(if kind.is_ascii_alphabetic() {
                ' '
            } else {
                kind
            });
            rest = &rest[kind.len_utf8()..];
            continue;
        }
        let Some(first) = unit(&rest[1..]) else {
            meant.push('\\');
            continue;
        };
        rest = &rest[5..];
        let second = rest.strip_prefix("\\u").and_then(unit);
        let pair = [first, second.unwrap_or_default()];
        let is_pair = (0xd800..0xdc00).contains(&first) && second.is_some();
        let units = if is_pair { &pair[..] } else { &pair[..1] };
        let read = char::decode_utf16(units.iter().copied()).next();
        let is_read = read.as_ref().is_some_and(Result::is_ok);
        meant.push(
            read.and_then(Result::ok)
                .unwrap_or(char::REPLACEMENT_CHARACTER),
        );
        if is_pair && is_read {
            rest = &rest[6..];
        }
    }
    meant.push_str(rest);
    meant
}

/// The four hexadecimal digits that a text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.get(..4)?;
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    are_digits.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_however_it_is_written() {
        for kept in [
            r#"{"email":"Ada@Example.org"}"#,
            r#"{"email":"\u0041da@example.org"}"#,
            r#"{"email":"ada\u0040example\u002Eorg"}"#,
            r#"{"email":"\u0061\u0064\u0061\u0040\u0065xample.org"}"#,
            r#"{"contact":["mailto:ada@example.org"]}"#,
            r#"{"purpose":"for Ada <ada@example.org>."}"#,
            r#"{"note":"line\nada@example.org\ttab"}"#,
            r#"{"ada@example.org":1}"#,
            "write to ada@example.org.",
            "ada@example.org",
        ] {
            assert!(names(kept.as_bytes(), "ADA@example.org"), "{kept}");
        }
        let bundle = [&b"\0\x07\xff{\"email\":\""[..], b"ada@example.org\"}\xfe"].concat();
        assert!(names(&bundle, "ada@example.org"));
        assert!(names(br#""a\/b@example.org""#, "a/b@example.org"));
        assert!(names(
            br#""\uD83D\uDE00@example.org""#,
            "\u{1f600}@example.org"
        ));
        assert!(names(
            "\"\u{dc}ber@example.org\"".as_bytes(),
            "\u{fc}ber@example.org"
        ));
    }

    #[test]
    fn another_address_is_another() {
        for kept in [
            r#"{"email":"bada@example.org"}"#,
            r#"{"email":"b.ada@example.org"}"#,
            r#"{"email":"ada@example.organic"}"#,
            r#"{"email":"ada@example.org.uk"}"#,
            r#"{"email":"ada@example.org-n"}"#,
            // A backslash and then letters, not an escape.
            r#"{"email":"\\u0041da@example.org"}"#,
            r#"{"email":"\u00e4ada@example.org"}"#,
            r"\u",
            r"\ud800\u0041",
            r"\ud8",
            "\\",
            "",
        ] {
            assert!(!names(kept.as_bytes(), "ada@example.org"), "{kept}");
        }
    }
}
