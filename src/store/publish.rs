//! From staged to found: the only way in which objects and records come into being.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fs_err as fs;

use super::index::Pending;
use super::presence::Known;
use super::{Sealed, Shared, StoreError, folders, pins, quarantine, records};
use crate::model::{Record, Sha256};

/// Objects are never written to again.
const OBJECT_MODE: u32 = 0o444;

/// What publishing came to.
#[derive(Debug)]
pub struct Published {
    pub known: Arc<Known>,
    /// Set if the target had given other bytes before: those stay the answer.
    pub differs_from: Option<Sha256>,
}

/// Puts the object in its place, then the record that names it: a reader that finds a record finds its bytes.
pub fn publish(shared: &Shared, sealed: &Sealed, record: &Record) -> Result<Published, StoreError> {
    let key = record.key();
    let sha256 = sealed.digests.sha256;
    let recorded = {
        // An evictor between the two steps would leave a new record without its object.
        let _lock = shared.layout.lock_object(sha256)?;
        place_object(shared, sealed, record)?;
        create_record(shared, record, &shared.layout.record(key, sha256))
    };
    // The object is there, recorded or not, and what it holds is no reservation any more.
    let reservation = Some((shared.instance.name.as_str(), sealed.file.id));
    if let Err(error) = shared.index.enter(sha256, sealed.size_bytes, reservation) {
        tracing::warn!(%error, %sha256, "an object was published but not entered into the index");
        shared.unreconciled.store(true, Ordering::Release);
    }
    recorded?;
    if let Some(tier) = &shared.tier
        && let Err(error) = tier.pend(&shared.index, Pending { key, sha256 })
    {
        tracing::warn!(%error, %sha256, "an object was published but not put into the queue for the bucket");
        shared.unreconciled.store(true, Ordering::Release);
    }
    let all = records::read_all(&shared.layout, key)?;
    let known = records::known(&shared.layout, all, &pins::of(&shared.layout, key)?)
        .or_else(|| Known::new(vec![record.clone()], None, |_| true))
        .expect("one record is enough");
    let answering = known.answering().sha256;
    let is_pressing = shared.index.held_bytes().is_ok_and(|held| held > shared.config.high_watermark_bytes());
    if is_pressing {
        shared.pressure.notify_one();
    }
    Ok(Published { known: Arc::new(known), differs_from: (answering != sha256).then_some(answering) })
}

/// Puts the staged file in its place, also where there is one of its digest: nobody knows whether that can still be read.
fn place_object(shared: &Shared, sealed: &Sealed, record: &Record) -> Result<(), StoreError> {
    let sha256 = sealed.digests.sha256;
    let path = shared.layout.object(sha256);
    let folder = path.parent().expect("an object lies in a folder");
    shared.folders.make(folder)?;
    // Another target may have given it first, at another date.
    let modified_at = fs::metadata(&path).and_then(|there| there.modified()).ok().or(record.headers.modified_at());
    if let Some(modified_at) = modified_at {
        fs::OpenOptions::new().write(true).open(&sealed.file.path)?.file().set_modified(modified_at)?;
    }
    fs::set_permissions(&sealed.file.path, std::fs::Permissions::from_mode(OBJECT_MODE))?;
    fs::rename(&sealed.file.path, &path)?;
    sealed.file.is_published.store(true, Ordering::Release);
    folders::sync(folder)?;
    shared.disk.trust(sha256);
    quarantine::await_no_more(shared, sha256)
}

/// Creates a record file, whole or not at all. One that is there already stays as it is.
pub fn create_record(shared: &Shared, record: &Record, path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().expect("a record lies in a folder");
    shared.folders.make(folder)?;
    let (_, draft) = shared.instance.next_file();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&draft)?;
    file.write_all(&record.to_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(folders::sync(folder)?),
    }
}
