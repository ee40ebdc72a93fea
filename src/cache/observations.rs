//! Observations: the newest responses of targets whose bytes may change.
//!
//! This file must not know when a response may be reused. Its main type is [`Observations`].

use std::sync::Arc;

use super::error::CacheError;
use super::handle::Cache;
use super::open;
use crate::disk::{
    DiskError, DiskStore, FileHit, IoClass, NewBody, ObjectClass, Sealed, Staging, TargetSnapshot,
    evict, observation_publish, observations, pins,
};
use crate::freshness::{Observation, ReusePolicy};
use crate::limits::Readership;
use crate::model::{Hasher, Key};

/// The observations of a cache. They are on the disk only, and no replica has them.
#[derive(Debug, Clone, Copy)]
pub struct Observations<'a> {
    pub(super) cache: &'a Cache,
}

impl Observations<'_> {
    /// Returns the observations of a target, the newest first, at most one for each set of `Vary`
    /// values.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn list(&self, key: Key) -> Result<Vec<Observation>, CacheError> {
        let disk = self.cache.disk();
        let list = move |disk: &DiskStore| observations::read_all(&disk.layout, key);
        Ok(disk.run(IoClass::Request, list).await?)
    }

    /// Does the same as [`Self::list`], and returns whether an operator pinned bytes of the target.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn list_with_pin(&self, key: Key) -> Result<(Vec<Observation>, bool), CacheError> {
        let list = move |disk: &DiskStore| {
            let is_pinned = !pins::list(&disk.layout, key)?.is_empty();
            Ok::<_, DiskError>((observations::read_all(&disk.layout, key)?, is_pinned))
        };
        Ok(self.cache.disk().run(IoClass::Request, list).await?)
    }

    /// Opens the body of an observation. Returns `None` if it was evicted.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn open(&self, observation: &Observation) -> Result<Option<FileHit>, CacheError> {
        let record = observation.to_record();
        Ok(open::open_file(self.cache, Arc::new(record)).await?)
    }

    /// Begins to store a body, of `length` bytes if that is known. It takes space from other
    /// observations first, and from other objects only within the share of observations.
    ///
    /// # Errors
    /// [`crate::disk::DiskError::NoSpace`] if the body does not fit.
    pub async fn stage_for(
        &self,
        readership: &Readership,
        length: Option<u64>,
        hasher: Hasher,
    ) -> Result<Staging, CacheError> {
        let inner = &self.cache.inner;
        let body = NewBody {
            class: ObjectClass::Observed,
            length,
            hasher,
            space_use: inner.staging_pool.share_with(readership, length)?,
        };
        Ok(Staging::begin(&inner.disk, body).await?)
    }

    /// Returns a snapshot of a target before a request for it is sent. `file` is the file that a
    /// companion belongs to.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn snapshot(
        &self,
        key: Key,
        file: Option<Key>,
    ) -> Result<TargetSnapshot, CacheError> {
        let read = move |disk: &DiskStore| observations::snapshot(&disk.layout, key, file);
        Ok(self.cache.disk().run(IoClass::Request, read).await?)
    }

    /// Publishes a body as the newest response of its target. If the target has changed since
    /// the snapshot `before`, or there is none, the response must be validated first.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails. Then the earlier observation stays.
    pub async fn publish(
        &self,
        sealed: Sealed,
        observation: Observation,
        before: Option<TargetSnapshot>,
    ) -> Result<Observation, CacheError> {
        let size_bytes = sealed.size_bytes;
        let publish = move |disk: &DiskStore| {
            let published =
                observation_publish::publish(disk, &sealed, observation, before.as_ref())?;
            evict::evict_observed_surplus(disk)?;
            Ok::<_, DiskError>(published)
        };
        let disk = self.cache.disk();
        Ok(disk.run(IoClass::Durable { size_bytes }, publish).await?)
    }

    /// Replaces the head of `validated`, whose bytes are unchanged. Returns `None` if `validated`
    /// was replaced, invalidated or removed meanwhile.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails. Then the earlier observation stays.
    pub async fn replace_head(
        &self,
        validated: Arc<Observation>,
        observation: Observation,
    ) -> Result<Option<Observation>, CacheError> {
        let replace =
            move |disk: &DiskStore| observations::replace_head(disk, &validated, observation);
        Ok(self.cache.disk().run(IoClass::Request, replace).await?)
    }

    /// Whether a target has no observations, without waiting for the disk. False does not mean that
    /// there are some.
    #[must_use]
    pub fn are_surely_absent(&self, key: Key) -> bool {
        observations::are_surely_absent(&self.cache.disk().store().layout, key)
    }

    /// Marks all observations of these targets. Each one is validated before it answers again.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn invalidate(&self, keys: Vec<Key>) -> Result<(), CacheError> {
        let invalidate = move |disk: &DiskStore| observations::invalidate_all(disk, &keys);
        Ok(self.cache.disk().run(IoClass::Request, invalidate).await?)
    }

    /// Removes the observations whose objects were evicted.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn remove_evicted(&self) -> Result<(), CacheError> {
        let disk = self.cache.disk();
        let removed = disk
            .run(IoClass::Maintenance, observations::remove_evicted)
            .await?;
        if removed > 0 {
            tracing::debug!(removed, "removed observations of evicted objects");
        }
        Ok(())
    }

    /// Settings about the reuse of stored responses.
    #[must_use]
    pub fn reuse_policy(&self) -> ReusePolicy {
        self.cache.inner.reuse_policy
    }

    /// Removes all observations of a target (RFC 9111, section 4.4).
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn remove(&self, key: Key) -> Result<(), CacheError> {
        let remove = move |disk: &DiskStore| observations::remove_all(disk, key);
        Ok(self.cache.disk().run(IoClass::Request, remove).await?)
    }
}
