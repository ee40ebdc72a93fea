use std::path::PathBuf;
use std::time::Duration;

/// Settings of the cache folder.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    pub dir: PathBuf,
    /// Bound on the bytes of objects and reservations together.
    pub max_size_bytes: u64,
    /// Held bytes at which eviction begins.
    pub high_watermark_bytes: u64,
    /// Held bytes at which it ends.
    pub low_watermark_bytes: u64,
    /// Bytes of the file system that are left free.
    pub min_free_bytes: u64,
    /// Time after which a disk operation for a request is abandoned.
    pub timeout: Duration,
}
