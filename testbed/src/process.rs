//! One child process: started in its private folder, watched, signalled, killed when dropped.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::error::TestbedError;
use crate::{guardian, port};

/// How long a server may take to answer. Generous: a journal may have to be replayed on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often a starting or ending child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How many ports are tried, and how often a restart tries its own port, before giving up.
const PORT_ATTEMPTS: usize = 10;
const LOG_TAIL_LINES: usize = 20;

/// The arguments, from the port and the private folder.
pub(crate) type Arguments = Box<dyn Fn(u16, &Path) -> Vec<OsString> + Send + Sync>;

/// How to start the child. `arguments` depends on the port, which is chosen late.
pub(crate) struct Launch {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Arguments,
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Whether the caller's own settings of the service stay away from the child.
    pub(crate) hides_settings: bool,
    /// Where the output goes; in the private folder when `None`.
    pub(crate) log_file: Option<PathBuf>,
    /// A port that must be used; a free one when `None`.
    pub(crate) port: Option<u16>,
}

/// Asks the server whether it is ready. `pid` lets it refuse an answer from another process on the same port.
pub(crate) trait Readiness {
    async fn is_ready(&self, port: u16, pid: u32) -> bool;
}

pub(crate) struct Process {
    launch: Launch,
    port: u16,
    log_file: PathBuf,
    /// `None` once its end has been seen.
    child: Option<Child>,
    // Dropped after `drop` has killed the child, so nothing writes to it any more.
    folder: TempDir,
}

impl Process {
    /// Starts the child and waits until it is ready.
    pub(crate) async fn start(
        launch: Launch,
        readiness: &impl Readiness,
    ) -> Result<Self, TestbedError> {
        let folder = guardian::folder(launch.name)?;
        let log_file = launch
            .log_file
            .clone()
            .unwrap_or_else(|| folder.path().join("log"));
        File::create(&log_file)
            .map_err(TestbedError::io(format!("write to {}", log_file.display())))?;
        let mut process = Self {
            port: 0,
            log_file,
            child: None,
            folder,
            launch,
        };
        let mut attempt = 1;
        loop {
            process.port = match process.launch.port {
                Some(port) => port,
                None => port::free()?,
            };
            match process.spawn_until_ready(readiness).await {
                Err(TestbedError::EarlyExit { log, .. })
                    if process.launch.port.is_none()
                        && attempt < PORT_ATTEMPTS
                        && port_was_taken(&log) =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(process),
            }
        }
    }

    /// Starts the child again, with the same port and folder, after it has ended or by killing it now.
    pub(crate) async fn restart(&mut self, readiness: &impl Readiness) -> Result<(), TestbedError> {
        self.kill();
        let mut attempt = 1;
        loop {
            match self.spawn_until_ready(readiness).await {
                Err(TestbedError::EarlyExit { log, .. })
                    if attempt < PORT_ATTEMPTS && port_was_taken(&log) =>
                {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                other => return other,
            }
        }
    }

    async fn spawn_until_ready(&mut self, readiness: &impl Readiness) -> Result<(), TestbedError> {
        let name = self.launch.name;
        let log_start = fs::metadata(&self.log_file).map_or(0, |data| data.len());
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log_file)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(TestbedError::io(format!(
                "write to {}",
                self.log_file.display()
            )))?;
        let mut command = Command::new(&self.launch.program);
        if self.launch.hides_settings {
            env::vars_os()
                .map(|(variable, _)| variable)
                .filter(|variable| is_setting(variable))
                .for_each(|variable| {
                    command.env_remove(variable);
                });
        }
        let child = command
            .args((self.launch.arguments)(self.port, self.folder.path()))
            // The guardian knows its charges by their working folder.
            .current_dir(self.folder.path())
            // Ctrl-C is for this process alone, which then stops its servers in order.
            .process_group(0)
            .envs(self.launch.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.0)
            .stderr(output.1)
            .spawn()
            .map_err(TestbedError::io(format!(
                "start {name} ({})",
                self.launch.program.display()
            )))?;
        let pid = child.id();
        self.child = Some(child);

        let begun = Instant::now();
        loop {
            // The child is looked at after the answer: an answer counts only while it lives.
            let ready = readiness.is_ready(self.port, pid).await;
            if let Some(status) = self.try_wait()? {
                let log = tail(&self.log_from(log_start));
                return Err(TestbedError::EarlyExit { name, status, log });
            }
            if ready {
                return Ok(());
            }
            if begun.elapsed() > READY_WITHIN {
                self.kill();
                return Err(TestbedError::NotReady {
                    name,
                    waited: READY_WITHIN,
                    log: tail(&self.log_from(log_start)),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The running child's id; `None` once its end has been seen.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn launch_mut(&mut self) -> &mut Launch {
        &mut self.launch
    }

    pub(crate) fn log(&self) -> String {
        self.log_from(0)
    }

    fn log_from(&self, start: u64) -> String {
        let bytes = fs::read(&self.log_file).unwrap_or_default();
        let start = bytes.len().min(start as usize);
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), TestbedError> {
        let name = self.launch.name;
        let pid = self.pid().ok_or(TestbedError::NotRunning(name))?;
        // The child has not been waited for, so the id is still its own.
        kill(Pid::from_raw(pid as i32), signal).map_err(|errno| TestbedError::Io {
            action: format!("send {signal} to {name}"),
            source: errno.into(),
        })
    }

    /// Kills the child and waits for its end; nothing when it has ended already.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when the child has already been waited for, which would have emptied `self.child`.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// How the child ended, if it has.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>, TestbedError> {
        let name = self.launch.name;
        let child = self.child.as_mut().ok_or(TestbedError::NotRunning(name))?;
        let status = child
            .try_wait()
            .map_err(TestbedError::io(format!("wait for {name}")))?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Waits for the child's end.
    pub(crate) async fn wait(&mut self, within: Duration) -> Result<ExitStatus, TestbedError> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > within {
                return Err(TestbedError::NotEnded {
                    name: self.launch.name,
                    waited: within,
                    log: tail(&self.log()),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks the child to end, and waits for it.
    pub(crate) async fn terminate(&mut self, within: Duration) -> Result<ExitStatus, TestbedError> {
        self.signal(Signal::SIGTERM)?;
        self.wait(within).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Environment in the system's own strings.
pub(crate) fn pairs(environment: Vec<(String, String)>) -> Vec<(OsString, OsString)> {
    environment
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn is_setting(variable: &OsStr) -> bool {
    variable.as_encoded_bytes().starts_with(b"SLUICE_") || variable == "FAILPOINTS"
}

fn port_was_taken(log: &str) -> bool {
    let log = log.to_ascii_lowercase();
    log.contains("address already in use") || log.contains("addrinuse")
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::{port_was_taken, tail};

    #[test]
    fn tail_keeps_the_last_lines() {
        let lines: Vec<String> = (0..100).map(|line| format!("line {line}")).collect();
        let log = lines.join("\n");
        assert!(tail(&log).starts_with("line 80\n"));
        assert!(tail(&log).ends_with("line 99"));
        assert_eq!(tail(""), "");
    }

    #[test]
    fn a_taken_port_is_told_from_other_failures() {
        assert!(port_was_taken("bind: Address already in use"));
        assert!(!port_was_taken("bind: Permission denied"));
    }
}
