//! Look-ups of targets: on the disk first, then in the bucket.
//!
//! This file must not know objects. Its main function is [`look_up`].

use std::sync::Arc;
use std::time::Duration;

use super::error::CacheError;
use super::handle::Cache;
use super::pin_sync::import_pins;
use super::record_access::{LOOKUP_TIMEOUT, import_records, look_up_on_disk, read_from_bucket};
use super::repair;
use crate::disk::{ActiveState, TargetLookup, TargetRecords};
use crate::model::{Answer, Key, RecordSet, Target};

/// Timeout for reading a target's records from the bucket before its first record is published.
/// Readers of the body wait for its end meanwhile.
const FIRST_RECORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Looks a target up on the disk, then in the bucket. Records that only the bucket has are
/// imported. A record that cannot be read is replaced, if the bucket or the disk has its content.
pub async fn look_up(cache: &Cache, target: &Target) -> Result<TargetLookup, CacheError> {
    let key = Key::new(target);
    let on_disk = look_up_on_disk(cache, key).await;
    match on_disk {
        Ok(TargetLookup::Known(known)) => return repair::repair_others(cache, target, known).await,
        Ok(TargetLookup::Unreadable { record, .. }) => {
            return repair::repair(cache, target, record).await;
        }
        Ok(TargetLookup::NeverStored) | Err(_) => {}
    }
    match read_from_bucket(cache, key, LOOKUP_TIMEOUT).await {
        Some(found) if found.count() > 0 => {
            let unimported = lookup_of_bucket(&found);
            import_records(cache, found.readable).await;
            import_pins(cache, key).await;
            match look_up_on_disk(cache, key).await {
                Ok(TargetLookup::Known(known)) => Ok(TargetLookup::Known(known)),
                // The records are used even if they could not be imported.
                _ => Ok(unimported),
            }
        }
        _ => Ok(on_disk?),
    }
}

/// Chooses the record that answers among those of the bucket.
fn lookup_of_bucket(found: &RecordSet) -> TargetLookup {
    let state = ActiveState {
        is_cached: false,
        is_pinned: false,
    };
    match found.answer(&[]) {
        Answer::Nothing => TargetLookup::NeverStored,
        Answer::Record(active) => TargetLookup::Known(Arc::new(TargetRecords::new(
            active.clone(),
            found.clone(),
            state,
        ))),
        Answer::Unreadable(record) => TargetLookup::Unreadable {
            record,
            is_pinned: false,
        },
    }
}

/// Imports the records that other nodes uploaded while this node fetched its first bytes of a
/// target. If the bucket does not answer in time, the records are compared after the upload.
pub async fn import_before_first(cache: &Cache, key: Key) {
    if cache.inner.bucket.is_none()
        || !matches!(
            look_up_on_disk(cache, key).await,
            Ok(TargetLookup::NeverStored)
        )
    {
        return;
    }
    if let Some(found) = read_from_bucket(cache, key, FIRST_RECORD_TIMEOUT).await
        && !found.readable.is_empty()
    {
        import_records(cache, found.readable).await;
        import_pins(cache, key).await;
    }
}
