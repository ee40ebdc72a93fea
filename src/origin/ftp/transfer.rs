//! The bytes of a file as they come.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::control::{Data, FileMetadata, Session};
use super::pool::{Pool, Server};
use crate::origin::OriginError;

/// In bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// How long a server has to close the data connection once all has come, and then to say so. The
/// length has decided already.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A file on its way. What is not read to its end costs the control connection.
pub struct Transfer {
    /// Nothing once the end has come.
    conversation: Option<(Session, Data)>,
    /// How many bytes are still to come, if the server has said how many there are.
    left: Option<u64>,
    /// The file goes on behind what is wanted of it.
    is_part: bool,
    /// What has to be the same at the end, where the beginning came at another time.
    recheck: Option<(Vec<u8>, FileMetadata)>,
    /// Where the connection may go when the transfer is over.
    home: Option<(Arc<Pool>, Server)>,
    place: Option<OwnedSemaphorePermit>,
}

impl Transfer {
    pub fn new(
        session: Session,
        data: Data,
        left: Option<u64>,
        home: Option<(Arc<Pool>, Server)>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            conversation: Some((session, data)),
            left,
            is_part: false,
            recheck: None,
            home,
            place,
        }
    }

    /// Before the end is told the file is looked at again: it may have been exchanged after the
    /// first look.
    pub fn of_the_rest(self, path: Vec<u8>, metadata: FileMetadata) -> Self {
        Self {
            recheck: Some((path, metadata)),
            ..self
        }
    }

    pub fn of_a_part(self) -> Self {
        Self {
            is_part: true,
            ..self
        }
    }

    /// The next bytes, or `None` at the end. Where the length is known nothing else makes an end:
    /// not the server's 226, and not its absence.
    ///
    /// # Errors
    /// [`OriginError::Unreachable`] if the server breaks off, [`OriginError::InvalidResponse`] if
    /// it sends more than it has said.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        let Some((_, data)) = &mut self.conversation else {
            return Ok(None);
        };
        if self.is_part && self.left == Some(0) {
            self.conversation = None;
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let read = data.read_buf(&mut piece);
        let count = match self.left {
            Some(0) => timeout(END_TIMEOUT, read)
                .await
                .unwrap_or(Err(io::ErrorKind::TimedOut.into())),
            _ => read.await,
        };
        let Some(count) = count.as_ref().ok().filter(|count| **count > 0) else {
            return self.end(count.is_ok()).await;
        };
        let count = *count as u64;
        match &mut self.left {
            Some(left) if count > *left && self.is_part => {
                piece.truncate(usize::try_from(*left).expect("it is less than a piece"));
                *left = 0;
            }
            Some(left) if count > *left => {
                return Err(OriginError::InvalidResponse(
                    "the origin sends more than it said".to_owned(),
                ));
            }
            Some(left) => *left -= count,
            None => {}
        }
        Ok(Some(piece.freeze()))
    }

    /// No more bytes come; `is_clean` says whether the data connection was closed as it should be.
    async fn end(&mut self, is_clean: bool) -> Result<Option<Bytes>, OriginError> {
        let broke_off = || OriginError::Unreachable("the origin broke off".to_owned());
        let (mut session, data) = self.conversation.take().ok_or_else(broke_off)?;
        match (self.left, &self.recheck) {
            (Some(0), None) => {
                let (home, place) = (self.home.take(), self.place.take());
                tokio::spawn(finish(session, data, home, place));
                return Ok(None);
            }
            (Some(0), Some((path, metadata))) => {
                session.finish(data).await?;
                if !session.metadata(path).await?.is_same_file_as(metadata) {
                    return Err(OriginError::Unreachable(
                        "the origin's file changed while it was fetched".to_owned(),
                    ));
                }
            }
            // Only the server knows whether that was all.
            (None, _) if is_clean => session.finish(data).await?,
            _ => return Err(broke_off()),
        }
        if let Some((pool, server)) = self.home.take() {
            pool.put(server, session);
        }
        Ok(None)
    }
}

/// Waits for the server's word that a transfer is over, which nobody needs but whoever uses the
/// connection next.
async fn finish(
    mut session: Session,
    data: Data,
    home: Option<(Arc<Pool>, Server)>,
    place: Option<OwnedSemaphorePermit>,
) {
    if let Some((pool, server)) = home
        && let Ok(Ok(())) = timeout(END_TIMEOUT, session.finish(data)).await
    {
        pool.put(server, session);
    }
    drop(place);
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
