//! Builds the service of a commit, in a work tree of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    /// Builds `reference` with the service's `features`, or takes the build that was kept.
    ///
    /// # Errors
    /// When there is no such commit or it does not build.
    pub fn of(reference: &str, features: &[&str]) -> Result<Self, BuildError> {
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
            build(&root, &place, &commit, features, &kept)?;
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
    let failed = |told: String| BuildError::Command {
        what: "rustc --version --verbose".to_owned(),
        told,
    };
    let output = Command::new("rustc")
        .args(["--version", "--verbose"])
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let digest = crate::provenance::sha256(&output.stdout);
    Ok(digest.chars().take(12).collect())
}

fn build(
    root: &Path,
    place: &Path,
    commit: &str,
    features: &[&str],
    kept: &Path,
) -> Result<(), BuildError> {
    let tree = WorkTree::add(root, &place.join("tree"), commit)?;
    let target = place.join("target");
    seed(&root.join("target/release"), &target.join("release"))?;
    // What another tool has built into the sources and git does not hold.
    let built = Path::new("service/dashboard/dist");
    if root.join(built).is_dir() && !tree.0.join(built).is_dir() {
        copy(&root.join(built), &tree.0.join(built))?;
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
    run(command, &format!("the build of {commit}"))?;
    fs::create_dir_all(kept).map_err(write(kept))?;
    let (from, to) = (target.join("release/service"), kept.join("service"));
    fs::copy(&from, &to).map_err(write(&to))?;
    if features.is_empty() {
        count(root, &tree.0, &target, &kept.join(COUNTS))?;
    }
    Ok(())
}

/// Lets gungraun count the hot path. Without its tools nothing is counted, and the next gate tries again; a commit that
/// has no bench for it leaves an empty file.
fn count(root: &Path, tree: &Path, target: &Path, counts: &Path) -> Result<(), BuildError> {
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
        let output = command.output().map_err(|error| BuildError::Command {
            what: "cargo bench".to_owned(),
            told: error.to_string(),
        })?;
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
    fn add(root: &Path, path: &Path, commit: &str) -> Result<Self, BuildError> {
        // One is left when an earlier gate was killed.
        drop(Self(path.to_path_buf()));
        let mut command = Command::new("git");
        command
            .current_dir(root)
            .args(["worktree", "add", "--detach", "--force"])
            .arg(path)
            .arg(commit);
        run(command, "git worktree add")?;
        Ok(Self(path.to_path_buf()))
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

/// Copies what cargo has built already, so that the gate builds only what differs.
fn seed(from: &Path, to: &Path) -> Result<(), BuildError> {
    if to.is_dir() || !from.is_dir() {
        return Ok(());
    }
    for part in [".fingerprint", "build", "deps"] {
        if from.join(part).is_dir() {
            copy(&from.join(part), &to.join(part))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), BuildError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(write(folder))?;
    }
    let mut command = Command::new("cp");
    // Times must stay, or cargo builds everything again.
    command.arg("--archive").arg(from).arg(to);
    run(command, "cp")
}

fn write(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_path_buf();
    move |source| BuildError::Write { path, source }
}

fn run(mut command: Command, what: &str) -> Result<(), BuildError> {
    let failed = |told: String| BuildError::Command {
        what: what.to_owned(),
        told,
    };
    let output = command
        .output()
        .map_err(|error| failed(error.to_string()))?;
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
    Err(failed(text[start..].to_owned()))
}

fn git(arguments: &[&str]) -> Result<String, BuildError> {
    let what = || format!("git {}", arguments.join(" "));
    let output = Command::new("git")
        .args(arguments)
        .output()
        .map_err(|error| BuildError::Command {
            what: what(),
            told: error.to_string(),
        })?;
    if !output.status.success() {
        return Err(BuildError::Command {
            what: what(),
            told: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_that_names_no_commit_is_refused() {
        let error = Build::of("no-such-branch-anywhere", &[]).expect_err("no such commit");
        assert!(matches!(error, BuildError::NoCommit(_)), "{error}");
    }
}
