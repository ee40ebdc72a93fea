//! Counts the blocks and inodes of the small files beside the objects.
//!
//! Changes are counted in memory until they are written to the index. A process that dies loses
//! them, and the next reindexing counts all files again. The folders of two hexadecimal digits are
//! not counted, as their number is fixed. This file must not know what the files mean. Its main
//! type is [`MetadataLedger`].

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use fs_err as fs;

use super::durable_dirs::names_in;
use super::{DiskError, Layout};

/// Unit in which most file systems allocate space, in bytes.
pub const BLOCK_BYTES: u64 = 4096;

/// Unit of `st_blocks`, in bytes.
const STAT_BLOCK_BYTES: u64 = 512;

/// Kind of small files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataKind {
    /// Files in `records/`.
    Records,
    /// Files in `observations/`, `digests/`, `pieces/` and `compact/`.
    Others,
}

/// Space that files take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileUse {
    /// Size of their blocks, in bytes.
    pub bytes: u64,
    pub inodes: u64,
}

/// Change of the space that files take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileUseChange {
    /// Change of the size of their blocks, in bytes.
    pub bytes: i64,
    pub inodes: i64,
}

/// Changes that the index does not have yet.
#[derive(Debug, Default)]
pub struct MetadataLedger {
    records: ChangeCounter,
    others: ChangeCounter,
}

#[derive(Debug, Default)]
struct ChangeCounter {
    bytes: AtomicI64,
    inodes: AtomicI64,
}

/// Change of a file, or of a folder and the files in it. It is counted when this is dropped.
pub struct CountedChange<'a> {
    counter: &'a ChangeCounter,
    path: PathBuf,
    before: FileUse,
}

impl MetadataLedger {
    /// Begins to count a change of the file or folder at `path`. The caller holds a lock, so that
    /// nothing else changes it at the same time.
    pub fn watch(&self, kind: MetadataKind, path: PathBuf) -> CountedChange<'_> {
        CountedChange {
            counter: self.counter(kind),
            before: measure(&path),
            path,
        }
    }

    /// Returns the changes that were not taken yet.
    pub fn pending(&self, kind: MetadataKind) -> FileUseChange {
        let counter = self.counter(kind);
        FileUseChange {
            bytes: counter.bytes.load(Ordering::Relaxed),
            inodes: counter.inodes.load(Ordering::Relaxed),
        }
    }

    /// Takes the changes, to write them to the index.
    pub fn take(&self, kind: MetadataKind) -> FileUseChange {
        let counter = self.counter(kind);
        FileUseChange {
            bytes: counter.bytes.swap(0, Ordering::Relaxed),
            inodes: counter.inodes.swap(0, Ordering::Relaxed),
        }
    }

    /// Puts changes back that were taken and not written.
    pub fn put_back(&self, kind: MetadataKind, change: FileUseChange) {
        self.counter(kind).add(change);
    }

    fn counter(&self, kind: MetadataKind) -> &ChangeCounter {
        match kind {
            MetadataKind::Records => &self.records,
            MetadataKind::Others => &self.others,
        }
    }
}

impl ChangeCounter {
    fn add(&self, change: FileUseChange) {
        self.bytes.fetch_add(change.bytes, Ordering::Relaxed);
        self.inodes.fetch_add(change.inodes, Ordering::Relaxed);
    }
}

impl Drop for CountedChange<'_> {
    fn drop(&mut self) {
        let after = measure(&self.path);
        let difference = |after: u64, before: u64| after.cast_signed() - before.cast_signed();
        self.counter.add(FileUseChange {
            bytes: difference(after.bytes, self.before.bytes),
            inodes: difference(after.inodes, self.before.inodes),
        });
    }
}

impl FileUse {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            bytes: metadata.blocks().saturating_mul(STAT_BLOCK_BYTES),
            inodes: 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.inodes = self.inodes.saturating_add(other.inodes);
    }
}

/// Returns the bytes that an object takes on the disk. Some file systems state the blocks of a new
/// file late, so that these are at least its length.
pub fn object_disk_bytes(metadata: &std::fs::Metadata) -> u64 {
    FileUse::of(metadata).bytes.max(metadata.len())
}

/// Returns the space of a file, or of a folder and the files in it. Nothing is there if it cannot
/// be read.
fn measure(path: &Path) -> FileUse {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return FileUse::default();
    };
    let mut total = FileUse::of(&metadata);
    if metadata.is_dir() {
        let files = fs::read_dir(path).into_iter().flatten().flatten();
        let files = files.filter_map(|entry| entry.metadata().ok());
        files.for_each(|file| total.add(FileUse::of(&file)));
    }
    total
}

/// Counts all files of one kind.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn measure_all(layout: &Layout, kind: MetadataKind) -> Result<FileUse, DiskError> {
    let mut total = FileUse::default();
    let sharded = match kind {
        MetadataKind::Records => vec![layout.records()],
        MetadataKind::Others => vec![
            layout.observations(),
            layout.all_digests(),
            layout.all_pieces(),
        ],
    };
    for root in sharded {
        for shard in names_in(&root)? {
            let shard = root.join(shard);
            for name in names_in(&shard).unwrap_or_default() {
                total.add(measure(&shard.join(name)));
            }
        }
    }
    if kind == MetadataKind::Others {
        for name in names_in(&layout.compact())? {
            total.add(measure(&layout.compact().join(name)));
        }
    }
    Ok(total)
}
