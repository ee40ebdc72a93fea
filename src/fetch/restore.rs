//! Fetching what was lost here: the same bytes, or nothing.

use super::{FetchError, Fetcher};
use crate::model::{Expected, Sha256, Target};
use crate::origin::OriginError;
use crate::policy::{Class, Refusal};

impl Fetcher {
    /// Fetches bytes that a target has given before, from whoever has them, and stores them again. It goes on when nobody
    /// waits for it any more.
    ///
    /// # Errors
    /// What the flight came to; [`FetchError::Unstorable`] if what the target gives is not kept any more.
    pub async fn restore(&self, target: &Target, sha256: Sha256) -> Result<(), FetchError> {
        let refused = |refusal: Refusal| FetchError::Origin(OriginError::Refused(refusal));
        let admitted = self.shared.policy.admit(target.clone()).map_err(refused)?;
        if admitted.class() != Class::Frozen {
            return Err(FetchError::Unstorable);
        }
        let expected = Expected::from_iter([sha256.into()]);
        self.follow(&admitted, &expected)?.landing().await.map(drop)
    }
}
