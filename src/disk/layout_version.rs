//! The version of the folder's layout, and the migration from older layouts.
//!
//! The file `layout` holds the version as a decimal number. Version 1, of the first release, had no
//! such file. It had leases in `locks/` and the list of missing objects in `quarantine/lost/`. The
//! main function is [`establish`].

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;

use super::folder_lock::{self, LOCK_TIMEOUT};
use super::process_slot::{SLOTS_LOCK_NAME, live_processes};
use super::{Layout, OpenError, durable_dirs};
use crate::model::{Key, Sha256};

/// Version that this program reads and writes.
pub const CURRENT: u32 = 2;

/// Bound on the length of the file, in bytes.
const MAX_VERSION_BYTES: usize = 16;

/// Name of the slots' lock in version 1.
const SLOTS_LOCK_NAME_V1: &str = ".door";

/// Migrates the folder to the current layout, and writes the version into a new folder.
///
/// # Errors
/// [`OpenError::NewerLayout`], [`OpenError::LayoutInUse`] if another process has the folder open,
/// or [`OpenError::Folder`] if the disk fails.
pub fn establish(layout: &Layout) -> Result<(), OpenError> {
    let unusable = |why| OpenError::Folder {
        path: layout.root().to_owned(),
        why,
    };
    // A read-only disk has no lock, but may have a newer layout.
    if is_current(layout)? {
        return Ok(());
    }
    fs::create_dir_all(layout.staging()).map_err(unusable)?;
    let lock_path = layout.staging().join(SLOTS_LOCK_NAME);
    let _lock = folder_lock::acquire(&lock_path, LOCK_TIMEOUT).map_err(unusable)?;
    // Another process may have migrated the folder since the first check.
    if is_current(layout)? {
        return Ok(());
    }
    let live = live_processes(layout).map_err(unusable)?;
    if live.is_empty() {
        migrate(layout).map_err(unusable)
    } else {
        Err(OpenError::LayoutInUse { processes: live })
    }
}

/// Returns true if the folder has the current layout, and false if it has no version file.
///
/// # Errors
/// [`OpenError::NewerLayout`], or [`OpenError::Folder`] if the version cannot be read.
fn is_current(layout: &Layout) -> Result<bool, OpenError> {
    let unusable = |why| OpenError::Folder {
        path: layout.root().to_owned(),
        why,
    };
    match read(layout).map_err(unusable)? {
        Some(CURRENT) => Ok(true),
        Some(found) if found > CURRENT => Err(OpenError::NewerLayout {
            found,
            known: CURRENT,
        }),
        Some(_) => Err(unusable(io::Error::other(
            "the file \"layout\" holds no version of this program",
        ))),
        None => Ok(false),
    }
}

/// Writes the version again if its file was removed from a folder that this process uses.
///
/// # Errors
/// [`OpenError::Folder`] if the disk fails.
pub fn restore(layout: &Layout) -> Result<(), OpenError> {
    let unusable = |why| OpenError::Folder {
        path: layout.root().to_owned(),
        why,
    };
    match read(layout).map_err(unusable)? {
        None => write_version(layout, &draft(layout)).map_err(unusable),
        Some(_) => Ok(()),
    }
}

fn draft(layout: &Layout) -> PathBuf {
    layout.staging().join(".layout")
}

/// Returns the version of the folder, or `None` if there is no version file. Version 0 stands for
/// content that is no number or too long.
fn read(layout: &Layout) -> io::Result<Option<u32>> {
    match fs::read_to_string(layout.version()) {
        Ok(text) if text.len() <= MAX_VERSION_BYTES => {
            Ok(Some(text.trim_end().parse().unwrap_or(0)))
        }
        Ok(_) => Ok(Some(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Migrates a folder of version 1, or an empty folder. Each step can be repeated after a crash,
/// because the version is written last.
fn migrate(layout: &Layout) -> io::Result<()> {
    // No process is alive, so no lease is held.
    for name in durable_dirs::names_in(&layout.locks())? {
        if name.parse::<Key>().is_ok() {
            durable_dirs::remove_if_exists(&layout.locks().join(name))?;
        }
    }
    durable_dirs::remove_if_exists(&layout.locks().join("verify"))?;
    let lost = layout.quarantine().join("lost");
    for name in durable_dirs::names_in(&lost)? {
        if let Ok(sha256) = name.parse::<Sha256>() {
            fs::create_dir_all(layout.missing())?;
            fs::rename(lost.join(name), layout.missing_object(sha256))?;
        }
    }
    if lost.is_dir() {
        fs::remove_dir(&lost)?;
        durable_dirs::sync(&layout.missing())?;
    }
    durable_dirs::remove_if_exists(&layout.staging().join(SLOTS_LOCK_NAME_V1))?;
    write_version(layout, &draft(layout))
}

/// Writes the version to a draft, and renames the draft. A link in place of the draft is an error,
/// because it may name a file outside the folder.
fn write_version(layout: &Layout, draft: &Path) -> io::Result<()> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).expect("flags are small");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = options.custom_flags(no_follow).open(draft)?;
    writeln!(file, "{CURRENT}")?;
    file.sync_all()?;
    fs::rename(draft, layout.version())?;
    durable_dirs::sync(layout.root())
}
