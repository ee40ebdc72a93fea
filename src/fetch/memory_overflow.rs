//! Bounded in-memory buffer for the rest of a body after the disk has failed.
//!
//! The fetch is throttled to its slowest reader. New readers cannot join, because bytes between the
//! end of the file and the start of the buffer may have been dropped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::FetchError;
use crate::model::lock;

/// Maximum size of the buffer, in bytes. The last piece may exceed it.
const MAX_BUFFERED_BYTES: u64 = 4 << 20;

/// Position of a reader that does not read, or has not started to.
const NOT_READING: u64 = u64::MAX;

/// Positions of all readers of one body.
#[derive(Debug, Default)]
pub struct ReaderPositions {
    positions: Mutex<Vec<Weak<AtomicU64>>>,
    moved: Notify,
}

/// Position of one reader. Dropping it removes the reader.
#[derive(Debug)]
pub struct ReaderPosition {
    offset: Arc<AtomicU64>,
    readers: Arc<ReaderPositions>,
}

impl ReaderPositions {
    pub fn register(self: &Arc<Self>) -> ReaderPosition {
        let offset = Arc::new(AtomicU64::new(NOT_READING));
        let mut positions = lock(&self.positions);
        if positions.len() == positions.capacity() {
            // Remove dropped readers, so that the list grows with the present readers only.
            positions.retain(|position| position.strong_count() > 0);
        }
        positions.push(Arc::downgrade(&offset));
        drop(positions);
        ReaderPosition {
            offset,
            readers: Arc::clone(self),
        }
    }

    /// Returns the number of present readers.
    pub fn count(&self) -> usize {
        let positions = lock(&self.positions);
        let present = positions
            .iter()
            .filter(|position| position.strong_count() > 0);
        present.count()
    }

    /// Returns the lowest position that is at least `start`, or `None` if no such reader exists.
    fn slowest(&self, start: u64) -> Option<u64> {
        let mut positions = lock(&self.positions);
        positions.retain(|position| position.strong_count() > 0);
        let offsets = positions
            .iter()
            .filter_map(Weak::upgrade)
            .map(|position| position.load(Ordering::Acquire));
        offsets
            .filter(|offset| *offset != NOT_READING && *offset >= start)
            .min()
    }
}

impl ReaderPosition {
    /// Records that the reader has all bytes before `offset`.
    pub fn move_to(&self, offset: u64) {
        self.offset.store(offset, Ordering::Release);
        self.readers.moved.notify_one();
    }

    /// Records that the reader waits for the end of the fetch and reads no bytes.
    pub fn stop_reading(&self) {
        self.move_to(NOT_READING);
    }
}

impl Drop for ReaderPosition {
    fn drop(&mut self) {
        self.stop_reading();
    }
}

/// Rest of a body in memory.
#[derive(Debug)]
pub struct OverflowBuffer {
    /// Offset of the first byte that is not in the file.
    pub start: u64,
    tail: Mutex<BufferedTail>,
}

#[derive(Debug)]
struct BufferedTail {
    /// Offset of the first piece.
    start: u64,
    pieces: VecDeque<Bytes>,
    size_bytes: u64,
}

impl OverflowBuffer {
    pub fn new(start: u64) -> Self {
        Self {
            start,
            tail: Mutex::new(BufferedTail {
                start,
                pieces: VecDeque::new(),
                size_bytes: 0,
            }),
        }
    }

    /// Appends the next bytes once the buffer has space. A reader that does not move for `patience`
    /// loses its bytes and fails.
    ///
    /// # Errors
    /// [`FetchError::NoSpace`] if no reader is left.
    pub async fn push(
        &self,
        bytes: Bytes,
        readers: &ReaderPositions,
        patience: Duration,
    ) -> Result<(), FetchError> {
        loop {
            // Created before the positions are read, so that no move is missed.
            let moved = readers.moved.notified();
            // Until a piece is dropped, readers of the file can continue into the buffer.
            let start = Some(self.tail().start)
                .filter(|start| *start > self.start)
                .unwrap_or_default();
            let slowest = readers.slowest(start).ok_or(FetchError::NoSpace)?;
            self.tail().drop_before(slowest);
            if self.tail().has_space() {
                break;
            }
            if timeout(patience, moved).await.is_err() {
                self.tail().drop_first();
            }
        }
        self.tail().push(bytes);
        Ok(())
    }

    /// Returns up to `size_bytes` at `offset`, or `None` if they were dropped.
    pub fn read(&self, offset: u64, size_bytes: usize) -> Option<Bytes> {
        let tail = self.tail();
        let mut start = tail.start;
        for piece in &tail.pieces {
            let at = usize::try_from(offset.checked_sub(start)?).ok()?;
            if at < piece.len() {
                return Some(piece.slice(at..piece.len().min(at.saturating_add(size_bytes))));
            }
            start += piece.len() as u64;
        }
        None
    }

    fn tail(&self) -> MutexGuard<'_, BufferedTail> {
        lock(&self.tail)
    }
}

impl BufferedTail {
    fn has_space(&self) -> bool {
        self.size_bytes < MAX_BUFFERED_BYTES
    }

    fn push(&mut self, bytes: Bytes) {
        self.size_bytes += bytes.len() as u64;
        self.pieces.push_back(bytes);
    }

    fn drop_before(&mut self, offset: u64) {
        while self
            .pieces
            .front()
            .is_some_and(|piece| self.start + piece.len() as u64 <= offset)
        {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(piece) = self.pieces.pop_front() {
            self.start += piece.len() as u64;
            self.size_bytes -= piece.len() as u64;
        }
    }
}
