//! The handle through which the other modules use the bucket.

use std::sync::Arc;
use std::time::Duration;

use sha2::Digest as _;

use super::client::BucketClient;
use super::config::Config;
use super::download::BucketBody;
use super::error::BucketError;
use super::gc::{GarbageCollector, GcMode};
use super::keys::ObjectKeys;
use super::listing::{self, ListedKey, Listing, list_page};
use super::object_upload::{ObjectUpload, UploadResult};
use super::pins::BucketPins;
use super::records::BucketRecords;
use super::replicas::BucketReplicas;
use super::{key_requests, presign, upload};
use crate::metrics::{BucketCounts, BucketOperation};
use crate::model::{ByteRange, ConfigError, EventSink, Record, Sha256};

/// One bucket, or the part of it below a prefix. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: BucketClient,
    replicas: BucketReplicas,
}

impl Bucket {
    /// Creates the handle. Sends nothing.
    ///
    /// # Errors
    /// A line that names the configuration key, if a secret cannot be read.
    pub fn new(config: Config, events: EventSink) -> Result<Self, ConfigError> {
        let client = BucketClient::new(config, events)?;
        Ok(Self {
            replicas: BucketReplicas::new(&client)?,
            client,
        })
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        self.client.config()
    }

    #[must_use]
    pub fn keys(&self) -> &ObjectKeys {
        self.client.keys()
    }

    /// Returns 16 hex digits that identify this bucket and prefix.
    #[must_use]
    pub fn id(&self) -> String {
        let Config {
            endpoint, bucket, ..
        } = self.config();
        let endpoint = endpoint.trim_end_matches('/');
        let identity = format!("{endpoint}\n{bucket}\n{}", self.keys().objects());
        hex::encode(&sha2::Sha256::digest(identity)[..8])
    }

    /// Sends the cheapest request, to update the circuit breaker.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be read.
    pub async fn probe(&self) -> Result<(), BucketError> {
        list_page(&self.client, &self.keys().objects(), "", 1)
            .await
            .map(drop)
    }

    /// Sends the cheapest request to each near replica that has failed, so that its recovery is
    /// noticed.
    pub async fn probe_replicas(&self) {
        self.replicas.probe_failing().await;
    }

    /// Sends the cheapest request to each near replica. Returns their URLs with the results.
    pub async fn check_replicas(&self) -> Vec<(String, Result<(), BucketError>)> {
        self.replicas.check().await
    }

    /// Returns the error that opened a circuit, as long as one is open.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.client.last_error()
    }

    /// Whether reads fail, and none has succeeded since.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.client.is_failing(BucketOperation::Read)
    }

    /// Whether writes fail, and none has succeeded since.
    #[must_use]
    pub fn is_failing_writes(&self) -> bool {
        self.client.is_failing(BucketOperation::Write)
    }

    /// Returns the counts of the requests up to now.
    #[must_use]
    pub fn counts(&self) -> &Arc<BucketCounts> {
        self.client.counts()
    }

    /// Returns the time until writes are tried again.
    #[must_use]
    pub fn write_cooldown(&self) -> Duration {
        self.client.write_cooldown()
    }

    #[must_use]
    pub fn records(&self) -> BucketRecords<'_> {
        BucketRecords::new(&self.client)
    }

    #[must_use]
    pub fn pins(&self) -> BucketPins<'_> {
        BucketPins::new(&self.client)
    }

    #[must_use]
    pub fn garbage_collector(&self, mode: GcMode) -> GarbageCollector<'_> {
        GarbageCollector::new(&self.client, mode)
    }

    /// Lists all keys below `prefix`, which is one of [`ObjectKeys`].
    #[must_use]
    pub fn list(&self, prefix: String) -> Listing {
        Listing::new(self.client.clone(), prefix)
    }

    /// Lists objects from this digest on, in ascending order, at most 1000.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be read.
    pub async fn list_objects_from(&self, sha256: Sha256) -> Result<Vec<ListedKey>, BucketError> {
        // A listing excludes its start key. The key without its last character sorts before it.
        let mut after = self.keys().object(sha256);
        after.pop();
        let prefix = self.keys().objects();
        let page = list_page(&self.client, &prefix, &after, listing::MAX_PAGE_KEYS).await?;
        Ok(page.keys)
    }

    /// Opens `range` of an object of `size_bytes` at a near replica, or else at the bucket, and
    /// waits for the response head.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be read, or has the object in another length.
    pub async fn open_object(
        &self,
        sha256: Sha256,
        size_bytes: u64,
        range: ByteRange,
    ) -> Result<BucketBody, BucketError> {
        let near = self.replicas.open(&self.client, sha256, size_bytes, range);
        if let Some(body) = near.await {
            return Ok(body);
        }
        BucketBody::open(&self.client, sha256, size_bytes, range).await
    }

    /// Returns a URL of an object: unsigned for a public bucket, else valid for `presign_ttl`. It
    /// leads to a near replica if that has shown the object. Sends no other request.
    ///
    /// # Errors
    /// [`BucketError::Refused`] if the URL cannot be signed.
    pub async fn object_url(&self, record: &Record) -> Result<String, BucketError> {
        let is_public = !self.config().public_base_url.is_empty();
        let near = if is_public {
            None
        } else {
            self.replicas.holder_of(record).await
        };
        presign::object_url(near.unwrap_or(&self.client), record).await
    }

    /// Ensures that the bucket has an intact copy of an object.
    ///
    /// # Errors
    /// [`BucketError`] if the upload failed. The bucket's copy may then be damaged.
    pub async fn put_object(&self, upload: &ObjectUpload<'_>) -> Result<UploadResult, BucketError> {
        upload::put_object(&self.client, upload).await
    }

    /// Returns whether the bucket has an object of this length.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be read.
    pub async fn has_object(&self, sha256: Sha256, size_bytes: u64) -> Result<bool, BucketError> {
        let found = key_requests::head(&self.client, &self.keys().object(sha256)).await?;
        Ok(found.is_some_and(|found| found.size_bytes == size_bytes))
    }

    /// Returns the time within which a removal that another node has requested takes effect.
    #[must_use]
    pub fn removal_grace(&self) -> Duration {
        upload::removal_grace(self.config())
    }

    /// Removes an object. An object that does not exist is no error.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be written.
    pub async fn remove_object(&self, sha256: Sha256) -> Result<(), BucketError> {
        key_requests::remove(&self.client, &self.keys().object(sha256)).await
    }

    /// Records that an object is used now, for retention.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be written.
    pub async fn record_use(&self, sha256: Sha256) -> Result<(), BucketError> {
        key_requests::put_marker(&self.client, self.keys().used(sha256)).await
    }
}
