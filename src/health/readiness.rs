//! Whether this instance should get requests, as `/readyz` says it: the disk is tried again and
//! again.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::cache::{Cache, DiskHealth};

/// How often the disk is tried.
const DISK_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// And why not.
    NotReady(String),
}

impl Readiness {
    fn of(health: &DiskHealth) -> Self {
        health.trouble().map_or(Self::Ready, Self::NotReady)
    }
}

/// Says at first what the store found when it was opened. [`watch`] goes on from there.
#[must_use]
pub fn channel(cache: &Cache) -> (watch::Sender<Readiness>, watch::Receiver<Readiness>) {
    watch::channel(Readiness::of(&cache.health()))
}

/// Keeps what is known of the disk up to date, for those who listen here, and for the store, which
/// tells what changes.
pub async fn watch(cache: Cache, readiness: watch::Sender<Readiness>) {
    loop {
        let found = Readiness::of(&cache.disk().probe().await);
        readiness.send_if_modified(|known| {
            let is_news = *known != found;
            *known = found;
            is_news
        });
        sleep(DISK_INTERVAL).await;
    }
}
