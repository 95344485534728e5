//! What went wrong on the wire, by the errors of whichever client.

use std::error::Error;
use std::io;

use record::sample::Unknown;

/// The most bytes of an answer that are read: the documented ones are far shorter.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 << 10;

/// What `error` and its causes say went wrong; `is_connecting` while there was no connection yet.
pub(crate) fn on_the_wire(error: &(dyn Error + 'static), is_connecting: bool) -> Unknown {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_incomplete_message() {
                return Unknown::Closed;
            }
            if error.is_parse() {
                return Unknown::Garbled;
            }
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return Unknown::ConnectionRefused,
                io::ErrorKind::UnexpectedEof if !is_connecting => return Unknown::Closed,
                _ => {}
            }
        }
        cause = error.source();
    }
    if is_connecting {
        Unknown::Connect
    } else {
        Unknown::Reset
    }
}

/// The beginning of a text from outside, on one line: it must not steer a terminal.
pub(crate) fn shown(text: &str, len_max: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(len_max).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_short_and_plain() {
        assert_eq!(shown("a\u{1b}[31m\nb", 10), "a [31m b");
        assert_eq!(shown(&"ä".repeat(400), 300).chars().count(), 300);
    }

    #[test]
    fn the_cause_is_found_below_what_wraps_it() {
        for (kind, is_connecting, expected) in [
            (
                io::ErrorKind::ConnectionRefused,
                true,
                Unknown::ConnectionRefused,
            ),
            (io::ErrorKind::HostUnreachable, true, Unknown::Connect),
            (io::ErrorKind::ConnectionReset, false, Unknown::Reset),
            (io::ErrorKind::BrokenPipe, false, Unknown::Reset),
            (io::ErrorKind::UnexpectedEof, false, Unknown::Closed),
        ] {
            let wrapped = Wrapped(io::Error::from(kind));
            assert_eq!(on_the_wire(&wrapped, is_connecting), expected, "{kind:?}");
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("what a client says")]
    struct Wrapped(#[source] io::Error);
}
