//! Faults of a disk that an operator can end: it is full or read-only.

use std::io;

/// Returns whether the file system has no space or no inode left.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Returns whether the disk may accept writes later, because it is full or read-only.
#[must_use]
pub fn is_passing(error: &io::Error) -> bool {
    is_full(error) || error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

/// Describes an error of the disk, with what an operator can do about it.
#[must_use]
pub fn with_advice(error: &io::Error) -> String {
    if is_full(error) {
        format!("{error}; the disk is full: make space and inodes free, or choose another disk")
    } else if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        format!("{error}; the disk is read-only: mount it for writing")
    } else {
        error.to_string()
    }
}
