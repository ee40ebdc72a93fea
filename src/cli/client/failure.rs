//! Failure of a command that uses a gateway. The main type is [`Failure`].

use std::process::ExitCode;

use reqwest::StatusCode;

use crate::cli::exit::{FailureCode, error_document};
use crate::cli::output::{OutputForm, notice, print_line};
use crate::model::root_cause;

/// Failure of a command.
#[derive(Debug)]
pub struct Failure {
    pub code: FailureCode,
    /// Text for standard error. Empty if only the exit code reports the failure.
    pub text: String,
    /// Error status of the gateway. `None` if it has not answered.
    pub status: Option<StatusCode>,
}

impl Failure {
    pub fn new(code: FailureCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            status: None,
        }
    }

    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(FailureCode::Failed, text)
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(FailureCode::Usage, text)
    }

    /// Returns a failure that was reported already.
    pub fn silent(code: FailureCode) -> Self {
        Self::new(code, "")
    }

    /// Returns the failure that an error status and the first line of its body describe.
    pub fn from_status(status: StatusCode, line: &str) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => FailureCode::NotFound,
            StatusCode::CONFLICT => FailureCode::Corrupt,
            _ => FailureCode::Failed,
        };
        let text = if line.is_empty() {
            status.to_string()
        } else {
            line.to_owned()
        };
        Self {
            status: Some(status),
            ..Self::new(code, text)
        }
    }

    /// Reports the failure, and returns its exit code.
    pub fn report(&self, form: OutputForm) -> ExitCode {
        if self.text.is_empty() {
            self.code.into()
        } else {
            form.fail(&self.text, self.code)
        }
    }

    /// Reports the failure of one of several items: `name` is its URL or file.
    pub fn report_item(&self, form: OutputForm, kind: &str, name: &str) {
        if self.text.is_empty() {
            return;
        }
        match form {
            OutputForm::Text => notice(&format_args!("millpond: {name}: {}\n", self.text)),
            OutputForm::Json => {
                let mut document = error_document(&self.text, self.code);
                document[kind] = name.into();
                if let Err(unwritable) = print_line(&document) {
                    notice(&format_args!("millpond: {unwritable}\n"));
                }
            }
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let gateway = error.url().map(|url| url.origin().ascii_serialization());
        let gateway = gateway.filter(|_| error.is_connect());
        let cause = root_cause(&error.without_url());
        Self::failed(match gateway {
            Some(gateway) => format!(
                "cannot connect to the gateway {gateway}: {cause}; check --gateway and MILLPOND_URL"
            ),
            None => cause,
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // The reader of standard output has closed the pipe, and needs no message.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::silent(FailureCode::Failed)
        } else {
            Self::failed(error.to_string())
        }
    }
}
