//! Targets whose bytes changed upstream: when other bytes may be served, and how they are stored.

use super::config::OnChange;
use super::error::CacheError;
use super::handle::Cache;
use super::hit::Hit;
use super::open;
use crate::disk::{DiskError, Placement, Published, Sealed, TargetRecords};
use crate::model::{Acceptance, ExpectedDigests, Key, Record};

impl Cache {
    /// Whether other bytes may be served for a target after the first ones were evicted. They may
    /// not if the target is pinned.
    #[must_use]
    pub fn allows_change(&self, records: &TargetRecords) -> bool {
        self.allows_change_unless(records.is_pinned())
    }

    /// As [`Cache::allows_change`], for a target that may be pinned.
    #[must_use]
    pub fn allows_change_unless(&self, is_pinned: bool) -> bool {
        self.inner.on_change == OnChange::Alert && !is_pinned
    }

    /// Returns whether bytes that differ from those on record may answer.
    pub(super) fn acceptance(&self) -> Acceptance {
        match self.inner.on_change {
            OnChange::Refuse => Acceptance::IfFirst,
            OnChange::Alert => Acceptance::Accepted,
        }
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

    /// Stores bytes that are not the answer of the target. A client that states their digest gets
    /// them, and an operator can accept them. Returns `None` if the target has too many variants.
    ///
    /// # Errors
    /// As [`Cache::publish`].
    pub async fn publish_variant(
        &self,
        sealed: Sealed,
        record: Record,
    ) -> Result<Option<Published>, CacheError> {
        let placement = Placement::New(Acceptance::Refused);
        match self.publish_placed(sealed, record, placement).await {
            Err(CacheError::Disk(DiskError::TooManyRecords)) => Ok(None),
            published => published.map(Some),
        }
    }
}
