//! Maintenance of the cache while requests go on: access times, eviction, reindexing, and the
//! exchange with the bucket.
//!
//! Everything here may be late or fail without a request noticing. Knows the cache only. Its main
//! type is [`Maintenance`].

mod bucket_jobs;
mod periodic;

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use periodic::PeriodicTask;

use crate::cache::{Cache, CacheError, DiskError};
use crate::disk::{DiskStore, IoClass};

/// Interval at which access times are stored. A crash loses so much of the LRU order.
const ACCESS_TIMES_INTERVAL: Duration = Duration::from_secs(30);

/// Delay between two evictions on low space, so that a disk that cannot be emptied does not cause a
/// busy loop.
const LOW_SPACE_DELAY: Duration = Duration::from_secs(1);

/// The maintenance tasks of a process.
pub struct Maintenance {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Maintenance {
    /// Starts the tasks for `cache`. The thorough ones run at each `interval`.
    #[must_use]
    pub fn start(cache: &Cache, interval: Duration) -> Self {
        let maintenance = Self {
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let (reindexed, flushed) = (cache.clone(), cache.clone());
        let sweep = move || reindex_and_evict(reindexed.clone());
        maintenance.spawn(
            PeriodicTask {
                name: "reindex",
                interval,
                run: sweep,
            }
            .run(),
        );
        let flush = move || flush_access_times(flushed.clone());
        maintenance.spawn(
            PeriodicTask {
                name: "access times",
                interval: ACCESS_TIMES_INTERVAL,
                run: flush,
            }
            .run(),
        );
        maintenance.spawn(evict_on_low_space(cache.clone()));
        if let (Some(replication), Some(bucket)) = (cache.replication(), cache.bucket()) {
            bucket_jobs::start(&maintenance, &replication, bucket, interval);
        }
        maintenance
    }

    /// Starts a further task. It ends with the others.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(task).await });
    }

    /// Ends all tasks, each between two steps.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn reindex_and_evict(cache: Cache) -> Result<(), CacheError> {
    match cache
        .disk()
        .run(IoClass::Maintenance, DiskStore::reindex_if_needed)
        .await
    {
        Ok(Some(repaired)) => tracing::info!(repaired, "reconciled index with disk"),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, "index could not be reconciled with the disk, will retry");
        }
    }
    cache.evict_to_low_watermark().await
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
        .run(IoClass::Maintenance, |disk| disk.index.flush_access_times())
        .await
}
