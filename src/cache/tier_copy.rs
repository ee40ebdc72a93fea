//! Copies of single records with their objects between the disk and the bucket, for jobs of
//! operators.
//!
//! The background tasks do the same work when it is due. Here it is done at once, and the caller
//! learns the result. The main type is [`TierCopy`]; its functions belong to [`Replication`].

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bucket_state::BucketState;
use super::error::CacheError;
use super::handle::Cache;
use super::record_access::import_records;
use super::{promote, upload_worker};
use crate::bucket::{BucketError, parse_record_key};
use crate::disk::{DiskError, DiskStore, IoClass, PendingUpload, records};
use crate::model::{Key, Sha256};

/// Tier of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Disk,
    Bucket,
}

impl Tier {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Bucket => "bucket",
        }
    }
}

/// Result of copying one record with its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TierCopy {
    /// The destination has all that there is.
    Present,
    Copied {
        size_bytes: u64,
    },
    /// The record was copied. Its object was there already, or is in neither tier.
    RecordOnly,
    /// The object does not have its digest, or the record cannot be read.
    Damaged,
    /// Other objects would be evicted for it.
    NoSpace,
    /// The source did not send the object, although it may have it.
    Refused,
}

/// Counts of copied records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Records that were copied, with their objects if there were any.
    pub copied: u64,
    pub copied_bytes: u64,
    /// Records that the destination had with their objects.
    pub present: u64,
    /// Records that cannot be read, or whose objects do not have their digest.
    pub damaged: u64,
    /// Objects that the disk takes only if it evicts others.
    pub without_space: u64,
    /// Objects that the source did not send, although it may have them.
    pub refused: u64,
    /// Objects that no other node has taken.
    pub remaining: u64,
    /// Objects that the named node has not stored, although it has space.
    pub not_taken: u64,
}

impl CopyReport {
    /// Counts a result.
    pub fn add(&mut self, copy: TierCopy) {
        match copy {
            TierCopy::Present => self.present += 1,
            TierCopy::Copied { size_bytes } => {
                self.copied += 1;
                self.copied_bytes += size_bytes;
            }
            TierCopy::RecordOnly => self.copied += 1,
            TierCopy::Damaged => self.damaged += 1,
            TierCopy::NoSpace => self.without_space += 1,
            TierCopy::Refused => self.refused += 1,
        }
    }
}

impl AddAssign for CopyReport {
    fn add_assign(&mut self, other: Self) {
        self.copied += other.copied;
        self.copied_bytes += other.copied_bytes;
        self.present += other.present;
        self.damaged += other.damaged;
        self.without_space += other.without_space;
        self.refused += other.refused;
        self.remaining += other.remaining;
        self.not_taken += other.not_taken;
    }
}

/// Records of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TierPart {
    /// Of one target.
    Target(Key),
    /// Of all targets whose keys begin with this byte.
    Shard(u8),
}

impl FromStr for TierPart {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 2 {
            let mut shard = [0];
            hex::decode_to_slice(text, &mut shard)?;
            return Ok(Self::Shard(shard[0]));
        }
        text.parse().map(Self::Target)
    }
}

impl fmt::Display for TierPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(key) => key.fmt(f),
            Self::Shard(shard) => write!(f, "{shard:02x}"),
        }
    }
}

/// Returns target and digest of records of a tier.
pub async fn list(
    cache: &Cache,
    state: &BucketState,
    from: Tier,
    part: TierPart,
) -> Result<Vec<(Key, Sha256)>, CacheError> {
    match from {
        Tier::Disk => {
            let listed = cache
                .disk()
                .run(IoClass::Maintenance, move |disk| list_on_disk(disk, part));
            Ok(listed.await?)
        }
        Tier::Bucket => {
            let keys = state.bucket.keys();
            let mut listing = state.bucket.list(match part {
                TierPart::Target(key) => keys.records_of(key),
                TierPart::Shard(shard) => format!("{}{shard:02x}/", keys.records()),
            });
            let mut listed = Vec::new();
            while let Some(page) = listing.next_page().await? {
                listed.extend(
                    page.iter()
                        .filter_map(|found| parse_record_key(&found.name)),
                );
            }
            Ok(listed)
        }
    }
}

fn list_on_disk(disk: &DiskStore, part: TierPart) -> Result<Vec<(Key, Sha256)>, DiskError> {
    match part {
        TierPart::Target(key) => {
            let records = records::read_all(&disk.layout, key)?;
            Ok(records.digests().map(|sha256| (key, sha256)).collect())
        }
        TierPart::Shard(shard) => {
            let mut listed = Vec::new();
            records::walk_shard(&disk.layout, shard, &mut |key, sha256| {
                listed.push((key, sha256));
                Ok(())
            })?;
            Ok(listed)
        }
    }
}

/// Uploads a record with its object, unless the bucket has both.
pub async fn copy_to_bucket(
    cache: &Cache,
    state: &BucketState,
    (key, sha256): (Key, Sha256),
) -> Result<TierCopy, CacheError> {
    let read = cache.disk().run(IoClass::Maintenance, move |disk| {
        let record = records::read_one(&disk.layout, key, sha256)?;
        Ok::<_, DiskError>(record.map(|record| {
            let is_cached = records::is_cached(&disk.layout, &record);
            (record.size_bytes, is_cached)
        }))
    });
    let Some((size_bytes, is_cached)) = read.await? else {
        return Ok(TierCopy::Damaged);
    };
    let has_object = state.bucket.has_object(sha256, size_bytes).await?;
    let has_record = state.bucket.records().read(key, sha256).await?.is_some();
    // An object that is in neither tier cannot be copied.
    let is_complete = has_object && !state.is_suspect(sha256) || !is_cached;
    if has_record && is_complete {
        return Ok(TierCopy::Present);
    }
    let pending = PendingUpload { key, sha256 };
    match upload_worker::upload(cache, state, pending).await {
        // If the copy must be checked again, the upload has no marker, and stays in the queue.
        Ok(_) if is_cached => Ok(TierCopy::Copied { size_bytes }),
        Ok(_) => Ok(TierCopy::RecordOnly),
        Err(CacheError::Bucket(
            error @ (BucketError::Damaged | BucketError::LocalReadFailed(_)),
        )) => {
            tracing::warn!(%key, %sha256, %error, "object was not copied to the bucket");
            Ok(TierCopy::Damaged)
        }
        Err(error) => Err(error),
    }
}

/// Downloads the object of a record in the bucket, unless the disk has both. Evicts nothing for it.
pub async fn copy_to_disk(
    cache: &Cache,
    state: &BucketState,
    (key, sha256): (Key, Sha256),
) -> Result<TierCopy, CacheError> {
    let known = cache.disk().run(IoClass::Maintenance, move |disk| {
        let record = records::read_one(&disk.layout, key, sha256)?;
        Ok::<_, DiskError>(record.is_some_and(|record| records::is_cached(&disk.layout, &record)))
    });
    if known.await? {
        return Ok(TierCopy::Present);
    }
    let Some(record) = state.bucket.records().read(key, sha256).await? else {
        return Ok(TierCopy::Damaged);
    };
    let size_bytes = record.size_bytes;
    let fits = cache.disk().run(IoClass::Maintenance, move |disk| {
        disk.has_space_for(size_bytes)
    });
    if !fits.await? {
        return Ok(TierCopy::NoSpace);
    }
    let imported = import_records(cache, vec![record.clone()]).await;
    cache.invalidate(key);
    match promote::promote(cache, &Arc::new(record)).await {
        Ok(_) => Ok(TierCopy::Copied { size_bytes }),
        Err(CacheError::Bucket(BucketError::NotFound)) if imported == 0 => Ok(TierCopy::Present),
        Err(CacheError::Bucket(BucketError::NotFound)) => Ok(TierCopy::RecordOnly),
        Err(CacheError::Bucket(BucketError::Damaged)) => Ok(TierCopy::Damaged),
        Err(error) => Err(error),
    }
}
