//! Leases of targets: which process of the folder fetches a target.
//!
//! This file must not know fetches. Its main type is [`TargetLeases`].

use super::error::CacheError;
use crate::disk::{Acquire, DiskIo, DiskStore, IoClass, lease};
use crate::model::Key;

/// The leases of the targets of one folder. One process of the folder holds each at a time.
#[derive(Debug, Clone, Copy)]
pub struct TargetLeases<'a> {
    disk: &'a DiskIo,
}

impl<'a> TargetLeases<'a> {
    pub(super) fn new(disk: &'a DiskIo) -> Self {
        Self { disk }
    }

    /// Acquires the lease of a target, unless a process holds it.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails, or its file system has no locks.
    pub async fn acquire(self, key: Key) -> Result<Acquire, CacheError> {
        Ok(lease::acquire(self.disk, key).await?)
    }

    /// Whether a process holds the lease of a target.
    ///
    /// # Errors
    /// As [`TargetLeases::acquire`].
    pub async fn is_held(self, key: Key) -> Result<bool, CacheError> {
        let is_held = self.disk.run(IoClass::Request, move |disk| {
            lease::is_held(&disk.layout, key)
        });
        Ok(is_held.await?)
    }

    /// As [`TargetLeases::is_held`], but only a hint, without waiting for the disk.
    #[must_use]
    pub fn is_probably_held(self, key: Key) -> bool {
        lease::is_probably_held(&self.disk.store().layout, key)
    }

    /// Releases the leases and the reservations of dead processes.
    ///
    /// # Errors
    /// [`CacheError`] if the index or the disk fails.
    pub async fn reclaim_dead_processes(self) -> Result<(), CacheError> {
        let reclaimed = self
            .disk
            .run(IoClass::Request, DiskStore::reclaim_dead_processes);
        Ok(reclaimed.await?)
    }
}
