//! Targets whose bytes changed: which other bytes may answer, and which are kept for an operator to
//! look at.

use super::{Cache, CacheError, Hit, OnChange, Published, Sealed, TargetRecords};
use crate::model::{ExpectedDigests, Key, Record};

/// Records of a target after which other bytes are not stored any more: some targets give other
/// bytes each time.
const MAX_VARIANTS: usize = 8;

impl Cache {
    /// Whether other bytes may answer for a target once its own are evicted. For a pinned target
    /// they may not.
    #[must_use]
    pub fn allows_change(&self, records: &TargetRecords) -> bool {
        self.inner.on_change == OnChange::Alert && !records.is_pinned()
    }

    /// Opens the latest other bytes of a target whose own are gone, if they may answer.
    ///
    /// # Errors
    /// As [`Cache::open_record`].
    pub async fn open_latest_variant(
        &self,
        key: Key,
        records: &TargetRecords,
        expected: &ExpectedDigests,
    ) -> Result<Option<Hit>, CacheError> {
        if !self.allows_change(records) {
            return Ok(None);
        }
        for record in records.others_latest_first() {
            if record.known_digests().first_mismatch(expected).is_none()
                && let Some(hit) = self.open_record(key, record).await?
            {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }

    /// Stores bytes that may not answer for their target, so that an operator can look at them and
    /// accept them. Returns `None` if the target has too many of them.
    ///
    /// # Errors
    /// As [`Cache::publish`].
    pub async fn publish_variant(
        &self,
        records: &TargetRecords,
        sealed: Sealed,
        record: Record,
    ) -> Result<Option<Published>, CacheError> {
        if records.count() >= MAX_VARIANTS {
            return Ok(None);
        }
        self.publish(sealed, record).await.map(Some)
    }
}
