//! The rest of a body that the disk does not take: through memory, to those who follow already, no
//! faster than they read.
//!
//! Who comes later cannot join: between the file and what is in memory there may be a gap.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How much is held for those who read, in bytes.
const MAX_BUFFERED_BYTES: u64 = 4 << 20;

/// Of a reader who does not read, or not yet.
const NOT_READING: u64 = u64::MAX;

/// Where the readers of one flight are.
#[derive(Debug, Default)]
pub struct ReaderPositions {
    positions: Mutex<Vec<Weak<AtomicU64>>>,
    moved: Notify,
}

/// One reader's place. Dropped, the reader has left.
#[derive(Debug)]
pub struct ReaderPosition {
    offset: Arc<AtomicU64>,
    readers: Arc<ReaderPositions>,
}

impl ReaderPositions {
    pub fn register(self: &Arc<Self>) -> ReaderPosition {
        let offset = Arc::new(AtomicU64::new(NOT_READING));
        let mut positions = self.positions();
        if positions.len() == positions.capacity() {
            // Drop readers that have left, so that the list grows with the present readers only.
            positions.retain(|position| position.strong_count() > 0);
        }
        positions.push(Arc::downgrade(&offset));
        drop(positions);
        ReaderPosition {
            offset,
            readers: Arc::clone(self),
        }
    }

    /// Where the slowest reader is that was not left behind `start`. `None` if nobody reads.
    fn slowest(&self, start: u64) -> Option<u64> {
        let mut positions = self.positions();
        positions.retain(|position| position.strong_count() > 0);
        let read = positions
            .iter()
            .filter_map(Weak::upgrade)
            .map(|position| position.load(Ordering::Acquire));
        read.filter(|offset| *offset != NOT_READING && *offset >= start)
            .min()
    }

    fn positions(&self) -> MutexGuard<'_, Vec<Weak<AtomicU64>>> {
        // Each change is one call.
        self.positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReaderPosition {
    /// The reader has all that lies before `offset`.
    pub fn move_to(&self, offset: u64) {
        self.offset.store(offset, Ordering::Release);
        self.readers.moved.notify_one();
    }

    /// The reader waits for the end, and reads nothing.
    pub fn stop_reading(&self) {
        self.move_to(NOT_READING);
    }
}

impl Drop for ReaderPosition {
    fn drop(&mut self) {
        self.stop_reading();
    }
}

/// What is held in memory.
#[derive(Debug)]
pub struct OverflowBuffer {
    /// What lies before is in the file, in bytes.
    pub from: u64,
    tail: Mutex<BufferedTail>,
}

#[derive(Debug)]
struct BufferedTail {
    /// Where the first piece begins.
    start: u64,
    pieces: VecDeque<Bytes>,
    size_bytes: u64,
}

impl OverflowBuffer {
    pub fn new(from: u64) -> Self {
        Self {
            from,
            tail: Mutex::new(BufferedTail {
                start: from,
                pieces: VecDeque::new(),
                size_bytes: 0,
            }),
        }
    }

    /// Takes the next bytes once there is room for them. A reader who does not move for `patience`
    /// is left behind. False if nobody reads any more.
    pub async fn push(&self, bytes: Bytes, readers: &ReaderPositions, patience: Duration) -> bool {
        loop {
            // Before the look, so that no move in between is missed.
            let moved = readers.moved.notified();
            // As long as nothing was dropped, those who are still in the file come through it.
            let start = Some(self.tail().start)
                .filter(|start| *start > self.from)
                .unwrap_or_default();
            let Some(slowest) = readers.slowest(start) else {
                return false;
            };
            self.tail().drop_before(slowest);
            if self.tail().has_room() {
                break;
            }
            if timeout(patience, moved).await.is_err() {
                self.tail().drop_first();
            }
        }
        let mut tail = self.tail();
        tail.size_bytes += bytes.len() as u64;
        tail.pieces.push_back(bytes);
        true
    }

    /// The bytes at `offset`, up to `size_bytes` of them. `None` for a reader who was left behind.
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
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BufferedTail {
    fn has_room(&self) -> bool {
        self.size_bytes < MAX_BUFFERED_BYTES
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
