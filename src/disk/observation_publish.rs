//! Publishing of observed bodies. The main function is [`publish`].
//!
//! This file must not know how an observation is read or removed.

use super::index::ObjectClass;
use super::move_object::move_object;
use super::publish::indexed_object;
use super::{DiskError, DiskStore, Sealed, TargetSnapshot, observations};
use crate::freshness::Observation;

/// Moves a body to its place and makes it the newest response of its target.
///
/// `before` is the snapshot before the response was requested. If the target has changed since, or
/// there is none, the response must be validated before it answers again.
///
/// # Errors
/// [`DiskError`] if the disk fails. Then the earlier observation stays.
pub fn publish(
    disk: &DiskStore,
    sealed: &Sealed,
    observation: Observation,
    before: Option<&TargetSnapshot>,
) -> Result<Observation, DiskError> {
    let sha256 = sealed.digests.sha256;
    let observation = observation.with_body(sha256, sealed.size_bytes);
    let key = observation.key();
    let written = {
        // An eviction between the two steps would leave an observation without its object.
        let _lock = disk.layout.lock_object(sha256)?;
        move_object(disk, sealed, None)?.sync(disk)?;
        let own_lock = disk.layout.lock_observations(key)?;
        let is_current = match before {
            Some(before) => {
                let file = before.file.map(|(file, _)| file);
                *before == observations::snapshot_locked(&disk.layout, (key, file), &own_lock)?
            }
            None => false,
        };
        let observation = if is_current {
            observation
        } else {
            observation.invalidated()
        };
        observations::replace(disk, observation)
    };
    let reservation = Some((disk.process_name(), sealed.file.id));
    let object = indexed_object(disk, sha256, sealed.size_bytes);
    let inserted = disk
        .index
        .insert(object, ObjectClass::Observed, reservation);
    let named = inserted.and_then(|()| disk.index.set_observed_key(sha256, key));
    if let Err(error) = named {
        tracing::warn!(%error, %sha256, "published object is missing in the index");
        disk.request_reindex();
    }
    written
}
