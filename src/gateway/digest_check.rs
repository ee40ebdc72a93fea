//! Comparison of stored bytes with the digests that a client expects. The main functions are
//! [`check_digests`] and [`verify`].

use std::sync::Arc;

use super::error::RequestError;
use crate::cache::{CacheError, FileHit, Verification};
use crate::model::{Cause, Digests, Event, EventSink, ExpectedDigests, Sha256};
use crate::policy::Admitted;

/// State of a stored object whose digests a client has stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredBytes {
    Intact,
    /// The bytes do not have the object's digest. The object is in quarantine now.
    Corrupt,
}

/// Compares the digests of an object with those that the client expects, and computes those that
/// are not on record. The bytes themselves may be corrupt.
///
/// # Errors
/// [`RequestError::Mismatch`], [`RequestError::Unavailable`] if the file cannot be read, or
/// [`RequestError::Busy`] if too many objects are to be hashed.
pub async fn check_digests(
    verification: Verification<'_>,
    expected: &ExpectedDigests,
    hit: &FileHit,
) -> Result<StoredBytes, RequestError> {
    let known = hit.record.known_digests();
    if known.covers(expected) {
        return compare(expected, &known).map(|()| StoredBytes::Intact);
    }
    match Box::pin(verification.digests_of(known.sha256, hit.file())).await {
        Ok(computed) => compare(expected, &computed).map(|()| StoredBytes::Intact),
        Err(error) => set_aside_corrupt(verification, hit, &error).await,
    }
}

/// Hashes an object, unless it was hashed lately.
///
/// # Errors
/// [`RequestError::Unavailable`] if the file cannot be read, or [`RequestError::Busy`] if too many
/// objects are to be hashed.
pub async fn verify(
    verification: Verification<'_>,
    hit: &FileHit,
) -> Result<StoredBytes, RequestError> {
    match Box::pin(verification.verify(hit.record.sha256, hit.file())).await {
        Ok(()) => Ok(StoredBytes::Intact),
        Err(error) => set_aside_corrupt(verification, hit, &error).await,
    }
}

async fn set_aside_corrupt(
    verification: Verification<'_>,
    hit: &FileHit,
    error: &Arc<CacheError>,
) -> Result<StoredBytes, RequestError> {
    let sha256 = match **error {
        CacheError::Corrupt(sha256) => sha256,
        CacheError::Busy => return Err(RequestError::Busy),
        CacheError::Disk(_) | CacheError::Bucket(_) => {
            tracing::warn!(%error, "object could not be hashed");
            return Err(RequestError::Unavailable);
        }
    };
    let target = Some(&hit.record.target);
    verification.set_aside(sha256, hit.file(), target).await;
    Ok(StoredBytes::Corrupt)
}

/// Compares the digests of a body with those that the client expects.
///
/// # Errors
/// [`RequestError::Mismatch`].
pub fn compare(expected: &ExpectedDigests, digests: &Digests) -> Result<(), RequestError> {
    match digests.first_mismatch(expected) {
        Some(_) => Err(RequestError::Mismatch {
            expected: expected.clone(),
            found: digests.sha256,
        }),
        None => Ok(()),
    }
}

/// Reports a client that states digests of other bytes than the target has. A digest that the path
/// or the operator's checksum file requires is no statement of the client.
pub fn report_wrong_statement(
    events: &EventSink,
    admitted: &Admitted,
    stated: &ExpectedDigests,
    found: Sha256,
) {
    if stated.is_empty() || !admitted.required_digests().is_empty() {
        return;
    }
    events.emit(Event::FetchFailed {
        target: admitted.target().clone(),
        cause: Cause::ClientDigest,
        detail: format!("a client expects {stated}, and the target has sha256:{found}"),
        client: admitted.pool_client().shared_net(),
    });
}
