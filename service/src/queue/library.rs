//! The Redis Functions: their text, their names, and the removal of those that nobody calls any more.

use std::fmt::Write as _;
use std::sync::LazyLock;

use redis::Value;
use redis::aio::MultiplexedConnection;
use xxhash_rust::xxh3::xxh3_64;

use super::refusal::{Refusal, told};
use super::run;
use crate::error::ServiceError;
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

/// Whether Redis has the library, and by its text no other than this one.
pub(super) async fn is_loaded(
    connection: &mut MultiplexedConnection,
) -> Result<bool, ServiceError> {
    let mut list = redis::cmd("FUNCTION");
    list.arg("LIST").arg("LIBRARYNAME").arg(&LIBRARY.name);
    list.arg("WITHCODE");
    match run(connection, &list).await {
        Ok(libraries) => Ok(has_code(&libraries, LIBRARY.text.as_bytes())),
        // Who may not ask finds out when he calls.
        Err(error) if error.code().is_some() => Ok(true),
        Err(error) => Err(told(error)),
    }
}

/// Whether one of the libraries in an answer to FUNCTION LIST has this text: it names each part, and then has it.
fn has_code(libraries: &Value, text: &[u8]) -> bool {
    let Value::Array(libraries) = libraries else {
        return false;
    };
    let is =
        |value: &Value, wanted: &[u8]| matches!(value, Value::BulkString(bytes) if bytes == wanted);
    libraries.iter().any(|library| match library {
        Value::Array(parts) => parts
            .windows(2)
            .any(|pair| is(&pair[0], b"library_code") && is(&pair[1], text)),
        _ => false,
    })
}

/// Loads the library, in place of any other of its name.
pub(super) async fn load(connection: &mut MultiplexedConnection) -> Result<(), ServiceError> {
    let mut load = redis::cmd("FUNCTION");
    load.arg("LOAD").arg("REPLACE").arg(&LIBRARY.text);
    match run(connection, &load).await.map_err(told) {
        Ok(_) => Ok(()),
        // Results would leave it, and so make room, if only the functions were there.
        Err(ServiceError::RedisRefused(Refusal::Full)) => {
            let why = "Redis is full (maxmemory) and has not the functions of this version yet, so nothing can leave it: raise maxmemory until it has them";
            Err(ServiceError::RedisRefused(Refusal::Unprepared(
                why.to_owned(),
            )))
        }
        Err(error) => Err(error),
    }
}

/// A call of a function of the library, with room for so many arguments of so many bytes in all; the caller adds its keys and
/// arguments.
pub(super) fn call(function: &str, arguments: usize, bytes: usize) -> redis::Cmd {
    let mut command = redis::Cmd::with_capacity(arguments + 2, bytes + 64);
    command.arg("FCALL");
    command.arg(format!("{}_{function}", LIBRARY.name));
    command
}
