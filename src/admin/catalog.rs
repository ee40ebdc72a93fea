//! Operations of operators and readers on the catalog. The main type is [`CatalogAdmin`].

use super::error::AdminError;
use super::storage_error::storage_error;
use super::token::{ListReader, Operator};
use crate::cache::{Cache, CacheError, CatalogEntry};
use crate::catalog::Catalog;
use crate::model::{Digest, Sha256};

/// Operations on the catalog.
#[derive(Debug, Clone)]
pub struct CatalogAdmin {
    catalog: Catalog,
}

impl CatalogAdmin {
    pub(super) fn new(cache: Cache) -> Self {
        let catalog = Catalog::new(cache);
        Self { catalog }
    }

    /// Returns the entries of a file name.
    ///
    /// # Errors
    /// [`AdminError`] if the catalog cannot be read.
    pub async fn of_name(
        &self,
        _: &ListReader,
        name: &str,
    ) -> Result<Vec<CatalogEntry>, AdminError> {
        let found = self.catalog.entries_of_name(name).await;
        found.map_err(|error: CacheError| storage_error(&error))
    }

    /// Returns the entries of a digest.
    ///
    /// # Errors
    /// [`AdminError`] if the catalog cannot be read.
    pub async fn of_digest(
        &self,
        _: &ListReader,
        digest: &Digest,
    ) -> Result<Vec<CatalogEntry>, AdminError> {
        let found = self.catalog.entries_of_digest(digest).await;
        found.map_err(|error| storage_error(&error))
    }

    /// Returns the number of all entries.
    ///
    /// # Errors
    /// [`AdminError`] if the catalog cannot be read.
    pub async fn count(&self, _: &ListReader) -> Result<u64, AdminError> {
        let count = self.catalog.count().await;
        count.map_err(|error| storage_error(&error))
    }

    /// Adds a list of files. Returns the digest of the list.
    ///
    /// # Errors
    /// [`AdminError::TooManyEntries`] if the lists have no space left, or another error if the disk
    /// fails.
    pub async fn import(
        &self,
        _: &Operator,
        entries: Vec<CatalogEntry>,
    ) -> Result<Sha256, AdminError> {
        let imported = self.catalog.import(entries).await;
        imported.map_err(|error| storage_error(&error))
    }

    /// Removes a list and its entries.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is no such list, or [`AdminError`] if the disk fails.
    pub async fn remove_list(&self, _: &Operator, list: Sha256) -> Result<(), AdminError> {
        let removed = self.catalog.remove_list(list).await;
        if removed.map_err(|error| storage_error(&error))? {
            Ok(())
        } else {
            Err(AdminError::NotFound("the catalog has no such list"))
        }
    }

    /// Returns the imported lists, each with the number of its entries.
    ///
    /// # Errors
    /// [`AdminError`] if the disk fails.
    pub async fn lists(&self, _: &ListReader) -> Result<Vec<(Sha256, u64)>, AdminError> {
        let lists = self.catalog.lists().await;
        lists.map_err(|error| storage_error(&error))
    }
}
