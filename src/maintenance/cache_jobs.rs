//! Tasks for the disk: access times, reindexing and eviction.

use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;

use super::periodic::PeriodicTask;
use super::runner::TaskRunner;
use crate::cache::{Cache, CacheError, DiskError};
use crate::disk::{DiskStore, IoClass, catalog, compaction, evict};

/// Interval at which access times are stored. A crash loses the LRU order of this time.
const ACCESS_TIMES_INTERVAL: Duration = Duration::from_secs(30);

/// Interval at which the memory of old look-ups is freed.
const LOOKUPS_INTERVAL: Duration = Duration::from_mins(1);

/// Delay between two evictions on low space. It prevents a busy loop if nothing can be evicted.
const LOW_SPACE_DELAY: Duration = Duration::from_secs(1);

/// Starts the tasks. Reindexing and eviction run at each `interval`, and eviction also on low
/// space.
pub fn start(runner: &TaskRunner, cache: &Cache, interval: Duration) {
    let reindexed = cache.clone();
    runner.spawn_periodic(PeriodicTask {
        name: "reindex",
        interval,
        run: move || reindex_and_evict(reindexed.clone()),
    });
    let digested = cache.clone();
    runner.spawn_periodic(PeriodicTask {
        name: "digests",
        interval,
        run: move || complete_digests(digested.clone()),
    });
    let flushed = cache.clone();
    runner.spawn_periodic(PeriodicTask {
        name: "access times",
        interval: ACCESS_TIMES_INTERVAL,
        run: move || flush_access_times(flushed.clone()),
    });
    let remembered = cache.clone();
    runner.spawn_periodic(PeriodicTask {
        name: "look-ups",
        interval: LOOKUPS_INTERVAL,
        run: move || free_lookups(remembered.clone()),
    });
    runner.spawn(evict_on_low_space(cache.clone()));
    runner.spawn(reindex_on_attention(cache.clone()));
}

async fn reindex_and_evict(cache: Cache) -> Result<(), CacheError> {
    let disk = cache.disk();
    reindex(&cache).await;
    let evicted = disk.run(IoClass::Maintenance, evict::evict_to_low_watermark);
    evicted.await?;
    let compacted = disk.run(IoClass::Maintenance, compaction::compact_if_due);
    match compacted.await? {
        0 => {}
        targets => tracing::info!(targets, "compacted records"),
    }
    cache.observations().remove_evicted().await
}

async fn reindex(cache: &Cache) {
    let reindexed = cache
        .disk()
        .run(IoClass::Maintenance, DiskStore::reindex_if_needed);
    match reindexed.await {
        Ok(Some(repaired)) => tracing::info!(repaired, "reconciled index with disk"),
        Ok(None) => {}
        // The lock of the index is reported where it is waited for.
        Err(error) if error.is_index_unavailable() => {
            tracing::debug!(%error, "index could not be written, will retry");
        }
        Err(error) => {
            tracing::warn!(%error, "index could not be reconciled with the disk, will retry");
        }
    }
    fill_catalog(cache).await;
}

async fn fill_catalog(cache: &Cache) {
    let scan = catalog::scan::scan_if_needed;
    match cache.disk().run(IoClass::Maintenance, scan).await {
        Ok(Some(added)) => tracing::info!(added, "filled catalog from the files"),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "catalog could not be filled, will retry"),
    }
}

/// Computes the digests by which stored objects are not found yet.
async fn complete_digests(cache: Cache) -> Result<(), CacheError> {
    match cache.catalog().complete_digests().await? {
        0 => {}
        objects => tracing::info!(objects, "computed digests for the catalog"),
    }
    Ok(())
}

/// Opens the index again, or writes what it lacks.
async fn reindex_on_attention(cache: Cache) {
    loop {
        cache.disk().store().wait_for_attention().await;
        reindex(&cache).await;
    }
}

async fn evict_on_low_space(cache: Cache) {
    loop {
        cache.disk().store().wait_for_low_space().await;
        if let Err(error) = reindex_and_evict(cache.clone()).await {
            tracing::warn!(%error, "eviction failed, will retry");
        }
        sleep(LOW_SPACE_DELAY).await;
    }
}

async fn flush_access_times(cache: Cache) -> Result<(), DiskError> {
    cache
        .disk()
        .run(IoClass::Maintenance, DiskStore::flush)
        .await
}

async fn free_lookups(cache: Cache) -> Result<(), JoinError> {
    // A disk that does not answer must not prevent it.
    spawn_blocking(move || cache.remove_expired_lookups()).await
}
