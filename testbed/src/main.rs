//! Private servers until Ctrl-C.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use nix::fcntl::{Flock, FlockArg};
use testbed::{
    MongoLayout, MongoOptions, MongoStore, RedisLayout, RedisOptions, RedisStore, Servers,
    ServiceOptions, Stack, StackOptions, TestbedError,
};
use tokio::signal::unix::{SignalKind, signal};

mod control;

use control::Orders;

/// Private Redis, mongod and service processes. All of them end with this command.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The service on a private Redis and mongod that keep their data, until Ctrl-C
    Run {
        /// Where the data and the service's log are kept
        #[arg(long, default_value = ".sluice/data")]
        data: PathBuf,
        /// The service's port on 127.0.0.1; 0 takes a free one
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Print the addresses as JSON and obey orders on standard input: kill or start with service, redis or mongodb,
        /// freeze or thaw with service
        #[arg(long)]
        control: bool,
        /// More arguments for the service
        #[arg(last = true)]
        service: Vec<String>,
    },
    /// A private Redis and mongod that keep nothing, until Ctrl-C; prints the service's settings for them
    Servers {
        /// Which Redis: single, or cluster:3+3 for three masters and three replicas
        #[arg(long, default_value_t)]
        redis: RedisLayout,
        /// Which MongoDB: single, or replica-set:3 for three members
        #[arg(long, default_value_t)]
        mongodb: MongoLayout,
        /// Valkey in the place of Redis
        #[arg(long)]
        valkey: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run {
            data,
            port,
            control,
            service,
        } => run(&data, port, control, service).await,
        Command::Servers {
            redis,
            mongodb,
            valkey,
        } => servers(redis, mongodb, valkey).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testbed: {}", chain(&error));
            ExitCode::from(2)
        }
    }
}

async fn run(
    data: &Path,
    port: u16,
    is_controlled: bool,
    arguments: Vec<String>,
) -> Result<ExitCode, TestbedError> {
    let interrupted = interruption()?;
    fs::create_dir_all(data).map_err(io(format!("make {}", data.display())))?;
    let data = fs::canonicalize(data).map_err(io(format!("resolve {}", data.display())))?;
    // Redis itself would share its files with a second Redis, and spoil them.
    let _lock = lock(&data)?;
    let log_file = data.join("service.log");
    eprintln!("starting Redis, mongod and the service ...");
    let start = Stack::start(StackOptions {
        redis: RedisOptions {
            data_folder: Some(data.join("redis")),
            ..RedisOptions::default()
        },
        mongodb: MongoOptions {
            data_folder: Some(data.join("mongodb")),
            ..MongoOptions::default()
        },
        service: ServiceOptions {
            port: (port != 0).then_some(port),
            arguments,
            environment: settings(std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            })),
            log_file: Some(log_file.clone()),
            ..ServiceOptions::default()
        },
        ..StackOptions::default()
    });
    tokio::pin!(interrupted);
    let mut stack = tokio::select! {
        stack = start => stack?,
        () = &mut interrupted => return Ok(ExitCode::from(130)),
    };
    if is_controlled {
        println!("{}", control::addresses(&stack));
        let mut orders = Orders::listen();
        loop {
            let order = tokio::select! {
                () = &mut interrupted => None,
                order = orders.next() => order,
            };
            let Some(order) = order else {
                stack.stop().await?;
                return Ok(ExitCode::SUCCESS);
            };
            println!("{}", control::obey(&mut stack, &order).await);
        }
    }
    // The service says in its log how to log in.
    eprint!("{}", stack.service.log());
    println!("dashboard  {}/", stack.service.url());
    println!("redis      {}", stack.redis.url());
    println!("mongodb    {}", stack.mongodb.uri());
    println!("data       {}", data.display());
    println!("log        {}", log_file.display());
    println!("Ctrl-C stops everything; the data stays.");

    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            () = &mut interrupted => {
                eprintln!("stopping ...");
                stack.stop().await?;
                return Ok(ExitCode::SUCCESS);
            }
            _ = look.tick() => {
                if let Some(status) = stack.service.try_wait()? {
                    eprintln!("the service ended with {status}; see {}", log_file.display());
                    stack.stop().await?;
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
    }
}

async fn servers(
    redis: RedisLayout,
    mongodb: MongoLayout,
    is_valkey: bool,
) -> Result<ExitCode, TestbedError> {
    let interrupted = interruption()?;
    let servers = if is_valkey {
        Servers::discover_valkey()?
    } else {
        Servers::discover()?
    };
    tokio::pin!(interrupted);
    let start = async {
        tokio::try_join!(
            RedisStore::start(&servers, redis, RedisOptions::default(), false),
            MongoStore::start(&servers, mongodb, MongoOptions::default(), false),
        )
    };
    let (redis, mongodb) = tokio::select! {
        started = start => started?,
        () = &mut interrupted => return Ok(ExitCode::from(130)),
    };
    println!("SLUICE_REDIS_URL={}", redis.urls().join(","));
    println!("SLUICE_MONGODB_URI={}", mongodb.uri());
    match &redis {
        RedisStore::Single(server) => place("Redis", server.pid(), server.folder()),
        RedisStore::Cluster(cluster) => {
            for number in cluster.numbers() {
                let node = cluster.node(number)?;
                place(&format!("Redis {number}"), node.pid(), node.folder());
            }
        }
    }
    match &mongodb {
        MongoStore::Single(server) => place("mongod", server.pid(), server.folder()),
        MongoStore::ReplicaSet(set) => {
            for number in set.numbers() {
                let member = set.member(number)?;
                place(&format!("mongod {number}"), member.pid(), member.folder());
            }
        }
    }
    println!("# Ctrl-C stops all.");
    interrupted.await;
    tokio::try_join!(mongodb.stop(), redis.stop())?;
    Ok(ExitCode::SUCCESS)
}

fn place(name: &str, pid: u32, folder: &Path) {
    println!("# {name}: process {pid}, folder {}", folder.display());
}

/// Ends at the first Ctrl-C, SIGTERM or SIGHUP.
fn interruption() -> Result<impl Future<Output = ()>, TestbedError> {
    let listen = |kind| signal(kind).map_err(io("listen for signals"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

/// The service's settings of the caller's environment, such as its administrator's token. Where its servers and its own place
/// are is this command's to say.
fn settings(variables: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    const OURS: [&str; 5] = [
        "SLUICE_LISTEN",
        "SLUICE_REDIS_URL",
        "SLUICE_MONGODB_URI",
        "SLUICE_MONGODB_DATABASE",
        "SLUICE_SERVICE",
    ];
    variables
        .filter(|(name, _)| {
            name.starts_with("OTEL_")
                || name.starts_with("SLUICE_") && !OURS.contains(&name.as_str())
        })
        .collect()
}

fn lock(data: &Path) -> Result<Flock<File>, TestbedError> {
    let path = data.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(io(format!("write to {}", path.display())))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| TestbedError::Io {
        action: format!(
            "use {}: another `testbed run` has it; stop that one or give another --data",
            data.display()
        ),
        source: errno.into(),
    })
}

fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> TestbedError {
    let action = action.into();
    move |source| TestbedError::Io { action, source }
}

/// The error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::settings;

    #[test]
    fn the_callers_settings_reach_the_service_but_for_its_place() {
        let pair = |name: &str| (name.to_owned(), "x".to_owned());
        let given = [
            "PATH",
            "SLUICE_ADMIN_TOKEN",
            "SLUICE_REDIS_URL",
            "SLUICE_LOG",
        ]
        .map(pair);
        let kept = ["SLUICE_ADMIN_TOKEN", "SLUICE_LOG"].map(pair);
        assert_eq!(settings(given.into_iter()), kept);
    }
}
