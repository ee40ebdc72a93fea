//! Snapshot of a target's observations before a request is sent, so that a late response is found.
//!
//! A response that was requested before a change of its target may be older than the change, also
//! if another process of the folder has seen it. Snapshots are compared under the lock of the
//! observations. No clock takes part. This file must not know how observations are read, or what a
//! late response means. Its main type is [`TargetSnapshot`].

use std::io;
use std::os::unix::fs::FileExt as _;

use fs_err as fs;

use crate::model::Key;

/// Stored responses of a target, and its removals, before a request for it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSnapshot {
    /// Removals of targets that share the lock. One of another target costs a validation at most.
    pub(super) removals: u64,
    /// Sequence number of the newest observation, and zero without one.
    pub(super) newest: u64,
    /// The file that the target belongs to, if it is a companion, and that file's `newest`.
    pub(super) file: Option<(Key, u64)>,
}

/// Counts a removal in the file of a lock that the caller holds.
///
/// # Errors
/// The system's error if the disk fails.
pub(super) fn count_removal(lock: &fs::File) -> io::Result<()> {
    let removals = removals(lock)?.wrapping_add(1);
    lock.file().write_all_at(&removals.to_le_bytes(), 0)
}

/// Returns the number of removals. A file that ends early counts as empty.
///
/// # Errors
/// The system's error if the disk fails.
pub(super) fn removals(lock: &fs::File) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match lock.file().read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(u64::from_le_bytes(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        Err(error) => Err(error),
    }
}
