//! Pins in the bucket. Retention keeps pinned objects, and nodes with other cache folders import
//! the pins.

use std::time::SystemTime;

use super::client::BucketClient;
use super::error::BucketError;
use super::key_requests;
use super::keys::parse_digest;
use super::listing::{MAX_ENTRIES_OF_TARGET, list_page};
use crate::model::{Key, Sha256};

/// The pins of a bucket.
#[derive(Debug)]
pub struct BucketPins<'a> {
    client: &'a BucketClient,
}

impl<'a> BucketPins<'a> {
    pub(super) fn new(client: &'a BucketClient) -> Self {
        Self { client }
    }

    /// Reads the pins of a target with their times, at most 64.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be read.
    pub async fn read_all(&self, key: Key) -> Result<Vec<(Sha256, SystemTime)>, BucketError> {
        let prefix = self.client.keys().pins_of(key);
        let page = list_page(self.client, &prefix, "", MAX_ENTRIES_OF_TARGET).await?;
        Ok(page
            .keys
            .iter()
            .filter_map(|listed| Some((parse_digest(&listed.name)?, listed.modified_at)))
            .collect())
    }

    /// Pins a target, or renews its pin.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be written.
    pub async fn put(&self, key: Key, sha256: Sha256) -> Result<(), BucketError> {
        key_requests::put_marker(self.client, self.client.keys().pin(key, sha256)).await
    }

    /// Removes a pin. A pin that does not exist is no error.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be written.
    pub async fn remove(&self, key: Key, sha256: Sha256) -> Result<(), BucketError> {
        key_requests::remove(self.client, &self.client.keys().pin(key, sha256)).await
    }
}
