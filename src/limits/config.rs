//! Configuration section `[limits]`. This file must not know how a limit is kept. The main type is
//! [`LimitsConfig`].

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::pool::DEFAULT_SHARE;
use crate::model::{ConfigError, Quantity, Rate};

/// Upper bound of `client_share`. A client alone gets no larger part of a pool.
const MAX_CLIENT_SHARE: f64 = 0.75;

/// Configuration section `[limits]`.
///
/// Each limit applies to one IPv4 address or one IPv6 /64 network. Zero means no limit.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub requests_per_second: u32,
    /// Requests that an idle client may send at once.
    pub burst: u32,
    pub concurrent_downloads: u32,
    pub concurrent_tunnels: u32,
    /// Targets that were never stored and that one client may have stored in an hour.
    pub new_targets_per_hour: u32,
    /// Bytes that one client may receive in 24 hours, by downloads and tunnels.
    pub bytes_per_day: Quantity,
    /// Bytes per second for all transfers of one client.
    pub bandwidth: Rate,
    /// Bytes per second for this instance.
    pub total_bandwidth: Rate,
    /// Part of every pool that one client may have while others wait. Greater than 0, at most 0.75.
    pub client_share: f64,
    /// Networks of many clients, which are only subject to the total bandwidth and to three
    /// quarters of every pool.
    pub exempt_clients: Vec<IpNet>,
    /// Addresses of the nodes of the cluster, which carry the requests of many clients. The key is
    /// `cluster.peers`.
    #[serde(skip)]
    pub peers: Vec<IpNet>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests_per_second: 100,
            burst: 1000,
            concurrent_downloads: 1000,
            concurrent_tunnels: 1000,
            new_targets_per_hour: 20_000,
            bytes_per_day: Quantity::UNLIMITED,
            bandwidth: Rate::UNLIMITED,
            total_bandwidth: Rate::UNLIMITED,
            client_share: DEFAULT_SHARE,
            exempt_clients: Vec::new(),
            peers: Vec::new(),
        }
    }
}

impl LimitsConfig {
    /// Checks the section.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.requests_per_second > 0 && self.burst == 0 {
            return Err(ConfigError::new(
                "limits.burst",
                "must be at least 1, or every request would be rejected",
            ));
        }
        if !(self.client_share > 0.0 && self.client_share <= MAX_CLIENT_SHARE) {
            return Err(ConfigError::new(
                "limits.client_share",
                "must be greater than 0 and at most 0.75",
            ));
        }
        Ok(())
    }
}
