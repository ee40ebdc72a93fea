//! Small objects that stay open with their bytes, so that a hit does not open, read and close the
//! file.
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

/// Small objects that stay open from their second request on. Each object has one slot, which
/// others share.
pub struct OpenObjects {
    slots: Box<[Mutex<ObjectSlot>]>,
}

/// The last object of a slot.
#[derive(Default)]
enum ObjectSlot {
    #[default]
    Empty,
    /// It was requested once. Most objects are not requested again soon.
    Seen(Sha256),
    Held(HeldObject),
}

/// An open object with its complete content.
pub struct HeldObject {
    pub sha256: Sha256,
    pub file: Arc<File>,
    pub content: Bytes,
    /// Taken before the content was read.
    pub stamp: NamedFileStamp,
}

/// Result of a look-up among the open objects.
pub enum OpenObjectLookup {
    Open(Arc<File>, Bytes),
    /// It is not open. It was requested before, so the caller should keep it.
    Wanted,
    /// It is not open, and was not requested before. Its slot had another object, whose file was
    /// changed or removed. Closing that may wait for the disk.
    Unwanted {
        replaced: Option<HeldObject>,
    },
}

impl OpenObjects {
    /// Returns the slots for `count` objects. Each holds a descriptor.
    pub fn new(count: usize) -> Self {
        Self {
            slots: (0..count).map(|_| Mutex::default()).collect(),
        }
    }

    /// Returns an object if it is open, and no process has removed, renamed or written to its file
    /// since then.
    pub fn get(&self, sha256: Sha256) -> OpenObjectLookup {
        let Some(slot) = self.slot(sha256) else {
            return OpenObjectLookup::Unwanted { replaced: None };
        };
        let mut slot = lock(slot);
        match &*slot {
            ObjectSlot::Held(held) if held.sha256 == sha256 && held.is_unchanged() => {
                return OpenObjectLookup::Open(Arc::clone(&held.file), held.content.clone());
            }
            ObjectSlot::Seen(seen) if *seen == sha256 => return OpenObjectLookup::Wanted,
            ObjectSlot::Empty | ObjectSlot::Seen(_) | ObjectSlot::Held(_) => {}
        }
        let before = std::mem::replace(&mut *slot, ObjectSlot::Seen(sha256));
        drop(slot);
        let replaced = match before {
            ObjectSlot::Held(held) if !held.is_unchanged() => Some(held),
            ObjectSlot::Empty | ObjectSlot::Seen(_) | ObjectSlot::Held(_) => None,
        };
        OpenObjectLookup::Unwanted { replaced }
    }

    /// Keeps an object, unless it is too large. `named` is the stamp of the file that had the name
    /// of the object after the content was read. If it differs, the file may have been moved away
    /// before its own stamp was taken.
    pub fn keep(&self, object: HeldObject, named: Option<NamedFileStamp>) {
        let Some(slot) = self.slot(object.sha256) else {
            return;
        };
        if object.content.len() > MAX_HELD_BYTES || named != Some(object.stamp) {
            return;
        }
        let held = HeldObject {
            // The buffer of a read may be larger than its bytes.
            content: Bytes::copy_from_slice(&object.content),
            ..object
        };
        let mut slot = lock(slot);
        if matches!(&*slot, ObjectSlot::Seen(seen) if *seen == held.sha256) {
            *slot = ObjectSlot::Held(held);
        }
    }

    fn slot(&self, sha256: Sha256) -> Option<&Mutex<ObjectSlot>> {
        let [first, second, ..] = *sha256.as_bytes();
        let number = usize::from(u16::from_be_bytes([first, second]));
        self.slots.get(number.checked_rem(self.slots.len())?)
    }
}

impl HeldObject {
    fn is_unchanged(&self) -> bool {
        NamedFileStamp::of(&self.file) == Some(self.stamp)
    }
}

/// Stamp of a file that has a name.
///
/// Each later write, removal and rename changes the stamp or the number of names. Unlike a look at
/// the path, it waits for no disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedFileStamp(FileStamp);

impl NamedFileStamp {
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

    fn read(path: &Path, content: &[u8]) -> (Arc<File>, NamedFileStamp) {
        fs::write(path, content).expect("the file can be written");
        let file = Arc::new(File::open(path).expect("the file can be opened"));
        let stamp = NamedFileStamp::of(&file).expect("the file is there");
        (file, stamp)
    }

    fn object(
        sha256: Sha256,
        file: &Arc<File>,
        content: &[u8],
        stamp: NamedFileStamp,
    ) -> HeldObject {
        HeldObject {
            sha256,
            file: Arc::clone(file),
            content: Bytes::copy_from_slice(content),
            stamp,
        }
    }

    /// Asks for an object and keeps it, as a hit does.
    fn ask(objects: &OpenObjects, path: &Path, content: &[u8]) -> Sha256 {
        let sha256 = Sha256::from_bytes([7; 32]);
        let (file, stamp) = read(path, content);
        if matches!(objects.get(sha256), OpenObjectLookup::Wanted) {
            objects.keep(object(sha256, &file, content, stamp), Some(stamp));
        }
        sha256
    }

    fn content(objects: &OpenObjects, sha256: Sha256) -> Option<Bytes> {
        match objects.get(sha256) {
            OpenObjectLookup::Open(_, content) => Some(content),
            OpenObjectLookup::Wanted | OpenObjectLookup::Unwanted { .. } => None,
        }
    }

    #[test]
    fn changed_file_is_not_returned() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("object");
        for change in ["none", "write", "cut", "rename", "remove", "replace"] {
            let objects = OpenObjects::new(2);
            ask(&objects, &path, OBJECT);
            let sha256 = ask(&objects, &path, OBJECT);
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
            let expected = (change == "none").then_some(OBJECT);
            assert_eq!(content(&objects, sha256).as_deref(), expected, "{change}");
        }
    }

    #[test]
    fn file_that_was_moved_away_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("object");
        let objects = OpenObjects::new(1);
        let sha256 = ask(&objects, &path, OBJECT);
        let (file, _) = read(&path, OBJECT);
        fs::rename(&path, folder.path().join("other")).expect("it can be renamed");
        let stamp = NamedFileStamp::of(&file).expect("the file has another name");
        let (_, other) = read(&path, OBJECT);
        for named in [None, Some(other)] {
            objects.keep(object(sha256, &file, OBJECT, stamp), named);
            assert_eq!(content(&objects, sha256), None);
        }
    }

    #[test]
    fn large_objects_are_not_kept() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("object");
        let large = vec![1; MAX_HELD_BYTES + 1];
        for (slots, bytes, is_kept) in [(0, OBJECT, false), (1, &large, false), (1, OBJECT, true)] {
            let objects = OpenObjects::new(slots);
            ask(&objects, &path, bytes);
            let sha256 = ask(&objects, &path, bytes);
            assert_eq!(
                content(&objects, sha256).is_some(),
                is_kept,
                "{slots} slots"
            );
        }
    }
}
