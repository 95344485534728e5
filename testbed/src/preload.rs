//! Small C libraries that are preloaded into a server and stand before a few system calls.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::TestbedError;

/// The C compilers that are tried. Rust needs one of them to link, so one is there.
const COMPILERS: [&str; 3] = ["cc", "gcc", "clang"];

/// Compiles a library into `folder`. Answers its path, for `LD_PRELOAD`.
///
/// # Errors
/// When there is no C compiler, or it refuses.
pub(crate) fn compile(name: &str, code: &str, folder: &Path) -> Result<PathBuf, TestbedError> {
    let source = folder.join(format!("{name}.c"));
    let library = folder.join(format!("{name}.so"));
    fs::write(&source, code).map_err(TestbedError::io(format!("write {}", source.display())))?;
    for compiler in COMPILERS {
        let made = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl")
            .output();
        match made {
            Ok(output) if output.status.success() => return Ok(library),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(TestbedError::Compiler {
                    name: name.into(),
                    said,
                });
            }
            Err(_) => {}
        }
    }
    Err(TestbedError::NoCompiler)
}
