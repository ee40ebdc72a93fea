//! Pins and removals of operators in the bucket.

use super::error::CacheError;
use super::handle::Cache;
use crate::bucket;
use crate::disk::{DiskError, IoClass, PendingUpload, pins};
use crate::model::{Key, Sha256};

/// Stores a pin in the bucket, so that retention keeps the object. After a failure the pin applies
/// to the disk only.
pub async fn put_pin(cache: &Cache, key: Key, sha256: Sha256) {
    let Some(bucket) = cache.bucket() else { return };
    if let Err(error) = bucket.pins().put(key, sha256).await {
        tracing::warn!(%error, %sha256, "pin was not stored in the bucket; pin the target again");
    }
}

/// Removes a pin from the bucket.
pub async fn remove_pin(cache: &Cache, key: Key, sha256: Sha256) {
    let Some(bucket) = cache.bucket() else { return };
    if let Err(error) = bucket.pins().remove(key, sha256).await {
        tracing::warn!(%error, %sha256, "pin was not removed from the bucket");
    }
}

/// Removes the records of a target from the bucket. Otherwise they would be imported again.
pub async fn remove_records(cache: &Cache, key: Key, records: &[Sha256]) -> Result<(), CacheError> {
    let Some(bucket) = cache.bucket() else {
        return Ok(());
    };
    for sha256 in records.iter().copied() {
        bucket.records().remove(key, sha256).await?;
        let removed = cache.disk().run(IoClass::Request, move |disk| {
            disk.index.uploads().remove(PendingUpload { key, sha256 })?;
            if let Some(markers) = &disk.markers {
                markers.clear_record(key, sha256)?;
            }
            Ok::<_, DiskError>(())
        });
        removed.await?;
    }
    Ok(())
}

/// Whether any node has stored a pin of this object in the bucket.
pub async fn is_pinned_in_bucket(cache: &Cache, sha256: Sha256) -> Result<bool, CacheError> {
    let Some(bucket) = cache.bucket() else {
        return Ok(false);
    };
    let mut listing = bucket.list(bucket.keys().pins());
    while let Some(page) = listing.next_page().await? {
        if page
            .iter()
            .any(|listed| bucket::parse_digest(&listed.name) == Some(sha256))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes an object from the bucket.
pub async fn remove_object(cache: &Cache, sha256: Sha256) -> Result<(), CacheError> {
    let Some(state) = &cache.inner.bucket else {
        return Ok(());
    };
    state.bucket.remove_object(sha256).await?;
    state.set_present(sha256, false);
    let removed = cache.disk().run(IoClass::Request, move |disk| {
        if let Some(markers) = &disk.markers {
            markers.clear_object(sha256)?;
        }
        disk.index.bucket_objects().remove(sha256)
    });
    Ok(removed.await?)
}

/// Imports the pins of other nodes, for all targets with a record here.
pub async fn import_unknown_pins(cache: &Cache) -> Result<(), CacheError> {
    let Some(bucket) = cache.bucket() else {
        return Ok(());
    };
    let mut listing = bucket.list(bucket.keys().pins());
    while let Some(page) = listing.next_page().await? {
        let listed: Vec<_> = page
            .iter()
            .filter_map(|listed| bucket::parse_pin_key(&listed.name))
            .collect();
        let unknown = cache.disk().run(IoClass::Maintenance, move |disk| {
            let layout = &disk.layout;
            let is_unknown = |(key, sha256): &(Key, Sha256)| {
                layout.records_of(*key).is_dir() && !layout.pin(*key, *sha256).exists()
            };
            Ok::<_, DiskError>(listed.into_iter().filter(is_unknown).collect::<Vec<_>>())
        });
        for (key, _) in unknown.await? {
            import_pins(cache, key).await;
            cache.invalidate(key);
        }
    }
    Ok(())
}

/// Imports the pins of other nodes for one target.
pub async fn import_pins(cache: &Cache, key: Key) {
    let Some(bucket) = cache.bucket() else { return };
    let imported = match bucket.pins().read_all(key).await {
        Ok(found) => {
            let import = cache.disk().run(IoClass::Request, move |disk| {
                found
                    .into_iter()
                    .try_for_each(|(sha256, pinned_at)| pins::import(disk, key, sha256, pinned_at))
            });
            import.await.map_err(CacheError::from)
        }
        Err(error) => Err(error.into()),
    };
    if let Err(error) = imported {
        tracing::warn!(%error, %key, "pins of a target were not imported from the bucket");
    }
}
