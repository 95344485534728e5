//! The latencies of a run second by second, without loss: HdrHistogram's interval log, version 1.3.
//!
//! Each line holds one interval of one latency of one phase: a second, or more in a run of more than half an hour, so that
//! the file stays small. The tag names them: `response:1:burst`. Any reader of such
//! logs can open the file; here it feeds the comparison of two runs and the merging of several generators.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use plan::kind::Kind;

use crate::folder::open;
use crate::latencies::{empty, record};
use crate::sample::{Answer, Sample, Unknown};

/// The file in a run's folder.
pub const FILE: &str = "latencies.hlog";

/// The latencies that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Latency {
    /// From the intended instant to the last byte of the answer.
    Response,
    /// From the real send to the last byte of the answer.
    Service,
    /// From the intended instant to the real send.
    SendLag,
    /// From the intended instant to MongoDB's confirmation; one interval for the whole run.
    EndToEnd,
    /// From the intended instant to a 5xx.
    Refused,
    /// From the intended instant until the wait for an answer ended without one.
    Silent,
    /// How late the generator itself was.
    GeneratorLag,
    /// The response time less the generator's own lag, of those that no pause of the generator touched.
    Undisturbed,
}

impl Latency {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Response,
        Self::Service,
        Self::SendLag,
        Self::EndToEnd,
        Self::Refused,
        Self::Silent,
        Self::GeneratorLag,
        Self::Undisturbed,
    ];

    /// The name in tags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Service => "service",
            Self::SendLag => "send-lag",
            Self::EndToEnd => "end-to-end",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::GeneratorLag => "generator-lag",
            Self::Undisturbed => "undisturbed",
        }
    }
}

/// Which latency of which phase.
pub type Series = (Latency, u16);

/// The most intervals of a run.
const INTERVALS_MAX: u64 = 1_800;

/// How long the intervals of a run of `length` are, in seconds.
pub fn interval_seconds(length: Duration) -> u64 {
    (length.as_secs_f64().ceil() as u64)
        .div_ceil(INTERVALS_MAX)
        .max(1)
}

/// Writes the log while the load runs. It keeps one interval in memory.
#[derive(Debug)]
pub struct IntervalLog {
    file: BufWriter<File>,
    phases: Vec<String>,
    interval_seconds: u64,
    /// The interval that goes on, 0 first.
    index: u64,
    open: BTreeMap<Series, Histogram<u64>>,
    failed: Option<io::Error>,
}

impl IntervalLog {
    /// An empty log at `path` of a run of `length`. `started_us` is the wall clock at the start of the load, `phases` the phases'
    /// names.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(
        path: &Path,
        started_us: i64,
        length: Duration,
        phases: &[&str],
    ) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(file, "#[Histogram log format version 1.3]")?;
        writeln!(file, "#[Microseconds; the tag is LATENCY:PHASE:NAME]")?;
        writeln!(
            file,
            "#[StartTime: {:.3} (seconds since epoch)]",
            started_us as f64 / 1e6
        )?;
        writeln!(
            file,
            "#[BaseTime: {:.3} (seconds since epoch)]",
            started_us as f64 / 1e6
        )?;
        writeln!(
            file,
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
        )?;
        Ok(Self {
            file,
            phases: phases.iter().map(|name| plain(name)).collect(),
            interval_seconds: interval_seconds(length),
            index: 0,
            open: BTreeMap::new(),
            failed: None,
        })
    }

    /// Counts one arrival in the interval in which it ended; `is_touched` when a pause of the generator may have made it longer.
    pub fn note(&mut self, sample: &Sample, is_touched: bool) {
        let index = sample.done.as_secs() / self.interval_seconds;
        if index > self.index {
            self.close();
            self.index = index;
        }
        let mut add = |latency, length| {
            let histogram = self
                .open
                .entry((latency, sample.phase))
                .or_insert_with(empty);
            record(histogram, length);
        };
        add(
            Latency::SendLag,
            sample.sent.saturating_sub(sample.intended),
        );
        add(Latency::GeneratorLag, sample.generator_lag);
        // As in the report: a request that was dropped on purpose says nothing about the service's speed.
        if sample.kind == Kind::Retry {
            return;
        }
        let response = sample.done.saturating_sub(sample.intended);
        match sample.answer {
            Answer::Unknown(Unknown::Status(_) | Unknown::Strange(_)) => {
                add(Latency::Refused, response);
            }
            Answer::Unknown(_) => add(Latency::Silent, response),
            Answer::Queued | Answer::Replayed | Answer::Refused(_) => {
                add(Latency::Response, response);
                if !is_touched {
                    add(
                        Latency::Undisturbed,
                        response.saturating_sub(sample.generator_lag),
                    );
                }
                add(
                    Latency::Service,
                    sample.done.saturating_sub(sample.last_sent),
                );
            }
        }
    }

    /// Takes over what other logs of the same schedule hold, interval by interval; one interval of each is in memory at a time.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn join(&mut self, paths: &[PathBuf]) -> Result<(), LogError> {
        let mut logs = Vec::with_capacity(paths.len());
        for path in paths {
            let mut log = Reader::open(path)?;
            let start_s = log.advance()?;
            logs.push((log, start_s));
        }
        let first = |logs: &[(Reader, Option<f64>)]| {
            let starts = logs.iter().filter_map(|(_, start_s)| *start_s);
            starts.min_by(f64::total_cmp)
        };
        while let Some(start_s) = first(&logs) {
            self.close();
            self.index = start_s as u64 / self.interval_seconds;
            for (log, next_s) in &mut logs {
                while next_s.is_some_and(|next_s| next_s <= start_s) {
                    let (series, interval) = log.interval()?;
                    let sum = self.open.entry(series).or_insert_with(empty);
                    sum.add(&interval.histogram).map_err(|_| log.foreign())?;
                    *next_s = log.advance()?;
                }
            }
        }
        Ok(())
    }

    /// Adds the end-to-end latency of one phase, over the whole run of `length`.
    pub fn end_to_end(&mut self, phase: u16, histogram: &Histogram<u64>, length: Duration) {
        self.close();
        self.write(
            (Latency::EndToEnd, phase),
            0.0,
            length.as_secs_f64(),
            histogram,
        );
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first fault of any write.
    pub fn finish(mut self) -> io::Result<()> {
        self.close();
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }

    fn close(&mut self) {
        for (series, mut histogram) in std::mem::take(&mut self.open) {
            let start = self.index * self.interval_seconds;
            self.write(
                series,
                start as f64,
                self.interval_seconds as f64,
                &histogram,
            );
            histogram.reset();
            // Kept, so that an interval costs no allocation.
            self.open.insert(series, histogram);
        }
    }

    fn write(&mut self, series: Series, start_s: f64, length_s: f64, histogram: &Histogram<u64>) {
        if histogram.is_empty() || self.failed.is_some() {
            return;
        }
        let name = self
            .phases
            .get(usize::from(series.1))
            .map_or("", String::as_str);
        let mut line = format!(
            "Tag={}:{}:{name},{start_s:.3},{length_s:.3},{:.3},",
            series.0.name(),
            series.1,
            histogram.max() as f64 / 1e3
        );
        line.push_str(&encode(histogram));
        let _ = writeln!(line);
        self.failed = self.file.write_all(line.as_bytes()).err();
    }
}

/// A histogram as text, without loss.
pub(crate) fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a histogram of the bounds of `empty` fits its format, and memory takes it");
    BASE64.encode(bytes)
}

/// The histogram that [`encode`] wrote; `None` for any other text.
pub(crate) fn decode(text: &str) -> Option<Histogram<u64>> {
    let bytes = BASE64.decode(text).ok()?;
    let mut histogram = empty();
    let read: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .ok()?;
    // The bounds of `empty`, so that all can be added.
    histogram.add(&read).ok()?;
    Some(histogram)
}

/// A name without what a tag may not hold.
fn plain(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}

/// One interval of a log.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Start, seconds after the start of the load.
    pub start_s: f64,
    /// The latencies in it, microseconds.
    pub histogram: Histogram<u64>,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be read.
    #[error("cannot read the latencies in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is not a log of latencies of this generator", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// Tells every interval of the log at `path` to `each`, in order of time. One is in memory at a time.
///
/// # Errors
/// When the file cannot be read or was not written by an [`IntervalLog`].
pub fn read(path: &Path, mut each: impl FnMut(Series, Interval)) -> Result<(), LogError> {
    let mut log = Reader::open(path)?;
    while log.advance()?.is_some() {
        let (series, interval) = log.interval()?;
        each(series, interval);
    }
    Ok(())
}

/// The most bytes of a line: a histogram with a count for each length that it tells apart has fewer.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Reads a log line by line.
struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, LogError> {
        let unread = |source| LogError::Read {
            path: path.to_path_buf(),
            source,
        };
        Ok(Self {
            path: path.to_path_buf(),
            file: BufReader::new(open(path).map_err(unread)?),
            line: Vec::new(),
        })
    }

    fn foreign(&self) -> LogError {
        LogError::Foreign {
            path: self.path.clone(),
        }
    }

    /// Goes on to the next interval, and tells when it starts, seconds after the start of the load; nothing at the end.
    fn advance(&mut self) -> Result<Option<f64>, LogError> {
        loop {
            self.line.clear();
            let mut line = (&mut self.file).take(LINE_BYTES_MAX);
            let read = line.read_until(b'\n', &mut self.line);
            match read {
                Ok(0) => return Ok(None),
                Ok(_) if self.line.ends_with(b"\n") => {}
                // It was cut off.
                Ok(_) => return Err(self.foreign()),
                Err(source) => {
                    return Err(LogError::Read {
                        path: self.path.clone(),
                        source,
                    });
                }
            }
            for entry in IntervalLogIterator::new(&self.line) {
                if let LogEntry::Interval(interval) = entry.map_err(|_| self.foreign())? {
                    return Ok(Some(interval.start_timestamp().as_secs_f64()));
                }
            }
        }
    }

    /// The interval that was gone on to.
    fn interval(&self) -> Result<(Series, Interval), LogError> {
        parse(&self.line).ok_or_else(|| self.foreign())
    }
}

fn parse(line: &[u8]) -> Option<(Series, Interval)> {
    let Some(Ok(LogEntry::Interval(interval))) = IntervalLogIterator::new(line).next() else {
        return None;
    };
    let mut parts = interval.tag()?.as_str().splitn(3, ':');
    let name = parts.next()?;
    let latency = Latency::ALL
        .into_iter()
        .find(|latency| latency.name() == name)?;
    let phase = parts.next()?.parse().ok()?;
    let histogram = decode(interval.encoded_histogram())?;
    let interval = Interval {
        start_s: interval.start_timestamp().as_secs_f64(),
        histogram,
    };
    Some(((latency, phase), interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_without_loss() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(FILE);
        let length = Duration::from_secs(3);
        let mut log = IntervalLog::create(&path, 1_000_000, length, &["warm up, slow", "burst"])
            .expect("the file is made");
        let mut whole = empty();
        for number in 0..1000u32 {
            let intended = Duration::from_millis(u64::from(number) * 3);
            let sent = intended + Duration::from_micros(70);
            let done = sent + Duration::from_micros(u64::from(number) * 17 + 100);
            record(&mut whole, done - intended);
            let sample = Sample {
                number,
                phase: u16::from(number >= 500),
                kind: Kind::Valid,
                intended,
                generator_lag: Duration::from_micros(20),
                sent,
                last_sent: sent,
                done,
                answer: Answer::Queued,
                resent: 0,
            };
            log.note(&sample, false);
        }
        log.end_to_end(1, &whole, Duration::from_secs(3));
        log.finish().expect("it is written");
        let mut all: BTreeMap<Series, Vec<Interval>> = BTreeMap::new();
        read(&path, |series, interval| {
            all.entry(series).or_default().push(interval);
        })
        .expect("it is read");
        let mut merged = empty();
        for (series, intervals) in &all {
            assert!(intervals.is_sorted_by(|a, b| a.start_s < b.start_s));
            if series.0 == Latency::Response {
                assert!(intervals.len() >= 2);
                for interval in intervals {
                    merged.add(&interval.histogram).expect("the same bounds");
                }
            }
        }
        assert_eq!(merged, whole);
        assert_eq!(all[&(Latency::EndToEnd, 1)][0].histogram, whole);
        assert_eq!(all.len(), 11);
    }

    #[test]
    fn a_day_is_kept_in_a_small_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(FILE);
        let day = Duration::from_secs(24 * 3600);
        let mut log = IntervalLog::create(&path, 0, day, &["day"]).expect("the file is made");
        // A few of each second; more in a second make no more lines.
        for number in 0..5 * 24 * 3600u32 {
            let intended = Duration::from_millis(u64::from(number) * 200);
            let sample = Sample {
                number,
                phase: 0,
                kind: Kind::Valid,
                intended,
                generator_lag: Duration::from_micros(u64::from(number % 97)),
                sent: intended,
                last_sent: intended,
                done: intended + Duration::from_micros(300 + u64::from(number) * 7919 % 4000),
                answer: Answer::Queued,
                resent: 0,
            };
            log.note(&sample, false);
        }
        log.finish().expect("it is written");
        let length = std::fs::metadata(&path).expect("the file").len();
        assert!(length < 20 << 20, "{length}");
        let (mut intervals, mut values) = (0, 0);
        read(&path, |(latency, _), interval| {
            if latency == Latency::Response {
                intervals += 1;
                values += interval.histogram.len();
            }
        })
        .expect("it is read");
        assert_eq!((intervals, values), (1_800, 5 * 24 * 3600));
    }

    #[test]
    fn another_file_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(FILE);
        let endless = "a".repeat(2 * LINE_BYTES_MAX as usize);
        for text in [
            "",
            "Tag=x,0.0,1.0,1.0,AAAA\n",
            "nonsense\n",
            "cut off",
            &endless,
        ] {
            std::fs::write(&path, text).expect("it is written");
            let read = read(&path, |_, _| {});
            assert_eq!(read.is_err(), !text.is_empty(), "{read:?}");
        }
    }
}
