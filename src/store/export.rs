//! What a migration needs of a folder: its records one after another, their files, and a way in for those of a bucket.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Bucket, BucketError, Sealed, Store, StoreError, blocking, contents, publish, records};
use crate::model::{Algorithm, ByteRange, Expected, Hasher, Key, Record, Sha256};

/// What the folder has of a record.
pub enum Exported {
    /// The object's bytes were read and are right.
    Whole { record: Record, path: PathBuf },
    /// The object was evicted.
    OnlyRecord(Record),
    /// The object has other bytes than its name says.
    Damaged,
    /// The record cannot be read.
    Nothing,
}

/// What was taken out of a bucket.
pub enum Taken {
    Whole { size_bytes: u64 },
    OnlyRecord,
}

impl Store {
    /// Target and digest of every record.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn all_records(&self) -> Result<Vec<(Key, Sha256)>, StoreError> {
        let store = self.clone();
        blocking(move || {
            let mut all = Vec::new();
            records::walk(&store.shared.layout, |key, sha256| {
                all.push((key, sha256));
                Ok(())
            })?;
            Ok(all)
        })
        .await
    }

    /// Whether the folder has a record, and its object in full length.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn has(&self, key: Key, sha256: Sha256) -> Result<bool, StoreError> {
        let store = self.clone();
        blocking(move || {
            let record = records::read_one(&store.shared.layout, key, sha256)?;
            Ok(record.is_some_and(|record| records::is_held(&store.shared.layout, &record)))
        })
        .await
    }

    /// A record and its object, which is read to see that it is right.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn export(&self, key: Key, sha256: Sha256) -> Result<Exported, StoreError> {
        let store = self.clone();
        blocking(move || {
            let layout = &store.shared.layout;
            let Some(record) = records::read_one(layout, key, sha256)? else { return Ok(Exported::Nothing) };
            let Some(hit) = contents::open_hit(layout, &store.shared.disk, Arc::new(record.clone()))? else {
                return Ok(Exported::OnlyRecord(record));
            };
            let is_right = hit.contents().digest(Algorithm::Sha256)? == sha256.into();
            Ok(if is_right { Exported::Whole { record, path: layout.object(sha256) } } else { Exported::Damaged })
        })
        .await
    }

    /// Stores what a bucket has of a record, under that record. If the object is gone there, the record alone.
    ///
    /// # Errors
    /// [`StoreError`] if the bucket does not give it, or it cannot be kept.
    pub async fn take_from(&self, bucket: &Bucket, record: Record) -> Result<Taken, StoreError> {
        match self.download(bucket, &record).await {
            Ok(sealed) => {
                let size_bytes = sealed.size_bytes;
                self.publish(sealed, record).await?;
                Ok(Taken::Whole { size_bytes })
            }
            Err(StoreError::Bucket(BucketError::Absent)) => {
                let store = self.clone();
                blocking(move || {
                    let path = store.shared.layout.record(record.key(), record.sha256);
                    publish::create_record(&store.shared, &record, &path)
                })
                .await?;
                Ok(Taken::OnlyRecord)
            }
            Err(error) => Err(error),
        }
    }

    /// Gets the object of a record out of a bucket, and compares it with its digest.
    pub(super) async fn download(&self, bucket: &Bucket, record: &Record) -> Result<Sealed, StoreError> {
        let mut staging = self.stage(Some(record.size_bytes), Hasher::new(&Expected::nothing())).await?;
        if let Some(last) = record.size_bytes.checked_sub(1) {
            let whole = ByteRange { first: 0, last };
            let mut body = bucket.open(record.sha256, record.size_bytes, whole).await?;
            while let Some(piece) = body.next().await? {
                staging.append(piece).await?;
            }
        }
        let finished = staging.finish()?;
        if finished.digests.sha256 != record.sha256 {
            return Err(BucketError::Damaged.into());
        }
        finished.seal().await
    }
}
