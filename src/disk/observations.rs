//! Observations: the newest response of each target whose bytes may change.
//!
//! `observations/ab/<key>/<variant>.json`, one file for each set of `Vary` values. A file is
//! replaced by a rename and not synced, because a lost one costs one request to the origin. Every
//! change holds the lock of the target's observations. This file must not know when a response may
//! be reused. Its main function is [`read_all`].

use std::fmt::Write as _;
use std::io;

use fs_err as fs;

use super::layout::Layout;
use super::metadata_ledger::MetadataKind;
use super::target_snapshot::{TargetSnapshot, count_removal, removals};
use super::{DiskError, DiskStore, absence, durable_dirs};
use crate::freshness::Observation;
use crate::model::{Hasher, Key, Sha256};

/// Bound on the variants of one target. A further one replaces the oldest.
pub const MAX_VARIANTS: usize = 8;

/// Reads the observations of a target, the newest first. A corrupt file counts as absent.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn read_all(layout: &Layout, key: Key) -> Result<Vec<Observation>, DiskError> {
    let mut observations = Vec::new();
    for name in durable_dirs::names_in(&layout.observations_of(key))?
        .into_iter()
        .take(2 * MAX_VARIANTS)
    {
        let path = layout.observations_of(key).join(&name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        match Observation::parse(&bytes) {
            Ok(observation) if observation.key() == key => observations.push(observation),
            Ok(_) => {
                tracing::warn!(path = %path.display(), "ignored observation of another target");
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "ignored corrupt observation");
            }
        }
    }
    observations.sort_by_key(|observation| std::cmp::Reverse(observation.sequence));
    Ok(observations)
}

/// Returns whether a target has no observations according to the kernel's cache, without waiting
/// for the disk. False does not mean that there are some.
pub fn are_surely_absent(layout: &Layout, key: Key) -> bool {
    absence::is_surely_absent(&layout.observations_of(key))
}

/// Looks the observations of a target up, so that the kernel's cache knows whether there are any.
/// Waits for the disk.
pub fn look_up_absence(layout: &Layout, key: Key) {
    absence::look_up(&layout.observations_of(key));
}

/// Returns the snapshot of a target. `file` is the file that a companion belongs to.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn snapshot(layout: &Layout, key: Key, file: Option<Key>) -> Result<TargetSnapshot, DiskError> {
    let lock = layout.lock_observations(key)?;
    snapshot_locked(layout, (key, file), &lock)
}

/// Does the same as [`snapshot`]. The caller holds the lock of the observations.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub(super) fn snapshot_locked(
    layout: &Layout,
    (key, file): (Key, Option<Key>),
    lock: &fs::File,
) -> Result<TargetSnapshot, DiskError> {
    let newest_of = |key| {
        let known = read_all(layout, key)?;
        Ok::<_, DiskError>(known.first().map_or(0, |newest| newest.sequence))
    };
    let file = match file {
        Some(file) => Some((file, newest_of(file)?)),
        None => None,
    };
    Ok(TargetSnapshot {
        removals: removals(lock)?,
        newest: newest_of(key)?,
        file,
    })
}

/// Replaces the head of `validated` by that of `observation`, whose bytes are the same. Returns
/// `None` if `validated` was replaced, invalidated or removed meanwhile.
///
/// # Errors
/// [`DiskError`] if the disk fails, or the observation has too many fields.
pub fn replace_head(
    disk: &DiskStore,
    validated: &Observation,
    observation: Observation,
) -> Result<Option<Observation>, DiskError> {
    let _lock = disk.layout.lock_observations(observation.key())?;
    let known = read_all(&disk.layout, observation.key())?;
    let is_current = |known: &Observation| {
        known.is_same_variant(validated)
            && known.sha256 == validated.sha256
            && known.sequence == validated.sequence
    };
    if known.iter().any(is_current) {
        replace(disk, observation).map(Some)
    } else {
        Ok(None)
    }
}

/// Replaces the observation of the same variant. The object must be on the disk, and the caller
/// holds the lock of the observations.
pub(super) fn replace(
    disk: &DiskStore,
    observation: Observation,
) -> Result<Observation, DiskError> {
    let key = observation.key();
    let known = read_all(&disk.layout, key)?;
    let newest = known.first().map_or(0, |newest| newest.sequence);
    let same = known
        .iter()
        .find(|known| known.is_same_variant(&observation));
    let mut observation = observation.replacing(same);
    observation.sequence = newest.saturating_add(1);
    let bytes = observation
        .to_bytes()
        .map_err(|error| DiskError::Io(io::Error::other(error)))?;
    let folder = disk.layout.observations_of(key);
    let _counted = disk.metadata.watch(MetadataKind::Others, folder.clone());
    fs::create_dir_all(&folder)?;
    let (_, draft) = disk.slot.next_file();
    fs::write(&draft, bytes)?;
    fs::rename(&draft, folder.join(file_name(&observation)))?;
    let others = known
        .iter()
        .filter(|known| !known.is_same_variant(&observation));
    for surplus in others.skip(MAX_VARIANTS - 1) {
        durable_dirs::remove_if_exists(&folder.join(file_name(surplus)))?;
    }
    Ok(observation)
}

/// Marks all observations of these targets, so that each one is validated before it answers again.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn invalidate_all(disk: &DiskStore, keys: &[Key]) -> Result<(), DiskError> {
    for key in keys {
        // Most companions do not exist. One that is published now finds that its file has changed.
        if durable_dirs::names_in(&disk.layout.observations_of(*key))?.is_empty() {
            continue;
        }
        let _lock = disk.layout.lock_observations(*key)?;
        for observation in read_all(&disk.layout, *key)? {
            replace(disk, observation.invalidated())?;
        }
    }
    Ok(())
}

/// Removes all observations of a target. Their objects stay until they are evicted.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn remove_all(disk: &DiskStore, key: Key) -> Result<(), DiskError> {
    let lock = disk.layout.lock_observations(key)?;
    let folder = disk.layout.observations_of(key);
    let _counted = disk.metadata.watch(MetadataKind::Others, folder.clone());
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(count_removal(&lock)?),
    }
}

/// Removes the observations whose objects were evicted. Returns their number.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn remove_evicted(disk: &DiskStore) -> Result<u64, DiskError> {
    let (layout, mut removed) = (&disk.layout, 0);
    for_each_target(layout, |key, observations| {
        for observation in observations {
            if !layout.object(observation.sha256).exists() {
                removed += u64::from(remove_without_object(disk, &observation)?);
            }
        }
        remove_if_empty(disk, key)
    })?;
    Ok(removed)
}

/// Removes the observations of a target whose object was evicted now. The caller holds the lock of
/// the object.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn remove_of_object(disk: &DiskStore, key: Key, sha256: Sha256) -> Result<(), DiskError> {
    let known = read_all(&disk.layout, key)?;
    for observation in known.iter().filter(|known| known.sha256 == sha256) {
        remove_under_lock(disk, observation)?;
    }
    remove_if_empty(disk, key)
}

/// Removes an observation whose object is missing, unless another one has replaced it. Returns
/// whether it was removed.
fn remove_without_object(disk: &DiskStore, observation: &Observation) -> Result<bool, DiskError> {
    // Keeps a publication from placing the object between the steps.
    let _object_lock = disk.layout.lock_object(observation.sha256)?;
    remove_under_lock(disk, observation)
}

/// Does the same as [`remove_without_object`]. The caller holds the lock of the object.
fn remove_under_lock(disk: &DiskStore, observation: &Observation) -> Result<bool, DiskError> {
    let layout = &disk.layout;
    // Keeps another publication from replacing the file.
    let _lock = layout.lock_observations(observation.key())?;
    let folder = layout.observations_of(observation.key());
    let path = folder.join(file_name(observation));
    let current = match fs::read(&path) {
        Ok(bytes) => Observation::parse(&bytes).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let is_same = current.is_some_and(|current| current.sha256 == observation.sha256);
    if !is_same || layout.object(observation.sha256).exists() {
        return Ok(false);
    }
    let _counted = disk.metadata.watch(MetadataKind::Others, folder);
    Ok(durable_dirs::remove_if_exists(&path)?)
}

fn remove_if_empty(disk: &DiskStore, key: Key) -> Result<(), DiskError> {
    let _lock = disk.layout.lock_observations(key)?;
    let folder = disk.layout.observations_of(key);
    let _counted = disk.metadata.watch(MetadataKind::Others, folder.clone());
    match fs::remove_dir(folder) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(error.into())
        }
        _ => Ok(()),
    }
}

/// Calls `show` with the digests of every observation, its earlier ones included.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails, and the errors of `show`.
pub fn walk(
    layout: &Layout,
    mut show: impl FnMut(Sha256) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    for_each_target(layout, |_, observations| {
        for observation in observations {
            show(observation.sha256)?;
            observation.history.into_iter().try_for_each(&mut show)?;
        }
        Ok(())
    })
}

/// Calls `visit` with the observations of each target.
fn for_each_target(
    layout: &Layout,
    mut visit: impl FnMut(Key, Vec<Observation>) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    for prefix in durable_dirs::names_in(&layout.observations())? {
        for key in durable_dirs::names_in(&layout.observations().join(prefix))? {
            if let Ok(key) = key.parse::<Key>() {
                visit(key, read_all(layout, key)?)?;
            }
        }
    }
    Ok(())
}

/// Returns `<variant>.json`. A variant is named by the first half of a digest of its values.
fn file_name(observation: &Observation) -> String {
    let variant = (&observation.vary, observation.redirects);
    let values = serde_json::to_vec(&variant).expect("the values are strings");
    let mut hasher = Hasher::new(&crate::model::ExpectedDigests::nothing());
    hasher.update(&values);
    let digest = hasher.finish().sha256;
    let mut name = String::new();
    for byte in &digest.as_bytes()[..16] {
        write!(name, "{byte:02x}").expect("a string takes any text");
    }
    name + ".json"
}
