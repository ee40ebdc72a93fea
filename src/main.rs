//! The binary: reads its arguments and leaves the rest to the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    millpond::cli::run()
}
