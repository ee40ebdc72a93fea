//! Opens the objects of records, which are hits then.
//!
//! An object that is in the kernel's memory, or stays open, is opened on the calling thread, others
//! on a disk thread. This file must not know requests. Its main function is [`DiskIo::open_hit`].

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};

use super::open_file::{FileHit, OpenFile, read_cached, read_now};
use super::open_objects::{HeldObject, NamedFileStamp, OpenObjectLookup};
use super::{DiskError, DiskIo, DiskStore, IoClass};
use crate::model::Record;

/// Size up to which a hit is read when it is opened, with one disk operation instead of two.
const READ_AT_OPEN_BYTES: u64 = 64 * 1024;

/// An open object, and its complete content if it is small.
type OpenedObject = (Arc<File>, Option<Bytes>);

impl DiskIo {
    /// Opens the object of a record. Returns `None` if it is not on the disk in its full length.
    /// Uses no other thread if the object is in the kernel's cache.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails.
    pub async fn open_hit(&self, record: Arc<Record>) -> Result<Option<FileHit>, DiskError> {
        let opened = if let Some(opened) = self.open_held(&record) {
            Some(opened)
        } else {
            let record = Arc::clone(&record);
            let open = move |disk: &DiskStore| open_object(disk, &record);
            Box::pin(self.run(IoClass::Request, open)).await?
        };
        Ok(opened.map(|(file, content)| {
            let file = OpenFile::new(file, self.clone());
            FileHit::new(record, file, content)
        }))
    }

    /// Opens an object without waiting for the disk, or returns one that is open.
    fn open_held(&self, record: &Record) -> Option<OpenedObject> {
        let opened_for = match self.store().open_objects.get(record.sha256) {
            OpenObjectLookup::Open(file, content) => {
                // With another length, the object is not that of the record.
                let is_whole = content.len() as u64 == record.size_bytes;
                return is_whole.then_some((file, Some(content)));
            }
            OpenObjectLookup::Wanted => OpenedFor::ManyHits,
            OpenObjectLookup::Unwanted { replaced } => {
                if let Some(replaced) = replaced {
                    self.spawn_cleanup(move |_| drop(replaced));
                }
                OpenedFor::OneHit
            }
        };
        open_cached(self.store(), record, opened_for)
    }
}

/// Opens the object of a record. Returns `None` if it is not on the disk in its full length.
/// Blocks.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn open_object(disk: &DiskStore, record: &Record) -> Result<Option<OpenedObject>, DiskError> {
    let file = match fs::File::open(disk.layout.object(record.sha256)) {
        Ok(file) => file.into_parts().0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size_bytes = file.metadata()?.len();
    if size_bytes != record.size_bytes {
        tracing::error!(
            sha256 = %record.sha256,
            size_bytes,
            recorded_bytes = record.size_bytes,
            "object has the wrong length and is not served"
        );
        return Ok(None);
    }
    let content = match usize::try_from(size_bytes) {
        Ok(size) if size_bytes <= READ_AT_OPEN_BYTES => Some(read_now(&file, 0, size)?),
        // Reads one byte to find an unreadable object before the response head is sent.
        _ => read_now(&file, 0, 1).map(|_| None)?,
    };
    if content
        .as_ref()
        .is_some_and(|content| content.len() as u64 != size_bytes)
    {
        return Ok(None);
    }
    Ok(Some((Arc::new(file), content)))
}

/// Number of hits for which an object is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenedFor {
    OneHit,
    /// It stays open.
    ManyHits,
}

/// As [`open_object`], but only from the kernel's cache. `None` does not mean that the object is
/// missing.
fn open_cached(disk: &DiskStore, record: &Record, opened_for: OpenedFor) -> Option<OpenedObject> {
    let path = disk.layout.object(record.sha256);
    let open = || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat2(CWD, &path, flags, Mode::empty(), ResolveFlags::CACHED);
        file.ok().map(File::from)
    };
    let file = open()?;
    let read = |size_bytes| read_cached(&file, 0, size_bytes);
    match usize::try_from(record.size_bytes) {
        Ok(size) if record.size_bytes <= READ_AT_OPEN_BYTES => {
            let stamp = match opened_for {
                OpenedFor::OneHit => None,
                OpenedFor::ManyHits => NamedFileStamp::of(&file),
            };
            // A file of another length returns more bytes or fewer.
            let content = read(size + 1).filter(|bytes| bytes.len() == size)?;
            let file = Arc::new(file);
            if let Some(stamp) = stamp {
                let named = open().and_then(|named| NamedFileStamp::of(&named));
                let object = HeldObject {
                    sha256: record.sha256,
                    file: Arc::clone(&file),
                    content: content.clone(),
                    stamp,
                };
                disk.open_objects.keep(object, named);
            }
            Some((file, Some(content)))
        }
        // Reads one byte for the same reason as `open_object`.
        _ if has_length(&file, record.size_bytes) => {
            read(1)?;
            Some((Arc::new(file), None))
        }
        _ => None,
    }
}

/// Whether a file has this length, according to the kernel's cache.
fn has_length(file: &File, size_bytes: u64) -> bool {
    let from_cache = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(file, c"", from_cache, StatxFlags::SIZE).is_ok_and(|found| found.stx_size == size_bytes)
}
