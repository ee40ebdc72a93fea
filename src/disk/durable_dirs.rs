//! Creates, lists and removes directory entries so that they survive a power cut.
//!
//! This file must not know what the folders are for. Its main type is [`DurableDirs`].

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;

/// Length of a key or digest in hexadecimal. There are many folders with such names, so none of
/// them is remembered.
const DIGEST_CHARS: usize = 64;

/// Creates folders under one root, durably.
pub struct DurableDirs {
    root: PathBuf,
    /// Folders whose directory entries are known to be synced. There are few for each kind of file.
    synced: Mutex<HashSet<PathBuf>>,
}

impl DurableDirs {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            synced: Mutex::default(),
        }
    }

    /// Creates a folder and its missing ancestors below the root, and syncs their directory
    /// entries. Existing folders are synced too, because another process may have created one just
    /// now.
    ///
    /// # Errors
    /// The system's error if a folder cannot be created or synced.
    pub fn create(&self, folder: &Path) -> io::Result<()> {
        make(folder)?;
        self.sync_entries(folder)
    }

    /// Syncs the directory entries of a folder and of its ancestors below the root. If a file
    /// that was created later was synced before, most file systems have nothing left to do.
    ///
    /// # Errors
    /// The system's error if a folder cannot be synced.
    pub fn sync_entries(&self, folder: &Path) -> io::Result<()> {
        for ancestor in folder.ancestors().take_while(|above| *above != self.root) {
            let is_synced = self
                .synced
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(ancestor);
            if is_synced {
                break;
            }
            sync(ancestor.parent().expect("it lies under the root"))?;
        }
        // Remembered only now: an entry is durable only if all folders above it are.
        let is_remembered = |ancestor: &&Path| {
            ancestor
                .file_name()
                .is_some_and(|name| name.len() < DIGEST_CHARS)
        };
        let remembered = folder
            .ancestors()
            .take_while(|above| *above != self.root)
            .filter(is_remembered);
        self.synced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(remembered.map(Path::to_owned));
        Ok(())
    }
}

/// Creates a folder and its missing ancestors. [`DurableDirs::sync_entries`] makes them durable.
///
/// # Errors
/// The system's error if a folder cannot be created.
pub fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)
}

/// Creates the root and its missing ancestors, and syncs their directory entries.
///
/// # Errors
/// The system's error if a folder cannot be created or synced.
pub fn create_root(root: &Path) -> io::Result<()> {
    let missing: Vec<_> = root
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.is_dir())
        .collect();
    fs::create_dir_all(root)?;
    for created in missing {
        match created.parent() {
            Some(above) if !above.as_os_str().is_empty() => sync(above)?,
            _ => sync(Path::new("."))?,
        }
    }
    Ok(())
}

/// Returns the sorted names in a folder, empty if the folder does not exist. Names that are not
/// UTF-8 are converted lossily, because Millpond creates no such names.
///
/// # Errors
/// The system's error if the folder cannot be read.
pub fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Removes a file. Returns false if it did not exist.
///
/// # Errors
/// The system's error if the file cannot be removed.
pub fn remove_if_exists(file: &Path) -> io::Result<bool> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Syncs the directory entries of a folder.
///
/// # Errors
/// The system's error if the folder cannot be synced.
pub fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}
