//! The load generator. Its commands stand in `command_line.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadgen::command_line::main()
}
