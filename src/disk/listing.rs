//! Lists the targets that have records, in pages, in the order of their keys. The main function is
//! [`list`].

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::store::DiskStore;
use super::{DiskError, Layout, TargetLookup, compact_log, durable_dirs, records};
use crate::model::{Key, Record};

/// A target with its active record.
#[derive(Debug, Clone)]
pub struct ListedTarget {
    pub key: Key,
    pub record: Record,
    /// Whether the object of the active record is on the disk.
    pub is_cached: bool,
    /// Whether an operator pinned the active record.
    pub is_pinned: bool,
    /// Last access of the object. `None` if it is unknown, as that of a held object.
    pub last_used: Option<SystemTime>,
}

/// Returns up to `limit` targets whose key is greater than `after`. A target that is removed at the
/// same time may be missing.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn list(
    disk: &DiskStore,
    after: Option<Key>,
    limit: usize,
) -> Result<Vec<ListedTarget>, DiskError> {
    let (layout, mut listed) = (&disk.layout, Vec::new());
    let first = after.map_or(0, |key| key.as_bytes()[0]);
    for shard in (first..=u8::MAX).map(|shard| format!("{shard:02x}")) {
        for key in keys_in(layout, &shard)? {
            if after.is_some_and(|after| key <= after) {
                continue;
            }
            if listed.len() == limit {
                return Ok(listed);
            }
            listed.extend(read_target(disk, key)?);
        }
    }
    Ok(listed)
}

/// Returns the targets whose keys begin with two digits, in the order of their keys.
fn keys_in(layout: &Layout, shard: &str) -> Result<BTreeSet<Key>, DiskError> {
    let names = durable_dirs::names_in(&layout.records().join(shard))?;
    let in_files = names.iter().filter_map(|name| name.parse::<Key>().ok());
    let compacted = compact_log::names(layout, shard)?;
    let compacted = compacted.into_iter().map(|(key, _)| key);
    Ok(in_files.chain(compacted).collect())
}

fn read_target(disk: &DiskStore, key: Key) -> Result<Option<ListedTarget>, DiskError> {
    let TargetLookup::Known(records) = records::look_up(&disk.layout, key)? else {
        return Ok(None);
    };
    let record = records.active().as_ref().clone();
    Ok(Some(ListedTarget {
        key,
        is_cached: records.is_cached(),
        is_pinned: records.is_pinned(),
        last_used: disk.index.lru().last_access(record.sha256)?,
        record,
    }))
}
