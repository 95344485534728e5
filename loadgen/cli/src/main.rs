//! The load generator's command line.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser, Subcommand};
use drive::load::load_only;
use drive::stop::interrupted;
use judge::gate::{BLOCKS_MAX, BLOCKS_MIN};
use judge::power;
use loadgen::commands::capacity::{self, CapacityOptions};
use loadgen::commands::chaos;
use loadgen::commands::gate::{self, GateOptions};
use loadgen::commands::run::{self, Allowed, Options};
use loadgen::commands::self_test;
use observe::provenance;
use observe::stack::Target;
use plan::faults::Plan;
use plan::parse_duration;
use plan::scenario::Scenario;
use plan::schedule::Schedule;
use plan::shard::{Part, Shard};
use record::kept;
use record::result::self_test::FILE;
use record::result::{chaos_schema, run_schema};
use record::rounds;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::signal::unix::{SignalKind, signal};

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
    /// Search the highest rate that meets a scenario's objectives in recorded loans
    Capacity(Capacity),
    /// Join the shards of one run: drain, audit, checks, one report
    Merge {
        /// What the run was made with: scenario, target and stores
        #[command(flatten)]
        run: Run,
        /// The folders of all shards
        #[arg(long, required = true, num_args = 1..)]
        shards: Vec<PathBuf>,
    },
    /// Two reports side by side, with how far each difference may be chance
    Compare {
        /// Folder of the first run, or its report.json
        a: PathBuf,
        /// Folder of the second run, or its report.json
        b: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Judge whether a change is slower than its base: interleaved rounds, exact counts, instructions
    Gate(Gate),
    /// Record rounds of one build, plain and slowed by a known time, for `gate-power`
    GateRounds {
        /// The commit that is built, with the test-only feature that slows it
        #[arg(long, default_value = "HEAD")]
        reference: String,
        /// How much longer each admission takes in every other round, nanoseconds
        #[arg(long)]
        slowdown_ns: u64,
        /// How many rounds of each
        #[arg(long, default_value_t = 100)]
        pairs: usize,
        /// The file that the rounds are appended to
        #[arg(long, default_value = "benches/gate-data/rounds.jsonl")]
        file: PathBuf,
    },
    /// Draw gates from recorded rounds: how often would they be wrong?
    GatePower {
        /// The recorded rounds
        #[arg(default_value = "benches/gate-data/rounds.jsonl")]
        file: PathBuf,
        /// Gates that are drawn
        #[arg(long, default_value_t = power::GATES)]
        gates: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Only send a scenario's load to any address: no stores, no audit, no report
    Send {
        /// The scenario file
        scenario: PathBuf,
        /// http://host:port
        url: String,
    },
    /// Compare what the generator says with known truths
    SelfTest {
        /// Where the result is kept, so that later reports tell it
        #[arg(long, default_value = "reports")]
        reports: PathBuf,
    },
    /// Run load under faults, heal, drain, and judge every loan (0 pass, 1 fail, 2 could not run, 5 void)
    Chaos(Chaos),
    /// Print the JSON Schema of report.json
    Schema {
        /// Of chaos.json instead
        #[arg(long)]
        chaos: bool,
    },
}

#[derive(Args)]
#[expect(
    clippy::struct_field_names,
    reason = "each field is named after its flag"
)]
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
    /// What is not refused though the figures may mislead; the report says so
    #[arg(long, value_enum)]
    allow: Vec<Allowed>,
    /// Length of the longest phase, such as 2m, instead of the scenario's
    #[arg(long)]
    duration: Option<String>,
    /// Send only one part of the schedule, such as 2/4; the other parts are sent by other processes or machines
    #[arg(long, requires_all = ["target", "run_id", "start_at"], conflicts_with = "keep_stack")]
    shard: Option<Shard>,
    /// The name that all shards of one run share, 1 to 32 of a-z, 0-9
    #[arg(long)]
    run_id: Option<String>,
    /// When all shards start, RFC 3339
    #[arg(long)]
    start_at: Option<String>,
    /// Leave the private stack running until Ctrl-C, to look at it
    #[arg(long)]
    keep_stack: bool,
}

#[derive(Args)]
struct Chaos {
    /// Scenario files, or folders of them
    #[arg(default_value = "scenarios/chaos")]
    plans: Vec<PathBuf>,
    /// Runs with drawn faults: how many seeds; 20, or 1 when --seed names it
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed, instead of the files'; alone it repeats one run
    #[arg(long)]
    seed: Option<u64>,
    /// Only the short scenarios, and no more than this many seeds
    #[arg(long)]
    short: bool,
    /// The service's binary, built with its crash points; the one beside this one without it
    #[arg(long, env = "SLUICE_SERVICE")]
    service: Option<PathBuf>,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
}

#[derive(Args)]
struct Capacity {
    /// The scenario: its mix, settings and objectives are kept, its phases are replaced
    scenario: PathBuf,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
    /// The first rate, loans per second; the scenario's highest by default
    #[arg(long)]
    start: Option<f64>,
    /// The highest rate that is tried
    #[arg(long, default_value_t = 20_000.0)]
    rate_max: f64,
    /// The search ends when the best rate and the next failed one are this close, per cent
    #[arg(long, default_value_t = 5.0)]
    precision: f64,
    /// How long each probe holds its rate, seconds
    #[arg(long, default_value_t = 8)]
    hold: u64,
    /// How often the best rate must pass again
    #[arg(long, default_value_t = 2)]
    confirmations: u32,
    /// What is not refused though the figures may mislead; the report says so
    #[arg(long, value_enum)]
    allow: Vec<Allowed>,
}

#[derive(Args)]
struct Gate {
    /// The commit, branch or tag to compare with
    #[arg(long)]
    base: String,
    /// The one that is judged
    #[arg(long, default_value = "HEAD")]
    head: String,
    /// Blocks of six rounds before the first judgement
    #[arg(long, default_value_t = BLOCKS_MIN)]
    blocks: usize,
    /// The most blocks
    #[arg(long, default_value_t = BLOCKS_MAX)]
    blocks_max: usize,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(arguments) => run_scenario(arguments, Vec::new()),
        Command::Merge { run, shards } => run_scenario(run, shards),
        Command::Check { scenario } => check(&scenario),
        Command::Capacity(arguments) => search_capacity(arguments),
        Command::Compare { a, b, json } => compare(&a, &b, json),
        Command::Gate(arguments) => judge_change(arguments),
        Command::GateRounds {
            reference,
            slowdown_ns,
            pairs,
            file,
        } => record_rounds(&reference, slowdown_ns, pairs, &file),
        Command::GatePower { file, gates, json } => gate_power(&file, gates, json),
        Command::Send { scenario, url } => send(&scenario, &url),
        Command::SelfTest { reports } => self_test(&reports),
        Command::Chaos(arguments) => run_chaos(arguments),
        Command::Schema { chaos } => {
            print(&if chaos { chaos_schema() } else { run_schema() });
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
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
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

fn search_capacity(arguments: Capacity) -> Result<u8, Failure> {
    let options = CapacityOptions {
        scenario: Scenario::load(&arguments.scenario)?,
        scenario_path: arguments.scenario,
        service_binary: None,
        reports: arguments.reports,
        start: arguments.start,
        rate_max: arguments.rate_max.clamp(10.0, 100_000.0),
        precision: arguments.precision / 100.0,
        hold: std::time::Duration::from_secs(arguments.hold.clamp(1, 3600)),
        confirmations: arguments.confirmations.min(20),
        allow: arguments.allow,
    };
    let searched = capacity::capacity(&options, |line| print(&format!("{line}\n")));
    let (result, folder) = runtime()?.block_on(searched)?;
    match (result.rate_per_second, result.recorded_per_second) {
        (Some(rate), Some(recorded)) => print(&format!(
            "capacity: {rate:.0} loans a second sent, {recorded:.0} recorded. {}\n",
            result.limit
        )),
        _ => print(&format!("capacity: none. {}\n", result.limit)),
    }
    print(&format!(
        "report: {}\n",
        folder.join("capacity.html").display()
    ));
    Ok(u8::from(result.rate_per_second.is_none()))
}

fn judge_change(arguments: Gate) -> Result<u8, Failure> {
    let options = GateOptions {
        base: arguments.base,
        head: arguments.head,
        blocks_min: arguments.blocks.clamp(2, 100),
        blocks_max: arguments.blocks_max.clamp(2, 100),
        reports: arguments.reports,
    };
    let judged = gate::gate(&options, |line| print(&format!("{line}\n")));
    let (result, folder) = runtime()?.block_on(judged)?;
    print(&format!("\n{}", report::gate::markdown(&result)));
    print(&format!("report: {}\n", folder.join("gate.html").display()));
    Ok(result.answer.exit_code())
}

fn record_rounds(
    reference: &str,
    slowdown_ns: u64,
    pairs: usize,
    file: &std::path::Path,
) -> Result<u8, Failure> {
    let recorded = gate::record(reference, slowdown_ns, pairs, file, |line| {
        print(&format!("{line}\n"));
    });
    runtime()?.block_on(recorded)?;
    Ok(0)
}

fn gate_power(file: &std::path::Path, gates: u32, json: bool) -> Result<u8, Failure> {
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

fn compare(a: &std::path::Path, b: &std::path::Path, json: bool) -> Result<u8, Failure> {
    let comparison = judge::compare::compare(&kept::Run::load(a)?, &kept::Run::load(b)?);
    print(&if json {
        serde_json::to_string_pretty(&comparison)? + "\n"
    } else {
        report::comparison::text(&comparison)
    });
    Ok(0)
}

fn send(path: &std::path::Path, url: &str) -> Result<u8, Failure> {
    let scenario = Scenario::load(path)?;
    let loaded = runtime()?.block_on(load_only(&scenario, url.trim_end_matches('/')))?;
    let schedule = Schedule::new(&scenario.phases, scenario.seed);
    let total = &loaded.recorder.total;
    let took = loaded
        .recorder
        .last_sent
        .max(schedule.duration())
        .as_secs_f64();
    let mut text = format!(
        "sent {} of {} arrivals, {:.0}/s; {} without a definite answer; goose counted {} requests, the ledger {}\n",
        total.sent,
        schedule.arrivals(),
        total.sent as f64 / took,
        total.failed,
        loaded.requests.0,
        loaded.requests.1
    );
    for (name, histogram) in [
        ("response", &total.response),
        ("service", &total.service),
        ("send lag", &total.send_lag),
    ] {
        let at = |quantile: f64| histogram.value_at_quantile(quantile);
        let _ = writeln!(
            text,
            "{name:<9} p50 {} us, p90 {} us, p99 {} us, p99.9 {} us, max {} us",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            histogram.max()
        );
    }
    if let Some(bytes) = provenance::rss_bytes_peak() {
        let _ = writeln!(
            text,
            "memory at most {:.1} MiB",
            bytes as f64 / f64::from(1 << 20)
        );
    }
    print(&text);
    Ok(0)
}

fn self_test(reports: &std::path::Path) -> Result<u8, Failure> {
    let result = runtime()?.block_on(self_test::run(reports, |doing| {
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{doing}\n"));
    }))?;
    print(&result.table());
    let missed = result.rows.iter().filter(|row| !row.pass).count();
    print(&format!(
        "{} known truths, {missed} missed; kept in {}\n",
        result.rows.len(),
        reports.join(FILE).display()
    ));
    Ok(u8::from(!result.pass()))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

fn run_scenario(arguments: Run, merge: Vec<PathBuf>) -> Result<u8, Failure> {
    let mut scenario = Scenario::load(&arguments.scenario)?;
    if let Some(seed) = arguments.seed {
        scenario.seed = seed;
    }
    if let Some(text) = &arguments.duration {
        let length = parse_duration(text)
            .filter(|length| !length.is_zero())
            .ok_or_else(|| format!("--duration {text:?} is not a duration: write 90s or 2m"))?;
        if let Some(longest) = scenario
            .phases
            .iter_mut()
            .max_by_key(|phase| phase.duration)
        {
            longest.duration = length;
        }
    }
    let target = match (arguments.target, arguments.redis, arguments.mongodb) {
        (Some(urls), Some(redis_url), Some(mongodb_uri)) => {
            let mut urls = urls
                .split(',')
                .map(|url| url.trim().trim_end_matches('/').to_owned());
            Some(Target {
                url: urls.next().unwrap_or_default(),
                other_urls: urls.collect(),
                redis_url,
                mongodb_uri,
                mongodb_database: arguments.mongodb_database,
                private: false,
            })
        }
        _ => None,
    };
    if target.is_none() && !merge.is_empty() {
        return Err("merge needs --target, --redis and --mongodb of the run".into());
    }
    let part = part(arguments.shard, arguments.run_id, arguments.start_at)?;
    let options = Options {
        scenario,
        scenario_path: arguments.scenario,
        target,
        service_binary: None,
        reports: arguments.reports,
        quiet: false,
        allow: arguments.allow,
        merge,
    };
    if let Some(part) = part {
        let shard = part.shard;
        let folder = runtime()?.block_on(run::run_shard(options, part))?;
        print(&format!("shard {shard}: {}\n", folder.display()));
        return Ok(0);
    }
    runtime()?.block_on(async {
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
                    stack.instances[0].url(),
                    stack.redis.urls().join(","),
                    stack.mongodb.uri()
                ));
                interrupted().await;
            }
            stack.stop().await?;
        }
        Ok(finished.report.verdict.exit_code())
    })
}

fn run_chaos(arguments: Chaos) -> Result<u8, Failure> {
    let mut plans = Plan::load_all(&arguments.plans)?;
    plans.retain(|(_, plan)| !(arguments.short && plan.long));
    let options = chaos::Options {
        plans,
        seeds: arguments
            .seeds
            .unwrap_or(if arguments.seed.is_some() { 1 } else { 20 }),
        seed: arguments.seed,
        service_binary: arguments.service,
        reports: arguments.reports,
        quiet: false,
        stop: Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::spawn(stop_when_asked(Arc::clone(&options.stop)));
        let finished = chaos::run(&options).await?;
        print(&report::chaos::terminal(&finished.report));
        print(&format!(
            "report: {}\n",
            finished.folder.join("chaos.html").display()
        ));
        Ok(finished.report.verdict.exit_code())
    })
}

/// The first Ctrl-C or SIGTERM ends the whole after the run that is made; the second one ends it at once, and the private
/// stack with it.
async fn stop_when_asked(stop: Arc<AtomicBool>) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(COULD_NOT_RUN.into());
        }
        eprintln!("stopping after this run; once more to stop at once");
    }
}

fn part(
    shard: Option<Shard>,
    run_id: Option<String>,
    start_at: Option<String>,
) -> Result<Option<Part>, Failure> {
    let (Some(shard), Some(run_id), Some(start_at)) = (shard, run_id, start_at) else {
        return Ok(None);
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !(1..=32).contains(&run_id.len()) || !run_id.bytes().all(plain) {
        return Err("--run-id must be 1 to 32 of a-z and 0-9".into());
    }
    let start_at = OffsetDateTime::parse(&start_at, &Rfc3339)
        .map_err(|error| format!("--start-at {start_at}: {error}"))?;
    Ok(Some(Part {
        shard,
        run_id,
        start_at,
    }))
}

fn print(text: &str) {
    // A reader that closed the pipe does not want the rest.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_shard_needs_its_run() {
        let run = ["loadgen", "run", "s.toml", "--shard", "1/2"];
        assert!(Cli::try_parse_from(run).is_err());
        assert!(part(None, None, None).is_ok_and(|part| part.is_none()));
        let shard = Some(Shard { index: 1, count: 2 });
        let of = |run_id: &str, start_at: &str| {
            part(shard, Some(run_id.to_owned()), Some(start_at.to_owned()))
        };
        assert!(of("a1", "2030-01-01T00:00:00Z").is_ok_and(|part| part.is_some()));
        assert!(of("A 1", "2030-01-01T00:00:00Z").is_err());
        assert!(of("a1", "tomorrow").is_err());
    }
}
