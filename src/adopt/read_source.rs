//! Reads a file of the folder before it is stored: its digests, its first bytes and its end.
//!
//! The functions block. The main function is [`read_source`].

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::fstat;

use super::error::AdoptError;
use super::source_stamp::SourceStamp;
use super::stop_flag::StopFlag;
use crate::model::{Digests, FILE_TYPE_SNIFF_BYTES, Hasher};

/// Size of the pieces in which a file is read, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Digests and first bytes of a file.
#[derive(Debug)]
pub struct ReadSource {
    pub digests: Digests,
    pub head: Vec<u8>,
}

/// Reads a file, and counts the bytes.
///
/// # Errors
/// [`AdoptError::Changed`] if the file is not the one of `stamp` at the end,
/// [`AdoptError::Unreadable`] or [`AdoptError::Stopped`].
pub fn read_source(
    file: &File,
    stamp: &SourceStamp,
    counted_bytes: &AtomicU64,
    stop: &StopFlag,
) -> Result<ReadSource, AdoptError> {
    let (mut hasher, mut head) = (Hasher::with_all_algorithms(), Vec::new());
    let (mut piece, mut offset) = (vec![0; PIECE_BYTES], 0);
    loop {
        if stop.is_set() {
            return Err(AdoptError::Stopped);
        }
        let count = file
            .read_at(&mut piece, offset)
            .map_err(AdoptError::Unreadable)?;
        if count == 0 {
            break;
        }
        let bytes = &piece[..count];
        hasher.update(bytes);
        let missing = FILE_TYPE_SNIFF_BYTES.saturating_sub(head.len());
        head.extend_from_slice(&bytes[..count.min(missing)]);
        offset += count as u64;
        counted_bytes.fetch_add(count as u64, Ordering::Relaxed);
        if offset > stamp.size_bytes {
            return Err(AdoptError::Changed);
        }
    }
    if offset != stamp.size_bytes || stamp_of(file)? != *stamp {
        return Err(AdoptError::Changed);
    }
    Ok(ReadSource {
        digests: hasher.finish(),
        head,
    })
}

/// Returns the present stamp of an open file.
///
/// # Errors
/// [`AdoptError::Unreadable`].
pub fn stamp_of(file: &File) -> Result<SourceStamp, AdoptError> {
    let stat = fstat(file).map_err(|error| AdoptError::Unreadable(error.into()))?;
    Ok(SourceStamp::from(&stat))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(file: &File, stamp: &SourceStamp) -> Result<ReadSource, AdoptError> {
        read_source(file, stamp, &AtomicU64::new(0), &StopFlag::default())
    }

    #[test]
    fn changed_file_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        let stamp = stamp_of(&file).unwrap();
        assert_eq!(read(&file, &stamp).unwrap().head, b"content");
        for length in [3, 9] {
            file.set_len(length).unwrap();
            assert!(matches!(read(&file, &stamp), Err(AdoptError::Changed)));
        }
        // The length is the same, and the time of the last change is not.
        file.set_len(7).unwrap();
        assert!(matches!(read(&file, &stamp), Err(AdoptError::Changed)));
    }

    #[test]
    fn requested_stop_ends_reading() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        let (stamp, stop) = (stamp_of(&file).unwrap(), StopFlag::default());
        stop.set();
        let read = read_source(&file, &stamp, &AtomicU64::new(0), &stop);
        assert!(matches!(read, Err(AdoptError::Stopped)));
    }
}
