//! A disk that injects faults or loses its power: an in-memory file system, mounted through FUSE.

mod files;
mod ops;
mod reply;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Duration;

use fuser::{BackgroundSession, Config, Errno, INodeNo};
use tempfile::TempDir;

use ops::Mounted;
use reply::{Class, Refuse};
use tree::{ROOT, Tree};

const CAPACITY_BYTES: u64 = 1 << 30;

/// Longest time for which the disk hangs; then it returns errors. A process that waits for a disk
/// cannot be killed, so a failing test would never end.
const LONGEST_HANG: Duration = Duration::from_mins(1);

/// Fault of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Nothing,
    /// Mounted read-only, as the kernel does after errors.
    ReadOnly,
    /// Every read and every write fails.
    Errors,
    /// Every read fails.
    Unreadable,
    /// Reads of this file beyond the offset `from` fail.
    BadSectors {
        file: u64,
        from: u64,
    },
    /// No operation returns until the fault is removed.
    Hangs,
}

type Work = Box<dyn FnOnce() + Send>;

/// The contents and the fault of the disk.
struct Memory {
    tree: Mutex<Tree>,
    faults: Mutex<Faults>,
}

struct Faults {
    trouble: Trouble,
    /// Operations that a hanging disk has not answered.
    waiting: Vec<Work>,
}

/// A mounted disk. It must outlive the processes that use it.
pub struct Disk {
    memory: Arc<Memory>,
    session: Option<BackgroundSession>,
    point: TempDir,
}

impl Disk {
    #[track_caller]
    pub fn mount() -> Self {
        let mut disk = Self {
            memory: Arc::new(Memory::new(Tree::new(CAPACITY_BYTES))),
            session: None,
            point: tempfile::tempdir().expect("a folder can be made"),
        };
        disk.insert();
        disk
    }

    fn insert(&mut self) {
        let mounted = fuser::spawn_mount(
            Mounted(Arc::clone(&self.memory)),
            self.point.path(),
            &Config::default(),
        );
        self.session = Some(mounted.expect("FUSE is available on this machine"));
    }

    fn remove(&mut self) {
        self.set(Trouble::Errors);
        if let Some(session) = self.session.take() {
            session
                .umount_and_join()
                .expect("no process uses the disk any more");
        }
    }

    /// Returns a folder on the disk for a cache.
    pub fn folder(&self) -> PathBuf {
        self.point.path().join("cache")
    }

    /// Sets the fault of the disk. Operations that a hanging disk held back are answered.
    pub fn set(&self, trouble: Trouble) {
        if trouble == Trouble::Hangs {
            let memory = Arc::downgrade(&self.memory);
            thread::spawn(move || {
                thread::sleep(LONGEST_HANG);
                if let Some(memory) = Weak::upgrade(&memory)
                    .filter(|memory| memory.faults().trouble == Trouble::Hangs)
                {
                    memory.set(Trouble::Errors);
                }
            });
        }
        self.memory.set(trouble);
    }

    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.memory.tree().capacity_bytes = capacity_bytes;
    }

    /// Limits the number of files and folders.
    pub fn set_inodes(&self, inodes: u64) {
        self.memory.tree().inodes = Some(inodes);
    }

    /// Returns the number of files and folders that can still be made.
    pub fn free_inodes(&self) -> u64 {
        self.memory.tree().inodes().1
    }

    fn find(&self, file: &Path) -> u64 {
        let mut node = ROOT;
        for name in file
            .strip_prefix(self.point.path())
            .expect("the file is on this disk")
        {
            node = self
                .memory
                .tree()
                .find(node, name)
                .expect("the file exists");
        }
        node
    }

    /// Makes the bytes of a file beyond an offset unreadable.
    pub fn lose(&self, file: &Path, from: u64) {
        self.set(Trouble::BadSectors {
            file: self.find(file),
            from,
        });
        self.forget_contents(file);
    }

    /// Drops a file from the page cache, so that the next read goes to the disk.
    pub fn forget_contents(&self, file: &Path) {
        let node = self.find(file);
        let session = self.session.as_ref().expect("the disk is mounted");
        session
            .notifier()
            .inval_inode(INodeNo(node), 0, 0)
            .expect("the page cache can be invalidated");
    }

    /// Cuts the power and restores it. No process may use the disk. `dice` decides which unsynced
    /// changes are lost, and returns less than its argument.
    pub fn cut_power(&mut self, dice: impl FnMut(u64) -> u64) {
        self.remove();
        let left = self.memory.tree().cut_power(dice);
        self.memory = Arc::new(Memory::new(left));
        self.insert();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Memory {
    fn new(tree: Tree) -> Self {
        Self {
            tree: Mutex::new(tree),
            faults: Mutex::new(Faults {
                trouble: Trouble::Nothing,
                waiting: Vec::new(),
            }),
        }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("no other thread has failed")
    }

    fn set(&self, trouble: Trouble) {
        let waiting = {
            let mut faults = self.faults();
            faults.trouble = trouble;
            if trouble == Trouble::Hangs {
                Vec::new()
            } else {
                std::mem::take(&mut faults.waiting)
            }
        };
        for work in waiting {
            work();
        }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("no other thread has failed")
    }

    /// Performs an operation and sends the result, refuses it, or holds it until
    /// the fault is removed.
    fn answer<R: Refuse, A>(
        self: &Arc<Self>,
        class: Class,
        reply: R,
        work: impl FnOnce(&mut Tree) -> Result<A, Errno> + Send + 'static,
        send: impl FnOnce(R, A) + Send + 'static,
    ) {
        let mut faults = self.faults();
        let errno = match (faults.trouble, class) {
            (Trouble::ReadOnly, Class::Write) => Some(Errno::EROFS),
            (Trouble::Errors, _) | (Trouble::Unreadable, Class::Read | Class::Contents { .. }) => {
                Some(Errno::EIO)
            }
            (Trouble::BadSectors { file, from }, Class::Contents { node, end })
                if node == file && end > from =>
            {
                Some(Errno::EIO)
            }
            (
                Trouble::Nothing
                | Trouble::ReadOnly
                | Trouble::Unreadable
                | Trouble::BadSectors { .. },
                Class::Read | Class::Write | Class::Contents { .. },
            ) => None,
            (Trouble::Hangs, _) => {
                let memory = Arc::clone(self);
                faults
                    .waiting
                    .push(Box::new(move || memory.answer(class, reply, work, send)));
                return;
            }
        };
        drop(faults);
        match errno.map_or_else(|| work(&mut self.tree()), Err) {
            Ok(answer) => send(reply, answer),
            Err(errno) => reply.refuse(errno),
        }
    }
}
