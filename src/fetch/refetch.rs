//! Refetch: fetches the bytes of a lost object again.

use super::FetchError;
use super::fetcher::Fetcher;
use crate::model::{ExpectedDigests, Sha256, Target};
use crate::origin::OriginError;
use crate::policy::{Class, PolicyDenied};

impl Fetcher {
    /// Fetches bytes that a target had before from any source, and stores them again. The fetch
    /// continues if the caller drops the future.
    ///
    /// # Errors
    /// The error of the fetch. [`FetchError::StoreFailed`] if policy no longer stores the target.
    pub async fn restore(&self, target: &Target, sha256: Sha256) -> Result<(), FetchError> {
        let denied_error = |denied: PolicyDenied| FetchError::Origin(OriginError::Denied(denied));
        let admitted = self
            .state
            .policy
            .admit(target.clone())
            .map_err(denied_error)?;
        match admitted.class() {
            Class::Immutable => {}
            Class::Revalidate | Class::PassThrough => return Err(FetchError::StoreFailed),
        }
        let expected = ExpectedDigests::from_iter([sha256.into()]);
        self.join_or_start(&admitted, &expected)?
            .wait_stored()
            .await
            .map(drop)
    }
}
