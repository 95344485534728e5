//! Rounds of the gate that were recorded, one a line.

use std::path::{Path, PathBuf};

use crate::result::power::Recorded;

/// The most bytes of a file of rounds.
const BYTES_MAX: u64 = 256 << 20;

/// Recorded rounds could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot read recorded rounds from {}: {what}", path.display())]
pub struct RoundsError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub what: String,
}

/// The rounds in the file at `path`.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<Vec<Recorded>, RoundsError> {
    let cannot = |what: String| RoundsError {
        path: PathBuf::from(path),
        what,
    };
    let text = plan::read_text(path, BYTES_MAX).map_err(&cannot)?;
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let wrong = |what: &str| cannot(format!("line {number}: {what}"));
            let recorded: Recorded = serde_json::from_str(line).map_err(|error| {
                // Of one line alone it would be the first.
                let column = format!(" at line 1 column {}", error.column());
                wrong(error.to_string().trim_end_matches(&column))
            })?;
            // They are divided by each other.
            if recorded.round.is_measured() {
                Ok(recorded)
            } else {
                Err(wrong("a figure of the round is not above zero"))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_round_is_told_by_its_number() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("rounds.jsonl");
        let good = r#"{"slowdownNs":0,"arm":"base","at":"","admitCpuUs":1.0,"admitCpuRatio":1.0,"admitRedisUs":1.0,"admitWallUs":1.0,"admitP50Us":1.0,"recordCpuUs":1.0,"recordWallUs":1.0,"faults":[]}"#;
        for (line, part) in [
            (
                good.replace("\"admitCpuRatio\":1.0", "\"admitCpuRatio\":0.0"),
                "line 3: a figure",
            ),
            (
                good.replace("\"admitWallUs\":1.0", "\"admitWallUs\":-1.0"),
                "line 3: a figure",
            ),
            ("nonsense".to_owned(), "line 3: expected ident"),
        ] {
            std::fs::write(&path, format!("{good}\n\n{line}\n")).expect("it is written");
            let error = read(&path).expect_err("a wrong line").to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("line 1"), "{error}");
        }
        std::fs::write(&path, format!("{good}\n{good}")).expect("it is written");
        assert_eq!(read(&path).map(|rounds| rounds.len()).ok(), Some(2));
    }
}
