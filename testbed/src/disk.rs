//! A disk that is slow, full or broken, for one server.
//!
//! A small library, `disk.c`, is compiled with the system's C compiler when it is first needed, and preloaded into the
//! server. It stands before the calls that write and flush a log. A file that both map says what to do, and counts it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use tempfile::TempDir;

use crate::error::TestbedError;
use crate::{guardian, preload};

const SOURCE: &str = include_str!("disk.c");
/// The length of `struct control` and where its fields are.
const CONTROL_LEN: u64 = 40;
const SYNC_DELAY_AT: u64 = 0;
const SYNC_ERRNO_AT: u64 = 4;
const WRITE_ERRNO_AT: u64 = 8;
const SYNCS_AT: u64 = 16;
const DELAYED_AT: u64 = 24;
const FAILED_AT: u64 = 32;

/// The disk of one server, whole and fast until told otherwise.
pub struct Disk {
    control: File,
    control_path: PathBuf,
    library: PathBuf,
    _folder: TempDir,
}

/// What a disk has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Flushes of any file.
    pub syncs: u64,
    /// Flushes that were delayed.
    pub delayed: u64,
    /// Flushes and writes that failed.
    pub failed: u64,
}

impl Disk {
    /// Compiles the library and makes the file that steers it.
    ///
    /// # Errors
    /// When there is no C compiler, or it refuses.
    pub fn new() -> Result<Self, TestbedError> {
        let folder = guardian::folder("disk")?;
        let library = preload::compile("disk", SOURCE, folder.path())?;
        let control_path = folder.path().join("control");
        fs::write(&control_path, [0; CONTROL_LEN as usize]).map_err(TestbedError::io(format!(
            "write {}",
            control_path.display()
        )))?;
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&control_path)
            .map_err(TestbedError::io(format!("open {}", control_path.display())))?;
        Ok(Self {
            control,
            control_path,
            library,
            _folder: folder,
        })
    }

    /// The environment under which a server uses this disk.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        vec![
            ("LD_PRELOAD".into(), text(&self.library)),
            ("TESTBED_DISK".into(), text(&self.control_path)),
        ]
    }

    /// Each flush of a log takes `delay` longer from now on.
    ///
    /// # Errors
    /// When the file that steers the disk cannot be written.
    pub fn slow(&self, delay: Duration) -> Result<(), TestbedError> {
        self.set(SYNC_DELAY_AT, delay.as_millis() as u32)
    }

    /// Each flush of a log fails with an I/O error from now on.
    ///
    /// # Errors
    /// As [`Disk::slow`].
    pub fn break_syncs(&self) -> Result<(), TestbedError> {
        self.set(SYNC_ERRNO_AT, Errno::EIO as u32)
    }

    /// Each write to a log fails from now on, since no space is left.
    ///
    /// # Errors
    /// As [`Disk::slow`].
    pub fn fill(&self) -> Result<(), TestbedError> {
        self.set(WRITE_ERRNO_AT, Errno::ENOSPC as u32)
    }

    /// Whole and fast again.
    ///
    /// # Errors
    /// As [`Disk::slow`].
    pub fn heal(&self) -> Result<(), TestbedError> {
        self.set(SYNC_DELAY_AT, 0)?;
        self.set(SYNC_ERRNO_AT, 0)?;
        self.set(WRITE_ERRNO_AT, 0)
    }

    /// What it has done so far.
    pub fn counts(&self) -> DiskCounts {
        let count = |at| {
            let mut bytes = [0; 8];
            // A count that cannot be read proves nothing, which is what zero says.
            let _ = self.control.read_exact_at(&mut bytes, at);
            u64::from_ne_bytes(bytes)
        };
        DiskCounts {
            syncs: count(SYNCS_AT),
            delayed: count(DELAYED_AT),
            failed: count(FAILED_AT),
        }
    }

    fn set(&self, at: u64, value: u32) -> Result<(), TestbedError> {
        self.control
            .write_all_at(&value.to_ne_bytes(), at)
            .map_err(TestbedError::io("steer a disk"))
    }
}
