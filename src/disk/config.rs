//! Settings of the cache folder, already parsed and checked. This file must not know their keys in
//! the configuration file.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of the cache folder.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    /// Root of the cache folder.
    pub dir: PathBuf,
    /// Bound on the bytes of objects and reservations together.
    pub max_size_bytes: u64,
    /// Cached bytes above which eviction begins.
    pub high_watermark_bytes: u64,
    /// Cached bytes at which eviction ends.
    pub low_watermark_bytes: u64,
    /// Bound on the bytes of objects that only observations name. It is a part of
    /// `max_size_bytes`.
    pub max_observed_bytes: u64,
    /// Bytes of the file system that Millpond keeps free.
    pub min_free_bytes: u64,
    /// Inodes of the file system that Millpond keeps free, at most 5 % of all.
    pub min_free_inodes: u64,
    /// Time after which a disk operation for a request is abandoned.
    pub timeout: Duration,
    /// Maximum number of small objects that stay open.
    pub held_objects: usize,
}
