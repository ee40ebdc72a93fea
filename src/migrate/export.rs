//! Exports records and objects of a folder, and imports those of a bucket.
//!
//! The main type is [`ExportedRecord`].

use std::path::PathBuf;

use crate::bucket::{Bucket, BucketError};
use crate::cache::{Cache, CacheError};
use crate::disk::{DiskError, IoClass, digest_of, open_object, record_files, records};
use crate::model::{Algorithm, Key, Record, Sha256};

/// A record of a folder, with its object if there is one.
pub enum ExportedRecord {
    /// The object is on the disk, and has its digest.
    WithObject { record: Record, path: PathBuf },
    /// The object was evicted.
    RecordOnly(Record),
    /// The object does not have its digest.
    Damaged,
    /// The record cannot be parsed.
    Unreadable,
}

/// Result of importing a record.
pub enum ImportedRecord {
    WithObject {
        size_bytes: u64,
    },
    /// The bucket has no object of this record.
    RecordOnly,
}

/// Returns target and digest of every record in a folder.
///
/// # Errors
/// [`CacheError`] if the disk cannot be read.
pub async fn all_records(cache: &Cache) -> Result<Vec<(Key, Sha256)>, CacheError> {
    let listed = cache.disk().run(IoClass::Maintenance, |disk| {
        let mut all = Vec::new();
        records::walk(&disk.layout, |key, sha256| {
            all.push((key, sha256));
            Ok(())
        })?;
        Ok::<_, DiskError>(all)
    });
    Ok(listed.await?)
}

/// Whether a folder has a record, and its object in full length.
///
/// # Errors
/// [`CacheError`] if the disk cannot be read.
pub async fn has_record(cache: &Cache, key: Key, sha256: Sha256) -> Result<bool, CacheError> {
    let found = cache.disk().run(IoClass::Maintenance, move |disk| {
        let record = records::read_one(&disk.layout, key, sha256)?;
        Ok::<_, DiskError>(record.is_some_and(|record| records::is_cached(&disk.layout, &record)))
    });
    Ok(found.await?)
}

/// Reads a record and its object, and verifies the object's digest.
///
/// # Errors
/// [`CacheError`] if the disk cannot be read.
pub async fn export_record(
    cache: &Cache,
    key: Key,
    sha256: Sha256,
) -> Result<ExportedRecord, CacheError> {
    let exported = cache.disk().run(IoClass::Maintenance, move |disk| {
        let Some(record) = records::read_one(&disk.layout, key, sha256)? else {
            return Ok(ExportedRecord::Unreadable);
        };
        let Some((file, _)) = open_object(disk, &record)? else {
            return Ok(ExportedRecord::RecordOnly(record));
        };
        let is_intact = digest_of(&file, Algorithm::Sha256)? == sha256.into();
        let path = disk.layout.object(sha256);
        Ok::<_, DiskError>(if is_intact {
            ExportedRecord::WithObject { record, path }
        } else {
            ExportedRecord::Damaged
        })
    });
    Ok(exported.await?)
}

/// Downloads the object of a record and stores both. If the bucket does not have the object, stores
/// the record alone.
///
/// # Errors
/// [`CacheError`] if the object could not be downloaded or stored.
pub async fn import_record(
    cache: &Cache,
    bucket: &Bucket,
    record: Record,
) -> Result<ImportedRecord, CacheError> {
    match cache.download(bucket, &record).await {
        Ok(sealed) => {
            let size_bytes = sealed.size_bytes;
            cache.publish_recorded(sealed, record).await?;
            Ok(ImportedRecord::WithObject { size_bytes })
        }
        Err(CacheError::Bucket(BucketError::NotFound)) => {
            create_record(cache, record).await?;
            Ok(ImportedRecord::RecordOnly)
        }
        Err(error) => Err(error),
    }
}

/// Stores a record without an object.
///
/// # Errors
/// [`CacheError`] if the disk cannot be written.
pub async fn create_record(cache: &Cache, record: Record) -> Result<(), CacheError> {
    let created = cache.disk().run(IoClass::Maintenance, move |disk| {
        let _target_lock = disk.layout.lock_target(record.key())?;
        let _lock = disk.layout.lock_object(record.sha256)?;
        record_files::create_record(disk, &record)
    });
    Ok(created.await?)
}
