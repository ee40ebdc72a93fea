//! Exit codes, and the last line that a command prints.
//!
//! The main type is [`FailureCode`].

use std::fmt::Display;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::{OutputForm, notice, print_line};

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

impl FailureCode {
    /// Returns the word for the failure in JSON.
    fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Corrupt => "mismatch",
        }
    }
}

impl From<FailureCode> for ExitCode {
    fn from(code: FailureCode) -> Self {
        Self::from(code as u8)
    }
}

/// Returns the JSON document of an error, the same for all commands.
pub fn error_document(error: &impl Display, code: FailureCode) -> Value {
    json!({
        "error": {
            "code": code.word(),
            "exit_code": code as u8,
            "message": error.to_string(),
        },
    })
}

impl OutputForm {
    /// Reports an error: as one line on standard error, or as a document on standard output.
    pub fn fail(self, error: &impl Display, code: FailureCode) -> ExitCode {
        match self {
            Self::Text => notice(&format_args!("millpond: {error}\n")),
            Self::Json => {
                if let Err(unwritable) = print_line(&error_document(error, code)) {
                    notice(&format_args!("millpond: {unwritable}\n"));
                }
            }
        }
        code.into()
    }

    /// Prints the result of a successful command on standard output.
    pub fn finish(self, text: &impl Display, document: impl FnOnce() -> Value) -> ExitCode {
        let printed = match self {
            Self::Text => print_line(text),
            Self::Json => print_line(&document()),
        };
        match printed {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => Self::fail_to_print(&error),
        }
    }

    /// Reports that standard output cannot be written. No document can be printed either.
    pub fn fail_to_print(error: &std::io::Error) -> ExitCode {
        Self::Text.fail(error, FailureCode::Failed)
    }
}
