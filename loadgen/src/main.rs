//! The load generator's command line.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use loadgen::report;
use loadgen::run::{self, Options, Target};
use loadgen::scenario::Scenario;

/// Exit code of a run that could not be made.
const COULD_NOT_RUN: u8 = 2;

/// Drives the service with an open-model load, audits every loan, and judges.
///
/// Exit code: 0 pass, 1 fail, 2 it could not run, 3 discarded (the generator was late), 4 aborted.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario and write its report
    Run(Run),
    /// Read a scenario file and say what it would send
    Check {
        /// The scenario file
        scenario: PathBuf,
    },
    /// Print the JSON Schema of report.json
    Schema,
}

#[derive(Args)]
struct Run {
    /// The scenario file
    scenario: PathBuf,
    /// A service that runs already, http://host:port; without it a private stack is started
    #[arg(long, env = "SLUICE_TARGET", requires_all = ["redis", "mongodb"])]
    target: Option<String>,
    /// Redis of that service
    #[arg(
        long,
        env = "SLUICE_REDIS_URL",
        requires = "target",
        hide_env_values = true
    )]
    redis: Option<String>,
    /// MongoDB of that service
    #[arg(
        long,
        env = "SLUICE_MONGODB_URI",
        requires = "target",
        hide_env_values = true
    )]
    mongodb: Option<String>,
    /// The database of that service
    #[arg(long, env = "SLUICE_MONGODB_DATABASE", default_value = "sluice")]
    mongodb_database: String,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
    /// Seed of the schedule and of the payloads, instead of the scenario's
    #[arg(long)]
    seed: Option<u64>,
    /// Leave the private stack running until Ctrl-C, to look at it
    #[arg(long)]
    keep_stack: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(arguments) => run_scenario(arguments),
        Command::Check { scenario } => check(&scenario),
        Command::Schema => {
            print(&report::json::schema());
            Ok(0)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // One line: the error and its causes.
            let mut line = format!("loadgen: {error}");
            let mut cause = error.source();
            while let Some(next) = cause {
                // The message of some already ends with its cause.
                if !line.ends_with(&next.to_string()) {
                    let _ = write!(line, ": {next}");
                }
                cause = next.source();
            }
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn check(path: &std::path::Path) -> Result<u8, Failure> {
    let scenario = Scenario::load(path)?;
    let schedule = loadgen::schedule::Schedule::new(&scenario.phases, scenario.seed);
    print(&format!(
        "{}: {} arrivals in {:?}, {} users, {} checks\n",
        scenario.name.get_ref(),
        schedule.arrivals(),
        schedule.duration(),
        scenario.users_count(),
        scenario.checks.len()
    ));
    Ok(0)
}

fn run_scenario(arguments: Run) -> Result<u8, Failure> {
    let mut scenario = Scenario::load(&arguments.scenario)?;
    if let Some(seed) = arguments.seed {
        scenario.seed = seed;
    }
    let target = match (arguments.target, arguments.redis, arguments.mongodb) {
        (Some(url), Some(redis_url), Some(mongodb_uri)) => Some(Target {
            url: url.trim_end_matches('/').to_owned(),
            redis_url,
            mongodb_uri,
            mongodb_database: arguments.mongodb_database,
            private: false,
        }),
        _ => None,
    };
    let options = Options {
        scenario,
        scenario_path: arguments.scenario,
        target,
        service_binary: None,
        reports: arguments.reports,
        quiet: false,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let finished = run::run(options).await?;
        print(&if report::terminal::shows_colours() {
            report::terminal::render_coloured(&finished.report)
        } else {
            report::terminal::render(&finished.report)
        });
        print(&format!(
            "report: {}\n",
            finished.folder.join("report.html").display()
        ));
        if let Some(stack) = finished.stack {
            if arguments.keep_stack {
                print(&format!(
                    "the stack stays until Ctrl-C: {}/, {}, {}\n",
                    stack.service.url(),
                    stack.redis.url(),
                    stack.mongodb.uri()
                ));
                run::interrupted().await;
            }
            stack.stop().await?;
        }
        Ok(finished.report.verdict.exit_code())
    })
}

fn print(text: &str) {
    // A reader that closed the pipe does not want the rest.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}
