//! What machine and which source a run was made with. What cannot be read is left out.

use std::fs;
use std::io;
use std::path::Path;

use record::folder::{RESULT_BYTES_MAX, read_whole};
use record::result::run::{Provenance, SelfTestStamp};
use record::result::self_test::{FILE, SelfTest};
use sha2::{Digest, Sha256};

/// Marks a commit whose source had changes.
const DIRTY: &str = "-dirty";

/// A commit and whether the source had changes beyond it. Unknown is empty.
pub fn commit_of(stamp: &str) -> (String, bool) {
    match stamp.strip_suffix(DIRTY) {
        Some(commit) => (commit.to_owned(), true),
        None if stamp == "unknown" => (String::new(), false),
        None => (stamp.to_owned(), false),
    }
}

/// The facts that do not depend on the service. `stamp` is the commit that the load generator was built from, with
/// `-dirty` behind it where its source had changes; empty when the build was not told.
pub fn gather(stamp: &str) -> Provenance {
    let (git_commit, dirty) = commit_of(stamp);
    Provenance {
        git_commit,
        dirty,
        loadgen_sha256: own_sha256().unwrap_or_default(),
        loadgen_version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu: line_of("/proc/cpuinfo", "model name").unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(0, |cores| cores.get() as u32),
        cpu_governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            .map_or_else(String::new, |governor| governor.trim().to_owned()),
        memory_bytes: kib_of("/proc/meminfo", "MemTotal"),
        kernel: read("/proc/sys/kernel/osrelease").map_or_else(String::new, |release| {
            format!("{} {}", std::env::consts::OS, release.trim())
        }),
        load_average_before: load_average(),
        ..Provenance::default()
    }
}

/// The last self-test in the folder `reports`, for the report of a run of the binary with the digest
/// `loadgen_sha256`. `None` when there is none that can be read and went to its end.
pub fn self_test(reports: &Path, loadgen_sha256: &str) -> Option<SelfTestStamp> {
    let text = read_whole(&reports.join(FILE), RESULT_BYTES_MAX).ok()?;
    let result: SelfTest = serde_json::from_slice(&text)
        .ok()
        .filter(|result: &SelfTest| result.stopped.is_none())?;
    let missed: Vec<String> = result
        .rows
        .iter()
        .filter(|row| !row.pass)
        .map(|row| row.name.clone())
        .collect();
    Some(SelfTestStamp {
        finished_at: result.finished_at,
        same_binary: !loadgen_sha256.is_empty() && result.loadgen_sha256 == loadgen_sha256,
        pass: missed.is_empty() && !result.rows.is_empty(),
        compared: result.rows.len() as u32,
        missed,
    })
}

/// SHA-256 of `bytes`, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of the running binary.
///
/// # Errors
/// When it cannot be read.
pub fn own_sha256() -> io::Result<String> {
    let mut file = fs::File::open(std::env::current_exe()?)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            length => digest.update(&buffer[..length]),
        }
    }
}

fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;

    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
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

#[cfg(test)]
mod tests {
    use record::result::self_test::Row;

    use super::*;

    #[test]
    fn a_stamp_is_a_commit_and_perhaps_dirty() {
        assert_eq!(commit_of("ab12-dirty"), ("ab12".to_owned(), true));
        assert_eq!(commit_of("ab12"), ("ab12".to_owned(), false));
        assert_eq!(commit_of("unknown"), (String::new(), false));
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
        assert_eq!(own_sha256().map(|digest| digest.len()).ok(), Some(64));
    }

    #[test]
    fn a_stamp_tells_what_was_missed_and_by_which_binary() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(self_test(folder.path(), "ab"), None);
        let row = |name: &str, pass| Row {
            name: name.to_owned(),
            pass,
            ..Row::default()
        };
        let result = SelfTest {
            loadgen_sha256: "ab".to_owned(),
            rows: vec![row("one", true), row("two", false)],
            ..SelfTest::default()
        };
        let text = serde_json::to_string(&result).expect("plain data");
        std::fs::write(folder.path().join(FILE), text).expect("it is written");
        let read = self_test(folder.path(), "ab").expect("a result");
        assert_eq!(
            (read.same_binary, read.pass, read.compared),
            (true, false, 2)
        );
        assert_eq!(read.missed, ["two"]);
        assert!(
            !self_test(folder.path(), "cd")
                .expect("a result")
                .same_binary
        );
        let stopped = SelfTest {
            stopped: Some("Ctrl-C".to_owned()),
            ..result
        };
        let text = serde_json::to_string(&stopped).expect("plain data");
        std::fs::write(folder.path().join(FILE), text).expect("it is written");
        assert_eq!(self_test(folder.path(), "ab"), None);
    }
}
