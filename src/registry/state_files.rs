//! Small files of the registries below `state_dir`, in folders by the first digits of their names.
//!
//! A file is replaced by rename and not synced: after a power cut, the registry is asked again. The
//! functions that are not async block. The main type is [`StateFiles`].

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::spawn_blocking;

use crate::model::{Key, Target};

/// Bound on the files of one kind. The oldest ones are removed.
const MAX_FILES: usize = 50_000;

/// Number of new files after which the files are counted.
const COUNT_INTERVAL: usize = 1000;

/// The names of private images are for the user of the service only.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The files of one kind, one for each target.
#[derive(Debug, Clone)]
pub struct StateFiles {
    folder: PathBuf,
    /// Files that were made since they were counted.
    new_files: Arc<AtomicUsize>,
}

impl StateFiles {
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            // The first new file has all files counted.
            new_files: Arc::new(AtomicUsize::new(COUNT_INTERVAL)),
        }
    }

    /// Returns the path of the file of a target.
    #[must_use]
    pub fn path(&self, target: &Target) -> PathBuf {
        let key = Key::new(target).to_string();
        self.folder.join(&key[..2]).join(format!("{key}.json"))
    }

    /// Returns the first bytes of a file.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?
            .take(max_bytes)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Returns what `read` makes of the file of a target. A file that cannot be read counts as
    /// missing.
    pub async fn known<T: Send + 'static>(
        &self,
        target: &Target,
        read: fn(&Path, &Target) -> io::Result<T>,
    ) -> Option<T> {
        let (path, target) = (self.path(target), target.clone());
        let read = spawn_blocking(move || read(&path, &target)).await;
        match read.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(known) => Some(known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "cannot read a known answer of a registry");
                None
            }
        }
    }

    /// Replaces the file of a target. The oldest files are removed if there are too many.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn write(&self, target: &Target, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(target);
        let is_new = !path.exists();
        if let Some(folder) = path.parent().filter(|_| is_new) {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(FOLDER_MODE).create(folder)?;
        }
        let draft = path.with_extension("draft");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        let mut written = options.mode(FILE_MODE).open(&draft)?;
        written.write_all(bytes)?;
        fs::rename(&draft, path)?;
        if is_new && self.new_files.fetch_add(1, Ordering::Relaxed) >= COUNT_INTERVAL {
            self.new_files.store(0, Ordering::Relaxed);
            self.remove_oldest()?;
        }
        Ok(())
    }

    /// Removes the file of a target, if there is one.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn remove(&self, target: &Target) -> io::Result<()> {
        match fs::remove_file(self.path(target)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the paths of all files, in the order of the keys of their targets.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        let groups = match fs::read_dir(&self.folder) {
            Ok(groups) => groups,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(paths),
            Err(error) => return Err(error),
        };
        for group in groups {
            for file in fs::read_dir(group?.path())? {
                let path = file?.path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == "json")
                {
                    paths.push(path);
                }
            }
        }
        paths.sort_unstable();
        Ok(paths)
    }

    /// Removes the files that were written longest ago, if there are too many.
    fn remove_oldest(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for path in self.paths()? {
            files.push((fs::metadata(&path)?.modified()?, path));
        }
        let surplus = files.len().saturating_sub(MAX_FILES);
        if surplus == 0 {
            return Ok(());
        }
        files.sort_unstable();
        for (_, path) in &files[..surplus] {
            fs::remove_file(path)?;
        }
        let folder = self.folder.display();
        tracing::info!(%folder, surplus, "removed the files that were written longest ago");
        Ok(())
    }
}
