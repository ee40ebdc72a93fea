//! Lists the targets that have records, in pages, in the order of their keys. The main function is
//! [`list`].

use std::time::SystemTime;

use super::store::DiskStore;
use super::{DiskError, TargetLookup, durable_dirs, records};
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
    let begin = after.map(|key| key.to_string()).unwrap_or_default();
    let mut folders = durable_dirs::names_in(&layout.records())?;
    // The keys in a folder begin with its name.
    folders
        .retain(|name| is_key_prefix(name) && name.as_str() >= begin.get(..2).unwrap_or_default());
    for folder in folders {
        for name in durable_dirs::names_in(&layout.records().join(&folder))? {
            let Some(key) = name.parse::<Key>().ok().filter(|_| name > begin) else {
                continue;
            };
            if listed.len() == limit {
                return Ok(listed);
            }
            listed.extend(read_target(disk, key)?);
        }
    }
    Ok(listed)
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

/// Returns whether a name is that of a folder with keys, two hexadecimal digits.
fn is_key_prefix(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
