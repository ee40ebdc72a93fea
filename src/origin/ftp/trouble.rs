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
pub enum Trouble {
    /// The server's reply to the command, one of 400 to 599.
    Refused(u16),
    /// A reply that is none. What comes behind it may belong to another command.
    Unreadable,
    /// The server cannot send a file from its middle.
    NoRestart,
    Failed(OriginError),
}

/// Runs a command; none may take longer than `patience`.
pub async fn within<T>(patience: Duration, command: impl Future<Output = FtpResult<T>>) -> Result<T, Trouble> {
    match timeout(patience, command).await {
        Ok(done) => done.map_err(Trouble::from),
        Err(_) => Err(Trouble::Failed(OriginError::Silent("the origin did not answer in time".to_owned()))),
    }
}

impl Trouble {
    /// The server does not know the command, or not in this form.
    pub fn is_unknown_command(&self) -> bool {
        matches!(self, Self::Refused(500..=504 | 522 | 554))
    }
}

impl From<FtpError> for Trouble {
    fn from(error: FtpError) -> Self {
        match error {
            FtpError::UnexpectedResponse(response) => {
                let code = response.body.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
                match code {
                    Some(code @ 400..=599) => Self::Refused(code),
                    Some(120) => Self::Failed(OriginError::Silent("the origin is not ready yet".to_owned())),
                    _ => Self::Unreadable,
                }
            }
            FtpError::ConnectionError(error) => Self::Failed(of_connection(&error)),
            FtpError::SecureError(why) => {
                let why = why.trim_start_matches("Secure error: ");
                Self::Failed(OriginError::Untrusted(why.to_owned()))
            }
            FtpError::BadResponse | FtpError::InvalidAddress(_) | FtpError::DataConnectionAlreadyOpen => {
                Self::Unreadable
            }
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
    if inner.and_then(|inner| inner.downcast_ref::<ReplyTooLarge>()).is_some() {
        return OriginError::Wrong("the origin's answer has no end".to_owned());
    }
    OriginError::Silent(format!("the origin broke off: {}", error.kind()))
}

impl From<OriginError> for Trouble {
    fn from(error: OriginError) -> Self {
        Self::Failed(error)
    }
}

impl From<Trouble> for OriginError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(error) => error,
            Trouble::Unreadable => Self::Wrong("the origin's answer is no FTP".to_owned()),
            Trouble::NoRestart => Self::Wrong("the origin sends no file from its middle".to_owned()),
            Trouble::Refused(code @ 400..=499) => Self::Silent(format!("the origin cannot do it now: it says {code}")),
            Trouble::Refused(530 | 532) => Self::Wrong("the origin refuses the login".to_owned()),
            Trouble::Refused(550 | 551 | 553) => Self::Status { status: 404, retry_after: None },
            Trouble::Refused(code) => Self::Wrong(format!("the origin refuses: it says {code}")),
        }
    }
}
