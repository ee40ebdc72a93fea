//! Copies all records and objects between folders and buckets, and the pins from folder to folder.
//! Both ends may be in use.
//!
//! Records that the destination has are skipped, so a failed migration continues when it is started
//! again. The digest of every copied object is verified. This module knows no client and no origin.
//! Its main function is [`migrate`].

mod export;
mod folder_copy;
mod placement;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;

use crate::bucket::{Bucket, BucketError, ObjectUpload, parse_digest, parse_record_key};
use crate::cache::{Cache, CacheError};
use crate::model::{ByteRange, Key, Record, Sha256};
use export::{ExportedRecord, ImportedRecord};
use placement::PlacementEffect;

/// Records that are copied concurrently.
const COPIES_AT_ONCE: usize = 4;

/// Source or destination of a migration.
pub enum MigrationEndpoint {
    Folder(Cache),
    Bucket(Bucket),
}

/// Counts of a migration, while it runs and at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MigrationProgress {
    /// Records in the source.
    pub records: u64,
    /// Records that the destination had already.
    pub present: u64,
    /// Records that were copied with their object.
    pub copied: u64,
    /// Total size of the copied objects.
    pub copied_bytes: u64,
    /// Copied records that do not answer, since their target has other bytes in the destination.
    pub other_bytes: u64,
    /// Records without an object in the source. Only the record was copied.
    pub without_object: u64,
    /// Records that cannot be read, or whose object does not have its digest. They were not copied.
    pub damaged: u64,
}

impl MigrationProgress {
    /// Number of records that were processed.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.present + self.copied + self.without_object + self.damaged
    }

    fn count_other_bytes(&mut self, size_bytes: Option<u64>) {
        self.other_bytes += 1;
        match size_bytes {
            Some(size_bytes) => {
                self.copied += 1;
                self.copied_bytes += size_bytes;
            }
            None => self.without_object += 1,
        }
    }
}

/// Error that ended a migration.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error("the scratch file {} cannot be used: {why}", path.display())]
    Scratch { path: PathBuf, why: std::io::Error },
    #[error("the object {0} of the source changed while it was copied")]
    Changed(Sha256),
    #[error("the object {sha256} of the source cannot be read: {why}")]
    Unreadable { sha256: Sha256, why: std::io::Error },
}

/// Result of copying one record.
enum CopyOutcome {
    Present,
    Copied {
        size_bytes: u64,
    },
    WithoutObject,
    /// As the other two, for a target that keeps the bytes of the destination as its answer.
    OtherBytes {
        size_bytes: Option<u64>,
    },
    Damaged,
}

/// Content of the destination before the migration.
enum DestinationState {
    /// The folder is checked for each record, because a check is cheap.
    Folder,
    Bucket {
        records: HashSet<(Key, Sha256)>,
        objects: HashSet<Sha256>,
    },
}

impl PlacementEffect {
    /// Returns the outcome for an object of `size_bytes`, or for a record without one.
    fn outcome(self, size_bytes: Option<u64>) -> CopyOutcome {
        match (self, size_bytes) {
            (Self::Unchanged, Some(size_bytes)) => CopyOutcome::Copied { size_bytes },
            (Self::Unchanged, None) => CopyOutcome::WithoutObject,
            (Self::Witnessed, size_bytes) => CopyOutcome::OtherBytes { size_bytes },
        }
    }
}

struct Migration<'a> {
    from: &'a MigrationEndpoint,
    to: &'a MigrationEndpoint,
    existing: DestinationState,
    /// Digests of the records of each target in the source.
    digests: HashMap<Key, Vec<Sha256>>,
    /// Folder for objects that are copied from bucket to bucket.
    scratch: &'a Path,
}

/// Copies all records and their objects. `scratch` is a folder for objects that are copied from
/// bucket to bucket. `show` is called after each record.
///
/// # Errors
/// [`MigrateError`] at the first failure that is not the damage of one object.
pub async fn migrate(
    from: &MigrationEndpoint,
    to: &MigrationEndpoint,
    scratch: &Path,
    mut show: impl FnMut(&MigrationProgress),
) -> Result<MigrationProgress, MigrateError> {
    let all = from.list_records().await?;
    let mut progress = MigrationProgress {
        records: all.len() as u64,
        ..MigrationProgress::default()
    };
    let mut digests: HashMap<Key, Vec<Sha256>> = HashMap::new();
    for (key, sha256) in &all {
        digests.entry(*key).or_default().push(*sha256);
    }
    let migration = Migration {
        digests,
        from,
        to,
        existing: to.state().await?,
        scratch,
    };
    let migration = &migration;
    let copies = stream::iter(all).map(|(key, sha256)| migration.copy(key, sha256));
    let mut copies = std::pin::pin!(copies.buffer_unordered(COPIES_AT_ONCE));
    show(&progress);
    while let Some(outcome) = copies.next().await {
        match outcome? {
            CopyOutcome::Present => progress.present += 1,
            CopyOutcome::Copied { size_bytes } => {
                progress.copied += 1;
                progress.copied_bytes += size_bytes;
            }
            CopyOutcome::WithoutObject => progress.without_object += 1,
            CopyOutcome::OtherBytes { size_bytes } => progress.count_other_bytes(size_bytes),
            CopyOutcome::Damaged => progress.damaged += 1,
        }
        show(&progress);
    }
    Ok(progress)
}

impl MigrationEndpoint {
    async fn list_records(&self) -> Result<Vec<(Key, Sha256)>, MigrateError> {
        match self {
            Self::Folder(cache) => Ok(export::all_records(cache).await?),
            Self::Bucket(bucket) => {
                Ok(list_keys(bucket, bucket.keys().records(), parse_record_key).await?)
            }
        }
    }

    async fn state(&self) -> Result<DestinationState, MigrateError> {
        Ok(match self {
            Self::Folder(_) => DestinationState::Folder,
            Self::Bucket(bucket) => DestinationState::Bucket {
                records: list_keys(bucket, bucket.keys().records(), parse_record_key)
                    .await?
                    .into_iter()
                    .collect(),
                objects: list_keys(bucket, bucket.keys().objects(), parse_digest)
                    .await?
                    .into_iter()
                    .collect(),
            },
        })
    }
}

/// Lists all keys below a prefix that `parse` accepts.
async fn list_keys<T>(
    bucket: &Bucket,
    prefix: String,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, BucketError> {
    let mut parsed = Vec::new();
    let mut listing = bucket.list(prefix);
    while let Some(page) = listing.next_page().await? {
        parsed.extend(page.iter().filter_map(|listed| parse(&listed.name)));
    }
    Ok(parsed)
}

impl Migration<'_> {
    async fn copy(&self, key: Key, sha256: Sha256) -> Result<CopyOutcome, MigrateError> {
        if let (MigrationEndpoint::Folder(from), MigrationEndpoint::Folder(to)) =
            (self.from, self.to)
        {
            // Before the object, so that the destination does not evict it.
            folder_copy::copy_pin(from, to, key, sha256).await?;
        }
        if self.is_present(key, sha256).await? {
            return Ok(CopyOutcome::Present);
        }
        let outcome = match (self.from, self.to) {
            (MigrationEndpoint::Folder(cache), MigrationEndpoint::Bucket(bucket)) => {
                copy_to_bucket(cache, bucket, key, sha256).await
            }
            (MigrationEndpoint::Bucket(bucket), MigrationEndpoint::Folder(cache)) => {
                self.copy_to_folder(bucket, cache, (key, sha256)).await
            }
            (MigrationEndpoint::Bucket(from), MigrationEndpoint::Bucket(to)) => {
                self.copy_between_buckets(from, to, key, sha256).await
            }
            (MigrationEndpoint::Folder(from), MigrationEndpoint::Folder(to)) => {
                self.copy_between_folders(from, to, (key, sha256)).await
            }
        };
        match outcome {
            Err(
                MigrateError::Bucket(BucketError::Damaged)
                | MigrateError::Cache(CacheError::Bucket(BucketError::Damaged)),
            ) => {
                tracing::error!(%key, %sha256, "object does not have its digest, not copied");
                Ok(CopyOutcome::Damaged)
            }
            outcome => outcome,
        }
    }

    /// Whether the destination has a record and its object.
    async fn is_present(&self, key: Key, sha256: Sha256) -> Result<bool, MigrateError> {
        match (&self.existing, self.to) {
            (DestinationState::Bucket { records, objects }, _) => {
                Ok(records.contains(&(key, sha256)) && objects.contains(&sha256))
            }
            (DestinationState::Folder, MigrationEndpoint::Folder(cache)) => {
                Ok(export::has_record(cache, key, sha256).await?)
            }
            (DestinationState::Folder, MigrationEndpoint::Bucket(_)) => Ok(false),
        }
    }

    async fn copy_to_folder(
        &self,
        bucket: &Bucket,
        cache: &Cache,
        (key, sha256): (Key, Sha256),
    ) -> Result<CopyOutcome, MigrateError> {
        let Some(record) = bucket.records().read(key, sha256).await? else {
            return Ok(CopyOutcome::Damaged);
        };
        let placed = placement::place(cache, record, self.digests_of(key)).await?;
        let imported = export::import_record(cache, bucket, placed.record).await?;
        Ok(placed.effect.outcome(match imported {
            ImportedRecord::WithObject { size_bytes } => Some(size_bytes),
            ImportedRecord::RecordOnly => None,
        }))
    }

    async fn copy_between_folders(
        &self,
        from: &Cache,
        to: &Cache,
        (key, sha256): (Key, Sha256),
    ) -> Result<CopyOutcome, MigrateError> {
        let source_digests = self.digests_of(key);
        match export::export_record(from, key, sha256).await? {
            ExportedRecord::WithObject { record, path } => {
                let placed = placement::place(to, record, source_digests).await?;
                let size_bytes = folder_copy::copy_object(to, placed.record, &path).await?;
                Ok(placed.effect.outcome(Some(size_bytes)))
            }
            ExportedRecord::RecordOnly(record) => {
                let placed = placement::place(to, record, source_digests).await?;
                export::create_record(to, placed.record).await?;
                Ok(placed.effect.outcome(None))
            }
            ExportedRecord::Damaged => Err(BucketError::Damaged.into()),
            ExportedRecord::Unreadable => Ok(CopyOutcome::Damaged),
        }
    }

    fn digests_of(&self, key: Key) -> &[Sha256] {
        self.digests.get(&key).map_or(&[], Vec::as_slice)
    }

    async fn copy_between_buckets(
        &self,
        from: &Bucket,
        to: &Bucket,
        key: Key,
        sha256: Sha256,
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
            Ok(()) => put_object(to, &record, &path).await,
            Err(MigrateError::Bucket(BucketError::NotFound)) => put_record(to, &record).await,
            Err(error) => Err(error),
        };
        drop(tokio::fs::remove_file(&path).await);
        outcome
    }
}

async fn copy_to_bucket(
    cache: &Cache,
    bucket: &Bucket,
    key: Key,
    sha256: Sha256,
) -> Result<CopyOutcome, MigrateError> {
    match export::export_record(cache, key, sha256).await? {
        ExportedRecord::WithObject { record, path } => put_object(bucket, &record, &path).await,
        ExportedRecord::RecordOnly(record) => put_record(bucket, &record).await,
        ExportedRecord::Damaged => Err(BucketError::Damaged.into()),
        ExportedRecord::Unreadable => Ok(CopyOutcome::Damaged),
    }
}

/// Uploads an object, then its record.
async fn put_object(
    bucket: &Bucket,
    record: &Record,
    path: &Path,
) -> Result<CopyOutcome, MigrateError> {
    bucket
        .put_object(&ObjectUpload {
            path,
            record,
            is_suspect: false,
        })
        .await?;
    bucket.records().put(record).await?;
    Ok(CopyOutcome::Copied {
        size_bytes: record.size_bytes,
    })
}

/// Uploads a record without an object. When the target is fetched again, changed bytes are detected
/// by the record.
async fn put_record(bucket: &Bucket, record: &Record) -> Result<CopyOutcome, MigrateError> {
    bucket.records().put(record).await?;
    Ok(CopyOutcome::WithoutObject)
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
