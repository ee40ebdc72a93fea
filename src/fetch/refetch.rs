//! Fetching what was lost here: the same bytes, or nothing.

use super::{FetchError, Fetcher};
use crate::model::{ExpectedDigests, Sha256, Target};
use crate::origin::OriginError;
use crate::policy::{Class, PolicyDenied};

impl Fetcher {
    /// Fetches bytes that a target has given before, from whoever has them, and stores them again.
    /// It goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// What the flight came to; [`FetchError::StoreFailed`] if what the target gives is not kept
    /// any more.
    pub async fn restore(&self, target: &Target, sha256: Sha256) -> Result<(), FetchError> {
        let denied_error = |denied: PolicyDenied| FetchError::Origin(OriginError::Denied(denied));
        let admitted = self
            .shared
            .policy
            .admit(target.clone())
            .map_err(denied_error)?;
        if admitted.class() != Class::Immutable {
            return Err(FetchError::StoreFailed);
        }
        let expected = ExpectedDigests::from_iter([sha256.into()]);
        self.join_or_start(&admitted, &expected)?
            .wait_stored()
            .await
            .map(drop)
    }
}
