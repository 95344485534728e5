//! Files that the settings name: read whole, within a bound, and never waited for.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// What a file holds, of at most `len_max` bytes.
///
/// # Errors
/// What is wrong with it, in words that name it. What is no file is refused before it is opened: a pipe may never end, and
/// whoever reads it again later would wait for good.
pub(crate) fn read(file: &Path, len_max: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("{} cannot be read: {error}", file.display());
    let about = std::fs::metadata(file).map_err(unreadable)?;
    if !about.is_file() {
        let what = if about.is_dir() {
            "a folder"
        } else {
            "no file"
        };
        return Err(format!(
            "{} is {what}: name a file that can be read again",
            file.display()
        ));
    }
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|open| open.take(len_max + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > len_max {
        return Err(format!("{} is longer than {len_max} bytes", file.display()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_within_the_bound_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5), Ok(b"12345".to_vec()));
        for (path, len_max, words) in [
            (&*file, 4, "longer than 4 bytes"),
            (folder.path(), 9, "is a folder"),
            (Path::new("/dev/zero"), 9, "is no file"),
            (&folder.path().join("b"), 9, "cannot be read"),
        ] {
            let why = read(path, len_max).unwrap_err();
            assert!(
                why.contains(words) && why.contains(&*path.to_string_lossy()),
                "{why}"
            );
        }
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert!(read(&pipe, 9).unwrap_err().contains("is no file"));
    }
}
