//! Copies records and their objects to a bucket, from a folder or from another bucket.
//!
//! This file must not know how a record is placed. It extends [`Migration`].

use std::path::Path;

use tokio::io::AsyncWriteExt as _;

use super::export::{self, ExportedRecord};
use super::placement::PlacedRecord;
use super::{CopyOutcome, MigrateError, Migration};
use crate::bucket::{Bucket, BucketError, ObjectUpload};
use crate::cache::Cache;
use crate::model::{ByteRange, Key, Record, Sha256};

impl Migration<'_> {
    pub(super) async fn copy_to_bucket(
        &self,
        cache: &Cache,
        bucket: &Bucket,
        (key, sha256): (Key, Sha256),
    ) -> Result<CopyOutcome, MigrateError> {
        match export::export_record(cache, key, sha256).await? {
            ExportedRecord::WithObject { record, path } => {
                put_object(bucket, self.place(record).await?, &path).await
            }
            ExportedRecord::RecordOnly(record) => {
                put_record(bucket, self.place(record).await?).await
            }
            ExportedRecord::Damaged => Err(BucketError::Damaged.into()),
            ExportedRecord::Unreadable => Ok(CopyOutcome::Damaged),
        }
    }

    pub(super) async fn copy_between_buckets(
        &self,
        from: &Bucket,
        to: &Bucket,
        (key, sha256): (Key, Sha256),
    ) -> Result<CopyOutcome, MigrateError> {
        let Some(record) = from.records().read(key, sha256).await? else {
            return Ok(CopyOutcome::Damaged);
        };
        // Several targets may have the same object at once. The name is random, so that other users
        // of the machine cannot create the file first.
        let path = self
            .scratch
            .join(format!("millpond-{sha256}-{:016x}", rand::random::<u64>()));
        let outcome = match download(from, &record, &path).await {
            Ok(()) => put_object(to, self.place(record).await?, &path).await,
            Err(MigrateError::Bucket(BucketError::NotFound)) => {
                put_record(to, self.place(record).await?).await
            }
            Err(error) => Err(error),
        };
        drop(tokio::fs::remove_file(&path).await);
        outcome
    }
}

/// Uploads an object, then its record.
async fn put_object(
    bucket: &Bucket,
    placed: PlacedRecord,
    path: &Path,
) -> Result<CopyOutcome, MigrateError> {
    let PlacedRecord { record, effect } = placed;
    bucket
        .put_object(&ObjectUpload {
            path,
            record: &record,
            is_suspect: false,
        })
        .await?;
    bucket.records().put(&record).await?;
    Ok(effect.outcome(Some(record.size_bytes)))
}

/// Uploads a record without an object. When the target is fetched again, changed bytes are detected
/// by the record.
async fn put_record(bucket: &Bucket, placed: PlacedRecord) -> Result<CopyOutcome, MigrateError> {
    bucket.records().put(&placed.record).await?;
    Ok(placed.effect.outcome(None))
}

/// Downloads an object to a new file, and verifies its digest.
async fn download(bucket: &Bucket, record: &Record, path: &Path) -> Result<(), MigrateError> {
    let unusable = |why| MigrateError::Scratch {
        path: path.to_owned(),
        why,
    };
    let mut file = tokio::fs::File::create_new(path).await.map_err(unusable)?;
    if let Some(last) = record.size_bytes.checked_sub(1) {
        let mut body = bucket
            .open_object(
                record.sha256,
                record.size_bytes,
                ByteRange { first: 0, last },
            )
            .await?;
        while let Some(chunk) = body.next().await? {
            file.write_all(&chunk).await.map_err(unusable)?;
        }
    }
    file.flush().await.map_err(unusable)
}
