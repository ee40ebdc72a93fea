//! A flight as its followers see it: the head, the bytes as they come, the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::FetchError;
use super::memory_overflow::{OverflowBuffer, ReaderPosition, ReaderPositions};
use crate::cache::OpenFile;
use crate::model::{Digests, ExpectedDigests, Record, Sha256, StoredHeaders};

/// The most that a follower is given at once, in bytes. With many followers this is what their
/// buffers cost each.
const READER_PIECE_BYTES: u64 = 32 * 1024;

/// The head of a body that is being fetched.
#[derive(Debug)]
pub struct Head {
    /// In bytes, if the origin said so.
    pub length: Option<u64>,
    pub headers: StoredHeaders,
}

#[derive(Debug, Clone)]
enum FetchState {
    AwaitingHead,
    Streaming(Arc<Head>),
    /// The store has it.
    Stored(Arc<Record>),
    Failed(FetchError),
}

#[derive(Debug, Clone)]
struct FetchProgress {
    state: FetchState,
    /// The file that is read. It may become another one, whose first bytes are the same.
    contents: Option<OpenFile>,
    /// How much of the body can be read from it.
    written_bytes: u64,
    /// The last piece that was written: those who are up to date need no look at the file.
    newest: Bytes,
    /// Set once the disk takes no more of it: then the rest is here.
    overflow: Option<Arc<OverflowBuffer>>,
    /// Set once the length and the expected digests hold, and no byte is to come any more.
    verified: Option<Sha256>,
}

impl FetchProgress {
    fn has_ended(&self) -> bool {
        matches!(self.state, FetchState::Stored(_) | FetchState::Failed(_))
    }
}

/// One fetch, as the task that flies it sees it.
#[derive(Debug)]
pub struct InFlightFetch {
    progress: watch::Sender<FetchProgress>,
    readers: Arc<ReaderPositions>,
}

impl InFlightFetch {
    pub fn new() -> Self {
        let progress = FetchProgress {
            state: FetchState::AwaitingHead,
            contents: None,
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

    /// Lets another one follow.
    ///
    /// # Errors
    /// [`FetchError::NoSpace`] if the disk does not take all of it.
    pub fn join(&self, expected: ExpectedDigests) -> Result<BodyReader, FetchError> {
        if self.is_overflowing() {
            Err(FetchError::NoSpace)
        } else {
            Ok(self.add_reader(true, expected))
        }
    }

    pub fn add_reader(&self, collapsed: bool, expected: ExpectedDigests) -> BodyReader {
        let position = self.readers.register();
        BodyReader {
            progress: self.progress.subscribe(),
            position,
            collapsed,
            expected,
        }
    }

    /// Returns once the flight has come to its end.
    pub async fn wait_finished(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is this very flight, so that the channel cannot close under us.
        let _ = progress.wait_for(FetchProgress::has_ended).await;
    }

    /// Whether the followers have seen the head, and not the end.
    pub fn is_streaming(&self) -> bool {
        matches!(self.progress.borrow().state, FetchState::Streaming(_))
    }

    /// Lets the followers see the head, and what is written up to now.
    pub fn start_streaming(&self, head: Arc<Head>, contents: OpenFile, written_bytes: u64) {
        self.progress.send_modify(|progress| {
            progress.state = FetchState::Streaming(head);
            progress.contents = Some(contents);
            progress.written_bytes = written_bytes;
        });
    }

    /// Goes on in another file. All that the followers may have seen must be the same there.
    pub fn switch_file(&self, contents: OpenFile, written_bytes: u64) {
        self.progress.send_modify(|progress| {
            progress.contents = Some(contents);
            progress.written_bytes = written_bytes;
            progress.newest = Bytes::new();
        });
    }

    pub fn advance(&self, written_bytes: u64, newest: Bytes) {
        self.progress.send_modify(|progress| {
            progress.written_bytes = written_bytes;
            progress.newest = newest;
        });
    }

    /// The disk takes nothing behind `from`. Those who follow get the rest from memory, nobody can
    /// join any more.
    pub fn start_overflow(&self, from: u64) {
        self.progress
            .send_modify(|progress| progress.overflow = Some(Arc::new(OverflowBuffer::new(from))));
    }

    pub fn is_overflowing(&self) -> bool {
        self.progress.borrow().overflow.is_some()
    }

    /// As [`Flight::advance`], for a flight that was cast off: waits for its followers, each at
    /// most `patience`. False if there are none any more.
    pub async fn push_overflow(
        &self,
        written_bytes: u64,
        newest: Bytes,
        patience: Duration,
    ) -> bool {
        let Some(overflow) = self.progress.borrow().overflow.clone() else {
            return false;
        };
        let is_wanted = overflow.push(newest.clone(), &self.readers, patience).await;
        if is_wanted {
            self.advance(written_bytes, newest);
        }
        is_wanted
    }

    /// Lets the followers have the end of the body.
    pub fn mark_verified(&self, found: Sha256) {
        self.progress
            .send_modify(|progress| progress.verified = Some(found));
    }

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

/// What a follower finds first.
#[derive(Debug)]
pub enum FirstResult {
    /// The body is under way.
    Streaming(Arc<Head>),
    /// The store has it already.
    Stored(Arc<Record>),
}

/// One who reads along.
#[derive(Debug)]
pub struct BodyReader {
    progress: watch::Receiver<FetchProgress>,
    position: ReaderPosition,
    collapsed: bool,
    /// SHA-256 digests, if any: the flight computes no other without being asked.
    expected: ExpectedDigests,
}

impl BodyReader {
    /// Whether the flight was under way before this follower came.
    #[must_use]
    pub fn is_collapsed(&self) -> bool {
        self.collapsed
    }

    /// Waits until it is known what will come.
    ///
    /// # Errors
    /// What the flight came to.
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
            // The task is gone without an end; only a panic in it does that.
            FetchState::AwaitingHead => Err(FetchError::StoreFailed),
        }
    }

    /// Waits until the store has the body.
    ///
    /// # Errors
    /// What the flight came to.
    pub async fn wait_stored(&mut self) -> Result<Arc<Record>, FetchError> {
        self.position.stop_reading();
        let progress = self.wait_for(FetchProgress::has_ended).await;
        match progress.state {
            FetchState::Stored(record) => Ok(record),
            FetchState::Failed(error) => Err(error),
            FetchState::AwaitingHead | FetchState::Streaming(_) => Err(FetchError::StoreFailed),
        }
    }

    /// The next bytes of the body from `offset` on, `limit_bytes` at most, or `None` behind its
    /// end. The last byte of a body of known length, and the end of one of unknown length, come
    /// only once the whole has been checked.
    ///
    /// # Errors
    /// What the flight came to, if it did not come to the end of the body.
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
                    || visible_bytes(head, progress) > offset
                    || progress.has_ended()
            })
            .await;
        match (&progress.state, progress.verified) {
            (_, Some(found)) => self.check(found)?,
            (FetchState::Failed(error), None) => return Err(error.clone()),
            _ => {}
        }
        let left_bytes = visible_bytes(head, &progress).saturating_sub(offset);
        if left_bytes == 0 {
            // Without an end the task is gone, and the body is cut.
            return if progress.verified.is_some() {
                Ok(None)
            } else {
                Err(FetchError::StoreFailed)
            };
        }
        let size_bytes = left_bytes.min(READER_PIECE_BYTES).min(limit_bytes as u64);
        let newest_start = progress.written_bytes - progress.newest.len() as u64;
        if let Some(at) = offset
            .checked_sub(newest_start)
            .filter(|_| !progress.newest.is_empty())
        {
            let at = usize::try_from(at).expect("it lies inside a piece in memory");
            let size = usize::try_from(size_bytes).expect("it is at most a piece");
            return Ok(Some(progress.newest.slice(at..at + size)));
        }
        let mut size = usize::try_from(size_bytes).expect("it is at most a piece");
        match &progress.overflow {
            Some(overflow) if offset >= overflow.from => {
                return overflow
                    .read(offset, size)
                    .map(Some)
                    .ok_or(FetchError::NoSpace);
            }
            Some(overflow) => {
                size = size.min(usize::try_from(overflow.from - offset).unwrap_or(size));
            }
            None => {}
        }
        let contents = progress.contents.as_ref().ok_or(FetchError::StoreFailed)?;
        match contents.read_some(offset, size).await {
            Ok(bytes) if !bytes.is_empty() => Ok(Some(bytes)),
            Ok(_) => Err(FetchError::StoreFailed),
            Err(error) => {
                tracing::warn!(%error, "a staged file could not be read");
                Err(FetchError::StoreFailed)
            }
        }
    }

    /// Holds what came against what this follower expects. The flight itself may expect less.
    fn check(&self, found: Sha256) -> Result<(), FetchError> {
        let digests = Digests {
            sha256: found,
            others: BTreeMap::new(),
        };
        match digests.first_mismatch(&self.expected) {
            None => Ok(()),
            Some(_) => Err(FetchError::Mismatch {
                expected: self.expected.clone(),
                found,
            }),
        }
    }

    /// The progress once `seen` holds, or the last there will ever be. It is copied out: the guard
    /// must not live over an await, because the flight writes under the same lock.
    async fn wait_for(&mut self, seen: impl Fn(&FetchProgress) -> bool) -> FetchProgress {
        if let Ok(progress) = self.progress.wait_for(seen).await {
            return progress.clone();
        }
        self.progress.borrow().clone()
    }
}

/// How far followers may read. The last byte is withheld until the whole has been checked.
fn visible_bytes(head: &Head, progress: &FetchProgress) -> u64 {
    match head.length {
        Some(length) if progress.verified.is_none() => {
            progress.written_bytes.min(length.saturating_sub(1))
        }
        _ => progress.written_bytes,
    }
}
