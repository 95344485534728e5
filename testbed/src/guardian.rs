//! Nothing is left behind, however this process ends: return, panic, Ctrl-C or SIGKILL.
//!
//! All servers of one testbed process have their working folders under one root folder. The guardian is a small shell,
//! in a process group of its own, that reads from a pipe whose other end only this process holds. The end of the pipe
//! means that this process is gone. The guardian then kills whatever still works under the root, and removes the root.
//!
//! Looking for working folders, not for registered process ids, leaves no moment at which a started server is
//! unknown, catches what the servers started themselves, and cannot hit a stranger that was given an old id.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::error::TestbedError;

/// Two clean looks in a row, since a child may have been between fork and chdir at the first.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
clean=0
while [ "$clean" -lt 2 ]; do
    processes=$(find /proc -mindepth 2 -maxdepth 2 -name cwd \( -lname "$1" -o -lname "$1/*" \) 2>/dev/null | cut -d/ -f3)
    if [ -n "$processes" ]; then
        kill -KILL $processes 2>/dev/null
        clean=0
    else
        clean=$((clean + 1))
    fi
    sleep 0.05
done
rm -rf -- "$1"
"#;

struct Guardian {
    root: PathBuf,
    /// Never written to. The kernel closes it when this process ends.
    _pipe: ChildStdin,
}

static GUARDIAN: Mutex<Option<Guardian>> = Mutex::new(None);

impl Guardian {
    fn start() -> Result<Self, TestbedError> {
        let root = tempfile::Builder::new()
            .prefix("sluice-testbed-")
            .tempdir()
            .map_err(TestbedError::io("make a temporary folder"))?;
        // The guardian compares with what the kernel reports, which has no symbolic links.
        let path = fs::canonicalize(root.path())
            .map_err(TestbedError::io("resolve the temporary folder"))?;
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "testbed-guardian"])
            .arg(&path)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(TestbedError::io("start the guardian, /bin/sh"))?;
        let pipe = shell.stdin.take().expect("stdin was asked to be piped");
        // From here on the guardian removes the folder.
        let _ = root.keep();
        Ok(Self {
            root: path,
            _pipe: pipe,
        })
    }
}

/// A new private folder for one server. Whatever has it as working folder ends with this process.
pub(crate) fn folder(server: &str) -> Result<TempDir, TestbedError> {
    let mut guardian = GUARDIAN.lock().unwrap_or_else(PoisonError::into_inner);
    if guardian.is_none() {
        *guardian = Some(Guardian::start()?);
    }
    let root = &guardian.as_ref().expect("started above").root;
    tempfile::Builder::new()
        .prefix(&format!("{server}-"))
        .tempdir_in(root)
        .map_err(TestbedError::io(format!(
            "make a folder for {server} in {}",
            root.display()
        )))
}
