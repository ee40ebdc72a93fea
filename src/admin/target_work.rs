//! Work on one target for an operator, or for a job: ensure, refresh and evict.
//!
//! This file must not know jobs. It extends [`AdminService`].

use super::error::AdminError;
use super::service::AdminService;
use super::storage_error::storage_error;
use super::token::Operator;
use crate::cache::EvictResult;
use crate::fetch::Refreshed;
use crate::gateway::{EnsureOutcome, RequestError};
use crate::model::{ExpectedDigests, Sha256, Target};
use crate::policy::{Class, UpstreamAccess};

/// Result for a target that an operator wants to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnsuredTarget {
    /// The bytes were stored before.
    StoredBefore,
    /// A fetch has stored them.
    Fetched { size_bytes: u64 },
    /// A fetch has stored them, although a shared cache must not store the response (RFC 9111,
    /// section 3).
    StoredDespiteDirectives { size_bytes: u64 },
}

/// Result of an eviction of all objects of a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvictedTarget {
    pub freed_bytes: u64,
    /// Objects that are kept, because this target or another one is pinned to them.
    pub pinned: usize,
}

impl AdminService {
    /// Has a target stored, whatever the directives of its origin, and waits until it is stored.
    /// No limit of a client applies.
    ///
    /// # Errors
    /// [`AdminError::NotCacheable`] without a request to the origin, or the error of the fetch.
    pub async fn ensure(
        &self,
        operator: &Operator,
        target: Target,
        expected: ExpectedDigests,
    ) -> Result<EnsuredTarget, AdminError> {
        let class = self.admit_cacheable(target.clone())?.class();
        let gateway = &self.services.gateway;
        match gateway
            .own()
            .ensure(target.clone(), expected.clone(), &UpstreamAccess::default())
            .await?
        {
            EnsureOutcome::StoredBefore => Ok(EnsuredTarget::StoredBefore),
            EnsureOutcome::Fetched { size_bytes } => Ok(EnsuredTarget::Fetched { size_bytes }),
            // A response of class `immutable` is stored whatever its directives, so that the disk
            // or the file type is the reason.
            EnsureOutcome::NotStored if class == Class::Immutable => Err(AdminError::NotStored),
            EnsureOutcome::NotStored => {
                let refreshed = self.refresh(operator, target, expected, false).await?;
                let record = &refreshed.record;
                if refreshed.previous == Some(record.sha256) {
                    return Ok(EnsuredTarget::StoredBefore);
                }
                let (uri, sha256) = (&record.target, record.sha256);
                tracing::info!(%uri, %sha256, "stored despite the directives of the origin");
                Ok(EnsuredTarget::StoredDespiteDirectives {
                    size_bytes: record.size_bytes,
                })
            }
        }
    }

    /// Fetches a target again. Other bytes than before are stored and reported. They become active
    /// only with `accept`.
    ///
    /// # Errors
    /// [`AdminError::NotCacheable`], or the error of the fetch.
    pub async fn refresh(
        &self,
        _: &Operator,
        target: Target,
        mut expected: ExpectedDigests,
        accept: bool,
    ) -> Result<Refreshed, AdminError> {
        let admitted = self.admit_cacheable(target)?;
        expected.extend(admitted.required_sha256());
        let fetcher = &self.services.fetcher;
        let refreshed = fetcher.refresh(admitted, expected, accept).await;
        Ok(refreshed.map_err(RequestError::from)?)
    }

    /// Evicts all objects of a target that are not pinned. Its records stay. A target that is not
    /// stored frees nothing.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the cache cannot be used.
    pub async fn evict(&self, _: &Operator, target: &Target) -> Result<EvictedTarget, AdminError> {
        let (cache, mut evicted) = (&self.services.cache, EvictedTarget::default());
        for sha256 in self.digests_of(target).await? {
            let result = cache.admin().evict_object(sha256).await;
            match result.map_err(|error| storage_error(&error))? {
                EvictResult::Evicted { size_bytes } => evicted.freed_bytes += size_bytes,
                EvictResult::Pinned => evicted.pinned += 1,
                EvictResult::NotFound => {}
            }
        }
        if evicted.freed_bytes > 0 {
            let freed_bytes = evicted.freed_bytes;
            tracing::info!(%target, freed_bytes, "operator evicted a target");
        }
        Ok(evicted)
    }

    /// Returns the digests of all records and stored responses of a target.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there are none.
    pub async fn objects_of(
        &self,
        _: &Operator,
        target: &Target,
    ) -> Result<Vec<Sha256>, AdminError> {
        let objects = self.digests_of(target).await?;
        if objects.is_empty() {
            return Err(AdminError::NotFound("the target has no record"));
        }
        Ok(objects)
    }

    async fn digests_of(&self, target: &Target) -> Result<Vec<Sha256>, AdminError> {
        let records = self.history(target).await?;
        let mut objects: Vec<Sha256> = records.iter().map(|status| status.record.sha256).collect();
        for key in self.keys_of(target) {
            let observations = self.services.cache.observations().list(key).await;
            let observations = observations.map_err(|error| storage_error(&error))?;
            objects.extend(observations.iter().map(|observation| observation.sha256));
        }
        Ok(objects)
    }
}
