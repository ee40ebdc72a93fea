//! Copying everything from one place to another, while both are in use: folder to bucket, bucket to
//! folder, bucket to bucket.
//!
//! What is there already is passed over, so that a migration that broke off is gone on with by
//! beginning it again. Every object's bytes are compared with its digest on the way.

mod export;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;

use crate::bucket::{Bucket, BucketError, ObjectUpload, parse_digest, parse_record_key};
use crate::cache::{Cache, CacheError};
use crate::model::{ByteRange, Key, Record, Sha256};
use export::{ExportedRecord, ImportedRecord};

/// How many objects are copied at once.
const COPIES_AT_ONCE: usize = 4;

/// A place that holds objects and records.
pub enum MigrationEndpoint {
    Folder(Cache),
    Bucket(Bucket),
}

/// How far a migration is, or what it has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MigrationProgress {
    /// Records in the old place.
    pub records: u64,
    /// Of these, what the new place had already.
    pub present: u64,
    pub copied: u64,
    pub copied_bytes: u64,
    /// Records whose object the old place has not got any more.
    pub without_object: u64,
    /// What cannot be read, or has other bytes than it should. It was not copied.
    pub damaged: u64,
}

impl MigrationProgress {
    #[must_use]
    pub fn done(&self) -> u64 {
        self.present + self.copied + self.without_object + self.damaged
    }
}

/// Why a migration broke off.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error("the folder {} for what is under way cannot be used: {why}", path.display())]
    Scratch { path: PathBuf, why: std::io::Error },
    #[error("both places are folders: any tool that copies folders will do")]
    Folders,
}

/// What became of one record.
enum CopyOutcome {
    Present,
    Copied(u64),
    WithoutObject,
    Damaged,
}

/// What the new place has already.
enum DestinationState {
    /// A folder is looked at each time: that costs little.
    Folder,
    Bucket {
        records: HashSet<(Key, Sha256)>,
        objects: HashSet<Sha256>,
    },
}

struct Migration<'a> {
    from: &'a MigrationEndpoint,
    to: &'a MigrationEndpoint,
    known: DestinationState,
    scratch: &'a Path,
}

/// Copies everything. `scratch` is a folder for objects on their way from bucket to bucket; `show`
/// is told how far it is.
///
/// # Errors
/// [`MigrateError`] at the first thing that goes wrong with a place as a whole.
pub async fn migrate(
    from: &MigrationEndpoint,
    to: &MigrationEndpoint,
    scratch: &Path,
    mut show: impl FnMut(&MigrationProgress),
) -> Result<MigrationProgress, MigrateError> {
    if let (MigrationEndpoint::Folder(_), MigrationEndpoint::Folder(_)) = (from, to) {
        return Err(MigrateError::Folders);
    }
    let all = from.records().await?;
    let mut progress = MigrationProgress {
        records: all.len() as u64,
        ..MigrationProgress::default()
    };
    let migration = Migration {
        from,
        to,
        known: to.known().await?,
        scratch,
    };
    let migration = &migration;
    let copies = stream::iter(all).map(|(key, sha256)| migration.copy(key, sha256));
    let mut copies = std::pin::pin!(copies.buffer_unordered(COPIES_AT_ONCE));
    show(&progress);
    while let Some(copied) = copies.next().await {
        match copied? {
            CopyOutcome::Present => progress.present += 1,
            CopyOutcome::Copied(size_bytes) => {
                progress.copied += 1;
                progress.copied_bytes += size_bytes;
            }
            CopyOutcome::WithoutObject => progress.without_object += 1,
            CopyOutcome::Damaged => progress.damaged += 1,
        }
        show(&progress);
    }
    Ok(progress)
}

impl MigrationEndpoint {
    async fn records(&self) -> Result<Vec<(Key, Sha256)>, MigrateError> {
        match self {
            Self::Folder(cache) => Ok(export::all_records(cache).await?),
            Self::Bucket(bucket) => {
                Ok(names(bucket, bucket.keys().records(), parse_record_key).await?)
            }
        }
    }

    async fn known(&self) -> Result<DestinationState, MigrateError> {
        Ok(match self {
            Self::Folder(_) => DestinationState::Folder,
            Self::Bucket(bucket) => DestinationState::Bucket {
                records: names(bucket, bucket.keys().records(), parse_record_key)
                    .await?
                    .into_iter()
                    .collect(),
                objects: names(bucket, bucket.keys().objects(), parse_digest)
                    .await?
                    .into_iter()
                    .collect(),
            },
        })
    }
}

async fn names<T>(
    bucket: &Bucket,
    prefix: String,
    of: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, BucketError> {
    let mut names = Vec::new();
    let mut listing = bucket.list(prefix);
    while let Some(page) = listing.next_page().await? {
        names.extend(page.iter().filter_map(|listed| of(&listed.name)));
    }
    Ok(names)
}

impl Migration<'_> {
    async fn copy(&self, key: Key, sha256: Sha256) -> Result<CopyOutcome, MigrateError> {
        let outcome = match (self.from, self.to) {
            _ if self.is_there(key, sha256).await? => return Ok(CopyOutcome::Present),
            (MigrationEndpoint::Folder(cache), MigrationEndpoint::Bucket(bucket)) => {
                self.to_bucket(cache, bucket, key, sha256).await
            }
            (MigrationEndpoint::Bucket(bucket), MigrationEndpoint::Folder(cache)) => {
                self.to_disk(bucket, cache, key, sha256).await
            }
            (MigrationEndpoint::Bucket(from), MigrationEndpoint::Bucket(to)) => {
                self.bucket_to_bucket(from, to, key, sha256).await
            }
            (MigrationEndpoint::Folder(_), MigrationEndpoint::Folder(_)) => {
                return Err(MigrateError::Folders);
            }
        };
        match outcome {
            Err(
                MigrateError::Bucket(BucketError::Damaged)
                | MigrateError::Cache(CacheError::Bucket(BucketError::Damaged)),
            ) => {
                tracing::error!(%key, %sha256, "an object has other bytes than its name says");
                Ok(CopyOutcome::Damaged)
            }
            outcome => outcome,
        }
    }

    async fn is_there(&self, key: Key, sha256: Sha256) -> Result<bool, MigrateError> {
        match (&self.known, self.to) {
            (DestinationState::Bucket { records, objects }, _) => {
                Ok(records.contains(&(key, sha256)) && objects.contains(&sha256))
            }
            (DestinationState::Folder, MigrationEndpoint::Folder(cache)) => {
                Ok(export::has_record(cache, key, sha256).await?)
            }
            (DestinationState::Folder, MigrationEndpoint::Bucket(_)) => Ok(false),
        }
    }

    async fn to_bucket(
        &self,
        cache: &Cache,
        bucket: &Bucket,
        key: Key,
        sha256: Sha256,
    ) -> Result<CopyOutcome, MigrateError> {
        match export::export(cache, key, sha256).await? {
            ExportedRecord::WithObject { record, path } => put(bucket, &record, &path).await,
            ExportedRecord::RecordOnly(record) => put_record(bucket, &record).await,
            ExportedRecord::Damaged => Err(BucketError::Damaged.into()),
            ExportedRecord::Unreadable => Ok(CopyOutcome::Damaged),
        }
    }

    async fn to_disk(
        &self,
        bucket: &Bucket,
        cache: &Cache,
        key: Key,
        sha256: Sha256,
    ) -> Result<CopyOutcome, MigrateError> {
        let Some(record) = bucket.records().read(key, sha256).await? else {
            return Ok(CopyOutcome::Damaged);
        };
        Ok(match export::import(cache, bucket, record).await? {
            ImportedRecord::WithObject { size_bytes } => CopyOutcome::Copied(size_bytes),
            ImportedRecord::RecordOnly => CopyOutcome::WithoutObject,
        })
    }

    async fn bucket_to_bucket(
        &self,
        from: &Bucket,
        to: &Bucket,
        key: Key,
        sha256: Sha256,
    ) -> Result<CopyOutcome, MigrateError> {
        let Some(record) = from.records().read(key, sha256).await? else {
            return Ok(CopyOutcome::Damaged);
        };
        // A target may have given several bytes, and nobody else must be able to foresee the name.
        let path = self
            .scratch
            .join(format!("millpond-{sha256}-{:016x}", rand::random::<u64>()));
        let outcome = match download(from, &record, &path).await {
            Ok(()) => put(to, &record, &path).await,
            Err(MigrateError::Bucket(BucketError::NotFound)) => put_record(to, &record).await,
            Err(error) => Err(error),
        };
        drop(tokio::fs::remove_file(&path).await);
        outcome
    }
}

async fn put(bucket: &Bucket, record: &Record, path: &Path) -> Result<CopyOutcome, MigrateError> {
    bucket
        .put_object(&ObjectUpload {
            path,
            record,
            is_suspect: false,
        })
        .await?;
    bucket.records().put(record).await?;
    Ok(CopyOutcome::Copied(record.size_bytes))
}

/// What its bytes were is worth knowing when they are fetched again.
async fn put_record(bucket: &Bucket, record: &Record) -> Result<CopyOutcome, MigrateError> {
    bucket.records().put(record).await?;
    Ok(CopyOutcome::WithoutObject)
}

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
        while let Some(piece) = body.next().await? {
            file.write_all(&piece).await.map_err(unusable)?;
        }
    }
    file.flush().await.map_err(unusable)
}
