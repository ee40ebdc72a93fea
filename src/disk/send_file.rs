//! Sends bytes of open files from the kernel's page cache to a socket, without a copy here.
//!
//! This file must not know what else goes to the socket. Its entry point is
//! [`OpenFile::send_cached`].

use std::io;
use std::os::fd::AsFd;

use rustix::fs::sendfile;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::open_file::OpenFile;

/// Distance between the bytes whose pages are checked. The kernel reads ahead at least this far,
/// and reclaims pages in the order in which they were read.
const CHECK_INTERVAL_BYTES: u64 = 128 * 1024;

/// Result of sending a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// The socket has taken this number of bytes, at least one.
    Sent(u64),
    /// The first bytes must be read: they are not in memory, or the file or the socket has failed.
    /// The read or the write returns the reason.
    MustRead,
}

impl OpenFile {
    /// Sends up to `size_bytes` from `offset` to a socket that does not block. The call waits for
    /// no disk, unless the kernel drops a page within microseconds of its check, or keeps only the
    /// pages around it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the socket takes no bytes now.
    pub fn send_cached(
        &self,
        socket: impl AsFd,
        offset: u64,
        size_bytes: u64,
    ) -> io::Result<SendOutcome> {
        let cached_bytes = self.cached_bytes(offset, size_bytes);
        let Ok(size_bytes) = usize::try_from(cached_bytes) else {
            return Ok(SendOutcome::MustRead);
        };
        if size_bytes == 0 {
            return Ok(SendOutcome::MustRead);
        }
        let mut position = offset;
        match sendfile(socket, self.file(), Some(&mut position), size_bytes) {
            Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(0) | Err(_) => Ok(SendOutcome::MustRead),
            Ok(sent_bytes) => Ok(SendOutcome::Sent(sent_bytes as u64)),
        }
    }

    /// Returns how many of the `size_bytes` from `offset` are in memory, as far as checks of single
    /// bytes show. Returns 0 if the file system does not support the check.
    fn cached_bytes(&self, offset: u64, size_bytes: u64) -> u64 {
        let end = offset + size_bytes;
        let mut cached_end = offset;
        while cached_end < end {
            let next = (cached_end + CHECK_INTERVAL_BYTES).min(end);
            // The last byte of a part, and the first one of all.
            let is_cached = |at| {
                let mut byte = [0];
                let mut slices = [io::IoSliceMut::new(&mut byte)];
                preadv2(self.file(), &mut slices, at, ReadWriteFlags::NOWAIT) == Ok(1)
            };
            if (cached_end == offset && !is_cached(offset)) || !is_cached(next - 1) {
                break;
            }
            cached_end = next;
        }
        cached_end - offset
    }
}
