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
    slots: Box<[Mutex<ObjectSlot>]>,
}

/// The last object of a slot.
#[derive(Default)]
enum ObjectSlot {
    #[default]
    Empty,
    /// It was asked for once. Most objects are not asked for again soon.
    Seen(Sha256),
    Held(HeldObject),
}

/// An open object with its complete content.
pub struct HeldObject {
    sha256: Sha256,
    file: Arc<File>,
    content: Bytes,
    stamp: FolderStamp,
}

/// Answer to a request for an object.
pub enum Held {
    Open(Arc<File>, Bytes),
    /// It is not open. `is_wanted` states whether it should be kept now, as it was asked for
    /// before. `removed` is an object whose file may be gone: to close it can take the disk long.
    NotOpen {
        is_wanted: bool,
        removed: Option<HeldObject>,
    },
}

impl OpenObjects {
    /// Returns the slots for `count` objects. Each holds a descriptor.
    pub fn new(count: usize) -> Self {
        Self {
            slots: (0..count).map(|_| Mutex::default()).collect(),
        }
    }

    /// Returns an object if it is open, and its file was not removed, renamed or written to since
    /// then, by any process.
    pub fn get(&self, sha256: Sha256) -> Held {
        let not_open = |is_wanted, removed| Held::NotOpen { is_wanted, removed };
        let Some(slot) = self.slot(sha256) else {
            return not_open(false, None);
        };
        let mut slot = lock(slot);
        match &*slot {
            ObjectSlot::Held(held) if held.sha256 == sha256 && held.is_unchanged() => {
                return Held::Open(Arc::clone(&held.file), held.content.clone());
            }
            ObjectSlot::Seen(seen) if *seen == sha256 => return not_open(true, None),
            ObjectSlot::Empty | ObjectSlot::Seen(_) | ObjectSlot::Held(_) => {}
        }
        let before = std::mem::replace(&mut *slot, ObjectSlot::Seen(sha256));
        drop(slot);
        let removed = match before {
            ObjectSlot::Held(held) if !held.is_unchanged() => Some(held),
            ObjectSlot::Empty | ObjectSlot::Seen(_) | ObjectSlot::Held(_) => None,
        };
        not_open(false, removed)
    }

    /// Keeps an object that was read after `stamp` was taken, unless it is too large. `named` is
    /// the stamp of the file that had the name of the object after that. If it differs, the file
    /// may have been moved away in between.
    pub fn keep(
        &self,
        sha256: Sha256,
        (file, content): (&Arc<File>, &Bytes),
        (stamp, named): (FolderStamp, Option<FolderStamp>),
    ) {
        let Some(slot) = self.slot(sha256) else {
            return;
        };
        if content.len() > MAX_HELD_BYTES || named != Some(stamp) {
            return;
        }
        let held = HeldObject {
            sha256,
            file: Arc::clone(file),
            // The buffer of a read may be larger than its bytes.
            content: Bytes::copy_from_slice(content),
            stamp,
        };
        let mut slot = lock(slot);
        if matches!(&*slot, ObjectSlot::Seen(seen) if *seen == sha256) {
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
        FolderStamp::of(&self.file) == Some(self.stamp)
    }
}

/// Stamp of a file that has a name.
///
/// Each later write, removal and rename changes the stamp or the number of names. Unlike a look at
/// the path, it waits for no disk.
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

    fn read(path: &Path, content: &[u8]) -> (Arc<File>, FolderStamp) {
        fs::write(path, content).expect("the file can be written");
        let file = Arc::new(File::open(path).expect("the file can be opened"));
        let stamp = FolderStamp::of(&file).expect("the file is there");
        (file, stamp)
    }

    /// Asks for an object and keeps it, as a hit does.
    fn ask(objects: &OpenObjects, path: &Path, content: &[u8]) -> Sha256 {
        let sha256 = Sha256::from_bytes([7; 32]);
        let (file, stamp) = read(path, content);
        let is_wanted = matches!(
            objects.get(sha256),
            Held::NotOpen {
                is_wanted: true,
                ..
            }
        );
        if is_wanted {
            let content = Bytes::copy_from_slice(content);
            objects.keep(sha256, (&file, &content), (stamp, Some(stamp)));
        }
        sha256
    }

    fn content(objects: &OpenObjects, sha256: Sha256) -> Option<Bytes> {
        match objects.get(sha256) {
            Held::Open(_, content) => Some(content),
            Held::NotOpen { .. } => None,
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
        let stamp = FolderStamp::of(&file).expect("the file has another name");
        let (_, other) = read(&path, OBJECT);
        let bytes = Bytes::from_static(OBJECT);
        for named in [None, Some(other)] {
            objects.keep(sha256, (&file, &bytes), (stamp, named));
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
