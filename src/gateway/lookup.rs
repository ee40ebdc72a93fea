//! Cache lookup of an admitted target.

use std::sync::Arc;

use super::request::CacheRequest;
use super::services::GatewayServices;
use crate::cache::{Cache, Hit, TargetLookup, TargetRecords, Verification};
use crate::model::{ExpectedDigests, Key, Sha256, Target};
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

impl MissKind {
    /// Returns the SHA-256 that a fetch must bring. The checksum file takes precedence over bytes
    /// that are no longer stored.
    pub fn required_sha256(self, admitted: &Admitted) -> Option<Sha256> {
        match (self, admitted.required_sha256()) {
            (Self::Evicted(sha256), None) => Some(sha256),
            _ => None,
        }
    }
}

/// Looks a target up on disk and in the bucket. If the cache cannot be read, the result is a miss.
pub async fn lookup(
    services: &GatewayServices,
    admitted: &Admitted,
    request: &CacheRequest,
) -> Lookup {
    let (cache, key) = (&services.cache, Key::new(admitted.target()));
    let kind = match find_records(services, admitted, key).await {
        Ok(known) => return open_answer(cache, key, &known, admitted, request).await,
        Err(kind) => kind,
    };
    // Bytes that were stored before the host was upgraded are served, and never fetched anew.
    if let (MissKind::NeverStored, Some(former)) = (kind, admitted.upgraded_from())
        && let Ok(TargetLookup::Known(known)) = Box::pin(cache.lookup(former)).await
    {
        let key = Key::new(former);
        let opened = Box::pin(open_answer(cache, key, &known, admitted, request)).await;
        if let Lookup::Hit(_) = opened {
            return opened;
        }
    }
    Lookup::Miss(kind)
}

/// Opens the object that answers for a target. The checksum file takes precedence over the digests
/// that the client expects.
async fn open_answer(
    cache: &Cache,
    key: Key,
    known: &TargetRecords,
    admitted: &Admitted,
    request: &CacheRequest,
) -> Lookup {
    let required = admitted
        .required_sha256()
        .map(|required| ExpectedDigests::from_iter([required.into()]));
    let record = known.active_for(required.as_ref().unwrap_or(&request.expected));
    let opened = match cache.open_record(key, Arc::clone(record)).await {
        Ok(None) => Box::pin(cache.open_latest_variant(key, known, &request.expected)).await,
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
    Lookup::Miss(if cache.allows_change(known) {
        MissKind::EvictedMutable
    } else {
        MissKind::Evicted(record.sha256)
    })
}

/// Returns the records of a target. If the target was of class `revalidate` before, its newest
/// response becomes the record.
async fn find_records(
    services: &GatewayServices,
    admitted: &Admitted,
    key: Key,
) -> Result<Arc<TargetRecords>, MissKind> {
    let (cache, target) = (&services.cache, admitted.target());
    let looked_up = match cache.lookup(target).await {
        Ok(TargetLookup::NeverStored) => {
            if !Box::pin(services.fetcher.adopt_observation(admitted)).await {
                return Err(MissKind::NeverStored);
            }
            cache.lookup(target).await
        }
        looked_up => looked_up,
    };
    match looked_up {
        Ok(TargetLookup::Known(known)) => Ok(known),
        Ok(TargetLookup::Unreadable { is_pinned, .. }) if cache.allows_change_unless(is_pinned) => {
            Err(MissKind::EvictedMutable)
        }
        Ok(TargetLookup::Unreadable { record, .. }) => Err(MissKind::Evicted(record.sha256)),
        Ok(TargetLookup::NeverStored) => Err(MissKind::NeverStored),
        Err(error) => {
            tracing::warn!(%error, %key, "cache lookup failed, treating the request as a miss");
            Err(MissKind::NeverStored)
        }
    }
}

/// Opens the object of a target that has the expected digests. Digests that are not on record are
/// computed. Returns `None` if no object has them, or the cache cannot be read.
pub async fn find_with_digests(
    cache: &Cache,
    verification: Verification<'_>,
    target: &Target,
    expected: &ExpectedDigests,
) -> Option<Hit> {
    match cache.lookup(target).await {
        Ok(TargetLookup::Known(known)) => {
            verification.find(Key::new(target), &known, expected).await
        }
        _ => None,
    }
}
