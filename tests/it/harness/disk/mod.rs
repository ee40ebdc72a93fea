//! A disk that fails as it is told, or loses its power: a file system in memory, mounted through FUSE.

mod ops;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Duration;

use fuser::{BackgroundSession, Config, Errno, INodeNo};
use tempfile::TempDir;

use ops::{Class, Mounted, Refuse};
use tree::{ROOT, Tree};

const CAPACITY_BYTES: u64 = 1 << 30;

/// A process that waits for a disk cannot be killed. So that a test that fails comes to its end, a disk that hangs gives
/// errors after this.
const LONGEST_HANG: Duration = Duration::from_mins(1);

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Nothing,
    /// As after errors, when the kernel mounts it so.
    ReadOnly,
    /// What is read and what is written comes to nothing.
    Errors,
    /// What is read comes to nothing.
    Unreadable,
    /// Of this file nothing comes from so many bytes on.
    BadSectors {
        file: u64,
        from: u64,
    },
    /// Nothing comes back until it is mended.
    Hangs,
}

type Work = Box<dyn FnOnce() + Send>;

/// What is on the disk, and what is wrong with it.
struct Memory {
    tree: Mutex<Tree>,
    faults: Mutex<Faults>,
}

struct Faults {
    trouble: Trouble,
    /// What was asked of a disk that hangs.
    waiting: Vec<Work>,
}

/// A mounted disk. It is to outlive those who use it.
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
        let mounted = fuser::spawn_mount(Mounted(Arc::clone(&self.memory)), self.point.path(), &Config::default());
        self.session = Some(mounted.expect("FUSE works here"));
    }

    fn remove(&mut self) {
        self.set(Trouble::Errors);
        if let Some(session) = self.session.take() {
            session.umount_and_join().expect("nobody uses the disk any more");
        }
    }

    /// A folder on it for a cache.
    pub fn folder(&self) -> PathBuf {
        self.point.path().join("cache")
    }

    /// From now on this is wrong with it. What a disk that hung was asked is answered.
    pub fn set(&self, trouble: Trouble) {
        if trouble == Trouble::Hangs {
            let memory = Arc::downgrade(&self.memory);
            thread::spawn(move || {
                thread::sleep(LONGEST_HANG);
                if let Some(memory) = Weak::upgrade(&memory).filter(|memory| memory.faults().trouble == Trouble::Hangs)
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

    fn find(&self, file: &Path) -> u64 {
        let mut node = ROOT;
        for name in file.strip_prefix(self.point.path()).expect("it is on this disk") {
            node = self.memory.tree().find(node, name).expect("it is there");
        }
        node
    }

    /// Lets what lies behind so many bytes of a file be lost.
    pub fn lose(&self, file: &Path, from: u64) {
        self.set(Trouble::BadSectors { file: self.find(file), from });
        self.forget_contents(file);
    }

    /// Lets the kernel forget what it has of a file in memory, so that the next read asks the disk.
    pub fn forget_contents(&self, file: &Path) {
        let node = self.find(file);
        let session = self.session.as_ref().expect("it is mounted");
        session.notifier().inval_inode(INodeNo(node), 0, 0).expect("the kernel can forget it");
    }

    /// Cuts the power, which nobody may be using: what was not synced is lost as `dice` says, which throws less than what
    /// it is given. Then the power is back.
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
        Self { tree: Mutex::new(tree), faults: Mutex::new(Faults { trouble: Trouble::Nothing, waiting: Vec::new() }) }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("no other thread has failed")
    }

    fn set(&self, trouble: Trouble) {
        let waiting = {
            let mut faults = self.faults();
            faults.trouble = trouble;
            if trouble == Trouble::Hangs { Vec::new() } else { std::mem::take(&mut faults.waiting) }
        };
        for work in waiting {
            work();
        }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("no other thread has failed")
    }

    /// Does what is asked and sends what came of it; or refuses it, or keeps it until the disk is mended.
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
            (Trouble::Errors, _) | (Trouble::Unreadable, Class::Read | Class::Contents { .. }) => Some(Errno::EIO),
            (Trouble::BadSectors { file, from }, Class::Contents { node, end }) if node == file && end > from => {
                Some(Errno::EIO)
            }
            (
                Trouble::Nothing | Trouble::ReadOnly | Trouble::Unreadable | Trouble::BadSectors { .. },
                Class::Read | Class::Write | Class::Contents { .. },
            ) => None,
            (Trouble::Hangs, _) => {
                let memory = Arc::clone(self);
                faults.waiting.push(Box::new(move || memory.answer(class, reply, work, send)));
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
