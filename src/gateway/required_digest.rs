//! Digests that the operator's checksum file or the path of a target require.

use super::error::RequestError;
use super::request::{CacheRequest, Endpoint};
use crate::model::{Cause, Event, EventSink, ExpectedDigests, Sha256};
use crate::policy::Admitted;

/// Rejects a stored object that the checksum file does not allow, and reports it to the operator.
/// Either the stored bytes or the line in the file are wrong.
///
/// # Errors
/// [`RequestError::Mismatch`] if the file requires another SHA-256 than `stored`.
pub fn reject_checksum_violation(
    events: &EventSink,
    admitted: &Admitted,
    stored: Sha256,
) -> Result<(), RequestError> {
    let Some(required) = admitted
        .required_sha256()
        .filter(|required| *required != stored)
    else {
        return Ok(());
    };
    events.emit(Event::FetchFailed {
        target: admitted.target().clone(),
        cause: Cause::ChecksumMismatch,
        detail: format!(
            "sha256:{stored} is stored, and policy.checksums_file says sha256:{required}"
        ),
        client: admitted.pool_client().shared_net(),
    });
    Err(RequestError::Mismatch {
        expected: ExpectedDigests::from_iter([required.into()]),
        found: stored,
    })
}

/// Returns whether a body without the digest in its path may be passed on. A proxy also has targets
/// of sites that mean something else by such a form.
pub fn is_path_digest_optional(admitted: &Admitted, request: &CacheRequest) -> bool {
    request.endpoint == Endpoint::Proxy
        && admitted.requires_only_path_digest()
        && request.expected == admitted.required_digests()
}

/// Returns the request without the digest in the path of its target.
pub fn without_path_digest(admitted: &Admitted, request: CacheRequest) -> CacheRequest {
    let target = admitted.target();
    tracing::info!(%target, "passed on a body that does not have the digest in its path");
    CacheRequest {
        expected: ExpectedDigests::nothing(),
        ..request
    }
}
