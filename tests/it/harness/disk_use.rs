//! Blocks and inodes of a cache folder, as `du` counts them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Space of files and folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUse {
    pub bytes: u64,
    pub inodes: u64,
}

/// Returns the space of what the ledger counts: objects, small files and unfinished bodies. Folders
/// of two digits have a fixed number, and hidden files are locks.
pub fn disk_use(cache: &Path) -> DiskUse {
    let mut total = DiskUse::default();
    for folder in [
        "objects",
        "records",
        "observations",
        "digests",
        "compact",
        "staging",
    ] {
        add_entries(&cache.join(folder), folder == "staging", &mut total);
    }
    total
}

fn add_entries(folder: &Path, is_staging: bool, total: &mut DiskUse) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        // The file may be removed meanwhile.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let is_fixed = metadata.is_dir() && (name.len() == 2 || is_staging);
        if !is_fixed && !name.as_encoded_bytes().starts_with(b".") {
            total.bytes += metadata.blocks() * 512;
            total.inodes += 1;
        }
        if metadata.is_dir() {
            add_entries(&path, is_staging, total);
        }
    }
}
