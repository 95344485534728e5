//! The Redis Functions: their text, their names, and the removal of those that nobody calls any more.

use std::fmt::Write as _;
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

use crate::failpoint::{Guard, is_other_version};

const TEXT: &str = include_str!("functions.lua");
/// Stands in the text for the hash of the text.
const PLACEHOLDER: &str = "sluice_HASH";
/// What all libraries of any version begin with.
pub(super) const PREFIX: &str = "sluice_";

/// The library that this build calls. Its name and its functions' names carry the hash of its text: so what runs is what
/// this build was tested with, and two versions of the service share one Redis during a rolling restart.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) name: String,
    pub(super) text: String,
}

/// The library, made once.
pub(super) static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let mut text = TEXT.to_owned();
    for (guard, condition, instead) in [
        (
            Guard::CommitFirst,
            "if held[n] == tickets[n] then",
            "if true then",
        ),
        (
            Guard::IdRemembered,
            "if now_held and #now_held == HELD_LEN then",
            "if false then",
        ),
    ] {
        if guard.is_off() {
            assert!(TEXT.contains(condition), "{guard:?} has another form");
            text = text.replace(condition, instead);
        }
    }
    if is_other_version() {
        text.push_str("-- Another version.\n");
    }
    let mut name = PREFIX.to_owned();
    write!(name, "{:016x}", xxh3_64(text.as_bytes())).expect("a string takes all");
    Library {
        text: text.replace(PLACEHOLDER, &name),
        name,
    }
});

/// A call of a function of the library; the caller adds its keys and arguments.
pub(super) fn call(function: &str) -> redis::Cmd {
    let mut command = redis::cmd("FCALL");
    command.arg(format!("{}_{function}", LIBRARY.name));
    command
}
