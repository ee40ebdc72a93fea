//! Care for what is kept, while requests go on: uses written down, space made, the index held against the disk, the bucket
//! filled, rot looked for; and this node withdrawn from DNS while it is not ready.
//!
//! Everything here may come late or fail without a request noticing. Its main type is [`Care`].

mod bucket;
mod dns;
mod migrate;
mod readiness;
mod rot;
mod verify;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use dns::{Algorithm as DnsAlgorithm, Config as DnsConfig, Node};
pub use migrate::{MigrateError, Place, Progress, migrate};
pub use verify::{Finding, Outcome, Plan, Sign, Sources, Verified, verify};

use crate::store::Store;
use dns::Dns;

/// How often uses are written down. A crash forgets at most so much of the order of eviction.
const WRITE_DOWN_INTERVAL: Duration = Duration::from_secs(30);

/// The rest between two evictions under pressure, so that a disk that cannot be emptied does not keep this busy.
const PRESSURE_REST: Duration = Duration::from_secs(1);

/// The tasks that look after the store.
pub struct Care {
    tasks: TaskTracker,
    stop: CancellationToken,
    dns: Option<Dns>,
}

impl Care {
    /// Begins to look after `store`, wholly every `sweep_interval`, and after `node`'s addresses in DNS, if it has any there.
    #[must_use]
    pub fn start(store: &Store, sweep_interval: Duration, node: Option<Node>) -> Self {
        let mut care = Self { tasks: TaskTracker::new(), stop: CancellationToken::new(), dns: None };
        let (found, readiness) = readiness::channel(store);
        care.spawn(readiness::watch(store.clone(), found));
        care.dns = node.map(|node| Dns::start(node, readiness));
        care.spawn(sweep(store.clone(), sweep_interval));
        care.spawn(relieve(store.clone()));
        care.spawn(write_down(store.clone()));
        if let Some(bucket) = store.bucket() {
            for _ in 0..bucket::UPLOADS_AT_ONCE {
                care.spawn(bucket::upload(store.clone()));
            }
            care.spawn(bucket::bring_back(store.clone()));
            care.spawn(bucket::watch(bucket.clone()));
            care.spawn(bucket::audit(store.clone(), sweep_interval));
            care.spawn(bucket::end_abandoned_uploads(bucket.clone()));
            if bucket.config().has_retention() {
                care.spawn(bucket::collect(bucket.clone()));
                care.spawn(bucket::mark_uses(store.clone()));
            }
        }
        care
    }

    /// Begins to read all that is kept, once in each `round`, and to mend what is rotten. Never, if that is no time.
    pub fn look_for_rot(&self, sources: Sources, round: Duration) {
        if !round.is_zero() {
            self.spawn(rot::look_for_rot(sources, round));
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(task).await });
    }

    /// Sends clients to the other nodes, before this one takes no more of them. Returns within `grace`.
    pub async fn withdraw(&mut self, grace: Duration) {
        if let Some(dns) = self.dns.take() {
            dns.leave(grace).await;
        }
    }

    /// Ends all care. What is being done is left off between two steps.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// At the start and then now and again.
async fn sweep(store: Store, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.reconcile_if_needed().await {
            Ok(Some(mended)) => tracing::info!(mended, "the index was held against the disk"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the index could not be held against the disk"),
        }
        look_after_space(&store).await;
    }
}

/// Whenever the store says that it is getting full.
async fn relieve(store: Store) {
    loop {
        store.pressure().await;
        if let Err(error) = store.reconcile_if_needed().await {
            tracing::warn!(%error, "the index could not be held against the disk");
        }
        look_after_space(&store).await;
        sleep(PRESSURE_REST).await;
    }
}

async fn look_after_space(store: &Store) {
    if let Err(error) = store.look_after_space().await {
        tracing::warn!(%error, "no space could be made in the cache");
    }
}

async fn write_down(store: Store) {
    let mut ticks = interval(WRITE_DOWN_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = store.write_down_uses().await {
            tracing::warn!(%error, "the last uses of objects were not written down");
        }
    }
}
