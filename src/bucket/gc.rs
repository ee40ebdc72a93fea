//! Garbage collection and retention: removes objects that no record names, stale multipart uploads
//! and, if retention is configured, objects that were not requested for a long time.
//!
//! Another node may be about to upload a record that names an existing object. It checks the object
//! first, and uploads it again if the object is older than half of `gc_grace`. Garbage collection
//! removes only objects that were older than `gc_grace` when the records were listed. So an object
//! of a record that the listing lacks is too young to be removed, or was uploaded again. In the
//! latter case its modification time has changed, or the uploading node checks again and finds it
//! missing.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::client::{BucketClient, REQUEST_TIMEOUT};
use super::config::Config;
use super::error::BucketError;
use super::key_requests;
use super::keys::{parse_digest, parse_record_key};
use super::listing::{ListedKey, Listing};
use super::{multipart, sdk};
use crate::model::Sha256;

/// Counts of one garbage collection. In a dry run, `unreferenced`, `unused`, `removed_bytes` and
/// `abandoned_uploads` count what a real run would remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct GcReport {
    /// Objects in the bucket before.
    pub objects: u64,
    /// Their total size.
    pub size_bytes: u64,
    /// Removed objects that no record names.
    pub unreferenced: u64,
    /// Objects that retention removed.
    pub unused: u64,
    pub removed_bytes: u64,
    /// Aborted multipart uploads.
    pub abandoned_uploads: u64,
}

/// Whether objects are removed, or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcMode {
    Apply,
    DryRun,
}

/// Garbage collection of a bucket.
#[derive(Debug)]
pub struct GarbageCollector<'a> {
    client: &'a BucketClient,
    mode: GcMode,
}

/// Everything that is listed before the first removal.
struct Inventory {
    started_at: SystemTime,
    /// Objects that records name, sorted.
    referenced: Vec<Sha256>,
    /// Sorted.
    pinned: Vec<Sha256>,
    uses: Uses,
}

/// Times of last use.
#[derive(Default)]
struct Uses {
    /// Time since which uses are recorded. Without it, any object may be in use, and retention
    /// removes none.
    recorded_since: Option<SystemTime>,
    last_used: HashMap<Sha256, SystemTime>,
}

/// An object that may be removed.
#[derive(Clone, Copy)]
struct Candidate {
    sha256: Sha256,
    size_bytes: u64,
    modified_at: SystemTime,
    used_at: SystemTime,
}

/// Result of trying to remove one object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removal {
    Removed,
    /// Another node has removed the object.
    AlreadyGone,
    /// The object was uploaded again or requested meanwhile, and stays.
    Kept,
}

impl<'a> GarbageCollector<'a> {
    pub(super) fn new(client: &'a BucketClient, mode: GcMode) -> Self {
        Self { client, mode }
    }

    /// Collects garbage in the whole bucket, applies retention, and aborts stale multipart uploads.
    ///
    /// # Errors
    /// [`BucketError`] if a request failed. Objects that were removed before stay removed.
    pub async fn collect(&self) -> Result<GcReport, BucketError> {
        let inventory = self.take_inventory().await?;
        let mut report = GcReport::default();
        let candidates = self.remove_unreferenced(&inventory, &mut report).await?;
        self.apply_retention(&inventory, candidates, &mut report)
            .await?;
        report.abandoned_uploads = self.abort_stale_multipart_uploads().await?;
        Ok(report)
    }

    /// Aborts multipart uploads older than `gc_grace`. Returns their number.
    ///
    /// # Errors
    /// [`BucketError`] if a request failed.
    pub async fn abort_stale_multipart_uploads(&self) -> Result<u64, BucketError> {
        let started_at = SystemTime::now();
        let mut aborted = 0;
        let (mut after_key, mut after_id) = (None, None);
        loop {
            let request = self
                .client
                .sdk()
                .list_multipart_uploads()
                .bucket(self.client.bucket_name())
                .prefix(self.client.keys().objects())
                .set_key_marker(after_key)
                .set_upload_id_marker(after_id);
            let output = self.client.write(REQUEST_TIMEOUT, request.send()).await?;
            for upload in output.uploads() {
                let age = started_at
                    .duration_since(sdk::system_time(upload.initiated()))
                    .unwrap_or_default();
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
                    continue;
                };
                if age <= self.config().gc_grace.0 {
                    continue;
                }
                if self.mode == GcMode::Apply {
                    multipart::abort(self.client, key, id).await?;
                }
                aborted += 1;
            }
            (after_key, after_id) = (output.next_key_marker, output.next_upload_id_marker);
            if output.is_truncated != Some(true) || after_key.is_none() {
                return Ok(aborted);
            }
        }
    }

    fn config(&self) -> &Config {
        self.client.config()
    }

    fn list(&self, prefix: String) -> Listing {
        Listing::new(self.client.clone(), prefix)
    }

    async fn take_inventory(&self) -> Result<Inventory, BucketError> {
        let started_at = SystemTime::now();
        let keys = self.client.keys();
        let record_digest = |key: &str| Some(parse_record_key(key)?.1);
        let mut referenced = list_digests(self.list(keys.records()), record_digest).await?;
        referenced.sort_unstable();
        referenced.dedup();
        let mut pinned = list_digests(self.list(keys.pins()), parse_digest).await?;
        pinned.sort_unstable();
        let uses = if self.config().has_retention() {
            self.list_uses().await?
        } else {
            Uses::default()
        };
        Ok(Inventory {
            started_at,
            referenced,
            pinned,
            uses,
        })
    }

    /// Lists the times of last use. If none was recorded yet, starts recording.
    async fn list_uses(&self) -> Result<Uses, BucketError> {
        let mut uses = Uses::default();
        let began_key = self.client.keys().uses_began();
        uses.recorded_since = key_requests::head(self.client, &began_key)
            .await?
            .map(|began| began.modified_at);
        if uses.recorded_since.is_none() && self.mode == GcMode::Apply {
            key_requests::put_marker(self.client, began_key).await?;
        }
        let mut listing = self.list(self.client.keys().uses());
        while let Some(page) = listing.next_page().await? {
            uses.last_used.extend(
                page.iter()
                    .filter_map(|listed| Some((parse_digest(&listed.name)?, listed.modified_at))),
            );
        }
        Ok(uses)
    }

    /// Removes objects that no record names. Returns the objects that retention may remove.
    async fn remove_unreferenced(
        &self,
        inventory: &Inventory,
        report: &mut GcReport,
    ) -> Result<Vec<Candidate>, BucketError> {
        let mut retention_candidates = Vec::new();
        let mut listing = self.list(self.client.keys().objects());
        while let Some(page) = listing.next_page().await? {
            for listed in page {
                report.objects += 1;
                report.size_bytes += listed.size_bytes;
                let Some(candidate) = self.candidate(inventory, &listed) else {
                    continue;
                };
                let sha256 = candidate.sha256;
                if inventory.referenced.binary_search(&sha256).is_err() {
                    if self.remove_object(candidate).await? == Removal::Removed {
                        report.unreferenced += 1;
                        report.removed_bytes += candidate.size_bytes;
                    }
                } else if inventory.uses.recorded_since.is_some()
                    && inventory.pinned.binary_search(&sha256).is_err()
                {
                    retention_candidates.push(candidate);
                }
            }
        }
        Ok(retention_candidates)
    }

    /// Returns an object that is older than `gc_grace`. Returns `None` for younger objects and for
    /// unknown keys.
    fn candidate(&self, inventory: &Inventory, listed: &ListedKey) -> Option<Candidate> {
        let sha256 = self.client.keys().object_digest(&listed.name)?;
        let modified_at = listed.modified_at;
        if inventory.age(modified_at) <= self.config().gc_grace.0 {
            return None;
        }
        Some(Candidate {
            sha256,
            size_bytes: listed.size_bytes,
            modified_at,
            used_at: inventory.uses.last_use(sha256).max(modified_at),
        })
    }

    /// Removes objects that are unused for `max_unused`, and then the least recently used ones
    /// until the bucket is within `max_size`.
    async fn apply_retention(
        &self,
        inventory: &Inventory,
        mut candidates: Vec<Candidate>,
        report: &mut GcReport,
    ) -> Result<(), BucketError> {
        candidates.sort_by_key(|candidate| candidate.used_at);
        let (max_unused, max_size_bytes) =
            (self.config().max_unused.0, self.config().max_size.bytes);
        let mut remaining_bytes = report.size_bytes - report.removed_bytes;
        for candidate in candidates {
            let is_unused = !max_unused.is_zero() && inventory.age(candidate.used_at) > max_unused;
            let is_over_size = max_size_bytes > 0 && remaining_bytes > max_size_bytes;
            if !is_unused && !is_over_size {
                break;
            }
            let removal = if self.was_used_since(candidate).await? {
                Removal::Kept
            } else {
                self.remove_object(candidate).await?
            };
            if removal == Removal::Removed {
                report.unused += 1;
                report.removed_bytes += candidate.size_bytes;
            }
            if removal != Removal::Kept {
                remaining_bytes -= candidate.size_bytes;
            }
        }
        Ok(())
    }

    /// Removes an object, unless it was uploaded again since it was listed.
    async fn remove_object(&self, candidate: Candidate) -> Result<Removal, BucketError> {
        let Candidate {
            sha256,
            size_bytes,
            modified_at,
            ..
        } = candidate;
        let key = self.client.keys().object(sha256);
        match key_requests::head(self.client, &key).await? {
            None => return Ok(Removal::AlreadyGone),
            // Listings have fractions of a second. HEAD responses do not.
            Some(info) if whole_seconds(info.modified_at) != whole_seconds(modified_at) => {
                return Ok(Removal::Kept);
            }
            Some(_) => {}
        }
        if self.mode == GcMode::Apply {
            key_requests::remove(self.client, &key).await?;
            if self.config().has_retention() {
                key_requests::remove(self.client, &self.client.keys().used(sha256)).await?;
            }
            tracing::info!(%sha256, size_bytes, "removed object from the bucket");
        }
        Ok(Removal::Removed)
    }

    /// Whether another node has recorded a use since the uses were listed.
    async fn was_used_since(&self, candidate: Candidate) -> Result<bool, BucketError> {
        let used_key = self.client.keys().used(candidate.sha256);
        let marker = key_requests::head(self.client, &used_key).await?;
        Ok(marker.is_some_and(|marker| {
            whole_seconds(marker.modified_at) > whole_seconds(candidate.used_at)
        }))
    }
}

impl Uses {
    /// Returns the last time at which an object may have been in use.
    fn last_use(&self, sha256: Sha256) -> SystemTime {
        self.last_used
            .get(&sha256)
            .copied()
            .or(self.recorded_since)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Inventory {
    /// Returns the age at the start of the garbage collection.
    fn age(&self, then: SystemTime) -> Duration {
        self.started_at.duration_since(then).unwrap_or_default()
    }
}

async fn list_digests(
    mut listing: Listing,
    parse: impl Fn(&str) -> Option<Sha256>,
) -> Result<Vec<Sha256>, BucketError> {
    let mut digests = Vec::new();
    while let Some(page) = listing.next_page().await? {
        digests.extend(page.iter().filter_map(|listed| parse(&listed.name)));
    }
    Ok(digests)
}

fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
