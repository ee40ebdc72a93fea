//! Transfer of a file, as the body of a response.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::control::{DataStream, FileMetadata, Session};
use super::pool::PoolReturn;
use crate::origin::error::OriginError;
use crate::origin::fault::{ConnectionFault, ProtocolFault};

/// Buffer size of one read, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long a server may take to close the data connection after the last byte, and to send the
/// final reply. The transfer is already complete by its length.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Transfer in progress. If it is dropped before its end, the control connection is closed.
pub struct Transfer {
    /// `None` after the end.
    connections: Option<(Session, DataStream)>,
    /// Whether the end of the body was checked.
    is_complete: bool,
    /// Number of bytes still to come, if the server stated the size.
    remaining_bytes: Option<u64>,
    extent: Extent,
    slot: ConnectionSlot,
}

/// End of the requested range, and how it is verified.
pub enum Extent {
    /// The range ends with the file.
    ToEnd,
    /// The range ends before the file does. The server would send more.
    Part,
    /// The range ends with the file, and begins where an earlier transfer ended. At the end, the
    /// file must still have the same metadata.
    Rest {
        path: Vec<u8>,
        metadata: FileMetadata,
    },
}

/// Claim of a transfer on a connection to a server.
#[derive(Default)]
pub struct ConnectionSlot {
    /// `None` if the connection must not be reused.
    pub return_to: Option<PoolReturn>,
    pub permit: Option<OwnedSemaphorePermit>,
}

impl Transfer {
    /// Creates a transfer that has `remaining_bytes`, or an unknown number of bytes, to come.
    pub fn new(
        connections: (Session, DataStream),
        remaining_bytes: Option<u64>,
        extent: Extent,
        slot: ConnectionSlot,
    ) -> Self {
        Self {
            connections: Some(connections),
            is_complete: false,
            remaining_bytes,
            extent,
            slot,
        }
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// If the length is known, it alone decides where the body ends. The server's final reply (226)
    /// does not matter then.
    ///
    /// # Errors
    /// [`OriginError::Unreachable`] if the connection ends early, or if the file changed meanwhile.
    /// [`OriginError::InvalidResponse`] if the server sends more bytes than it stated.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        let Some((_, data)) = &mut self.connections else {
            // The end was not checked if it has failed, or if its future was dropped.
            let end = self.is_complete.then_some(None);
            return end.ok_or_else(|| ConnectionFault::Truncated.into());
        };
        let is_part = matches!(self.extent, Extent::Part);
        if is_part && self.remaining_bytes == Some(0) {
            self.connections = None;
            self.is_complete = true;
            return Ok(None);
        }
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let read = data.read_buf(&mut chunk);
        let result = match self.remaining_bytes {
            Some(0) => timeout(END_TIMEOUT, read)
                .await
                .unwrap_or(Err(io::ErrorKind::TimedOut.into())),
            _ => read.await,
        };
        let count = match result {
            Ok(0) => return self.end(DataEnd::Closed).await,
            Ok(count) => count as u64,
            Err(_) => return self.end(DataEnd::Failed).await,
        };
        match &mut self.remaining_bytes {
            Some(remaining) if count > *remaining && is_part => {
                chunk.truncate(usize::try_from(*remaining).expect("it is less than a chunk"));
                *remaining = 0;
            }
            Some(remaining) if count > *remaining => return Err(ProtocolFault::TooLong.into()),
            Some(remaining) => *remaining -= count,
            None => {}
        }
        Ok(Some(chunk.freeze()))
    }

    /// Checks that the body is complete, after the data connection has ended.
    async fn end(&mut self, data_end: DataEnd) -> Result<Option<Bytes>, OriginError> {
        let (mut session, data) = self.connections.take().ok_or(ConnectionFault::Truncated)?;
        match (self.remaining_bytes, &self.extent) {
            (Some(0), Extent::Rest { path, metadata }) => {
                session.finish(data).await?;
                if !session.metadata(path).await?.is_same_file_as(metadata) {
                    return Err(ConnectionFault::FileChanged.into());
                }
            }
            (Some(0), _) => {
                tokio::spawn(finish(session, data, std::mem::take(&mut self.slot)));
                self.is_complete = true;
                return Ok(None);
            }
            // Only the server's final reply shows whether the file is complete.
            (None, _) if data_end == DataEnd::Closed => session.finish(data).await?,
            _ => return Err(ConnectionFault::Truncated.into()),
        }
        if let Some(return_to) = self.slot.return_to.take() {
            return_to.put(session);
        }
        self.is_complete = true;
        Ok(None)
    }
}

/// How a data connection ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DataEnd {
    /// The server closed it.
    Closed,
    /// It failed, or the server did not close it in time.
    Failed,
}

/// Waits for the server's final reply. Only the next user of the connection needs it.
async fn finish(mut session: Session, data: DataStream, slot: ConnectionSlot) {
    if let Some(return_to) = slot.return_to
        && let Ok(Ok(())) = timeout(END_TIMEOUT, session.finish(data)).await
    {
        return_to.put(session);
    }
    drop(slot.permit);
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("remaining_bytes", &self.remaining_bytes)
            .finish_non_exhaustive()
    }
}
