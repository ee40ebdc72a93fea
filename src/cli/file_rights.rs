//! Rights of the files that a process leaves in the cache folder: their modes and their owner.
//!
//! The main functions are [`set_umask`], [`take_on_owner`] and [`give_to_owner_of`].

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fchown, open};
use rustix::process::{Gid, Uid, geteuid, umask};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::error::CliError;

/// New folders get the mode 0750 and new files 0640, so that nginx can read them as a member of the
/// group. Objects and secrets set their modes themselves.
const UMASK: u32 = 0o027;

/// Sets the umask, whatever the shell or the service manager has set.
pub fn set_umask() {
    umask(Mode::from_raw_mode(UMASK));
}

/// Gives the superuser's command the user and the group of a folder. Otherwise the service could
/// not use the files that the command leaves. Does nothing for other users, and if the folder does
/// not exist.
///
/// The kernel changes the calling thread only, so the process must have no other thread yet. Its
/// later threads inherit the user.
///
/// # Errors
/// The system's error if the user cannot be changed.
pub fn take_on_owner(folder: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::metadata(folder) else {
        return Ok(());
    };
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    if !geteuid().is_root() || uid.is_root() {
        return Ok(());
    }
    set_thread_groups(&[gid])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Does the same as [`take_on_owner`] for the folders among both paths. An empty destination gets
/// the owner of the source first. As the superuser, the command must not work in a folder of
/// another user: that user can replace any file of the folder by a link.
///
/// # Errors
/// [`CliError::DifferentOwners`], or [`CliError::Owner`] if the user cannot be changed.
pub fn take_on_common_owner(
    from: &Path,
    to: &Path,
    is_empty: impl FnOnce(&Path) -> bool,
) -> Result<(), CliError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    if !from.is_dir() || !to.is_dir() {
        let folder = [from, to].into_iter().find(|path| path.is_dir());
        return Ok(folder.map_or(Ok(()), take_on_owner)?);
    }
    let (source, destination) = (std::fs::metadata(from)?, std::fs::metadata(to)?);
    if source.uid() == destination.uid() {
        // The command leaves its files in the destination, so their group is that of the
        // destination.
        return Ok(take_on_owner(to)?);
    }
    // The service could not use the folder any more if the superuser owned it.
    if Uid::from_raw(source.uid()).is_root() || !is_empty(to) {
        return Err(CliError::DifferentOwners);
    }
    give_to_owner(to, &source, OFlags::DIRECTORY)?;
    Ok(take_on_owner(from)?)
}

/// Gives what the superuser has just made in a folder of its own to the owner of another folder,
/// that of the service. Does nothing for other users, and if the superuser owns that folder too.
///
/// # Errors
/// The system's error if an owner cannot be changed.
pub fn give_to_owner_of<'a>(
    folder: &Path,
    made: impl IntoIterator<Item = &'a Path>,
) -> io::Result<()> {
    let metadata = std::fs::metadata(folder)?;
    if !geteuid().is_root() || Uid::from_raw(metadata.uid()).is_root() {
        return Ok(());
    }
    for path in made {
        give_to_owner(path, &metadata, OFlags::empty())?;
    }
    Ok(())
}

/// Gives a path to the owner of another one. The path's own user may replace its name by a link, so
/// the owner is changed by descriptor.
fn give_to_owner(path: &Path, other: &Metadata, kind: OFlags) -> io::Result<()> {
    let flags = kind | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = open(path, flags, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(other.uid()), Gid::from_raw(other.gid()));
    Ok(fchown(&path, Some(uid), Some(gid))?)
}
