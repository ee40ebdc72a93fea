//! Care for the bucket: what is stored goes up, what is wanted comes back.

use std::time::Duration;

use tokio::time::sleep;

use crate::store::{Bucket, Store, Turn};

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

/// Brings back whatever is wanted.
pub async fn bring_back(store: Store) {
    loop {
        store.bring_next_back().await;
    }
}
