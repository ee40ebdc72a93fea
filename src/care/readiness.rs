//! Whether this instance should get requests, as `/readyz` says it: the disk is tried again and again.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::{Condition, Store};

/// How often the disk is tried.
const DISK_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// And why not.
    NotReady(String),
}

impl Readiness {
    fn of(condition: &Condition) -> Self {
        condition.trouble().map_or(Self::Ready, Self::NotReady)
    }
}

/// Says at first what the store found when it was opened. [`watch`] goes on from there.
pub fn channel(store: &Store) -> (watch::Sender<Readiness>, watch::Receiver<Readiness>) {
    watch::channel(Readiness::of(&store.condition()))
}

/// Keeps what is known of the disk up to date, for those who listen here, and for the store, which tells what changes.
pub async fn watch(store: Store, readiness: watch::Sender<Readiness>) {
    loop {
        let found = Readiness::of(&store.probe().await);
        readiness.send_if_modified(|known| {
            let is_news = *known != found;
            *known = found;
            is_news
        });
        sleep(DISK_INTERVAL).await;
    }
}
