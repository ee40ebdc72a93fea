//! Targets that the catalog knows for a name or a digest.
//!
//! Targets of private content are left out, or returned for a caller that knows who may have them.
//! The main function is [`known_files`].

use super::error::RequestError;
use crate::cache::{Cache, CacheError, EntryOrigin};
use crate::catalog::{Catalog, CatalogQuery, KnownFile};
use crate::model::{Sha256, Target};

/// Returns the public targets that may have a file, stored ones first.
///
/// # Errors
/// [`RequestError::Unavailable`] if the catalog cannot be read.
pub async fn known_files(
    cache: &Cache,
    query: &CatalogQuery,
) -> Result<Vec<KnownFile>, RequestError> {
    let catalog = Catalog::new(cache.clone());
    let mut files = catalog
        .find(query)
        .await
        .map_err(|error| unreadable(&error))?;
    // Only the registry endpoint knows which clients may have the others.
    files.retain(|file| !file.target.is_private());
    Ok(files)
}

/// Returns targets that have an object on record, up to a bound. There are none if the catalog
/// cannot be read.
pub async fn targets_of_object(cache: &Cache, sha256: Sha256) -> Vec<Target> {
    let catalog = Catalog::new(cache.clone());
    let entries = catalog.entries_of_digest(&sha256.into()).await;
    let entries = entries
        .map_err(|error| unreadable(&error))
        .unwrap_or_default();
    let recorded = entries
        .into_iter()
        .filter(|entry| entry.origin == EntryOrigin::Record);
    recorded.filter_map(|entry| entry.target).collect()
}

fn unreadable(error: &CacheError) -> RequestError {
    tracing::warn!(%error, "catalog cannot be read");
    RequestError::Unavailable
}
