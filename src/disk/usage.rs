//! Use of the cache disk: for operators, and for the bounds on it. The main type is [`DiskUsage`].

use std::time::SystemTime;

use super::index::LedgerTotals;
use super::metadata_ledger::{BLOCK_BYTES, FileUse, FileUseChange, MetadataKind};
use super::store::DiskStore;
use super::{DiskError, free_inodes};

/// Changes of the small files, in bytes, with which the index is updated before the next periodic
/// update. In a small cache it is a part of `cache.max_size` with [`FLUSH_DIVISOR`].
const FLUSH_STEP_BYTES: u64 = 256 * 1024;

/// Divisor of `cache.max_size` for this step.
const FLUSH_DIVISOR: u64 = 64;

/// Blocks of a recorded object beyond its length: the rest of its last one, the record, its folder.
const RECORDED_BLOCKS: u64 = 3;

/// Use of the cache disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUsage {
    /// Total length of the cached objects, in bytes.
    pub cached_bytes: u64,
    /// Those of them that belong to responses of class `revalidate` only.
    pub observed_bytes: u64,
    /// Objects that wait for their upload to the bucket.
    pub queued_uploads: u64,
    /// When the one that has waited longest was queued. A rebuilt index knows no earlier time.
    pub oldest_upload: Option<SystemTime>,
    /// Bytes on the disk of objects, unfinished bodies and small files.
    pub used_bytes: u64,
    /// Bytes on the disk of records, observations and digests.
    pub metadata_bytes: u64,
    /// Inodes of all these files.
    pub used_inodes: u64,
    /// Bytes that are reserved for unfinished bodies.
    pub reserved_bytes: u64,
    /// Bound on the used bytes.
    pub max_size_bytes: u64,
    /// Bytes at which eviction begins.
    pub high_watermark_bytes: u64,
    /// Bytes at which eviction ends.
    pub low_watermark_bytes: u64,
    /// Bytes of the file system that this process may still use.
    pub free_bytes: u64,
    /// Files that the file system can still hold.
    pub free_inodes: u64,
}

impl DiskStore {
    /// Returns the use of the disk as of now.
    ///
    /// # Errors
    /// [`DiskError`] if the index or the file system fails.
    pub fn usage(&self) -> Result<DiskUsage, DiskError> {
        let file_system =
            rustix::fs::statvfs(self.layout.objects()).map_err(std::io::Error::from)?;
        let totals = self.totals()?;
        let parts = [totals.objects, totals.staged, totals.records, totals.others];
        Ok(DiskUsage {
            cached_bytes: totals.cached_bytes,
            observed_bytes: self.index.ledger().observed_bytes()?,
            queued_uploads: self.index.uploads().length()?,
            oldest_upload: self.index.uploads().oldest()?,
            used_bytes: parts.iter().map(|part| part.bytes).sum(),
            metadata_bytes: totals.records.bytes + totals.others.bytes,
            used_inodes: parts.iter().map(|part| part.inodes).sum(),
            reserved_bytes: totals.staged.bytes,
            max_size_bytes: self.config.max_size_bytes,
            high_watermark_bytes: self.config.high_watermark_bytes,
            low_watermark_bytes: self.config.low_watermark_bytes,
            free_bytes: file_system.f_bavail.saturating_mul(file_system.f_frsize),
            free_inodes: file_system.f_favail,
        })
    }

    /// Returns whether a body of this length fits without an eviction, now or soon.
    ///
    /// # Errors
    /// [`DiskError`] if the index or the file system fails.
    pub fn has_space_for(&self, size_bytes: u64) -> Result<bool, DiskError> {
        self.fits_within(size_bytes, self.config.low_watermark_bytes)
    }

    /// Returns whether a body of this length and its record fit before an eviction begins.
    ///
    /// # Errors
    /// [`DiskError`] if the index or the file system fails.
    pub fn fits_without_eviction(&self, size_bytes: u64) -> Result<bool, DiskError> {
        let with_files = size_bytes.saturating_add(RECORDED_BLOCKS * BLOCK_BYTES);
        self.fits_within(with_files, self.config.high_watermark_bytes)
    }

    fn fits_within(&self, size_bytes: u64, limit_bytes: u64) -> Result<bool, DiskError> {
        let usage = self.usage()?;
        let used_bytes = usage.used_bytes.saturating_add(size_bytes);
        let needed_bytes = size_bytes.saturating_add(self.config.min_free_bytes);
        Ok(used_bytes <= limit_bytes
            && needed_bytes <= usage.free_bytes
            && free_inodes::has_spare(self)?)
    }

    /// Returns the sums of the index, with the changes that it does not have yet.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub(super) fn totals(&self) -> Result<LedgerTotals, DiskError> {
        let mut totals = self.index.ledger().totals()?;
        add_pending(
            &mut totals.records,
            self.metadata.pending(MetadataKind::Records),
        );
        add_pending(
            &mut totals.others,
            self.metadata.pending(MetadataKind::Others),
        );
        Ok(totals)
    }

    /// Returns the bytes of objects and small files that count in `cache.max_size`.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub(super) fn counted_bytes(&self) -> Result<u64, DiskError> {
        Ok(self.totals()?.counted_bytes(self.config.max_size_bytes))
    }

    /// Writes access times and changes of the small files to the index. They stay in memory if it
    /// cannot be written.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index is damaged.
    pub fn flush(&self) -> Result<(), DiskError> {
        self.index.lru().flush_access_times()?;
        self.flush_metadata()
    }

    /// Writes the changes of the small files if they are many.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub(super) fn flush_large_changes(&self) -> Result<(), DiskError> {
        let pending = |kind| self.metadata.pending(kind).bytes.unsigned_abs();
        let step_bytes = FLUSH_STEP_BYTES.min(self.config.max_size_bytes / FLUSH_DIVISOR);
        if pending(MetadataKind::Records) + pending(MetadataKind::Others) > step_bytes {
            self.flush_metadata()?;
        }
        Ok(())
    }

    fn flush_metadata(&self) -> Result<(), DiskError> {
        for kind in [MetadataKind::Records, MetadataKind::Others] {
            let change = self.metadata.take(kind);
            if change == FileUseChange::default() {
                continue;
            }
            if let Err(error) = self.index.ledger().add_metadata(kind, change) {
                self.metadata.put_back(kind, change);
                if !error.is_index_unavailable() {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

fn add_pending(files: &mut FileUse, change: FileUseChange) {
    files.bytes = files.bytes.saturating_add_signed(change.bytes);
    files.inodes = files.inodes.saturating_add_signed(change.inodes);
}
