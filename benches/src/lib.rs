//! What the measurements share.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use service::snapshot::Snapshot;
use testbed::{RedisOptions, RedisServer, ServiceOptions, Stack, StackOptions, TestbedError, http};

/// Why a measurement gave nothing. It is printed, not acted on.
pub type Failure = Box<dyn Error>;

/// A running floor server, the bare one to compare with. It ends when it goes out of scope.
#[derive(Debug)]
pub struct Floor {
    child: Child,
    url: String,
}

impl Floor {
    /// Starts the `floor` that was built beside this program, on a free port of the loopback interface.
    ///
    /// # Errors
    /// When it is not there, or does not say where it listens.
    pub fn start() -> io::Result<Self> {
        Self::with(&[])
    }

    /// As [`Floor::start`]; it answers only when a body is on the disk, in `file`.
    ///
    /// # Errors
    /// As [`Floor::start`].
    pub fn start_durable(file: &Path) -> io::Result<Self> {
        Self::with(&[OsStr::new("127.0.0.1:0"), file.as_os_str()])
    }

    fn with(arguments: &[&OsStr]) -> io::Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("floor");
        let child = Command::new(&binary)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", binary.display()))
            })?;
        let mut floor = Self {
            child,
            url: String::new(),
        };
        let stdout = floor.child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut floor.url)?;
        floor.url.truncate(floor.url.trim_end().len());
        Ok(floor)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints a line of the result.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Starts the service in this role, with its servers. Redis does not rewrite its append-only file: it grows by what the loans
/// cost.
///
/// # Errors
/// As [`Stack::start`].
pub async fn start_stack(role: &str, partitions: u32) -> Result<Stack, TestbedError> {
    let partitions = partitions.to_string();
    let arguments = [
        ["--role", role],
        ["--partitions", &partitions],
        // What is measured is how a long queue behaves, not its bound.
        ["--backlog-max", "10000000"],
    ];
    Stack::start(StackOptions {
        redis: RedisOptions {
            arguments: ["--auto-aof-rewrite-percentage", "0"]
                .map(str::to_owned)
                .to_vec(),
            ..RedisOptions::default()
        },
        service: ServiceOptions {
            arguments: arguments
                .iter()
                .flatten()
                .map(|&text| text.to_owned())
                .collect(),
            ..ServiceOptions::default()
        },
        ..StackOptions::default()
    })
    .await
}

/// Lets wrk send distinct loans, whose ids begin with `run`, from one thread. Answers how many were answered a second.
///
/// # Errors
/// When wrk is not there, gives no rate, or has seen another answer than 2xx.
pub fn wrk(seconds: u32, connections: u32, url: &str, run: &str) -> io::Result<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/wrk/loans.lua");
    let program = testbed::servers::find_wrk().map_err(io::Error::other)?;
    let output = Command::new(program)
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}")])
        .args(["-s", script])
        .arg(format!("{url}/api/loans/request"))
        .env("SLUICE_RUN", run)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(line) = text
        .lines()
        .find(|line| line.contains("Non-2xx") || line.contains("Socket errors"))
    {
        return Err(io::Error::other(format!(
            "wrk saw failures: {}",
            line.trim()
        )));
    }
    text.lines()
        .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("wrk gave no rate: {text}")))
}

/// The processor time of a process and of all its threads so far.
///
/// # Errors
/// When there is no such process.
pub fn processor_time(pid: u32) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything. Behind it, user and system time are the 12th and 13th field.
    let fields = stat.rsplit_once(')').ok_or("stat has no name")?.1;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap_or_default())
        .sum();
    // Linux tells them in hundredths of a second, whatever its own tick is.
    Ok(Duration::from_millis(10 * ticks))
}

/// How large Redis's append-only file is, in bytes.
///
/// # Errors
/// When its folder cannot be read.
pub fn append_only_bytes(redis: &RedisServer) -> io::Result<u64> {
    std::fs::read_dir(redis.folder().join("appendonlydir"))?
        .map(|file| Ok(file?.metadata()?.len()))
        .sum()
}

/// What the service says of itself at this moment.
///
/// # Errors
/// When it does not answer, or something else.
pub async fn snapshot(address: SocketAddr) -> Result<Snapshot, Failure> {
    let answer = http::get(address, "/api/metrics").await?;
    Ok(serde_json::from_str(&answer.body)?)
}

/// Waits until every admitted loan is recorded; answers how many there are.
///
/// # Errors
/// When some are missing after `within`.
pub async fn wait_until_recorded(address: SocketAddr, within: Duration) -> Result<u64, Failure> {
    let deadline = Instant::now() + within;
    loop {
        let counters = snapshot(address).await?.counters;
        let (admitted, recorded) = (counters.admitted, counters.recorded_loans);
        if recorded >= admitted && admitted > 0 {
            return Ok(recorded);
        }
        if Instant::now() > deadline {
            return Err(format!("only {recorded} of {admitted} loans were recorded").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
