//! Digests that the operator's checksum file requires. They apply to every client and endpoint.

use super::error::RequestError;
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
    });
    Err(RequestError::Mismatch {
        expected: ExpectedDigests::from_iter([required.into()]),
        found: stored,
    })
}
