//! The load generator's command line.
//!
//! It stands in the library, since what a runtime drives is compiled where that runtime is entered: in the program it would be
//! compiled once more.

use std::collections::BTreeSet;
use std::env::VarError;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::num::{IntErrorKind, ParseIntError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::commands::capacity::{self, CapacityOptions, Searched};
use crate::commands::chaos;
use crate::commands::gate::{self, GateOptions};
use crate::commands::run::conductor::Conducting;
use crate::commands::run::shard::{self, ShardOptions};
use crate::commands::run::{self, Allowed, Options, RunError};
use crate::commands::self_test;
use crate::progress::plain;
use call::shown;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use conduct::link::{Address, LinkError};
use drive::load::load_only;
use drive::{files, memory, stop};
use judge::account::quoted_path;
use judge::gate::{BLOCKS_MAX, BLOCKS_MIN};
use judge::power;
use judge::search::RATE_MIN;
use judge::sending::Sending;
use observe::rounds::hotpath::BASELINE;
use observe::stack::Target;
use observe::{markers, provenance};
use plan::faults::Plan;
use plan::payload::Payloads;
use plan::phase::RATE_PER_SECOND_MAX;
use plan::scenario::{ARRIVALS_MAX, Overrides, Scenario};
use plan::schedule::Schedule;
use plan::schema::{faults_schema, scenario_schema};
use plan::shard::{Part, SHARDS_MAX, Shard};
use plan::{is_of_faults, parse_duration, text_of};
use record::cause::with_causes;
use record::folder::{Unwritable, has_room_for, write_whole};
use record::kept;
use record::number;
use record::raw;
use record::result::chaos::Verdict as FaultVerdict;
use record::result::run::{Report, Verdict};
use record::result::self_test::FILE;
use record::result::{chaos_schema, run_schema};
use record::rounds;
use report::ReportError;
use testbed::{MongoLayout, RedisLayout};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

/// Exit code of a run that could not be made.
const COULD_NOT_RUN: u8 = 2;

/// Drives the service with an open-model load, audits every loan, and judges.
#[derive(Parser)]
#[command(name = "loadgen", version, max_term_width = 100, after_help = RUN_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario and write its report
    #[command(after_help = RUN_CODES)]
    Run(Run),
    /// Read a scenario file and say what it would send
    #[command(after_help = QUIET_CODES)]
    Check {
        /// The scenario file
        scenario: PathBuf,
    },
    /// Search the highest rate that meets a scenario's objectives in recorded loans
    #[command(after_help = CAPACITY_CODES)]
    Capacity(Capacity),
    /// Run a scenario that several generators send together, each with `run --conductor`, and write its report
    #[command(after_help = RUN_CODES)]
    Conduct(Conduct),
    /// Join the shards of one run: drain, audit, checks, one report
    #[command(after_help = RUN_CODES)]
    Merge(Merge),
    /// Two reports side by side, with how far each difference may be chance
    #[command(after_help = QUIET_CODES)]
    Compare {
        /// Folder of the first run, or its report.json
        a: PathBuf,
        /// Folder of the second run, or its report.json
        b: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Where the page and the Markdown comment go, into its folder compare
        #[arg(long, default_value = "reports")]
        reports: PathBuf,
    },
    /// Judge whether a change is slower than its base: interleaved rounds, exact counts, instructions
    #[command(after_help = GATE_CODES)]
    Gate(Gate),
    /// Record rounds of one build, plain and slowed by a known time, for `gate-power`
    #[command(after_help = ROUNDS_CODES, allow_negative_numbers = true)]
    GateRounds {
        /// The commit that is built, with the test-only feature that slows it
        #[arg(long, default_value = "HEAD")]
        reference: String,
        /// How much longer each admission takes in every other round, nanoseconds
        #[arg(long, value_parser = whole::<u64>)]
        slowdown_ns: u64,
        /// How many rounds of each
        #[arg(long, default_value_t = 100, value_parser = whole::<usize>)]
        pairs: usize,
        /// The file that the rounds are appended to
        #[arg(long, default_value = "benches/gate-data/rounds.jsonl")]
        file: PathBuf,
    },
    /// Count the hot path of a build, and keep it as the baseline that later gates compare with
    #[command(after_help = ROUNDS_CODES)]
    GateHotPath {
        /// The commit that is built and counted
        #[arg(long, default_value = "HEAD")]
        reference: String,
        /// The file that is written; a gate reads the one of its head
        #[arg(long, default_value = BASELINE)]
        file: PathBuf,
    },
    /// Draw gates from recorded rounds: how often would they be wrong?
    #[command(after_help = QUIET_CODES, allow_negative_numbers = true)]
    GatePower {
        /// The recorded rounds
        #[arg(default_value = "benches/gate-data/rounds.jsonl")]
        file: PathBuf,
        /// Gates that are drawn
        #[arg(long, default_value_t = power::GATES, value_parser = whole::<u32>)]
        gates: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Only send a scenario's load to any address: no stores, no audit, no report
    #[command(after_help = RUN_CODES)]
    Send {
        /// The scenario file
        scenario: PathBuf,
        /// http://host:port
        url: String,
    },
    /// Compare what the generator says with known truths
    #[command(
        after_help = "Exit code: 0 every truth was found, 1 one was missed, 2 it could not run, 4 aborted"
    )]
    SelfTest {
        /// Where the result is kept, so that later reports tell it
        #[arg(long, default_value = "reports")]
        reports: PathBuf,
    },
    /// Run load under faults, heal, drain, and judge every loan
    #[command(after_help = CHAOS_CODES)]
    Chaos(Chaos),
    /// Print a JSON Schema
    #[command(after_help = QUIET_CODES)]
    Schema {
        /// Of which files
        #[arg(value_enum, default_value_t = Files::Report)]
        of: Files,
    },
    /// Print the completions of a shell
    #[command(after_help = QUIET_CODES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages, one for each command
    #[command(after_help = QUIET_CODES)]
    Man {
        /// The folder that they are written to
        #[arg(default_value = "man")]
        folder: PathBuf,
    },
}

/// Files that have a schema.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Files {
    /// report.json
    Report,
    /// chaos.json
    Chaos,
    /// Scenario files, scenarios/*.toml
    Scenario,
    /// Plans of fault runs, scenarios/chaos/*.toml
    Faults,
}

/// The exit codes of a command that judges.
const RUN_CODES: &str = "Exit code: 0 pass, 1 fail, 2 it could not run, 3 discarded (something else disturbed the run), 4 aborted";
/// The exit codes of the search for the capacity.
const CAPACITY_CODES: &str = "Exit code: 0 an answer, 1 no rate met the objectives, 2 it could not run, 3 too unsteady for an answer, 4 aborted";
/// The exit codes of the gate.
const GATE_CODES: &str = "Exit code: 0 pass, 1 fail, 2 it could not run, 4 aborted, 6 inconclusive (the machine was too unsteady to tell)";
/// The exit codes of the fault run.
const CHAOS_CODES: &str = "Exit code: 0 pass, 1 fail, 2 it could not run, 4 aborted, 5 void (faults without effect, no loan acknowledged, or a machine that stood still)";
/// The exit codes of a command that records rounds.
const ROUNDS_CODES: &str = "Exit code: 0 done, 2 it could not be done, 4 aborted";
/// The exit codes of a command that only tells.
const QUIET_CODES: &str = "Exit code: 0 done, 2 it could not be done";

#[derive(Args)]
#[command(allow_negative_numbers = true)]
#[expect(
    clippy::struct_field_names,
    reason = "each field is named after its flag"
)]
struct Run {
    /// The scenario file
    #[arg(required_unless_present = "conductor")]
    scenario: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
    /// Seed of the schedule and of the payloads, instead of the scenario's
    #[arg(long, value_parser = whole::<u64>)]
    seed: Option<u64>,
    /// What is not refused though the figures may mislead; the report says so
    #[arg(long, value_enum)]
    allow: Vec<Allowed>,
    /// Length of the longest phase, such as 2m, instead of the scenario's
    #[arg(long, allow_hyphen_values = true)]
    duration: Option<String>,
    /// Send only one part of the schedule, such as 2/4; the other parts are sent by other processes or machines. With --conductor the
    /// number alone will do, and without it any that is free is taken
    #[arg(long, value_name = "NUMBER[/COUNT]", conflicts_with_all = ["keep_stack", "no_stores", "json"], allow_hyphen_values = true)]
    shard: Option<WantedShard>,
    /// The name that all shards of one run share, 1 to 32 of a-z, 0-9
    #[arg(long, requires = "shard")]
    run_id: Option<String>,
    /// When all shards start, RFC 3339
    #[arg(long, requires = "shard")]
    start_at: Option<String>,
    /// Take scenario, target, shard and start from `loadgen conduct` there, http://host:port
    #[arg(long, value_name = "URL", conflicts_with_all = [
        "scenario", "target", "redis", "mongodb", "mongodb_database", "no_stores", "seed", "allow", "duration", "run_id", "start_at",
        "keep_stack", "json", "otlp",
    ])]
    conductor: Option<String>,
    /// The secret that the conductor asks for, or SLUICE_CONDUCTOR_TOKEN
    #[arg(long, value_name = "TOKEN", conflicts_with = "scenario")]
    conductor_token: Option<String>,
    /// How long to wait for a conductor that is not there yet, such as 90s
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1m",
        conflicts_with = "scenario",
        allow_hyphen_values = true
    )]
    join_within: String,
    /// Leave the private stack running until Ctrl-C, to look at it
    #[arg(long)]
    keep_stack: bool,
    /// Print report.json instead of the last screen
    #[arg(long)]
    json: bool,
    /// Say nothing while it runs
    #[arg(long, short)]
    quiet: bool,
    /// Write every sample to this file: NDJSON, or CSV if its name ends in .csv
    #[arg(long, value_name = "FILE")]
    samples: Option<PathBuf>,
    /// Push rate, latencies, errors, backlog and verdict to an OTLP collector once a second, http://host:4318/v1/metrics
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

#[derive(Args)]
#[command(allow_negative_numbers = true)]
struct Conduct {
    /// The scenario file
    scenario: PathBuf,
    #[command(flatten)]
    place: Place,
    /// How many generators send it, 1 to 1,000
    #[arg(long, value_name = "COUNT", value_parser = whole::<u32>)]
    shards: u32,
    /// Where they find the conductor; beyond this machine only with a token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070", value_parser = socket_address)]
    listen: SocketAddr,
    /// The secret that they must bring, or SLUICE_CONDUCTOR_TOKEN
    #[arg(long, value_name = "TOKEN")]
    conductor_token: Option<String>,
    /// How long they may take until all are ready, such as 90s
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5m",
        allow_hyphen_values = true
    )]
    join_within: String,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
    /// Seed of the schedule and of the payloads, instead of the scenario's
    #[arg(long, value_parser = whole::<u64>)]
    seed: Option<u64>,
    /// What is not refused though the figures may mislead; the report says so
    #[arg(long, value_enum)]
    allow: Vec<Allowed>,
    /// Length of the longest phase, such as 2m, instead of the scenario's
    #[arg(long, allow_hyphen_values = true)]
    duration: Option<String>,
    /// Print report.json instead of the last screen
    #[arg(long)]
    json: bool,
    /// Say nothing while it runs
    #[arg(long, short)]
    quiet: bool,
    /// Push rate, latencies, errors, backlog and verdict to an OTLP collector once a second, http://host:4318/v1/metrics
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

/// A whole number of a flag. What is wrong is said in our words, not in those of a parser.
fn whole<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: ParseIntError| {
        match error.kind() {
            IntErrorKind::PosOverflow => "the number is too large",
            _ => "write a whole number, 0 or more, such as 20",
        }
        .to_owned()
    })
}

/// A number of a flag.
fn number_of(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| "write a number, such as 500 or 2.5".to_owned())
}

/// An address that can be listened at.
fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write an address and a port, such as 127.0.0.1:7070 or [::1]:7070".to_owned())
}

/// A number of a shard, and how many there are, where that is said.
#[derive(Clone, Copy)]
struct WantedShard {
    number: u32,
    count: Option<u32>,
}

impl FromStr for WantedShard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number @ 1..) => Ok(Self {
                number,
                count: None,
            }),
            _ => text.parse().map(|shard: Shard| Self {
                number: shard.index,
                count: Some(shard.count),
            }),
        }
    }
}

#[derive(Args)]
#[command(allow_negative_numbers = true)]
struct Merge {
    /// The scenario file of the shards
    scenario: PathBuf,
    /// The service that the shards sent to, http://host:port, several with commas between, or SLUICE_TARGET
    #[arg(long, visible_alias = "url")]
    target: Option<String>,
    #[command(flatten)]
    stores: StoresOf,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
    /// The seed that the shards were sent with, if one was given
    #[arg(long, value_parser = whole::<u64>)]
    seed: Option<u64>,
    /// The duration that the shards were sent with, if one was given
    #[arg(long, allow_hyphen_values = true)]
    duration: Option<String>,
    /// The folders of all shards
    #[arg(long, required = true, num_args = 1..)]
    shards: Vec<PathBuf>,
    /// Print report.json instead of the last screen
    #[arg(long)]
    json: bool,
    /// Say nothing while it runs
    #[arg(long, short)]
    quiet: bool,
}

/// A service that runs already, and its stores.
#[derive(Args)]
struct Place {
    /// A service that runs already, http://host:port, several with commas between, or SLUICE_TARGET; without it a private stack is started
    #[arg(long, visible_alias = "url")]
    target: Option<String>,
    #[command(flatten)]
    stores: StoresOf,
    /// Judge the clients' half only, of a service whose stores are out of reach; https too
    #[arg(long, conflicts_with_all = ["redis", "mongodb", "mongodb_database"])]
    no_stores: bool,
}

/// The stores of a service.
#[derive(Args)]
struct StoresOf {
    /// Redis of that service, or SLUICE_REDIS_URL
    #[arg(long)]
    redis: Option<String>,
    /// MongoDB of that service, or SLUICE_MONGODB_URI
    #[arg(long)]
    mongodb: Option<String>,
    /// The database of that service, or SLUICE_MONGODB_DATABASE; sluice if none is named
    #[arg(long)]
    mongodb_database: Option<String>,
}

/// A value, and the flag or the variable that it comes from: what is wrong with it is told by that name.
struct Given {
    value: String,
    by: &'static str,
}

/// What the flag says, or else the variable, if one of them says anything.
fn given(
    flag: &'static str,
    value: Option<String>,
    name: &'static str,
) -> Result<Option<Given>, Failure> {
    Ok(match value {
        Some(value) => Some(Given { value, by: flag }),
        None => variable(name)?.map(|value| Given { value, by: name }),
    })
}

/// What the environment says, if it says anything: an empty variable names nothing.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(format!("the environment variable {name} is no text").into())
        }
    }
}

impl Place {
    /// The service that is named, if one is, and by what. The service's own settings in the environment count only beside it.
    fn target(self) -> Result<Option<(Target, &'static str)>, Failure> {
        let Some(named) = given("--target", self.target, "SLUICE_TARGET")? else {
            let beside = [
                ("--redis", self.stores.redis.is_some()),
                ("--mongodb", self.stores.mongodb.is_some()),
                ("--mongodb-database", self.stores.mongodb_database.is_some()),
                ("--no-stores", self.no_stores),
            ];
            return match beside.into_iter().find(|(_, is_given)| *is_given) {
                None => Ok(None),
                Some((flag, _)) => Err(format!(
                    "{flag} has no effect on a private stack: name the service with --target, or leave {flag} out"
                )
                .into()),
            };
        };
        let target = if self.no_stores {
            let (url, other_urls) = urls(&named, true)?;
            Target {
                url,
                other_urls,
                redis_url: String::new(),
                mongodb_uri: String::new(),
                mongodb_database: String::new(),
                private: false,
            }
        } else {
            let otherwise = ", or --no-stores to judge the clients' half only";
            self.stores.target(&named, otherwise)?
        };
        Ok(Some((target, named.by)))
    }
}

impl StoresOf {
    /// The service that is named, with these stores. `otherwise` says what would do without them.
    fn target(self, named: &Given, otherwise: &str) -> Result<Target, Failure> {
        let (url, other_urls) = urls(named, false)?;
        // It is brought along, where it is there.
        variable(markers::TOKEN_VARIABLE)?;
        let store = |flag, value, name, schemes: &[&str]| match given(flag, value, name)? {
            Some(address) => checked_store(address, schemes),
            None => Err(format!(
                "{} needs the service's stores: give {flag} or set {name}{otherwise}",
                named.by
            )
            .into()),
        };
        let redis_url = store(
            "--redis",
            self.redis,
            "SLUICE_REDIS_URL",
            &["redis", "rediss"],
        )?;
        let mongodb_uri = store(
            "--mongodb",
            self.mongodb,
            "SLUICE_MONGODB_URI",
            &["mongodb", "mongodb+srv"],
        )?;
        let database = given(
            "--mongodb-database",
            self.mongodb_database,
            "SLUICE_MONGODB_DATABASE",
        )?;
        let mongodb_database = database.map_or_else(|| "sluice".to_owned(), |given| given.value);
        if mongodb_database.trim().is_empty() {
            return Err("--mongodb-database must name a database".into());
        }
        Ok(Target {
            url,
            other_urls,
            redis_url,
            mongodb_uri,
            mongodb_database,
            private: false,
        })
    }
}

/// The addresses of a target: the first, and all others.
fn urls(named: &Given, may_be_https: bool) -> Result<(String, Vec<String>), Failure> {
    let mut urls = named
        .value
        .split(',')
        .map(|url| checked_url(named.by, url.trim(), may_be_https))
        .collect::<Result<Vec<_>, _>>()?;
    let distinct: BTreeSet<&String> = urls.iter().collect();
    if distinct.len() < urls.len() {
        // The address itself may hold a password.
        return Err(format!("{} names one instance twice", named.by).into());
    }
    let first = urls.remove(0);
    Ok((first, urls))
}

/// The address of a store. It is not told: it may hold a password.
fn checked_store(Given { value, by }: Given, schemes: &[&str]) -> Result<String, Failure> {
    let begins = |part: &str| {
        schemes.iter().any(|scheme| {
            part.trim()
                .strip_prefix(scheme)
                .and_then(|rest| rest.strip_prefix("://"))
                .is_some_and(|rest| !rest.is_empty())
        })
    };
    // Several nodes of a cluster have commas between them; of MongoDB only the first begins so.
    let is_good = if schemes.contains(&"redis") {
        value.split(',').all(begins)
    } else {
        begins(&value)
    };
    if is_good {
        return Ok(value);
    }
    let wanted: Vec<String> = schemes
        .iter()
        .map(|scheme| format!("{scheme}://host"))
        .collect();
    Err(format!("{by} must be {}", wanted.join(" or ")).into())
}

/// Whether the address names a user, or a password alone.
fn holds_a_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// The address without a slash at its end, if it is one of HTTP and of nothing below it.
fn checked_url(by: &str, text: &str, may_be_https: bool) -> Result<String, Failure> {
    let wrong = |what: &str| -> Failure {
        let why = if what.is_empty() {
            String::new()
        } else {
            format!(": {what}")
        };
        format!("{by} must be http://host:port, not {}{why}", shown(text)).into()
    };
    let url = match Url::parse(text) {
        Ok(url) => url,
        // What it says of one without a scheme says less than the form.
        Err(url::ParseError::RelativeUrlWithoutBase) => return Err(wrong("")),
        Err(error) => return Err(wrong(&error.to_string())),
    };
    let is_whole =
        matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    match url.scheme() {
        "http" => {}
        "https" if may_be_https => {}
        "https" => {
            return Err(
                "over https only the clients' half can be judged: add --no-stores, or name the service's own http address".into(),
            );
        }
        _ => return Err(wrong("")),
    }
    if !is_whole {
        return Err(wrong("leave out what follows the port"));
    }
    if url.port() == Some(0) {
        return Err(wrong("port 0 is none"));
    }
    if holds_a_user(&url) && !may_be_https {
        return Err(
            "the service's address must not hold a user name or a password: its stores are asked past it".into(),
        );
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[derive(Args)]
#[command(allow_negative_numbers = true)]
struct Chaos {
    /// Scenario files, or folders of them
    #[arg(default_value = "scenarios/chaos")]
    plans: Vec<PathBuf>,
    /// Runs with drawn faults: how many seeds; 20, or 1 when --seed names it
    #[arg(long, value_parser = whole::<u64>)]
    seeds: Option<u64>,
    /// The first seed, instead of the files'; alone it repeats one run
    #[arg(long, value_parser = whole::<u64>)]
    seed: Option<u64>,
    /// Only the short scenarios, and no more than this many seeds
    #[arg(long)]
    short: bool,
    /// The service's binary, built with its crash points, or SLUICE_SERVICE; the one beside this one without it
    #[arg(long)]
    service: Option<PathBuf>,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
}

#[derive(Args)]
#[command(allow_negative_numbers = true)]
struct Capacity {
    /// The scenario: its mix, settings and objectives are kept, its phases are replaced
    scenario: PathBuf,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
    /// The first rate, loans per second; the scenario's highest by default
    #[arg(long, value_parser = number_of, allow_hyphen_values = true)]
    start: Option<f64>,
    /// The highest rate that is tried
    #[arg(long, default_value_t = 20_000.0, value_parser = number_of, allow_hyphen_values = true)]
    rate_max: f64,
    /// The search ends when the best rate and the next failed one are this close, per cent
    #[arg(long, default_value_t = 5.0, value_parser = number_of, allow_hyphen_values = true)]
    precision: f64,
    /// How long each probe holds its rate, seconds
    #[arg(long, default_value_t = 8, value_parser = whole::<u64>)]
    hold: u64,
    /// How often the best rate must pass again
    #[arg(long, default_value_t = 2, value_parser = whole::<u32>)]
    confirmations: u32,
    /// What is not refused though the figures may mislead; the report says so
    #[arg(long, value_enum)]
    allow: Vec<Allowed>,
}

#[derive(Args)]
#[command(allow_negative_numbers = true)]
struct Gate {
    /// The commit, branch or tag to compare with
    #[arg(long)]
    base: String,
    /// The one that is judged
    #[arg(long, default_value = "HEAD")]
    head: String,
    /// Blocks of six rounds before the first judgement
    #[arg(long, default_value_t = BLOCKS_MIN, value_parser = whole::<usize>)]
    blocks: usize,
    /// The most blocks
    #[arg(long, default_value_t = BLOCKS_MAX, value_parser = whole::<usize>)]
    blocks_max: usize,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
}

/// Does what the command line says, and says how it ended by the exit code.
pub fn main() -> ExitCode {
    // Whatever is written, by whichever command: half a file is told and taken away.
    if let Err(error) = stop::outlive_file_limits() {
        tell(&error.to_string());
        return ExitCode::from(COULD_NOT_RUN);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Also what `--help` and `--version` print.
        Err(other) => {
            let printed = other.print();
            let code = u8::try_from(other.exit_code()).unwrap_or(COULD_NOT_RUN);
            return ExitCode::from(if other.use_stderr() || is_told(printed) {
                code
            } else {
                COULD_NOT_RUN
            });
        }
    };
    if let Err(error) = prepare(&cli.command) {
        tell(&error.to_string());
        return ExitCode::from(COULD_NOT_RUN);
    }
    // Of some commands what they print is all that comes of them.
    let only_prints = matches!(
        cli.command,
        Command::Check { .. }
            | Command::Compare { .. }
            | Command::GatePower { .. }
            | Command::Schema { .. }
            | Command::Completions { .. }
            | Command::Man { .. }
    );
    let result = match cli.command {
        Command::Run(arguments) => run_scenario(arguments),
        Command::Conduct(arguments) => conduct_shards(arguments),
        Command::Merge(arguments) => merge_shards(arguments),
        Command::Check { scenario } => check(&scenario),
        Command::Capacity(arguments) => search_capacity(arguments),
        Command::Compare {
            a,
            b,
            json,
            reports,
        } => compare(&a, &b, json, &reports),
        Command::Gate(arguments) => judge_change(arguments),
        Command::GateRounds {
            reference,
            slowdown_ns,
            pairs,
            file,
        } => record_rounds(&reference, slowdown_ns, pairs, &file),
        Command::GateHotPath { reference, file } => count_hot_path(&reference, &file),
        Command::GatePower { file, gates, json } => gate_power(&file, gates, json),
        Command::Send { scenario, url } => send(&scenario, &url),
        Command::SelfTest { reports } => self_test(&reports),
        Command::Chaos(arguments) => run_chaos(arguments),
        Command::Schema { of } => {
            print(&match of {
                Files::Report => run_schema(),
                Files::Chaos => chaos_schema(),
                Files::Scenario => scenario_schema(),
                Files::Faults => faults_schema(),
            });
            Ok(0)
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "loadgen", &mut text);
            print(&String::from_utf8_lossy(&text));
            Ok(0)
        }
        Command::Man { folder } => manual(&folder),
    };
    match result {
        Ok(_) if only_prints && UNPRINTED.load(Ordering::Relaxed) => ExitCode::from(COULD_NOT_RUN),
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // One line: the error and its causes.
            tell_plain(&format!("loadgen: {}", with_causes(&*error)));
            ExitCode::from(match error.downcast_ref() {
                Some(error) if error.is_stop() => Verdict::Aborted.exit_code(),
                // Whatever came of it: whoever asked for a stop has it.
                _ if stop::asked().is_some() => Verdict::Aborted.exit_code(),
                Some(RunError::Link(LinkError::CalledOff(_))) => Verdict::Discarded.exit_code(),
                _ => COULD_NOT_RUN,
            })
        }
    }
}

/// The standard output, once goose's own printing was led away from it, and whether it shows colours.
static OUTPUT: OnceLock<(std::fs::File, bool)> = OnceLock::new();

/// What must hold in the process of a command that sends: signals are ours, and nobody else prints.
fn prepare(command: &Command) -> std::io::Result<()> {
    match command {
        Command::Run(_)
        | Command::Conduct(_)
        | Command::Merge(_)
        | Command::Capacity(_)
        | Command::Chaos(_)
        | Command::Send { .. }
        | Command::SelfTest { .. }
        | Command::Gate(_)
        | Command::GateRounds { .. }
        | Command::GateHotPath { .. } => stop::catch()?,
        _ => return Ok(()),
    }
    // Only what goose drives prints by itself.
    if matches!(
        command,
        Command::Chaos(_)
            | Command::Gate(_)
            | Command::GateRounds { .. }
            | Command::GateHotPath { .. }
    ) {
        return Ok(());
    }
    // Goose panics where its own lines cannot be written.
    let colours = report::terminal::shows_colours();
    // Without an output there is nothing to lead away.
    if let Ok(own) = nix::unistd::dup(std::io::stdout()) {
        let nowhere = std::fs::File::options().write(true).open("/dev/null")?;
        nix::unistd::dup2_stdout(nowhere)?;
        let _ = OUTPUT.set((std::fs::File::from(own), colours));
    }
    Ok(())
}

/// Whether standard output shows colours.
fn shows_colours() -> bool {
    OUTPUT
        .get()
        .map_or_else(report::terminal::shows_colours, |(_, colours)| *colours)
}

type Failure = Box<dyn std::error::Error>;

fn manual(folder: &Path) -> Result<u8, Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    std::fs::create_dir_all(folder)
        .and_then(|()| pages(&command, folder))
        .map_err(|error| Unwritable {
            path: folder.to_path_buf(),
            error,
        })?;
    print(&format!("{}\n", folder.join("loadgen.1").display()));
    Ok(0)
}

/// Writes the page of a command and of those below it.
fn pages(command: &clap::Command, folder: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands() {
        pages(below, folder)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    write_whole(&folder.join(page.get_filename()), &text)
}

fn check(path: &Path) -> Result<u8, Failure> {
    // Read once: a pipe has nothing more to say.
    let text = text_of(path)?;
    // A fault plan is a file of another sort.
    if is_of_faults(&text) {
        let plan = Plan::parse(&text, path)?;
        print(&format!(
            "{}: {}\n{} faults; `loadgen chaos {}` makes it\n",
            plan.name.get_ref(),
            plan.description,
            plan.strikes_of(plan.seed).len(),
            quoted_path(path)
        ));
        return Ok(0);
    }
    let scenario = scenario_in(&text, path, Overrides::default())?;
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let payloads = Payloads::new(scenario.seed, "check", &scenario.mix);
    let mut kinds = std::collections::BTreeMap::new();
    for number in 0..schedule.arrivals() {
        *kinds
            .entry(payloads.kind_and_owner(number).0)
            .or_insert(0u64) += 1;
    }
    let length = |length: std::time::Duration| number::seconds(length.as_secs_f64());
    let mut text = format!(
        "{}: {}\n{} in {}, seed {}, up to {} users\n\nphases\n",
        scenario.name.get_ref(),
        scenario.description,
        number::counted(schedule.arrivals().into(), "arrival"),
        length(schedule.duration()),
        scenario.seed,
        number::count(scenario.users_count() as u64)
    );
    for (phase, planned) in scenario.phases.iter().zip(schedule.phases()) {
        let _ = writeln!(
            text,
            "  {:<12} {:>9}  {:>11} arrivals  {}",
            phase.name.get_ref(),
            length(planned.end - planned.start),
            number::count(planned.arrivals.into()),
            phase.shape()
        );
    }
    text.push_str("\nkinds\n");
    for (kind, arrivals) in kinds {
        let _ = writeln!(
            text,
            "  {:<15} {:>11}  {}",
            kind.name(),
            number::count(arrivals),
            kind.expected()
        );
    }
    if let Some(crowd) = &scenario.crowd {
        let crowd = crowd.get_ref();
        let _ = writeln!(
            text,
            "\ncrowd\n  {} idle, {} slow, {} that never read, {}/s of nonsense",
            number::count(crowd.idle.into()),
            crowd.slow,
            crowd.never_read,
            crowd.nonsense_per_second
        );
    }
    let _ = writeln!(text, "\nchecks");
    for check in &scenario.checks {
        let _ = writeln!(text, "  {}", judge::checks::in_words(check));
    }
    if scenario.checks.is_empty() {
        text.push_str("  none\n");
    }
    print(&text);
    Ok(0)
}

fn search_capacity(arguments: Capacity) -> Result<u8, Failure> {
    const RATE: &str = " loans a second";
    if let Some(start) = arguments.start {
        within("--start", start, RATE_MIN, RATE_PER_SECOND_MAX, RATE)?;
    }
    within(
        "--rate-max",
        arguments.rate_max,
        RATE_MIN,
        RATE_PER_SECOND_MAX,
        RATE,
    )?;
    within("--precision", arguments.precision, 0.5, 50.0, " per cent")?;
    within("--hold", arguments.hold as f64, 1.0, 3600.0, " seconds")?;
    if arguments.rate_max * arguments.hold as f64 > ARRIVALS_MAX {
        return Err(format!(
            "--rate-max {} held for --hold {} s would be more than {} arrivals in one probe: lower one of them",
            number::plain(arguments.rate_max),
            arguments.hold,
            number::count(ARRIVALS_MAX as u64)
        )
        .into());
    }
    let confirmations = f64::from(arguments.confirmations);
    within("--confirmations", confirmations, 1.0, 20.0, "")?;
    let scenario = scenario_of(&arguments.scenario, None, None)?;
    let start = arguments
        .start
        .unwrap_or_else(|| scenario.rate_per_second_max().max(RATE_MIN));
    if start > arguments.rate_max {
        return Err(format!(
            "the search would start at {}/s, above --rate-max {}",
            number::plain(start),
            number::plain(arguments.rate_max)
        )
        .into());
    }
    let options = CapacityOptions {
        scenario,
        scenario_path: arguments.scenario,
        service_binary: None,
        reports: arguments.reports,
        start,
        rate_max: arguments.rate_max,
        precision: arguments.precision / 100.0,
        hold: std::time::Duration::from_secs(arguments.hold),
        confirmations: arguments.confirmations,
        allow: arguments.allow,
    };
    let searched = capacity::capacity(&options, |line| print(&format!("{line}\n")));
    let Searched {
        result,
        folder,
        broken,
    } = runtime()?.block_on(searched)?;
    print(&format!(
        "capacity: {}\n",
        report::capacity::answer(&result)
    ));
    warn([
        report::capacity::write(&result, &folder),
        report::write_index(&options.reports),
    ]);
    print(&format!(
        "report: {}\n",
        folder.join("capacity.html").display()
    ));
    if let Some(error) = broken {
        return Err(error.into());
    }
    let verdict = match (result.rate_per_second, result.is_unsteady) {
        _ if stop::asked().is_some() => Verdict::Aborted,
        (Some(_), _) => Verdict::Pass,
        (None, true) => Verdict::Discarded,
        (None, false) => Verdict::Fail,
    };
    Ok(verdict.exit_code())
}

fn judge_change(arguments: Gate) -> Result<u8, Failure> {
    within("--blocks", arguments.blocks as f64, 2.0, 100.0, "")?;
    let blocks = arguments.blocks as f64;
    within(
        "--blocks-max",
        arguments.blocks_max as f64,
        blocks,
        100.0,
        "",
    )?;
    let options = GateOptions {
        base: arguments.base,
        head: arguments.head,
        blocks_min: arguments.blocks,
        blocks_max: arguments.blocks_max,
        reports: arguments.reports,
    };
    let judged = gate::gate(&options, |line| print(&format!("{line}\n")));
    let (result, folder) = runtime()?.block_on(judged)?;
    print(&format!("\n{}", report::gate::markdown(&result)));
    warn([
        report::gate::write(&result, &folder),
        report::write_index(&options.reports),
    ]);
    print(&format!("report: {}\n", folder.join("gate.html").display()));
    Ok(result.answer.exit_code())
}

fn record_rounds(
    reference: &str,
    slowdown_ns: u64,
    pairs: usize,
    file: &Path,
) -> Result<u8, Failure> {
    within("--slowdown-ns", slowdown_ns as f64, 1.0, 1e9, "")?;
    within("--pairs", pairs as f64, 1.0, 10_000.0, "")?;
    // Told now, not after builds of minutes.
    has_room_for(file)?;
    let recorded = gate::record(reference, slowdown_ns, pairs, file, |line| {
        print(&format!("{line}\n"));
    });
    if let Some(recorded) = runtime()?.block_on(stop::unless_asked(recorded)) {
        recorded?;
        return Ok(0);
    }
    tell("stopped; the rounds that were recorded are in the file");
    Ok(Verdict::Aborted.exit_code())
}

fn count_hot_path(reference: &str, file: &Path) -> Result<u8, Failure> {
    // Told now, not after builds of minutes.
    has_room_for(file)?;
    let counted = runtime()?.block_on(stop::unless_asked(gate::hot_path(reference)));
    let Some(counted) = counted else {
        tell("stopped before the hot path was counted");
        return Ok(Verdict::Aborted.exit_code());
    };
    let text = serde_json::to_string_pretty(&counted?)? + "\n";
    write_whole(file, text.as_bytes()).map_err(|error| Unwritable {
        path: file.to_path_buf(),
        error,
    })?;
    print(&format!("{}\n", file.display()));
    Ok(0)
}

fn gate_power(file: &Path, gates: u32, json: bool) -> Result<u8, Failure> {
    within("--gates", f64::from(gates), 1.0, 1e6, "")?;
    let recorded = rounds::read(file)?;
    let power = power::power(&recorded, gates)
        .ok_or("too few rounds: it takes 20 of each kind for a first look, 100 for a proof")?;
    print(&if json {
        serde_json::to_string_pretty(&power)? + "\n"
    } else {
        power.text()
    });
    Ok(0)
}

fn compare(a: &Path, b: &Path, json: bool, reports: &Path) -> Result<u8, Failure> {
    let comparison = judge::compare::compare(&kept::Run::load(a)?, &kept::Run::load(b)?);
    print(&if json {
        serde_json::to_string_pretty(&comparison)? + "\n"
    } else {
        // A report may come from anywhere.
        plain(&report::comparison::text(&comparison))
    });
    let folder = reports.join("compare");
    match report::comparison::write(&comparison, &folder) {
        Ok(()) if json => {}
        Ok(()) => print(&format!(
            "page: {}\ncomment: {}\n",
            folder.join("comparison.html").display(),
            folder.join("comparison.md").display()
        )),
        Err(error) => tell(&format!("warning: {error}")),
    }
    Ok(0)
}

fn send(path: &Path, url: &str) -> Result<u8, Failure> {
    let scenario = scenario_of(path, None, None)?;
    if scenario.crowd.is_some() {
        return Err("send takes no [crowd]: take it out, or use `loadgen run`".into());
    }
    let url = checked_url("the address", url, true)?;
    let loaded = runtime()?.block_on(load_only(&scenario, &url))?;
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let total = &loaded.recorder.total;
    let whole = || loaded.recorder.total.last_sent.max(schedule.duration());
    let took = loaded.reached.unwrap_or_else(whole).as_secs_f64();
    let mut text = format!(
        "sent {} of {}, {}; {} without a definite answer\n",
        number::count(total.sent),
        number::counted(schedule.arrivals().into(), "arrival"),
        number::rate(if took > 0.0 {
            total.sent as f64 / took
        } else {
            0.0
        }),
        number::count(total.failed),
    );
    for (name, histogram) in [
        ("response", &total.response),
        ("service", &total.service),
        ("send lag", &total.send_lag),
    ] {
        if histogram.is_empty() {
            let _ = writeln!(text, "{name:<9} no data");
            continue;
        }
        let at = |quantile: f64| number::micros(histogram.value_at_quantile(quantile));
        let _ = writeln!(
            text,
            "{name:<9} p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            number::micros(histogram.max())
        );
    }
    if let Some(bytes) = provenance::rss_bytes_peak() {
        let _ = writeln!(
            text,
            "memory    at most {}, of this generator",
            number::bytes(bytes)
        );
    }
    print(&text);
    for (kind, error) in &loaded.recorder.errors {
        tell(&format!(
            "{} times {kind}; first: {}",
            error.count,
            error.examples.first().map_or("", String::as_str)
        ));
    }
    let sending = Sending {
        scenario: &scenario,
        schedule: &schedule,
        payloads: &loaded.payloads,
        recorder: &loaded.recorder,
        requests: loaded.requests,
        stopped: loaded.stopped,
    };
    let (verdict, why) = sending.verdict();
    if verdict != Verdict::Pass {
        for why in why {
            tell(&format!("{}: {why}", verdict.name()));
        }
    }
    Ok(verdict.exit_code())
}

/// What could not be written, after the answer that does not depend on it.
fn warn<const COUNT: usize>(written: [Result<(), ReportError>; COUNT]) {
    for error in written.into_iter().filter_map(Result::err) {
        tell(&format!("warning: {error}"));
    }
}

/// A line on standard error.
fn tell(line: &str) {
    tell_plain(&format!("loadgen: {line}"));
}

/// A line on standard error as it is, but for what would steer a terminal.
fn tell_plain(line: &str) {
    let line = plain(line) + "\n";
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn self_test(reports: &Path) -> Result<u8, Failure> {
    // It takes minutes: what cannot be kept is told before.
    std::fs::create_dir_all(reports).map_err(|error| Unwritable {
        path: reports.to_path_buf(),
        error,
    })?;
    let result = runtime()?.block_on(self_test::run(|doing| {
        let _ = std::io::stderr().write_all(format!("{doing}\n").as_bytes());
    }))?;
    print(&result.table());
    let missed = result.rows.iter().filter(|row| !row.pass).count();
    print(&format!(
        "{}, {missed} missed\n",
        number::counted(result.rows.len() as u64, "known truth")
    ));
    if let Some(reason) = &result.stopped {
        print(&format!(
            "stopped by {reason}: the rest was not looked at\n"
        ));
    }
    match self_test::keep(&result, reports) {
        Ok(()) => print(&format!("kept in {}\n", reports.join(FILE).display())),
        Err(error) => tell(&format!("warning: {error}")),
    }
    Ok(result.exit_code())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // Where they are reached nothing can be told any more.
    files::are_enough()?;
    memory::is_enough()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.spawn(stop::hear());
    Ok(runtime)
}

/// The scenario of a file, with what the command line sets.
fn scenario_of(
    path: &Path,
    seed: Option<u64>,
    duration: Option<&str>,
) -> Result<Scenario, Failure> {
    let duration = duration.map(|text| length_of("--duration", text));
    let overrides = Overrides {
        seed,
        duration: duration.transpose()?,
        held: None,
    };
    scenario_in(&text_of(path)?, path, overrides)
}

/// The scenario that a file's text holds, with what the command line sets. The layout of its stack is one that can be started.
fn scenario_in(text: &str, path: &Path, overrides: Overrides) -> Result<Scenario, Failure> {
    let scenario = Scenario::parse_with(text, path, overrides)?;
    let layouts = [
        RedisLayout::from_str(&scenario.stack.redis).err(),
        MongoLayout::from_str(&scenario.stack.mongodb).err(),
    ];
    match layouts.into_iter().flatten().next() {
        Some(what) => Err(format!("{}: {what}", path.display()).into()),
        None => Ok(scenario),
    }
}

fn run_scenario(arguments: Run) -> Result<u8, Failure> {
    if let Some(samples) = &arguments.samples {
        raw::may_keep(samples)?;
    }
    let scenario_path = match (&arguments.conductor, arguments.scenario) {
        (None, Some(path)) => path,
        (Some(url), _) => {
            let conductor = Address::new(url, conductor_token(arguments.conductor_token)?)?;
            let wanted = arguments.shard;
            return send_shard(ShardOptions {
                conductor,
                wanted: (
                    wanted.map(|wanted| wanted.number),
                    wanted.and_then(|wanted| wanted.count),
                ),
                join_within: join_within(&arguments.join_within)?,
                reports: arguments.reports,
                quiet: arguments.quiet,
                samples: arguments.samples,
            });
        }
        (None, None) => return Err("name a scenario file, or a --conductor".into()),
    };
    let mut scenario = scenario_of(
        &scenario_path,
        arguments.seed,
        arguments.duration.as_deref(),
    )?;
    let no_stores = arguments.place.no_stores;
    let (target, by) = arguments.place.target()?.unzip();
    if arguments.keep_stack
        && let Some(by) = by
    {
        return Err(
            format!("--keep-stack has no effect beside {by}: no private stack is started").into(),
        );
    }
    if arguments.shard.is_some() && target.is_none() {
        return Err(
            "--shard needs --target: all shards send to one service that runs already".into(),
        );
    }
    if no_stores && !arguments.allow.is_empty() {
        return Err("--allow has no effect beside --no-stores: nothing is refused there".into());
    }
    if no_stores {
        keep_checks_of_clients(&mut scenario, arguments.quiet)?;
    }
    let now = OffsetDateTime::now_utc();
    let part = part(arguments.shard, arguments.run_id, arguments.start_at, now)?;
    let options = Options {
        scenario,
        scenario_path,
        target,
        service_binary: None,
        reports: arguments.reports,
        quiet: arguments.quiet,
        allow: arguments.allow,
        no_stores,
        samples: arguments.samples,
        otlp: arguments.otlp.map(|url| checked_otlp(&url)).transpose()?,
        merge: Vec::new(),
    };
    if let Some(part) = part {
        let shard = part.shard;
        let (folder, warnings) = runtime()?.block_on(shard::run_shard(options, part))?;
        for warning in warnings {
            tell(&format!("warning: {warning}"));
        }
        print(&format!("shard {shard}: {}\n", folder.display()));
        return Ok(match stop::asked() {
            None => Verdict::Pass.exit_code(),
            Some(_) => Verdict::Aborted.exit_code(),
        });
    }
    make_run(options, None, arguments.keep_stack, arguments.json)
}

/// Takes out the checks that need the stores, and says which.
fn keep_checks_of_clients(scenario: &mut Scenario, quiet: bool) -> Result<(), Failure> {
    if scenario.crowd.is_some() {
        return Err(
            "a [crowd] needs the service's own address: take it out for --no-stores".into(),
        );
    }
    let left_out = scenario.keep_checks_of_clients();
    if !left_out.is_empty() && !quiet {
        tell(&format!(
            "not judged without the stores: {}",
            left_out.join(", ")
        ));
    }
    Ok(())
}

fn send_shard(options: ShardOptions) -> Result<u8, Failure> {
    let conducted = runtime()?.block_on(shard::run_conducted(options))?;
    let (shard, folder) = (conducted.shard, &conducted.folder);
    print(&format!("shard {shard}: {}\n", folder.display()));
    for warning in &conducted.warnings {
        tell(&format!("warning: {warning}"));
    }
    if let Some(loss) = &conducted.loss {
        tell(&format!(
            "{loss}; the part is kept: with those of all other shards it makes the run, {} {} ...",
            conducted.merge,
            quoted_path(folder)
        ));
    }
    Ok(match (stop::asked(), &conducted.loss) {
        (Some(_), _) => Verdict::Aborted.exit_code(),
        // It is no part of that run any more.
        (None, Some(LinkError::Refused(_))) => Verdict::Discarded.exit_code(),
        (None, _) => Verdict::Pass.exit_code(),
    })
}

fn conduct_shards(arguments: Conduct) -> Result<u8, Failure> {
    within(
        "--shards",
        arguments.shards.into(),
        1.0,
        SHARDS_MAX.into(),
        "",
    )?;
    let mut scenario = scenario_of(
        &arguments.scenario,
        arguments.seed,
        arguments.duration.as_deref(),
    )?;
    if scenario.crowd.is_some() {
        return Err(RunError::CrowdInShards.into());
    }
    let no_stores = arguments.place.no_stores;
    let target = arguments.place.target()?.map(|(target, _)| target);
    if no_stores {
        keep_checks_of_clients(&mut scenario, arguments.quiet)?;
    }
    let token = conductor_token(arguments.conductor_token)?;
    let listen = arguments.listen;
    if !listen.ip().is_loopback() {
        if token.is_none() {
            return Err(format!(
                "--listen {listen} lets others in, and whoever comes may send: give --conductor-token or set {TOKEN_VARIABLE}, here and for every shard"
            )
            .into());
        }
        if target.is_none() {
            return Err(format!(
                "--listen {listen} lets other machines in, and they cannot reach a private stack: give --target"
            )
            .into());
        }
    }
    let door = std::net::TcpListener::bind(listen).map_err(|error| {
        format!("cannot listen at {listen}: {error}; name another address with --listen")
    })?;
    let conducting = Conducting {
        shards: arguments.shards,
        door,
        token,
        join_within: join_within(&arguments.join_within)?,
    };
    let options = Options {
        scenario,
        scenario_path: arguments.scenario,
        target,
        service_binary: None,
        reports: arguments.reports,
        quiet: arguments.quiet,
        allow: arguments.allow,
        no_stores,
        samples: None,
        otlp: arguments.otlp.map(|url| checked_otlp(&url)).transpose()?,
        merge: Vec::new(),
    };
    make_run(options, Some(&conducting), false, arguments.json)
}

/// The secret that a conductor asks for.
const TOKEN_VARIABLE: &str = "SLUICE_CONDUCTOR_TOKEN";
/// The most bytes of it.
const TOKEN_BYTES_MAX: usize = 256;

/// The secret of the flag or of the environment, if there is one.
fn conductor_token(flag: Option<String>) -> Result<Option<String>, Failure> {
    let Some(Given { value, by }) = given("--conductor-token", flag, TOKEN_VARIABLE)? else {
        return Ok(None);
    };
    let is_good = (1..=TOKEN_BYTES_MAX).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_good {
        return Err(format!(
            "{by} must be 1 to {TOKEN_BYTES_MAX} letters, digits and signs, without spaces"
        )
        .into());
    }
    Ok(Some(value))
}

/// The longest that a shard or a conductor is waited for.
const JOIN_WITHIN_MAX: Duration = Duration::from_secs(24 * 3600);

fn join_within(text: &str) -> Result<Duration, Failure> {
    let within = length_of("--join-within", text)?;
    if within > JOIN_WITHIN_MAX {
        return Err(format!("--join-within {text:?} is longer than a day: write 90s or 5m").into());
    }
    Ok(within)
}

/// The value of a flag that says how long: any length but none.
fn length_of(flag: &str, text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(length) if length.is_zero() => Err(format!(
            "{flag} must be longer than {text:?}: write 90s or 2m"
        )),
        Some(length) => Ok(length),
        None => Err(format!(
            "{flag} {text:?} is not a duration: write 90s or 2m"
        )),
    }
}

/// The address of a collector, if it is one of plain HTTP.
fn checked_otlp(text: &str) -> Result<String, Failure> {
    match Url::parse(text) {
        Ok(url) if holds_a_user(&url) => Err(
            "--otlp must not hold a user name or a password: they are not sent to the collector"
                .into(),
        ),
        Ok(url) if url.scheme() == "http" && url.port() != Some(0) => Ok(url.into()),
        _ => Err(format!("--otlp must be http://host:port/path, not {}", shown(text)).into()),
    }
}

fn merge_shards(arguments: Merge) -> Result<u8, Failure> {
    let scenario = scenario_of(
        &arguments.scenario,
        arguments.seed,
        arguments.duration.as_deref(),
    )?;
    let named = given("--target", arguments.target, "SLUICE_TARGET")?
        .ok_or("merge needs the --target of the run, and its --redis and --mongodb")?;
    let target = arguments.stores.target(&named, "")?;
    let options = Options {
        scenario,
        scenario_path: arguments.scenario,
        target: Some(target),
        service_binary: None,
        reports: arguments.reports,
        quiet: arguments.quiet,
        allow: Vec::new(),
        no_stores: false,
        samples: None,
        otlp: None,
        merge: arguments.shards,
    };
    make_run(options, None, false, arguments.json)
}

fn make_run(
    options: Options,
    conducting: Option<&Conducting>,
    keep_stack: bool,
    json: bool,
) -> Result<u8, Failure> {
    runtime()?.block_on(async {
        // The verdict first: whatever cannot be written after it takes nothing from it.
        let tell_verdict = move |report: &Report| {
            print(&if json {
                report::json::render(report)
            } else if shows_colours() {
                report::terminal::render_coloured(report)
            } else {
                report::terminal::render(report)
            });
        };
        let ended: &(dyn Fn(&Report) + Sync) = &tell_verdict;
        let finished = run::run_and_tell(options, conducting, Some(ended)).await?;
        for warning in &finished.warnings {
            tell(&format!("warning: {warning}"));
        }
        let page = finished.folder.join("report.html");
        // A warning said why it is not there.
        if !json && page.is_file() {
            print(&format!("report: {}\n", page.display()));
        }
        if let Some(stack) = finished.stack {
            if keep_stack && stop::asked().is_none() {
                tell(&format!(
                    "the stack stays until Ctrl-C: {}/, {}, {}",
                    stack.instances[0].url(),
                    stack.redis.urls().join(","),
                    stack.mongodb.uri()
                ));
                stop::wait().await;
            }
            // Who asked for a stop does not wait until everything has ended in order.
            if stop::asked().is_some() {
                drop(stack);
            } else {
                tokio::select! {
                    ended = stack.stop() => {
                        if let Err(error) = ended {
                            tell(&format!("warning: the private stack did not end in order: {error}"));
                        }
                    }
                    () = stop::wait() => {}
                }
            }
        }
        Ok(finished.report.verdict.exit_code())
    })
}

fn run_chaos(arguments: Chaos) -> Result<u8, Failure> {
    let mut plans = Plan::load_all(&arguments.plans)?;
    plans.retain(|(_, plan)| !(arguments.short && plan.long));
    if plans.is_empty() {
        return Err("none of these plans is a short one: leave out --short".into());
    }
    if arguments.seeds.is_some() && plans.iter().all(|(_, plan)| plan.mixed.is_none()) {
        return Err(
            "--seeds has no effect: none of these plans has faults that a seed draws; leave --seeds out"
                .into(),
        );
    }
    let seeds = arguments
        .seeds
        .unwrap_or(if arguments.seed.is_some() { 1 } else { 20 });
    within("--seeds", seeds as f64, 1.0, 100_000.0, "")?;
    let options = chaos::Options {
        plans,
        seeds,
        seed: arguments.seed,
        service_binary: arguments
            .service
            // A path need not be a text.
            .or_else(|| std::env::var_os("SLUICE_SERVICE").map(PathBuf::from))
            .filter(|path| !path.as_os_str().is_empty()),
        reports: arguments.reports,
        quiet: false,
    };
    runtime()?.block_on(async {
        let finished = chaos::run(&options).await?;
        print(&report::chaos::terminal(&finished.report));
        for warning in &finished.warnings {
            tell(&format!("warning: {warning}"));
        }
        print(&format!(
            "report: {}\n",
            finished.folder.join("chaos.html").display()
        ));
        let verdict = finished.report.verdict;
        match finished.broken {
            // A run that failed before stands, and the report says what ended the others.
            Some(error) if verdict != FaultVerdict::Fail => Err(Failure::from(error)),
            _ if stop::asked().is_some() => Ok(Verdict::Aborted.exit_code()),
            _ => Ok(verdict.exit_code()),
        }
    })
}

/// Refuses a number that is none, or out of its bounds.
fn within(flag: &str, value: f64, low: f64, high: f64, unit: &str) -> Result<(), Failure> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let bounds = format!("{} to {}", number::plain(low), number::plain(high));
    // In its short form: 1e308 has 309 digits.
    let value = format!("{value:?}");
    let value = value.trim_end_matches(".0");
    Err(format!("{flag} must be {bounds}{unit}, not {value}").into())
}

/// How far ahead the common start of the shards may lie.
const START_WITHIN: time::Duration = time::Duration::hours(24);

fn part(
    shard: Option<WantedShard>,
    run_id: Option<String>,
    start_at: Option<String>,
    now: OffsetDateTime,
) -> Result<Option<Part>, Failure> {
    let Some(wanted) = shard else {
        return Ok(None);
    };
    let (Some(count), Some(run_id), Some(start_at)) = (wanted.count, run_id, start_at) else {
        return Err(
            "a shard such as 2/4 needs --target, --run-id and --start-at, or a --conductor".into(),
        );
    };
    let shard = Shard {
        index: wanted.number,
        count,
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !(1..=32).contains(&run_id.len()) || !run_id.bytes().all(plain) {
        return Err("--run-id must be 1 to 32 of a-z and 0-9".into());
    }
    let given = start_at;
    let start_at = OffsetDateTime::parse(&given, &Rfc3339)
        .map_err(|_| format!("--start-at {given:?} is no instant: write 2030-01-01T00:00:00Z"))?;
    let until = start_at - now;
    if until.is_negative() || until > START_WITHIN {
        return Err(format!(
            "--start-at must lie within the next 24 hours, the same instant for all shards, and not be {given}"
        )
        .into());
    }
    Ok(Some(Part {
        shard,
        run_id,
        start_at: Some(start_at),
    }))
}

/// Whether something could not be printed. It was said once then.
static UNPRINTED: AtomicBool = AtomicBool::new(false);

/// Prints on standard output.
fn print(text: &str) {
    let printed = if let Some(mut output) = OUTPUT.get().map(|(output, _)| output) {
        output.write_all(text.as_bytes())
    } else {
        // Only what was flushed is known to be written.
        let mut output = std::io::stdout();
        output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
    };
    is_told(printed);
}

/// Whether a text was printed. What could not be is said once on standard error; a reader that closed the pipe does not want
/// the rest.
fn is_told(printed: std::io::Result<()>) -> bool {
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            if !UNPRINTED.swap(true, Ordering::Relaxed) {
                tell(&format!("cannot write to standard output: {error}"));
            }
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_shard_needs_its_run() {
        let now = time::macros::datetime!(2029-12-31 12:00 UTC);
        assert!(part(None, None, None, now).is_ok_and(|part| part.is_none()));
        let shard = Some("1/2".parse().expect("a shard"));
        assert!(part(shard, None, None, now).is_err());
        assert!(part(shard, Some("a".to_owned()), None, now).is_err());
        let of = |run_id: &str, start_at: &str| {
            let (run_id, start_at) = (run_id.to_owned(), start_at.to_owned());
            part(shard, Some(run_id), Some(start_at), now)
        };
        assert!(of("a1", "2030-01-01T00:00:00Z").is_ok_and(|part| part.is_some()));
        assert!(of("A 1", "2030-01-01T00:00:00Z").is_err());
        assert!(of("a1", "tomorrow").is_err());
        assert!(of("a1", "2029-12-31T11:59:59Z").is_err());
        assert!(of("a1", "2999-01-01T00:00:00Z").is_err());
        // Without a conductor it must be known how many there are.
        let alone = Some("1".parse().expect("a number"));
        let start_at = Some("2030-01-01T00:00:00Z".to_owned());
        assert!(part(alone, Some("a1".to_owned()), start_at, now).is_err());
        for bad in ["0", "-1", "5/4", "a"] {
            assert!(bad.parse::<WantedShard>().is_err(), "{bad}");
        }
    }
}
