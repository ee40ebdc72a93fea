//! Body of an in-flight fetch, with one writer and many readers.
//!
//! The fetch task writes through [`SharedBody`]: the head, the bytes as they arrive, and the
//! result. Each request reads through a [`BodyReader`]. This module knows no origin and no policy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::FetchError;
use super::body_reader::BodyReader;
use super::fetch_progress::{EndState, FetchProgress, FetchState, Head};
use super::memory_overflow::{OverflowBuffer, ReaderPositions};
use crate::cache::OpenFile;
use crate::model::{ExpectedDigests, Record, Sha256};

/// Writer side of the body of one fetch.
#[derive(Debug)]
pub struct SharedBody {
    progress: watch::Sender<FetchProgress>,
    readers: Arc<ReaderPositions>,
}

impl SharedBody {
    pub fn new() -> Self {
        Self {
            progress: watch::Sender::new(FetchProgress::new()),
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
        BodyReader::new(self.progress.subscribe(), position, is_collapsed, expected)
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
            .send_modify(|progress| progress.end = EndState::Verified(sha256));
    }

    /// Makes the end of the body available to the readers that accept another digest.
    pub fn mark_mismatched(&self) {
        self.progress
            .send_modify(|progress| progress.end = EndState::Mismatched);
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
