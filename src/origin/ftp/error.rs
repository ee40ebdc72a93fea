//! Errors of FTP commands, and their conversion to [`OriginError`].

use std::future::Future;
use std::io;
use std::time::Duration;

use suppaftp::{FtpError, FtpResult, ReplyTooLarge};
use tokio::time::timeout;

use crate::dial::DialError;
use crate::origin::error::OriginError;
use crate::origin::fault::{ConnectionFault, ProtocolFault, TimeoutPhase, TlsFault};

/// Error returned when an FTP command fails.
///
/// It contains no text of a reply, because a reply may repeat the password.
#[derive(Debug)]
pub enum FtpCommandError {
    /// Code of the server's reply, from 400 to 599.
    Refused(u16),
    /// The reply is malformed. The next replies may belong to other commands.
    MalformedReply,
    /// The server cannot send a file from an offset.
    NoRestart,
    Failed(OriginError),
}

/// Runs a command, which may take at most `limit`.
pub async fn with_timeout<T>(
    limit: Duration,
    command: impl Future<Output = FtpResult<T>>,
) -> Result<T, FtpCommandError> {
    match timeout(limit, command).await {
        Ok(result) => result.map_err(FtpCommandError::from),
        Err(_) => Err(ConnectionFault::Timeout(TimeoutPhase::Response).into()),
    }
}

impl FtpCommandError {
    /// Returns whether the server does not know the command or its parameters.
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
                    Some(120) => ConnectionFault::NotReady.into(),
                    _ => Self::MalformedReply,
                }
            }
            FtpError::ConnectionError(error) => Self::Failed(classify(&error)),
            FtpError::SecureError(text) => {
                let text = text.trim_start_matches("Secure error: ");
                Self::Failed(OriginError::TlsFailure(TlsFault::Ftp(text.to_owned())))
            }
            FtpError::BadResponse
            | FtpError::InvalidAddress(_)
            | FtpError::DataConnectionAlreadyOpen => Self::MalformedReply,
        }
    }
}

/// Converts an I/O error. It may contain an error of the dialer, of this module or of the client.
fn classify(error: &io::Error) -> OriginError {
    if let Some(inner) = error.get_ref() {
        if let Some(dial) = inner.downcast_ref::<DialError>() {
            return dial.clone().into();
        }
        if let Some(fault) = inner.downcast_ref::<ProtocolFault>() {
            return fault.clone().into();
        }
        if inner.is::<ReplyTooLarge>() {
            return ProtocolFault::EndlessReply.into();
        }
    }
    ConnectionFault::Closed(error.kind().to_string()).into()
}

impl From<OriginError> for FtpCommandError {
    fn from(error: OriginError) -> Self {
        Self::Failed(error)
    }
}

impl From<ConnectionFault> for FtpCommandError {
    fn from(fault: ConnectionFault) -> Self {
        Self::Failed(fault.into())
    }
}

impl From<FtpCommandError> for OriginError {
    fn from(error: FtpCommandError) -> Self {
        match error {
            FtpCommandError::Failed(error) => error,
            FtpCommandError::MalformedReply => ProtocolFault::NotFtp.into(),
            FtpCommandError::NoRestart => ProtocolFault::NoRestart.into(),
            FtpCommandError::Refused(code @ 400..=499) => {
                ConnectionFault::TransientReply(code).into()
            }
            FtpCommandError::Refused(530 | 532) => ProtocolFault::LoginRefused.into(),
            FtpCommandError::Refused(550 | 551 | 553) => NO_SUCH_FILE,
            FtpCommandError::Refused(code) => ProtocolFault::PermanentReply(code).into(),
        }
    }
}

/// Error for a file that does not exist.
pub const NO_SUCH_FILE: OriginError = OriginError::Status {
    status: 404,
    retry_after: None,
    challenge: None,
};
