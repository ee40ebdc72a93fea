//! Cache lookup of an admitted target.

use std::sync::Arc;

use super::request::CacheRequest;
use crate::cache::{Cache, Hit, TargetLookup};
use crate::model::{ExpectedDigests, Key, Sha256};
use crate::policy::Admitted;

/// Result of a lookup.
pub enum Lookup {
    Hit(Hit),
    Miss(MissKind),
}

/// Reason of a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissKind {
    NeverStored,
    /// The object was stored and is gone. A fetch must bring the same bytes.
    Evicted(Sha256),
    /// The object was stored and is gone. A fetch may bring other bytes, as the target may change.
    EvictedMutable,
}

/// Looks a target up on disk and in the bucket. If the cache cannot be read, the result is a miss.
pub async fn lookup(cache: &Cache, admitted: &Admitted, request: &CacheRequest) -> Lookup {
    let key = Key::new(admitted.target());
    let known = match cache.lookup(key).await {
        Ok(TargetLookup::Known(known)) => known,
        Ok(TargetLookup::NeverStored) => return Lookup::Miss(MissKind::NeverStored),
        Err(error) => {
            tracing::warn!(%error, %key, "cache lookup failed, treating the request as a miss");
            return Lookup::Miss(MissKind::NeverStored);
        }
    };
    let required = admitted
        .required_sha256()
        .map(|required| ExpectedDigests::from_iter([required.into()]));
    let record = known.active_for(required.as_ref().unwrap_or(&request.expected));
    let opened = match cache.open_record(key, Arc::clone(record)).await {
        Ok(None) => Box::pin(cache.open_latest_variant(key, &known, &request.expected)).await,
        opened => opened,
    };
    match opened {
        Ok(Some(hit)) => return Lookup::Hit(hit),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(
                %error,
                %key,
                "opening an object failed, treating the request as a miss"
            );
        }
    }
    Lookup::Miss(if cache.allows_change(&known) {
        MissKind::EvictedMutable
    } else {
        MissKind::Evicted(record.sha256)
    })
}
