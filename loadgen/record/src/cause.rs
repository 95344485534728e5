//! Errors in words.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes, in one line. The message of some already ends with its cause.
pub fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        if !words.contains(&next.to_string()) {
            let _ = write!(words, ": {next}");
        }
        cause = next.source();
    }
    words
}
