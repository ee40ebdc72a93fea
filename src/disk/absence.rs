//! Absence of files, as far as the kernel's cache knows it.
//!
//! This file must not know what the files hold. The main function is [`is_surely_absent`].

use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// Returns whether a path does not exist according to the kernel's cache, without waiting for the
/// disk. False does not mean that it exists.
pub fn is_surely_absent(path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).err() == Some(Errno::NOENT)
}

/// Looks a path up, so that the kernel's cache knows whether it exists. Waits for the disk.
pub fn look_up(path: &Path) {
    // A caller asks again, so the answer has no effect here.
    let _ = path.symlink_metadata();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looked_up_path_is_surely_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent");
        look_up(&path);
        assert!(is_surely_absent(&path));
        std::fs::write(&path, "").unwrap();
        assert!(!is_surely_absent(&path));
    }
}
