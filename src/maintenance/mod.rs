//! Background tasks of the cache: access times, eviction, reindexing, and the exchange with the
//! bucket.
//!
//! No request waits for these tasks, and none fails with them. This module knows only the cache.
//! Its main type is [`Maintenance`].

mod bucket_jobs;
mod cache_jobs;
mod periodic;
mod runner;

use std::time::Duration;

pub use periodic::PeriodicTask;
pub use runner::TaskRunner;

use crate::cache::Cache;

/// The maintenance tasks of a process.
pub struct Maintenance {
    runner: TaskRunner,
}

impl Maintenance {
    /// Starts the tasks of `cache`. Reindexing, eviction and bucket inventories run at each
    /// `interval`.
    #[must_use]
    pub fn start(cache: &Cache, interval: Duration) -> Self {
        let runner = TaskRunner::default();
        cache_jobs::start(&runner, cache, interval);
        if let (Some(replication), Some(bucket)) = (cache.replication(), cache.bucket()) {
            bucket_jobs::start(&runner, &replication, bucket, interval);
        }
        Self { runner }
    }

    /// Starts a further task, which stops with the others.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runner.spawn(task);
    }

    /// Stops all tasks at their next await point, and waits until they have stopped.
    pub async fn stop(self) {
        self.runner.stop().await;
    }
}
