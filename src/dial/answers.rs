//! Addresses that lookups have found, cut to a bounded number, and their cache.
//!
//! A name server may send thousands of addresses for one name. It knows no name server. The main
//! type is [`AnswerCache`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use super::error::LookupError;

/// Maximum number of addresses of one family that are kept for a name. A race tries fewer.
const MAX_ADDRESSES: usize = 16;

/// Maximum number of cached answers. Each has less than 1 KiB.
const MAX_ANSWERS: u64 = 10_000;

/// Address family of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    V6,
}

/// Addresses of a name, in the order of the name server.
#[derive(Debug, Clone)]
pub struct FoundAddresses {
    list: Arc<[IpAddr]>,
    extent: AnswerExtent,
}

/// Part of a name's addresses that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnswerExtent {
    All,
    /// The name has more addresses than are kept.
    First,
}

/// Result of a lookup.
pub type Found = Result<FoundAddresses, LookupError>;

/// Results of lookups, until their TTL is over.
#[derive(Debug)]
pub struct AnswerCache {
    answers: Cache<(String, Family), CachedAnswer>,
}

#[derive(Debug, Clone)]
struct CachedAnswer {
    found: Found,
    valid_until: Instant,
}

struct AnswerExpiry;

impl FoundAddresses {
    /// Keeps the first 16 addresses of each family.
    ///
    /// # Errors
    /// [`LookupError::NoAddress`] if there is none.
    pub fn new(addresses: impl Iterator<Item = IpAddr>) -> Found {
        let (mut v4, mut v6) = (0, 0);
        let mut extent = AnswerExtent::All;
        let mut list = Vec::new();
        for address in addresses {
            let count = match address {
                IpAddr::V4(_) => &mut v4,
                IpAddr::V6(_) => &mut v6,
            };
            if *count == MAX_ADDRESSES {
                extent = AnswerExtent::First;
                continue;
            }
            *count += 1;
            list.push(address);
        }
        if list.is_empty() {
            return Err(LookupError::NoAddress);
        }
        Ok(Self {
            list: list.into(),
            extent,
        })
    }

    pub fn addresses(&self) -> &[IpAddr] {
        &self.list
    }

    pub fn extent(&self) -> AnswerExtent {
        self.extent
    }
}

impl AnswerCache {
    pub fn new() -> Self {
        Self {
            answers: Cache::builder()
                .max_capacity(MAX_ANSWERS)
                .expire_after(AnswerExpiry)
                .build(),
        }
    }

    /// Returns the result of an earlier lookup that is still valid.
    pub fn get(&self, host: &str, family: Family) -> Option<Found> {
        let answer = self.answers.get(&(host.to_owned(), family))?;
        (Instant::now() < answer.valid_until).then_some(answer.found)
    }

    /// Keeps the result of a lookup.
    pub fn insert(&self, host: String, family: Family, found: Found, valid_until: Instant) {
        if Instant::now() < valid_until {
            let answer = CachedAnswer { found, valid_until };
            self.answers.insert((host, family), answer);
        }
    }
}

impl Expiry<(String, Family), CachedAnswer> for AnswerExpiry {
    fn expire_after_create(
        &self,
        _: &(String, Family),
        answer: &CachedAnswer,
        created_at: Instant,
    ) -> Option<Duration> {
        Some(answer.valid_until.saturating_duration_since(created_at))
    }

    fn expire_after_update(
        &self,
        _: &(String, Family),
        answer: &CachedAnswer,
        updated_at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(answer.valid_until.saturating_duration_since(updated_at))
    }
}
