//! Tasks for the bucket: uploads, promotions, probes, inventories and garbage collection.

use std::time::Duration;

use tokio::time::sleep;

use super::periodic::PeriodicTask;
use super::runner::TaskRunner;
use crate::bucket::{Bucket, BucketError, GcMode};
use crate::cache::{CacheError, QueuePoll, Replication};

/// Concurrent uploads. More would take bandwidth from clients, and gain little.
const UPLOADS_AT_ONCE: usize = 2;

/// Interval at which the queue is read without a notification. Another process may have filled the
/// queue, or the delay of an upload may have ended.
const QUEUE_INTERVAL: Duration = Duration::from_secs(1);

/// Shortest delay after an upload that failed.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Interval of probes. Failures of redirected clients are not visible here, so the bucket is
/// probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Longest random delay of a garbage collection, so that nodes that start together do not collect
/// at once.
const GC_SPREAD: Duration = Duration::from_mins(1);

/// Interval of garbage collection and retention.
const GC_INTERVAL: Duration = Duration::from_hours(24);

/// Starts the tasks. Inventories run at each `interval`.
pub fn start(runner: &TaskRunner, replication: &Replication, bucket: &Bucket, interval: Duration) {
    for _ in 0..UPLOADS_AT_ONCE {
        runner.spawn(run_uploads(replication.clone(), bucket.clone()));
    }
    runner.spawn(run_promotions(replication.clone()));
    let probed = bucket.clone();
    runner.spawn_periodic(PeriodicTask {
        name: "bucket probe",
        interval: PROBE_INTERVAL,
        run: move || probe(probed.clone()),
    });
    let listed = replication.clone();
    runner.spawn_periodic(PeriodicTask {
        name: "bucket inventory",
        interval,
        run: move || sync_inventory(listed.clone()),
    });
    let stale = bucket.clone();
    runner.spawn_periodic(PeriodicTask {
        name: "stale multipart uploads",
        interval: GC_INTERVAL,
        run: move || abort_stale_uploads(stale.clone()),
    });
    if bucket.config().has_retention() {
        let collected = bucket.clone();
        runner.spawn_periodic(PeriodicTask {
            name: "bucket garbage collection",
            interval: GC_INTERVAL,
            run: move || collect_garbage(collected.clone()),
        });
        runner.spawn(store_uses(replication.clone()));
    }
}

/// Uploads the objects in the queue, one after the other.
async fn run_uploads(replication: Replication, bucket: Bucket) {
    loop {
        match replication.upload_next().await {
            Ok(QueuePoll::Uploaded) => {}
            Ok(QueuePoll::Empty) => replication.wait_for_upload(QUEUE_INTERVAL).await,
            Err(error) => {
                tracing::debug!(%error, "upload failed, will retry");
                sleep(bucket.write_cooldown().max(RETRY_DELAY)).await;
            }
        }
    }
}

/// Copies objects that are requested often from the bucket to the disk.
async fn run_promotions(replication: Replication) {
    loop {
        replication.run_promotion().await;
    }
}

/// Stores the times of last use in the bucket, for retention.
async fn store_uses(replication: Replication) {
    loop {
        replication.store_next_use().await;
    }
}

/// Updates the circuit breaker of the bucket, which logs failures and emits their events.
async fn probe(bucket: Bucket) -> Result<(), BucketError> {
    if let Err(error) = bucket.probe().await {
        tracing::debug!(%error, "bucket probe failed");
    }
    bucket.probe_replicas().await;
    Ok(())
}

/// Compares the index with the bucket. The circuit breaker logs a failing bucket.
async fn sync_inventory(replication: Replication) -> Result<(), CacheError> {
    match replication.sync_bucket_inventory().await {
        Ok(report) => tracing::debug!(?report, "listed the bucket"),
        Err(error) => tracing::debug!(%error, "bucket inventory failed, will retry"),
    }
    Ok(())
}

/// Removes objects that no record names, and applies retention.
async fn collect_garbage(bucket: Bucket) -> Result<(), BucketError> {
    sleep(GC_SPREAD.mul_f64(rand::random_range(0.0..1.0))).await;
    let report = bucket.garbage_collector(GcMode::Apply).collect().await?;
    tracing::info!(?report, "collected garbage in the bucket");
    Ok(())
}

/// Aborts multipart uploads that no process continues. Their parts use space, and appear in no
/// listing of objects.
async fn abort_stale_uploads(bucket: Bucket) -> Result<(), BucketError> {
    match bucket
        .garbage_collector(GcMode::Apply)
        .abort_stale_multipart_uploads()
        .await
    {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "aborted stale multipart uploads"),
        Err(error) => {
            tracing::debug!(%error, "stale multipart uploads could not be aborted, will retry");
        }
    }
    Ok(())
}
