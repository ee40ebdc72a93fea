//! Reader of the body of an in-flight fetch, for one request. The main type is [`BodyReader`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::FetchError;
use super::fetch_progress::{EndState, FetchProgress, FetchState, Head, OnMismatch};
use super::memory_overflow::ReaderPosition;
use crate::model::{Digests, ExpectedDigests, Record, Sha256};

/// Maximum number of bytes that a reader gets at once. With many readers, this is the memory that
/// the buffer of each one takes.
const READER_PIECE_BYTES: u64 = 32 * 1024;

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
    on_mismatch: OnMismatch,
}

impl BodyReader {
    pub(super) fn new(
        progress: watch::Receiver<FetchProgress>,
        position: ReaderPosition,
        is_collapsed: bool,
        expected: ExpectedDigests,
    ) -> Self {
        Self {
            progress,
            position,
            is_collapsed,
            expected,
            on_mismatch: OnMismatch::Fail,
        }
    }

    /// Makes the reader get the whole body also if it does not have the digest that the fetch
    /// expects. Such a body is not stored.
    #[must_use]
    pub fn accepting_mismatch(mut self) -> Self {
        self.on_mismatch = OnMismatch::PassOn;
        self
    }

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
        let on_mismatch = self.on_mismatch;
        let progress = self
            .wait_for(|progress| {
                on_mismatch.releases(progress.end)
                    || progress.visible_bytes(head, on_mismatch) > offset
                    || progress.has_ended()
            })
            .await;
        let is_complete = on_mismatch.releases(progress.end);
        match (&progress.state, progress.end) {
            (_, EndState::Verified(sha256)) => self.check_digests(sha256)?,
            (FetchState::Failed(error), _) if !is_complete => return Err(error.clone()),
            _ => {}
        }
        let visible_bytes = progress.visible_bytes(head, on_mismatch);
        let left_bytes = visible_bytes.saturating_sub(offset);
        if left_bytes == 0 {
            // If the body is not verified, the task panicked and the body is truncated.
            return if is_complete {
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
