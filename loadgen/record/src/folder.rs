//! A run's own folder, and the names that are made of when it began.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A file or folder of a run cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {}; name another place for it", path.display(), in_words(error))]
pub struct Unwritable {
    /// The file or folder.
    pub path: PathBuf,
    /// Why not.
    pub error: io::Error,
}

/// Why a file cannot be written, in words.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "its folder is not there".to_owned(),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file stands where its folder should be".to_owned()
        }
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::PermissionDenied => "the permissions there forbid it".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        io::ErrorKind::FileTooLarge => "it is larger than the system allows (ulimit -f)".to_owned(),
        _ => error.to_string(),
    }
}

/// Makes the run's own folder, which shows early that it can be written.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(
    reports: &Path,
    name: &str,
    started: OffsetDateTime,
) -> Result<PathBuf, Unwritable> {
    let runs = reports.join("runs");
    let unwritable = |error| Unwritable {
        path: runs.clone(),
        error,
    };
    std::fs::create_dir_all(&runs).map_err(unwritable)?;
    let time = started
        .format(format_description!(
            "[year][month][day]T[hour][minute][second]Z"
        ))
        .expect("the format has only fields that every date has");
    let mut folder = runs.join(format!("{time}-{name}"));
    let mut again = 2u32;
    loop {
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                folder = runs.join(format!("{time}-{name}-{again}"));
                again += 1;
            }
            Err(error) => return Err(unwritable(error)),
        }
    }
}

/// Whether a file may be written at `path`, as far as it is seen without writing it.
///
/// # Errors
/// When its folder is not there, or `path` is one.
pub fn has_room_for(path: &Path) -> Result<(), Unwritable> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let seen = Path::new(".").join(folder).read_dir().and_then(|_| {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        match std::fs::OpenOptions::new().append(true).open(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    });
    seen.map_err(|error| Unwritable {
        path: path.to_path_buf(),
        error,
    })
}

/// Writes the whole file or none of it: what cannot be finished is taken away again. Of several who write the same file at once
/// each writes its own beside it, and the last one stays.
///
/// # Errors
/// When it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}-{number}.part", std::process::id()));
    let part = path.with_file_name(name);
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::rename(&part, path))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&part);
        })
}

/// The most bytes of a result that is read whole.
pub const RESULT_BYTES_MAX: u64 = 64 << 20;

/// Opens a file to read it. What is none is refused: a pipe would be waited for, and a device has no end.
///
/// # Errors
/// When it cannot be opened, or is no file.
pub fn open(path: &Path) -> io::Result<File> {
    // Before it is opened, which is where a pipe makes wait. A folder says by itself what it is.
    let found = path.metadata()?;
    if !found.is_file() && !found.is_dir() {
        return Err(io::Error::other("it is no file"));
    }
    File::open(path)
}

/// The whole file at `path`, which has at most `bytes_max`.
///
/// # Errors
/// When it cannot be read, is no file, or is longer.
pub fn read_whole(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let longer = format!("it is longer than {} MiB", bytes_max >> 20);
        return Err(io::Error::other(longer));
    }
    Ok(bytes)
}

/// In the form of RFC 3339.
pub fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339)
        .expect("a date of this century has an RFC 3339 form")
}

/// Starts the ids of a run of several generators.
pub fn shared_tag(run_id: &str) -> String {
    format!("GC-{run_id}")
}

/// Starts the ids of a run: its start in microseconds, so that two runs never share an id.
pub fn run_tag(started: OffsetDateTime) -> String {
    format!("GC-{:x}", started.unix_timestamp_nanos() / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("file");
        write_whole(&path, b"one").expect("it is written");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"one");
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).expect("a folder");
        let error = write_whole(&taken, b"two").expect_err("a folder stands there");
        assert_eq!(in_words(&error), "it is a folder");
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .expect("the folder")
            .map(|file| file.expect("a file").file_name())
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn only_a_file_is_read_and_not_without_an_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 1 << 20]).expect("it is written");
        let words = |path: &Path| {
            let read = read_whole(path, 1 << 20).map(|bytes| bytes.len());
            read.map_err(|error| error.to_string())
        };
        assert_eq!(words(&path), Ok(1 << 20));
        std::fs::write(&path, vec![7; (1 << 20) + 1]).expect("it is written");
        assert_eq!(words(&path), Err("it is longer than 1 MiB".to_owned()));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).expect("a link");
        assert_eq!(words(&link), Err("it is no file".to_owned()));
    }
}
