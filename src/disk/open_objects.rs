//! Small objects that were opened last. They stay open with their bytes, so that the next hit does
//! not open, read and close the file.
//!
//! This file must not know records. Its main type is [`OpenObjects`].

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::file_stamp::FileStamp;
use crate::model::{Sha256, lock};

/// Largest object that stays open, in bytes. All together they take at most 4 MiB.
const MAX_HELD_BYTES: usize = 16 * 1024;

/// Small objects that were opened last. Each object has one slot, which others share.
pub struct OpenObjects {
    slots: Box<[Mutex<Option<HeldObject>>]>,
}

/// An open object with its complete content.
struct HeldObject {
    sha256: Sha256,
    file: Arc<File>,
    content: Bytes,
    stamp: FolderStamp,
}

impl OpenObjects {
    /// Returns the slots for `count` objects. Each holds a descriptor.
    pub fn new(count: usize) -> Self {
        Self {
            slots: (0..count).map(|_| Mutex::default()).collect(),
        }
    }

    /// Returns an object if it was opened recently. `None` if its file was removed, renamed or
    /// written to since then, by any process.
    pub fn get(&self, sha256: Sha256) -> Option<(Arc<File>, Bytes)> {
        let mut slot = lock(self.slot(sha256)?);
        let held = slot.as_ref().filter(|held| held.sha256 == sha256)?;
        if FolderStamp::of(&held.file) != Some(held.stamp) {
            *slot = None;
            return None;
        }
        Some((Arc::clone(&held.file), held.content.clone()))
    }

    /// Keeps an object that was read after `stamp` was taken, unless it is too large.
    pub fn keep(&self, sha256: Sha256, file: &Arc<File>, stamp: FolderStamp, content: &Bytes) {
        let Some(slot) = self.slot(sha256) else {
            return;
        };
        if content.len() <= MAX_HELD_BYTES {
            *lock(slot) = Some(HeldObject {
                sha256,
                file: Arc::clone(file),
                // The buffer of a read may be larger than its bytes.
                content: Bytes::copy_from_slice(content),
                stamp,
            });
        }
    }

    fn slot(&self, sha256: Sha256) -> Option<&Mutex<Option<HeldObject>>> {
        let [first, second, ..] = *sha256.as_bytes();
        let number = usize::from(u16::from_be_bytes([first, second]));
        self.slots.get(number.checked_rem(self.slots.len())?)
    }
}

/// Stamp of a file that is still in its folder.
///
/// Each write, removal and rename changes the stamp or the number of links. Unlike a look at the
/// path, it waits for no disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderStamp(FileStamp);

impl FolderStamp {
    /// Returns `None` if the file was removed.
    pub fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok()?;
        (metadata.nlink() > 0).then(|| Self((&metadata).into()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fs_err as fs;

    use super::*;

    const OBJECT: &[u8] = b"bytes of an object";

    fn hold(objects: &OpenObjects, path: &Path, content: &[u8]) -> Sha256 {
        fs::write(path, content).expect("the file can be written");
        let file = Arc::new(File::open(path).expect("the file can be opened"));
        let stamp = FolderStamp::of(&file).expect("the file is there");
        let sha256 = Sha256::from_bytes([7; 32]);
        objects.keep(sha256, &file, stamp, &Bytes::copy_from_slice(content));
        sha256
    }

    #[test]
    fn changed_file_is_not_returned() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("object");
        let objects = OpenObjects::new(2);
        for change in ["none", "write", "cut", "rename", "remove", "replace"] {
            let sha256 = hold(&objects, &path, OBJECT);
            let other = folder.path().join("other");
            match change {
                "none" => {}
                "write" => fs::write(&path, [0; OBJECT.len()]).expect("it can be written"),
                "cut" => fs::write(&path, &OBJECT[1..]).expect("it can be written"),
                "rename" => fs::rename(&path, other).expect("it can be renamed"),
                "remove" => fs::remove_file(&path).expect("it can be removed"),
                _ => {
                    fs::write(&other, OBJECT).expect("it can be written");
                    fs::rename(other, &path).expect("it can be replaced");
                }
            }
            let held = objects.get(sha256).map(|(_, content)| content);
            let expected = (change == "none").then_some(OBJECT);
            assert_eq!(held.as_deref(), expected, "{change}");
        }
    }

    #[test]
    fn large_objects_are_not_kept() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("object");
        let large = vec![1; MAX_HELD_BYTES + 1];
        for (slots, content) in [(0, OBJECT), (1, &large)] {
            let objects = OpenObjects::new(slots);
            let sha256 = hold(&objects, &path, content);
            assert!(objects.get(sha256).is_none(), "{slots} slots");
        }
    }
}
