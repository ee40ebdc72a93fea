//! Use of the cache disk, for operators. Its main type is [`DiskUsage`].

use super::DiskError;
use super::store::DiskStore;

/// Use of the cache disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUsage {
    /// Total size of the cached objects, in bytes.
    pub cached_bytes: u64,
    /// Those of them that belong to responses of class `revalidate` only.
    pub observed_bytes: u64,
    /// Objects that wait for their upload to the bucket.
    pub queued_uploads: u64,
    /// Bound on the cached bytes.
    pub max_size_bytes: u64,
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
        Ok(DiskUsage {
            cached_bytes: self.index.cached_bytes()?,
            observed_bytes: self.index.observed_bytes()?,
            queued_uploads: self.index.uploads().length()?,
            max_size_bytes: self.config.max_size_bytes,
            free_bytes: file_system.f_bavail.saturating_mul(file_system.f_frsize),
            free_inodes: file_system.f_favail,
        })
    }
}
