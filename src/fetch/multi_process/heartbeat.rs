//! Heartbeat of the holder of a lease. A holder may wait long for a permit or for its origin. The
//! heartbeat distinguishes it from one that hangs. The main type is [`Heartbeat`].

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cache::Lease;

/// Interval between two heartbeats. Most fetches end before the first.
const INTERVAL: Duration = Duration::from_secs(3);

/// Time without a heartbeat after which a holder counts as hanging. A busy machine may delay a few.
pub const MAX_SILENCE: Duration = Duration::from_secs(15);

/// Task that touches the file of a lease. Dropping it ends the task.
#[derive(Debug)]
pub struct Heartbeat {
    task: JoinHandle<()>,
}

impl Heartbeat {
    pub fn start(lease: &Arc<Lease>) -> Self {
        let lease = Arc::downgrade(lease);
        Self {
            task: tokio::spawn(beat(lease)),
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn beat(lease: Weak<Lease>) {
    loop {
        sleep(INTERVAL).await;
        let Some(lease) = lease.upgrade() else {
            return;
        };
        if let Err(error) = lease.touch().await {
            tracing::debug!(%error, "heartbeat of a lease was not written");
        }
    }
}
