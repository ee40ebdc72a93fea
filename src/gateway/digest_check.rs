//! Comparison of stored bytes with the digests that a client expects. The main functions are
//! [`check_digests`] and
//! [`report_wrong_statement`].

use super::error::RequestError;
use crate::cache::{FileHit, ObjectMatch, StoredBytes, Verification};
use crate::model::{Cause, Event, EventSink, ExpectedDigests, Sha256};
use crate::policy::Admitted;

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
    if expected.is_empty() {
        return Ok(StoredBytes::Intact);
    }
    match verification.compare(hit, expected).await? {
        ObjectMatch::Same => Ok(StoredBytes::Intact),
        ObjectMatch::Corrupt => Ok(StoredBytes::Corrupt),
        ObjectMatch::Other => Err(mismatch(expected, hit.record.sha256)),
    }
}

/// Returns the error for stored bytes that lack an expected digest.
pub fn mismatch(expected: &ExpectedDigests, found: Sha256) -> RequestError {
    RequestError::Mismatch {
        expected: expected.clone(),
        found,
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
