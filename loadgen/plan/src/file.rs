//! What scenario files and fault plans share: reading a file, naming a fault by line and column, offering the nearest
//! right name, and durations.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// What is wrong with a scenario file: one line that says where.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file says something that cannot be done.
    #[error("{}:{line}:{column}: {what}", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// Line, 1 first.
        line: usize,
        /// Column, 1 first.
        column: usize,
        /// The fault.
        what: String,
    },
}

/// The text of the file at `path`.
pub(crate) fn text_of(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// What the text `source` of the file at `path` says, when it is written well and `check` finds nothing: a fault is the
/// range of the text and what is wrong there.
pub(crate) fn checked<T: DeserializeOwned>(
    source: &str,
    path: &Path,
    check: impl FnOnce(&mut T) -> Result<(), (Range<usize>, String)>,
) -> Result<T, ScenarioError> {
    let fault = |span: Option<Range<usize>>, what: String| {
        let (line, column) = position(source, span.map_or(0, |span| span.start));
        ScenarioError::Fault {
            path: path.to_path_buf(),
            line,
            column,
            what,
        }
    };
    let mut read: T = toml::from_str(source)
        .map_err(|error| fault(error.span(), with_nearest(error.message())))?;
    check(&mut read).map_err(|(span, what)| fault(Some(span), what))?;
    Ok(read)
}

/// A fault and where it is, bytes from the start of the file.
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn at<T>(place: &Spanned<T>, what: impl fmt::Display) -> Self {
        Self {
            span: place.span(),
            what: what.to_string(),
        }
    }
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is not a duration; write a number and a unit: \"250ms\", \"5s\", \"2m\" or \"1h\""
        ))
    })
}

/// A number with a unit: `us`, `ms`, `s`, `m` or `h`. `None` for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.trim().parse().ok()?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Line and column of a byte, both 1 first; the column counts characters.
pub(crate) fn position(source: &str, byte: usize) -> (usize, usize) {
    let before = source.get(..byte).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// Adds the nearest right name to serde's message about an unknown field.
pub(crate) fn with_nearest(message: &str) -> String {
    let line = message.lines().collect::<Vec<_>>().join(" ");
    let mut names = line.split('`').skip(1).step_by(2);
    if line.starts_with("unknown field")
        && let Some(wrong) = names.next()
    {
        let known: Vec<String> = names.map(str::to_owned).collect();
        return unknown("key", wrong, &known);
    }
    line
}

pub(crate) fn unknown(what: &str, wrong: &str, known: &[String]) -> String {
    let nearest = known.iter().min_by_key(|name| distance(wrong, name));
    match nearest {
        Some(nearest) if distance(wrong, nearest) <= wrong.len().max(3) / 2 => {
            format!("unknown {what} {wrong:?}; did you mean {nearest:?}?")
        }
        _ => format!("unknown {what} {wrong:?}; known: {}", known.join(", ")),
    }
}

/// Levenshtein distance in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if a == *b {
                diagonal
            } else {
                1 + diagonal.min(above).min(row[j])
            };
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        for bad in ["", "5", "s", "-1s", "5 days", "infs"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn positions_count_from_one() {
        assert_eq!(position("a\nbc", 0), (1, 1));
        assert_eq!(position("a\nbc", 3), (2, 2));
    }

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["rate".to_owned(), "ramp".to_owned()];
        assert_eq!(
            unknown("key", "rtae", &known),
            "unknown key \"rtae\"; did you mean \"rate\"?"
        );
        assert_eq!(
            unknown("key", "colour", &known),
            "unknown key \"colour\"; known: rate, ramp"
        );
    }
}
