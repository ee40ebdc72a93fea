//! The catalog: from file names and digests to the targets that have the files.
//!
//! Every record has an entry, and operators import lists of other files. The entries lie in the
//! cache folder. This module decides which of them answer a request by name or digest, and reads
//! the formats of lists. It must not know requests or origins. Its main type is [`Catalog`].

mod find;
mod formats;
mod query;

use crate::cache::{Cache, CacheError, CatalogEntry};
use crate::model::{Digest, Sha256};

pub use formats::{BadLine, ListFormat, parse_apt_list};
pub use query::{CatalogQuery, FileName, KnownFile, KnownHow};

/// The catalog of this process.
#[derive(Debug, Clone)]
pub struct Catalog {
    cache: Cache,
}

impl Catalog {
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self { cache }
    }

    /// Returns the targets that may have the file of a query, stored ones first. A name that stands
    /// for different bytes has none, unless the query has a digest.
    ///
    /// # Errors
    /// [`CacheError`] if the catalog cannot be read.
    pub async fn find(&self, query: &CatalogQuery) -> Result<Vec<KnownFile>, CacheError> {
        find::find(self.cache.catalog(), query).await
    }

    /// Returns the entries of a file name.
    ///
    /// # Errors
    /// [`CacheError`] if the catalog cannot be read.
    pub async fn entries_of_name(&self, name: &str) -> Result<Vec<CatalogEntry>, CacheError> {
        self.cache.catalog().by_name(name.to_owned()).await
    }

    /// Returns the entries of a digest.
    ///
    /// # Errors
    /// [`CacheError`] if the catalog cannot be read.
    pub async fn entries_of_digest(
        &self,
        digest: &Digest,
    ) -> Result<Vec<CatalogEntry>, CacheError> {
        self.cache.catalog().by_digest(digest.clone()).await
    }

    /// Returns the number of all entries.
    ///
    /// # Errors
    /// [`CacheError`] if the catalog cannot be read.
    pub async fn count(&self) -> Result<u64, CacheError> {
        self.cache.catalog().count().await
    }

    /// Stores the entries of a list. Returns its digest.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn import(&self, entries: Vec<CatalogEntry>) -> Result<Sha256, CacheError> {
        self.cache.catalog().import(entries).await
    }

    /// Removes a list and its entries. Returns false if there is no such list.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn remove_list(&self, list: Sha256) -> Result<bool, CacheError> {
        self.cache.catalog().remove_list(list).await
    }

    /// Returns the imported lists, each with the number of its entries.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn lists(&self) -> Result<Vec<(Sha256, u64)>, CacheError> {
        self.cache.catalog().lists().await
    }
}
