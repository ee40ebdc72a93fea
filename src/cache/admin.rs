//! Operations of operators on targets: history, lists, pins, removal.

use std::sync::Arc;
use std::time::SystemTime;

use super::error::CacheError;
use super::handle::Cache;
use super::{open, pin_sync};
use crate::disk::{
    DiskError, DiskStore, DiskUsage, EvictResult, IoClass, ListedPins, ListedTarget, ObjectHandle,
    PinnedUse, Published, Sealed, TargetLookup, evict, listing, pinned_use, pins, publish,
    record_files, records,
};
use crate::model::{Key, Record, RecordOrder, Sha256};

/// One record of a target, and the state of its object.
#[derive(Debug, Clone)]
pub struct RecordStatus {
    pub record: Record,
    /// Whether the object is on the disk.
    pub is_cached: bool,
    pub pinned_at: Option<SystemTime>,
    /// Last access of the object. `None` if it is unknown, as that of a held object.
    pub last_used: Option<SystemTime>,
    /// Whether the target is answered with these bytes.
    pub is_active: bool,
}

/// Counts of a removal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemovedTarget {
    pub records: u64,
    /// Total size of the removed objects.
    pub freed_bytes: u64,
}

impl std::ops::AddAssign for RemovedTarget {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.freed_bytes += other.freed_bytes;
    }
}

/// Effect of the removal of a target on its pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinnedTarget {
    /// A pinned target is not removed.
    Keep,
    /// The pins are removed with the target.
    Remove,
}

/// Outcome of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetRemoval {
    Removed(RemovedTarget),
    /// The pin of the target is kept, and its record and object with it.
    Pinned,
}

/// Operations of operators. Each ends within `cache.disk_timeout` if the disk hangs.
#[derive(Debug, Clone, Copy)]
pub struct CacheAdmin<'a> {
    cache: &'a Cache,
}

impl<'a> CacheAdmin<'a> {
    pub(super) fn new(cache: &'a Cache) -> Self {
        Self { cache }
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&DiskStore) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, CacheError> {
        Ok(self.cache.disk().run(IoClass::Request, work).await?)
    }

    /// Returns all readable records of a target, in the order in which they answer.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn history(self, key: Key) -> Result<Vec<RecordStatus>, CacheError> {
        self.run(move |disk| {
            let layout = &disk.layout;
            let records = records::read_all(layout, key)?;
            let mut all = records.readable.clone();
            all.sort_by_key(RecordOrder::of);
            let pins = pins::list(layout, key)?;
            let active = match records::choose(layout, records, &pins) {
                TargetLookup::Known(known) => Some(known.active().sha256),
                TargetLookup::Unreadable { .. } | TargetLookup::NeverStored => None,
            };
            let last_used = |sha256| disk.index.lru().last_access(sha256);
            let status = |record: Record| RecordStatus {
                is_cached: records::is_cached(layout, &record),
                // The records are more important than this time.
                last_used: last_used(record.sha256).unwrap_or_default(),
                pinned_at: pins
                    .iter()
                    .find(|pin| pin.sha256 == record.sha256)
                    .map(|pin| pin.pinned_at),
                is_active: active == Some(record.sha256),
                record,
            };
            Ok(all.into_iter().map(status).collect())
        })
        .await
    }

    /// Returns up to `limit` targets whose key is greater than `after`, in the order of keys.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn list(
        self,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<ListedTarget>, CacheError> {
        self.run(move |disk| listing::list(disk, after, limit))
            .await
    }

    /// Returns up to `limit` pinned targets whose key is greater than `after`, in the order of
    /// keys.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn list_pinned(
        self,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<ListedPins>, CacheError> {
        self.run(move |disk| listing::list_pinned(disk, after, limit))
            .await
    }

    /// Returns the use of the cache disk.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn disk_usage(self) -> Result<DiskUsage, CacheError> {
        self.run(DiskStore::usage).await
    }

    /// Counts the pinned objects on the disk.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn pinned_use(self) -> Result<PinnedUse, CacheError> {
        self.run(pinned_use::count).await
    }

    /// Opens an object by its digest. Returns `None` if it is not on the disk.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn open_object(self, sha256: Sha256) -> Result<Option<ObjectHandle>, CacheError> {
        let object = ObjectHandle::open(self.cache.disk(), IoClass::Request, sha256).await?;
        // No record was read, so only the index can show that the file is incomplete.
        let recorded_bytes = self
            .run(move |disk| Ok(disk.index.size_of(sha256).unwrap_or_default()))
            .await?;
        let has_length =
            |object: &ObjectHandle| recorded_bytes.is_none_or(|bytes| bytes == object.size_bytes);
        let object = object.filter(has_length);
        if object.is_some() {
            self.cache.disk().store().index.lru().record_access(sha256);
        }
        Ok(object)
    }

    /// Pins a target to bytes of which it has a record. Returns false if it has none.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn pin(self, key: Key, sha256: Sha256) -> Result<bool, CacheError> {
        let is_known = self.run(move |disk| {
            // A removal decides about the pins under the same lock.
            let _target_lock = disk.layout.lock_target(key)?;
            let is_known = records::is_known(&disk.layout, key, sha256)?;
            if is_known {
                pins::pin(disk, key, sha256)?;
            }
            Ok(is_known)
        });
        let is_known = is_known.await?;
        self.cache.invalidate(key);
        if is_known {
            pin_sync::put_pin(self.cache, key, sha256).await;
        }
        Ok(is_known)
    }

    /// Removes one pin of a target, or all of them. Returns the number of removed pins.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn unpin(self, key: Key, sha256: Option<Sha256>) -> Result<u64, CacheError> {
        let removed = self.run(move |disk| {
            let all = pins::list(&disk.layout, key)?
                .into_iter()
                .map(|pin| pin.sha256);
            let removed: Vec<_> = all
                .filter(|pinned| sha256.is_none_or(|wanted| wanted == *pinned))
                .collect();
            for pinned in &removed {
                pins::unpin(disk, key, *pinned)?;
            }
            Ok(removed)
        });
        let removed = removed.await?;
        self.cache.invalidate(key);
        for sha256 in &removed {
            pin_sync::remove_pin(self.cache, key, *sha256).await;
        }
        Ok(removed.len() as u64)
    }

    /// As [`Cache::publish`], and pins the target to the published bytes. No eviction can happen
    /// between the two.
    ///
    /// # Errors
    /// As [`Cache::publish`].
    pub async fn publish_pinned(
        self,
        sealed: Sealed,
        record: Record,
    ) -> Result<Published, CacheError> {
        let (key, sha256) = (record.key(), record.sha256);
        let class = IoClass::Durable {
            size_bytes: sealed.size_bytes,
        };
        let published = self.cache.disk().run(class, move |disk| {
            publish::publish_pinned(disk, &sealed, &record)
        });
        let published = published.await?;
        self.cache.invalidate(key);
        self.cache.notify_upload();
        pin_sync::put_pin(self.cache, key, sha256).await;
        Ok(published)
    }

    /// Evicts an object at once, unless it is pinned. Its records stay.
    ///
    /// # Errors
    /// [`CacheError`] if a tier fails.
    pub async fn evict_object(self, sha256: Sha256) -> Result<EvictResult, CacheError> {
        if pin_sync::is_pinned_in_bucket(self.cache, sha256).await? {
            return Ok(EvictResult::Pinned);
        }
        let evicted = self.run(move |disk| evict::evict(disk, sha256)).await?;
        if evicted != EvictResult::Pinned {
            pin_sync::remove_object(self.cache, sha256).await?;
        }
        Ok(evicted)
    }

    /// Removes the records of a target, and its objects unless other targets pin them. `pinned`
    /// decides about its pins. Other targets of a removed object keep their records, so they accept
    /// only the same bytes.
    ///
    /// # Errors
    /// [`CacheError`] if a tier fails. Another call removes the rest, or the garbage collection of
    /// the bucket.
    pub async fn remove_target(
        self,
        key: Key,
        pinned: PinnedTarget,
    ) -> Result<TargetRemoval, CacheError> {
        let records = self
            .run(move |disk| records::read_all(&disk.layout, key))
            .await?;
        let digests: Vec<Sha256> = records.digests().collect();
        match pinned {
            PinnedTarget::Remove => {
                self.unpin(key, None).await?;
            }
            PinnedTarget::Keep => {
                if !self
                    .run(move |disk| pins::list(&disk.layout, key))
                    .await?
                    .is_empty()
                {
                    return Ok(TargetRemoval::Pinned);
                }
            }
        }
        pin_sync::remove_records(self.cache, key, &digests).await?;
        let mut removed = RemovedTarget::default();
        for sha256 in digests {
            match self.remove_record(key, sha256, pinned).await? {
                TargetRemoval::Removed(record) => removed += record,
                TargetRemoval::Pinned => {
                    self.cache.invalidate(key);
                    return Ok(TargetRemoval::Pinned);
                }
            }
        }
        self.remove_observations(key, &mut removed).await?;
        self.cache.invalidate(key);
        Ok(TargetRemoval::Removed(removed))
    }

    /// Removes one record with its object. No pin can be set between the decision and the removal.
    async fn remove_record(
        self,
        key: Key,
        sha256: Sha256,
        pinned: PinnedTarget,
    ) -> Result<TargetRemoval, CacheError> {
        let is_pinned_in_bucket = pin_sync::is_pinned_in_bucket(self.cache, sha256).await?;
        let evicted = self.run(move |disk| {
            let _target_lock = disk.layout.lock_target(key)?;
            for pin in pins::list(&disk.layout, key)? {
                match pinned {
                    PinnedTarget::Keep => return Ok(None),
                    PinnedTarget::Remove => pins::unpin(disk, key, pin.sha256)?,
                };
            }
            let evicted = if is_pinned_in_bucket {
                EvictResult::Pinned
            } else {
                evict::evict(disk, sha256)?
            };
            record_files::remove_record(disk, key, sha256)?;
            Ok(Some(evicted))
        });
        let Some(evicted) = evicted.await? else {
            return Ok(TargetRemoval::Pinned);
        };
        if evicted != EvictResult::Pinned {
            pin_sync::remove_object(self.cache, sha256).await?;
        }
        Ok(TargetRemoval::Removed(RemovedTarget {
            records: 1,
            freed_bytes: match evicted {
                EvictResult::Evicted { size_bytes } => size_bytes,
                EvictResult::Pinned | EvictResult::NotFound => 0,
            },
        }))
    }

    /// Removes the observations of a target and their objects.
    async fn remove_observations(
        self,
        key: Key,
        removed: &mut RemovedTarget,
    ) -> Result<(), CacheError> {
        let observations = self.cache.observations();
        let known = observations.list(key).await?;
        observations.remove(key).await?;
        for observation in known {
            removed.records += 1;
            // Another target may have the same bytes. It then needs a request to the origin.
            if let EvictResult::Evicted { size_bytes } =
                self.evict_object(observation.sha256).await?
            {
                removed.freed_bytes += size_bytes;
            }
        }
        Ok(())
    }

    /// Whether the bytes of a record can be served, from the disk or the bucket.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn can_serve(self, record: &Arc<Record>) -> Result<bool, CacheError> {
        let opened = open::open_record(self.cache, record.key(), Arc::clone(record)).await?;
        Ok(opened.is_some())
    }
}
