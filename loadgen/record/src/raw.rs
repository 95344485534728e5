//! Every sample as a line of a file, for tools of one's own: NDJSON, or CSV where the file's name ends so.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::folder::{Unwritable, has_room_for};
use crate::sample::Sample;

/// The columns, in order.
const COLUMNS: &str =
    "number,loanId,phase,kind,dueUs,generatorLagUs,sentUs,doneUs,responseUs,answer,resent";

/// How a line of NDJSON begins.
const FIRST: &str = "{\"number\":";

/// One sample as it is written. Times are microseconds after the start of the load.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    number: u32,
    loan_id: &'a str,
    phase: &'a str,
    kind: &'a str,
    due_us: u64,
    generator_lag_us: u64,
    sent_us: u64,
    done_us: u64,
    /// `null` without a definite answer.
    response_us: Option<u64>,
    answer: &'a str,
    resent: u32,
}

/// Samples cannot be kept there.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    /// No file can be written there.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// Something is there that is to stay as it is.
    #[error("samples cannot be kept in {}: {why}; name a new file", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
        /// What is there.
        why: &'static str,
    },
}

/// Whether samples can be kept at `path`: in a new file, or in the place of older samples. Nothing else is written over.
///
/// # Errors
/// When they cannot.
pub fn may_keep(path: &Path) -> Result<(), NoPlace> {
    let taken = |why| NoPlace::Taken {
        path: path.to_path_buf(),
        why,
    };
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(taken("it is no file"));
    }
    has_room_for(path)?;
    let holds_something_else = holds_something_else(path).map_err(|error| Unwritable {
        path: path.to_path_buf(),
        error,
    })?;
    if holds_something_else {
        return Err(taken("it holds something else"));
    }
    Ok(())
}

/// Whether there is a file that is neither empty nor one of samples.
fn holds_something_else(path: &Path) -> io::Result<bool> {
    let mut begins = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(COLUMNS.len() as u64).read_to_end(&mut begins)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let of_samples = [FIRST.as_bytes(), COLUMNS.as_bytes()];
    Ok(!begins.is_empty() && !of_samples.iter().any(|begin| begins.starts_with(begin)))
}

/// Writes the samples while the load runs.
#[derive(Debug)]
pub struct RawLog {
    path: PathBuf,
    file: BufWriter<File>,
    is_csv: bool,
    phases: Vec<String>,
    failed: Option<io::Error>,
}

impl RawLog {
    /// An empty file at `path`; `phases` are the phases' names.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, phases: &[&str]) -> io::Result<Self> {
        let is_csv = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        let mut file = BufWriter::new(File::create(path)?);
        if is_csv {
            writeln!(file, "{COLUMNS}")?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            is_csv,
            phases: phases.iter().map(|name| (*name).to_owned()).collect(),
            failed: None,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one sample of the loan `loan_id`.
    pub fn note(&mut self, sample: &Sample, loan_id: &str) {
        if self.failed.is_some() {
            return;
        }
        let us = |at: Duration| at.as_micros() as u64;
        let label = sample.answer.label();
        let line = Line {
            number: sample.number,
            loan_id,
            phase: self
                .phases
                .get(usize::from(sample.phase))
                .map_or("", String::as_str),
            kind: sample.kind.name(),
            due_us: us(sample.intended),
            generator_lag_us: us(sample.generator_lag),
            sent_us: us(sample.sent),
            done_us: us(sample.done),
            response_us: (!sample.answer.is_unknown())
                .then(|| us(sample.done.saturating_sub(sample.intended))),
            answer: &label,
            resent: sample.resent,
        };
        self.failed = if self.is_csv {
            let response_us = line
                .response_us
                .map_or_else(String::new, |us| us.to_string());
            writeln!(
                self.file,
                "{},{},{},{},{},{},{},{},{response_us},{},{}",
                line.number,
                line.loan_id,
                quoted(line.phase),
                line.kind,
                line.due_us,
                line.generator_lag_us,
                line.sent_us,
                line.done_us,
                quoted(line.answer),
                line.resent
            )
        } else {
            serde_json::to_writer(&mut self.file, &line)
                .map_err(io::Error::from)
                .and_then(|()| self.file.write_all(b"\n"))
        }
        .err();
    }

    /// Ends the file. Half of it would be taken for all, so it is taken away then.
    ///
    /// # Errors
    /// The first fault of any write.
    pub fn finish(mut self) -> io::Result<()> {
        let written = match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        };
        written.inspect_err(|_| {
            let _ = std::fs::remove_file(&self.path);
        })
    }
}

/// A field as CSV takes it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use plan::kind::Kind;

    use super::*;
    use crate::sample::{Answer, Unknown};

    fn written(name: &str) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        let mut log = RawLog::create(&path, &["warm-up, slow"]).expect("it is made");
        for (number, answer) in [(0, Answer::Queued), (1, Answer::Unknown(Unknown::Timeout))] {
            let sample = Sample {
                number,
                phase: 0,
                kind: Kind::Valid,
                intended: Duration::from_micros(10),
                generator_lag: Duration::from_micros(2),
                sent: Duration::from_micros(13),
                last_sent: Duration::from_micros(13),
                done: Duration::from_micros(400),
                answer,
                resent: 0,
            };
            log.note(&sample, &format!("GC-{number}"));
        }
        log.finish().expect("it is written");
        std::fs::read_to_string(&path).expect("it is read")
    }

    #[test]
    fn samples_take_the_place_of_nothing_but_samples() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let told =
            |path: &Path| may_keep(path).map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(told(&path("new")), "");
        std::fs::write(path("scenario"), "name = \"smoke\"\n").expect("it is written");
        for (at, why) in [
            (folder.path().to_path_buf(), "it is a folder"),
            (path("nowhere/new"), "its folder is not there"),
            ("/dev/null".into(), "it is no file"),
            (path("scenario"), "it holds something else"),
        ] {
            let told = told(&at);
            assert!(told.contains(why), "{why}: {told}");
        }
        for name in ["samples.ndjson", "samples.csv"] {
            let mut log = RawLog::create(&path(name), &["all"]).expect("it is made");
            log.note(
                &Sample {
                    number: 0,
                    phase: 0,
                    kind: Kind::Valid,
                    intended: Duration::ZERO,
                    generator_lag: Duration::ZERO,
                    sent: Duration::ZERO,
                    last_sent: Duration::ZERO,
                    done: Duration::ZERO,
                    answer: Answer::Queued,
                    resent: 0,
                },
                "GC-0",
            );
            log.finish().expect("it is written");
            assert_eq!(told(&path(name)), "", "{name}");
        }
    }

    #[test]
    fn each_sample_is_a_line() {
        let text = written("samples.ndjson");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["responseUs"], 390);
        assert_eq!(lines[0]["phase"], "warm-up, slow");
        assert!(lines[1]["responseUs"].is_null());
        assert_eq!(lines[1]["answer"], "timeout");
        let csv = written("samples.CSV");
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], COLUMNS);
        assert_eq!(
            lines[1],
            "0,GC-0,\"warm-up, slow\",valid,10,2,13,400,390,202,0"
        );
        assert_eq!(
            lines[2],
            "1,GC-1,\"warm-up, slow\",valid,10,2,13,400,,timeout,0"
        );
    }
}
