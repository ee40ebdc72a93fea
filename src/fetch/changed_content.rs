//! Bytes that a target gives instead of those that it gave before. Nobody is served them, but an
//! operator may want to see them and accept them.

use std::sync::Arc;
use std::time::SystemTime;

use super::Shared;
use super::resume::CompletedBody;
use crate::cache::{Sealed, TargetRecords};
use crate::model::{ExpectedDigests, Record, RecordSource, Sha256, StoredHeaders};
use crate::policy::Admitted;

/// What a target gave before, where it may give nothing else.
pub struct KnownContent {
    pub sha256: Sha256,
    pub known: Arc<TargetRecords>,
}

impl KnownContent {
    /// Puts other bytes on record, if nothing else is wrong with them than that they are others.
    pub async fn record_change(
        &self,
        shared: &Shared,
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
        let witnessed = async {
            let sealed = finished.seal().await?;
            let record = record_of(admitted, &sealed, source, headers);
            shared
                .cache
                .publish_variant(&self.known, sealed, record)
                .await
        };
        if let Err(error) = witnessed.await {
            tracing::warn!(%error, "bytes that a target gave instead of its own were not kept");
        }
    }
}

pub fn record_of(
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
