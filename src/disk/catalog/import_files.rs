//! Lists that operators have imported into the catalog, in `catalog/<sha256>.jsonl`, one entry a
//! line.
//!
//! They cannot be rebuilt from anything else, so a list is synced before it counts. The main
//! functions are [`store`] and [`read_all`].

use std::io::Write as _;

use fs_err as fs;

use super::entry::CatalogEntry;
use crate::disk::{DiskError, DiskStore, durable_dirs};
use crate::model::{ExpectedDigests, Hasher, Sha256};

/// Bound on the lists of a folder.
const MAX_LISTS: usize = 10_000;

/// Ending of the name of a list.
const ENDING: &str = ".jsonl";

/// Stores a list and adds its entries to the catalog. Returns its digest. A list with the same
/// entries is replaced.
///
/// # Errors
/// [`DiskError`] if the disk fails. Then the list may be stored, and a scan adds its entries.
pub fn store(disk: &DiskStore, entries: &[CatalogEntry]) -> Result<Sha256, DiskError> {
    let mut text = String::new();
    for entry in entries {
        text += &entry.to_line();
        text.push('\n');
    }
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    hasher.update(text.as_bytes());
    let list = hasher.finish().sha256;
    let folder = disk.layout.catalog_lists();
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{list}{ENDING}"));
    if !path.exists() && durable_dirs::names_in(&folder)?.len() >= MAX_LISTS {
        return Err(DiskError::TooManyRecords);
    }
    let (_, draft) = disk.slot.next_file();
    let mut file = fs::File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    durable_dirs::sync(&folder)?;
    if let Err(error) = disk.catalog.add_import(list, entries) {
        disk.catalog.request_scan();
        return Err(error);
    }
    Ok(list)
}

/// Calls `visit` with each list. Damaged lines are skipped.
///
/// # Errors
/// [`DiskError`] if the disk fails, or the error of `visit`.
pub fn read_all(
    disk: &DiskStore,
    mut visit: impl FnMut(Sha256, &[CatalogEntry]) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    let folder = disk.layout.catalog_lists();
    if !folder.exists() {
        return Ok(());
    }
    for name in durable_dirs::names_in(&folder)? {
        let digest = name.strip_suffix(ENDING).and_then(|hex| hex.parse().ok());
        let Some(list) = digest else { continue };
        let text = fs::read_to_string(folder.join(&name))?;
        let entries: Vec<_> = text.lines().filter_map(CatalogEntry::from_line).collect();
        visit(list, &entries)?;
    }
    Ok(())
}
