//! Identity of a file of the folder and of its content. The main type is [`SourceStamp`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

/// Identity of a file and of its content. Each write changes it. No user can set the time of the
/// last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceStamp {
    pub device: u64,
    pub inode: u64,
    pub size_bytes: u64,
    modified_at: (i64, i64),
    changed_at: (i64, i64),
}

impl SourceStamp {
    /// Returns whether both are of one file with the same bytes. A new link and a new mode of the
    /// file do not count.
    #[must_use]
    pub fn has_same_bytes(&self, other: &Self) -> bool {
        let bytes = |stamp: &Self| {
            let Self {
                device,
                inode,
                size_bytes,
                modified_at,
                ..
            } = *stamp;
            (device, inode, size_bytes, modified_at)
        };
        bytes(self) == bytes(other)
    }

    /// Returns the time of the last change.
    #[must_use]
    pub fn changed_at(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.changed_at;
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default())
    }
}

impl From<&Stat> for SourceStamp {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "the types of the fields differ between architectures"
    )]
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size_bytes: stat.st_size as u64,
            modified_at: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed_at: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}
