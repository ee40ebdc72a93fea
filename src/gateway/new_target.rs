//! Bound on the targets that one client has stored for the first time. Records are never evicted.
//!
//! This file must not know how the rate is measured. Its main function is [`count`].

use std::net::IpAddr;

use super::lookup::MissKind;
use super::services::GatewayServices;
use crate::limits::{PoolClient, TooManyNewTargets};
use crate::policy::Admitted;

/// Counts a miss of a target that was never stored, unless this process fetches it already. Targets
/// of an operator's jobs are not counted.
///
/// # Errors
/// [`TooManyNewTargets`]. The response then passes through unstored, so that no build fails.
pub fn count(
    services: &GatewayServices,
    admitted: &Admitted,
    client: IpAddr,
    kind: MissKind,
) -> Result<(), TooManyNewTargets> {
    let target = admitted.target();
    let is_own = admitted.pool_client() == PoolClient::Own;
    if is_own || kind != MissKind::NeverStored || services.fetcher.is_fetching(target) {
        return Ok(());
    }
    let counted = services.policy.count_new_target(client);
    counted.inspect_err(|error| tracing::debug!(%target, %error, "response is not stored"))
}
