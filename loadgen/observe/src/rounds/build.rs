//! Builds the service of a commit, in a work tree of its own.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Where builds are kept, below the project's folder.
const FOLDER: &str = ".sluice/gate";
/// What gungraun has counted, beside a build's binary.
const COUNTS: &str = "hot_path.json";
/// The most characters of a build's output that an error tells.
const TOLD_MAX: usize = 600;

/// Why there is no build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The commit is not known.
    #[error("{0:?} names no commit of this repository")]
    NoCommit(String),
    /// A command failed.
    #[error("{what} failed: {told}")]
    Command {
        /// What was tried.
        what: String,
        /// The end of what it said.
        told: String,
    },
    /// A file could not be made.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A build of the service.
#[derive(Clone, Debug)]
pub struct Build {
    /// The commit.
    pub commit: String,
    /// The service.
    pub service: PathBuf,
    /// What gungraun counted of its hot path, where it could and the commit has a bench for it.
    pub hot_path: Option<PathBuf>,
}

impl Build {
    /// Builds `reference` with the service's `features`, or takes the build that was kept. Whoever does not wait for the end
    /// ends the build with it.
    ///
    /// # Errors
    /// When there is no such commit or it does not build.
    pub async fn of(reference: &str, features: &[&str]) -> Result<Self, BuildError> {
        let root = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
        let commit = git(&[
            "rev-parse",
            "--verify",
            "--quiet",
            &format!("{reference}^{{commit}}"),
        ])
        .map_err(|_| BuildError::NoCommit(reference.to_owned()))?;
        let place = root.join(FOLDER);
        // Another compiler makes another build of the same commit.
        let mut name = format!("{commit}-{}", toolchain()?);
        for feature in features {
            name = format!("{name}-{feature}");
        }
        let kept = place.join("builds").join(name);
        let counts = kept.join(COUNTS);
        let is_counted = counts.is_file() || !features.is_empty();
        if !kept.join("service").is_file() || !is_counted {
            build(&root, &place, &commit, features, &kept).await?;
        }
        let has_counts = fs::metadata(&counts).is_ok_and(|file| file.len() > 0);
        Ok(Self {
            commit,
            service: kept.join("service"),
            hot_path: has_counts.then_some(counts),
        })
    }
}

/// Names the compiler, in a few letters.
fn toolchain() -> Result<String, BuildError> {
    let digest = crate::provenance::sha256(rustc()?.as_bytes());
    Ok(digest.chars().take(12).collect())
}

/// Names the compiler and what it compiles for, as it does itself.
///
/// # Errors
/// When there is none.
pub fn compiler() -> Result<String, BuildError> {
    let told = rustc()?;
    let version = told.lines().next().unwrap_or_default();
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(format!("{version}, {}", host.unwrap_or("unknown host")))
}

fn rustc() -> Result<String, BuildError> {
    told(
        Command::new("rustc").args(["--version", "--verbose"]),
        "rustc --version --verbose",
    )
}

/// A file as it is in a commit; `None` where the commit has none.
pub fn file_at(commit: &str, path: &str) -> Option<String> {
    // The path is one of the repository, wherever in it this runs.
    git(&["show", &format!("{commit}:{path}")]).ok()
}

async fn build(
    root: &Path,
    place: &Path,
    commit: &str,
    features: &[&str],
    kept: &Path,
) -> Result<(), BuildError> {
    let tree = WorkTree::add(root, &place.join("tree"), commit).await?;
    let target = place.join("target");
    seed(&root.join("target/release"), &target).await?;
    // What another tool has built into the sources and git does not hold.
    let built = Path::new("service/dashboard/dist");
    if root.join(built).is_dir() && !tree.0.join(built).is_dir() {
        copy(&root.join(built), &tree.0.join(built)).await?;
    }
    let mut command = Command::new("cargo");
    command
        .args([
            "build",
            "--locked",
            "--release",
            "-p",
            "service",
            "--bin",
            "service",
        ])
        .current_dir(&tree.0)
        .env("CARGO_TARGET_DIR", &target);
    let list: Vec<String> = features
        .iter()
        .map(|feature| format!("service/{feature}"))
        .collect();
    if !features.is_empty() {
        command.args(["--features", &list.join(",")]);
    }
    run(command, &format!("the build of {commit}")).await?;
    fs::create_dir_all(kept).map_err(write(kept))?;
    let (from, to) = (target.join("release/service"), kept.join("service"));
    let part = kept.join("service.part");
    // Whole or not at all: what is there is taken for a build.
    fs::copy(&from, &part)
        .and_then(|_| fs::rename(&part, &to))
        .map_err(write(&to))?;
    if features.is_empty() {
        count(root, &tree.0, &target, &kept.join(COUNTS)).await?;
    }
    Ok(())
}

/// Lets gungraun count the hot path. Without its tools nothing is counted, and the next gate tries again; a commit that
/// has no bench for it leaves an empty file.
async fn count(root: &Path, tree: &Path, target: &Path, counts: &Path) -> Result<(), BuildError> {
    let mut json = Vec::new();
    if tree.join("benches/benches/hot_path.rs").is_file() {
        let installed = root.join(".sluice/gungraun/bin/gungraun-runner");
        // A valgrind that was fetched is there.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::env::split_paths(&path).chain([root.join(".sluice/bin")]);
        let mut command = Command::new("cargo");
        command
            .args(["bench", "--locked", "-p", "benches", "--bench", "hot_path"])
            .args(["--", "--output-format=json"])
            .current_dir(tree)
            .env("CARGO_TARGET_DIR", target)
            .env("PATH", std::env::join_paths(paths).unwrap_or(path.clone()));
        if installed.is_file() {
            command.env("GUNGRAUN_RUNNER", installed);
        }
        let output = ended(command, "cargo bench").await?;
        if !output.status.success() {
            return Ok(());
        }
        json = output.stdout;
    }
    fs::write(counts, json).map_err(write(counts))
}

/// A work tree that is removed when it goes out of scope.
struct WorkTree(PathBuf);

impl WorkTree {
    async fn add(root: &Path, path: &Path, commit: &str) -> Result<Self, BuildError> {
        // One is left when an earlier gate was killed.
        drop(Self(path.to_path_buf()));
        let mut command = Command::new("git");
        command
            .current_dir(root)
            .args(["worktree", "add", "--detach", "--force"])
            .arg(path)
            .arg(commit);
        let tree = Self(path.to_path_buf());
        run(command, "git worktree add").await?;
        Ok(tree)
    }
}

impl Drop for WorkTree {
    fn drop(&mut self) {
        if self.0.exists() {
            // What is left is removed by the next gate.
            let _ = Command::new("git")
                .args(["worktree", "remove", "--force"])
                .arg(&self.0)
                .stderr(Stdio::null())
                .status();
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Copies what cargo has built already, so that the gate builds only what differs. Whole or not at all: cargo would take half
/// a file for what it has built.
async fn seed(from: &Path, target: &Path) -> Result<(), BuildError> {
    let to = target.join("release");
    if to.is_dir() || !from.is_dir() {
        return Ok(());
    }
    let begun = target.join("release.part");
    let _ = fs::remove_dir_all(&begun);
    for part in [".fingerprint", "build", "deps"] {
        if from.join(part).is_dir() {
            copy(&from.join(part), &begun.join(part)).await?;
        }
    }
    if begun.is_dir() {
        fs::rename(&begun, &to).map_err(write(&to))?;
    }
    Ok(())
}

async fn copy(from: &Path, to: &Path) -> Result<(), BuildError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(write(folder))?;
    }
    let mut command = Command::new("cp");
    // Times must stay, or cargo builds everything again.
    command.arg("--archive").arg(from).arg(to);
    run(command, "cp").await
}

fn write(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_path_buf();
    move |source| BuildError::Write { path, source }
}

/// A command and all that it has started, in a process group of their own. They end when nobody waits for them any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// What a command said, once it has ended.
async fn ended(mut command: Command, what: &str) -> Result<Output, BuildError> {
    let failed = |error: io::Error| BuildError::Command {
        what: what.to_owned(),
        told: error.to_string(),
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = tokio::process::Command::from(command)
        .spawn()
        .map_err(failed)?;
    let mut group = Group(child.id().map(|id| Pid::from_raw(id as i32)));
    let output = child.wait_with_output().await.map_err(failed)?;
    group.0 = None;
    Ok(output)
}

async fn run(command: Command, what: &str) -> Result<(), BuildError> {
    let output = ended(command, what).await?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim();
    let start = text
        .char_indices()
        .rev()
        .take(TOLD_MAX)
        .last()
        .map_or(0, |(at, _)| at);
    Err(BuildError::Command {
        what: what.to_owned(),
        told: text[start..].to_owned(),
    })
}

fn git(arguments: &[&str]) -> Result<String, BuildError> {
    let what = format!("git {}", arguments.join(" "));
    told(Command::new("git").args(arguments), &what)
}

/// What a command that ends by itself has printed.
fn told(command: &mut Command, what: &str) -> Result<String, BuildError> {
    let failed = |told: String| BuildError::Command {
        what: what.to_owned(),
        told,
    };
    let output = command
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(failed(told.trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_reference_that_names_no_commit_is_refused() {
        let error = Build::of("no-such-branch-anywhere", &[])
            .await
            .expect_err("no such commit");
        assert!(matches!(error, BuildError::NoCommit(_)), "{error}");
    }

    #[tokio::test]
    async fn who_does_not_wait_for_a_build_ends_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let told = folder.path().join("process");
        let mut command = Command::new("sh");
        // A child of the command, as a compiler is one of cargo.
        command.args([
            "-c",
            "sh -c 'echo $$ > told; mv told process; sleep 3600'; :",
        ]);
        command.current_dir(folder.path());
        let reading = ended(command, "sh");
        let seen = async {
            while !told.is_file() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = reading => panic!("it ended by itself"),
            () = seen => {}
        }
        let process = std::fs::read_to_string(&told).expect("its id");
        let process = Pid::from_raw(process.trim().parse().expect("a number"));
        // Gone, or dead and not collected yet by whoever took it over.
        let is_gone = || {
            let state = std::fs::read_to_string(format!("/proc/{process}/stat"));
            state.map_or(true, |state| state.contains(") Z "))
        };
        while !is_gone() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
