//! Reading records and objects of a folder for a migration, and storing those of a bucket.

use std::path::PathBuf;

use crate::bucket::{Bucket, BucketError};
use crate::cache::{Cache, CacheError};
use crate::disk::{DiskError, IoClass, digest_of, open_object, publish, records};
use crate::model::{Algorithm, Key, Record, Sha256};

/// What the folder has of a record.
pub enum ExportedRecord {
    /// The object was read and is intact.
    WithObject { record: Record, path: PathBuf },
    /// The object was evicted.
    RecordOnly(Record),
    /// The object has other bytes than its name says.
    Damaged,
    /// The record cannot be read.
    Unreadable,
}

/// What was stored of a record of a bucket.
pub enum ImportedRecord {
    WithObject { size_bytes: u64 },
    RecordOnly,
}

/// Returns target and digest of every record.
///
/// # Errors
/// [`CacheError`] if the disk refuses.
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

/// Whether the folder has a record, and its object in full length.
///
/// # Errors
/// [`CacheError`] if the disk refuses.
pub async fn has_record(cache: &Cache, key: Key, sha256: Sha256) -> Result<bool, CacheError> {
    let found = cache.disk().run(IoClass::Maintenance, move |disk| {
        let record = records::read_one(&disk.layout, key, sha256)?;
        Ok::<_, DiskError>(record.is_some_and(|record| records::is_cached(&disk.layout, &record)))
    });
    Ok(found.await?)
}

/// Reads a record and its object, and compares the object with its digest.
///
/// # Errors
/// [`CacheError`] if the disk refuses.
pub async fn export(cache: &Cache, key: Key, sha256: Sha256) -> Result<ExportedRecord, CacheError> {
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

/// Stores what a bucket has of a record. If the object is gone there, stores the record alone.
///
/// # Errors
/// [`CacheError`] if the bucket does not give the object, or it cannot be stored.
pub async fn import(
    cache: &Cache,
    bucket: &Bucket,
    record: Record,
) -> Result<ImportedRecord, CacheError> {
    match cache.download(bucket, &record).await {
        Ok(sealed) => {
            let size_bytes = sealed.size_bytes;
            cache.publish(sealed, record).await?;
            Ok(ImportedRecord::WithObject { size_bytes })
        }
        Err(CacheError::Bucket(BucketError::NotFound)) => {
            let created = cache.disk().run(IoClass::Maintenance, move |disk| {
                publish::create_record(
                    disk,
                    &record,
                    &disk.layout.record(record.key(), record.sha256),
                )
            });
            created.await?;
            Ok(ImportedRecord::RecordOnly)
        }
        Err(error) => Err(error),
    }
}
