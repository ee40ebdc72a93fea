//! Lists the targets that have records, and those that are pinned, in pages, in the order of their
//! keys. The main function is [`list`].

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use super::pins::{self, Pin};
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

/// A target with its pins.
#[derive(Debug, Clone)]
pub struct ListedPins {
    pub target: ListedTarget,
    /// The pin that decides about the answer.
    pub newest: Pin,
    /// All pins, the newest first.
    pub pins: Vec<Pin>,
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
    let keys = |shard: &str| recorded_keys(&disk.layout, shard);
    collect((after, limit), keys, |key| read_target(disk, key))
}

/// Returns up to `limit` pinned targets whose key is greater than `after`. A target without a
/// readable record is missing.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn list_pinned(
    disk: &DiskStore,
    after: Option<Key>,
    limit: usize,
) -> Result<Vec<ListedPins>, DiskError> {
    let keys = |shard: &str| keys_in(&disk.layout.pins().join(shard));
    collect((after, limit), keys, |key| {
        let pins = pins::list(&disk.layout, key)?;
        let Some(newest) = pins.first().copied() else {
            return Ok(None);
        };
        let target = read_target(disk, key)?;
        Ok(target.map(|target| ListedPins {
            target,
            newest,
            pins,
        }))
    })
}

/// Reads up to `limit` targets behind `after`, in the order of their keys. `keys` returns those
/// that begin with two digits.
fn collect<T>(
    (after, limit): (Option<Key>, usize),
    keys: impl Fn(&str) -> Result<BTreeSet<Key>, DiskError>,
    read: impl Fn(Key) -> Result<Option<T>, DiskError>,
) -> Result<Vec<T>, DiskError> {
    let mut listed = Vec::new();
    let first = after.map_or(0, |key| key.as_bytes()[0]);
    for shard in (first..=u8::MAX).map(|shard| format!("{shard:02x}")) {
        for key in keys(&shard)? {
            if after.is_some_and(|after| key <= after) {
                continue;
            }
            if listed.len() == limit {
                return Ok(listed);
            }
            listed.extend(read(key)?);
        }
    }
    Ok(listed)
}

fn recorded_keys(layout: &Layout, shard: &str) -> Result<BTreeSet<Key>, DiskError> {
    let mut keys = keys_in(&layout.records().join(shard))?;
    let compacted = compact_log::names(layout, shard)?;
    keys.extend(compacted.into_iter().map(|(key, _)| key));
    Ok(keys)
}

/// Returns the keys that a folder has as names.
fn keys_in(folder: &Path) -> Result<BTreeSet<Key>, DiskError> {
    let names = durable_dirs::names_in(folder)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
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
