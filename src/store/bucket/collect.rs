//! Removing from the bucket what nobody needs: objects that no record names, parts of uploads that never ended and, where an
//! operator wants that, what was not asked for in a long time.
//!
//! A publisher may be about to name an object at this very moment. It looks at the object first, and puts one again that is
//! older than half of `gc_grace`; here nothing is removed that was younger than the whole of it when the records were
//! listed. So a record that the listing does not show belongs to an object that is too young, or that was put again: then
//! its date has changed, or its publisher looks again and finds it gone.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::{Bucket, BucketError, Listed, Listing, record_of, sha256_of};
use crate::model::Sha256;

/// What a collection has removed, or would have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    /// What the bucket had before.
    pub objects: u64,
    pub size_bytes: u64,
    /// Objects that no record names.
    pub unreferenced: u64,
    /// Objects that were not asked for in a long time, or had to make room.
    pub unused: u64,
    pub removed_bytes: u64,
    /// Uploads that never ended.
    pub abandoned_uploads: u64,
}

/// Whether something is removed, or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    Real,
    Rehearsal,
}

/// What is known of all objects, before anything is removed.
struct Inventory {
    began: SystemTime,
    /// Sorted.
    referenced: Vec<Sha256>,
    pinned: Vec<Sha256>,
    used_at: HashMap<Sha256, SystemTime>,
}

/// An object that retention may remove.
struct Candidate {
    listed: Listed,
    sha256: Sha256,
    used_at: SystemTime,
}

impl Bucket {
    /// Looks through the whole bucket, and removes.
    ///
    /// # Errors
    /// [`BucketError`]; what was removed up to then is gone.
    pub async fn collect(&self, collection: Collection) -> Result<Collected, BucketError> {
        let began = SystemTime::now();
        let names = self.names();
        let mut referenced = digests(self.list(names.records()), |name| Some(record_of(name)?.1)).await?;
        referenced.sort_unstable();
        referenced.dedup();
        let mut pinned = digests(self.list(names.pins()), sha256_of).await?;
        pinned.sort_unstable();
        let used_at = if self.config().has_retention() { self.uses().await? } else { HashMap::new() };
        let inventory = Inventory { began, referenced, pinned, used_at };
        let mut collected = Collected::default();
        let mut candidates = Vec::new();
        let mut listing = self.list(names.objects());
        while let Some(page) = listing.next().await? {
            for listed in page {
                collected.objects += 1;
                collected.size_bytes += listed.size_bytes;
                let Some(sha256) = sha256_of(&listed.name) else { continue };
                if inventory.age(listed.modified_at) <= self.config().gc_grace.0 {
                    continue;
                }
                if inventory.referenced.binary_search(&sha256).is_err() {
                    if self.remove_object(&listed, sha256, collection).await? {
                        collected.unreferenced += 1;
                        collected.removed_bytes += listed.size_bytes;
                    }
                } else if self.config().has_retention() && inventory.pinned.binary_search(&sha256).is_err() {
                    let used_at = inventory.used_at.get(&sha256).copied().unwrap_or(listed.modified_at);
                    candidates.push(Candidate { used_at: used_at.max(listed.modified_at), listed, sha256 });
                }
            }
        }
        self.retain(&inventory, candidates, collection, &mut collected).await?;
        collected.abandoned_uploads = self.abort_abandoned(began, collection).await?;
        Ok(collected)
    }

    /// The longest unused go first: those that are past their time, and then those that are too much.
    async fn retain(
        &self,
        inventory: &Inventory,
        mut candidates: Vec<Candidate>,
        collection: Collection,
        collected: &mut Collected,
    ) -> Result<(), BucketError> {
        candidates.sort_by_key(|candidate| candidate.used_at);
        let (max_unused, max_size_bytes) = (self.config().max_unused.0, self.config().max_size.bytes);
        for candidate in candidates {
            let is_unused = !max_unused.is_zero() && inventory.age(candidate.used_at) > max_unused;
            let held_bytes = collected.size_bytes - collected.removed_bytes;
            let is_too_much = max_size_bytes > 0 && held_bytes > max_size_bytes;
            if !is_unused && !is_too_much {
                break;
            }
            if self.remove_object(&candidate.listed, candidate.sha256, collection).await? {
                collected.unused += 1;
                collected.removed_bytes += candidate.listed.size_bytes;
            }
        }
        Ok(())
    }

    /// Removes an object, unless it was put again since it was listed.
    async fn remove_object(
        &self,
        listed: &Listed,
        sha256: Sha256,
        collection: Collection,
    ) -> Result<bool, BucketError> {
        match self.find(sha256).await? {
            // Listings are finer than a second, and what is told of one object is not.
            Some(found) if whole_seconds(found.modified_at) == whole_seconds(listed.modified_at) => {}
            _ => return Ok(false),
        }
        if collection == Collection::Real {
            self.remove(&listed.name).await?;
            if self.config().has_retention() {
                self.remove(&self.names().used(sha256)).await?;
            }
            tracing::info!(%sha256, size_bytes = listed.size_bytes, "an object was removed from the bucket");
        }
        Ok(true)
    }

    async fn uses(&self) -> Result<HashMap<Sha256, SystemTime>, BucketError> {
        let mut uses = HashMap::new();
        let mut listing = self.list(self.names().uses());
        while let Some(page) = listing.next().await? {
            uses.extend(page.iter().filter_map(|listed| Some((sha256_of(&listed.name)?, listed.modified_at))));
        }
        Ok(uses)
    }

    /// Ends uploads in parts that nobody goes on with: their parts cost space and are not listed.
    async fn abort_abandoned(&self, began: SystemTime, collection: Collection) -> Result<u64, BucketError> {
        let request = self.client().list_multipart_uploads().bucket(self.name()).prefix(self.names().objects());
        let output = self.read(request.send()).await?;
        let mut aborted = 0;
        for upload in output.uploads() {
            let initiated = super::time(upload.initiated());
            let age = began.duration_since(initiated).unwrap_or_default();
            let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
            if age <= self.config().gc_grace.0 {
                continue;
            }
            if collection == Collection::Real {
                let request = self.client().abort_multipart_upload().bucket(self.name()).key(key).upload_id(id);
                self.write(super::LOOK_WAIT, request.send()).await?;
            }
            aborted += 1;
        }
        Ok(aborted)
    }
}

impl Inventory {
    fn age(&self, then: SystemTime) -> Duration {
        self.began.duration_since(then).unwrap_or_default()
    }
}

async fn digests(mut listing: Listing, of: impl Fn(&str) -> Option<Sha256>) -> Result<Vec<Sha256>, BucketError> {
    let mut digests = Vec::new();
    while let Some(page) = listing.next().await? {
        digests.extend(page.iter().filter_map(|listed| of(&listed.name)));
    }
    Ok(digests)
}

fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
