//! How fast the service can go, and what a loan costs in each process.
//!
//! Four things are measured in turn, at each number of connections, so that what the machine does besides hits all alike:
//! the floor, a bare hyper server; the durable floor, which answers when a body is on the disk; admission alone
//! (`--role api`); the whole service, from the first request until the last accepted loan is confirmed by MongoDB.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::{
    Failure, Floor, append_only_bytes, processor_time, say, snapshot, start_stack,
    wait_until_recorded, wrk,
};
use clap::Parser;
use testbed::Stack;

/// Measures the highest rates of admission and of recording against a bare hyper server, and what a loan costs.
#[derive(Parser)]
struct Options {
    /// Rounds of all measurements
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of load in each measurement
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Connections at once; may be repeated
    #[arg(long = "connections", default_values_t = [64, 256], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,
    /// Partitions of the queue
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    partitions: u32,
}

/// One round at one number of connections.
struct Round {
    /// Requests a second of the bare server.
    floor: f64,
    /// Processor time of the bare server for a request, in microseconds: how fast this machine is at this moment.
    floor_cpu_us: f64,
    /// Requests a second of the bare server that answers when a body is on the disk.
    durable: f64,
    /// Its processor time for a request, in microseconds.
    durable_cpu_us: f64,
    /// Loans a second of admission alone.
    admission: f64,
    whole: Whole,
}

/// What the whole service did.
struct Whole {
    /// Loans admitted a second, as long as the load lasted.
    admitted: f64,
    /// Loans recorded a second, until the last one was.
    recorded: f64,
    /// Processor time of each process for a recorded loan, in microseconds.
    cpu_us: [f64; 3],
    /// What a recorded loan left in Redis's append-only file, in bytes.
    aof_bytes: f64,
    /// The most memory that the service had, in MiB.
    memory_mib: f64,
}

/// The processes, in the order of [`Whole::cpu_us`].
const PROCESSES: [&str; 3] = ["service", "redis-server", "mongod"];

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
    say(&format!(
        "peak: {} rounds of {} s each, wrk with one thread, {} partition(s), Redis with appendfsync always.\n\
         floor:     a bare hyper server that reads each body and answers\n\
         durable:   the same, and answers when the body is on the disk; bodies are written and flushed together\n\
         admission: the service with --role api: no worker and no recorder runs, admitted loans stay in Redis\n\
         whole:     the service with --role api,worker,persister, from the first request until MongoDB has confirmed the last\n\
         \u{20}          accepted loan; `admitted` counts while the load lasts, `recorded` over the whole time\n",
        options.rounds, options.seconds, options.partitions,
    ));
    let mut rounds: Vec<Vec<Round>> = options.connections.iter().map(|_| Vec::new()).collect();
    for number in 1..=options.rounds {
        for (&connections, rounds) in options.connections.iter().zip(&mut rounds) {
            let (floor, floor_cpu_us) = bare(options, connections, &Floor::start()?)?;
            let folder = tempfile::tempdir()?;
            let on_disk = Floor::start_durable(&folder.path().join("bodies"))?;
            let (durable, durable_cpu_us) = bare(options, connections, &on_disk)?;
            drop(on_disk);
            let round = Round {
                floor,
                floor_cpu_us,
                durable,
                durable_cpu_us,
                admission: admission(options, connections, number).await?,
                whole: whole(options, connections, number).await?,
            };
            let whole = &round.whole;
            say(&format!(
                "round {number}, {connections} connections: floor {:.0}/s, durable {:.0}/s ({:.2}), admission {:.0}/s ({:.2}), \
                 whole: admitted {:.0}/s ({:.2}), recorded {:.0}/s ({:.2}), {:.1} us a loan, {:.1} us a bare request",
                round.floor,
                round.durable,
                round.durable / round.floor,
                round.admission,
                round.admission / round.floor,
                whole.admitted,
                whole.admitted / round.floor,
                whole.recorded,
                whole.recorded / round.floor,
                whole.cpu_us.iter().sum::<f64>(),
                round.floor_cpu_us,
            ));
            rounds.push(round);
        }
    }
    for (connections, rounds) in options.connections.iter().zip(&rounds) {
        say(&table(*connections, rounds));
    }
    Ok(())
}

/// The medians of the rounds.
fn table(connections: u32, rounds: &[Round]) -> String {
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<_> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut table = format!("\n{connections} connections, median of the rounds\n");
    let mut rate = |name: &str, of: &dyn Fn(&Round) -> f64| {
        let share = median(&|round| of(round) / round.floor);
        let _ = writeln!(
            table,
            "  {name:<32} {:>8.0}/s  {share:.2} of the floor",
            median(of)
        );
    };
    rate("floor", &|round| round.floor);
    rate("durable floor", &|round| round.durable);
    rate("admission alone", &|round| round.admission);
    rate("whole service, admitted", &|round| round.whole.admitted);
    rate("whole service, recorded", &|round| round.whole.recorded);
    let _ = writeln!(
        table,
        "  {:<32} {:>8.1} us",
        "processor time of a recorded loan",
        median(&|round| round.whole.cpu_us.iter().sum())
    );
    for (index, process) in PROCESSES.iter().enumerate() {
        let _ = writeln!(
            table,
            "    {process:<30} {:>8.1} us",
            median(&|round| round.whole.cpu_us[index])
        );
    }
    let _ = writeln!(
        table,
        "    {:<30} {:>8.1} us; a recorded loan takes {:.2} times that",
        "a bare request, for comparison",
        median(&|round| round.floor_cpu_us),
        median(&|round| round.whole.cpu_us.iter().sum::<f64>() / round.floor_cpu_us)
    );
    let _ = writeln!(
        table,
        "    {:<30} {:>8.1} us, {:.2} times that",
        "a request of the durable floor",
        median(&|round| round.durable_cpu_us),
        median(&|round| round.durable_cpu_us / round.floor_cpu_us)
    );
    let _ = writeln!(
        table,
        "  {:<32} {:>8.0} bytes",
        "append-only file, a recorded loan",
        median(&|round| round.whole.aof_bytes)
    );
    let _ = write!(
        table,
        "  {:<32} {:>8.0} MiB",
        "service, most memory",
        median(&|round| round.whole.memory_mib)
    );
    table
}

/// Requests a second, and processor time for each.
fn bare(options: &Options, connections: u32, floor: &Floor) -> Result<(f64, f64), Failure> {
    let rate = wrk(options.seconds, connections, floor.url(), "floor")?;
    let requests = rate * f64::from(options.seconds);
    Ok((
        rate,
        processor_time(floor.pid())?.as_secs_f64() * 1e6 / requests,
    ))
}

async fn admission(options: &Options, connections: u32, round: u32) -> Result<f64, Failure> {
    let stack = start_stack("api", options.partitions).await?;
    let rate = wrk(
        options.seconds,
        connections,
        &stack.service.url(),
        &format!("a{round}"),
    )?;
    let admitted = snapshot(stack.service.address()).await?.counters.admitted;
    refuse_if_short(rate * f64::from(options.seconds), admitted)?;
    stack.stop().await?;
    Ok(rate)
}

async fn whole(options: &Options, connections: u32, round: u32) -> Result<Whole, Failure> {
    let stack = start_stack("api,worker,persister", options.partitions).await?;
    let pids = [stack.service.pid(), stack.redis.pid(), stack.mongodb.pid()];
    let before = Spent::read(pids, &stack)?;
    let started = Instant::now();
    let admitted = wrk(
        options.seconds,
        connections,
        &stack.service.url(),
        &format!("w{round}"),
    )?;
    let within = Duration::from_secs(u64::from(options.seconds) + 300);
    let recorded = wait_until_recorded(stack.service.address(), within).await?;
    let took = started.elapsed();
    let after = Spent::read(pids, &stack)?;
    let memory_mib = most_memory_mib(stack.service.pid())?;
    refuse_if_short(admitted * f64::from(options.seconds), recorded)?;
    stack.stop().await?;

    let mut cpu_us = [0.0; 3];
    for (index, cpu_us) in cpu_us.iter_mut().enumerate() {
        let spent = after.cpu[index].saturating_sub(before.cpu[index]);
        *cpu_us = spent.as_secs_f64() * 1e6 / recorded as f64;
    }
    Ok(Whole {
        admitted,
        recorded: recorded as f64 / took.as_secs_f64(),
        cpu_us,
        aof_bytes: after.aof_bytes.saturating_sub(before.aof_bytes) as f64 / recorded as f64,
        memory_mib,
    })
}

/// What has been spent so far.
struct Spent {
    cpu: [Duration; 3],
    aof_bytes: u64,
}

impl Spent {
    fn read(pids: [u32; 3], stack: &Stack) -> Result<Self, Failure> {
        let mut cpu = [Duration::ZERO; 3];
        for (cpu, pid) in cpu.iter_mut().zip(pids) {
            *cpu = processor_time(pid)?;
        }
        let aof_bytes = append_only_bytes(&stack.redis)?;
        Ok(Self { cpu, aof_bytes })
    }
}

fn most_memory_mib(pid: u32) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .ok_or("status has no VmHWM")?
        .trim()
        .parse()?;
    Ok(kib / 1024.0)
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
