//! What machine and which source a run was made with. What cannot be read is left out.

use std::fs;
use std::process::Command;

use crate::report::Provenance;

/// The facts that do not depend on the service.
pub fn gather() -> Provenance {
    let commit = git(&["rev-parse", "HEAD"]);
    Provenance {
        dirty: commit.is_some()
            && git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
        git_commit: commit.unwrap_or_default(),
        loadgen_version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu: line_of("/proc/cpuinfo", "model name").unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(0, |cores| cores.get() as u32),
        memory_bytes: kib_of("/proc/meminfo", "MemTotal"),
        kernel: read("/proc/sys/kernel/osrelease").map_or_else(String::new, |release| {
            format!("{} {}", std::env::consts::OS, release.trim())
        }),
        load_average_before: load_average(),
        ..Provenance::default()
    }
}

/// Highest resident memory of this process, bytes.
pub fn rss_bytes_peak() -> Option<u64> {
    kib_of("/proc/self/status", "VmHWM")
}

fn load_average() -> Option<[f64; 3]> {
    let text = read("/proc/loadavg")?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some([
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
    ])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn line_of(path: &str, name: &str) -> Option<String> {
    let text = read(path)?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kib_of(path: &str, name: &str) -> Option<u64> {
    let kib = line_of(path, name)?;
    Some(kib.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
