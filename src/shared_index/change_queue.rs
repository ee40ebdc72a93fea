//! Bounded queue of changes that wait to be written to the index. The main type is [`ChangeQueue`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::model::{Sha256, lock};

/// Bound on the changes that wait, about 64 KiB. Further ones are dropped: the index is a hint, and
/// the next use of an object states it again.
const MAX_CHANGES: usize = 1024;

/// Change of the nodes that have an object. The text is the identity of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HolderChange {
    Held(Sha256, Arc<str>),
    NotHeld(Sha256, Arc<str>),
}

/// Changes that wait to be written.
#[derive(Debug, Default)]
pub struct ChangeQueue {
    changes: Mutex<VecDeque<HolderChange>>,
    added: Notify,
}

impl ChangeQueue {
    /// Adds a change, unless the queue is full. Never waits. Returns whether it was added.
    pub fn add(&self, change: HolderChange) -> bool {
        let mut changes = lock(&self.changes);
        if changes.len() >= MAX_CHANGES {
            return false;
        }
        changes.push_back(change);
        self.added.notify_one();
        true
    }

    /// Waits for changes, and takes the oldest ones, `max` at most.
    pub async fn take(&self, max: usize) -> Vec<HolderChange> {
        loop {
            let taken = self.take_now(max);
            if !taken.is_empty() {
                return taken;
            }
            self.added.notified().await;
        }
    }

    fn take_now(&self, max: usize) -> Vec<HolderChange> {
        let mut changes = lock(&self.changes);
        let count = changes.len().min(max);
        changes.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExpectedDigests, Hasher};

    #[test]
    fn full_queue_drops_new_changes() {
        let sha256 = Hasher::new(&ExpectedDigests::nothing()).finish().sha256;
        let queue = ChangeQueue::default();
        let id: Arc<str> = "ab".into();
        for _ in 0..MAX_CHANGES {
            assert!(queue.add(HolderChange::Held(sha256, Arc::clone(&id))));
        }
        assert!(!queue.add(HolderChange::NotHeld(sha256, Arc::clone(&id))));
        assert_eq!(queue.take_now(MAX_CHANGES * 2).len(), MAX_CHANGES);
        assert!(queue.add(HolderChange::NotHeld(sha256, id)));
    }
}
