//! Uploads of published objects and their records.
//!
//! Objects and records without a marker are queued again when the folder is reindexed. So no upload
//! is lost if a process dies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bucket_state::BucketState;
use super::error::CacheError;
use super::handle::Cache;
use super::record_access::import_records;
use crate::bucket::{BucketError, ObjectUpload, UploadResult};
use crate::disk::{DiskError, IoClass, PendingUpload, records};
use crate::model::{Answer, Cause, Event, Record, RecordOrder, RecordSet, UnreadableReason};

/// Delay of an upload that failed although the bucket works.
const RETRY_DELAY: Duration = Duration::from_mins(5);

/// Result of taking one upload from the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuePoll {
    /// An upload was done, or delayed. There may be more.
    Uploaded,
    /// No upload is due.
    Empty,
}

/// Result of one upload.
pub enum UploadOutcome {
    Done,
    /// The object is in the bucket, but must be checked again after this time.
    RecheckAfter(Duration),
}

/// Uploads the object that is due first.
pub async fn upload_next(cache: &Cache, state: &BucketState) -> Result<QueuePoll, CacheError> {
    let disk = cache.disk();
    let taken = disk
        .run(IoClass::Maintenance, |disk| {
            disk.index.uploads().dequeue(disk.process_name())
        })
        .await?;
    let Some(lease) = taken else {
        return Ok(QueuePoll::Empty);
    };
    let pending = *lease;
    let outcome = upload(cache, state, pending).await;
    let wait = match &outcome {
        Ok(UploadOutcome::Done) => None,
        Ok(UploadOutcome::RecheckAfter(wait)) => Some(*wait),
        // The caller delays the whole queue until the bucket works.
        Err(CacheError::Bucket(error))
            if error.is_bucket_wide() || matches!(error, BucketError::CircuitOpen) =>
        {
            Some(Duration::ZERO)
        }
        // The same goes for a disk that does not answer.
        Err(CacheError::Disk(DiskError::Timeout)) => Some(Duration::ZERO),
        Err(error) => {
            state.warn_once(pending.sha256, error);
            Some(RETRY_DELAY)
        }
    };
    let settled = disk.run(IoClass::Maintenance, move |disk| match wait {
        None => disk.index.uploads().remove(pending),
        Some(wait) => disk
            .index
            .uploads()
            .requeue(pending, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
    });
    settled.await?;
    outcome.map(|_| QueuePoll::Uploaded)
}

/// Uploads the object first, then its record. So the bucket has the object of every record.
pub async fn upload(
    cache: &Cache,
    state: &BucketState,
    pending: PendingUpload,
) -> Result<UploadOutcome, CacheError> {
    let started = Instant::now();
    let PendingUpload { key, sha256 } = pending;
    let disk = cache.disk();
    let read = disk.run(IoClass::Maintenance, move |disk| {
        let Some(record) = records::read_one(&disk.layout, key, sha256)? else {
            return Ok(None);
        };
        let is_cached = records::is_cached(&disk.layout, &record);
        Ok::<_, DiskError>(Some((Arc::new(record), is_cached)))
    });
    let Some((record, is_cached)) = read.await? else {
        return Ok(UploadOutcome::Done);
    };
    if !is_cached {
        // The object was evicted before its upload. Publishing it again queues the upload.
        upload_record(cache, state, &record).await?;
        let marked = disk.run(IoClass::Maintenance, move |disk| {
            Ok::<_, DiskError>(
                disk.markers
                    .as_ref()
                    .map(|markers| markers.set_record(key, sha256))
                    .transpose()?,
            )
        });
        return Ok(marked.await.map(|_| UploadOutcome::Done)?);
    }
    let upload = ObjectUpload {
        path: &disk.store().layout.object(sha256),
        record: &record,
        is_suspect: state.is_suspect(sha256),
    };
    let uploaded = state.bucket.put_object(&upload).await?;
    state.clear_suspect(sha256);
    upload_record(cache, state, &record).await?;
    let took_long = started.elapsed() > state.bucket.config().gc_grace.0 / 4;
    if uploaded != UploadResult::Safe || took_long {
        return Ok(UploadOutcome::RecheckAfter(state.bucket.removal_grace()));
    }
    mark_uploaded(cache, &record).await?;
    state.set_present(sha256, true);
    let size_bytes = record.size_bytes;
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(uri = %record.target, %sha256, size_bytes, duration_ms, "uploaded");
    Ok(UploadOutcome::Done)
}

/// Sets the markers of an uploaded object and its record, and permits its eviction.
async fn mark_uploaded(cache: &Cache, record: &Record) -> Result<(), DiskError> {
    let (key, sha256, size_bytes) = (record.key(), record.sha256, record.size_bytes);
    cache
        .disk()
        .run(IoClass::Maintenance, move |disk| {
            disk.index
                .bucket_objects()
                .record(&[(sha256, size_bytes)])?;
            if let Some(markers) = &disk.markers {
                markers.set_object(sha256)?;
                markers.set_record(key, sha256)?;
            }
            disk.index.lru().release_hold(sha256)
        })
        .await
}

/// Uploads the record if it is new or has an earlier place than the bucket's copy, and imports the
/// records of other nodes.
async fn upload_record(
    cache: &Cache,
    state: &BucketState,
    record: &Arc<Record>,
) -> Result<(), CacheError> {
    let key = record.key();
    let mut found = state.bucket.records().read_all(key).await?;
    if may_put(&found, record) {
        state.bucket.records().put(record).await?;
        // If two nodes upload records at once, at least the later one sees both. The other node
        // imports the record at its next inventory.
        found = state.bucket.records().read_all(key).await?;
    }
    let imported = import_records(cache, found.readable.clone()).await;
    cache.invalidate(key);
    let is_other = |other: &Record| other.sha256 != record.sha256;
    if imported > 0 && found.readable.iter().any(is_other) {
        let answer = match found.answer(&[]) {
            Answer::Record(record) => record.sha256.to_string(),
            Answer::Unreadable(record) => record.sha256.to_string(),
            Answer::Nothing => String::new(),
        };
        let detail = format!("another node received other bytes; sha256:{answer} is served");
        let target = record.target.clone();
        cache.inner.events.emit(Event::FetchFailed {
            target,
            cause: Cause::ContentChanged,
            detail,
            client: None,
        });
    }
    Ok(())
}

/// Returns whether a record replaces the bucket's copy, or the bucket has none.
fn may_put(found: &RecordSet, record: &Record) -> bool {
    let mut readable = found.readable.iter();
    let mut unreadable = found.unreadable.iter();
    match (
        readable.find(|copy| copy.sha256 == record.sha256),
        unreadable.find(|copy| copy.sha256 == record.sha256),
    ) {
        (Some(copy), _) => RecordOrder::of(record) < RecordOrder::of(copy),
        (None, Some(copy)) => copy.reason != UnreadableReason::NewerVersion,
        (None, None) => true,
    }
}
