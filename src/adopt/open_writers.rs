//! Files that processes of this machine have open for writing, as `/proc` shows them.
//!
//! A user sees only the files of its own processes, and a network file system has other writers.
//! So the list is one check among several. The main type is [`OpenWriters`].

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, CWD, statat};

use super::source_stamp::SourceStamp;
use crate::model::lock;

/// Time for which a list is used. Making one reads the descriptors of all processes.
const LIST_TTL: Duration = Duration::from_secs(5);

/// The files that are open for writing.
#[derive(Default)]
pub struct OpenWriters {
    latest: Mutex<Option<WriterList>>,
}

/// The files that were open for writing at one time.
struct WriterList {
    made_at: SystemTime,
    age: Instant,
    /// Device and inode.
    files: HashSet<(u64, u64)>,
}

impl OpenWriters {
    /// Returns whether a file is open for writing. The list is younger than the last change of the
    /// file, so that a writer that made it is seen. Blocks.
    pub fn has(&self, stamp: &SourceStamp) -> bool {
        let mut latest = lock(&self.latest);
        let is_usable = latest
            .as_ref()
            .is_some_and(|list| list.age.elapsed() < LIST_TTL && list.made_at > stamp.changed_at());
        if !is_usable {
            *latest = Some(WriterList::make());
        }
        let files = latest.as_ref().map(|list| &list.files);
        files.is_some_and(|files| files.contains(&(stamp.device, stamp.inode)))
    }

    /// Returns whether a file is open for writing now. Blocks.
    pub fn has_now(&self, stamp: &SourceStamp) -> bool {
        *lock(&self.latest) = None;
        self.has(stamp)
    }
}

impl WriterList {
    fn make() -> Self {
        let (made_at, age) = (SystemTime::now(), Instant::now());
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut files = HashSet::new();
        for process in processes {
            let name = process.file_name();
            if name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                add_files_of(&process.path(), &mut files);
            }
        }
        Self {
            made_at,
            age,
            files,
        }
    }
}

/// Adds the files that a process has open for writing. Those of other users cannot be read.
fn add_files_of(process: &Path, files: &mut HashSet<(u64, u64)>) {
    let descriptors = fs::read_dir(process.join("fd"));
    for descriptor in descriptors.into_iter().flatten().flatten() {
        let path = descriptor.path();
        // Sockets and pipes have no path.
        let is_path = fs::read_link(&path).is_ok_and(|target| target.is_absolute());
        if !is_path || !is_writable(&process.join("fdinfo").join(descriptor.file_name())) {
            continue;
        }
        if let Ok(stat) = statat(CWD, &path, AtFlags::empty()) {
            let stamp = SourceStamp::from(&stat);
            files.insert((stamp.device, stamp.inode));
        }
    }
}

/// Returns whether the flags of a descriptor allow writing: the last octal digit is 1 or 2.
fn is_writable(info: &Path) -> bool {
    let Ok(text) = fs::read_to_string(info) else {
        return false;
    };
    let mut lines = text.lines();
    let flags = lines.find_map(|line| line.strip_prefix("flags:"));
    flags.is_some_and(|flags| flags.trim_end().ends_with(['1', '2']))
}
