//! How fast and how punctual the load generator is: it sends to a bare server on the same machine, at rates far beyond
//! what it is used for. What it says of itself is printed.

use std::error::Error;
use std::io::Write as _;
use std::process::{Command, ExitCode};

use benches::{Floor, say};
use clap::Parser;

/// Sends to a bare server at each rate and tells how late the requests left.
#[derive(Parser)]
struct Options {
    /// Requests a second; may be repeated
    #[arg(long = "rate", default_values_t = [500, 5_000, 20_000], value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rates: Vec<u32>,
    /// Seconds of load at each rate
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
}

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "generator: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let floor = Floor::start()?;
    let loadgen = std::env::current_exe()?.with_file_name("loadgen");
    for rate in &options.rates {
        let folder = tempfile::tempdir()?;
        let scenario = folder.path().join("generator.toml");
        std::fs::write(
            &scenario,
            format!(
                "name = \"generator\"\ndescription = \"A constant rate\"\nusers = 512\nsend_lag_max = \"1h\"\n\
                 [[phase]]\nname = \"all\"\nduration = \"{}s\"\nrate = {rate}\n",
                options.seconds
            ),
        )?;
        say(&format!("\n{rate}/s for {} s", options.seconds));
        let status = Command::new(&loadgen)
            .arg("send")
            .arg(&scenario)
            .arg(floor.url())
            .status()
            .map_err(|error| format!("{}: {error}", loadgen.display()))?;
        if !status.success() {
            return Err(format!("loadgen send ended with {status}").into());
        }
    }
    Ok(())
}
