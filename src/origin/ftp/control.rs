//! Control connection after the login.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use suppaftp::Encoding;
use suppaftp::tokio::{AsyncRustlsFtpStream, AsyncRustlsStream, TransferStream};

use super::error::{FtpCommandError, NO_SUCH_FILE, with_timeout};
use crate::origin::error::OriginError;
use crate::origin::fault::ProtocolFault;

/// Data connection that transfers a file.
pub type DataStream = TransferStream<AsyncRustlsStream>;

/// Size and date of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMetadata {
    pub size_bytes: Option<u64>,
    pub modified: Option<SystemTime>,
    /// Whether the server replied to at least one of the two commands that there is no such file.
    is_missing: bool,
}

/// Reply to a command that a server need not support.
enum OptionalReply<T> {
    Value(T),
    NoSuchFile,
    Unsupported,
}

impl<T> OptionalReply<T> {
    fn is_no_such_file(&self) -> bool {
        matches!(self, Self::NoSuchFile)
    }

    fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::NoSuchFile | Self::Unsupported => None,
        }
    }
}

impl FileMetadata {
    /// Checks that the file exists, as far as the metadata shows it.
    pub fn require_exists(&self) -> Result<(), OriginError> {
        if self.size_bytes.is_some() || self.modified.is_some() {
            Ok(())
        } else if self.is_missing {
            Err(NO_SUCH_FILE)
        } else {
            Err(ProtocolFault::NoMetadata.into())
        }
    }

    /// Returns whether both describe the same version of the file.
    pub fn is_same_file_as(&self, other: &Self) -> bool {
        self.size_bytes == other.size_bytes && self.modified == other.modified
    }
}

/// Logged-in session on a control connection.
pub struct Session {
    stream: AsyncRustlsFtpStream,
    command_timeout: Duration,
    /// False after a malformed reply. Later replies may then belong to other commands.
    replies_in_sync: bool,
}

impl Session {
    pub fn new(stream: AsyncRustlsFtpStream, command_timeout: Duration) -> Self {
        Self {
            stream,
            command_timeout,
            replies_in_sync: true,
        }
    }

    pub fn replies_in_sync(&self) -> bool {
        self.replies_in_sync
    }

    /// Requests the size and the date of a file. A server need not support either.
    pub async fn metadata(&mut self, path: &[u8]) -> Result<FileMetadata, FtpCommandError> {
        let path = as_chars(path);
        let size = with_timeout(self.command_timeout, self.stream.size(&path)).await;
        let size = self.optional_reply(size)?;
        let date = with_timeout(self.command_timeout, self.stream.mdtm(&path)).await;
        let date = self.optional_reply(date)?;
        let is_missing = size.is_no_such_file() || date.is_no_such_file();
        let seconds = date
            .value()
            .and_then(|date| u64::try_from(date.and_utc().timestamp()).ok());
        Ok(FileMetadata {
            size_bytes: size.value().and_then(|size| u64::try_from(size).ok()),
            modified: seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
            is_missing,
        })
    }

    /// Interprets the reply to an optional command. Only a failed connection is an error.
    fn optional_reply<T>(
        &mut self,
        result: Result<T, FtpCommandError>,
    ) -> Result<OptionalReply<T>, FtpCommandError> {
        match result {
            Ok(value) => Ok(OptionalReply::Value(value)),
            Err(FtpCommandError::Refused(550 | 551 | 553)) => Ok(OptionalReply::NoSuchFile),
            Err(FtpCommandError::Refused(500..=599)) => Ok(OptionalReply::Unsupported),
            Err(FtpCommandError::MalformedReply) => {
                self.replies_in_sync = false;
                Ok(OptionalReply::Unsupported)
            }
            Err(error) => Err(error),
        }
    }

    /// Starts the transfer of a file from `offset` to its end.
    pub async fn retrieve(
        &mut self,
        path: &[u8],
        offset: u64,
    ) -> Result<DataStream, FtpCommandError> {
        let offset = usize::try_from(offset).map_err(|_| FtpCommandError::NoRestart)?;
        // The client sends the offset with the next command.
        with_timeout(self.command_timeout, self.stream.resume_transfer(offset)).await?;
        let transfer = self.stream.retr_as_stream(as_chars(path));
        match with_timeout(self.command_timeout, transfer).await {
            Err(error) if offset > 0 && error.is_unknown_command() => {
                Err(FtpCommandError::NoRestart)
            }
            result => result,
        }
    }

    /// Waits for the server's reply at the end of a transfer.
    pub async fn finish(&mut self, data: DataStream) -> Result<(), FtpCommandError> {
        with_timeout(self.command_timeout, data.finish()).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// Returns bytes in the form that the FTP client takes: each byte becomes the character with its
/// number. [`ByteForByte`] reverses this.
pub fn as_chars(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Encoding that sends names byte for byte.
#[derive(Debug)]
pub struct ByteForByte;

impl Encoding for ByteForByte {
    fn decode(&self, bytes: &[u8]) -> String {
        as_chars(bytes)
    }

    fn encode(&self, text: &str) -> std::io::Result<Vec<u8>> {
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).map_err(std::io::Error::other))
            .collect()
    }
}
