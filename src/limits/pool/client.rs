//! The client that a permit of a pool counts for, and the share that one client may have. This file
//! knows no pool. The main types are [`PoolClient`] and [`ClientShare`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::ClientNet;

/// Part of a pool that one client may have, unless it is configured.
pub const DEFAULT_SHARE: f64 = 0.125;

/// Unit of a share: a millionth of a pool.
const MILLION: u32 = 1_000_000;

/// Client that a permit counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolClient {
    /// A client network, which gets no new permit above its share while others wait.
    Shared(ClientNet),
    /// A network that carries many clients: one of `limits.exempt_clients`, or a trusted proxy.
    Exempt(ClientNet),
    /// Millpond itself, such as a scrub that restores an object.
    Own,
}

impl PoolClient {
    /// Returns the client network. `None` for Millpond itself.
    #[must_use]
    pub fn net(self) -> Option<ClientNet> {
        match self {
            Self::Shared(net) | Self::Exempt(net) => Some(net),
            Self::Own => None,
        }
    }

    /// Returns the client network that has a share. `None` for an exempt one.
    #[must_use]
    pub fn shared_net(self) -> Option<ClientNet> {
        match self {
            Self::Shared(net) => Some(net),
            Self::Exempt(_) | Self::Own => None,
        }
    }

    /// Whether the share applies to the client.
    pub(super) fn has_share(self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

/// Part of each pool that one client may have while others wait. All pools share one value, which
/// can be replaced at run time.
#[derive(Debug, Clone)]
pub struct ClientShare {
    millionths: Arc<AtomicU32>,
}

impl Default for ClientShare {
    fn default() -> Self {
        Self::new(DEFAULT_SHARE)
    }
}

impl ClientShare {
    /// `share` is greater than 0 and at most 1.
    #[must_use]
    pub fn new(share: f64) -> Self {
        let this = Self {
            millionths: Arc::default(),
        };
        this.set(share);
        this
    }

    /// Replaces the share for all pools.
    pub(in crate::limits) fn set(&self, share: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share between 0 and 1 has at most a million parts"
        )]
        let millionths = (share.clamp(0.0, 1.0) * f64::from(MILLION)) as u32;
        self.millionths.store(millionths, Ordering::Relaxed);
    }

    /// Returns the number of permits of a pool of `size` permits, at least one.
    pub(super) fn of(&self, size: usize) -> usize {
        let millionths = u128::from(self.millionths.load(Ordering::Relaxed));
        let permits = size as u128 * millionths / u128::from(MILLION);
        usize::try_from(permits).unwrap_or(size).max(1)
    }
}
