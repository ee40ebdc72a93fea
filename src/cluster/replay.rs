//! Bounded memory of the nonces of accepted marks, so that no mark is accepted twice.
//!
//! The main type is [`ReplayGuard`].

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use super::refusal::{Nonce, PeerRefusal};
use crate::model::lock;

/// Bound on the remembered nonces, about 8 MiB. If it is reached, marks are refused, since a
/// forgotten one could be sent again. Only nodes with the secret add nonces.
const MAX_SEEN: usize = 100_000;

/// Nonces of accepted marks.
#[derive(Debug)]
pub struct ReplayGuard {
    window_ms: u64,
    seen: Mutex<SeenNonces>,
}

#[derive(Debug, Default)]
struct SeenNonces {
    nonces: HashSet<Nonce>,
    /// Arrivals in milliseconds since 1970, the oldest first.
    arrivals: VecDeque<(u64, Nonce)>,
}

impl ReplayGuard {
    /// Remembers each nonce for `window`.
    pub fn new(window: Duration) -> Self {
        Self {
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            seen: Mutex::default(),
        }
    }

    /// Accepts a nonce that was not seen before. `now` is in milliseconds since 1970.
    ///
    /// # Errors
    /// [`PeerRefusal::Replay`] for a known one, [`PeerRefusal::Busy`] if there are too many.
    pub fn accept(&self, nonce: Nonce, now: u64) -> Result<(), PeerRefusal> {
        let mut seen = lock(&self.seen);
        while let Some((arrival, _)) = seen.arrivals.front()
            && now.saturating_sub(*arrival) > self.window_ms
            && let Some((_, old)) = seen.arrivals.pop_front()
        {
            seen.nonces.remove(&old);
        }
        if seen.nonces.contains(&nonce) {
            return Err(PeerRefusal::Replay);
        }
        if seen.nonces.len() >= MAX_SEEN {
            return Err(PeerRefusal::Busy);
        }
        seen.nonces.insert(nonce);
        seen.arrivals.push_back((now, nonce));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(number: usize) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        nonce
    }

    #[test]
    fn nonce_is_remembered_for_the_window() {
        let guard = ReplayGuard::new(Duration::from_secs(1));
        assert_eq!(guard.accept(nonce(1), 5000), Ok(()));
        assert_eq!(guard.accept(nonce(1), 6000), Err(PeerRefusal::Replay));
        assert_eq!(guard.accept(nonce(1), 6001), Ok(()));
    }

    #[test]
    fn full_memory_refuses_new_nonces() {
        let guard = ReplayGuard::new(Duration::from_secs(1));
        for number in 0..MAX_SEEN {
            assert_eq!(guard.accept(nonce(number), 5000), Ok(()));
        }
        assert_eq!(guard.accept(nonce(MAX_SEEN), 5000), Err(PeerRefusal::Busy));
        assert_eq!(guard.accept(nonce(0), 5000), Err(PeerRefusal::Replay));
        assert_eq!(guard.accept(nonce(MAX_SEEN), 6001), Ok(()));
    }
}
