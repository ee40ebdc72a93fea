//! Reader of the body of an in-flight fetch, one for each request. The main type is [`BodyReader`].

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::FetchError;
use super::fetch_progress::{BodyCheck, FetchProgress, FetchState, Head, OnMismatch, Rejection};
use super::memory_overflow::ReaderPosition;
use crate::cache::{Cache, ExaminedObject, ObjectMatch};
use crate::limits::Reading;
use crate::model::{DigestMatch, Digests, ExpectedDigests, Record};

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
    attendance: Attendance,
    is_collapsed: bool,
    stated: StatedDigests,
    on_mismatch: OnMismatch,
    cache: Cache,
}

/// Presence of a reader: its position in the body, and its part of the permits of the fetch.
#[derive(Debug)]
pub(super) struct Attendance {
    pub position: ReaderPosition,
    pub reading: Reading,
}

/// Digests that one reader expects.
#[derive(Debug, PartialEq, Eq)]
enum StatedDigests {
    Nothing,
    Stated(ExpectedDigests),
    /// The body has the stated digests.
    Met,
}

impl BodyReader {
    /// Creates a reader that checks `expected` in addition to the checks of the fetch.
    pub(super) fn new(
        progress: watch::Receiver<FetchProgress>,
        attendance: Attendance,
        expected: ExpectedDigests,
        cache: Cache,
    ) -> Self {
        Self {
            progress,
            attendance,
            is_collapsed: false,
            stated: if expected.is_empty() {
                StatedDigests::Nothing
            } else {
                StatedDigests::Stated(expected)
            },
            on_mismatch: OnMismatch::Fail,
            cache,
        }
    }

    /// Records that the fetch was in progress before this reader joined.
    pub(super) fn collapsed(self) -> Self {
        Self {
            is_collapsed: true,
            ..self
        }
    }

    /// Makes the reader get the whole body also if it does not have the digest in the path of the
    /// target. Such a body is not stored.
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
        let states_digests = self.stated != StatedDigests::Nothing;
        let progress = self
            .wait_for(|progress| match &progress.state {
                FetchState::AwaitingHead => false,
                // A complete body is checked first, so that a mismatch can become a status.
                FetchState::Streaming(head) if states_digests && progress.is_pending() => {
                    head.length != Some(progress.written_bytes)
                }
                _ => true,
            })
            .await;
        if let BodyCheck::Accepted(digests) = progress.check.clone() {
            self.check_digests(&progress, &digests).await?;
        }
        match progress.state {
            FetchState::Streaming(head) => {
                self.attendance.position.move_to(0);
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
        self.attendance.position.stop_reading();
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
        self.attendance.position.move_to(offset);
        let progress = self
            .wait_for(|progress| {
                !progress.is_pending()
                    || progress.visible_bytes(head) > offset
                    || progress.has_ended()
            })
            .await;
        match progress.check.clone() {
            BodyCheck::Pending => {
                if let FetchState::Failed(error) = progress.state {
                    return Err(error);
                }
            }
            BodyCheck::Accepted(_) if self.stated == StatedDigests::Nothing => {}
            BodyCheck::Accepted(digests) => self.check_digests(&progress, &digests).await?,
            BodyCheck::Rejected(Rejection::ByPath, _) if self.on_mismatch == OnMismatch::PassOn => {
            }
            BodyCheck::Rejected(_, digests) => {
                if self.stated == StatedDigests::Nothing
                    || self.check_digests(&progress, &digests).await.is_err()
                {
                    return Err(self.failure().await);
                }
            }
        }
        let left_bytes = progress.visible_bytes(head).saturating_sub(offset);
        if left_bytes == 0 {
            // If the body is not verified, the task panicked and the body is truncated.
            return if progress.is_pending() {
                Err(FetchError::StoreFailed)
            } else {
                Ok(None)
            };
        }
        let size_bytes =
            usize::try_from(left_bytes).map_or(limit_bytes, |left| left.min(limit_bytes));
        progress.read(offset, size_bytes).await.map(Some)
    }

    /// Compares the digests of the complete body with those that this reader expects. Computes
    /// those that the fetch has not computed.
    async fn check_digests(
        &mut self,
        progress: &FetchProgress,
        digests: &Digests,
    ) -> Result<(), FetchError> {
        let StatedDigests::Stated(expected) = &self.stated else {
            return Ok(());
        };
        let found = match digests.compare(expected) {
            DigestMatch::Same => ObjectMatch::Same,
            DigestMatch::Other => ObjectMatch::Other,
            DigestMatch::Unknown => self.compare_file(progress, digests, expected).await?,
        };
        match found {
            ObjectMatch::Same => {
                self.stated = StatedDigests::Met;
                Ok(())
            }
            ObjectMatch::Other => Err(FetchError::Mismatch {
                expected: expected.clone(),
                found: digests.sha256,
            }),
            ObjectMatch::Corrupt => Err(FetchError::StoreFailed),
        }
    }

    /// Compares the staged file of the complete body. After a disk failure, the end of the body is
    /// not in the file.
    async fn compare_file(
        &self,
        progress: &FetchProgress,
        digests: &Digests,
        expected: &ExpectedDigests,
    ) -> Result<ObjectMatch, FetchError> {
        let file = progress
            .file
            .as_ref()
            .filter(|_| progress.overflow.is_none());
        let client = self.attendance.reading.client();
        let verification = self.cache.verification().for_client(client);
        let object = ExaminedObject {
            known: digests.clone(),
            file: file.ok_or(FetchError::NoSpace)?,
            target: None,
        };
        Ok(verification.compare(object, expected).await?)
    }

    /// Waits for the failure of the fetch.
    async fn failure(&mut self) -> FetchError {
        let progress = self.wait_for(FetchProgress::has_ended).await;
        match progress.state {
            FetchState::Failed(error) => error,
            _ => FetchError::StoreFailed,
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
