//! What it costs when loans pile up: admission onto a long queue, the start after everything was killed, and the way
//! back to an empty queue.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::{Failure, append_only_bytes, processor_time, say, snapshot, start_stack, wrk};
use clap::Parser;
use testbed::{ServiceOptions, ServiceProcess, Stack};

/// Measures admission onto a short and a long queue in turn, then kills everything, and measures the start and the way back.
#[derive(Parser)]
struct Options {
    /// Loans queued in the long queue; may be repeated, each is a measurement of its own
    #[arg(long = "loans", default_values_t = [250_000, 500_000, 1_000_000], value_parser = clap::value_parser!(u64).range(10_000..=5_000_000))]
    loans: Vec<u64>,
    /// Pairs of measurements of the short and the long queue
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Connections at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
}

/// Loans in the short queue before it is measured.
const SHORT: u64 = 1_000;
/// Seconds of load in each measurement of a pair.
const MEASURED_SECONDS: u32 = 2;
/// Seconds of load at a time while a queue is filled.
const FILL_SECONDS: u32 = 5;
/// How often the way back is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many parts of the way back are told.
const PARTS: usize = 10;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "backlog: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: &Options) -> Result<(), Failure> {
    say(&format!(
        "backlog: wrk with one thread and {} connections, Redis with appendfsync always.\n\
         short and long: the service with --role api in turn, {MEASURED_SECONDS} s of load each, {} pairs; the short queue holds {SHORT} loans at first\n\
         back: service, Redis and mongod are killed, and all is started again with --role api,worker,persister",
        options.connections, options.pairs,
    ));
    for &loans in &options.loans {
        say(&format!("\n{loans} loans"));
        measure(options, loans).await?;
    }
    Ok(())
}

/// What one loan cost while a queue of one length was loaded.
struct Admission {
    per_second: f64,
    /// Processor time of the service and of Redis, in microseconds.
    cpu_us: f64,
    /// Memory of Redis, in bytes.
    memory_bytes: f64,
    /// What it left in Redis's append-only file, in bytes.
    file_bytes: f64,
}

async fn measure(options: &Options, loans: u64) -> Result<(), Failure> {
    let mut long = start_stack("api", 1).await?;
    let empty_bytes = used_memory(&long).await?;
    let started = Instant::now();
    let mut queued = 0;
    let mut run = 0;
    while queued < loans {
        wrk(
            FILL_SECONDS,
            options.connections,
            &long.service.url(),
            &format!("f{run}"),
        )?;
        queued = admitted(&long).await?;
        run += 1;
    }
    say(&format!(
        "  filled with {queued} loans in {:.0} s; Redis holds {:.0} bytes for each",
        started.elapsed().as_secs_f64(),
        (used_memory(&long).await? - empty_bytes) / queued as f64,
    ));

    let mut pairs = Vec::new();
    for pair in 0..options.pairs {
        let short = start_stack("api", 1).await?;
        while admitted(&short).await? < SHORT {
            wrk(1, 1, &short.service.url(), &format!("s{run}"))?;
            run += 1;
        }
        let (first, second) = if pair % 2 == 0 {
            (&short, &long)
        } else {
            (&long, &short)
        };
        let first = admission(options, first, &format!("x{pair}")).await?;
        let second = admission(options, second, &format!("y{pair}")).await?;
        short.stop().await?;
        pairs.push(if pair % 2 == 0 {
            (first, second)
        } else {
            (second, first)
        });
    }
    tell_pairs(&pairs);
    way_back(&mut long).await?;
    long.stop().await?;
    Ok(())
}

fn tell_pairs(pairs: &[(Admission, Admission)]) {
    let tell = |what: &str, unit: &str, of: &dyn Fn(&Admission) -> f64| {
        let short = median(pairs.iter().map(|(short, _)| of(short)));
        let long = median(pairs.iter().map(|(_, long)| of(long)));
        let ratio = median(pairs.iter().map(|(short, long)| of(long) / of(short)));
        say(&format!(
            "  {what:<42} short {short:>8.1} {unit}, long {long:>8.1} {unit}: {ratio:.2} times"
        ));
    };
    tell("time of a loan, at full speed", "us", &|loan| {
        1e6 / loan.per_second
    });
    tell("processor time, service and Redis", "us", &|loan| {
        loan.cpu_us
    });
    tell("memory of Redis for a loan", "bytes", &|loan| {
        loan.memory_bytes
    });
    tell("append-only file for a loan", "bytes", &|loan| {
        loan.file_bytes
    });
}

/// Loads a queue and says what a loan cost.
async fn admission(options: &Options, stack: &Stack, run: &str) -> Result<Admission, Failure> {
    let spent = || -> Result<Duration, Failure> {
        Ok(processor_time(stack.service.pid())? + processor_time(stack.redis.pid())?)
    };
    let cpu_before = spent()?;
    let (memory_before, file_before) =
        (used_memory(stack).await?, append_only_bytes(&stack.redis)?);
    let admitted_before = admitted(stack).await?;
    let per_second = wrk(
        MEASURED_SECONDS,
        options.connections,
        &stack.service.url(),
        run,
    )?;
    let loans = (admitted(stack).await? - admitted_before) as f64;
    Ok(Admission {
        per_second,
        cpu_us: (spent()? - cpu_before).as_secs_f64() * 1e6 / loans,
        memory_bytes: (used_memory(stack).await? - memory_before) / loans,
        file_bytes: append_only_bytes(&stack.redis)?.saturating_sub(file_before) as f64 / loans,
    })
}

/// Kills everything, starts it again with all roles, and watches until every loan is recorded.
async fn way_back(stack: &mut Stack) -> Result<(), Failure> {
    let queued = admitted(stack).await?;
    let file_mib = append_only_bytes(&stack.redis)? as f64 / f64::from(1 << 20);
    stack.service.kill();
    stack.redis.kill();
    stack.mongodb.kill();

    let mut clock = Instant::now();
    stack.redis.restart().await?;
    let redis_after = clock.elapsed();
    stack.mongodb.restart().await?;
    clock = Instant::now();
    stack.service = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        arguments: ["--role", "api,worker,persister"]
            .map(str::to_owned)
            .to_vec(),
        ..ServiceOptions::default()
    })
    .await?;
    say(&format!(
        "  after kill -9 of all three: Redis ready with {queued} loans, a file of {file_mib:.0} MiB, after {:.2} s, \
         the service {:.2} s after that",
        redis_after.as_secs_f64(),
        clock.elapsed().as_secs_f64(),
    ));

    let pids = [stack.service.pid(), stack.redis.pid(), stack.mongodb.pid()];
    let mut spent = [Duration::ZERO; 3];
    for (spent, pid) in spent.iter_mut().zip(pids) {
        *spent = processor_time(pid)?;
    }
    let mut parts = Vec::new();
    let (mut idle_looks, mut looks, mut memory_bytes) = (0, 0, 0);
    loop {
        let snapshot = snapshot(stack.service.address()).await?;
        let gauges = &snapshot.gauges;
        let left = gauges.queue_depth + gauges.in_flight + gauges.unrecorded;
        memory_bytes = memory_bytes.max(snapshot.process.rss_bytes);
        // The last loans of a queue do not keep all workers busy, nor the first moments of a start.
        if gauges.queue_depth > queued / 10 && left < queued {
            looks += 1;
            idle_looks += u32::from(gauges.in_flight == 0);
        }
        while parts.len() < PARTS
            && left as usize <= queued as usize / PARTS * (PARTS - 1 - parts.len())
        {
            parts.push(clock.elapsed());
        }
        if left == 0 {
            break;
        }
        if clock.elapsed() > Duration::from_secs(1_200) {
            return Err(format!("{left} of {queued} loans were not recorded in 20 minutes").into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took = clock.elapsed();
    let mut cpu_us = String::new();
    for ((name, pid), before) in ["service", "redis-server", "mongod"]
        .iter()
        .zip(pids)
        .zip(spent)
    {
        let loan = (processor_time(pid)? - before).as_secs_f64() * 1e6 / queued as f64;
        let _ = write!(cpu_us, " {name} {loan:.1} us");
    }
    let tenths: Vec<_> = std::iter::once(Duration::ZERO)
        .chain(parts.iter().copied())
        .collect::<Vec<_>>()
        .windows(2)
        .map(|pair| format!("{:.2}", (pair[1] - pair[0]).as_secs_f64()))
        .collect();
    say(&format!(
        "  all recorded {:.1} s after the service's start, {:.0}/s; processor time of a loan:{cpu_us}\n  \
         seconds for each tenth: {}\n  \
         no worker had a loan in hand in {idle_looks} of {looks} looks; service {:.0} MiB at most",
        took.as_secs_f64(),
        queued as f64 / took.as_secs_f64(),
        tenths.join(" "),
        memory_bytes as f64 / f64::from(1 << 20),
    ));
    Ok(())
}

async fn admitted(stack: &Stack) -> Result<u64, Failure> {
    Ok(snapshot(stack.service.address()).await?.counters.admitted)
}

/// What Redis says that it uses, in bytes.
async fn used_memory(stack: &Stack) -> Result<f64, Failure> {
    let info: String = stack.redis.query(redis::cmd("INFO").arg("memory")).await?;
    let bytes = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .ok_or("Redis does not say how much memory it uses")?;
    Ok(bytes.trim().parse()?)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
