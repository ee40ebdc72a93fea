//! Records in the bucket.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use tokio::time::timeout;

use super::client::{BucketClient, REQUEST_TIMEOUT};
use super::error::BucketError;
use super::key_requests;
use super::keys::parse_record_key;
use super::listing::{MAX_ENTRIES_OF_TARGET, list_page};
use crate::model::{
    Key, MAX_RECORD_BYTES, Record, RecordSet, Sha256, UnreadableReason, UnreadableRecord,
};

/// The records of a bucket.
#[derive(Debug)]
pub struct BucketRecords<'a> {
    client: &'a BucketClient,
}

impl<'a> BucketRecords<'a> {
    pub(super) fn new(client: &'a BucketClient) -> Self {
        Self { client }
    }

    /// Reads the records of a target, at most 64. A damaged record is known by its name.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be read.
    pub async fn read_all(&self, key: Key) -> Result<RecordSet, BucketError> {
        let prefix = self.client.keys().records_of(key);
        let page = list_page(self.client, &prefix, "", MAX_ENTRIES_OF_TARGET).await?;
        let digests = page
            .keys
            .iter()
            .filter_map(|listed| Some(parse_record_key(&listed.name)?.1));
        let mut records = RecordSet::default();
        for sha256 in digests {
            match self.parse(key, sha256).await? {
                Some(Ok(record)) => records.readable.push(record),
                Some(Err(reason)) => records.unreadable.push(UnreadableRecord { sha256, reason }),
                None => {}
            }
        }
        Ok(records)
    }

    /// Reads one record. Returns `None` if it does not exist, is damaged, or is of another target.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be read.
    pub async fn read(&self, key: Key, sha256: Sha256) -> Result<Option<Record>, BucketError> {
        Ok(self.parse(key, sha256).await?.and_then(Result::ok))
    }

    /// Reads one record, or the reason why it cannot be used. Returns `None` if it does not exist.
    async fn parse(
        &self,
        key: Key,
        sha256: Sha256,
    ) -> Result<Option<Result<Record, UnreadableReason>>, BucketError> {
        let bytes = match self.read_bytes(key, sha256).await {
            Err(BucketError::NotFound) => return Ok(None),
            bytes => bytes?,
        };
        let reason = match Record::parse(&bytes) {
            Ok(record) if record.key() == key && record.sha256 == sha256 => {
                return Ok(Some(Ok(record)));
            }
            Ok(record) if record.key() != key => UnreadableReason::OtherTarget,
            Err(error) if error.is_newer_version() => UnreadableReason::NewerVersion,
            _ => UnreadableReason::Damaged,
        };
        tracing::warn!(%key, %sha256, "record in the bucket cannot be read");
        Ok(Some(Err(reason)))
    }

    /// Reads a record's text. A text over [`MAX_RECORD_BYTES`] is cut, and then does not parse.
    async fn read_bytes(&self, key: Key, sha256: Sha256) -> Result<Vec<u8>, BucketError> {
        let request = self
            .client
            .sdk()
            .get_object()
            .bucket(self.client.bucket_name())
            .key(self.client.keys().record(key, sha256));
        let mut body = self.client.read(request.send()).await?.body;
        let read = async {
            let mut bytes = Vec::new();
            while let Some(chunk) = body
                .try_next()
                .await
                .map_err(|error| BucketError::Unavailable(error.to_string()))?
            {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > MAX_RECORD_BYTES {
                    break;
                }
            }
            Ok(bytes)
        };
        timeout(REQUEST_TIMEOUT, read).await.unwrap_or_else(|_| {
            Err(BucketError::Unavailable(
                "a record was not received in time".to_owned(),
            ))
        })
    }

    /// Writes a record, and replaces one of the same target and digest. Read the existing record
    /// first: the one with the earlier place must stay.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be written.
    pub async fn put(&self, record: &Record) -> Result<(), BucketError> {
        let bytes = record.to_bytes();
        let request = self
            .client
            .sdk()
            .put_object()
            .bucket(self.client.bucket_name())
            .key(self.client.keys().record(record.key(), record.sha256))
            .content_type("application/json")
            .content_md5(BASE64_STANDARD.encode(Md5::digest(&bytes)))
            .body(bytes.into());
        self.client.write(REQUEST_TIMEOUT, request.send()).await?;
        Ok(())
    }

    /// Removes a record. A record that does not exist is no error.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be written.
    pub async fn remove(&self, key: Key, sha256: Sha256) -> Result<(), BucketError> {
        key_requests::remove(self.client, &self.client.keys().record(key, sha256)).await
    }
}
