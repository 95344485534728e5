//! What the load generator does, a module for each command.

use std::path::Path;

use record::folder::{Unwritable, make_folder, rfc3339};
use report::Folder;
use time::OffsetDateTime;

pub mod capacity;
pub mod chaos;
pub mod gate;
pub mod run;
pub mod self_test;

/// Makes the folder of what is called `name` and begins now.
fn begin(reports: &Path, name: &str, started: OffsetDateTime) -> Result<Folder, Unwritable> {
    let path = make_folder(reports, name, started)?;
    Ok(Folder::of(path, name, &rfc3339(started)))
}
