//! What operators decide, told to the bucket, and what others have told it.

use std::sync::Arc;

use super::index::Pending;
use super::{Shared, Store, StoreError, blocking, bucket, pins};
use crate::model::{Key, Sha256};

impl Store {
    /// Tells the bucket of a pin, so that retention keeps what it names. Here it holds in any case.
    pub(super) async fn tell_of_pin(&self, key: Key, sha256: Sha256) {
        let Some(tier) = &self.shared.tier else { return };
        if let Err(error) = tier.bucket.put_pin(key, sha256).await {
            tracing::warn!(%error, %sha256, "the bucket was not told of a pin; pin it again");
        }
    }

    /// Tells the bucket that a pin is gone.
    pub(super) async fn tell_of_unpin(&self, key: Key, sha256: Sha256) {
        let Some(tier) = &self.shared.tier else { return };
        if let Err(error) = tier.bucket.remove_pin(key, sha256).await {
            tracing::warn!(%error, %sha256, "the bucket was not told that a pin is gone");
        }
    }

    /// Removes the records of a target from the bucket, so that none comes back from there.
    pub(super) async fn remove_records_from_bucket(&self, key: Key, records: &[Sha256]) -> Result<(), StoreError> {
        let Some(tier) = &self.shared.tier else { return Ok(()) };
        for sha256 in records.iter().copied() {
            tier.bucket.remove(&tier.bucket.names().record(key, sha256)).await?;
            let (store, markers) = (self.clone(), tier.markers.clone());
            blocking(move || {
                store.shared.index.remove_pending(Pending { key, sha256 })?;
                Ok(markers.clear_record(key, sha256)?)
            })
            .await?;
        }
        Ok(())
    }

    /// Whether the bucket knows of a pin on these bytes, of this instance or another.
    pub(super) async fn is_pinned_in_bucket(&self, sha256: Sha256) -> Result<bool, StoreError> {
        let Some(tier) = &self.shared.tier else { return Ok(false) };
        let mut listing = tier.bucket.list(tier.bucket.names().pins());
        while let Some(page) = listing.next().await? {
            if page.iter().any(|one| bucket::sha256_of(&one.name) == Some(sha256)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Learns of the pins that others have set on targets that are known here.
    pub(super) async fn adopt_unknown_pins(&self) -> Result<(), StoreError> {
        let Some(tier) = &self.shared.tier else { return Ok(()) };
        let mut listing = tier.bucket.list(tier.bucket.names().pins());
        while let Some(page) = listing.next().await? {
            for (key, sha256) in page.iter().filter_map(|one| bucket::pin_of(&one.name)) {
                let layout = &self.shared.layout;
                if layout.records_of(key).is_dir() && !layout.pin(key, sha256).exists() {
                    adopt_pins(&self.shared, key).await;
                    self.shared.map.forget(key).await;
                }
            }
        }
        Ok(())
    }

    /// Removes an object from the bucket.
    pub(super) async fn remove_object_from_bucket(&self, sha256: Sha256) -> Result<(), StoreError> {
        let Some(tier) = &self.shared.tier else { return Ok(()) };
        tier.bucket.remove(&tier.bucket.names().object(sha256)).await?;
        tier.believe(sha256, false);
        let (store, markers) = (self.clone(), tier.markers.clone());
        blocking(move || {
            markers.clear_object(sha256)?;
            store.shared.index.forget_in_bucket(sha256)
        })
        .await
    }
}

/// Writes down the pins of a target that others have set.
pub(super) async fn adopt_pins(shared: &Arc<Shared>, key: Key) {
    let Some(tier) = &shared.tier else { return };
    let adopted = match tier.bucket.pins_of(key).await {
        Ok(found) => {
            let shared = Arc::clone(shared);
            blocking(move || found.into_iter().try_for_each(|(sha256, at)| pins::adopt(&shared, key, sha256, at))).await
        }
        Err(error) => Err(error.into()),
    };
    if let Err(error) = adopted {
        tracing::warn!(%error, %key, "the pins that the bucket has of a target were not written down");
    }
}
