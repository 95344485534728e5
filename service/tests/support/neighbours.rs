//! The programs that stand beside the service in production: nginx, Prometheus.

use std::path::PathBuf;

use tokio::process::Command;

pub fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the project")
        .to_owned()
}

/// A program on PATH, or one that `scripts/servers.sh neighbours` has fetched.
pub fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fetched = project().join(".sluice/bin");
    let found = std::env::split_paths(&path)
        .chain([fetched])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    let program = found.unwrap_or_else(|| {
        panic!("{name} is not there: scripts/servers.sh neighbours fetches it, as `make test` does")
    });
    let mut command = Command::new(program);
    command.kill_on_drop(true);
    command
}
