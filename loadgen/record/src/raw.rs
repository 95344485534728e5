//! Every sample as a line of a file, for tools of one's own: NDJSON, or CSV where the file's name ends so.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::sample::Sample;

/// The columns, in order.
const COLUMNS: &str =
    "number,loanId,phase,kind,dueUs,generatorLagUs,sentUs,doneUs,responseUs,answer,resent";

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

    /// Ends the file.
    ///
    /// # Errors
    /// The first fault of any write.
    pub fn finish(mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
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
