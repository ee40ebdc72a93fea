//! What a target gives when it is fetched again, held against what it gave before.

use super::{Hit, Known, OnChange, Published, Sealed, Store, StoreError};
use crate::model::{Expected, Key, Record};

/// How many records a target may have before bytes that answer for nothing are not kept any more: there are targets that
/// give other bytes each time.
const MAX_WITNESSED: usize = 8;

impl Store {
    /// Whether a target may mean other bytes once its own are gone. What an operator has pinned may not.
    #[must_use]
    pub fn may_change(&self, known: &Known) -> bool {
        self.shared.config.on_change == OnChange::Alert && !known.is_pinned()
    }

    /// Opens the latest bytes that a target has given instead of those that are gone, if it may change.
    ///
    /// # Errors
    /// As [`Store::open_hit`].
    pub async fn open_successor(
        &self,
        key: Key,
        known: &Known,
        expected: &Expected,
    ) -> Result<Option<Hit>, StoreError> {
        if !self.may_change(known) {
            return Ok(None);
        }
        for record in known.others_latest_first() {
            if record.known_digests().violated(expected).is_none()
                && let Some(hit) = self.open_hit(key, record).await?
            {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }

    /// Keeps bytes that a target may not mean, so that an operator can look at them and accept them. `None` if it has given
    /// so many that these are not kept.
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub async fn witness(
        &self,
        known: &Known,
        sealed: Sealed,
        record: Record,
    ) -> Result<Option<Published>, StoreError> {
        if known.count() >= MAX_WITNESSED {
            return Ok(None);
        }
        self.publish(sealed, record).await.map(Some)
    }
}
