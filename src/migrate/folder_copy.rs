//! Copies an object with its record, or the pins of a target, from one folder to another.
//!
//! The main function is [`copy_object`].

use std::path::Path;

use bytes::BytesMut;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::MigrateError;
use crate::cache::{Cache, CacheError, TargetLookup};
use crate::disk::pins::{self, Pin};
use crate::disk::{DiskError, IoClass, records};
use crate::model::{ExpectedDigests, Hasher, Key, Record, Sha256};

/// Size of the pieces in which an object is read, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Copies the object at `path`, and publishes it under `record`. Returns its size in bytes.
///
/// # Errors
/// [`MigrateError`] if it cannot be read or stored, or has another digest than its record.
pub async fn copy_object(to: &Cache, record: Record, path: &Path) -> Result<u64, MigrateError> {
    let sha256 = record.sha256;
    let unreadable = |why| MigrateError::Unreadable { sha256, why };
    let mut file = File::open(path).await.map_err(unreadable)?;
    let hasher = Hasher::new(&ExpectedDigests::nothing());
    let mut staging = to.stage(Some(record.size_bytes), hasher).await?;
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        if file.read_buf(&mut piece).await.map_err(unreadable)? == 0 {
            break;
        }
        staging
            .append(piece.freeze())
            .await
            .map_err(CacheError::from)?;
    }
    let finished = staging.finish().map_err(CacheError::from)?;
    if finished.digests.sha256 != sha256 {
        return Err(MigrateError::Changed(sha256));
    }
    let sealed = finished.seal().await.map_err(CacheError::from)?;
    let size_bytes = sealed.size_bytes;
    to.publish_recorded(sealed, record).await?;
    Ok(size_bytes)
}

/// Copies the pins of a target with their times. Returns the digests of those that were not copied,
/// because the target has another answer in the destination.
///
/// The caller copies no record of the target before.
///
/// # Errors
/// [`MigrateError`] if a disk fails.
pub async fn copy_pins(from: &Cache, to: &Cache, key: Key) -> Result<Vec<Sha256>, MigrateError> {
    let found = from.disk().run(IoClass::Maintenance, move |disk| {
        pins::list(&disk.layout, key)
    });
    import_pins(to, key, found.await.map_err(CacheError::from)?).await
}

/// Creates pins of a target. Returns the digests of those that were not created, because the target
/// has another answer.
///
/// # Errors
/// [`MigrateError`] if the disk fails.
pub async fn import_pins(
    to: &Cache,
    key: Key,
    found: Vec<Pin>,
) -> Result<Vec<Sha256>, MigrateError> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let imported = to.disk().run(IoClass::Maintenance, move |disk| {
        let existing = pins::list(&disk.layout, key)?;
        let answer = match records::look_up(&disk.layout, key)? {
            TargetLookup::Known(known) => Some(known.active().sha256),
            TargetLookup::Unreadable { record, .. } => Some(record.sha256),
            TargetLookup::NeverStored => None,
        };
        let mut not_copied = Vec::new();
        for pin in found {
            if existing.iter().any(|known| known.sha256 == pin.sha256) {
                continue;
            }
            if answer.is_some_and(|answer| answer != pin.sha256) {
                not_copied.push(pin.sha256);
            } else {
                pins::import(disk, key, pin.sha256, pin.pinned_at)?;
            }
        }
        Ok::<_, DiskError>(not_copied)
    });
    Ok(imported.await.map_err(CacheError::from)?)
}
