//! What the operator's file says that targets must be. It holds for everybody, at every door, like
//! what is on record.

use super::{CacheRequest, Gateway, RequestError, reject_conflicting_digest};
use crate::model::{Cause, Event, ExpectedDigests, Sha256};
use crate::policy::Admitted;

/// Adds what is stated of a target to what its client expects.
///
/// # Errors
/// [`Problem::Mismatch`] where the client expects something else: no body can be both.
pub fn apply_required_digest(
    admitted: &Admitted,
    request: &mut CacheRequest,
) -> Result<(), RequestError> {
    if let Some(required) = admitted.required_sha256() {
        reject_conflicting_digest(&request.expected, required)?;
        request.expected.add(required.into());
    }
    Ok(())
}

impl Gateway {
    /// Refuses stored bytes that are not what is stated, and tells the operator, who has fetched or
    /// stated the wrong ones.
    ///
    /// # Errors
    /// [`Problem::Mismatch`].
    pub(super) fn reject_checksum_violation(
        &self,
        admitted: &Admitted,
        stored: Sha256,
    ) -> Result<(), RequestError> {
        let Some(required) = admitted
            .required_sha256()
            .filter(|required| *required != stored)
        else {
            return Ok(());
        };
        let detail =
            format!("sha256:{stored} is stored, and policy.checksums_file says sha256:{required}");
        self.events.emit(Event::FetchFailed {
            target: admitted.target().clone(),
            cause: Cause::ChecksumMismatch,
            detail,
        });
        Err(RequestError::Mismatch {
            expected: ExpectedDigests::from_iter([required.into()]),
            found: stored,
        })
    }
}
