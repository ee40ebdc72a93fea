//! Readiness, which periodic probes of the cache disk keep up to date.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::cache::{Cache, DiskHealth};

/// Interval of the probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Readiness of this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Contains the reason.
    NotReady(String),
}

impl Readiness {
    fn from_health(health: &DiskHealth) -> Self {
        health.trouble().map_or(Self::Ready, Self::NotReady)
    }
}

/// Creates a channel with the readiness as of now. [`watch`] updates it.
#[must_use]
pub fn channel(cache: &Cache) -> (watch::Sender<Readiness>, watch::Receiver<Readiness>) {
    watch::channel(Readiness::from_health(&cache.health()))
}

/// Probes the disk periodically, and sends each change of the readiness. Never returns.
///
/// Each probe also updates the disk health that the cache reports.
pub async fn watch(cache: Cache, readiness: watch::Sender<Readiness>) {
    loop {
        let current = Readiness::from_health(&cache.disk().probe().await);
        readiness.send_if_modified(|known| {
            let is_changed = *known != current;
            *known = current;
            is_changed
        });
        sleep(PROBE_INTERVAL).await;
    }
}
