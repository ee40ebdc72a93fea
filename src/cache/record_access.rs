//! Records of one tier: reads them from the disk or the bucket, and imports those of the bucket.
//!
//! This file must not decide which record answers. Its main functions are [`look_up_on_disk`] and
//! [`read_from_bucket`].

use std::time::Duration;

use tokio::time::timeout;

use super::handle::Cache;
use crate::bucket::BucketError;
use crate::disk::{
    DiskError, DiskStore, IoClass, TargetLookup, observations, record_files, records,
};
use crate::model::{Key, Record, RecordSet};

/// Timeout for reading a target's records from the bucket. After it the request is a miss.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);

/// Looks a target up on the disk.
pub async fn look_up_on_disk(cache: &Cache, key: Key) -> Result<TargetLookup, DiskError> {
    let look_up = move |disk: &DiskStore| {
        let found = records::look_up(&disk.layout, key)?;
        if matches!(found, TargetLookup::NeverStored) {
            // The request asks for observations next, which costs it no second wait for a thread.
            observations::look_up_absence(&disk.layout, key);
        }
        Ok(found)
    };
    cache.disk().run(IoClass::Request, look_up).await
}

/// Returns the records that the bucket has of a target, or `None` if there is no bucket or it does
/// not answer within `limit`.
pub async fn read_from_bucket(cache: &Cache, key: Key, limit: Duration) -> Option<RecordSet> {
    let state = cache.inner.bucket.as_ref()?;
    let timed_out = || BucketError::Unavailable("no answer in time".to_owned());
    let found = timeout(limit, state.bucket.records().read_all(key)).await;
    found
        .unwrap_or_else(|_| Err(timed_out()))
        .inspect_err(|error| {
            tracing::debug!(%error, %key, "records of a target were not read from the bucket");
        })
        .ok()
}

/// Stores records from the bucket on the disk. Returns how many were new.
pub async fn import_records(cache: &Cache, found: Vec<Record>) -> u64 {
    let imported = cache.disk().run(IoClass::Request, move |disk| {
        record_files::import_records(disk, &found)
    });
    imported.await.unwrap_or_else(|error: DiskError| {
        tracing::warn!(%error, "records from the bucket could not be stored");
        0
    })
}
