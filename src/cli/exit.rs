//! Exit codes, and the last line that a command prints.

use std::fmt::Display;
use std::process::ExitCode;

use super::output::{notice, print_line};

/// Reason of a failure, and exit code of a command that fails. Success is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCode {
    /// The operation failed.
    Failed = 1,
    /// The arguments or the configuration are invalid.
    Usage = 2,
    /// The target or object does not exist.
    NotFound = 3,
    /// The bytes are not the expected ones.
    Corrupt = 4,
}

impl From<FailureCode> for ExitCode {
    fn from(code: FailureCode) -> Self {
        Self::from(code as u8)
    }
}

/// Prints an error as one line on standard error.
pub fn fail(error: &impl Display, code: FailureCode) -> ExitCode {
    notice(&format_args!("millpond: {error}\n"));
    code.into()
}

/// Prints the result of a successful command on standard output.
pub fn finish_with(result: &impl Display) -> ExitCode {
    match print_line(result) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FailureCode::Failed),
    }
}
