//! Sends bytes of open files from the kernel's page cache to a socket, without a copy here.
//!
//! This file must not know what else goes to the socket. Its entry point is
//! [`OpenFile::send_cached`].

use std::io;
use std::os::fd::AsFd;

use rustix::fs::sendfile;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::health::DiskHealth;
use super::open_file::OpenFile;

/// Length of the parts of which one byte is checked. The kernel reads ahead about this far.
const CHECKED_PART_BYTES: u64 = 128 * 1024;

impl OpenFile {
    /// Returns how many of the `size_bytes` from `offset` are in memory, as far as checks of single
    /// bytes show. Returns 0 if the disk hangs, or the file system does not support the check.
    ///
    /// A check makes the kernel keep its page longer than others, and read it if it is missing. So
    /// each check is at another place.
    #[must_use]
    pub fn cached_bytes(&self, offset: u64, size_bytes: u64) -> u64 {
        if self.io().health() == DiskHealth::Unresponsive {
            return 0;
        }
        let is_cached = |at| {
            let mut byte = [0];
            let mut slices = [io::IoSliceMut::new(&mut byte)];
            preadv2(self.file(), &mut slices, at, ReadWriteFlags::NOWAIT) == Ok(1)
        };
        let end = offset + size_bytes;
        let mut cached_end = offset;
        while cached_end < end {
            let next = (cached_end + CHECKED_PART_BYTES).min(end);
            if !is_cached(rand::random_range(cached_end..next)) {
                break;
            }
            cached_end = next;
        }
        cached_end - offset
    }

    /// Sends up to `size_bytes` from `offset` to a socket that does not block. Returns the number
    /// of bytes that the socket has taken, or 0 if the file or the socket has failed: reading or
    /// writing returns the error then. Waits for the disk if a page is not in memory.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the socket takes no bytes now.
    pub fn send_cached(&self, socket: impl AsFd, offset: u64, size_bytes: u64) -> io::Result<u64> {
        let size_bytes = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        let mut position = offset;
        match sendfile(socket, self.file(), Some(&mut position), size_bytes) {
            Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            Err(_) => Ok(0),
            Ok(sent_bytes) => Ok(sent_bytes as u64),
        }
    }
}
