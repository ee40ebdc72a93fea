//! Rights of the files that a process leaves in the cache folder: their modes and their owner.
//!
//! The main functions are [`set_umask`] and [`take_on_owner`].

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{Gid, Uid, geteuid, umask};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

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

/// Does the same as [`take_on_owner`] for several folders, if they have one owner. Without one, no
/// user but the superuser can use all of them.
///
/// # Errors
/// The system's error if the user cannot be changed.
pub fn take_on_common_owner(paths: &[&Path]) -> io::Result<()> {
    let folders = || paths.iter().filter(|path| path.is_dir());
    let mut owners = folders().filter_map(|folder| std::fs::metadata(folder).ok());
    let Some((folder, first)) = folders().next().zip(owners.next()) else {
        return Ok(());
    };
    if owners.all(|other| (other.uid(), other.gid()) == (first.uid(), first.gid())) {
        take_on_owner(folder)
    } else {
        Ok(())
    }
}
