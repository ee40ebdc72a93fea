//! A control connection on which somebody is logged in.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use suppaftp::Encoding;
use suppaftp::tokio::{AsyncRustlsFtpStream, AsyncRustlsStream, TransferStream};

use super::error::{FtpCommandError, with_timeout};
use crate::origin::OriginError;

/// The bytes of a file on their way.
pub type Data = TransferStream<AsyncRustlsStream>;

/// What a server says of a file without sending it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMetadata {
    /// In bytes.
    pub size: Option<u64>,
    pub modified: Option<SystemTime>,
    /// The server says of at least one of the two that there is no such file.
    is_missing: bool,
}

impl FileMetadata {
    /// Whether there is such a file, as far as can be said without opening it.
    pub fn require_exists(&self) -> Result<(), OriginError> {
        match self {
            Self { size: Some(_), .. }
            | Self {
                modified: Some(_), ..
            } => Ok(()),
            Self {
                is_missing: true, ..
            } => Err(OriginError::Status {
                status: 404,
                retry_after: None,
            }),
            _ => Err(OriginError::InvalidResponse(
                "the origin says nothing of a file but the file".to_owned(),
            )),
        }
    }

    /// Whether these are, as far as they say, those of the same bytes.
    pub fn is_same_file_as(&self, other: &Self) -> bool {
        self.size == other.size && self.modified == other.modified
    }
}

pub struct Session {
    stream: AsyncRustlsFtpStream,
    /// How long a command may take.
    patience: Duration,
    /// False once replies may belong to other commands than it seems.
    replies_in_sync: bool,
}

impl Session {
    pub fn new(stream: AsyncRustlsFtpStream, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            replies_in_sync: true,
        }
    }

    pub fn replies_in_sync(&self) -> bool {
        self.replies_in_sync
    }

    /// Asks for size and date. A server need not know either.
    pub async fn metadata(&mut self, path: &[u8]) -> Result<FileMetadata, FtpCommandError> {
        let path = as_chars(path);
        let size = with_timeout(self.patience, self.stream.size(&path)).await;
        let (size, has_no_size) = self.optional(size)?;
        let modified = with_timeout(self.patience, self.stream.mdtm(&path)).await;
        let (modified, has_no_date) = self.optional(modified)?;
        let modified = modified.and_then(|date| u64::try_from(date.and_utc().timestamp()).ok());
        Ok(FileMetadata {
            size: size.and_then(|size| u64::try_from(size).ok()),
            modified: modified.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
            is_missing: has_no_size || has_no_date,
        })
    }

    /// What a server says, if it says it, and whether it says that there is no such file.
    fn optional<T>(
        &mut self,
        said: Result<T, FtpCommandError>,
    ) -> Result<(Option<T>, bool), FtpCommandError> {
        match said {
            Ok(said) => Ok((Some(said), false)),
            Err(FtpCommandError::Refused(550 | 551 | 553)) => Ok((None, true)),
            Err(FtpCommandError::Refused(500..=599)) => Ok((None, false)),
            Err(FtpCommandError::Unreadable) => {
                self.replies_in_sync = false;
                Ok((None, false))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Asks for the bytes from `offset` on.
    pub async fn retrieve(&mut self, path: &[u8], offset: u64) -> Result<Data, FtpCommandError> {
        let too_far = |_| FtpCommandError::NoRestart;
        // It is sent with the next command.
        with_timeout(
            self.patience,
            self.stream
                .resume_transfer(usize::try_from(offset).map_err(too_far)?),
        )
        .await?;
        match with_timeout(self.patience, self.stream.retr_as_stream(as_chars(path))).await {
            Err(trouble) if offset > 0 && trouble.is_unknown_command() => {
                Err(FtpCommandError::NoRestart)
            }
            retrieved => retrieved,
        }
    }

    /// Waits for what the server says at the end of a transfer.
    pub async fn finish(&mut self, data: Data) -> Result<(), FtpCommandError> {
        with_timeout(self.patience, data.finish()).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// Bytes as the library wants them: each is the character of its number, and [`ByteForByte`] makes
/// it a byte again.
pub fn as_chars(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Names go out byte for byte.
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
