//! Stored bytes of a target that a fetch looks for, before it asks a source and after a long wait.
//! The main functions
//! are [`find_answer`] and [`find_after_wait`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::FetchError;
use super::download::Download;
use super::task::FetchTask;
use crate::cache::{Hit, TargetLookup, TargetRecords};
use crate::model::{ExpectedDigests, Sha256};

/// Wait for a permit after which the target is looked up again. Another process may have fetched it
/// without the lease. A shorter wait does not justify the reads.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// Stored bytes that a fetch has found under its lease.
pub enum FoundContent {
    /// They end the fetch.
    Stored(Hit),
    /// The target has an answer without a wanted digest.
    OtherBytes,
    /// They are gone. The origin must return the same bytes, unless change is allowed.
    Lost(LostContent),
    Nothing,
}

/// Bytes that a target had before, and that are not stored.
#[derive(Debug, Clone, Copy)]
pub struct LostContent {
    pub sha256: Sha256,
    pub is_pinned: bool,
}

/// Looks for the bytes that answer for the target. Another process may have stored them since the
/// look-up of the request.
///
/// # Errors
/// As [`FetchTask::read_records`].
pub async fn find_answer(
    task: &FetchTask<'_>,
    required: &ExpectedDigests,
) -> Result<FoundContent, FetchError> {
    let records = match task.read_records().await? {
        TargetLookup::Known(records) => records,
        TargetLookup::Unreadable { record, is_pinned } => {
            let sha256 = record.sha256;
            return Ok(FoundContent::Lost(LostContent { sha256, is_pinned }));
        }
        TargetLookup::NeverStored => return Ok(FoundContent::Nothing),
    };
    Ok(match open_stored(task, &records, required).await {
        Some(hit) => FoundContent::Stored(hit),
        None => FoundContent::Lost(LostContent {
            sha256: records.active().sha256,
            is_pinned: records.is_pinned(),
        }),
    })
}

/// Looks for stored bytes with the digests that the first reader states.
///
/// # Errors
/// As [`FetchTask::read_records`].
pub async fn find_wanted(task: &FetchTask<'_>) -> Result<FoundContent, FetchError> {
    let TargetLookup::Known(records) = task.read_records().await? else {
        return find_answer(task, &ExpectedDigests::nothing()).await;
    };
    let client = task.admitted.pool_client();
    let verification = task.state.cache.verification().for_client(client);
    let found = verification.find(task.key, &records, task.wanted).await;
    Ok(found.map_or(FoundContent::OtherBytes, FoundContent::Stored))
}

/// Opens the object that answers for the target, or returns `None` if it is not stored.
async fn open_stored(
    task: &FetchTask<'_>,
    records: &TargetRecords,
    expected: &ExpectedDigests,
) -> Option<Hit> {
    let (cache, key) = (&task.state.cache, task.key);
    let record = Arc::clone(records.active_for(expected));
    if let Some(hit) = cache.open_record(key, record).await.ok().flatten() {
        return Some(hit);
    }
    cache
        .open_latest_variant(key, records, expected)
        .await
        .ok()
        .flatten()
}

/// Waits for the permit of the first source. Returns the answer if it was stored during a long
/// wait.
///
/// # Errors
/// [`FetchError::TooManyFetches`] if the wait is too long, and as [`FetchTask::read_records`].
pub async fn find_after_wait(
    task: &FetchTask<'_>,
    download: &mut Download<'_>,
    required: &ExpectedDigests,
) -> Result<Option<Hit>, FetchError> {
    let first = download.sources().first();
    // Without a connection to the host, the fetch goes on to another source at once.
    let first = first.filter(|source| task.state.circuits.check(source.admitted()).is_ok());
    let Some(source) = first else {
        return Ok(None);
    };
    let began = Instant::now();
    download.acquire_permit(source).await?;
    if began.elapsed() < LONG_WAIT {
        return Ok(None);
    }
    Ok(match find_answer(task, required).await? {
        FoundContent::Stored(hit) => Some(hit),
        FoundContent::OtherBytes | FoundContent::Lost(_) | FoundContent::Nothing => None,
    })
}
