//! Claims: leave to fetch a target, held by one of the processes that share the folder.
//!
//! A claim is a lock on a file named after the key, so that the kernel takes it from a process that dies. While it is held,
//! the file carries a note for those who wait. Whoever has locked must look whether the file still has its name: the holder
//! removes it when he lets go.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fs_err as fs;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::StoreError;
use super::disk::Disk;
use super::layout::Layout;
use crate::model::{Expected, Hasher, Key};

/// The longest note, in bytes.
const MAX_NOTE_BYTES: usize = 16 * 1024;

/// A note begins with its SHA-256 in hexadecimal and a line feed: a reader that comes while it is written sees that it is not
/// whole.
const NOTE_PREFIX_BYTES: usize = 65;

/// How often a claim is tried anew whose file was removed between opening and locking it.
const MAX_TRIES: usize = 8;

/// Leave to fetch a target. Dropping it releases the lock file on another thread, so that the next fetch does not wait.
#[derive(Debug)]
pub struct Claim {
    disk: Disk,
    /// `None` once it was let go.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    file: Arc<File>,
    path: PathBuf,
}

/// Another process that holds a claim, or held it a moment ago.
#[derive(Debug)]
pub struct Rival {
    disk: Disk,
    file: Arc<File>,
}

#[derive(Debug)]
pub enum Claiming {
    Ours(Claim),
    Theirs(Rival),
}

/// What a rival does, and the note that it has left last.
#[derive(Debug)]
pub enum Look {
    Holds(Option<Bytes>),
    /// It let go, or died.
    HasLetGo(Option<Bytes>),
}

/// Claims a target, unless another process has.
pub fn claim(layout: &Layout, disk: &Disk, key: Key) -> Result<Claiming, StoreError> {
    Ok(match try_claim(layout, key)? {
        Ok(held) => Claiming::Ours(Claim { disk: disk.clone(), held: Mutex::new(Some(held)) }),
        Err(file) => Claiming::Theirs(Rival { disk: disk.clone(), file: Arc::new(file) }),
    })
}

/// The claim, or the file on which another process holds it.
fn try_claim(layout: &Layout, key: Key) -> io::Result<Result<Held, File>> {
    let path = layout.claim(key);
    let open = || fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open()?.into_parts().0;
    for _ in 0..MAX_TRIES {
        if !got(file.try_lock())? {
            break;
        }
        if has_name(&file, &path)? {
            // A note in it was left by a process that died.
            file.set_len(0)?;
            return Ok(Ok(Held { file: Arc::new(file), path }));
        }
        file = open()?.into_parts().0;
    }
    Ok(Err(file))
}

/// Whether another process holds the claim on a target.
pub fn is_held(layout: &Layout, key: Key) -> Result<bool, StoreError> {
    match fs::File::open(layout.claim(key)) {
        Ok(file) => Ok(!got(file.file().try_lock_shared())?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is a claim's file, if the kernel knows that without a wait for the disk. A process that died may have left
/// it.
pub fn seems_held(layout: &Layout, key: Key) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(CWD, layout.claim(key), flags, Mode::empty(), ResolveFlags::CACHED).is_ok()
}

/// Removes the claims that dead processes have left.
pub fn sweep(layout: &Layout) -> Result<(), StoreError> {
    for entry in fs::read_dir(layout.locks())? {
        let Some(key) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // What can be claimed is nobody's, and goes with the claim.
        if let Ok(held) = try_claim(layout, key)? {
            held.remove()?;
        }
    }
    Ok(())
}

impl Claim {
    /// Leaves a note for those who wait, in place of the last one.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn tell(&self, note: Vec<u8>) -> Result<(), StoreError> {
        let Some(file) = self.held().as_ref().map(|held| Arc::clone(&held.file)) else { return Ok(()) };
        let written = self.disk.ask(move || {
            let mut framed = format!("{}\n", sha256_of(&note)).into_bytes();
            framed.extend_from_slice(&note);
            file.write_all_at(&framed, 0)?;
            file.set_len(framed.len() as u64)
        });
        written.await
    }

    /// Lets go, and returns once others can see it.
    pub async fn let_go(&self) {
        let Some(held) = self.held().take() else { return };
        if let Err(error) = self.disk.ask(move || held.remove()).await {
            // The lock went with the file, so that the next to claim takes it as it lies.
            tracing::warn!(%error, "the file of a claim was not removed");
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        // Each change is one call.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    /// Not on this thread, which must not wait for the disk.
    fn drop(&mut self) {
        let Some(held) = self.held().take() else { return };
        self.disk.afterwards(move || {
            if let Err(error) = held.remove() {
                tracing::warn!(%error, "the file of a claim was not removed");
            }
        });
    }
}

impl Held {
    /// Removes the file, unless its name is another's by now. The lock goes with it.
    fn remove(self) -> io::Result<()> {
        if has_name(&self.file, &self.path)? { fs::remove_file(&self.path) } else { Ok(()) }
    }
}

impl Rival {
    /// Looks whether it still holds its claim.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn look(&self) -> Result<Look, StoreError> {
        let file = Arc::clone(&self.file);
        let look = self.disk.ask(move || {
            // The lock first: a note that is read under it is the last one.
            let has_let_go = got(file.try_lock_shared())?;
            let note = read_note(&file);
            if has_let_go {
                file.unlock()?;
                return Ok::<_, io::Error>(Look::HasLetGo(note?));
            }
            Ok(Look::Holds(note?))
        });
        look.await
    }
}

/// Whether a lock was got; not so if somebody else has it.
fn got(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The note, if there is a whole one.
fn read_note(file: &File) -> io::Result<Option<Bytes>> {
    let mut framed = vec![0; NOTE_PREFIX_BYTES + MAX_NOTE_BYTES + 1];
    let mut read_bytes = 0;
    while read_bytes < framed.len() {
        match file.read_at(&mut framed[read_bytes..], read_bytes as u64)? {
            0 => break,
            count => read_bytes += count,
        }
    }
    if read_bytes > NOTE_PREFIX_BYTES + MAX_NOTE_BYTES {
        return Ok(None);
    }
    framed.truncate(read_bytes);
    let framed = Bytes::from(framed);
    let note = framed.slice(NOTE_PREFIX_BYTES.min(read_bytes)..);
    let prefix = format!("{}\n", sha256_of(&note));
    Ok(framed.starts_with(prefix.as_bytes()).then_some(note))
}

fn sha256_of(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(&Expected::nothing());
    hasher.update(bytes);
    hasher.finish().sha256.to_string()
}
