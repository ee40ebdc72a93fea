//! Access to the catalog: entries by name and by digest, and imports.
//!
//! This file must not know what an entry means for a request. The main type is [`CatalogAccess`].

use std::time::Instant;

use tokio::time::sleep;

use super::error::CacheError;
use super::handle::Cache;
use crate::disk::catalog::import_files;
use crate::disk::{CatalogEntry, DiskError, DiskStore, IoClass, ObjectHandle, digests};
use crate::model::{Digest, Hasher, Sha256};

/// Objects whose digests are computed in one call.
const DIGEST_BATCH: usize = 64;

/// The catalog of a cache.
#[derive(Debug, Clone, Copy)]
pub struct CatalogAccess<'a> {
    pub(super) cache: &'a Cache,
}

impl CatalogAccess<'_> {
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&DiskStore) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, CacheError> {
        Ok(self.cache.disk().run(IoClass::Request, work).await?)
    }

    /// Returns the entries of a file name, up to a bound.
    ///
    /// # Errors
    /// [`CacheError`] if the catalog cannot be read.
    pub async fn by_name(self, name: String) -> Result<Vec<CatalogEntry>, CacheError> {
        self.run(move |disk| disk.catalog.by_name(&name)).await
    }

    /// Returns the entries of a digest, up to a bound.
    ///
    /// # Errors
    /// [`CacheError`] if the catalog cannot be read.
    pub async fn by_digest(self, digest: Digest) -> Result<Vec<CatalogEntry>, CacheError> {
        self.run(move |disk| disk.catalog.by_digest(&digest)).await
    }

    /// Stores a list of entries, and adds them. Returns the digest of the list.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails, or the lists have too many entries.
    pub async fn import(self, entries: Vec<CatalogEntry>) -> Result<Sha256, CacheError> {
        // A long list takes longer than a request may.
        let store = move |disk: &DiskStore| import_files::store(disk, &entries);
        Ok(self.cache.disk().run(IoClass::Maintenance, store).await?)
    }

    /// Removes a list and its entries. Returns false if there is no such list.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn remove_list(self, list: Sha256) -> Result<bool, CacheError> {
        let remove = move |disk: &DiskStore| import_files::remove(disk, list);
        Ok(self.cache.disk().run(IoClass::Maintenance, remove).await?)
    }

    /// Returns the imported lists, each with the number of its entries.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn lists(self) -> Result<Vec<(Sha256, u64)>, CacheError> {
        let count = |disk: &DiskStore| {
            let lists = import_files::names(disk)?.into_iter();
            let counted = lists.map(|list| Ok((list, disk.catalog.count_imported(list)?)));
            counted.collect::<Result<_, DiskError>>()
        };
        Ok(self.cache.disk().run(IoClass::Maintenance, count).await?)
    }

    /// Returns the number of entries.
    ///
    /// # Errors
    /// [`CacheError`] if the catalog cannot be read.
    pub async fn count(self) -> Result<u64, CacheError> {
        self.run(|disk| disk.catalog.count()).await
    }

    /// Computes the digests of stored objects that have none yet, one object at a time, so that
    /// they are found by each of them. Returns the number of objects.
    ///
    /// # Errors
    /// [`CacheError`] if the catalog cannot be read.
    pub async fn complete_digests(self) -> Result<u64, CacheError> {
        let (mut after, mut completed) = (None, 0);
        loop {
            let query = move |disk: &DiskStore| disk.catalog.without_digests(after, DIGEST_BATCH);
            let found = self.cache.disk().run(IoClass::Maintenance, query).await?;
            let Some(last) = found.last() else {
                return Ok(completed);
            };
            after = Some(*last);
            for sha256 in found {
                let began = Instant::now();
                completed += u64::from(self.complete_object(sha256).await);
                // Clients come first: half of a processor and of the disk is left to them.
                sleep(began.elapsed()).await;
            }
        }
    }

    /// Computes the digests of one object. Returns false if it is not stored or cannot be read.
    async fn complete_object(self, sha256: Sha256) -> bool {
        // No client reads the object, so its access time stays.
        let opened = ObjectHandle::open(self.cache.disk(), IoClass::Maintenance, sha256);
        let Ok(Some(object)) = opened.await else {
            return false;
        };
        let stored = move |disk: &DiskStore| {
            let stored = digests::read(&disk.layout, sha256);
            if let Some(stored) = &stored {
                disk.catalog.add_digests(stored);
            }
            Ok::<_, DiskError>(stored.is_some())
        };
        if matches!(
            self.cache.disk().run(IoClass::Maintenance, stored).await,
            Ok(true)
        ) {
            return true;
        }
        let computed = object.file().hash(Hasher::with_all_algorithms()).await;
        let Ok(computed) = computed else { return false };
        if computed.sha256 != sha256 {
            // A scrub reports and repairs it.
            return false;
        }
        let write = move |disk: &DiskStore| digests::write(disk, &computed);
        let written = self.cache.disk().run(IoClass::Maintenance, write).await;
        written.is_ok()
    }
}
