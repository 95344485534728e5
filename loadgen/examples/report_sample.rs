//! Writes reports of made-up runs, to look at: `cargo run -p loadgen --example report_sample [FOLDER]`.

#[path = "../tests/report/sample.rs"]
mod sample;

use std::path::PathBuf;

use loadgen::report::{point_latest, terminal, write, write_index};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reports: PathBuf = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "target/report-sample".into())
        .into();
    for (name, report) in [
        ("passed", sample::passed()),
        ("failed", sample::failed()),
        ("aborted", sample::aborted()),
        ("empty", sample::empty()),
    ] {
        let run = reports.join("runs").join(name);
        write(&report, &run)?;
        point_latest(&reports, &run)?;
        println!("{}", terminal::render(&report));
    }
    write_index(&reports)?;
    println!("{}", reports.join("index.html").display());
    Ok(())
}
