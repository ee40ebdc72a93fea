//! Targets whose bytes changed upstream: when other bytes may be served, and how many variants are
//! stored.

use super::config::OnChange;
use super::error::CacheError;
use super::handle::Cache;
use super::hit::Hit;
use super::open;
use crate::disk::{Published, Sealed, TargetRecords};
use crate::model::{ExpectedDigests, Key, Record};

/// Bound on the records of a target. Some targets return other bytes each time.
const MAX_VARIANTS: usize = 8;

impl Cache {
    /// Whether other bytes may be served for a target after the first ones were evicted. They may
    /// not if the target is pinned.
    #[must_use]
    pub fn allows_change(&self, records: &TargetRecords) -> bool {
        self.inner.on_change == OnChange::Alert && !records.is_pinned()
    }

    /// Opens the latest variant of a target after its first bytes were evicted, if variants may be
    /// served.
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
                && let Some(hit) = open::open_record(self, key, record).await?
            {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }

    /// Stores a variant that may not be served, so that an operator can inspect and accept it.
    /// Returns `None` if the target has too many variants.
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
