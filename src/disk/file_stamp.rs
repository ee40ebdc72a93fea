//! Identity of a file whose bytes were hashed. The main type is [`FileStamp`].

use std::os::unix::fs::MetadataExt as _;

/// Identity of a file and of its content. Each write through the file system changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    /// Time of the last change, in seconds and nanoseconds.
    changed_at: (i64, i64),
}

impl From<&std::fs::Metadata> for FileStamp {
    fn from(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            changed_at: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
