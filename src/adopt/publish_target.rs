//! The state of a target before it is adopted, and the step that makes it answer.

use super::error::AdoptError;
use crate::cache::{Cache, FirstPublished, Sealed, TargetLookup};
use crate::model::{Record, Sha256, Target};

/// State of a target.
pub enum TargetState {
    /// The target is answered with the bytes.
    Present,
    Absent,
}

/// Returns the state of a target, here and in the bucket. With `pin`, only a pinned target is
/// present.
///
/// # Errors
/// [`AdoptError::OtherBytes`] if it is answered with other bytes.
pub async fn state_of(
    cache: &Cache,
    target: &Target,
    sha256: Sha256,
    pin: bool,
) -> Result<TargetState, AdoptError> {
    let answer = match cache.lookup_uncached(target).await? {
        TargetLookup::NeverStored => return Ok(TargetState::Absent),
        TargetLookup::Known(known) if known.active().sha256 == sha256 => {
            let is_stored = cache.admin().can_serve(known.active()).await?;
            let is_pinned = known.is_pinned() || !pin;
            return Ok(if is_stored && is_pinned {
                TargetState::Present
            } else {
                TargetState::Absent
            });
        }
        TargetLookup::Known(known) => known.active().sha256,
        TargetLookup::Unreadable { record, .. } if record.sha256 == sha256 => {
            return Ok(TargetState::Absent);
        }
        TargetLookup::Unreadable { record, .. } => record.sha256,
    };
    Err(AdoptError::OtherBytes {
        target: target.clone(),
        sha256: answer,
    })
}

/// Publishes a record. Returns false if its object is not stored, and there is no body.
///
/// # Errors
/// [`AdoptError::OtherBytes`] if the target is answered with other bytes, or the error of the disk.
pub async fn publish(
    cache: &Cache,
    sealed: Option<Sealed>,
    record: Record,
    pin: bool,
) -> Result<bool, AdoptError> {
    let target = record.target.clone();
    match cache.own_files().publish(sealed, record, pin).await? {
        FirstPublished::Answers => Ok(true),
        FirstPublished::NoObject => Ok(false),
        FirstPublished::OtherBytes(sha256) => Err(AdoptError::OtherBytes { target, sha256 }),
    }
}
