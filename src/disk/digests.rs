//! Digests other than SHA-256 of objects, in `digests/ab/<sha256>.json`.
//!
//! They follow from the bytes, so a lost file costs one more computation. A file is renamed into
//! place without a sync, and is removed with its object. The main functions are [`read`] and
//! [`write`].

use std::collections::BTreeMap;
use std::io::Read as _;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::metadata_ledger::MetadataKind;
use super::{DiskError, DiskStore, Layout, durable_dirs};
use crate::model::{Algorithm, Digest, Digests, Sha256};

/// Largest file that is read, in bytes. Three digests take less than 400 bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// Version of the file format. A reader rejects other versions.
const VERSION: u32 = 1;

/// Algorithms of a complete file.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha512];

#[derive(Debug, Serialize, Deserialize)]
struct DigestFile {
    version: u32,
    /// In hexadecimal.
    digests: BTreeMap<Algorithm, String>,
}

/// Returns the stored digests of an object. `None` if there are none, or the file is damaged.
pub fn read(layout: &Layout, sha256: Sha256) -> Option<Digests> {
    let mut bytes = Vec::new();
    let file = fs::File::open(layout.digests(sha256)).ok()?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    let stored: DigestFile = serde_json::from_slice(&bytes).ok()?;
    let has = |algorithm: &Algorithm| {
        let hex = stored.digests.get(algorithm);
        hex.is_some_and(|hex| Digest::parse(*algorithm, hex).is_ok())
    };
    let is_valid = stored.version == VERSION && ALGORITHMS.iter().all(has);
    is_valid.then_some(Digests {
        sha256,
        others: stored.digests,
    })
}

/// Stores the digests of an object. A file that exists is replaced. Of a body that is not
/// published, nothing is stored.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn write(disk: &DiskStore, digests: &Digests) -> Result<(), DiskError> {
    let path = disk.layout.digests(digests.sha256);
    disk.dirs
        .create(path.parent().expect("a digest file lies in a folder"))?;
    let counted = disk.metadata.watch(MetadataKind::Others, path.clone());
    let file = DigestFile {
        version: VERSION,
        digests: digests.others.clone(),
    };
    let bytes = serde_json::to_vec(&file).expect("the file contains only strings and numbers");
    let (_, draft) = disk.slot.next_file();
    fs::write(&draft, bytes)?;
    fs::rename(&draft, &path)?;
    drop(counted);
    disk.catalog.add_digests(digests);
    // Nothing would remove the file of an object that does not exist, or was evicted meanwhile.
    if !disk.layout.object(digests.sha256).exists() {
        remove(disk, digests.sha256)?;
    }
    Ok(())
}

/// Removes the stored digests of an object.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn remove(disk: &DiskStore, sha256: Sha256) -> Result<(), DiskError> {
    let path = disk.layout.digests(sha256);
    let _counted = disk.metadata.watch(MetadataKind::Others, path.clone());
    durable_dirs::remove_if_exists(&path)?;
    Ok(())
}
