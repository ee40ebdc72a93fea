//! Pins in the bucket: retention keeps what they name, and instances that do not share the folder
//! learn of them.

use std::time::SystemTime;

use super::{Bucket, BucketError, MAX_RECORDS, sha256_of};
use crate::model::{Key, Sha256};

impl Bucket {
    /// The pins of a target, and when each was set.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn pins_of(&self, key: Key) -> Result<Vec<(Sha256, SystemTime)>, BucketError> {
        let page = self
            .page(&self.keys().pins_of(key), "", MAX_RECORDS)
            .await?;
        Ok(page
            .listed
            .iter()
            .filter_map(|one| Some((sha256_of(&one.name)?, one.modified_at)))
            .collect())
    }

    /// Pins a target, or renews its pin.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn put_pin(&self, key: Key, sha256: Sha256) -> Result<(), BucketError> {
        self.put_marker(self.pin(key, sha256)).await
    }

    /// # Errors
    /// [`BucketError`].
    pub async fn remove_pin(&self, key: Key, sha256: Sha256) -> Result<(), BucketError> {
        self.remove(&self.pin(key, sha256)).await
    }

    fn pin(&self, key: Key, sha256: Sha256) -> String {
        format!("{}{sha256}", self.keys().pins_of(key))
    }
}
