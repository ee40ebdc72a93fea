//! Number and size of the pinned objects, for operators. The main function is [`count`].

use super::store::DiskStore;
use super::{DiskError, durable_dirs, pins};
use crate::model::Sha256;

/// Bound on the objects that are counted. An operator pins fewer.
const MAX_OBJECTS: u64 = 100_000;

/// Pinned objects on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PinnedUse {
    pub objects: u64,
    /// Total length of the objects.
    pub bytes: u64,
}

/// Counts the pinned objects that are on the disk.
///
/// # Errors
/// [`DiskError`] if the disk or the index fails.
pub fn count(disk: &DiskStore) -> Result<PinnedUse, DiskError> {
    let (root, mut used) = (disk.layout.pins().join("by-digest"), PinnedUse::default());
    for shard in durable_dirs::names_in(&root)? {
        for name in durable_dirs::names_in(&root.join(&shard))? {
            let Ok(sha256) = name.parse::<Sha256>() else {
                continue;
            };
            if !pins::is_pinned(&disk.layout, sha256)? {
                continue;
            }
            if let Some(size_bytes) = disk.index.size_of(sha256)? {
                used.objects += 1;
                used.bytes += size_bytes;
            }
            if used.objects == MAX_OBJECTS {
                return Ok(used);
            }
        }
    }
    Ok(used)
}
