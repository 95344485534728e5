//! Where the time of the service and of Redis goes at full speed: a flame graph of each.
//!
//! perf samples the stacks of both while wrk sends; inferno draws them.

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use benches::{say, start_stack, wrk};
use clap::Parser;

/// Draws a flame graph of the service and one of Redis at full speed.
#[derive(Parser)]
struct Options {
    /// Seconds that are sampled
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// The service's roles
    #[arg(long, default_value = "api,worker,persister")]
    role: String,
    /// Partitions of the queue
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    partitions: u32,
    /// Where the graphs go
    #[arg(long, default_value = "reports/profile")]
    folder: PathBuf,
    /// Where inferno's programs are
    #[arg(long, default_value = ".sluice/inferno/bin")]
    inferno: PathBuf,
}

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "profile: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: &Options) -> Result<(), Failure> {
    std::fs::create_dir_all(&options.folder)?;
    let scratch = tempfile::tempdir()?;
    let stack = start_stack(&options.role, options.partitions).await?;
    let (url, connections) = (stack.service.url(), options.connections);
    // The first second fills the queue and the buffers.
    let load_seconds = options.seconds + 2;
    let load = tokio::task::spawn_blocking(move || wrk(load_seconds, connections, &url, "p"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut recordings = Vec::new();
    for (name, pid) in [
        ("service", stack.service.pid()),
        ("redis-server", stack.redis.pid()),
    ] {
        let samples = scratch.path().join(name);
        let perf = record(pid, options.seconds, &samples)?;
        recordings.push((name, samples, perf));
    }
    let mut sampled = Vec::new();
    for (name, samples, mut perf) in recordings {
        let status = perf.wait()?;
        if !status.success() {
            return Err(format!("perf record of {name} ended with {status}").into());
        }
        sampled.push((name, samples));
    }
    let rate = load.await??;
    stack.stop().await?;
    say(&format!(
        "{rate:.0} loans/s were admitted over {connections} connections, by --role {}, while perf sampled",
        options.role
    ));
    for (name, samples) in sampled {
        let graph = options.folder.join(format!("{name}.svg"));
        draw(options, name, &samples, &graph)?;
        say(&format!("{}", graph.display()));
    }
    Ok(())
}

/// Samples a process's stacks 499 times a second of its processor time. No program has to keep frame pointers.
fn record(pid: u32, seconds: u32, samples: &Path) -> Result<Child, Failure> {
    Command::new("perf")
        .args(["record", "--quiet", "--event", "cpu-clock", "--freq", "499"])
        .args(["--call-graph", "dwarf,8192", "--pid", &pid.to_string()])
        .arg("--output")
        .arg(samples)
        .args(["--", "sleep", &seconds.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| {
            format!("perf: {error}; install it (Debian: linux-perf, others: perf or linux-tools)")
                .into()
        })
}

fn draw(options: &Options, name: &str, samples: &Path, graph: &Path) -> Result<(), Failure> {
    let stacks = samples.with_extension("stacks");
    let folded = samples.with_extension("folded");
    pipe(
        Command::new("perf")
            .args(["script", "--no-inline", "--input"])
            .arg(samples),
        &stacks,
    )?;
    pipe(
        Command::new(options.inferno.join("inferno-collapse-perf")).arg(&stacks),
        &folded,
    )?;
    pipe(
        Command::new(options.inferno.join("inferno-flamegraph"))
            .args(["--title", name])
            .arg(&folded),
        graph,
    )
}

/// Runs a program and keeps what it prints.
fn pipe(command: &mut Command, output: &Path) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdout(File::create(output)?)
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("{program}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{program} ended with {status}").into())
    }
}
