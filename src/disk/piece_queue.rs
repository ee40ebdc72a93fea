//! Objects that wait for their pieces to be hashed.
//!
//! The queue is a hint: an object that is lost from it is found by the next pass over the index.
//! The main type is [`PieceQueue`].

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::Notify;

use crate::model::{PieceList, Sha256, lock};

/// Bound on the objects that wait.
const MAX_WAITING: usize = 1024;

/// Objects that wait for their pieces to be hashed, each of them once.
#[derive(Debug, Default)]
pub struct PieceQueue {
    waiting: Mutex<VecDeque<Sha256>>,
    added: Notify,
}

impl PieceQueue {
    /// Adds an object, unless it is too small or large for pieces, or too many wait.
    pub fn add(&self, sha256: Sha256, size_bytes: u64) {
        if !PieceList::is_for(size_bytes) {
            return;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.len() < MAX_WAITING && !waiting.contains(&sha256) {
            waiting.push_back(sha256);
            self.added.notify_one();
        }
    }

    /// Takes the object that waits longest.
    pub fn take(&self) -> Option<Sha256> {
        lock(&self.waiting).pop_front()
    }

    /// Returns once an object may wait.
    pub async fn added(&self) {
        self.added.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_is_bounded_and_has_each_object_once() {
        let (queue, size_bytes) = (PieceQueue::default(), 16 << 20);
        let object = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            Sha256::from_bytes(bytes)
        };
        queue.add(object(0), size_bytes - 1);
        assert_eq!(queue.take(), None);
        for number in (0..=MAX_WAITING).chain(0..5) {
            queue.add(object(number), size_bytes);
        }
        for number in 0..MAX_WAITING {
            assert_eq!(queue.take(), Some(object(number)));
        }
        assert_eq!(queue.take(), None);
    }
}
