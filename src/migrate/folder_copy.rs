//! Copies an object with its record, or a pin, from one folder to another.
//!
//! The main function is [`copy_object`].

use std::path::Path;

use bytes::BytesMut;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::MigrateError;
use crate::cache::{Cache, CacheError};
use crate::disk::{DiskError, IoClass, pins};
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

/// Copies the pin of a target to an object with its time, if there is one.
///
/// # Errors
/// [`MigrateError`] if a disk fails.
pub async fn copy_pin(
    from: &Cache,
    to: &Cache,
    key: Key,
    sha256: Sha256,
) -> Result<(), MigrateError> {
    let found = from.disk().run(IoClass::Maintenance, move |disk| {
        let all = pins::list(&disk.layout, key)?;
        Ok::<_, DiskError>(all.into_iter().find(|pin| pin.sha256 == sha256))
    });
    if let Some(pin) = found.await.map_err(CacheError::from)? {
        let imported = to.disk().run(IoClass::Maintenance, move |disk| {
            pins::import(disk, key, sha256, pin.pinned_at)
        });
        imported.await.map_err(CacheError::from)?;
    }
    Ok(())
}
