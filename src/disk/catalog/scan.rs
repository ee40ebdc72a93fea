//! Fills the catalog from the files. The main function is [`scan_if_needed`].

use super::import_files;
use crate::disk::{DiskError, DiskStore, digests, records};
use crate::model::Record;

/// Number of records in one transaction. It bounds the time that other processes wait.
const BATCH: usize = 500;

/// Adds the records, digests and lists that the catalog lacks. Returns the number of added records,
/// or `None` if there was no reason to compare.
///
/// # Errors
/// [`DiskError`] if the catalog or the disk fails. The next call then tries again.
pub fn scan_if_needed(disk: &DiskStore) -> Result<Option<u64>, DiskError> {
    disk.catalog.reopen_if_lost(&disk.layout);
    if !disk.catalog.needs_scan() {
        return Ok(None);
    }
    // A change that fails meanwhile asks for another scan.
    disk.catalog.note_scanned();
    let added = scan(disk);
    if added.is_err() {
        disk.catalog.request_scan();
    }
    added.map(Some)
}

fn scan(disk: &DiskStore) -> Result<u64, DiskError> {
    let mut batch: Vec<Record> = Vec::with_capacity(BATCH);
    let mut added = 0;
    records::walk(&disk.layout, |key, sha256| {
        if disk.catalog.has_record(key, sha256)? {
            return Ok(());
        }
        let Some(mut record) = records::read_one(&disk.layout, key, sha256)? else {
            return Ok(());
        };
        if let Some(stored) = digests::read(&disk.layout, sha256) {
            record.digests.extend(stored.others);
        }
        batch.push(record);
        added += 1;
        if batch.len() == BATCH {
            disk.catalog.add_records(&batch)?;
            batch.clear();
        }
        Ok(())
    })?;
    disk.catalog.add_records(&batch)?;
    import_files::restore_all(disk)?;
    Ok(added)
}
