//! Copying everything from one place to another, while both are in use: folder to bucket, bucket to folder, bucket to bucket.
//!
//! What is there already is passed over, so that a migration that broke off is gone on with by beginning it again. Every
//! object's bytes are compared with its digest on the way.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;

use crate::model::{ByteRange, Key, Record, Sha256};
use crate::store::{Bucket, BucketError, Exported, Store, StoreError, Taken, Upload, record_of, sha256_of};

/// How many objects are copied at once.
const COPIES_AT_ONCE: usize = 4;

/// A place that holds objects and records.
pub enum Place {
    Folder(Store),
    Bucket(Bucket),
}

/// How far a migration is, or what it has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
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

impl Progress {
    #[must_use]
    pub fn done(&self) -> u64 {
        self.present + self.copied + self.without_object + self.damaged
    }
}

/// Why a migration broke off.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error("the folder {} for what is under way cannot be used: {why}", path.display())]
    Scratch { path: PathBuf, why: std::io::Error },
    #[error("both places are folders: any tool that copies folders will do")]
    Folders,
}

/// What became of one record.
enum Outcome {
    Present,
    Copied(u64),
    WithoutObject,
    Damaged,
}

/// What the new place has already.
enum Known {
    /// A folder is looked at each time: that costs little.
    Folder,
    Bucket {
        records: HashSet<(Key, Sha256)>,
        objects: HashSet<Sha256>,
    },
}

struct Migration<'a> {
    from: &'a Place,
    to: &'a Place,
    known: Known,
    scratch: &'a Path,
}

/// Copies everything. `scratch` is a folder for objects on their way from bucket to bucket; `show` is told how far it is.
///
/// # Errors
/// [`MigrateError`] at the first thing that goes wrong with a place as a whole.
pub async fn migrate(
    from: &Place,
    to: &Place,
    scratch: &Path,
    mut show: impl FnMut(&Progress),
) -> Result<Progress, MigrateError> {
    if let (Place::Folder(_), Place::Folder(_)) = (from, to) {
        return Err(MigrateError::Folders);
    }
    let all = from.records().await?;
    let mut progress = Progress { records: all.len() as u64, ..Progress::default() };
    let migration = Migration { from, to, known: to.known().await?, scratch };
    let migration = &migration;
    let copies = stream::iter(all).map(|(key, sha256)| migration.copy(key, sha256));
    let mut copies = std::pin::pin!(copies.buffer_unordered(COPIES_AT_ONCE));
    show(&progress);
    while let Some(copied) = copies.next().await {
        match copied? {
            Outcome::Present => progress.present += 1,
            Outcome::Copied(size_bytes) => {
                progress.copied += 1;
                progress.copied_bytes += size_bytes;
            }
            Outcome::WithoutObject => progress.without_object += 1,
            Outcome::Damaged => progress.damaged += 1,
        }
        show(&progress);
    }
    Ok(progress)
}

impl Place {
    async fn records(&self) -> Result<Vec<(Key, Sha256)>, MigrateError> {
        match self {
            Self::Folder(store) => Ok(store.all_records().await?),
            Self::Bucket(bucket) => Ok(names(bucket, bucket.names().records(), record_of).await?),
        }
    }

    async fn known(&self) -> Result<Known, MigrateError> {
        Ok(match self {
            Self::Folder(_) => Known::Folder,
            Self::Bucket(bucket) => Known::Bucket {
                records: names(bucket, bucket.names().records(), record_of).await?.into_iter().collect(),
                objects: names(bucket, bucket.names().objects(), sha256_of).await?.into_iter().collect(),
            },
        })
    }
}

async fn names<T>(bucket: &Bucket, prefix: String, of: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, BucketError> {
    let mut names = Vec::new();
    let mut listing = bucket.list(prefix);
    while let Some(page) = listing.next().await? {
        names.extend(page.iter().filter_map(|listed| of(&listed.name)));
    }
    Ok(names)
}

impl Migration<'_> {
    async fn copy(&self, key: Key, sha256: Sha256) -> Result<Outcome, MigrateError> {
        let outcome = match (self.from, self.to) {
            _ if self.is_there(key, sha256).await? => return Ok(Outcome::Present),
            (Place::Folder(store), Place::Bucket(bucket)) => self.up(store, bucket, key, sha256).await,
            (Place::Bucket(bucket), Place::Folder(store)) => self.down(bucket, store, key, sha256).await,
            (Place::Bucket(from), Place::Bucket(to)) => self.across(from, to, key, sha256).await,
            (Place::Folder(_), Place::Folder(_)) => return Err(MigrateError::Folders),
        };
        match outcome {
            Err(
                MigrateError::Bucket(BucketError::Damaged)
                | MigrateError::Store(StoreError::Bucket(BucketError::Damaged)),
            ) => {
                tracing::error!(%key, %sha256, "an object has other bytes than its name says");
                Ok(Outcome::Damaged)
            }
            outcome => outcome,
        }
    }

    async fn is_there(&self, key: Key, sha256: Sha256) -> Result<bool, MigrateError> {
        match (&self.known, self.to) {
            (Known::Bucket { records, objects }, _) => {
                Ok(records.contains(&(key, sha256)) && objects.contains(&sha256))
            }
            (Known::Folder, Place::Folder(store)) => Ok(store.has(key, sha256).await?),
            (Known::Folder, Place::Bucket(_)) => Ok(false),
        }
    }

    async fn up(&self, store: &Store, bucket: &Bucket, key: Key, sha256: Sha256) -> Result<Outcome, MigrateError> {
        match store.export(key, sha256).await? {
            Exported::Whole { record, path } => put(bucket, &record, &path).await,
            Exported::OnlyRecord(record) => put_record(bucket, &record).await,
            Exported::Damaged => Err(BucketError::Damaged.into()),
            Exported::Nothing => Ok(Outcome::Damaged),
        }
    }

    async fn down(&self, bucket: &Bucket, store: &Store, key: Key, sha256: Sha256) -> Result<Outcome, MigrateError> {
        let Some(record) = bucket.record(key, sha256).await? else { return Ok(Outcome::Damaged) };
        Ok(match store.take_from(bucket, record).await? {
            Taken::Whole { size_bytes } => Outcome::Copied(size_bytes),
            Taken::OnlyRecord => Outcome::WithoutObject,
        })
    }

    async fn across(&self, from: &Bucket, to: &Bucket, key: Key, sha256: Sha256) -> Result<Outcome, MigrateError> {
        let Some(record) = from.record(key, sha256).await? else { return Ok(Outcome::Damaged) };
        // A target may have given several bytes, and nobody else must be able to foresee the name.
        let path = self.scratch.join(format!("millpond-{sha256}-{:016x}", rand::random::<u64>()));
        let outcome = match download(from, &record, &path).await {
            Ok(()) => put(to, &record, &path).await,
            Err(MigrateError::Bucket(BucketError::Absent)) => put_record(to, &record).await,
            Err(error) => Err(error),
        };
        drop(tokio::fs::remove_file(&path).await);
        outcome
    }
}

async fn put(bucket: &Bucket, record: &Record, path: &Path) -> Result<Outcome, MigrateError> {
    bucket.put_object(&Upload { path, record, is_doubted: false }).await?;
    bucket.put_record(record).await?;
    Ok(Outcome::Copied(record.size_bytes))
}

/// What its bytes were is worth knowing when they are fetched again.
async fn put_record(bucket: &Bucket, record: &Record) -> Result<Outcome, MigrateError> {
    bucket.put_record(record).await?;
    Ok(Outcome::WithoutObject)
}

async fn download(bucket: &Bucket, record: &Record, path: &Path) -> Result<(), MigrateError> {
    let unusable = |why| MigrateError::Scratch { path: path.to_owned(), why };
    let mut file = tokio::fs::File::create_new(path).await.map_err(unusable)?;
    if let Some(last) = record.size_bytes.checked_sub(1) {
        let mut body = bucket.open(record.sha256, record.size_bytes, ByteRange { first: 0, last }).await?;
        while let Some(piece) = body.next().await? {
            file.write_all(&piece).await.map_err(unusable)?;
        }
    }
    file.flush().await.map_err(unusable)
}
