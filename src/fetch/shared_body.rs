//! Body of an in-flight fetch, with one writer and many readers.
//!
//! The fetch task writes through [`SharedBody`]: the head, the bytes as they arrive, and the
//! result. Each request reads through a [`BodyReader`]. This module knows no origin and no policy.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::FetchError;
use super::body_reader::{Attendance, BodyReader};
use super::fetch_meter::FetchMeter;
use super::fetch_progress::{BodyCheck, FetchProgress, FetchState, Head, Rejection};
use super::memory_overflow::{OverflowBuffer, ReaderPositions};
use crate::cache::{Cache, OpenFile};
use crate::limits::{PoolClient, Readership};
use crate::model::{Digests, ExpectedDigests, Record, lock};

/// Bound on the different digests that readers of one body state and that are remembered.
const MAX_STATED: usize = 64;

/// Writer side of the body of one fetch.
#[derive(Debug)]
pub struct SharedBody {
    progress: watch::Sender<FetchProgress>,
    meter: Arc<FetchMeter>,
    readers: Arc<ReaderPositions>,
    /// Clients that the permits of the fetch count for.
    readership: Arc<Readership>,
    /// Digests that readers have stated.
    stated: Mutex<HashSet<ExpectedDigests>>,
    /// A peer may be asked for the body. Set at the beginning, and never again after the last peer.
    asks_peers: AtomicBool,
    /// More than one request has asked for the body.
    is_shared: AtomicBool,
    cache: Cache,
}

impl SharedBody {
    /// Creates an empty body of a fetch that `beginner` has begun. `cache` computes digests that
    /// readers state and the fetch does not compute.
    pub fn new(cache: Cache, beginner: PoolClient) -> Self {
        let readers = Arc::default();
        Self {
            progress: watch::Sender::new(FetchProgress::new()),
            meter: FetchMeter::new(Arc::clone(&readers)),
            readers,
            readership: Readership::new(beginner),
            stated: Mutex::default(),
            asks_peers: AtomicBool::new(false),
            is_shared: AtomicBool::new(false),
            cache,
        }
    }

    /// Adds the reader of the request that started the fetch. The reader checks `expected` in
    /// addition to the checks of the fetch.
    pub fn first_reader(&self, client: PoolClient, expected: ExpectedDigests) -> BodyReader {
        self.add_reader(client, expected)
    }

    /// Adds a reader after the fetch has started. The reader checks `expected` in addition to the
    /// checks of the fetch.
    ///
    /// # Errors
    /// [`FetchError::NoSpace`] if the disk has failed, because the body is no longer complete.
    pub fn join(
        &self,
        client: PoolClient,
        expected: ExpectedDigests,
    ) -> Result<BodyReader, FetchError> {
        if self.is_overflowing() {
            Err(FetchError::NoSpace)
        } else {
            self.is_shared.store(true, Ordering::Relaxed);
            Ok(self.add_reader(client, expected).collapsed())
        }
    }

    fn add_reader(&self, client: PoolClient, expected: ExpectedDigests) -> BodyReader {
        if !expected.is_empty() {
            let mut stated = lock(&self.stated);
            if stated.len() < MAX_STATED {
                stated.insert(expected.clone());
            }
        }
        let attendance = Attendance {
            position: self.readers.register(),
            reading: self.readership.join(client),
        };
        BodyReader::new(
            self.progress.subscribe(),
            attendance,
            expected,
            self.cache.clone(),
        )
    }

    /// Returns the clients that the permits of the fetch count for.
    pub fn readership(&self) -> &Arc<Readership> {
        &self.readership
    }

    /// Returns the meter of the fetch.
    pub fn meter(&self) -> &Arc<FetchMeter> {
        &self.meter
    }

    /// Takes the digests that readers have stated.
    pub fn take_stated(&self) -> HashSet<ExpectedDigests> {
        std::mem::take(&mut *lock(&self.stated))
    }

    /// Waits for the end of the fetch.
    pub async fn wait_finished(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is a field of `self`, so the channel cannot close during the call.
        let _ = progress.wait_for(FetchProgress::has_ended).await;
    }

    /// Whether a peer may be asked for the body from now on.
    pub fn asks_peers(&self) -> bool {
        self.asks_peers.load(Ordering::Acquire)
    }

    /// Makes the body one for which peers are asked.
    pub fn asking_peers(mut self) -> Self {
        *self.asks_peers.get_mut() = true;
        self
    }

    /// Whether more than one request has asked for the body.
    pub fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Records that no peer is asked any more.
    pub fn leave_peers(&self) {
        self.asks_peers.store(false, Ordering::Release);
    }

    /// Whether readers have the head and the fetch has not ended.
    pub fn is_streaming(&self) -> bool {
        matches!(self.progress.borrow().state, FetchState::Streaming(_))
    }

    /// Whether the body is complete and its digests were checked.
    pub fn is_checked(&self) -> bool {
        !self.progress.borrow().is_pending()
    }

    /// Makes the head and the first `written_bytes` of the file available to readers.
    pub fn start_streaming(&self, head: Arc<Head>, file: OpenFile, written_bytes: u64) {
        self.meter.set_length(head.length);
        self.meter.set_received(written_bytes);
        self.progress.send_modify(|progress| {
            progress.state = FetchState::Streaming(head);
            progress.file = Some(file);
            progress.written_bytes = written_bytes;
        });
    }

    /// Continues in another file. All bytes that readers may have seen must be the same there.
    pub fn switch_file(&self, file: OpenFile, written_bytes: u64) {
        self.meter.set_received(written_bytes);
        self.progress.send_modify(|progress| {
            progress.file = Some(file);
            progress.written_bytes = written_bytes;
            progress.newest = Bytes::new();
        });
    }

    /// Makes the body available up to `written_bytes`. `newest` holds its last bytes, and may be
    /// empty.
    pub fn advance(&self, written_bytes: u64, newest: Bytes) {
        self.meter.set_received(written_bytes);
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
    pub fn mark_verified(&self, digests: Digests) {
        self.progress
            .send_modify(|progress| progress.check = BodyCheck::Accepted(Arc::new(digests)));
    }

    /// Makes the end of a body that lacks a required digest available to readers that stated the
    /// digests which it has, or that accept it.
    pub fn mark_rejected(&self, rejection: Rejection, digests: Digests) {
        let check = BodyCheck::Rejected(rejection, Arc::new(digests));
        self.progress.send_modify(|progress| progress.check = check);
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
