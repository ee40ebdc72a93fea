//! A flight as its followers see it: the head, the bytes as they come, the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::FetchError;
use super::adrift::{Adrift, Place, Readers};
use crate::cache::OpenFile;
use crate::model::{Digests, Expected, KeptHeaders, Record, Sha256};

/// The most that a follower is given at once, in bytes. With many followers this is what their buffers cost each.
const FOLLOW_PIECE_BYTES: u64 = 32 * 1024;

/// The head of a body that is being fetched.
#[derive(Debug)]
pub struct Head {
    /// In bytes, if the origin said so.
    pub length: Option<u64>,
    pub headers: KeptHeaders,
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
    /// The file that is read. It may become another one, whose first bytes are the same.
    contents: Option<OpenFile>,
    /// How much of the body can be read from it.
    written_bytes: u64,
    /// The last piece that was written: those who are up to date need no look at the file.
    newest: Bytes,
    /// Set once the disk takes no more of it: then the rest is here.
    adrift: Option<Arc<Adrift>>,
    /// Set once the length and the expected digests hold, and no byte is to come any more.
    found: Option<Sha256>,
}

impl Progress {
    fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Landed(_) | Stage::Failed(_))
    }
}

/// One fetch, as the task that flies it sees it.
#[derive(Debug)]
pub struct Flight {
    progress: watch::Sender<Progress>,
    readers: Arc<Readers>,
}

impl Flight {
    pub fn new() -> Self {
        let progress = Progress {
            stage: Stage::Asking,
            contents: None,
            written_bytes: 0,
            newest: Bytes::new(),
            adrift: None,
            found: None,
        };
        Self { progress: watch::Sender::new(progress), readers: Arc::default() }
    }

    /// Lets another one follow.
    ///
    /// # Errors
    /// [`FetchError::NoSpace`] if the disk does not take all of it.
    pub fn join(&self, expected: Expected) -> Result<Follower, FetchError> {
        if self.is_adrift() { Err(FetchError::NoSpace) } else { Ok(self.follow(true, expected)) }
    }

    pub fn follow(&self, collapsed: bool, expected: Expected) -> Follower {
        let place = self.readers.enter();
        Follower { progress: self.progress.subscribe(), place, collapsed, expected }
    }

    /// Returns once the flight has come to its end.
    pub async fn ended(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is this very flight, so that the channel cannot close under us.
        let _ = progress.wait_for(Progress::has_ended).await;
    }

    /// Whether the followers have seen the head, and not the end.
    pub fn is_flowing(&self) -> bool {
        matches!(self.progress.borrow().stage, Stage::Flowing(_))
    }

    /// Lets the followers see the head, and what is written up to now.
    pub fn flow(&self, head: Arc<Head>, contents: OpenFile, written_bytes: u64) {
        self.progress.send_modify(|progress| {
            progress.stage = Stage::Flowing(head);
            progress.contents = Some(contents);
            progress.written_bytes = written_bytes;
        });
    }

    /// Goes on in another file. All that the followers may have seen must be the same there.
    pub fn go_on_in(&self, contents: OpenFile, written_bytes: u64) {
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

    /// The disk takes nothing behind `from`. Those who follow get the rest from memory, nobody can join any more.
    pub fn cast_off(&self, from: u64) {
        self.progress.send_modify(|progress| progress.adrift = Some(Arc::new(Adrift::new(from))));
    }

    pub fn is_adrift(&self) -> bool {
        self.progress.borrow().adrift.is_some()
    }

    /// As [`Flight::advance`], for a flight that was cast off: waits for its followers, each at most `patience`. False if
    /// there are none any more.
    pub async fn drift(&self, written_bytes: u64, newest: Bytes, patience: Duration) -> bool {
        let Some(adrift) = self.progress.borrow().adrift.clone() else { return false };
        let is_wanted = adrift.push(newest.clone(), &self.readers, patience).await;
        if is_wanted {
            self.advance(written_bytes, newest);
        }
        is_wanted
    }

    /// Lets the followers have the end of the body.
    pub fn complete(&self, found: Sha256) {
        self.progress.send_modify(|progress| progress.found = Some(found));
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
    place: Place,
    collapsed: bool,
    /// SHA-256 digests, if any: the flight computes no other without being asked.
    expected: Expected,
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
            Stage::Flowing(head) => {
                self.place.move_to(0);
                Ok(Arrival::Flowing(head))
            }
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
        self.place.leave();
        let progress = self.wait_for(Progress::has_ended).await;
        match progress.stage {
            Stage::Landed(record) => Ok(record),
            Stage::Failed(error) => Err(error),
            Stage::Asking | Stage::Flowing(_) => Err(FetchError::Unstorable),
        }
    }

    /// The next bytes of the body from `offset` on, `limit_bytes` at most, or `None` behind its end. The last byte of a body of known length, and the
    /// end of one of unknown length, come only once the whole has been checked.
    ///
    /// # Errors
    /// What the flight came to, if it did not come to the end of the body.
    pub async fn next(&mut self, head: &Head, offset: u64, limit_bytes: usize) -> Result<Option<Bytes>, FetchError> {
        self.place.move_to(offset);
        let progress = self
            .wait_for(|progress| {
                progress.found.is_some() || visible_bytes(head, progress) > offset || progress.has_ended()
            })
            .await;
        match (&progress.stage, progress.found) {
            (_, Some(found)) => self.check(found)?,
            (Stage::Failed(error), None) => return Err(error.clone()),
            _ => {}
        }
        let left_bytes = visible_bytes(head, &progress).saturating_sub(offset);
        if left_bytes == 0 {
            // Without an end the task is gone, and the body is cut.
            return if progress.found.is_some() { Ok(None) } else { Err(FetchError::Unstorable) };
        }
        let size_bytes = left_bytes.min(FOLLOW_PIECE_BYTES).min(limit_bytes as u64);
        let newest_start = progress.written_bytes - progress.newest.len() as u64;
        if let Some(at) = offset.checked_sub(newest_start).filter(|_| !progress.newest.is_empty()) {
            let at = usize::try_from(at).expect("it lies inside a piece in memory");
            let size = usize::try_from(size_bytes).expect("it is at most a piece");
            return Ok(Some(progress.newest.slice(at..at + size)));
        }
        let mut size = usize::try_from(size_bytes).expect("it is at most a piece");
        match &progress.adrift {
            Some(adrift) if offset >= adrift.from => {
                return adrift.read(offset, size).map(Some).ok_or(FetchError::NoSpace);
            }
            Some(adrift) => size = size.min(usize::try_from(adrift.from - offset).unwrap_or(size)),
            None => {}
        }
        let contents = progress.contents.as_ref().ok_or(FetchError::Unstorable)?;
        match contents.read_some(offset, size).await {
            Ok(bytes) if !bytes.is_empty() => Ok(Some(bytes)),
            Ok(_) => Err(FetchError::Unstorable),
            Err(error) => {
                tracing::warn!(%error, "a staged file could not be read");
                Err(FetchError::Unstorable)
            }
        }
    }

    /// Holds what came against what this follower expects. The flight itself may expect less.
    fn check(&self, found: Sha256) -> Result<(), FetchError> {
        let digests = Digests { sha256: found, others: BTreeMap::new() };
        match digests.violated(&self.expected) {
            None => Ok(()),
            Some(_) => Err(FetchError::Mismatch { expected: self.expected.clone(), found }),
        }
    }

    /// The progress once `seen` holds, or the last there will ever be. It is copied out: the guard must not live over an
    /// await, because the flight writes under the same lock.
    async fn wait_for(&mut self, seen: impl Fn(&Progress) -> bool) -> Progress {
        if let Ok(progress) = self.progress.wait_for(seen).await {
            return progress.clone();
        }
        self.progress.borrow().clone()
    }
}

/// How far followers may read. The last byte is withheld until the whole has been checked.
fn visible_bytes(head: &Head, progress: &Progress) -> u64 {
    match head.length {
        Some(length) if progress.found.is_none() => progress.written_bytes.min(length.saturating_sub(1)),
        _ => progress.written_bytes,
    }
}
