//! A flight as its followers see it: the head, the bytes as they come, the end.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::FetchError;
use crate::model::{KeptHeaders, Record};
use crate::store::Contents;

/// The most that a follower is given at once, in bytes. With many followers this is what their buffers cost each.
const FOLLOW_PIECE_BYTES: u64 = 64 * 1024;

/// The head of a body that is being fetched.
#[derive(Debug)]
pub struct Head {
    /// In bytes, if the origin said so.
    pub length: Option<u64>,
    pub headers: KeptHeaders,
    /// The staged file.
    pub(super) contents: Contents,
}

#[derive(Debug, Clone)]
enum Stage {
    Asking,
    Flowing(Arc<Head>),
    /// The store has it.
    Landed(Arc<Record>),
    Failed(FetchError),
}

#[derive(Debug, Clone)]
struct Progress {
    stage: Stage,
    /// How much of the body can be read from the staged file.
    written_bytes: u64,
    /// The last piece that was written: those who are up to date need no look at the file.
    newest: Bytes,
    /// The length and the expected digests hold, and no byte is to come any more.
    is_whole: bool,
}

/// One fetch, as the task that flies it sees it.
#[derive(Debug)]
pub struct Flight {
    progress: watch::Sender<Progress>,
}

impl Flight {
    pub fn new() -> Self {
        let progress = Progress { stage: Stage::Asking, written_bytes: 0, newest: Bytes::new(), is_whole: false };
        Self { progress: watch::Sender::new(progress) }
    }

    pub fn follow(&self, collapsed: bool) -> Follower {
        Follower { progress: self.progress.subscribe(), collapsed }
    }

    /// Lets the followers see the head, and what is written up to now.
    pub fn flow(&self, head: Arc<Head>, written_bytes: u64) {
        self.progress.send_modify(|progress| {
            progress.stage = Stage::Flowing(head);
            progress.written_bytes = written_bytes;
        });
    }

    pub fn advance(&self, written_bytes: u64, newest: Bytes) {
        self.progress.send_modify(|progress| {
            progress.written_bytes = written_bytes;
            progress.newest = newest;
        });
    }

    /// Lets the followers have the end of the body.
    pub fn complete(&self) {
        self.progress.send_modify(|progress| progress.is_whole = true);
    }

    pub fn end(&self, outcome: Result<Arc<Record>, FetchError>) {
        self.progress.send_modify(|progress| {
            progress.newest = Bytes::new();
            progress.stage = match outcome {
                Ok(record) => Stage::Landed(record),
                Err(error) => Stage::Failed(error),
            };
        });
    }
}

/// What a follower finds first.
#[derive(Debug)]
pub enum Arrival {
    /// The body is under way.
    Flowing(Arc<Head>),
    /// The store has it already.
    Landed(Arc<Record>),
}

/// One who reads along.
#[derive(Debug)]
pub struct Follower {
    progress: watch::Receiver<Progress>,
    collapsed: bool,
}

impl Follower {
    /// Whether the flight was under way before this follower came.
    #[must_use]
    pub fn is_collapsed(&self) -> bool {
        self.collapsed
    }

    /// Waits until it is known what will come.
    ///
    /// # Errors
    /// What the flight came to.
    pub async fn arrival(&mut self) -> Result<Arrival, FetchError> {
        let progress = self.wait_for(|progress| !matches!(progress.stage, Stage::Asking)).await;
        match progress.stage {
            Stage::Flowing(head) => Ok(Arrival::Flowing(head)),
            Stage::Landed(record) => Ok(Arrival::Landed(record)),
            Stage::Failed(error) => Err(error),
            // The task is gone without an end; only a panic in it does that.
            Stage::Asking => Err(FetchError::Unstorable),
        }
    }

    /// Waits until the store has the body.
    ///
    /// # Errors
    /// What the flight came to.
    pub async fn landing(&mut self) -> Result<Arc<Record>, FetchError> {
        let progress = self.wait_for(|progress| matches!(progress.stage, Stage::Landed(_) | Stage::Failed(_))).await;
        match progress.stage {
            Stage::Landed(record) => Ok(record),
            Stage::Failed(error) => Err(error),
            Stage::Asking | Stage::Flowing(_) => Err(FetchError::Unstorable),
        }
    }

    /// The next bytes of the body from `offset` on, or `None` behind its end. The last byte of a body of known length, and the
    /// end of one of unknown length, come only once the whole has been checked.
    ///
    /// # Errors
    /// What the flight came to, if it did not come to the end of the body.
    pub async fn next(&mut self, head: &Head, offset: u64) -> Result<Option<Bytes>, FetchError> {
        let progress = self
            .wait_for(|progress| {
                progress.is_whole
                    || visible_bytes(head, progress) > offset
                    || matches!(progress.stage, Stage::Landed(_) | Stage::Failed(_))
            })
            .await;
        if let (Stage::Failed(error), false) = (&progress.stage, progress.is_whole) {
            return Err(error.clone());
        }
        let left_bytes = visible_bytes(head, &progress).saturating_sub(offset);
        if left_bytes == 0 {
            // Without an end the task is gone, and the body is cut.
            return if progress.is_whole { Ok(None) } else { Err(FetchError::Unstorable) };
        }
        let size_bytes = left_bytes.min(FOLLOW_PIECE_BYTES);
        let newest_start = progress.written_bytes - progress.newest.len() as u64;
        if let Some(at) = offset.checked_sub(newest_start).filter(|_| !progress.newest.is_empty()) {
            let at = usize::try_from(at).expect("it lies inside a piece in memory");
            let size = usize::try_from(size_bytes).expect("it is at most a piece");
            return Ok(Some(progress.newest.slice(at..at + size)));
        }
        let size = usize::try_from(size_bytes).expect("it is at most a piece");
        match head.contents.read_some(offset, size).await {
            Ok(bytes) if !bytes.is_empty() => Ok(Some(bytes)),
            Ok(_) => Err(FetchError::Unstorable),
            Err(error) => {
                tracing::warn!(%error, "a staged file could not be read");
                Err(FetchError::Unstorable)
            }
        }
    }

    /// The progress once `seen` holds, or the last there will ever be. It is copied out: the guard must not live over an
    /// await, because the flight writes under the same lock.
    async fn wait_for(&mut self, seen: impl FnMut(&Progress) -> bool) -> Progress {
        if let Ok(progress) = self.progress.wait_for(seen).await {
            return progress.clone();
        }
        self.progress.borrow().clone()
    }
}

/// How far followers may read. The last byte is withheld until the whole has been checked.
fn visible_bytes(head: &Head, progress: &Progress) -> u64 {
    match head.length {
        Some(length) if !progress.is_whole => progress.written_bytes.min(length.saturating_sub(1)),
        _ => progress.written_bytes,
    }
}
