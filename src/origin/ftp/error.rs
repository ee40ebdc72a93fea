//! What went wrong in a conversation, and what it means.

use std::future::Future;
use std::io;
use std::time::Duration;

use suppaftp::{FtpError, FtpResult, ReplyTooLarge};
use tokio::time::timeout;

use crate::dial::DialError;
use crate::origin::OriginError;

/// Why a command has come to nothing. No reply's text is kept: it may repeat what was sent.
#[derive(Debug)]
pub enum FtpCommandError {
    /// The server's reply to the command, one of 400 to 599.
    Refused(u16),
    /// A reply that is none. What comes behind it may belong to another command.
    Unreadable,
    /// The server cannot send a file from its middle.
    NoRestart,
    Failed(OriginError),
}

/// Runs a command; none may take longer than `patience`.
pub async fn with_timeout<T>(
    patience: Duration,
    command: impl Future<Output = FtpResult<T>>,
) -> Result<T, FtpCommandError> {
    match timeout(patience, command).await {
        Ok(done) => done.map_err(FtpCommandError::from),
        Err(_) => Err(FtpCommandError::Failed(OriginError::Unreachable(
            "the origin did not answer in time".to_owned(),
        ))),
    }
}

impl FtpCommandError {
    /// The server does not know the command, or not in this form.
    pub fn is_unknown_command(&self) -> bool {
        matches!(self, Self::Refused(500..=504 | 522 | 554))
    }
}

impl From<FtpError> for FtpCommandError {
    fn from(error: FtpError) -> Self {
        match error {
            FtpError::UnexpectedResponse(response) => {
                let code = response
                    .body
                    .get(..3)
                    .and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
                match code {
                    Some(code @ 400..=599) => Self::Refused(code),
                    Some(120) => Self::Failed(OriginError::Unreachable(
                        "the origin is not ready yet".to_owned(),
                    )),
                    _ => Self::Unreadable,
                }
            }
            FtpError::ConnectionError(error) => Self::Failed(of_connection(&error)),
            FtpError::SecureError(why) => {
                let why = why.trim_start_matches("Secure error: ");
                Self::Failed(OriginError::TlsFailure(why.to_owned()))
            }
            FtpError::BadResponse
            | FtpError::InvalidAddress(_)
            | FtpError::DataConnectionAlreadyOpen => Self::Unreadable,
        }
    }
}

fn of_connection(error: &io::Error) -> OriginError {
    let inner = error.get_ref();
    if let Some(dial) = inner.and_then(|inner| inner.downcast_ref::<DialError>()) {
        return dial.clone().into();
    }
    if let Some(wrong) = inner.and_then(|inner| inner.downcast_ref::<OriginError>()) {
        return wrong.clone();
    }
    if inner
        .and_then(|inner| inner.downcast_ref::<ReplyTooLarge>())
        .is_some()
    {
        return OriginError::InvalidResponse("the origin's answer has no end".to_owned());
    }
    OriginError::Unreachable(format!("the origin broke off: {}", error.kind()))
}

impl From<OriginError> for FtpCommandError {
    fn from(error: OriginError) -> Self {
        Self::Failed(error)
    }
}

impl From<FtpCommandError> for OriginError {
    fn from(trouble: FtpCommandError) -> Self {
        match trouble {
            FtpCommandError::Failed(error) => error,
            FtpCommandError::Unreadable => {
                Self::InvalidResponse("the origin's answer is no FTP".to_owned())
            }
            FtpCommandError::NoRestart => {
                Self::InvalidResponse("the origin sends no file from its middle".to_owned())
            }
            FtpCommandError::Refused(code @ 400..=499) => {
                Self::Unreachable(format!("the origin cannot do it now: it says {code}"))
            }
            FtpCommandError::Refused(530 | 532) => {
                Self::InvalidResponse("the origin refuses the login".to_owned())
            }
            FtpCommandError::Refused(550 | 551 | 553) => Self::Status {
                status: 404,
                retry_after: None,
            },
            FtpCommandError::Refused(code) => {
                Self::InvalidResponse(format!("the origin refuses: it says {code}"))
            }
        }
    }
}
