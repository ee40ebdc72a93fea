//! Reads whole objects and compares them with their digests.
//!
//! No lock is held while an object is read. If an object is corrupt, its open file is compared with
//! the current file under the lock of the digest. Only then is the current object known to be
//! corrupt.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::cursor::ScrubRange;
use super::defects;
use super::throttled_read::{ReadThrottle, hash};
use crate::cache::{Cache, CacheError};
use crate::disk::{DiskError, IoClass, ObjectHandle, open_object, quarantine, records};
use crate::model::{Record, Sha256};

/// Reads before an object counts as corrupt. Memory and cables can corrupt a single read.
const READS: usize = 2;

/// Bound on the records of one object that are read.
const MAX_NAMING: usize = 64;

/// Result of reading an object.
#[derive(Debug)]
pub enum ObjectCheck {
    Intact { size_bytes: u64 },
    NotFound,
    Unreadable(CacheError),
    Corrupt(CorruptObject),
}

/// An object whose bytes do not have its digest. The file stays open, so that no new file can have
/// the same inode number.
#[derive(Debug)]
pub struct CorruptObject(ObjectHandle);

/// Returns the objects of `range` in one part of the folder, in the order of their digests. `at` is
/// the index of the part in [`ScrubRange::parts`].
///
/// # Errors
/// [`CacheError`] if the disk cannot be read or written.
pub async fn objects_of(
    cache: &Cache,
    range: ScrubRange,
    at: usize,
    part: u8,
) -> Result<Vec<Sha256>, CacheError> {
    let listed = cache.disk().run(IoClass::Maintenance, move |disk| {
        let mut objects = Vec::new();
        for name in defects::names_in(&defects::part_of(&disk.layout.objects(), part))? {
            let Ok(sha256) = name.parse::<Sha256>() else {
                continue;
            };
            if sha256.as_bytes()[0] == part
                && range.contains(sha256)
                && range.is_in_part(at, sha256)
            {
                objects.push(sha256);
            }
        }
        Ok::<_, DiskError>(objects)
    });
    Ok(listed.await?)
}

/// Reads an object and compares it with its digest.
pub async fn check_object(
    cache: &Cache,
    sha256: Sha256,
    throttle: &mut ReadThrottle,
) -> ObjectCheck {
    let object = match ObjectHandle::open(cache.disk(), IoClass::Maintenance, sha256).await {
        Ok(Some(object)) => object,
        Ok(None) => return ObjectCheck::NotFound,
        Err(error) => return ObjectCheck::Unreadable(error.into()),
    };
    for _ in 0..READS {
        match hash(object.file(), throttle).await {
            Ok(found) if found == sha256 => {
                return ObjectCheck::Intact {
                    size_bytes: object.size_bytes,
                };
            }
            Ok(_) => {}
            Err(error) => return ObjectCheck::Unreadable(DiskError::from(error).into()),
        }
    }
    ObjectCheck::Corrupt(CorruptObject(object))
}

/// Moves a corrupt object to quarantine, pinned or not. Returns false if it was replaced or evicted
/// meanwhile. Responses in progress are not aborted: their first bytes were sent already.
///
/// # Errors
/// [`CacheError`] if the disk cannot be read or written.
pub async fn quarantine_corrupt(cache: &Cache, corrupt: CorruptObject) -> Result<bool, CacheError> {
    let moved = cache.disk().run(IoClass::Maintenance, move |disk| {
        quarantine::set_aside(disk, corrupt.0.sha256, corrupt.0.file().file())
    });
    Ok(moved.await?)
}

/// Returns the records that name these objects, and invalidates the cached look-ups of their
/// targets.
///
/// # Errors
/// [`CacheError`] if the disk cannot be read or written.
pub async fn records_naming(
    cache: &Cache,
    objects: HashSet<Sha256>,
) -> Result<HashMap<Sha256, Vec<Arc<Record>>>, CacheError> {
    let naming = cache.disk().run(IoClass::Maintenance, move |disk| {
        let mut naming: HashMap<Sha256, Vec<_>> = HashMap::new();
        records::walk(&disk.layout, |key, sha256| {
            let named = naming.get(&sha256).map_or(0, Vec::len);
            if objects.contains(&sha256)
                && named < MAX_NAMING
                && let Ok(Some(record)) = records::read_one(&disk.layout, key, sha256)
            {
                naming.entry(sha256).or_default().push(Arc::new(record));
            }
            Ok(())
        })?;
        Ok::<_, DiskError>(naming)
    });
    let naming = naming.await?;
    for record in naming.values().flatten() {
        cache.invalidate(record.key());
    }
    Ok(naming)
}

/// Whether the object of a record is on the disk, in its full length and readable.
///
/// # Errors
/// [`CacheError`] if the disk cannot be read or written.
pub async fn is_on_disk(cache: &Cache, record: &Arc<Record>) -> Result<bool, CacheError> {
    let record = Arc::clone(record);
    let opened = cache.disk().run(IoClass::Maintenance, move |disk| {
        Ok::<_, DiskError>(open_object(disk, &record)?.is_some())
    });
    Ok(opened.await?)
}
