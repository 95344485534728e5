//! A client for a fixed amount of work: so many loans, so many connections, each asking again as soon as it is
//! answered. It measures the service, so it does as little as it can itself.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::time::ClockId;
use plan::payload::Payloads;
use record::latencies::{empty, record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 8192;

/// Requests that are made before the work begins.
pub struct Work {
    requests: Vec<Vec<u8>>,
    address: SocketAddr,
}

/// What came of the work.
#[derive(Debug)]
pub struct Done {
    /// From the first request to the last answer.
    pub took: Duration,
    /// Answers with status 202.
    pub accepted: usize,
    /// Any other answer.
    pub refused: usize,
    /// From each request to its answer, microseconds.
    pub latency: Histogram<u64>,
    /// The processor times of whom it was told to watch, after each slice of the answers; the first is from the start.
    pub marks: Vec<Mark>,
}

/// Where the work stood after a slice of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mark {
    /// Answers so far.
    pub answers: usize,
    /// Processor time of each watched process, microseconds.
    pub cpu_us: [f64; 2],
    /// Processor time of the client's own thread, microseconds: the same work for every build.
    pub client_us: f64,
    /// Time since the first request, microseconds.
    pub wall_us: f64,
}

/// Whose processor time is read after each slice of so many answers.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// The processes' clocks.
    pub clocks: [ClockId; 2],
    /// Answers in a slice.
    pub slice: usize,
}

/// A clock's reading, microseconds.
///
/// # Errors
/// When the process is gone.
pub fn cpu_us(clock: ClockId) -> nix::Result<f64> {
    Ok(Duration::from(clock.now()?).as_secs_f64() * 1e6)
}

impl Watch {
    fn mark(self, answers: usize, started: Instant) -> io::Result<Mark> {
        Ok(Mark {
            answers,
            cpu_us: [cpu_us(self.clocks[0])?, cpu_us(self.clocks[1])?],
            client_us: cpu_us(ClockId::CLOCK_THREAD_CPUTIME_ID)?,
            wall_us: started.elapsed().as_secs_f64() * 1e6,
        })
    }
}

/// What the connections share.
struct Common {
    work: Work,
    next: AtomicUsize,
    answers: AtomicUsize,
    watch: Option<Watch>,
    started: Instant,
    marks: Mutex<Vec<Mark>>,
}

impl Common {
    fn mark(&self, answers: usize) -> io::Result<()> {
        if let Some(watch) = self.watch {
            let mark = watch.mark(answers, self.started)?;
            self.marks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(mark);
        }
        Ok(())
    }

    fn note_answer(&self) -> io::Result<()> {
        let answers = 1 + self.answers.fetch_add(1, Ordering::Relaxed);
        match self.watch {
            Some(watch) if answers.is_multiple_of(watch.slice) => self.mark(answers),
            _ => Ok(()),
        }
    }
}

impl Work {
    /// Requests for the loans `numbers` of `payloads`, to the service at `address`.
    pub fn new(payloads: &Payloads, numbers: std::ops::Range<u32>, address: SocketAddr) -> Self {
        let requests = numbers
            .map(|number| {
                let body = payloads.arrival(number).body;
                let mut request = format!(
                    "POST /api/loans/request HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                )
                .into_bytes();
                request.extend_from_slice(&body);
                request
            })
            .collect();
        Self { requests, address }
    }

    /// Sends everything over `connections` and reads every answer, with the processor times that `watch` asks for.
    /// Blocks its thread.
    ///
    /// # Errors
    /// When a connection breaks, or a watched process ends.
    pub fn run(self, connections: usize, watch: Option<Watch>) -> io::Result<Done> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async move {
            let mut streams = Vec::with_capacity(connections);
            for _ in 0..connections {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                streams.push(stream);
            }
            let common = Arc::new(Common {
                work: self,
                next: AtomicUsize::new(0),
                answers: AtomicUsize::new(0),
                watch,
                started: Instant::now(),
                marks: Mutex::new(Vec::new()),
            });
            common.mark(0)?;
            let tasks: Vec<_> = streams
                .into_iter()
                .map(|stream| tokio::spawn(ask(stream, Arc::clone(&common))))
                .collect();
            let mut done = Done {
                took: Duration::ZERO,
                accepted: 0,
                refused: 0,
                latency: empty(),
                marks: Vec::new(),
            };
            for task in tasks {
                let (accepted, refused, latency) = task.await.map_err(io::Error::other)??;
                done.accepted += accepted;
                done.refused += refused;
                done.latency.add(&latency).map_err(io::Error::other)?;
            }
            done.took = common.started.elapsed();
            done.marks =
                std::mem::take(&mut *common.marks.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(done)
        })
    }
}

async fn ask(
    mut stream: TcpStream,
    common: Arc<Common>,
) -> io::Result<(usize, usize, Histogram<u64>)> {
    let (mut accepted, mut refused, mut latency) = (0, 0, empty());
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    let requests = &common.work.requests;
    while let Some(request) = requests.get(common.next.fetch_add(1, Ordering::Relaxed)) {
        let asked = Instant::now();
        stream.write_all(request).await?;
        answer.clear();
        while !is_whole(&answer) {
            if answer.len() >= ANSWER_BYTES_MAX || stream.read_buf(&mut answer).await? == 0 {
                return Err(io::Error::other("the service broke off an answer"));
            }
        }
        record(&mut latency, asked.elapsed());
        if answer.starts_with(b"HTTP/1.1 202") {
            accepted += 1;
        } else {
            refused += 1;
        }
        common.note_answer()?;
    }
    Ok((accepted, refused, latency))
}

/// Whether the bytes are a whole answer of known length.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head_len) = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
    else {
        return false;
    };
    let length = answer[..head_len]
        .split(|byte| *byte == b'\n')
        .find_map(|line| {
            let line = std::str::from_utf8(line).ok()?;
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        })
        .unwrap_or(0);
    answer.len() >= head_len + length
}

#[cfg(test)]
mod tests {
    use plan::mix::Mix;

    use super::*;
    use crate::stub::{Delays, Stub};

    #[test]
    fn an_answer_is_whole_when_its_length_is_there() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        assert!(is_whole(answer));
        assert!(!is_whole(&answer[..answer.len() - 1]));
        assert!(!is_whole(b"HTTP/1.1 202 Accepted\r\n"));
    }

    #[test]
    fn every_loan_is_sent_once() {
        let stub = Stub::start(Delays::None, None).expect("a stub");
        let address = stub.url()[7..].parse().expect("an address");
        let payloads = Payloads::new(1, "t", &Mix::default());
        let done = Work::new(&payloads, 0..500, address)
            .run(
                8,
                Some(Watch {
                    clocks: [ClockId::CLOCK_PROCESS_CPUTIME_ID; 2],
                    slice: 100,
                }),
            )
            .expect("the work is done");
        assert_eq!((done.accepted, done.refused), (500, 0));
        assert_eq!((stub.requests(), done.latency.len()), (500, 500));
        let answers: Vec<usize> = done.marks.iter().map(|mark| mark.answers).collect();
        assert_eq!(answers, [0, 100, 200, 300, 400, 500]);
        assert!(done.marks.is_sorted_by(|a, b| a.cpu_us[0] <= b.cpu_us[0]));
    }
}
