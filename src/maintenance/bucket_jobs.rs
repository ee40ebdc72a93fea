//! Tasks for the bucket: uploads, promotions, probes, inventories and garbage collection.

use std::time::Duration;

use tokio::time::sleep;

use super::{Maintenance, PeriodicTask};
use crate::bucket::{Bucket, BucketError, GcMode};
use crate::cache::{CacheError, QueuePoll, Replication};

/// Uploads at once. More would take bandwidth from clients, and gain little.
const UPLOADS_AT_ONCE: usize = 2;

/// Interval at which the queue is read without a notification: another process may have filled it,
/// or a delay be over.
const QUEUE_INTERVAL: Duration = Duration::from_secs(1);

/// Shortest delay after an upload that failed.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Interval of probes. Clients that are redirected to the bucket do not report failures.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Time over which nodes that start together spread their garbage collections.
const GC_SPREAD: Duration = Duration::from_mins(1);

/// Interval of garbage collection and retention.
const GC_INTERVAL: Duration = Duration::from_hours(24);

/// Starts the tasks. Inventories run at each `interval`.
pub fn start(
    maintenance: &Maintenance,
    replication: &Replication,
    bucket: &Bucket,
    interval: Duration,
) {
    for _ in 0..UPLOADS_AT_ONCE {
        maintenance.spawn(run_uploads(replication.clone(), bucket.clone()));
    }
    maintenance.spawn(run_promotions(replication.clone()));
    let probed = bucket.clone();
    let run = move || probe(probed.clone());
    maintenance.spawn(
        PeriodicTask {
            name: "bucket probe",
            interval: PROBE_INTERVAL,
            run,
        }
        .run(),
    );
    let listed = replication.clone();
    let run = move || sync_inventory(listed.clone());
    maintenance.spawn(
        PeriodicTask {
            name: "bucket inventory",
            interval,
            run,
        }
        .run(),
    );
    let stale = bucket.clone();
    let run = move || abort_stale_uploads(stale.clone());
    maintenance.spawn(
        PeriodicTask {
            name: "stale multipart uploads",
            interval: GC_INTERVAL,
            run,
        }
        .run(),
    );
    if bucket.config().has_retention() {
        let collected = bucket.clone();
        let run = move || collect_garbage(collected.clone());
        maintenance.spawn(
            PeriodicTask {
                name: "bucket garbage collection",
                interval: GC_INTERVAL,
                run,
            }
            .run(),
        );
        maintenance.spawn(store_uses(replication.clone()));
    }
}

/// Uploads what is in the queue.
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

async fn run_promotions(replication: Replication) {
    loop {
        replication.run_promotion().await;
    }
}

async fn store_uses(replication: Replication) {
    loop {
        replication.store_next_use().await;
    }
}

/// Keeps the circuit of the bucket up to date. The request that fails logs and emits the failure.
async fn probe(bucket: Bucket) -> Result<(), BucketError> {
    if let Err(error) = bucket.probe().await {
        tracing::debug!(%error, "bucket probe failed");
    }
    Ok(())
}

/// Compares the index with the bucket. A failing bucket is logged by the request that met it.
async fn sync_inventory(replication: Replication) -> Result<(), CacheError> {
    match replication.sync_bucket_inventory().await {
        Ok(report) => tracing::debug!(?report, "listed the bucket"),
        Err(error) => tracing::debug!(%error, "bucket inventory failed, will retry"),
    }
    Ok(())
}

/// Applies retention and removes objects that no record names.
async fn collect_garbage(bucket: Bucket) -> Result<(), BucketError> {
    sleep(GC_SPREAD.mul_f64(rand::random_range(0.0..1.0))).await;
    let report = bucket.garbage_collector(GcMode::Apply).collect().await?;
    tracing::info!(?report, "collected garbage in the bucket");
    Ok(())
}

/// Aborts multipart uploads that no process continues: their parts cost space and show in no
/// listing.
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
