//! Removing from the bucket what nobody needs: objects that no record keys, parts of uploads that
//! never ended and, where an operator wants that, what was not asked for in a long time.
//!
//! A publisher may be about to name an object at this very moment. It looks at the object first,
//! and puts one again that is older than half of `gc_grace`; here nothing is removed that was
//! younger than the whole of it when the records were listed. So a record that the listing does not
//! show belongs to an object that is too young, or that was put again: then its date has changed,
//! or its publisher looks again and finds it gone.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::{Bucket, BucketError, ListedKey, Listing, record_of, sha256_of};
use crate::model::Sha256;

/// What a mode has removed, or would have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct GcReport {
    /// What the bucket had before.
    pub objects: u64,
    pub size_bytes: u64,
    /// Objects that no record keys.
    pub unreferenced: u64,
    /// Objects that were not asked for in a long time, or had to make room.
    pub unused: u64,
    pub removed_bytes: u64,
    /// Uploads that never ended.
    pub abandoned_uploads: u64,
}

/// Whether something is removed, or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcMode {
    Apply,
    DryRun,
}

/// What is known of all objects, before anything is removed.
struct Inventory {
    began: SystemTime,
    /// Sorted.
    referenced: Vec<Sha256>,
    pinned: Vec<Sha256>,
    uses: Uses,
}

/// When objects were last asked for.
#[derive(Default)]
struct Uses {
    /// Since when uses are told. Before that everything may have been in use, and nothing is
    /// removed for want of it.
    recorded_since: Option<SystemTime>,
    at: HashMap<Sha256, SystemTime>,
}

/// An object that may be removed.
#[derive(Clone, Copy)]
struct Candidate {
    sha256: Sha256,
    size_bytes: u64,
    modified_at: SystemTime,
    used_at: SystemTime,
}

/// What became of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removal {
    Removed,
    /// Somebody else has removed it.
    AlreadyGone,
    /// It was put again, or asked for.
    Kept,
}

impl Bucket {
    /// Looks through the whole bucket, and removes.
    ///
    /// # Errors
    /// [`BucketError`]; what was removed up to then is gone.
    pub async fn collect(&self, mode: GcMode) -> Result<GcReport, BucketError> {
        let began = SystemTime::now();
        let keys = self.keys();
        let mut referenced =
            digests(self.list(keys.records()), |name| Some(record_of(name)?.1)).await?;
        referenced.sort_unstable();
        referenced.dedup();
        let mut pinned = digests(self.list(keys.pins()), sha256_of).await?;
        pinned.sort_unstable();
        let uses = if self.config().has_retention() {
            self.uses(mode).await?
        } else {
            Uses::default()
        };
        let inventory = Inventory {
            began,
            referenced,
            pinned,
            uses,
        };
        let mut report = GcReport::default();
        let mut candidates = Vec::new();
        let mut listing = self.list(keys.objects());
        while let Some(page) = listing.next().await? {
            for listed in page {
                report.objects += 1;
                report.size_bytes += listed.size_bytes;
                let Some(sha256) = self.object_of(&listed) else {
                    continue;
                };
                if inventory.age(listed.modified_at) <= self.config().gc_grace.0 {
                    continue;
                }
                let ListedKey {
                    size_bytes,
                    modified_at,
                    ..
                } = listed;
                let used_at = inventory.uses.of(sha256).max(modified_at);
                let candidate = Candidate {
                    sha256,
                    size_bytes,
                    modified_at,
                    used_at,
                };
                if inventory.referenced.binary_search(&sha256).is_err() {
                    if self.remove_object(candidate, mode).await? == Removal::Removed {
                        report.unreferenced += 1;
                        report.removed_bytes += size_bytes;
                    }
                } else if inventory.uses.recorded_since.is_some()
                    && inventory.pinned.binary_search(&sha256).is_err()
                {
                    candidates.push(candidate);
                }
            }
        }
        self.apply_retention(&inventory, candidates, mode, &mut report)
            .await?;
        report.abandoned_uploads = self.abort_stale_multipart_uploads(mode).await?;
        Ok(report)
    }

    /// The longest unused go first: those that are past their time, and then those that are too
    /// much.
    async fn apply_retention(
        &self,
        inventory: &Inventory,
        mut candidates: Vec<Candidate>,
        mode: GcMode,
        report: &mut GcReport,
    ) -> Result<(), BucketError> {
        candidates.sort_by_key(|candidate| candidate.used_at);
        let (max_unused, max_size_bytes) =
            (self.config().max_unused.0, self.config().max_size.bytes);
        let mut held_bytes = report.size_bytes - report.removed_bytes;
        for candidate in candidates {
            let is_unused = !max_unused.is_zero() && inventory.age(candidate.used_at) > max_unused;
            let is_too_much = max_size_bytes > 0 && held_bytes > max_size_bytes;
            if !is_unused && !is_too_much {
                break;
            }
            let was_used = self.was_used_since(candidate).await?;
            let removal = if was_used {
                Removal::Kept
            } else {
                self.remove_object(candidate, mode).await?
            };
            if removal == Removal::Removed {
                report.unused += 1;
                report.removed_bytes += candidate.size_bytes;
            }
            if removal != Removal::Kept {
                held_bytes -= candidate.size_bytes;
            }
        }
        Ok(())
    }

    /// The object that a name is of: nothing else that somebody may have put beside ours.
    #[must_use]
    pub fn object_of(&self, listed: &ListedKey) -> Option<Sha256> {
        sha256_of(&listed.name).filter(|sha256| self.keys().object(*sha256) == listed.name)
    }

    /// Removes an object, unless it was put again since it was listed.
    async fn remove_object(
        &self,
        candidate: Candidate,
        mode: GcMode,
    ) -> Result<Removal, BucketError> {
        let Candidate {
            sha256,
            size_bytes,
            modified_at,
            ..
        } = candidate;
        match self.head_object(sha256).await? {
            None => return Ok(Removal::AlreadyGone),
            // Listings are finer than a second, and what is told of one object is not.
            Some(found) if whole_seconds(found.modified_at) != whole_seconds(modified_at) => {
                return Ok(Removal::Kept);
            }
            Some(_) => {}
        }
        if mode == GcMode::Apply {
            self.remove(&self.keys().object(sha256)).await?;
            if self.config().has_retention() {
                self.remove(&self.keys().used(sha256)).await?;
            }
            tracing::info!(%sha256, size_bytes, "an object was removed from the bucket");
        }
        Ok(Removal::Removed)
    }

    /// Whether another instance has told of a use since the uses were listed.
    async fn was_used_since(&self, candidate: Candidate) -> Result<bool, BucketError> {
        let found = self.head_key(&self.keys().used(candidate.sha256)).await?;
        Ok(found.is_some_and(|found| {
            whole_seconds(found.modified_at) > whole_seconds(candidate.used_at)
        }))
    }

    /// Where nobody has told of uses yet, that begins now.
    async fn uses(&self, mode: GcMode) -> Result<Uses, BucketError> {
        let mut uses = Uses::default();
        let began = self.keys().uses_began();
        uses.recorded_since = self.head_key(&began).await?.map(|found| found.modified_at);
        if uses.recorded_since.is_none() && mode == GcMode::Apply {
            self.put_marker(began).await?;
        }
        let mut listing = self.list(self.keys().uses());
        while let Some(page) = listing.next().await? {
            uses.at.extend(
                page.iter()
                    .filter_map(|listed| Some((sha256_of(&listed.name)?, listed.modified_at))),
            );
        }
        Ok(uses)
    }

    /// Ends uploads in parts that nobody goes on with.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn abort_stale_multipart_uploads(&self, mode: GcMode) -> Result<u64, BucketError> {
        let began = SystemTime::now();
        let mut aborted = 0;
        let (mut after_key, mut after_id) = (None, None);
        loop {
            let request = self
                .client()
                .list_multipart_uploads()
                .bucket(self.name())
                .prefix(self.keys().objects());
            let request = request
                .set_key_marker(after_key)
                .set_upload_id_marker(after_id);
            let output = self.write(super::REQUEST_TIMEOUT, request.send()).await?;
            for upload in output.uploads() {
                let age = began
                    .duration_since(super::time(upload.initiated()))
                    .unwrap_or_default();
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
                    continue;
                };
                if age <= self.config().gc_grace.0 {
                    continue;
                }
                if mode == GcMode::Apply {
                    self.abort(key, id).await?;
                }
                aborted += 1;
            }
            (after_key, after_id) = (output.next_key_marker, output.next_upload_id_marker);
            if output.is_truncated != Some(true) || after_key.is_none() {
                return Ok(aborted);
            }
        }
    }
}

impl Uses {
    /// When an object was last known to be in use.
    fn of(&self, sha256: Sha256) -> SystemTime {
        self.at
            .get(&sha256)
            .copied()
            .or(self.recorded_since)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Inventory {
    fn age(&self, then: SystemTime) -> Duration {
        self.began.duration_since(then).unwrap_or_default()
    }
}

async fn digests(
    mut listing: Listing,
    of: impl Fn(&str) -> Option<Sha256>,
) -> Result<Vec<Sha256>, BucketError> {
    let mut digests = Vec::new();
    while let Some(page) = listing.next().await? {
        digests.extend(page.iter().filter_map(|listed| of(&listed.name)));
    }
    Ok(digests)
}

fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
