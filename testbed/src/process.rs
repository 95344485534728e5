//! One server, a child process: started in its private folder, watched, signalled, killed when dropped.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::error::TestbedError;
use crate::{guardian, port};

/// How long a server may take to answer. Generous: a journal may have to be replayed on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often a starting or ending child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A server that may forget a SIGTERM is sent another one this long after.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How many ports are tried, and how often a restart tries its own port, before giving up.
const PORT_ATTEMPTS: usize = 10;
const LOG_TAIL_LINES: usize = 20;

/// The arguments, from the address and the private folder.
pub(crate) type Arguments = Box<dyn Fn(SocketAddr, &Path) -> Vec<OsString> + Send + Sync>;

/// How to start the child. `arguments` depends on the address, whose port is chosen late.
pub(crate) struct Launch {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Arguments,
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Whether the caller's own settings of the service stay away from the child.
    pub(crate) hides_settings: bool,
    /// Where the output goes; in the private folder when `None`.
    pub(crate) log_file: Option<PathBuf>,
    /// The loopback address it listens on.
    pub(crate) host: Ipv4Addr,
    /// A port that must be used; a free one when `None`.
    pub(crate) port: Option<u16>,
}

/// What the servers of one kind have in common.
pub trait Kind {
    /// How long an orderly end may take.
    const END_WITHIN: Duration;

    /// Whether it may forget that it was asked to end, so that it has to be asked again.
    const FORGETS_SIGTERM: bool = false;

    /// Whether the server is ready. `pid` lets it refuse an answer from another process on the same port.
    fn is_ready(address: SocketAddr, pid: u32) -> impl Future<Output = bool> + Send;
}

/// A server of the kind `K` on a port of the loopback interface. Dropping it kills it and removes its temporary folder.
pub struct Server<K> {
    launch: Launch,
    port: u16,
    log_file: PathBuf,
    /// `None` once its end has been seen.
    child: Option<Child>,
    // Dropped after `drop` has killed the child, so nothing writes to it any more.
    folder: TempDir,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Server<K> {
    /// Starts the child and waits until it is ready.
    pub(crate) async fn launch(launch: Launch) -> Result<Self, TestbedError> {
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
            kind: PhantomData,
        };
        let mut attempt = 1;
        loop {
            process.port = match process.launch.port {
                Some(port) => port,
                None => port::free(process.launch.host)?,
            };
            match process.spawn_until_ready().await {
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

    /// Starts it again, on the same port and data, and waits until it is ready. Kills it first when it runs.
    ///
    /// # Errors
    /// Fails with its last lines when it ends or does not become ready.
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        self.kill();
        let mut attempt = 1;
        loop {
            match self.spawn_until_ready().await {
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

    async fn spawn_until_ready(&mut self) -> Result<(), TestbedError> {
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
        command
            .args((self.launch.arguments)(self.address(), self.folder.path()))
            // The guardian knows its charges by their working folder.
            .current_dir(self.folder.path())
            // Ctrl-C is for this process alone, which then stops its servers in order.
            .process_group(0)
            .envs(self.launch.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.0)
            .stderr(output.1);
        let child = spawn(&mut command).map_err(TestbedError::io(format!(
            "start {name} ({})",
            self.launch.program.display()
        )))?;
        let pid = child.id();
        self.child = Some(child);

        let begun = Instant::now();
        loop {
            // The child is looked at after the answer: an answer counts only while it lives.
            let ready = K::is_ready(self.address(), pid).await;
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

    /// The address it listens on; the same after a restart.
    pub fn address(&self) -> SocketAddr {
        (self.launch.host, self.port).into()
    }

    /// The port it listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id; 0 while it is not running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// The environment of the next start.
    pub(crate) fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.launch.environment = pairs(environment);
    }

    /// All it has written to its output, over all restarts.
    pub fn log(&self) -> String {
        self.log_from(0)
    }

    fn log_from(&self, start: u64) -> String {
        let bytes = fs::read(&self.log_file).unwrap_or_default();
        let start = bytes.len().min(start as usize);
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }

    /// Sends a signal, for example SIGSTOP and SIGCONT for a server that hangs.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn signal(&self, signal: Signal) -> Result<(), TestbedError> {
        let name = self.launch.name;
        let child = self.child.as_ref().ok_or(TestbedError::NotRunning(name))?;
        // The child has not been waited for, so the id is still its own.
        kill(Pid::from_raw(child.id() as i32), signal).map_err(|errno| TestbedError::Io {
            action: format!("send {signal} to {name}"),
            source: errno.into(),
        })
    }

    /// Kills it with SIGKILL and waits for its end; nothing when it has ended already. The data stays.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// How it ended, when it has ended by itself since it was started.
    ///
    /// # Errors
    /// Fails when its end has been seen already.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, TestbedError> {
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

    /// Waits until it ends by itself, for example at a failpoint, or when its disk fails.
    ///
    /// # Errors
    /// Fails when it is not running or does not end in time; it runs on then.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus, TestbedError> {
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

    /// Asks it to end in order (SIGTERM), and waits for its end.
    ///
    /// # Errors
    /// Fails when it is not running or does not end in time; it runs on then.
    pub async fn terminate(&mut self) -> Result<ExitStatus, TestbedError> {
        self.signal(Signal::SIGTERM)?;
        let begun = Instant::now();
        while K::FORGETS_SIGTERM && begun.elapsed() < K::END_WITHIN {
            match self.wait(ASK_AGAIN_AFTER).await {
                Err(TestbedError::NotEnded { .. }) => self.signal(Signal::SIGTERM)?,
                ended => return ended,
            }
        }
        self.wait(K::END_WITHIN).await
    }

    /// Ends it in order, and removes its temporary folder.
    ///
    /// # Errors
    /// As [`Server::terminate`]; it is killed then.
    pub async fn stop(mut self) -> Result<(), TestbedError> {
        self.terminate().await.map(drop)
    }
}

impl<K> Drop for Server<K> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Starts a child. It takes over the signals that this thread blocks, and a server that never hears its SIGTERM does not end.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let blocked = SigSet::thread_get_mask()?;
    SigSet::empty().thread_set_mask()?;
    let child = command.spawn();
    blocked.thread_set_mask()?;
    child
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        // Both fail only when the child has already been waited for, which would have emptied the option.
        let _ = child.kill();
        let _ = child.wait();
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
    let name = variable.as_encoded_bytes();
    name.starts_with(b"SLUICE_") || name.starts_with(b"OTEL_") || variable == "FAILPOINTS"
}

/// Whether a port was taken by somebody else, so that another one may do.
pub(crate) fn was_taken(error: &TestbedError) -> bool {
    match error {
        TestbedError::EarlyExit { log, .. } => port_was_taken(log),
        TestbedError::Io { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
        _ => false,
    }
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
