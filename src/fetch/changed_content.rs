//! Content changes: bytes that differ from those that a target had before. They are not served.
//! They are stored as a variant, so that an operator can accept them.

use std::time::SystemTime;

use super::resume::CompletedBody;
use super::state::FetcherState;
use crate::cache::Sealed;
use crate::model::{ExpectedDigests, Record, RecordSource, Sha256, StoredHeaders};
use crate::policy::Admitted;

/// Content that a target had before and must have again.
pub struct KnownContent {
    pub sha256: Sha256,
}

impl KnownContent {
    /// Stores other bytes as a variant of the target, if only the digest on record differs.
    /// Failures are logged.
    pub async fn record_change(
        &self,
        state: &FetcherState,
        admitted: &Admitted,
        expected: &ExpectedDigests,
        completed: CompletedBody,
    ) {
        let CompletedBody {
            finished,
            headers,
            source,
            ..
        } = completed;
        if finished
            .digests
            .first_mismatch(&expected.without(&self.sha256.into()))
            .is_some()
        {
            return;
        }
        let stored = async {
            let sealed = finished.seal().await?;
            let record = build_record(admitted, &sealed, source, headers);
            state.cache.publish_variant(sealed, record).await
        };
        if let Err(error) = stored.await {
            tracing::warn!(
                uri = %admitted.target(),
                %error,
                "changed content of a target was not stored"
            );
        }
    }
}

/// Builds the record of a body that was fetched now.
pub fn build_record(
    admitted: &Admitted,
    sealed: &Sealed,
    source: String,
    headers: StoredHeaders,
) -> Record {
    let (digests, size_bytes) = (sealed.digests.clone(), sealed.size_bytes);
    Record::new(
        admitted.target(),
        digests,
        size_bytes,
        SystemTime::now(),
        RecordSource { source, headers },
    )
}
