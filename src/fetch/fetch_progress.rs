//! Progress of a body that is being fetched, as its writer sets it and its readers see it. The main
//! type is [`FetchProgress`].

use std::sync::Arc;

use bytes::Bytes;

use super::FetchError;
use super::memory_overflow::OverflowBuffer;
use crate::cache::OpenFile;
use crate::model::{Digests, Record, StoredHeaders};

/// Head of a body that is being fetched.
#[derive(Debug)]
pub struct Head {
    /// In bytes. `None` if the origin did not state it.
    pub length: Option<u64>,
    pub headers: StoredHeaders,
}

/// State of a fetch.
#[derive(Debug, Clone)]
pub enum FetchState {
    AwaitingHead,
    Streaming(Arc<Head>),
    Stored(Arc<Record>),
    Failed(FetchError),
}

/// Result of the checks of a complete body.
#[derive(Debug, Clone)]
pub enum BodyCheck {
    Pending,
    /// The length and the required digests are right.
    Accepted(Arc<Digests>),
    /// A required digest is wrong. A reader that stated these digests gets the end.
    Rejected(Rejection, Arc<Digests>),
}

/// Origin of the digest that a rejected body does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Only the path of the target states the digest. A reader may accept other bytes.
    ByPath,
    /// The digest is on record, or in the checksum file.
    ByRecord,
}

/// Treatment of a complete body that does not have the digest in the path of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMismatch {
    Fail,
    PassOn,
}

/// State of a fetch, and the bytes that it has received.
#[derive(Debug, Clone)]
pub struct FetchProgress {
    pub state: FetchState,
    /// File that readers read. The writer may replace it with another file that has the same first
    /// bytes.
    pub file: Option<OpenFile>,
    /// Number of bytes that readers can read, counted from the start of the body.
    pub written_bytes: u64,
    /// The last piece that was written. A reader without a backlog takes it from memory.
    pub newest: Bytes,
    /// Set after the disk has failed. The rest of the body is in this buffer.
    pub overflow: Option<Arc<OverflowBuffer>>,
    pub check: BodyCheck,
}

impl FetchProgress {
    pub fn new() -> Self {
        Self {
            state: FetchState::AwaitingHead,
            file: None,
            written_bytes: 0,
            newest: Bytes::new(),
            overflow: None,
            check: BodyCheck::Pending,
        }
    }

    /// Whether the body has not been checked yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.check, BodyCheck::Pending)
    }

    /// Whether the fetch has a result.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, FetchState::Stored(_) | FetchState::Failed(_))
    }

    /// Number of bytes that readers may see. The last byte is withheld until the body is checked.
    pub fn visible_bytes(&self, head: &Head) -> u64 {
        match head.length {
            Some(length) if self.is_pending() => self.written_bytes.min(length.saturating_sub(1)),
            _ => self.written_bytes,
        }
    }

    /// Reads up to `size_bytes` at `offset`, from memory if possible. The bytes must be visible.
    pub async fn read(&self, offset: u64, size_bytes: usize) -> Result<Bytes, FetchError> {
        let newest_start = self.written_bytes - self.newest.len() as u64;
        if let Some(start) = offset
            .checked_sub(newest_start)
            .filter(|_| !self.newest.is_empty())
        {
            let start = usize::try_from(start).expect("the offset is inside the newest piece");
            return Ok(self.newest.slice(start..start + size_bytes));
        }
        let size_bytes = match &self.overflow {
            Some(overflow) if offset >= overflow.start => {
                return overflow.read(offset, size_bytes).ok_or(FetchError::NoSpace);
            }
            Some(overflow) => {
                size_bytes.min(usize::try_from(overflow.start - offset).unwrap_or(size_bytes))
            }
            None => size_bytes,
        };
        let file = self.file.as_ref().ok_or(FetchError::StoreFailed)?;
        match file.read_some(offset, size_bytes).await {
            Ok(bytes) if !bytes.is_empty() => Ok(bytes),
            Ok(_) => Err(FetchError::StoreFailed),
            Err(error) => Err(FetchError::from_read_error(&error)),
        }
    }
}
