//! Copies records and objects: all of them between folders and buckets, and selected ones from
//! another node of the cluster to this one or back. Both ends may be in use.
//!
//! Records that the destination has are skipped, so a failed migration continues when it is started
//! again. The digest of every copied object is verified. This module knows no client and no origin.
//! Its main function is [`migrate`], and its main type [`NodeCopier`].

mod bucket_copy;
mod export;
mod folder_copy;
mod from_node;
mod key_share;
mod offer;
mod placement;
mod pulls;
mod remote_pull;
mod to_node;
mod to_owners;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;

use crate::bucket::{Bucket, BucketError, parse_digest, parse_record_key};
use crate::cache::{Cache, CacheError};
use crate::disk::{IoClass, records};
use crate::model::{Key, Record, RecordSet, Sha256};
use export::{ExportedRecord, ImportedRecord};
pub use from_node::{NodeCopier, NodeCopyError, NodeSelection};
pub use key_share::{InvalidShare, KeyShare};
pub use offer::{OfferedPage, RecordOffer};
pub use pulls::{NodePulls, PullState};
pub use to_node::{NodeGiver, ReceivingNode};
pub use to_owners::OwnerCopier;

pub use crate::cluster::PeerError;
use placement::{PlacedRecord, PlacementEffect};

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
    /// Pins that were not copied, since the target has another answer in the destination.
    pub pins_not_copied: u64,
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
        targets: HashSet<Key>,
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
    pins_not_copied: AtomicU64,
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
    let migration = Migration {
        pins_not_copied: AtomicU64::new(0),
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
        progress.pins_not_copied = migration.pins_not_copied.load(Ordering::Relaxed);
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

    /// Reads all records of a target.
    async fn records_of(&self, key: Key) -> Result<RecordSet, MigrateError> {
        match self {
            Self::Folder(cache) => {
                let all = cache.disk().run(IoClass::Maintenance, move |disk| {
                    records::read_all(&disk.layout, key)
                });
                Ok(all.await.map_err(CacheError::from)?)
            }
            Self::Bucket(bucket) => Ok(bucket.records().read_all(key).await?),
        }
    }

    async fn state(&self) -> Result<DestinationState, MigrateError> {
        let Self::Bucket(bucket) = self else {
            return Ok(DestinationState::Folder);
        };
        let records = list_keys(bucket, bucket.keys().records(), parse_record_key).await?;
        let objects = list_keys(bucket, bucket.keys().objects(), parse_digest).await?;
        Ok(DestinationState::Bucket {
            targets: records.iter().map(|(key, _)| *key).collect(),
            records: records.into_iter().collect(),
            objects: objects.into_iter().collect(),
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
            // Before the objects, so that the destination does not evict them, and before any
            // record of the target, so that only its own records count as answers.
            let not_copied = folder_copy::copy_pins(from, to, key).await?;
            if not_copied.contains(&sha256) {
                self.pins_not_copied.fetch_add(1, Ordering::Relaxed);
            }
        }
        if self.is_present(key, sha256).await? {
            return Ok(CopyOutcome::Present);
        }
        let outcome = match (self.from, self.to) {
            (MigrationEndpoint::Folder(cache), MigrationEndpoint::Bucket(bucket)) => {
                self.copy_to_bucket(cache, bucket, (key, sha256)).await
            }
            (MigrationEndpoint::Bucket(bucket), MigrationEndpoint::Folder(cache)) => {
                self.copy_to_folder(bucket, cache, (key, sha256)).await
            }
            (MigrationEndpoint::Bucket(from), MigrationEndpoint::Bucket(to)) => {
                self.copy_between_buckets(from, to, (key, sha256)).await
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
            (
                DestinationState::Bucket {
                    records, objects, ..
                },
                _,
            ) => Ok(records.contains(&(key, sha256)) && objects.contains(&sha256)),
            (DestinationState::Folder, MigrationEndpoint::Folder(cache)) => {
                Ok(export::has_record(cache, key, sha256).await?)
            }
            (DestinationState::Folder, MigrationEndpoint::Bucket(_)) => Ok(false),
        }
    }

    /// Places a record among those that its target has in the destination.
    async fn place(&self, record: Record) -> Result<PlacedRecord, MigrateError> {
        let key = record.key();
        let is_new = match &self.existing {
            DestinationState::Bucket { targets, .. } => !targets.contains(&key),
            DestinationState::Folder => false,
        };
        let existing = if is_new {
            RecordSet::default()
        } else {
            self.to.records_of(key).await?
        };
        if existing.count() == 0 {
            return Ok(PlacedRecord::unchanged(record));
        }
        let source = self.from.records_of(key).await?;
        Ok(PlacedRecord::among(&existing, &source, record))
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
        let placed = self.place(record).await?;
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
        match export::export_record(from, key, sha256).await? {
            ExportedRecord::WithObject { record, path } => {
                let placed = self.place(record).await?;
                let record = placed.record.clone();
                let copied = folder_copy::copy_object(to, record, &path).await;
                let size_bytes = match copied {
                    // The source evicted the object meanwhile.
                    Err(MigrateError::Unreadable { why, .. }) if is_gone(&why) => {
                        export::create_record(to, placed.record).await?;
                        None
                    }
                    copied => Some(copied?),
                };
                Ok(placed.effect.outcome(size_bytes))
            }
            ExportedRecord::RecordOnly(record) => {
                let placed = self.place(record).await?;
                export::create_record(to, placed.record).await?;
                Ok(placed.effect.outcome(None))
            }
            ExportedRecord::Damaged => Err(BucketError::Damaged.into()),
            ExportedRecord::Unreadable => Ok(CopyOutcome::Damaged),
        }
    }
}

fn is_gone(why: &std::io::Error) -> bool {
    why.kind() == std::io::ErrorKind::NotFound
}
