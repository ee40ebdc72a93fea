//! Body of an in-flight fetch, with one writer and many readers.
//!
//! The fetch task writes through [`SharedBody`]: the head, the bytes as they arrive, and the
//! result. Each request reads through a [`BodyReader`]. This module knows no origin and no policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::FetchError;
use super::memory_overflow::{OverflowBuffer, ReaderPosition, ReaderPositions};
use crate::cache::OpenFile;
use crate::model::{Digests, ExpectedDigests, Record, Sha256, StoredHeaders};

/// Maximum number of bytes that a reader gets at once. With many readers, this is the memory that
/// the buffer of each one takes.
const READER_PIECE_BYTES: u64 = 32 * 1024;

/// Head of a body that is being fetched.
#[derive(Debug)]
pub struct Head {
    /// In bytes. `None` if the origin did not state it.
    pub length: Option<u64>,
    pub headers: StoredHeaders,
}

#[derive(Debug, Clone)]
enum FetchState {
    AwaitingHead,
    Streaming(Arc<Head>),
    Stored(Arc<Record>),
    Failed(FetchError),
}

#[derive(Debug, Clone)]
struct FetchProgress {
    state: FetchState,
    /// File that readers read. The writer may replace it with another file that has the same first
    /// bytes.
    file: Option<OpenFile>,
    /// Number of bytes that readers can read, counted from the start of the body.
    written_bytes: u64,
    /// The last piece that was written. A reader without a backlog takes it from memory.
    newest: Bytes,
    /// Set after the disk has failed. The rest of the body is in this buffer.
    overflow: Option<Arc<OverflowBuffer>>,
    /// SHA-256 of the complete body. Set after the length and the expected digests were checked.
    verified: Option<Sha256>,
}

impl FetchProgress {
    fn has_ended(&self) -> bool {
        matches!(self.state, FetchState::Stored(_) | FetchState::Failed(_))
    }

    /// Number of bytes that readers may see. The last byte is withheld until the body is verified.
    fn visible_bytes(&self, head: &Head) -> u64 {
        match head.length {
            Some(length) if self.verified.is_none() => {
                self.written_bytes.min(length.saturating_sub(1))
            }
            _ => self.written_bytes,
        }
    }

    /// Reads up to `size_bytes` at `offset`, from memory if possible. The bytes must be visible.
    async fn read(&self, offset: u64, size_bytes: usize) -> Result<Bytes, FetchError> {
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

/// Writer side of the body of one fetch.
#[derive(Debug)]
pub struct SharedBody {
    progress: watch::Sender<FetchProgress>,
    readers: Arc<ReaderPositions>,
}

impl SharedBody {
    pub fn new() -> Self {
        let progress = FetchProgress {
            state: FetchState::AwaitingHead,
            file: None,
            written_bytes: 0,
            newest: Bytes::new(),
            overflow: None,
            verified: None,
        };
        Self {
            progress: watch::Sender::new(progress),
            readers: Arc::default(),
        }
    }

    /// Adds the reader of the request that started the fetch. The reader checks `expected` in
    /// addition to the checks of the fetch.
    pub fn first_reader(&self, expected: ExpectedDigests) -> BodyReader {
        self.add_reader(false, expected)
    }

    /// Adds a reader after the fetch has started. The reader checks `expected` in addition to the
    /// checks of the fetch.
    ///
    /// # Errors
    /// [`FetchError::NoSpace`] if the disk has failed, because the body is no longer complete.
    pub fn join(&self, expected: ExpectedDigests) -> Result<BodyReader, FetchError> {
        if self.is_overflowing() {
            Err(FetchError::NoSpace)
        } else {
            Ok(self.add_reader(true, expected))
        }
    }

    fn add_reader(&self, is_collapsed: bool, expected: ExpectedDigests) -> BodyReader {
        let position = self.readers.register();
        BodyReader {
            progress: self.progress.subscribe(),
            position,
            is_collapsed,
            expected,
        }
    }

    /// Waits for the end of the fetch.
    pub async fn wait_finished(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is a field of `self`, so the channel cannot close during the call.
        let _ = progress.wait_for(FetchProgress::has_ended).await;
    }

    /// Whether readers have the head and the fetch has not ended.
    pub fn is_streaming(&self) -> bool {
        matches!(self.progress.borrow().state, FetchState::Streaming(_))
    }

    /// Makes the head and the first `written_bytes` of the file available to readers.
    pub fn start_streaming(&self, head: Arc<Head>, file: OpenFile, written_bytes: u64) {
        self.progress.send_modify(|progress| {
            progress.state = FetchState::Streaming(head);
            progress.file = Some(file);
            progress.written_bytes = written_bytes;
        });
    }

    /// Continues in another file. All bytes that readers may have seen must be the same there.
    pub fn switch_file(&self, file: OpenFile, written_bytes: u64) {
        self.progress.send_modify(|progress| {
            progress.file = Some(file);
            progress.written_bytes = written_bytes;
            progress.newest = Bytes::new();
        });
    }

    /// Makes the body available up to `written_bytes`. `newest` holds its last bytes, and may be
    /// empty.
    pub fn advance(&self, written_bytes: u64, newest: Bytes) {
        self.progress.send_modify(|progress| {
            progress.written_bytes = written_bytes;
            progress.newest = newest;
        });
    }

    /// Buffers the bytes from `start` on in memory, because the disk has failed. New readers cannot
    /// join.
    pub fn start_overflow(&self, start: u64) {
        self.progress
            .send_modify(|progress| progress.overflow = Some(Arc::new(OverflowBuffer::new(start))));
    }

    pub fn is_overflowing(&self) -> bool {
        self.progress.borrow().overflow.is_some()
    }

    /// Does the same as [`SharedBody::advance`] after [`SharedBody::start_overflow`]. Waits until
    /// readers have made space in the buffer, at most `patience` for each reader.
    ///
    /// # Errors
    /// [`FetchError::NoSpace`] if no reader is left.
    pub async fn push_overflow(
        &self,
        written_bytes: u64,
        newest: Bytes,
        patience: Duration,
    ) -> Result<(), FetchError> {
        let overflow = self.progress.borrow().overflow.clone();
        let overflow = overflow.ok_or(FetchError::NoSpace)?;
        overflow
            .push(newest.clone(), &self.readers, patience)
            .await?;
        self.advance(written_bytes, newest);
        Ok(())
    }

    /// Makes the end of the body available to readers.
    pub fn mark_verified(&self, sha256: Sha256) {
        self.progress
            .send_modify(|progress| progress.verified = Some(sha256));
    }

    /// Sets the result of the fetch.
    pub fn finish(&self, outcome: Result<Arc<Record>, FetchError>) {
        self.progress.send_modify(|progress| {
            progress.newest = Bytes::new();
            progress.state = match outcome {
                Ok(record) => FetchState::Stored(record),
                Err(error) => FetchState::Failed(error),
            };
        });
    }
}

/// First result of a fetch that a reader gets.
#[derive(Debug)]
pub enum FirstResult {
    /// The body is arriving.
    Streaming(Arc<Head>),
    /// The body is in the cache.
    Stored(Arc<Record>),
}

/// Reader of the body of an in-flight fetch.
#[derive(Debug)]
pub struct BodyReader {
    progress: watch::Receiver<FetchProgress>,
    position: ReaderPosition,
    is_collapsed: bool,
    /// Digests that only this reader expects. All are SHA-256, because every fetch computes it.
    expected: ExpectedDigests,
}

impl BodyReader {
    /// Whether the fetch was in progress before this reader joined.
    #[must_use]
    pub fn is_collapsed(&self) -> bool {
        self.is_collapsed
    }

    /// Waits for the head or for the end of the fetch.
    ///
    /// # Errors
    /// The error of the fetch.
    pub async fn first_result(&mut self) -> Result<FirstResult, FetchError> {
        let progress = self
            .wait_for(|progress| !matches!(progress.state, FetchState::AwaitingHead))
            .await;
        match progress.state {
            FetchState::Streaming(head) => {
                self.position.move_to(0);
                Ok(FirstResult::Streaming(head))
            }
            FetchState::Stored(record) => Ok(FirstResult::Stored(record)),
            FetchState::Failed(error) => Err(error),
            // The task ended without a result, so it panicked.
            FetchState::AwaitingHead => Err(FetchError::StoreFailed),
        }
    }

    /// Waits until the body is in the cache.
    ///
    /// # Errors
    /// The error of the fetch.
    pub async fn wait_stored(&mut self) -> Result<Arc<Record>, FetchError> {
        self.position.stop_reading();
        let progress = self.wait_for(FetchProgress::has_ended).await;
        match progress.state {
            FetchState::Stored(record) => Ok(record),
            FetchState::Failed(error) => Err(error),
            FetchState::AwaitingHead | FetchState::Streaming(_) => Err(FetchError::StoreFailed),
        }
    }

    /// Waits for bytes at `offset` and returns at most `limit_bytes` of them, or `None` after the
    /// end of the body.
    ///
    /// The last byte of a body of known length, and the end of a body of unknown length, are
    /// returned only after the whole body was verified.
    ///
    /// # Errors
    /// The error of the fetch, or [`FetchError::Mismatch`] if the body does not have the digest
    /// that this reader expects.
    pub async fn next(
        &mut self,
        head: &Head,
        offset: u64,
        limit_bytes: usize,
    ) -> Result<Option<Bytes>, FetchError> {
        self.position.move_to(offset);
        let progress = self
            .wait_for(|progress| {
                progress.verified.is_some()
                    || progress.visible_bytes(head) > offset
                    || progress.has_ended()
            })
            .await;
        match (&progress.state, progress.verified) {
            (_, Some(sha256)) => self.check_digests(sha256)?,
            (FetchState::Failed(error), None) => return Err(error.clone()),
            _ => {}
        }
        let left_bytes = progress.visible_bytes(head).saturating_sub(offset);
        if left_bytes == 0 {
            // If the body is not verified, the task panicked and the body is truncated.
            return if progress.verified.is_some() {
                Ok(None)
            } else {
                Err(FetchError::StoreFailed)
            };
        }
        let size_bytes = left_bytes.min(READER_PIECE_BYTES).min(limit_bytes as u64);
        let size_bytes = usize::try_from(size_bytes).expect("a piece is small");
        progress.read(offset, size_bytes).await.map(Some)
    }

    /// Compares the digest of the body with those that only this reader expects.
    fn check_digests(&self, sha256: Sha256) -> Result<(), FetchError> {
        let digests = Digests {
            sha256,
            others: BTreeMap::new(),
        };
        match digests.first_mismatch(&self.expected) {
            None => Ok(()),
            Some(_) => Err(FetchError::Mismatch {
                expected: self.expected.clone(),
                found: sha256,
            }),
        }
    }

    /// Returns the progress once `condition` is true, or the last progress after the task has
    /// ended. The progress is copied: a borrow across an await would block the writer.
    async fn wait_for(&mut self, condition: impl Fn(&FetchProgress) -> bool) -> FetchProgress {
        if let Ok(progress) = self.progress.wait_for(condition).await {
            return progress.clone();
        }
        self.progress.borrow().clone()
    }
}
