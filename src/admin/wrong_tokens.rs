//! Bound on the wrong tokens of each client, so that no client finds a token by trying.
//!
//! It knows no token. The main type is [`WrongTokens`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::error::AdminError;
use crate::model::{ClientNet, lock};

/// Wrong tokens that one client may send within [`WINDOW`].
const MAX_WRONG_TOKENS: u32 = 5;

const WINDOW: Duration = Duration::from_secs(1);

/// Bound on the counted clients. Beyond it, a new client with a wrong token has to wait.
const MAX_CLIENTS: usize = 10_000;

/// Wrong tokens of one client since the start of its window.
#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    wrong_tokens: u32,
}

impl Count {
    fn is_current(self, now: Instant) -> bool {
        now.duration_since(self.since) < WINDOW
    }
}

/// Recent wrong tokens by client.
#[derive(Debug, Default)]
pub struct WrongTokens {
    counts: Mutex<HashMap<ClientNet, Count>>,
}

impl WrongTokens {
    /// Runs a comparison that returns `None` for a wrong token. A client over the bound gets no
    /// comparison, so it cannot find the right token either.
    ///
    /// # Errors
    /// [`AdminError::TooManyWrongTokens`].
    pub fn bound<T>(
        &self,
        client: IpAddr,
        compare: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, AdminError> {
        let (client, now) = (ClientNet::from_address(client), Instant::now());
        // The lock is held meanwhile: parallel requests must not exceed the bound.
        let mut counts = lock(&self.counts);
        let count = counts.get(&client).filter(|count| count.is_current(now));
        let count = count.copied().unwrap_or(Count {
            since: now,
            wrong_tokens: 0,
        });
        if count.wrong_tokens >= MAX_WRONG_TOKENS {
            return Err(AdminError::TooManyWrongTokens);
        }
        let result = compare();
        if result.is_none() {
            if counts.len() >= MAX_CLIENTS {
                counts.retain(|_, count| count.is_current(now));
            }
            if counts.len() >= MAX_CLIENTS {
                return Err(AdminError::TooManyWrongTokens);
            }
            let wrong_tokens = count.wrong_tokens + 1;
            counts.insert(
                client,
                Count {
                    wrong_tokens,
                    ..count
                },
            );
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_token(wrong_tokens: &WrongTokens, number: u32, is_right: bool) -> Result<bool, ()> {
        let result = wrong_tokens.bound(IpAddr::V4(number.into()), || is_right.then_some(()));
        result.map(|right| right.is_some()).map_err(drop)
    }

    #[test]
    fn client_over_bound_is_not_compared() {
        let wrong_tokens = WrongTokens::default();
        for _ in 0..100 {
            assert_eq!(try_token(&wrong_tokens, 1, true), Ok(true));
        }
        for _ in 0..MAX_WRONG_TOKENS {
            assert_eq!(try_token(&wrong_tokens, 1, false), Ok(false));
        }
        assert_eq!(try_token(&wrong_tokens, 1, true), Err(()));
        assert_eq!(try_token(&wrong_tokens, 2, true), Ok(true));
    }

    #[test]
    fn counted_clients_are_bounded() {
        let wrong_tokens = WrongTokens::default();
        let clients = u32::try_from(MAX_CLIENTS).expect("the bound fits");
        for client in 0..clients + 10 {
            let is_counted = try_token(&wrong_tokens, client, false).is_ok();
            assert!(is_counted || client >= clients);
            let counted = wrong_tokens.counts.lock().expect("nothing panicked").len();
            assert!(counted <= MAX_CLIENTS);
        }
    }
}
