//! Where the Redis and mongod binaries are.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::TestbedError;

/// The environment variable that names the Redis server's binary.
pub const REDIS_SERVER_VARIABLE: &str = "SLUICE_REDIS_SERVER";
/// The environment variable that names the Valkey server's binary.
pub const VALKEY_SERVER_VARIABLE: &str = "SLUICE_VALKEY_SERVER";
/// The environment variable that names mongod's binary.
pub const MONGOD_VARIABLE: &str = "SLUICE_MONGOD";

/// The environment variable that names wrk's binary.
pub const WRK_VARIABLE: &str = "SLUICE_WRK";

/// The server binaries to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    /// The Redis server, version 7 or later, or Valkey 9.
    pub redis_server: PathBuf,
    /// The MongoDB server, version 6 or later.
    pub mongod: PathBuf,
    /// `LD_LIBRARY_PATH` for both, where they need one. What `make servers` fetches sets its own.
    pub library_path: Option<OsString>,
}

impl Servers {
    /// Looks in the environment, then on PATH, then in the project's `.sluice/bin`, as `make servers` does.
    ///
    /// # Errors
    /// Says what to run when a binary is missing.
    pub fn discover() -> Result<Self, TestbedError> {
        Ok(Self {
            redis_server: find("redis-server", REDIS_SERVER_VARIABLE)?,
            mongod: find("mongod", MONGOD_VARIABLE)?,
            library_path: None,
        })
    }

    /// As [`Servers::discover`], with Valkey in the place of Redis. `scripts/servers.sh valkey` fetches it.
    ///
    /// # Errors
    /// Says what to run when a binary is missing.
    pub fn discover_valkey() -> Result<Self, TestbedError> {
        Ok(Self {
            redis_server: find("valkey-server", VALKEY_SERVER_VARIABLE)?,
            ..Self::discover()?
        })
    }

    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        self.library_path
            .iter()
            .map(|path| ("LD_LIBRARY_PATH".into(), path.clone()))
            .collect()
    }
}

/// The wrk binary, looked for as [`Servers::discover`] does.
///
/// # Errors
/// Says what to run when it is missing.
pub fn find_wrk() -> Result<PathBuf, TestbedError> {
    find("wrk", WRK_VARIABLE)
}

fn find(name: &'static str, variable: &'static str) -> Result<PathBuf, TestbedError> {
    if let Some(named) = env::var_os(variable).filter(|named| !named.is_empty()) {
        let path = PathBuf::from(named);
        if !is_executable(&path) {
            return Err(TestbedError::NamedFileMissing { variable, path });
        }
        return std::path::absolute(&path)
            .map_err(TestbedError::io(format!("resolve {}", path.display())));
    }
    let on_path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&on_path)
        .filter(|folder| folder.is_absolute())
        .chain(fetched_folders())
        .map(|folder| folder.join(name))
        .find(|path| is_executable(path))
        .ok_or(TestbedError::ServerMissing {
            name,
            variable,
            fetch: if name == "valkey-server" {
                "scripts/servers.sh valkey"
            } else {
                "make servers"
            },
        })
}

/// `.sluice/bin` of the folder one works in or of one above it, then of the folders above the running binary.
fn fetched_folders() -> impl Iterator<Item = PathBuf> {
    let starts = [env::current_dir().ok(), env::current_exe().ok()];
    starts.into_iter().flatten().flat_map(|start| {
        start
            .ancestors()
            .map(|folder| folder.join(".sluice/bin"))
            .collect::<Vec<_>>()
    })
}

pub(crate) fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
