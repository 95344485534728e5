//! How fast the service can go: admission, and loans from the request to MongoDB, each as a ratio
//! to the floor server measured in turn on the same machine.
//!
//! Three measurements, interleaved over the rounds: the floor; admission alone (`--role api`); the
//! whole service, from the first request until the last accepted loan is confirmed by MongoDB.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use benches::{Floor, say};
use clap::Parser;
use testbed::{ServiceOptions, Stack, StackOptions, http};

/// Measures the highest rates of admission and of recording against a bare hyper server.
#[derive(Parser)]
struct Options {
    /// Rounds of all measurements
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of load in each measurement
    #[arg(long, default_value_t = 8)]
    seconds: u32,
}

/// Requests a second, of the floor and of the service's parts.
#[derive(Default)]
struct Round {
    floor: f64,
    admitted: f64,
    admitted_whole: f64,
    recorded: f64,
}

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "peak: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: &Options) -> Result<(), Failure> {
    let mut rounds = Vec::new();
    for number in 1..=options.rounds.clamp(1, 100) {
        let mut round = Round {
            floor: floor(options)?,
            ..Round::default()
        };
        round.admitted = admission(options, number).await?;
        (round.admitted_whole, round.recorded) = recording(options, number).await?;
        say(&format!(
            "round {number}: floor {:.0}/s, admission {:.0}/s ({:.2}), accepted to recorded {:.0}/s ({:.2}; admitted meanwhile at {:.0}/s)",
            round.floor,
            round.admitted,
            round.admitted / round.floor,
            round.recorded,
            round.recorded / round.floor,
            round.admitted_whole,
        ));
        rounds.push(round);
    }
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<_> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut table = String::from("\nmedian of the rounds\n");
    let _ = writeln!(
        table,
        "  floor                {:>9.0}/s",
        median(&|r| r.floor)
    );
    let _ = writeln!(
        table,
        "  admission            {:>9.0}/s  {:.2} of the floor (at least 0.35)",
        median(&|r| r.admitted),
        median(&|r| r.admitted / r.floor)
    );
    let _ = writeln!(
        table,
        "  accepted to recorded {:>9.0}/s  {:.2} of the floor (at least 0.13)",
        median(&|r| r.recorded),
        median(&|r| r.recorded / r.floor)
    );
    say(&table);
    Ok(())
}

fn floor(options: &Options) -> Result<f64, Failure> {
    wrk(options, 256, Floor::start()?.url(), "floor")
}

/// Admission alone: 256 connections against `--role api`.
async fn admission(options: &Options, round: u32) -> Result<f64, Failure> {
    let stack = stack("api").await?;
    let run = format!("a{round}");
    let rate = wrk(options, 256, &stack.service.url(), &run)?;
    let (admitted, _) = counters(stack.service.address()).await?;
    refuse_if_short(rate * f64::from(options.seconds), admitted)?;
    stack.stop().await?;
    Ok(rate)
}

/// The whole service: 64 connections, then the wait for the last record. Answers the rate of
/// admission meanwhile and the rate of records over the whole time.
async fn recording(options: &Options, round: u32) -> Result<(f64, f64), Failure> {
    let stack = stack("api,worker,persister").await?;
    let address = stack.service.address();
    let started = Instant::now();
    let rate = wrk(options, 64, &stack.service.url(), &format!("w{round}"))?;
    let deadline = started + Duration::from_secs(u64::from(options.seconds) + 300);
    loop {
        let (admitted, recorded) = counters(address).await?;
        if recorded >= admitted && admitted > 0 {
            let recorded_per_second = recorded as f64 / started.elapsed().as_secs_f64();
            refuse_if_short(rate * f64::from(options.seconds), admitted)?;
            stack.stop().await?;
            return Ok((rate, recorded_per_second));
        }
        if Instant::now() > deadline {
            return Err(format!("only {recorded} of {admitted} loans were recorded").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn stack(role: &str) -> Result<Stack, Failure> {
    let service = ServiceOptions {
        arguments: vec!["--role".to_owned(), role.to_owned()],
        ..ServiceOptions::default()
    };
    Ok(Stack::start(StackOptions {
        service,
        ..StackOptions::default()
    })
    .await?)
}

/// Loans admitted and loans recorded.
async fn counters(address: SocketAddr) -> Result<(u64, u64), Failure> {
    let answer = http::get(address, "/api/metrics").await?;
    let snapshot: service::snapshot::Snapshot = serde_json::from_str(&answer.body)?;
    Ok((snapshot.counters.admitted, snapshot.counters.recorded_loans))
}

/// wrk counts every answer. If far fewer loans were admitted than it counted, it counted refusals.
fn refuse_if_short(counted: f64, admitted: u64) -> Result<(), Failure> {
    if (admitted as f64) < counted * 0.98 {
        return Err(
            format!("{counted:.0} requests were answered, but only {admitted} admitted").into(),
        );
    }
    Ok(())
}

/// Requests a second.
fn wrk(options: &Options, connections: u32, url: &str, run: &str) -> Result<f64, Failure> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/wrk/loans.lua");
    let output = Command::new(testbed::servers::find_wrk()?)
        .args([
            "-t1",
            &format!("-c{connections}"),
            &format!("-d{}", options.seconds),
        ])
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
        return Err(format!("wrk saw failures: {}", line.trim()).into());
    }
    text.lines()
        .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
        .ok_or_else(|| format!("wrk gave no rate: {text}").into())
}
