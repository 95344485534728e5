//! Writes made-up reports of every sort of run, to look at: `cargo run -p report --example report_sample -- FOLDER`.

#[path = "../tests/files/sample.rs"]
mod sample;

use std::path::PathBuf;

use report::{write, write_index};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(
        std::env::args()
            .nth(1)
            .unwrap_or_else(|| "reports/sample".to_owned()),
    );
    for (name, report) in sample::all() {
        write(&report, &folder.join("runs").join(name))?;
    }
    write_index(&folder)?;
    Ok(())
}
