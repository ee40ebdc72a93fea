//! Care for the bucket: what is stored goes up, what is wanted comes back.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::store::{Bucket, Collection, Store, Turn};

/// How many objects are uploaded at once. More would take bandwidth from clients, and gain little.
pub const UPLOADS_AT_ONCE: usize = 2;

/// How often the queue is looked at without a reason: another process may have filled it, or a wait be over.
const QUEUE_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest rest after an upload that failed.
const FAILED_REST: Duration = Duration::from_secs(1);

/// Uploads whatever is in the queue.
pub async fn upload(store: Store) {
    loop {
        match store.upload_next().await {
            Ok(Turn::Taken) => {}
            Ok(Turn::Idle) => store.uploads(QUEUE_INTERVAL).await,
            Err(error) => {
                tracing::debug!(%error, "an upload failed; it is tried again");
                let rest = store.bucket().map_or(Duration::ZERO, Bucket::write_rest);
                sleep(rest.max(FAILED_REST)).await;
            }
        }
    }
}

/// How often the bucket is asked whether it is there. Clients who are sent to it do not tell us how they fared.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// Keeps what is known of the bucket's health up to date. Its trouble is told where it is met.
pub async fn watch(bucket: Bucket) {
    let mut ticks = interval(WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = bucket.probe().await {
            tracing::debug!(%error, "the bucket was asked whether it is there");
        }
    }
}

/// Brings back whatever is wanted.
pub async fn bring_back(store: Store) {
    loop {
        store.bring_next_back().await;
    }
}

/// Within what time instances begin to tidy.
const COLLECT_SPREAD: Duration = Duration::from_mins(1);

/// How often retention is applied.
const COLLECT_INTERVAL: Duration = Duration::from_hours(24);

/// Holds what is believed of the bucket against the bucket, now and again. A new index knows nothing of it yet, and learns
/// as it is asked.
pub async fn audit(store: Store, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.audit().await {
            Ok(Some(audit)) => tracing::debug!(?audit, "the bucket was looked through"),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the bucket could not be looked through"),
        }
    }
}

/// Applies the operator's rule of what the bucket need not keep, and removes what nobody names on the way. Instances that
/// start together do not do it together.
pub async fn collect(bucket: Bucket) {
    let mut ticks = interval(COLLECT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sleep(COLLECT_SPREAD.mul_f64(rand::random_range(0.0..1.0))).await;
        match bucket.collect(Collection::Real).await {
            Ok(collected) => tracing::info!(?collected, "the bucket was tidied"),
            Err(error) => tracing::warn!(%error, "the bucket could not be tidied"),
        }
    }
}

/// Ends uploads in parts that nobody goes on with: their parts cost space and show in no listing.
pub async fn end_abandoned_uploads(bucket: Bucket) {
    let mut ticks = interval(COLLECT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match bucket.end_abandoned_uploads(Collection::Real).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "abandoned uploads were ended"),
            Err(error) => tracing::debug!(%error, "abandoned uploads could not be ended"),
        }
    }
}

/// Marks in the bucket what was asked for, so that no instance takes it for unused.
pub async fn mark_uses(store: Store) {
    loop {
        store.mark_next_use().await;
    }
}
