//! What a second and a third shard bring: the same service and the same number of partitions on a Redis Cluster of one, two
//! and three masters, each held to the same small share of a core, so that Redis is the limit and not this machine.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::{Failure, processor_time, say, snapshot, wrk};
use clap::Parser;
use testbed::{
    Deployment, DeploymentOptions, RedisLayout, RedisOptions, RedisServer, RedisStore,
    ServiceOptions, Signal,
};

/// Measures how many loans a second are admitted and recorded with one, two and three shards, each Redis held to the same share of a core.
#[derive(Parser)]
struct Options {
    /// Rounds of all measurements
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of load in each measurement; the first two are not counted
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(5..=600))]
    seconds: u32,
    /// Connections at once
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Partitions of the queue, the same for each number of shards
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(3..=64))]
    partitions: u32,
    /// What each Redis may have of a core, in percent
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=50))]
    quota: u32,
}

/// The numbers of shards that are compared.
const SHARDS: [usize; 3] = [1, 2, 3];
/// Load that is not counted: until all are connected and the queue has its length.
const WARM_UP: Duration = Duration::from_secs(2);
/// How often a Redis is held or let go.
const TICK: Duration = Duration::from_millis(1);
/// A Redis that was idle may take at once what is due to it for so long.
const BURST: Duration = Duration::from_millis(10);

/// One measurement.
struct Measured {
    /// Loans admitted a second.
    admitted: f64,
    /// Loans recorded a second.
    recorded: f64,
    /// What the busiest and the idlest Redis had of a core.
    redis_share: (f64, f64),
    /// What service and mongod had of a core together.
    others_share: f64,
    /// Calls of functions in all Redis for a recorded loan.
    calls: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "shards: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: &Options) -> Result<(), Failure> {
    say(&format!(
        "shards: {} rounds of {} s each, wrk with one thread and {} connections, {} partitions, each Redis with appendfsync always \
         and at most {} % of a core",
        options.rounds, options.seconds, options.connections, options.partitions, options.quota,
    ));
    let mut rounds: Vec<Vec<Measured>> = SHARDS.iter().map(|_| Vec::new()).collect();
    for number in 1..=options.rounds {
        // In an order that changes, so that what the machine does besides hits all alike.
        for turn in 0..SHARDS.len() {
            let index = (turn + number as usize) % SHARDS.len();
            let measured = measure(options, SHARDS[index], number).await?;
            say(&format!(
                "round {number}, {} shard(s): admitted {:.0}/s, recorded {:.0}/s, {:.4} calls a loan; a Redis had {:.1} to {:.1} % of a core, service and mongod {:.0} %",
                SHARDS[index],
                measured.admitted,
                measured.recorded,
                measured.calls,
                measured.redis_share.0 * 100.0,
                measured.redis_share.1 * 100.0,
                measured.others_share * 100.0,
            ));
            rounds[index].push(measured);
        }
    }
    say("\nmedian of the rounds, against one shard of the same round");
    for (shards, measured) in SHARDS.iter().zip(&rounds) {
        let ratio = |of: &dyn Fn(&Measured) -> f64| {
            median(
                measured
                    .iter()
                    .zip(&rounds[0])
                    .map(|(here, one)| of(here) / of(one)),
            )
        };
        say(&format!(
            "  {shards} shard(s): admitted {:>6.0}/s, {:.2} times; recorded {:>6.0}/s, {:.2} times; {:.4} calls a loan",
            median(measured.iter().map(|round| round.admitted)),
            ratio(&|round| round.admitted),
            median(measured.iter().map(|round| round.recorded)),
            ratio(&|round| round.recorded),
            median(measured.iter().map(|round| round.calls)),
        ));
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(options: &Options, shards: usize, round: u32) -> Result<Measured, Failure> {
    let arguments = [
        ["--role", "api,worker,persister"],
        ["--backlog-max", "10000000"],
    ];
    let deployment = Deployment::start(DeploymentOptions {
        redis: RedisLayout::Cluster {
            masters: shards,
            replicas: 0,
        },
        redis_options: RedisOptions {
            arguments: ["--auto-aof-rewrite-percentage", "0"]
                .map(str::to_owned)
                .to_vec(),
            ..RedisOptions::default()
        },
        partitions: Some(options.partitions),
        service: ServiceOptions {
            arguments: arguments
                .iter()
                .flatten()
                .map(|&text| text.to_owned())
                .collect(),
            ..ServiceOptions::default()
        },
        ..DeploymentOptions::default()
    })
    .await?;
    let measured = under_load(options, &deployment, shards, round).await;
    deployment.stop().await?;
    measured
}

/// Loads a deployment whose nodes are held to their share, and counts between two instants while the load lasts.
async fn under_load(
    options: &Options,
    deployment: &Deployment,
    shards: usize,
    round: u32,
) -> Result<Measured, Failure> {
    let RedisStore::Cluster(cluster) = &deployment.redis else {
        return Err("the deployment has no cluster".into());
    };
    let nodes = (0..shards)
        .map(|number| cluster.node(number))
        .collect::<Result<Vec<_>, _>>()?;
    let service = &deployment.instances[0];
    let (seconds, connections) = (options.seconds, options.connections);
    let (url, run) = (service.url(), format!("s{shards}r{round}"));
    let load = tokio::task::spawn_blocking(move || wrk(seconds, connections, &url, &run));
    let counted = async {
        tokio::time::sleep(WARM_UP).await;
        let before = Seen::of(deployment, &nodes).await?;
        let rest = Duration::from_secs(u64::from(seconds)) - WARM_UP;
        tokio::time::sleep(rest.saturating_sub(Duration::from_millis(500))).await;
        let after = Seen::of(deployment, &nodes).await?;
        load.await??;
        Ok::<_, Failure>((before, after))
    };
    let share = f64::from(options.quota) / 100.0;
    let (before, after) = tokio::select! {
        counted = counted => counted?,
        error = hold(&nodes, share) => return Err(error),
    };
    for node in &nodes {
        node.signal(Signal::SIGCONT)?;
    }
    Ok(after.since(&before))
}

/// Holds each server to a share of a core, by stopping it whenever it had more. Ends only when that fails.
async fn hold(nodes: &[&RedisServer], share: f64) -> Failure {
    let mut buckets: Vec<_> = nodes.iter().map(|node| Bucket::of(node, share)).collect();
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        for bucket in &mut buckets {
            if let Err(error) = bucket.look() {
                return error;
            }
        }
    }
}

/// What a server may have: it fills with time, and processor time empties it.
struct Bucket<'a> {
    node: &'a RedisServer,
    share: f64,
    left_us: f64,
    is_stopped: bool,
    /// The last look, and the processor time at it.
    before: Option<(Instant, f64)>,
}

impl<'a> Bucket<'a> {
    fn of(node: &'a RedisServer, share: f64) -> Self {
        Self {
            node,
            share,
            left_us: 0.0,
            is_stopped: false,
            before: None,
        }
    }

    fn look(&mut self) -> Result<(), Failure> {
        let (now, spent_us) = (Instant::now(), on_processor_us(self.node.pid())?);
        if let Some((then, before_us)) = self.before.replace((now, spent_us)) {
            let due_us = (now - then).as_secs_f64() * 1e6 * self.share;
            let most_us = BURST.as_secs_f64() * 1e6 * self.share;
            self.left_us = (self.left_us + due_us).min(most_us) - (spent_us - before_us);
        }
        let stops = self.left_us < 0.0;
        if stops != self.is_stopped {
            let signal = if stops {
                Signal::SIGSTOP
            } else {
                Signal::SIGCONT
            };
            self.node.signal(signal)?;
            self.is_stopped = stops;
        }
        Ok(())
    }
}

/// The processor time of a process's main thread so far, in microseconds: the one on which Redis runs commands and flushes.
fn on_processor_us(pid: u32) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanoseconds: f64 = text
        .split_whitespace()
        .next()
        .ok_or("schedstat is empty")?
        .parse()?;
    Ok(nanoseconds / 1e3)
}

/// What was counted until an instant.
struct Seen {
    at: Instant,
    /// When the service counted, by its clock.
    counted_at_ms: u64,
    admitted: u64,
    recorded: u64,
    redis_us: Vec<f64>,
    calls: u64,
    others: Duration,
}

/// How often a function was called in this Redis so far.
async fn calls(node: &RedisServer) -> Result<u64, Failure> {
    let info: String = node.query(redis::cmd("INFO").arg("commandstats")).await?;
    let calls = info
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_fcall:calls="))
        .and_then(|rest| rest.split(',').next()?.parse().ok());
    Ok(calls.unwrap_or(0))
}

impl Seen {
    async fn of(deployment: &Deployment, nodes: &[&RedisServer]) -> Result<Self, Failure> {
        let service = &deployment.instances[0];
        let snapshot = snapshot(service.address()).await?;
        let testbed::MongoStore::Single(mongodb) = &deployment.mongodb else {
            return Err("the deployment has a replica set".into());
        };
        let mut all_calls = 0;
        for node in nodes {
            all_calls += calls(node).await?;
        }
        let redis_us = nodes.iter().map(|node| on_processor_us(node.pid()));
        Ok(Self {
            at: Instant::now(),
            counted_at_ms: snapshot.at_ms,
            admitted: snapshot.counters.admitted,
            recorded: snapshot.counters.recorded_loans,
            redis_us: redis_us.collect::<Result<_, _>>()?,
            calls: all_calls,
            others: processor_time(service.pid())? + processor_time(mongodb.pid())?,
        })
    }

    fn since(&self, before: &Self) -> Measured {
        let counted_s = (self.counted_at_ms - before.counted_at_ms) as f64 / 1e3;
        let lasted_s = (self.at - before.at).as_secs_f64();
        let shares = self.redis_us.iter().zip(&before.redis_us);
        let shares: Vec<_> = shares
            .map(|(now, then)| (now - then) / 1e6 / lasted_s)
            .collect();
        let recorded = self.recorded - before.recorded;
        Measured {
            calls: (self.calls - before.calls) as f64 / recorded.max(1) as f64,
            admitted: (self.admitted - before.admitted) as f64 / counted_s,
            recorded: recorded as f64 / counted_s,
            redis_share: (
                shares.iter().copied().fold(f64::INFINITY, f64::min),
                shares.iter().copied().fold(0.0, f64::max),
            ),
            others_share: (self.others - before.others).as_secs_f64() / lasted_s,
        }
    }
}
