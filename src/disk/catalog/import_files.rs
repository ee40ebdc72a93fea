//! Lists that operators have imported into the catalog, in `catalog/<sha256>.jsonl`, one entry a
//! line.
//!
//! They cannot be rebuilt from anything else, so a list is synced before it counts. The main
//! functions are [`store`], [`remove`] and [`restore_all`].

use std::collections::HashSet;
use std::io::Write as _;

use fs_err as fs;

use super::entry::CatalogEntry;
use crate::disk::{DiskError, DiskStore, durable_dirs};
use crate::model::{ExpectedDigests, Hasher, Sha256};

/// Bound on the lists of a folder.
const MAX_LISTS: usize = 10_000;

/// Bound on the entries of all lists. They take about 1.3 GB on the disk.
const MAX_LISTED_ENTRIES: u64 = 4_000_000;

/// Ending of the name of a list.
const ENDING: &str = ".jsonl";

/// Stores a list and adds its entries to the catalog. Returns its digest. A list with the same
/// entries is replaced, and an entry that occurs twice in the list counts once.
///
/// # Errors
/// [`DiskError::TooManyEntries`] if the lists would have too many, or [`DiskError`] if the disk
/// fails.
/// Then the list may be stored, and a scan adds its entries.
pub fn store(disk: &DiskStore, entries: &[CatalogEntry]) -> Result<Sha256, DiskError> {
    store_within(disk, entries, MAX_LISTED_ENTRIES)
}

/// Does the same with another bound on the entries of all lists.
fn store_within(
    disk: &DiskStore,
    entries: &[CatalogEntry],
    max_entries: u64,
) -> Result<Sha256, DiskError> {
    let mut lines = HashSet::with_capacity(entries.len());
    let mut text = String::new();
    for entry in entries {
        let line = entry.to_line();
        if !lines.contains(&line) {
            text.push_str(&line);
            text.push('\n');
            lines.insert(line);
        }
    }
    drop(lines);
    let list = digest_of(text.as_bytes());
    let folder = disk.layout.catalog_lists();
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{list}{ENDING}"));
    if !path.exists() {
        let count = durable_dirs::names_in(&folder)?.len();
        let listed = disk.catalog.count_all_imported()? + text.lines().count() as u64;
        if count >= MAX_LISTS || listed > max_entries {
            return Err(DiskError::TooManyEntries);
        }
    }
    let (_, draft) = disk.slot.next_file();
    let mut file = fs::File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    durable_dirs::sync(&folder)?;
    if let Err(error) = disk.catalog.add_import(list, &parse(&text)) {
        disk.catalog.request_scan();
        return Err(error);
    }
    Ok(list)
}

/// Removes a list and its entries. Returns false if there is no such list.
///
/// # Errors
/// [`DiskError`] if the disk fails. Then the list may be removed, and a scan removes its entries.
pub fn remove(disk: &DiskStore, list: Sha256) -> Result<bool, DiskError> {
    let folder = disk.layout.catalog_lists();
    let path = folder.join(format!("{list}{ENDING}"));
    let is_known = durable_dirs::remove_if_exists(&path)?;
    if is_known {
        durable_dirs::sync(&folder)?;
    }
    if let Err(error) = disk.catalog.remove_import(list) {
        disk.catalog.request_scan();
        return Err(error);
    }
    Ok(is_known)
}

/// Returns the lists of the folder, in the order of their digests.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn names(disk: &DiskStore) -> Result<Vec<Sha256>, DiskError> {
    let names = durable_dirs::names_in(&disk.layout.catalog_lists())?;
    let digest = |name: &String| name.strip_suffix(ENDING)?.parse().ok();
    Ok(names.iter().filter_map(digest).collect())
}

/// Adds the entries of lists that the catalog lacks, and removes those of lists that are gone.
/// Damaged lines are skipped.
///
/// # Errors
/// [`DiskError`] if the disk or the catalog fails.
pub fn restore_all(disk: &DiskStore) -> Result<(), DiskError> {
    let stored = names(disk)?;
    for list in disk.catalog.imports()? {
        if !stored.contains(&list) {
            disk.catalog.remove_import(list)?;
        }
    }
    for list in stored {
        let path = disk.layout.catalog_lists().join(format!("{list}{ENDING}"));
        let bytes = fs::read(&path)?;
        if digest_of(&bytes) != list {
            tracing::warn!(%list, "imported list is damaged");
        }
        let entries = parse(&String::from_utf8_lossy(&bytes));
        // A list that is complete need not be written again.
        if disk.catalog.count_imported(list)? != entries.len() as u64 {
            disk.catalog.add_import(list, &entries)?;
        }
    }
    Ok(())
}

fn parse(text: &str) -> Vec<CatalogEntry> {
    text.lines().filter_map(CatalogEntry::from_line).collect()
}

fn digest_of(bytes: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    hasher.update(bytes);
    hasher.finish().sha256
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::disk::{DiskConfig, EntryOrigin, OpenMode};
    use crate::model::{EventSink, ExpectedDigests};

    fn entry(name: &str) -> CatalogEntry {
        CatalogEntry {
            name: name.to_owned(),
            target: None,
            size_bytes: Some(1),
            digests: ExpectedDigests::nothing(),
            origin: EntryOrigin::Import,
        }
    }

    #[test]
    fn entries_of_all_lists_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let config = DiskConfig {
            dir: dir.path().to_owned(),
            max_size_bytes: 0,
            high_watermark_bytes: 0,
            low_watermark_bytes: 0,
            max_observed_bytes: u64::MAX,
            min_free_bytes: 0,
            min_free_inodes: 0,
            timeout: Duration::from_secs(1),
            held_objects: 0,
        };
        let events = EventSink::new();
        let disk = DiskStore::open(config, OpenMode::Maintenance, None, events).unwrap();
        let store = |names: &[&str]| {
            let entries: Vec<_> = names.iter().map(|name| entry(name)).collect();
            store_within(&disk, &entries, 3)
        };
        // An entry that occurs twice counts once.
        let first = store(&["a", "b", "a"]).unwrap();
        assert!(matches!(store(&["c", "d"]), Err(DiskError::TooManyEntries)));
        assert_eq!(disk.catalog.count().unwrap(), 2);
        assert_eq!(names(&disk).unwrap(), [first]);
        store(&["c"]).unwrap();
        // The same list again counts once.
        assert_eq!(store(&["a", "b"]).unwrap(), first);
        assert!(remove(&disk, first).unwrap());
        assert!(!remove(&disk, first).unwrap());
        store(&["d", "e"]).unwrap();
        assert_eq!(disk.catalog.count().unwrap(), 3);
    }
}
