//! Periodic tasks of the policy while the service runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::policy::Policy;

/// Interval at which clients without recent requests are removed from the rate limits, to bound
/// their memory.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10);

/// Interval at which `policy.checksums_file` is checked for changes.
const CHECKSUMS_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the periodic tasks. Never returns.
pub async fn run_policy_tasks(policy: Arc<Policy>) {
    tokio::join!(
        run_periodically(PRUNE_INTERVAL, &policy, Policy::prune_idle_clients),
        run_periodically(
            CHECKSUMS_INTERVAL,
            &policy,
            Policy::reload_checksum_file_if_changed
        ),
    );
}

/// Runs `task` every `period` on a thread for blocking work.
async fn run_periodically(period: Duration, policy: &Arc<Policy>, task: fn(&Policy)) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let policy = Arc::clone(policy);
        if let Err(error) = spawn_blocking(move || task(&policy)).await {
            tracing::warn!(%error, "periodic task of the policy failed");
        }
    }
}
