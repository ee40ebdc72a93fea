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
