//! What scenario files and fault plans share: reading a file, naming a fault by line and column, offering the nearest
//! right name, and durations.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// Whether `text` may be shown on a terminal: it holds no control character but the ends of lines.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && c != '\n')
}

/// What is said of a description that may not.
pub(crate) const NOT_PLAIN: &str = "description must be plain text, without control characters";

/// What is wrong with a scenario file: one line that says where.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {}: {what}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        what: String,
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

/// The most bytes of a scenario file.
const SCENARIO_BYTES_MAX: u64 = 1 << 20;

/// The text of the scenario or plan at `path`. A pipe gives it once only.
///
/// # Errors
/// When the file cannot be read, or is too long for one.
pub fn text_of(path: &Path) -> Result<String, ScenarioError> {
    read_text(path, SCENARIO_BYTES_MAX).map_err(|what| ScenarioError::Read {
        path: path.to_path_buf(),
        what,
    })
}

/// The text of the file at `path`, a pipe included, which has at most `bytes_max`.
///
/// # Errors
/// In words, why it cannot be read.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let told = |error: io::Error| unreadable(&error);
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(told)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(told)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it is longer than {} MiB", bytes_max >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "it is not a text".to_owned())
}

/// Why a file cannot be read, in words.
pub fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder; name a file in it".to_owned(),
        io::ErrorKind::PermissionDenied => "its permissions forbid it".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether a line of the text opens this table or list of tables.
fn opens(source: &str, table: &str) -> bool {
    source.lines().any(|line| {
        let line = line.trim().trim_start_matches('[').trim_start();
        line.strip_prefix(table)
            .is_some_and(|rest| rest.trim_start().starts_with(']'))
    })
}

/// Why an argument may not be given to the service by a file, if it may not: every report shows the file.
pub(crate) fn forbidden_argument(argument: &str) -> Option<String> {
    let (flag, value) = argument.split_once('=').unwrap_or((argument, argument));
    let holds_a_password = value.split_once("://").is_some_and(|(_, rest)| {
        rest.split('/')
            .next()
            .is_some_and(|host| host.contains('@'))
    });
    let is_a_token = flag.starts_with("--") && flag.ends_with("-token");
    (holds_a_password || is_a_token).then(|| {
        "service_arguments must hold no secret: every report shows them; the stack makes its own".to_owned()
    })
}

/// Whether the text is rather the plan of a fault run than a scenario.
pub fn is_of_faults(source: &str) -> bool {
    opens(source, "load") && !opens(source, "phase")
}

/// Whether the text is rather a scenario than the plan of a fault run.
pub(crate) fn is_of_a_run(source: &str) -> bool {
    opens(source, "phase") && !opens(source, "load")
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
            what: shortened(&what),
        }
    };
    let mut read: T = toml::from_str(source)
        .map_err(|error| fault(error.span(), with_nearest(error.message())))?;
    check(&mut read).map_err(|(span, what)| fault(Some(span), what))?;
    Ok(read)
}

/// A fault and where it is.
pub(crate) struct Fault {
    place: Place,
    what: String,
}

enum Place {
    /// Bytes from the start of the file.
    Span(Range<usize>),
    /// The first line that sets this key.
    Key(&'static str),
}

impl Fault {
    pub(crate) fn at<T>(place: &Spanned<T>, what: impl fmt::Display) -> Self {
        Self {
            place: Place::Span(place.span()),
            what: what.to_string(),
        }
    }

    /// A fault of the value of `key`, whose place was not kept.
    pub(crate) fn of(key: &'static str, what: impl fmt::Display) -> Self {
        Self {
            place: Place::Key(key),
            what: what.to_string(),
        }
    }

    /// Where it is in the text `source`, and what is wrong there.
    pub(crate) fn found_in(self, source: &str) -> (Range<usize>, String) {
        let span = match self.place {
            Place::Span(span) => span,
            Place::Key(key) => {
                let sets = |line: &str| {
                    line.trim_start()
                        .strip_prefix(key)
                        .is_some_and(|rest| rest.trim_start().starts_with('='))
                };
                let mut at = 0;
                for line in source.split_inclusive('\n') {
                    if sets(line) {
                        at += line.len() - line.trim_start().len();
                        return (at..at, self.what);
                    }
                    at += line.len();
                }
                // A flag set it, or an inline table.
                0..0
            }
        };
        (span, self.what)
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

/// A number with a unit, such as `250ms`, `1.5s` or `1h 30m`. `None` for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
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

/// Serde's message in words that need no Rust, with the nearest right name where a key is unknown.
pub(crate) fn with_nearest(message: &str) -> String {
    let line = message.lines().collect::<Vec<_>>().join(" ");
    let mut names = line.split('`').skip(1).step_by(2);
    if line.starts_with("unknown field")
        && let Some(wrong) = names.next()
    {
        let known: Vec<String> = names.map(str::to_owned).collect();
        return unknown("key", wrong, &known);
    }
    if line.starts_with("missing field")
        && let Some(missing) = names.next()
    {
        return format!("the key {missing:?} is missing");
    }
    let mut words = line.replace('`', "").replace(" as i128", "");
    for (theirs, ours) in [
        ("expected usize", "expected a whole number from 0 up"),
        ("expected u64", "expected a whole number from 0 up"),
        (
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        ),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("sequence,", "a list,"),
        ("map,", "a table,"),
    ] {
        words = words.replace(theirs, ours);
    }
    words
}

/// The most characters of a message: it may quote a value, and a value may be as long as the file.
const MESSAGE_MAX: usize = 400;
/// The longest name that is compared with the known ones.
const NAME_MAX: usize = 80;

/// `text` without its middle where it is long: what is expected stands at its end.
fn shortened(text: &str) -> String {
    let length = text.chars().count();
    if length <= MESSAGE_MAX {
        return text.to_owned();
    }
    let half = MESSAGE_MAX / 2;
    let from: String = text.chars().take(half).collect();
    let to: String = text.chars().skip(length - half).collect();
    format!("{from} … {to}")
}

/// The names, those of one family (`response_ms.p99`) once.
fn families(known: &[String]) -> String {
    let mut families: Vec<String> = known
        .iter()
        .map(|name| match name.split_once('.') {
            Some((family, _)) => format!("{family}.…"),
            None => name.clone(),
        })
        .collect();
    families.dedup();
    families.join(", ")
}

pub(crate) fn unknown(what: &str, wrong: &str, known: &[String]) -> String {
    if wrong.chars().count() > NAME_MAX {
        let begin: String = wrong.chars().take(NAME_MAX / 2).collect();
        return format!("unknown {what}, which begins with {begin:?}");
    }
    let distances = known
        .iter()
        .map(|name| (strsim::levenshtein(wrong, name), name));
    match distances.min_by_key(|(distance, _)| *distance) {
        Some((distance, nearest)) if distance <= wrong.len().max(3) / 2 => {
            format!("unknown {what} {wrong:?}; did you mean {nearest:?}?")
        }
        _ => format!("unknown {what} {wrong:?}; known: {}", families(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("0.5h"), Some(Duration::from_secs(1800)));
        assert_eq!(parse_duration("1us"), Some(Duration::from_micros(1)));
        for bad in ["", "5", "s", "-1s", "5 moons", "infs"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_in_words() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let told = |path: &Path| read_text(path, 1 << 20).expect_err("no text");
        assert_eq!(told(&folder.path().join("none")), "there is no such file");
        assert_eq!(told(folder.path()), "it is a folder; name a file in it");
        let binary = folder.path().join("binary");
        std::fs::write(&binary, [0xff, 0xfe, 0]).expect("it is written");
        assert_eq!(told(&binary), "it is not a text");
        // One without an end is not read to its end.
        assert_eq!(told(Path::new("/dev/zero")), "it is longer than 1 MiB");
    }

    #[test]
    fn a_fault_of_a_key_is_where_it_is_set() {
        let source = "name = \"x\"\n[mix]\n  # retry = 2\n  retry = 2\nretry_more = 1\n";
        let (span, _) = Fault::of("retry", "too much").found_in(source);
        assert_eq!(position(source, span.start), (4, 3));
        let (span, _) = Fault::of("conflict", "too much").found_in(source);
        assert_eq!(position(source, span.start), (1, 1));
    }

    #[test]
    fn serdes_messages_need_no_rust() {
        for (theirs, ours) in [
            ("missing field `name`", "the key \"name\" is missing"),
            (
                "invalid value: integer `-1`, expected usize",
                "invalid value: integer -1, expected a whole number from 0 up",
            ),
            (
                "invalid type: integer `99999999999999999999` as i128, expected u64",
                "invalid type: integer 99999999999999999999, expected a whole number from 0 up",
            ),
            (
                "invalid type: integer `3`, expected a sequence",
                "invalid type: integer 3, expected a list",
            ),
        ] {
            assert_eq!(with_nearest(theirs), ours);
        }
    }

    #[test]
    fn a_message_is_short_whatever_it_quotes() {
        let long = "x".repeat(70_000);
        let told = checked::<std::collections::BTreeMap<String, i32>>(
            &format!("a = \"{long}\""),
            Path::new("a.toml"),
            |_| Ok(()),
        );
        let told = told.expect_err("no number").to_string();
        assert!(told.chars().count() < MESSAGE_MAX + 50, "{told}");
        let known = [
            "rate".to_owned(),
            "response_ms.p50".to_owned(),
            "response_ms.p99".to_owned(),
        ];
        assert_eq!(
            unknown("metric", "colour", &known),
            "unknown metric \"colour\"; known: rate, response_ms.…"
        );
        let told = unknown("metric", &long, &known);
        assert!(told.starts_with("unknown metric, which begins with \"xxx"));
        assert!(told.len() < 100, "{told}");
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
