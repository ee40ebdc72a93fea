//! Requests of Millpond itself for targets: stores a target, and reads a small stored one. They
//! count for no client.
//!
//! This file must not know what the bytes are. The main type is [`OwnRequests`].

use super::ensure::{self, EnsureOutcome};
use super::error::RequestError;
use super::lookup::{Lookup, lookup};
use super::{Gateway, Hit};
use crate::model::{ByteRange, Digest, ExpectedDigests, Hasher, Target};
use crate::policy::UpstreamAccess;

/// Access for requests of Millpond itself.
#[derive(Clone, Copy)]
pub struct OwnRequests<'a> {
    pub(super) gateway: &'a Gateway,
}

impl OwnRequests<'_> {
    /// Has a target fetched for a job unless it is stored, and waits until it is stored. The
    /// request counts for Millpond itself, and no limit of a client applies.
    ///
    /// # Errors
    /// [`RequestError`], as for a client's request.
    pub async fn ensure(
        self,
        target: Target,
        expected: ExpectedDigests,
        access: &UpstreamAccess,
    ) -> Result<EnsureOutcome, RequestError> {
        let admitted = self.gateway.services.policy.admit(target.clone())?;
        let admitted = admitted.with_access(&target, access)?;
        let class = admitted.class();
        let request = ensure::own_request(target, expected, class);
        ensure::finish(self.gateway.respond(&admitted, class, request).await?).await
    }

    /// Returns whether a target can be served from the store, also from the bucket.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if policy denies the target.
    pub async fn is_stored(
        self,
        target: &Target,
        access: &UpstreamAccess,
    ) -> Result<bool, RequestError> {
        Ok(self.stored(target, access).await?.is_some())
    }

    /// Returns the bytes of a stored target, if it has at most `max_bytes` and they are intact.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if policy denies the target, [`RequestError::Unavailable`] if the
    /// disk or the bucket fails.
    pub async fn stored_document(
        self,
        target: &Target,
        access: &UpstreamAccess,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, RequestError> {
        let Some(hit) = self.stored(target, access).await? else {
            return Ok(None);
        };
        let record = hit.record();
        let length = usize::try_from(record.size_bytes).unwrap_or(usize::MAX);
        if length > max_bytes {
            return Ok(None);
        }
        let expected: Digest = record.sha256.into();
        let bytes = read_all(&hit, length).await?;
        let mut hasher = Hasher::new(&ExpectedDigests::nothing());
        hasher.update(&bytes);
        Ok((Digest::from(hasher.finish().sha256) == expected).then_some(bytes))
    }

    async fn stored(
        self,
        target: &Target,
        access: &UpstreamAccess,
    ) -> Result<Option<Hit>, RequestError> {
        let admitted = self.gateway.services.policy.admit(target.clone())?;
        let admitted = admitted.with_access(target, access)?;
        let class = admitted.class();
        let request = ensure::own_request(target.clone(), ExpectedDigests::nothing(), class);
        Ok(
            match lookup(&self.gateway.services, &admitted, &request).await {
                Lookup::Hit(hit) => Some(hit),
                Lookup::Miss(_) => None,
            },
        )
    }
}

async fn read_all(hit: &Hit, length: usize) -> Result<Vec<u8>, RequestError> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, "a stored document cannot be read");
        RequestError::Unavailable
    };
    if length == 0 {
        return Ok(Vec::new());
    }
    match hit {
        Hit::OnDisk(hit) => {
            let read = hit.file().read(0, length).await;
            Ok(read.map_err(|error| failed(&error))?.to_vec())
        }
        Hit::InBucket(hit) => {
            let last = length as u64 - 1;
            let range = ByteRange { first: 0, last };
            let mut stream = hit.open(range).await.map_err(|error| failed(&error))?;
            let mut bytes = Vec::with_capacity(length);
            while let Some(chunk) = stream.next().await.map_err(|error| failed(&error))? {
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        }
    }
}
