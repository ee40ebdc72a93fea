//! The binary. It only calls the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    millpond::cli::run()
}
