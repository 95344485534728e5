//! What the measurements share.

use std::io::{self, BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

/// A running floor server, the bare one to compare with. It ends when it goes out of scope.
#[derive(Debug)]
pub struct Floor {
    child: Child,
    url: String,
}

impl Floor {
    /// Starts the `floor` that was built beside this program, on a free port of the loopback interface.
    ///
    /// # Errors
    /// When it is not there, or does not say where it listens.
    pub fn start() -> io::Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("floor");
        let child = Command::new(&binary)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", binary.display()))
            })?;
        let mut floor = Self {
            child,
            url: String::new(),
        };
        let stdout = floor.child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut floor.url)?;
        floor.url.truncate(floor.url.trim_end().len());
        Ok(floor)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints a line of the result.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
